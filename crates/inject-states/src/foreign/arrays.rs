//! The named arrays of a file, before anything is known of their meaning.

mod array;
mod content;

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Seek, SeekFrom},
};

pub(super) use self::{
    array::{Array, Axis, Elements},
    content::Content,
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
