//! States that another program wrote, in safetensors, NumPy's or PyTorch's files.
//!
//! A file is named arrays: a header gives their names, shapes and places, and every size in it is checked against the length of the
//! file. One layer then reads these arrays as prompts, tokens and taps. If they can be read in two ways, the error lists the
//! readings, and [`ReadOptions`] decides. [`StatesFile::states_at`] reads the states of one tap exactly, because each
//! [`FloatFormat`](inject_models::FloatFormat) fits into F64.
//!
//! # Files
//!
//! | ending | arrays |
//! |---|---|
//! | `.safetensors` | its tensors |
//! | `.npy` | one without a name |
//! | `.npz` | its entries |
//! | `.pt`, `.pth`, `.bin`, `.ckpt` | the tensors in what `torch.save` wrote: a tensor, or lists, tuples and dictionaries of them, named by their path. Nothing in the file is run |
//! | `.gz` after any of them but the first | the same |
//!
//! # Layouts
//!
//! | shape | read as |
//! |---|---|
//! | `[a, d_model]` | `a` tokens at one tap |
//! | `[1, a, d_model]` | the same, with a batch axis |
//! | `[a, b, d_model]` | `a` tokens at `b` taps (vLLM), `a` taps of `b` tokens (stacked layers), or a batch of `a` prompts |
//! | four axes | the same with both an axis of prompts and one of taps |
//! | `[.., k * d_model]` | `k` taps side by side, if the width of the model is known (SpecForge) |
//!
//! The states are the tensor that [`ReadOptions::tensor`] names, or `states` or `hidden_states`, or a tensor for each layer
//! (`layer_0`, `model.layers.0`, `blocks.0.hook_resid_post`, entries of a list), or the only tensor of floats. A list of lists is what
//! `generate(output_hidden_states=True)` returns: the rows of its steps follow each other. A list may also be
//! one of prompts: [`ReadOptions::axes`] says so, or as many ids or lengths, or a dictionary for each, or there is one for each module (vLLM-Hook).
//!
//! The file may also hold token ids (`token_ids`, `input_ids`, `prompt_token_ids`), an `attention_mask` or `seq_lens`, `positions` of rows
//! that are incomplete or in another order, and in the metadata `taps` (names of [`Tap`](inject_models::Tap), comma-separated, one for each
//! column) or `tap` (one name). vLLM-Hook writes a sidecar `.json` beside it.
//! Rows of zeros at the end of a prompt are padding. The files of a [store](crate::store) are of this kind.
//!
//! # Example
//!
//! ```
//! use inject_states::{foreign::{StatesFile, write_npy}, models::Tap};
//! use ndarray::array;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("states.npy");
//! write_npy(&path, array![[0.5, -1.0, 2.0], [0.25, 0.0, 3.0]].view())?;
//!
//! let mut file = StatesFile::open(&path)?;
//! assert_eq!((file.rows(), file.columns(), file.d_model()), (2, 1, 3));
//! let states = file.states_at(Tap::Block(7), 3)?; // the caller knows the tap, since the file does not name it
//! assert_eq!(states.state(1), [0.25, 0.0, 3.0]);
//! assert!(file.states_at(Tap::Block(7), 768).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arrays;
mod beside;
mod container;
mod encoding;
mod error;
mod layout;
#[cfg(test)]
mod malformed;
mod names;
mod npy;
mod npz;
mod options;
mod reading;
mod safetensors;
mod sidecar;
mod states_file;
mod torch;
mod values;
mod zip_entries;

pub use self::{
    error::{ForeignError, ForeignProblem, SidecarProblem},
    layout::{Axes, UnknownAxes},
    npy::write_npy,
    options::{ModelShape, ReadOptions},
    states_file::{ColumnChoice, StatesFile},
    torch::PickleProblem,
};
