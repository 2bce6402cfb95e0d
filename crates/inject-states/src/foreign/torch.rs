//! Files of `torch.save`: a ZIP file of a pickle and the storages of its tensors.
//!
//! The pickle is read by a machine of our own that knows tensors and containers and can run nothing. The reader of burn-store
//! takes only a dictionary, and files of states are often a tensor, a list or a tuple of tuples.

mod pickle;

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Seek, SeekFrom},
};

use super::{
    ForeignProblem,
    arrays::{Archive, Array, Axis, Content, Elements},
    beside,
    zip_entries::{self, Entry},
};
pub use pickle::PickleProblem;
use pickle::{Node, Pickle, Tensor};

/// The beginning of a ZIP file.
const ZIP: &[u8] = b"PK\x03\x04";

/// The beginning of a file of PyTorch before 1.6: a pickle of a magic number.
const BEFORE_1_6: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// The longest pickle that is read, in bytes. It holds names and shapes only.
const LONGEST_PICKLE: u64 = 64 << 20;

/// The deepest nesting of containers that is followed.
const DEEPEST: usize = 8;

/// The average number of visits allowed for each value. One container may be part of several.
const MOST_SHARED: usize = 4;

/// The most values of a tensor that repeats those of its storage, as `expand` makes it. A small file cannot ask for more memory.
const MOST_REPEATED: usize = 1 << 24;

pub(super) fn read(mut content: Content, most_unpacked: u64) -> Result<Archive, ForeignProblem> {
    let mut magic = [0; 16];
    let length = content.length()?.min(magic.len() as u64) as usize;
    content.read_exact(&mut magic[..length])?;
    if magic.starts_with(BEFORE_1_6) {
        return Err(ForeignProblem::TorchBefore16);
    }
    if !magic.starts_with(ZIP) {
        let found = magic[..length.min(4)].escape_ascii().to_string();
        return Err(ForeignProblem::NotTorch { found });
    }
    let mut contents = vec![content];
    let entries = zip_entries::entries(&mut contents, most_unpacked)?;
    let pickle = entries.iter().find(|entry| entry.name == "data.pkl" || entry.name.ends_with("/data.pkl"));
    let Some(pickle) = pickle else { return Err(ForeignProblem::NoPickle) };
    let root = pickle.name.trim_end_matches("data.pkl");
    let text = bytes(&mut contents, pickle)?;
    if let Some(order) = entries.iter().find(|entry| entry.name == format!("{root}byteorder"))
        && bytes(&mut contents, order)? == b"big"
    {
        return Err(ForeignProblem::TorchBigEndian);
    }
    let places: HashMap<&str, &Entry> = entries
        .iter()
        .filter_map(|entry| Some((entry.name.strip_prefix(root)?.strip_prefix("data/")?, entry)))
        .collect();
    let pickle = Pickle::read(&text).map_err(ForeignProblem::Pickle)?;
    let mut walk = Walk {
        pickle: &pickle,
        places,
        arrays: Vec::new(),
        lists: HashMap::new(),
        above: HashSet::new(),
        visited: 0,
    };
    walk.go(pickle.root, String::new(), 0)?;
    let Walk { arrays, lists, .. } = walk;
    Ok(Archive { contents, arrays, lists, metadata: HashMap::new() })
}

fn bytes(contents: &mut [Content], entry: &Entry) -> Result<Vec<u8>, ForeignProblem> {
    if entry.length > LONGEST_PICKLE {
        return Err(ForeignProblem::HeaderTooLong { found: entry.length, limit: LONGEST_PICKLE });
    }
    let mut bytes = vec![0; entry.length as usize];
    let content = &mut contents[entry.content];
    content.seek(SeekFrom::Start(entry.start))?;
    content.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The walk over the containers of a pickle, which collects its tensors under dotted names.
struct Walk<'a> {
    pickle: &'a Pickle,
    places: HashMap<&'a str, &'a Entry>,
    arrays: Vec<Array>,
    lists: HashMap<String, Vec<Vec<i128>>>,
    /// The containers above the one that is read. A container can be part of itself.
    above: HashSet<usize>,
    /// The values that were visited, some of them several times.
    visited: usize,
}

