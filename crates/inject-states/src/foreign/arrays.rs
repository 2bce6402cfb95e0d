//! The named arrays of a file, before anything is known of their meaning.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
};

use super::{
    ForeignProblem,
    encoding::{ByteOrder, Encoding},
    names::TapName,
    values::zeros,
};

/// Everything a file holds that could be states, ids or names.
#[derive(Debug)]
pub(super) struct Archive {
    /// The places of the bytes. The first is the file itself, or its unpacked content.
    pub(super) contents: Vec<Content>,
    pub(super) arrays: Vec<Array>,
    /// Lists of integers by name, one for each prompt.
    pub(super) lists: HashMap<String, Vec<Vec<i128>>>,
    /// Texts by name, such as the metadata of a `.safetensors` file.
    pub(super) metadata: HashMap<String, String>,
}

/// Bytes that can be read from any place.
#[derive(Debug)]
pub(super) enum Content {
    File(File),
    Memory(Cursor<Vec<u8>>),
}

/// A named array whose values have not been read.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub(super) name: String,
    pub(super) elements: Elements,
    pub(super) axes: Vec<Axis>,
    /// The index of its bytes in [`Archive::contents`].
    pub(super) content: usize,
    /// The offset of the first value there.
    pub(super) start: u64,
    /// Whether its values lie there. A tensor of a damaged file that nobody reads is no reason to refuse the others.
    pub(super) is_whole: bool,
}

/// The numbers of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Elements {
    Float(Encoding),
    Integer {
        bytes: usize,
        signed: bool,
        byte_order: ByteOrder,
    },
    /// One byte each, 0 or 1.
    Truth,
    /// Numbers that are neither states nor ids, by the name the file gives them.
    Other(String),
}

/// The length of an axis, and the distance of its neighbours in values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) length: usize,
    pub(super) stride: usize,
}

