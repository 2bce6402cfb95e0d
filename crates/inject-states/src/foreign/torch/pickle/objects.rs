//! The objects that a pickle may make: tensors and their storages, parameters, dictionaries and tuples.

use super::{
    Machine, PickleProblem,
    value::{Global, Node, Storage, Tensor},
};

impl Machine<'_> {
    pub(super) fn global(&mut self, module: &str, name: &str) -> Result<(), PickleProblem> {
        let global = Global::known(module, name);
        let global = global.ok_or_else(|| PickleProblem::Global { name: format!("{module}.{name}") })?;
        self.push(Node::Global(global))
    }

    /// A persistent id: `("storage", class, key, device, length)`.
    pub(super) fn storage(&mut self, at: usize) -> Result<(), PickleProblem> {
        let malformed = PickleProblem::Malformed { at };
        let id = self.pop(at)?;
        let Node::List(parts) = &self.nodes[id] else { return Err(malformed) };
        let [_, class, key, ..] = parts[..] else { return Err(malformed) };
        let (Node::Global(Global::Storage(elements)), Node::Text(key)) =
            (&self.nodes[class], &self.nodes[key])
        else {
            return Err(malformed);
        };
        let storage = Storage { key: key.clone(), elements: elements.clone() };
        self.push(Node::Storage(storage.into()))
    }

    /// Applies a known function or class to its arguments.
    pub(super) fn reduce(&mut self, at: usize) -> Result<(), PickleProblem> {
        let malformed = PickleProblem::Malformed { at };
        let (arguments, function) = (self.pop(at)?, self.pop(at)?);
        let (Node::List(arguments), Node::Global(function)) = (&self.nodes[arguments], &self.nodes[function])
        else {
            return Err(malformed);
        };
        match (function, &arguments[..]) {
            (Global::Tensor, _) => {
                if let Some(bit) = self.lazy_bit(arguments) {
                    return Err(PickleProblem::LazyBit { bit });
                }
                let tensor = self.tensor(arguments).ok_or(malformed)?;
                self.push(Node::Tensor(tensor.into()))?;
            }
            (Global::Parameter, &[tensor, ..]) => self.stack.push(tensor),
            (Global::WithAttributes, &[function, _, arguments, ..])
                if self.nodes[function] == Node::Global(Global::Tensor) =>
            {
                self.stack.extend([function, arguments]);
                self.reduce(at)?;
            }
            // The entries follow, each set by its key.
            (Global::Dict, _) => self.push(Node::Dict(Vec::new()))?,
            (Global::Tuple, &[items]) => self.stack.push(items),
            // Its attributes follow, and are left out.
            (Global::Inert, _) => self.push(Node::Other)?,
            _ => return Err(malformed),
        }
        Ok(())
    }

    /// The bit of a tensor that changes its values when they are read. `torch.save` writes such bits only if they are set.
    fn lazy_bit(&self, arguments: &[usize]) -> Option<&'static str> {
        let Node::Dict(metadata) = &self.nodes[*arguments.get(6)?] else { return None };
        let is = |key: usize, bit: &str| matches!(&self.nodes[key], Node::Text(text) if text == bit);
        ["neg", "conj"].into_iter().find(|bit| metadata.iter().any(|&(key, _)| is(key, bit)))
    }

    /// A tensor from `(storage, offset, shape, strides, ...)`.
    fn tensor(&self, arguments: &[usize]) -> Option<Tensor> {
        let [storage, offset, shape, strides, ..] = *arguments else { return None };
        let Node::Storage(storage) = &self.nodes[storage] else { return None };
        let number = |node: usize| match self.nodes[node] {
            Node::Int(number) => usize::try_from(number).ok(),
            _ => None,
        };
        let numbers = |node: usize| match &self.nodes[node] {
            Node::List(items) => items.iter().map(|&item| number(item)).collect::<Option<Vec<usize>>>(),
            _ => None,
        };
        let (shape, strides) = (numbers(shape)?, numbers(strides)?);
        let tensor = Tensor {
            storage: storage.key.clone(),
            elements: storage.elements.clone(),
            offset: number(offset)?,
            shape,
            strides,
        };
        (tensor.shape.len() == tensor.strides.len()).then_some(tensor)
    }
}
