//! A machine for the pickles that `torch.save` writes. It knows tensors and containers, and can run nothing.
//!
//! # Source
//!
//! The opcodes are those of CPython's `Lib/pickletools.py`; the forms of tensors are those of PyTorch's
//! `torch/_utils.py` and `torch/serialization.py`.

mod objects;
mod problem;
mod value;

use std::collections::HashMap;

use self::problem::MOST_VALUES;
pub use self::problem::PickleProblem;
pub(super) use self::value::{Node, Pickle, Tensor};

impl Pickle {
    pub(super) fn read(bytes: &[u8]) -> Result<Pickle, PickleProblem> {
        Machine { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), memo: HashMap::new() }.run()
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<usize>,
    memo: HashMap<u32, usize>,
}

impl Machine<'_> {
    fn run(mut self) -> Result<Pickle, PickleProblem> {
        loop {
            let at = self.at;
            let code = self.number::<1>()?[0];
            if code == b'.' {
                let root = self.pop(at)?;
                return Ok(Pickle { nodes: self.nodes, root });
            }
            self.step(code, at)?;
        }
    }

    fn step(&mut self, code: u8, at: usize) -> Result<(), PickleProblem> {
        match code {
            // PROTO and FRAME.
            0x80 => drop(self.number::<1>()?),
            0x95 => drop(self.number::<8>()?),
            b'(' => self.push(Node::Mark)?,
            b'0' => drop(self.pop(at)?),
            b'N' | 0x88 | 0x89 => self.push(Node::Other)?,
            b'J' => {
                let number = i32::from_le_bytes(self.number()?);
                self.push(Node::Int(number.into()))?;
            }
            b'K' => {
                let [number] = self.number()?;
                self.push(Node::Int(number.into()))?;
            }
            b'M' => {
                let number = u16::from_le_bytes(self.number()?);
                self.push(Node::Int(number.into()))?;
            }
            0x8a => self.long(at)?,
            b'G' => {
                self.number::<8>()?;
                self.push(Node::Other)?;
            }
            b'X' | b'T' | b'B' => {
                let length = u32::from_le_bytes(self.number()?) as usize;
                self.text(length, code == b'B', at)?;
            }
            0x8c | b'U' | b'C' => {
                let [length] = self.number()?;
                self.text(length.into(), code == b'C', at)?;
            }
            b'q' => {
                let [key] = self.number()?;
                self.remember(key.into(), at)?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.number()?);
                self.remember(key, at)?;
            }
            0x94 => self.remember(self.memo.len() as u32, at)?,
            b'h' => {
                let [key] = self.number()?;
                self.recall(key.into(), at)?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.number()?);
                self.recall(key, at)?;
            }
            b']' | b')' => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let split = self.stack.len().checked_sub(count).ok_or(PickleProblem::Malformed { at })?;
                let items = self.stack.split_off(split);
                self.push(Node::List(items))?;
            }
            b't' | b'l' => {
                let items = self.pop_to_mark(at)?;
                self.push(Node::List(items))?;
            }
            b'a' => {
                let item = self.pop(at)?;
                self.extend_list(&[item], at)?;
            }
            b'e' => {
                let items = self.pop_to_mark(at)?;
                self.extend_list(&items, at)?;
            }
            b's' => {
                let value = self.pop(at)?;
                let key = self.pop(at)?;
                self.extend_dict(&[key, value], at)?;
            }
            b'u' => {
                let items = self.pop_to_mark(at)?;
                self.extend_dict(&items, at)?;
            }
            b'c' => {
                let (module, name) = (self.line(at)?, self.line(at)?);
                self.global(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop(at)?, self.pop(at)?);
                let (Node::Text(module), Node::Text(name)) = (&self.nodes[module], &self.nodes[name]) else {
                    return Err(PickleProblem::Malformed { at });
                };
                let (module, name) = (module.clone(), name.clone());
                self.global(&module, &name)?;
            }
            b'Q' => self.storage(at)?,
            b'R' | 0x81 => self.reduce(at)?,
            // The attributes of an object, such as the hooks of a dictionary of weights, hold no states.
            b'b' => drop(self.pop(at)?),
            _ => return Err(PickleProblem::Opcode { code, at }),
        }
        Ok(())
    }

    fn push(&mut self, node: Node) -> Result<(), PickleProblem> {
        if self.nodes.len() == MOST_VALUES {
            return Err(PickleProblem::TooManyValues);
        }
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn pop(&mut self, at: usize) -> Result<usize, PickleProblem> {
        self.stack.pop().ok_or(PickleProblem::Malformed { at })
    }

    fn pop_to_mark(&mut self, at: usize) -> Result<Vec<usize>, PickleProblem> {
        let mark = self.stack.iter().rposition(|&node| self.nodes[node] == Node::Mark);
        let items = self.stack.split_off(mark.ok_or(PickleProblem::Malformed { at })? + 1);
        self.stack.pop();
        Ok(items)
    }

    /// Returns the next `N` bytes.
    fn number<const N: usize>(&mut self) -> Result<[u8; N], PickleProblem> {
        let rest = &self.bytes[self.at..];
        let number = rest.first_chunk::<N>().ok_or(PickleProblem::CutOff { at: self.bytes.len() })?;
        self.at += N;
        Ok(*number)
    }

    fn long(&mut self, at: usize) -> Result<(), PickleProblem> {
        let [length] = self.number()?;
        let mut number = [0; 8];
        let length = usize::from(length);
        let rest = &self.bytes[self.at..];
        if length > number.len() || rest.len() < length {
            return Err(PickleProblem::Malformed { at });
        }
        let negative = length > 0 && rest[length - 1] >= 0x80;
        number.fill(if negative { 0xff } else { 0 });
        number[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        self.push(Node::Int(i64::from_le_bytes(number)))
    }

    fn text(&mut self, length: usize, opaque: bool, at: usize) -> Result<(), PickleProblem> {
        let rest = &self.bytes[self.at..];
        let text = rest.get(..length).ok_or(PickleProblem::CutOff { at: self.bytes.len() })?;
        let node = match std::str::from_utf8(text) {
            _ if opaque => Node::Other,
            Ok(text) => Node::Text(text.to_owned()),
            Err(_) => return Err(PickleProblem::Malformed { at }),
        };
        self.at += length;
        self.push(node)
    }

    fn line(&mut self, at: usize) -> Result<String, PickleProblem> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or(PickleProblem::CutOff { at: self.bytes.len() })?;
        let line = std::str::from_utf8(&rest[..length]).map_err(|_| PickleProblem::Malformed { at })?;
        self.at += length + 1;
        Ok(line.to_owned())
    }

    fn remember(&mut self, key: u32, at: usize) -> Result<(), PickleProblem> {
        let &top = self.stack.last().ok_or(PickleProblem::Malformed { at })?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32, at: usize) -> Result<(), PickleProblem> {
        let &node = self.memo.get(&key).ok_or(PickleProblem::Malformed { at })?;
        self.stack.push(node);
        Ok(())
    }

    fn extend_list(&mut self, items: &[usize], at: usize) -> Result<(), PickleProblem> {
        match self.stack.last().map(|&top| &mut self.nodes[top]) {
            Some(Node::List(list)) => list.extend(items),
            _ => return Err(PickleProblem::Malformed { at }),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[usize], at: usize) -> Result<(), PickleProblem> {
        let (pairs, rest) = items.as_chunks::<2>();
        match self.stack.last().map(|&top| &mut self.nodes[top]) {
            Some(Node::Dict(dict)) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            _ => return Err(PickleProblem::Malformed { at }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_tensors_and_containers_is_made() {
        let name = |pickle: &[u8]| Pickle::read(pickle).map(drop).unwrap_err();
        let system = PickleProblem::Global { name: "posix.system".to_owned() };
        assert_eq!(name(b"\x80\x02cposix\nsystem\nX\x02\0\0\0ls\x85R."), system);
        assert_eq!(name(b"\x80\x04\x8c\x05posix\x8c\x06system\x93."), system);
        let evaluated = PickleProblem::Global { name: "builtins.eval".to_owned() };
        assert_eq!(name(b"\x80\x02cbuiltins\neval\nX\x01\0\0\x001\x85R."), evaluated);
        // INST and OBJ make instances in another way.
        assert_eq!(name(b"(iposix\nsystem\n."), PickleProblem::Opcode { code: b'i', at: 1 });
        assert_eq!(name(b"(o."), PickleProblem::Opcode { code: b'o', at: 1 });
    }

    /// `torch.complex(zero, -w).conj().imag` is `w`, stored as `-w`.
    #[test]
    fn a_tensor_whose_values_are_stored_negated_is_refused() {
        let tensor = |metadata: &[u8]| {
            let begin =
                b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
                X\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)R";
            Pickle::read(&[&begin[..], metadata, b"tR."].concat()).map(drop)
        };
        assert_eq!(tensor(b""), Ok(()));
        assert_eq!(tensor(b"}"), Ok(()));
        assert_eq!(tensor(b"}X\x03\0\0\0neg\x88s"), Err(PickleProblem::LazyBit { bit: "neg" }));
        assert_eq!(tensor(b"}X\x04\0\0\0conj\x88s"), Err(PickleProblem::LazyBit { bit: "conj" }));
    }

    /// The tensors of a static key-value cache carry an attribute.
    #[test]
    fn a_tensor_with_attributes_is_the_tensor() {
        let pickle = b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n\
            ((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89NtN}tR.";
        let pickle = Pickle::read(pickle).unwrap();
        assert!(
            matches!(&pickle.nodes[pickle.root], Node::Tensor(tensor) if tensor.shape == [2]),
            "{pickle:?}"
        );
        // Nothing else makes a tensor.
        let other = b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nTensor\nctorch\nTensor\n)NtR.";
        assert!(matches!(Pickle::read(other), Err(PickleProblem::Malformed { .. })));
    }

    #[test]
    fn containers_are_kept_in_their_order() {
        let pickle = Pickle::read(b"\x80\x02}q\0(X\x01\0\0\0aK\x01X\x01\0\0\0b](K\x02K\x03eu.").unwrap();
        let Node::Dict(items) = &pickle.nodes[pickle.root] else { panic!("{pickle:?}") };
        let keys: Vec<_> = items.iter().map(|&(key, _)| pickle.key(key).unwrap()).collect();
        assert_eq!(keys, ["a", "b"]);
        let Node::List(list) = &pickle.nodes[items[1].1] else { panic!("{pickle:?}") };
        assert_eq!(
            list.iter().map(|&item| pickle.nodes[item].clone()).collect::<Vec<_>>(),
            [Node::Int(2), Node::Int(3)]
        );
    }

    #[test]
    fn what_is_cut_off_or_out_of_place_is_refused() {
        for (pickle, problem) in [
            (&b""[..], PickleProblem::CutOff { at: 0 }),
            (b"\x80", PickleProblem::CutOff { at: 1 }),
            (b"X\xff\xff\xff\xffab", PickleProblem::CutOff { at: 7 }),
            (b".", PickleProblem::Malformed { at: 0 }),
            (b"t.", PickleProblem::Malformed { at: 0 }),
            (b"\x87.", PickleProblem::Malformed { at: 0 }),
            (b"h\0.", PickleProblem::Malformed { at: 0 }),
            (b"](u.", PickleProblem::Malformed { at: 2 }),
            (b"}(K\x01u.", PickleProblem::Malformed { at: 4 }),
            (b"K\x01Q.", PickleProblem::Malformed { at: 2 }),
        ] {
            assert_eq!(Pickle::read(pickle).map(drop), Err(problem), "{}", pickle.escape_ascii());
        }
    }
}