impl Archive {
    /// Returns the index of the array of this name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.arrays.iter().position(|array| array.name == name)
    }

    /// Reads the vectors of a list as tensors of one row, if its first entry has rows: the steps of a generation (SGLang).
    pub(super) fn rows_of_lists(&mut self) {
        let is_list = |array: &Array, at: Option<usize>| match TapName::parse(&array.name) {
            Some(TapName::Listed(index)) => at.is_none_or(|at| at == index) && array.encoding().is_some(),
            _ => false,
        };
        let begins = |array: &&Array| is_list(array, Some(0)) && array.axes.len() > 1;
        let Some(axes) = self.arrays.iter().find(begins).map(|array| array.axes.clone()) else { return };
        for array in &mut self.arrays {
            if let [dimensions] = array.axes[..]
                && is_list(array, None)
                && axes.last().is_some_and(|first| first.length == dimensions.length)
            {
                let one = Axis { length: 1, stride: dimensions.length };
                array.axes = [vec![one; axes.len() - 1], vec![dimensions]].concat();
            }
        }
    }

    /// Names the states of a list of dictionaries, one for each prompt, as those of a list: `0.hidden_states` is `hidden_states.0`.
    ///
    /// sentence-transformers names them `token_embeddings`, and a model without its head `last_hidden_state`, which may stand beside all layers.
    pub(super) fn states_of_dictionaries(&mut self) {
        const STATES: [&str; 4] = ["states", "hidden_states", "token_embeddings", "last_hidden_state"];
        let place = |part: &str| STATES.iter().position(|states| *states == part);
        // The names up to the first part of these: `0.hidden_states` of `0.hidden_states.5` too.
        let mut known: HashSet<String> = HashSet::new();
        for name in self.arrays.iter().map(|array| &array.name) {
            let mut end = 0;
            for part in name.split('.') {
                end += part.len();
                if place(part).is_some() {
                    known.insert(name[..end].to_owned());
                    break;
                }
                end += 1;
            }
        }
        for array in &mut self.arrays {
            let Some((dictionary, part)) = array.name.rsplit_once('.') else { continue };
            let (Some(number), Some(place)) = (number_of_dictionary(&array.name), place(part)) else {
                continue;
            };
            let better = STATES[..place].iter().any(|other| known.contains(&format!("{dictionary}.{other}")));
            let is_of_module = part == "hidden_states" && TapName::parse(&array.name).is_some();
            if !better && !is_of_module {
                array.name = format!("hidden_states.{number}");
            }
        }
    }

    /// The full names of numbers of this name: the one at the top of the file, or else those within its lists and dictionaries, in order.
    ///
    /// Of a tensor within a dictionary, `beside`, only those in the same dictionary are the ones.
    pub(super) fn full_names(&self, name: &str, beside: Option<&str>) -> Vec<String> {
        let own = beside.and_then(|tensor| Some(format!("{}.{name}", tensor.rsplit_once('.')?.0)));
        for name in own.iter().map(String::as_str).chain([name]) {
            if self.lists.contains_key(name) || self.position(name).is_some() {
                return vec![name.to_owned()];
            }
        }
        let integers = self.arrays.iter().map(|array| &array.name);
        let is_within = |full: &&String| full.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        let mut within: Vec<String> = integers.chain(self.lists.keys()).filter(is_within).cloned().collect();
        within.sort_by(|a, b| number_of_dictionary(a).cmp(&number_of_dictionary(b)).then_with(|| a.cmp(b)));
        within
    }

    /// Whether the arrays are named as vLLM names them.
    pub(super) fn is_of_vllm(&self) -> bool {
        let has_ids = self.position("token_ids").is_some() || self.lists.contains_key("token_ids");
        self.position("hidden_states").is_some() && has_ids
    }

    /// Reads the integers of an array in the order of its axes.
    pub(super) fn integers(&mut self, index: usize) -> Result<Vec<i128>, ForeignProblem> {
        let array = &self.arrays[index];
        let (bytes, signed, byte_order) = match array.elements {
            Elements::Integer { bytes, signed, byte_order } => (bytes, signed, byte_order),
            Elements::Truth => (1, false, ByteOrder::Little),
            _ => return Err(array.unknown_dtype("an integer")),
        };
        let raw = self.raw(index, bytes)?;
        Ok(raw.chunks_exact(bytes).map(|number| integer(number, signed, byte_order)).collect())
    }

    /// Reads the floats of an array in the order of its axes.
    pub(super) fn floats(&mut self, index: usize, encoding: Encoding) -> Result<Vec<f64>, ForeignProblem> {
        let bytes = encoding.format.bytes();
        let raw = self.raw(index, bytes)?;
        Ok(raw.chunks_exact(bytes).map(|number| encoding.decode(number)).collect())
    }

    /// Reads the bytes of an array in the order of its axes.
    fn raw(&mut self, index: usize, bytes: usize) -> Result<Vec<u8>, ForeignProblem> {
        let array = &self.arrays[index];
        array.check_whole()?;
        let values = array.values()?;
        let mut raw = zeros::<u8>(values * bytes)?;
        let mut position = 0;
        let content = &mut self.contents[array.content];
        for offset in array.offsets() {
            content.seek(SeekFrom::Start(array.start + (offset * bytes) as u64))?;
            content.read_exact(&mut raw[position..position + bytes])?;
            position += bytes;
        }
        Ok(raw)
    }
}

impl Array {
    /// An array in the order of C, whose last axis varies fastest.
    pub(super) fn contiguous(
        name: impl Into<String>,
        elements: Elements,
        shape: &[usize],
        content: usize,
        start: u64,
    ) -> Self {
        let mut stride = 1_usize;
        let mut axes: Vec<Axis> = Vec::with_capacity(shape.len());
        for &length in shape.iter().rev() {
            axes.push(Axis { length, stride });
            stride = stride.saturating_mul(length);
        }
        axes.reverse();
        Array { name: name.into(), elements, axes, content, start, is_whole: true }
    }

