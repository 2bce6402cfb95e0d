//! A store of hidden states on disk: one folder, one memory-mappable file per tap, written in blocks.
//!
//! The length of every file is known before the first state is, because the token ids of all prompts are. So each
//! file has its final length and header from the beginning, and a block only fills in its rows. A small journal,
//! written after the block is durable, says how far the store has come; what lies beyond it does not count. A run
//! that is killed at any moment is taken up by running it again: nothing is lost, and nothing is written twice.
//!
//! # Format
//!
//! | file | holds |
//! |---|---|
//! | `manifest.json` | the [`Manifest`]: written last, so a folder without it is not a store |
//! | `prompts.safetensors` | `offsets` I64 `[prompts + 1]`, `token_ids` I32 `[tokens]`: the prompts, whole |
//! | `rows.safetensors` | `prompt`, `position`, `token_id`, each I32 `[rows]`: what each row of the taps belongs to |
//! | `checksums.jsonl` | a checksum for each mebibyte of the states at each tap |
//! | `tap-embedding.safetensors`, `tap-block-1.safetensors`, ..., `tap-final-norm.safetensors` | `states` F32, F16 or BF16 `[rows, d_model]` |
//!
//! Rows are sorted by prompt, then by position. Data begins at a multiple of 64 bytes. The metadata of every
//! safetensors file repeats the model, its revision and weight hash, the policy for BOS and the format version;
//! that of a tap file its tap and dtype as well, so that a file alone still says what it is.
//!
//! An unfinished store has `progress.json` (the journal) and `writer.lock` instead of the manifest, and its files
//! end in `.partial`.
//!
//! # Example
//!
//! ```
//! use inject_models::Tap;
//! use inject_states::store::{Block, Opened, Positions, StateDtype, Store, StoreSpec, StoreWriter};
//!
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path().join("states");
//! let spec = StoreSpec {
//!     model_id: "openai-community/gpt2".to_owned(),
//!     revision: None,
//!     weight_hash: "248dfc39".to_owned(),
//!     tokenizer_hash: None,
//!     taps: vec![Tap::Embedding, Tap::FinalNorm],
//!     dtype: StateDtype::F16,
//!     bos: "never".to_owned(),
//!     bos_added: false,
//!     positions: Positions::Last,
//!     d_model: 2,
//! };
//! let prompts = [vec![464, 3290], vec![464, 3797]];
//!
//! // Running this twice, or killing it in the middle and running it again, makes the same store.
//! if let Opened::Writing(mut writer) = StoreWriter::open(&dir, spec, &prompts)? {
//!     for _ in writer.next_prompt()..prompts.len() {
//!         let states = [(Tap::Embedding, &[0.5, -1.0][..]), (Tap::FinalNorm, &[2.0, 0.25])];
//!         writer.append(&Block { prompts: 1, states: &states })?;
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
mod read;
mod write;

/// The format of the numbers in a store, under the name of an older version.
#[doc(hidden)]
pub type StateDtype = inject_models::FloatFormat;

pub use self::{
    error::StoreError,
    ids::rows::RowIds,
    manifest::{
        FORMAT_VERSION, Manifest, bos::BosPolicy, noise::NoiseFloors, positions::Positions, spec::StoreSpec,
    },
    read::{Store, tap_states::TapStates},
    write::{Opened, StoreWriter, block::Block},
};