impl Walk<'_> {
    fn go(&mut self, node: usize, name: String, depth: usize) -> Result<(), ForeignProblem> {
        let pickle = self.pickle;
        let children: Vec<(String, usize)> = match &pickle.nodes[node] {
            Node::Tensor(tensor) => {
                self.arrays.push(self.array(name, tensor));
                return Ok(());
            }
            Node::List(items) => {
                if beside::is_known(name.rsplit('.').next().unwrap_or_default()) {
                    match self.integers(node, &name) {
                        Ok(list) => {
                            self.lists.insert(name, list);
                            return Ok(());
                        }
                        // Within a dictionary it may be something else.
                        Err(problem) if !name.contains('.') => return Err(problem),
                        Err(_) => {}
                    }
                }
                items.iter().enumerate().map(|(index, &item)| (index.to_string(), item)).collect()
            }
            Node::Dict(items) => {
                items.iter().filter_map(|&(key, value)| Some((pickle.key(key)?, value))).collect()
            }
            _ => return Ok(()),
        };
        self.visited += children.len();
        let shared = self.visited > MOST_SHARED * pickle.nodes.len();
        if depth == DEEPEST || shared || !self.above.insert(node) {
            return Err(ForeignProblem::Pickle(PickleProblem::Nested));
        }
        for (key, child) in children {
            let name = if name.is_empty() { key } else { format!("{name}.{key}") };
            self.go(child, name, depth + 1)?;
        }
        self.above.remove(&node);
        Ok(())
    }

    /// Returns the integers of a list for each prompt: those of a list, or of the lists in it.
    fn integers(&self, node: usize, name: &str) -> Result<Vec<Vec<i128>>, ForeignProblem> {
        let nodes = &self.pickle.nodes;
        let of = |node: usize| -> Option<Vec<i128>> {
            let Node::List(items) = &nodes[node] else { return None };
            let number = |&item: &usize| match nodes[item] {
                Node::Int(number) => Some(i128::from(number)),
                _ => None,
            };
            items.iter().map(number).collect()
        };
        let length = |&item: &usize| if let Node::List(items) = &nodes[item] { items.len() } else { 0 };
        let lists = || match &nodes[node] {
            Node::List(items) if items.iter().map(length).sum::<usize>() <= MOST_SHARED * nodes.len() => {
                items.iter().map(|&item| of(item)).collect()
            }
            _ => None,
        };
        let found = of(node).map(|list| vec![list]).or_else(lists);
        found
            .filter(|lists| lists.iter().all(|list| !list.is_empty()))
            .ok_or_else(|| ForeignProblem::ListOfIntegers { name: name.to_owned() })
    }

    /// Returns the array of a tensor, and whether its values lie within its storage.
    fn array(&self, name: String, tensor: &Tensor) -> Array {
        let name = if name.is_empty() { "the tensor".to_owned() } else { name };
        let size = match &tensor.elements {
            Elements::Other(_) => 1,
            numbers => numbers.bytes().unwrap_or(1),
        };
        let axes: Vec<Axis> = tensor
            .shape
            .iter()
            .zip(&tensor.strides)
            .map(|(&length, &stride)| Axis { length, stride })
            .collect();
        let entry = self.places.get(tensor.storage.as_str());
        let stored = entry.map_or(0, |entry| entry.length / size as u64);
        let is_whole = entry.is_some() && lie_within(stored, tensor.offset, &axes);
        let (content, start) = match entry {
            Some(entry) if is_whole => (entry.content, entry.start + (tensor.offset * size) as u64),
            _ => (0, 0),
        };
        Array { name, elements: tensor.elements.clone(), axes, content, start, is_whole }
    }
}

/// Whether the values of a tensor lie within a storage of this many, and are not too many.
///
/// The last one is at the sum of the last steps of all axes. Axes may repeat values, those of stride 0 one value, so the shape is not bounded by
/// the storage.
fn lie_within(stored: u64, offset: usize, axes: &[Axis]) -> bool {
    if axes.iter().any(|axis| axis.length == 0) {
        return offset as u64 <= stored;
    }
    let last = axes
        .iter()
        .try_fold(offset, |last, axis| last.checked_add((axis.length - 1).checked_mul(axis.stride)?));
    let values = axes.iter().try_fold(1_usize, |product, axis| product.checked_mul(axis.length));
    last.is_some_and(|last| (last as u64) < stored)
        && values.is_some_and(|values| values as u64 <= stored.max(MOST_REPEATED as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes<const N: usize>(axes: [(usize, usize); N]) -> [Axis; N] {
        axes.map(|(length, stride)| Axis { length, stride })
    }

    #[test]
    fn the_values_of_a_view_are_those_that_its_strides_reach() {
        for (stored, offset, axes, within) in [
            (12, 0, &axes([(3, 4), (4, 1)])[..], true),
            (11, 0, &axes([(3, 4), (4, 1)]), false),
            (12, 1, &axes([(3, 4), (4, 1)]), false),
            // `expand` and `unfold` repeat values.
            (1, 0, &axes([(1, 1), (14, 0)]), true),
            (4, 0, &axes([(100, 0), (4, 1)]), true),
            (4, 1, &axes([(100, 0), (4, 1)]), false),
            (5, 0, &axes([(3, 1), (3, 1)]), true),
            (4, 0, &axes([(3, 1), (3, 1)]), false),
            (1, 0, &axes([(MOST_REPEATED, 0)]), true),
            (1, 0, &axes([(MOST_REPEATED + 1, 0)]), false),
            (1, 0, &axes([(usize::MAX, 0), (usize::MAX, 0)]), false),
            (1, 0, &axes([(2, usize::MAX)]), false),
            // A scalar and nothing at all.
            (1, 0, &[], true),
            (0, 0, &[], false),
            (0, 0, &axes([(0, 1)]), true),
            (0, 1, &axes([(0, 1)]), false),
        ] {
            assert_eq!(lie_within(stored, offset, axes), within, "{stored} {offset} {axes:?}");
        }
    }
}
