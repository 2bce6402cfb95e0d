//! Prompts read from files.
//!
//! | ending | prompts |
//! |---|---|
//! | `.txt` | the lines |
//! | `.jsonl`, `.ndjson` | the field `text` of the object on each line |
//! | `.json` | the same of each object of an array, or the texts of an array |
//! | `.csv`, `.tsv` | the column `text` |
//! | `.parquet` | the column `text` (feature `parquet`) |
//! | `.gz` after any of them but the last | the same |
//!
//! [`Prompts::open_field`] reads another field or column than `text`. In JSON it may lie deeper (`prompt.text`) and hold the messages of a
//! conversation, whose texts are then joined by line breaks.
//!
//! Every character of a prompt is kept, white space at its ends too: another space makes another prompt. Only
//! the line break (`\n` or `\r\n`) does not belong to a line, nor a byte order mark to the first line. A missing text (no field, a
//! null) is an error, and so is a text longer than a limit ([`Prompts::with_max_bytes`]).
//!
//! An empty text is not a prompt: it is skipped, in all formats, and counted ([`Prompts::left_out`]). In `.txt` a blank line is an empty
//! text. Between JSON objects and the rows of a table it is white space, and not counted. So the prompts and the empty texts together
//! are as many as the rows that the loaders of Hugging Face's `datasets` read (5.2.0).
//!
//! A file may be a pipe if its name has one of the endings and it is read once. [`check_rereadable`] refuses one that is to be read again.
//!
//! [`IdPrompts`] reads prompts that are given as token ids, and [`encode()`] makes them from texts. [`IdList`] keeps as many as there is room
//! for.
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

mod bounded;
mod encode;
mod error;
mod field;
mod id_list;
mod ids;
mod input;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;
mod reader;
mod table;
mod values;

pub use encode::encode;
pub use error::{PromptError, PromptProblem};
pub use id_list::{IdList, TooManyIds};
pub use ids::{IdPrompts, read_ids};
pub use input::check_rereadable;
pub use reader::{MAX_FILE_BYTES, Prompts, read_prompts};
