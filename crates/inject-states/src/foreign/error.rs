//! Errors of files of states.

use std::{error::Error, fmt, io, path::PathBuf};

use inject_models::{Tap, TapError, checkpoint::HeaderError};

use super::{
    Axes, PickleProblem,
    layout::{counted, readings_of},
};

/// A file that cannot be read as states.
#[derive(Debug)]
#[non_exhaustive]
pub struct ForeignError {
    /// Path of the file of states.
    pub path: PathBuf,
    /// The problem with its content.
    pub problem: ForeignProblem,
}

impl fmt::Display for ForeignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl Error for ForeignError {
    /// Returns the source of the problem. The problem itself is part of this error's text.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

/// The problem with the file that vLLM-Hook writes beside its states.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SidecarProblem {
    /// It cannot be opened or read.
    #[error("cannot be opened or read")]
    Io(#[from] io::Error),
    /// It is not JSON, or the lengths of the prompts are not numbers.
    #[error("not the JSON of a sidecar")]
    Json(#[from] serde_json::Error),
    /// It is longer than any sidecar.
    #[error("it has more than {limit} bytes")]
    TooLong {
        /// The most bytes that are read.
        limit: u64,
    },
}

/// The problem with a file of states.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignProblem {
    /// The file cannot be opened, read or written.
    #[error("cannot be opened, read or written")]
    Io(#[from] io::Error),
    /// The file beside the states that has the name of a sidecar cannot be read as one, nor as other JSON.
    #[error("cannot read {} beside it; move that file if it does not describe these states", path.display())]
    Sidecar {
        /// The file beside the states.
        path: PathBuf,
        /// The problem with it.
        source: SidecarProblem,
    },
    /// The ending of the file's name is not that of a known format.
    #[error("unknown ending `{found}`: expected one of {known}")]
    UnknownEnding {
        /// The ending, without the dot.
        found: String,
        /// The endings of the known formats.
        known: &'static str,
    },
    /// The file ends before its header does.
    #[error("the file is {found} bytes long, but its header needs {expected}")]
    HeaderCutOff {
        /// The length of the file.
        found: u64,
        /// The length it needs at least.
        expected: u64,
    },
    /// A header of a length that no writer needs.
    #[error("the header claims {found} bytes, more than the {limit} allowed")]
    HeaderTooLong {
        /// The length the file claims.
        found: u64,
        /// The longest one that is read.
        limit: u64,
    },
    /// The header of a `.safetensors` file is malformed.
    #[error("not a safetensors header")]
    SafetensorsHeader {
        /// The fault in the header.
        source: HeaderError,
    },
    /// The file does not begin as a `.npy` file.
    #[error("not a .npy file: it does not begin with \\x93NUMPY")]
    NpyMagic,
    /// A version of the `.npy` format that does not exist yet.
    #[error("unknown .npy version {major}.{minor}: expected 1.0, 2.0 or 3.0")]
    NpyVersion {
        /// The major version that the file states.
        major: u8,
        /// The minor version that the file states.
        minor: u8,
    },
    /// The header of a `.npy` file is not the dictionary the format asks for.
    #[error("malformed .npy header at byte {at}: expected {expected}, found `{found}`")]
    NpyHeader {
        /// The offset in the header.
        at: usize,
        /// The text that the format asks for.
        expected: &'static str,
        /// The text at this offset.
        found: String,
    },
    /// The file is longer or shorter than its header says.
    #[error("the header describes {expected} bytes, but the file has {found}")]
    Length {
        /// The length of the whole file by its header.
        expected: u128,
        /// The length of the whole file.
        found: u64,
    },
    /// A compressed file that ends before its content does.
    #[error("the compressed file ends before its content does: it was cut off")]
    PackedCutOff,
    /// A compressed file that unpacks to more than is read.
    #[error("it unpacks to more than {most} bytes")]
    UnpacksToTooMuch {
        /// The largest accepted size, in bytes.
        most: u64,
    },
    /// A ZIP file that cannot be read.
    #[error("not a ZIP file that can be read")]
    Zip(#[from] zip::result::ZipError),
    /// A ZIP file with more entries than any program writes.
    #[error("the ZIP file has {found} entries, expected at most {most}")]
    TooManyEntries {
        /// The number of entries that the ZIP file lists.
        found: usize,
        /// The largest number of entries that is accepted.
        most: usize,
    },
    /// An entry of a ZIP file that does not lie within it.
    #[error("the entry `{name}` does not lie within the ZIP file")]
    Entry {
        /// Name of the entry, as the ZIP file lists it.
        name: String,
    },
    /// A compressed entry of a ZIP file that unpacks to another length than announced.
    #[error("the entry `{name}` does not unpack to the {expected} bytes that the ZIP file announces")]
    EntryLength {
        /// Name of the entry, as the ZIP file lists it.
        name: String,
        /// The length in bytes that the file announces.
        expected: u64,
    },
    /// A file named as PyTorch's that is not one.
    #[error("not a file of torch.save: it begins with `{found}`")]
    NotTorch {
        /// The first bytes of the file, escaped.
        found: String,
    },
    /// A file of PyTorch before 1.6.
    #[error("written by PyTorch before 1.6: torch.save(torch.load(FILE), FILE) in a newer one converts it")]
    TorchBefore16,
    /// A file of a machine whose numbers begin with the highest byte.
    #[error("written by PyTorch on a big-endian machine")]
    TorchBigEndian,
    /// A ZIP file without the pickle of `torch.save`.
    #[error("no `data.pkl`: not a file of torch.save")]
    NoPickle,
    /// A pickle that is not read.
    #[error("its pickle is not read")]
    Pickle(#[source] PickleProblem),
    /// A tensor that reaches beyond its storage, or repeats it too often.
    #[error(
        "`{tensor}` does not lie within its storage, or repeats its values more often than any file needs"
    )]
    Storage {
        /// Name of the tensor, as the pickle has it.
        tensor: String,
    },
    /// No tensor is named like states.
    #[error(
        "no tensor `states` or `hidden_states`, and no single tensor or list of layers that could be states; the file has {}: name one of them by `tensor`",
        listed(found)
    )]
    NoStates {
        /// The tensors of the file, with their shapes.
        found: Vec<String>,
    },
    /// The file has no tensor of the name that the caller gave.
    #[error("no tensor `{name}`; the file has {}", listed(found))]
    NoTensor {
        /// The name that the caller gave.
        name: String,
        /// The tensors of the file, with their shapes.
        found: Vec<String>,
    },
    /// The caller's tensor is a hook of TransformerLens within a block.
    #[error(
        "`{tensor}` is a state within a block, at no tap: those at taps are blocks.N.hook_resid_pre and blocks.N.hook_resid_post"
    )]
    WithinBlock {
        /// Name of the tensor that the caller gave.
        tensor: String,
    },
    /// The last state of each prompt, as vLLM-Hook writes it by default.
    #[error(
        "`{tensor}` holds only the last state of each prompt, from which no prompt can be recovered: vLLM-Hook writes all with \
         VLLM_HOOK_HS_MODE=all_tokens"
    )]
    LastStates {
        /// Name of a tensor of such states.
        tensor: String,
    },
    /// An entry of a list of states that has no place among them.
    #[error(
        "`{tensor}` of shape {shape:?} is part of a list, but not one of its layers or steps: name one of its tensors by `tensor`"
    )]
    ListEntry {
        /// Name of the entry.
        tensor: String,
        /// The shape that the file states.
        shape: Vec<usize>,
    },
    /// A list that should be one of integers, such as token ids.
    #[error("`{name}` is a list: expected integers, or a list of integers for each prompt")]
    ListOfIntegers {
        /// Name of the list.
        name: String,
    },
    /// Two tensors are named like states.
    #[error("both a tensor `states` and a tensor `hidden_states`: expected one of them")]
    TwoStates,
    /// A dtype that is not accepted.
    #[error("`{tensor}` has dtype {found}: expected {expected}")]
    Dtype {
        /// Name of the tensor with the wrong number format.
        tensor: String,
        /// The dtype as the file spells it.
        found: String,
        /// The dtypes that states may have.
        expected: &'static str,
    },
    /// A shape with too many or too few axes.
    #[error("`{tensor}` has shape {shape:?}: expected two to four axes, with d_model last")]
    Dimensions {
        /// Name of the tensor with too few or too many axes.
        tensor: String,
        /// The shape that the file states.
        shape: Vec<usize>,
    },
    /// A tensor has an axis of length zero.
    #[error("`{tensor}` of shape {shape:?} is empty")]
    Empty {
        /// Name of the tensor without values.
        tensor: String,
        /// The shape that the file states.
        shape: Vec<usize>,
    },
    /// The shape fits none of the layouts that are read.
    #[error(
        "`{tensor}` has shape {shape:?} before d_model, which does not fit {}{}",
        beside(*n_tokens, *by_mask, *n_taps, *n_prompts, *axes),
        if *by_mask { "; ignore the mask by `ignore_mask`" } else { "" }
    )]
    Mismatch {
        /// Name of the tensor whose shape fits nothing that is known.
        tensor: String,
        /// The shape, without the last axis.
        shape: Vec<usize>,
        /// The number of token ids beside it, or the length of the mask.
        n_tokens: Option<usize>,
        /// Whether the number of tokens is that of the attention mask, and there are no ids.
        by_mask: bool,
        /// The number of taps by the names beside it, or by those of the tensors.
        n_taps: Option<usize>,
        /// The number of prompts by the ids or lengths beside it.
        n_prompts: Option<usize>,
        /// The axes that the caller requested.
        axes: Option<Axes>,
    },
    /// The shape fits several readings.
    #[error(
        "`{tensor}` of shape {shape:?} before d_model can be read as {}, and nothing in the file decides: say which by `axes`",
        readings_of(readings, shape)
    )]
    Ambiguous {
        /// Name of the tensor whose shape has several readings.
        tensor: String,
        /// Its shape without the last axis.
        shape: Vec<usize>,
        /// The readings that fit the shape.
        readings: Vec<Axes>,
    },
    /// The pieces of a column differ in more than their rows.
    #[error("{tensor} has other prompts or taps than the step before it")]
    Steps {
        /// The tensor and its step, in words.
        tensor: String,
    },
    /// Two entries of lists with one number.
    #[error("both `{first}` and `{second}` could be one layer or step: name one of them by `tensor`")]
    RepeatedEntry {
        /// Name of one entry.
        first: String,
        /// Name of the other.
        second: String,
    },
    /// A list that is longer than that of all taps.
    #[error(
        "a list of {entries} tensors such as `{tensor}` of shape {shape:?} cannot be layers: the model has {most_taps} taps; \
         say by `axes` whether they are prompts of several rows (batch-token) or the steps of a generation (token)"
    )]
    MoreEntries {
        /// Name of the first entry.
        tensor: String,
        /// The shape of the first entry.
        shape: Vec<usize>,
        /// The number of entries.
        entries: usize,
        /// The number of taps of the model.
        most_taps: usize,
    },
    /// Lists of layers that are steps of a generation, or prompts.
    #[error(
        "`{tensor}` has {rows} rows, and a step of a generation has one: say by `axes` whether the lists are those of prompts \
         (batch-tap-token) or of steps (token)"
    )]
    StepOfRows {
        /// Name of a tensor of the last step.
        tensor: String,
        /// The number of its rows.
        rows: usize,
    },
    /// Lists of layers, each with one row more than the one before.
    #[error(
        "`{tensor}` has {rows} rows, and each list before it has one row less than the next, as `generate(use_cache=False)` writes its steps: \
         the last step has the rows of all tokens; read it by `axes` (batch-tap-token) and by `row` ({last}), which reads each list as a prompt"
    )]
    GrowingSteps {
        /// Name of a tensor of the last step.
        tensor: String,
        /// The number of its rows.
        rows: usize,
        /// The number of the last step, from 0.
        last: usize,
    },
    /// Two columns have different numbers of rows.
    #[error(
        "the number of rows of {tensor} is {found}, expected {expected} as at the first tap; {}",
        if *may_be_prompts {
            "if these are prompts or batches of them, say so by `axes`: batch-token"
        } else {
            "name one of the tensors by `tensor`"
        }
    )]
    UnequalRows {
        /// The tensor and its tap, in words.
        tensor: String,
        /// The number of its rows.
        found: usize,
        /// The rows of the first column.
        expected: usize,
        /// Whether the tensors would be read as prompts with the axes batch-token.
        may_be_prompts: bool,
    },
    /// The number of tap names differs from the number of columns.
    #[error("the number of names of taps is {taps}, expected {columns}: one for each column")]
    TapCount {
        /// The number of columns in the file.
        columns: usize,
        /// The number of tap names in the metadata.
        taps: usize,
    },
    /// Ids and lengths of different numbers of prompts.
    #[error("the number of prompts is {ids} by the token ids and {rows} by the lengths, expected the same")]
    Prompts {
        /// The prompts that have ids.
        ids: usize,
        /// The prompts that have a length or a mask.
        rows: usize,
    },
    /// A length that no prompt can have.
    #[error("`{tensor}` gives a prompt the length {found}")]
    PromptLength {
        /// Name of the tensor that holds the lengths of the prompts.
        tensor: String,
        /// The length that the file states.
        found: i128,
    },
    /// A mask whose ones are not neighbours.
    #[error(
        "the attention mask of prompt {prompt} is not one span of ones: packed prompts cannot be read; if the mask is wrong, ignore it by \
         `ignore_mask`"
    )]
    Mask {
        /// Number of the prompt within the batch, from 0.
        prompt: usize,
    },
    /// A mask with other axes than those of a batch.
    #[error(
        "`{tensor}` has shape {shape:?}: expected [token], [prompt, token], [prompt, 1, 1, token] or [prompt, 1, token, token]; ignore it by \
         `ignore_mask`"
    )]
    MaskShape {
        /// Name of the mask.
        tensor: String,
        /// The shape that the file states.
        shape: Vec<usize>,
    },
    /// A mask that is neither that of the prompt before a generation, nor that of all rows.
    #[error(
        "the attention mask has {found} columns: expected {in_prompt}, one for each row of the prompt, or {rows}, with those of the \
         generation; ignore it by `ignore_mask`"
    )]
    MaskOfSteps {
        /// The columns of the mask.
        found: usize,
        /// The rows of the prompt.
        in_prompt: usize,
        /// The rows of the prompt and of the generation.
        rows: usize,
    },
    /// Padding between a prompt and the rows of a generation after it.
    #[error(
        "prompt {prompt} is padded on the right, and rows of a generation follow: pad on the left, or save its rows alone"
    )]
    PaddedBeforeSteps {
        /// Number of the prompt within the batch, from 0.
        prompt: usize,
    },
    /// A prompt longer than the rows of the batch.
    #[error("prompt {prompt} ends at row {found}, but the batch has {rows} rows")]
    PromptTooLong {
        /// Number of the prompt within the batch, from 0.
        prompt: usize,
        /// The end of the prompt.
        found: usize,
        /// The rows of each prompt of the batch.
        rows: usize,
    },
    /// Padding before a prompt of a model whose positions are learned.
    #[error(
        "prompt {prompt} stands after {rows} rows of padding on the left: this model learns a vector for each position, so its states \
         are those of tokens moved by {rows}, and no prompt has them; pad on the right"
    )]
    LeftPadding {
        /// Number of the prompt within the batch, from 0.
        prompt: usize,
        /// The number of rows of padding before the prompt.
        rows: usize,
    },
    /// More rows than token ids.
    #[error(
        "expected no more rows of states than token ids, found {rows} for {ids}, and the last rows are not zeros"
    )]
    MoreRows {
        /// The number of rows of states.
        rows: usize,
        /// The number of token ids.
        ids: usize,
    },
    /// One prompt of several was requested, and it was not said which.
    #[error("the file holds {prompts} prompts: say which by `row`, from 0")]
    ManyPrompts {
        /// The number of prompts in the file.
        prompts: usize,
    },
    /// A prompt beyond the last was requested.
    #[error("no prompt {found}: the file has {prompts}, counted from 0")]
    NoSuchPrompt {
        /// The requested index, from 0.
        found: usize,
        /// The number of prompts in the file.
        prompts: usize,
    },
    /// Token ids of another shape.
    #[error("`{tensor}` has shape {shape:?}: expected [token] or [prompt, token]")]
    TokenIdsShape {
        /// Name of the tensor of token ids.
        tensor: String,
        /// The shape that the file states.
        shape: Vec<usize>,
    },
    /// The positions of rows that are not one for each row, each once.
    #[error(
        "the positions {found:?} of {rows} rows: expected one for each row, none twice and none negative"
    )]
    Positions {
        /// The positions in the file, of one prompt.
        found: Vec<i128>,
        /// The number of rows of that prompt.
        rows: usize,
    },
    /// A token id out of range.
    #[error("token id {found} at position {position} is not in 0..=4294967295")]
    TokenId {
        /// The position in the prompt, from 0.
        position: usize,
        /// The id in the file.
        found: i128,
    },
    /// A name in the metadata that is not that of a tap.
    #[error("the metadata does not name a tap; `tap_is_known` says that the caller knows or finds it")]
    TapName {
        /// The name and the expected ones.
        #[from]
        source: TapError,
    },
    /// Two columns of the same tap.
    #[error("the metadata names tap {tap} twice")]
    RepeatedTap {
        /// The tap that occurs twice.
        tap: Tap,
    },
    /// Two keys that name taps.
    #[error("the metadata has both `tap` and `taps`")]
    TapAndTaps,
    /// The only column was requested, but there are several.
    #[error("the file has {columns} columns: the caller must say which ({})", listed(origins))]
    ManyColumns {
        /// The tensors of the columns, in words.
        origins: Vec<String>,
        /// The number of columns in the file.
        columns: usize,
    },
    /// A column beyond the last was requested.
    #[error("no column {found}: the file has {columns}, counted from 0")]
    NoSuchColumn {
        /// The requested index, from 0.
        found: usize,
        /// The number of columns in the file.
        columns: usize,
    },
    /// A tap was requested, but the file does not name its columns.
    #[error("the file does not say which column is tap {tap}: the caller must say it by index")]
    UnnamedColumns {
        /// The tap that was requested.
        tap: Tap,
    },
    /// A tap was requested that the file does not have.
    #[error("no tap {tap}: the file has {}", crate::tap_names(known))]
    NoSuchTap {
        /// The tap that was requested.
        tap: Tap,
        /// The taps of the file.
        known: Vec<Tap>,
    },
    /// States of another width than the model's.
    #[error("`{tensor}` holds states of width {found}, expected {expected}")]
    Width {
        /// Name of the tensor of another width.
        tensor: String,
        /// The width in the file.
        found: usize,
        /// The width of the model.
        expected: usize,
    },
    /// A value that is NaN or infinite.
    #[error("`{tensor}` has {value} at row {row}, dimension {dimension} of column {column}")]
    NotFinite {
        /// Name of the tensor that holds the value.
        tensor: String,
        /// Index of the column, from 0.
        column: usize,
        /// Index of the row, from 0.
        row: usize,
        /// The dimension within the state.
        dimension: usize,
        /// The value: NaN or an infinity.
        value: f64,
    },
    /// The states do not fit into memory.
    #[error("not enough memory for the states of one column")]
    OutOfMemory,
}

/// Joins the names of some things, at most a dozen. A file of weights has hundreds of tensors.
fn listed(found: &[String]) -> String {
    const MOST: usize = 12;
    let shown = found[..found.len().min(MOST)].join(", ");
    match found.len().checked_sub(MOST) {
        _ if found.is_empty() => "nothing".to_owned(),
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// Joins the conditions that the shape should fit.
fn beside(
    n_tokens: Option<usize>,
    by_mask: bool,
    n_taps: Option<usize>,
    n_prompts: Option<usize>,
    axes: Option<Axes>,
) -> String {
    let tokens = n_tokens.map(|n| match by_mask {
        true => format!("an attention mask of {}", counted(n, "token")),
        false => counted(n, "token id"),
    });
    let taps = n_taps.map(|n| counted(n, "tap"));
    // Ids of one prompt are those counted.
    let prompts = n_prompts.filter(|&n| n != 1 || n_tokens.is_none()).map(|n| counted(n, "prompt"));
    let axes = axes.map(|axes| format!("the axes {axes}"));
    let all = [tokens, taps, prompts, axes].into_iter().flatten().collect::<Vec<_>>().join(", ");
    if all.is_empty() { "a model of so few taps".to_owned() } else { all }
}
