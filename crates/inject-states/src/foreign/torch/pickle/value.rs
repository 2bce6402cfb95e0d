//! The values of a pickle.

use inject_models::FloatFormat;

use crate::foreign::{
    arrays::Elements,
    encoding::{ByteOrder, Encoding},
};

/// A pickle as a graph of values.
#[derive(Debug)]
pub(in super::super) struct Pickle {
    pub(in super::super) nodes: Vec<Node>,
    /// The index of the value that was saved.
    pub(in super::super) root: usize,
}

/// A value. Others are named by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Node {
    /// None, a truth value, a float, bytes: nothing that matters here.
    Other,
    Int(i64),
    Text(String),
    /// A list or a tuple.
    List(Vec<usize>),
    Dict(Vec<(usize, usize)>),
    Global(Global),
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
    Mark,
}

/// A function or class that is known. None of them is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Global {
    /// The function `torch._utils._rebuild_tensor_v2`.
    Tensor,
    /// `torch._utils._rebuild_parameter`: its first argument is the tensor.
    Parameter,
    /// `torch._tensor._rebuild_from_type_v2`: a tensor with attributes, as in a static cache. Its arguments are the function that makes the
    /// tensor, a class, and the arguments of the function.
    WithAttributes,
    /// A class whose instances are dictionaries.
    Dict,
    /// `torch.Size` and the like: a tuple.
    Tuple,
    /// A class whose instances hold no states, such as the key-value cache in an output of transformers. Its tensors are left out.
    Inert,
    Storage(Elements),
}

/// The values of tensors, by the name of their entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Storage {
    pub(super) key: String,
    pub(super) elements: Elements,
}

/// A tensor whose values lie in a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Tensor {
    pub(in super::super) storage: String,
    pub(in super::super) elements: Elements,
    /// The offset of the first value, in values.
    pub(in super::super) offset: usize,
    pub(in super::super) shape: Vec<usize>,
    pub(in super::super) strides: Vec<usize>,
}

impl Pickle {
    /// Returns a key of a dictionary as text.
    pub(in super::super) fn key(&self, node: usize) -> Option<String> {
        match &self.nodes[node] {
            Node::Text(text) => Some(text.clone()),
            Node::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

impl Global {
    /// Returns the function or class of a name, if it is known.
    pub(super) fn known(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Global::Tensor,
            ("torch._utils", "_rebuild_parameter") => Global::Parameter,
            ("torch._tensor", "_rebuild_from_type_v2") => Global::WithAttributes,
            ("collections", "OrderedDict") => Global::Dict,
            ("torch", "Size") => Global::Tuple,
            // What the attributes of a cache are made of.
            ("torch", "device" | "Tensor") | ("__builtin__" | "builtins", "set") => Global::Inert,
            ("torch", dtype) if DTYPES.contains(&dtype) => Global::Inert,
            ("torch", storage) => Global::Storage(elements(storage.strip_suffix("Storage")?)?),
            ("transformers.cache_utils", class) if !class.contains('.') => Global::Inert,
            (module, class) if is_of_transformers(module) && !class.contains('.') => match class {
                // A model of transformers returns a dictionary of its results.
                class if class.contains("Output") => Global::Dict,
                // Some models bring a cache of their own.
                class if class.ends_with("Cache") => Global::Inert,
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// The types of numbers that PyTorch names without making a storage.
const DTYPES: [&str; 6] = ["float16", "bfloat16", "float32", "float64", "int64", "bool"];

/// Whether a module is one of transformers, or one that it loaded with a checkpoint.
fn is_of_transformers(module: &str) -> bool {
    module.starts_with("transformers.") || module.starts_with("transformers_modules.")
}

/// Returns the numbers in a storage, by the name of its class without `Storage`.
fn elements(storage: &str) -> Option<Elements> {
    let byte_order = ByteOrder::Little;
    let float = |format| Elements::Float(Encoding { format, byte_order });
    let integer = |bytes, signed| Elements::Integer { bytes, signed, byte_order };
    Some(match storage {
        "Float" => float(FloatFormat::F32),
        "Double" => float(FloatFormat::F64),
        "Half" => float(FloatFormat::F16),
        "BFloat16" => float(FloatFormat::Bf16),
        "Long" => integer(8, true),
        "Int" => integer(4, true),
        "Short" => integer(2, true),
        "Char" => integer(1, true),
        "Byte" => integer(1, false),
        "Bool" => Elements::Truth,
        _ => return None,
    })
}
