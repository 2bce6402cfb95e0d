//! A store of hidden states on disk: one folder, one memory-mappable file for each tap, written in blocks.
//!
//! The length of every file is known before the first state is, because the token ids of all prompts are. So each
//! file has its final length and header from the beginning, and a block only fills in its rows. A small journal,
//! written after the block is durable, counts the finished prompts; anything beyond them does not count. A run
//! that is killed at any moment continues when it is run again: nothing is lost, and nothing is written twice.
//!
//! A checksum for each mebibyte of states finds damage. [`Store::tap`] names the damaged rows, and running the job again recomputes
//! them.
//!
//! # Format
//!
//! | file | holds |
//! |---|---|
//! | `manifest.json` | the [`Manifest`]: written last, so a folder without it is not a store |
//! | `prompts.safetensors` | `offsets` I64 `[prompts + 1]`, `token_ids` I32 `[tokens]`: the whole prompts |
//! | `rows.safetensors` | `prompt`, `position`, `token_id`, each I32 `[rows]`: the origin of each row of the taps |
//! | `checksums.jsonl` | a checksum for each mebibyte of the states at each tap |
//! | `tap-embedding.safetensors`, `tap-block-1.safetensors`, ..., `tap-final-norm.safetensors` | `states` F32, F16 or BF16 `[rows, d_model]` |
//!
//! Rows are sorted by prompt, then by position. Data begins at a multiple of 64 bytes. The metadata of every
//! safetensors file repeats the model, its revision and weight hash, the policy for BOS and the format version;
//! that of a tap file also its tap and dtype, so that a single file still describes itself.
//!
//! An unfinished store has `progress.json` (the journal), `checksums.progress.jsonl` and `writer.lock` instead of the manifest, and its
//! files end in `.partial`. A store that has lost its checksums opens only by [`Store::open_unverified`].
//!
//! A store may hold one [`Share`](crate::Share) of the prompts of a job. Its manifest says so ([`StoreShare`]), and [`merge()`] puts
//! the stores of all shares together.
//!
//! # Example
//!
//! ```
//! use inject_states::{
//!     models::{FloatFormat, Tap},
//!     store::{Block, Opened, Positions, Store, StoreSpec, StoreWriter},
//! };
//!
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path().join("states");
//! let taps = vec![Tap::Embedding, Tap::FinalNorm];
//! let spec = StoreSpec::new("openai-community/gpt2", "248dfc39", taps, Positions::Last, 2)
//!     .with_dtype(FloatFormat::F16);
//! let prompts = [vec![464, 3290], vec![464, 3797]];
//!
//! // Running this twice, or killing it in the middle and running it again, makes the same store.
//! if let Opened::Writing(mut writer) = StoreWriter::open(&dir, spec, &prompts)? {
//!     for _ in writer.next_prompt()..prompts.len() {
//!         let states = [(Tap::Embedding, &[0.5, -1.0][..]), (Tap::FinalNorm, &[2.0, 0.25])];
//!         writer.append(&Block::new(1, &states))?;
//!     }
//!     writer.finish(None)?;
//! }
//!
//! let store = Store::open(&dir)?;
//! assert_eq!(store.prompt(1), [464, 3797]);
//! assert_eq!(store.rows().position, [1, 1]);
//! assert_eq!(store.tap(Tap::FinalNorm)?.to_array(), ndarray::arr2(&[[2.0, 0.25], [2.0, 0.25]]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checksums;
mod error;
mod ids;
mod layout;
mod manifest;
mod merge;
mod read;
mod write;

pub(crate) use self::ids::prompts::PromptHash;
pub use self::{
    error::StoreError,
    ids::rows::RowIds,
    manifest::{
        FORMAT_VERSION, Manifest, bos::BosPolicy, noise::NoiseFloors, positions::Positions,
        share::StoreShare, spec::StoreSpec,
    },
    merge::merge,
    read::{Store, tap_states::TapStates},
    write::{Opened, StoreWriter, block::Block},
};