    /// The same array in Fortran's order, whose first axis varies fastest.
    pub(super) fn in_fortran_order(mut self) -> Self {
        let mut stride = 1_usize;
        for axis in &mut self.axes {
            axis.stride = stride;
            stride = stride.saturating_mul(axis.length);
        }
        self
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.length).collect()
    }

    /// The length of the axis before the last, which is that of the rows in a batch of one. 0 if there is none.
    pub(super) fn rows(&self) -> usize {
        self.axes.len().checked_sub(2).map_or(0, |place| self.axes[place].length)
    }

    /// The number of its prompts, if it is `[token, d_model]` or `[prompt, token, d_model]`.
    pub(super) fn prompts(&self) -> Option<usize> {
        match self.axes[..] {
            _ if !self.is_whole => None,
            [_, _] => Some(1),
            [batch, _, _] => Some(batch.length),
            _ => None,
        }
    }

    /// The encoding of its floats, if it holds floats.
    pub(super) fn encoding(&self) -> Option<Encoding> {
        match self.elements {
            Elements::Float(encoding) => Some(encoding),
            _ => None,
        }
    }

    /// Fails if its values do not lie where the file says.
    pub(super) fn check_whole(&self) -> Result<(), ForeignProblem> {
        if self.is_whole { Ok(()) } else { Err(ForeignProblem::Storage { tensor: self.name.clone() }) }
    }

    /// Its name and shape, for people who choose among arrays.
    pub(super) fn described(&self) -> String {
        format!("`{}` {:?}", self.name, self.shape())
    }

    pub(super) fn unknown_dtype(&self, expected: &'static str) -> ForeignProblem {
        ForeignProblem::Dtype { tensor: self.name.clone(), found: self.elements.to_string(), expected }
    }

    /// Returns the number of values, unless its bytes overflow.
    fn values(&self) -> Result<usize, ForeignProblem> {
        let product = self.axes.iter().try_fold(1_usize, |product, axis| product.checked_mul(axis.length));
        product.filter(|&values| values <= usize::MAX / 8).ok_or(ForeignProblem::OutOfMemory)
    }

    /// The offsets of its values in the order of its axes.
    fn offsets(&self) -> impl Iterator<Item = usize> {
        let axes = &self.axes;
        let values = axes.iter().map(|axis| axis.length).product();
        (0..values).map(move |index| {
            let mut rest: usize = index;
            let mut offset = 0;
            for axis in axes.iter().rev() {
                offset += rest % axis.length * axis.stride;
                rest /= axis.length;
            }
            offset
        })
    }
}

impl Elements {
    /// The bytes of one number, if these are numbers that can be read.
    pub(super) fn bytes(&self) -> Option<usize> {
        match self {
            Elements::Float(encoding) => Some(encoding.format.bytes()),
            Elements::Integer { bytes, .. } => Some(*bytes),
            Elements::Truth => Some(1),
            Elements::Other(_) => None,
        }
    }
}

impl std::fmt::Display for Elements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Elements::Float(encoding) => write!(f, "{}", encoding.format.to_string().to_uppercase()),
            Elements::Integer { bytes, signed, .. } => {
                write!(f, "{}{}", if *signed { 'I' } else { 'U' }, 8 * bytes)
            }
            Elements::Truth => f.write_str("BOOL"),
            Elements::Other(name) => f.write_str(name),
        }
    }
}

impl Content {
    pub(super) fn memory(bytes: Vec<u8>) -> Self {
        Content::Memory(Cursor::new(bytes))
    }

    pub(super) fn length(&self) -> io::Result<u64> {
        match self {
            Content::File(file) => Ok(file.metadata()?.len()),
            Content::Memory(bytes) => Ok(bytes.get_ref().len() as u64),
        }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Content::File(file) => file.read(buffer),
            Content::Memory(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Content {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Content::File(file) => file.seek(to),
            Content::Memory(bytes) => bytes.seek(to),
        }
    }
}

/// The number of the dictionary in a list that an entry is directly in: 3 of `outputs.3.input_ids`.
pub(super) fn number_of_dictionary(name: &str) -> Option<usize> {
    name.rsplit('.').nth(1)?.parse().ok()
}

/// Returns an integer of one to eight bytes.
fn integer(bytes: &[u8], signed: bool, byte_order: ByteOrder) -> i128 {
    let mut little = [0; 8];
    little[..bytes.len()].copy_from_slice(bytes);
    if byte_order == ByteOrder::Big {
        little[..bytes.len()].reverse();
    }
    let negative = signed && little[bytes.len() - 1] >= 0x80;
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(&little[..bytes.len()]);
    i128::from_le_bytes(wide)
}
