//! Prompts read from files.
//!
//! | ending | prompts |
//! |---|---|
//! | `.txt` | the lines |
//! | `.jsonl` | the field `text` of the object on each line |
//! | `.parquet` | the column `text` (feature `parquet`) |
//!
//! Every character of a prompt is kept, white space at its ends too: another space is another prompt. Only
//! the line break (`\n` or `\r\n`) does not belong to a line, nor a byte order mark to the first. An empty
//! text is no prompt and is skipped, in all formats; a missing text (no field, a null) is an error.
//!
//! # Example
//!
//! ```
//! use inject_states::prompts::Prompts;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("prompts.txt");
//! std::fs::write(&path, "The cat sat\n\n on the mat.\n")?;
//!
//! let prompts: Vec<String> = Prompts::open(&path)?.collect::<Result<_, _>>()?;
//! assert_eq!(prompts, ["The cat sat", " on the mat."]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod files;
#[cfg(feature = "parquet")]
mod parquet;

pub use error::{PromptError, PromptProblem};
pub use files::{Prompts, read_prompts};
