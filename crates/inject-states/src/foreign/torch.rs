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
                let array = self.array(name, tensor)?;
                self.arrays.push(array);
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

    /// Returns the array of a tensor whose values all lie within its storage.
    fn array(&self, name: String, tensor: &Tensor) -> Result<Array, ForeignProblem> {
        let name = if name.is_empty() { "the tensor".to_owned() } else { name };
        let outside = || ForeignProblem::Storage { tensor: name.clone() };
        let entry = self.places.get(tensor.storage.as_str()).ok_or_else(outside)?;
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
        let last = axes.iter().try_fold(tensor.offset, |last, axis| {
            last.checked_add(axis.length.saturating_sub(1).checked_mul(axis.stride)?)
        });
        // An axis may repeat values, so a shape is not bounded by its storage.
        let values = axes.iter().try_fold(1_usize, |product, axis| product.checked_mul(axis.length));
        let empty = axes.iter().any(|axis| axis.length == 0);
        let fits = |values: usize| values as u64 <= entry.length / size as u64;
        let inside = last.and_then(|last| last.checked_add(1)).is_some_and(fits);
        if !(empty || inside && values.is_some_and(fits)) {
            return Err(outside());
        }
        let start = entry.start + (tensor.offset * size) as u64;
        Ok(Array { name, elements: tensor.elements.clone(), axes, content: entry.content, start })
    }
}
