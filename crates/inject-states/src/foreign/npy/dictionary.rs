//! The header of a `.npy` file: the literal of a Python dictionary.

use inject_models::FloatFormat;

use super::{
    super::{
        arrays::Elements,
        encoding::{ByteOrder, Encoding},
    },
    ForeignProblem,
};

/// The axis of an array that varies fastest in the file: the last (C) or the first (Fortran).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryOrder {
    C,
    Fortran,
}

/// The contents of a header such as `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dictionary {
    pub(super) elements: Elements,
    pub(super) order: MemoryOrder,
    pub(super) shape: Vec<usize>,
}

impl Dictionary {
    /// Reads the three keys, each once and in any order, and nothing but white space after them.
    pub(super) fn parse(text: &[u8]) -> Result<Dictionary, ForeignProblem> {
        const KEYS: &str = "one each of the keys 'descr', 'fortran_order' and 'shape'";
        let mut literal = Literal { text, at: 0 };
        let (mut elements, mut order, mut shape) = (None, None, None);
        literal.token(b"{", "`{`")?;
        while !literal.accept(b"}") {
            literal.skip_spaces();
            let key_at = literal.at;
            match literal.string(KEYS)? {
                "descr" if elements.is_none() => elements = Some(literal.value()?.descr()?),
                "fortran_order" if order.is_none() => order = Some(literal.value()?.memory_order()?),
                "shape" if shape.is_none() => shape = Some(literal.value()?.tuple()?),
                _ => {
                    literal.at = key_at;
                    return Err(literal.expected(KEYS));
                }
            }
            if !literal.accept(b",") {
                literal.token(b"}", "`,` or `}`")?;
                break;
            }
        }
        literal.skip_spaces();
        if literal.at < literal.text.len() {
            return Err(literal.expected("spaces up to the end of the header"));
        }
        match (elements, order, shape) {
            (Some(elements), Some(order), Some(shape)) => Ok(Dictionary { elements, order, shape }),
            _ => Err(literal.expected(KEYS)),
        }
    }
}

/// The Python literal of a header, and the offset up to which it has been read.
struct Literal<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Literal<'a> {
    /// Passes the colon after a key.
    fn value(&mut self) -> Result<&mut Self, ForeignProblem> {
        self.token(b":", "`:`")?;
        Ok(self)
    }

    fn descr(&mut self) -> Result<Elements, ForeignProblem> {
        if self.at_record() {
            return Ok(Elements::Other("of a record".to_owned()));
        }
        let text = self.string("a dtype in quotes")?;
        Ok(elements(text).unwrap_or_else(|| Elements::Other(text.to_owned())))
    }

    /// Passes a list of fields, whatever it holds, up to the bracket that closes it.
    fn at_record(&mut self) -> bool {
        self.skip_spaces();
        if !matches!(self.text.get(self.at), Some(b'[' | b'(')) {
            return false;
        }
        let mut depth = 0_usize;
        while let Some(byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'[' | b'(' => depth += 1,
                b']' | b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        true
    }

    fn memory_order(&mut self) -> Result<MemoryOrder, ForeignProblem> {
        if self.accept(b"False") {
            Ok(MemoryOrder::C)
        } else {
            self.token(b"True", "`True` or `False`")?;
            Ok(MemoryOrder::Fortran)
        }
    }

    /// `()`, `(3,)`, `(3, 4)` or `(3, 4,)`.
    fn tuple(&mut self) -> Result<Vec<usize>, ForeignProblem> {
        let mut axes = Vec::new();
        self.token(b"(", "`(`")?;
        while !self.accept(b")") {
            axes.push(self.integer()?);
            if !self.accept(b",") {
                // Without a comma this is a number in parentheses.
                if axes.len() == 1 {
                    return Err(self.expected("`,`"));
                }
                self.token(b")", "`,` or `)`")?;
                break;
            }
        }
        Ok(axes)
    }

    fn integer(&mut self) -> Result<usize, ForeignProblem> {
        self.skip_spaces();
        let rest = &self.text[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse().ok());
        let number = number.ok_or_else(|| self.expected("a length that fits into this machine's memory"))?;
        self.at += digits;
        Ok(number)
    }

    /// A string without escapes, in quotes of either kind.
    fn string(&mut self, expected: &'static str) -> Result<&'a str, ForeignProblem> {
        self.skip_spaces();
        let start = self.at + 1;
        let quote = match self.text.get(self.at) {
            Some(&quote @ (b'\'' | b'"')) => quote,
            _ => return Err(self.expected(expected)),
        };
        let rest = &self.text[start..];
        let length = rest.iter().position(|&byte| byte == quote);
        let content = length.and_then(|length| std::str::from_utf8(&rest[..length]).ok());
        match content {
            Some(content) if !content.contains('\\') => {
                self.at = start + content.len() + 1;
                Ok(content)
            }
            _ => Err(self.expected(expected)),
        }
    }

    fn token(&mut self, token: &[u8], expected: &'static str) -> Result<(), ForeignProblem> {
        if self.accept(token) { Ok(()) } else { Err(self.expected(expected)) }
    }

    /// Passes `token` if it is next.
    fn accept(&mut self, token: &[u8]) -> bool {
        self.skip_spaces();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn skip_spaces(&mut self) {
        let spaces = self.text[self.at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
        self.at += spaces.count();
    }

    fn expected(&self, expected: &'static str) -> ForeignProblem {
        let rest = &self.text[self.at..];
        let found = String::from_utf8_lossy(&rest[..rest.len().min(24)]).escape_debug().to_string();
        ForeignProblem::NpyHeader { at: self.at, expected, found }
    }
}

/// Returns the numbers that a dtype stands for, if they can be read.
fn elements(dtype: &str) -> Option<Elements> {
    let (byte_order, kind) = match dtype.as_bytes() {
        [b'<' | b'|', kind @ ..] => (ByteOrder::Little, kind),
        [b'>', kind @ ..] => (ByteOrder::Big, kind),
        _ => return None,
    };
    let format = match kind {
        b"f2" => FloatFormat::F16,
        b"f4" => FloatFormat::F32,
        b"f8" => FloatFormat::F64,
        [b'i' | b'u', size @ (b'1' | b'2' | b'4' | b'8')] => {
            let bytes = usize::from(size - b'0');
            return Some(Elements::Integer { bytes, signed: kind[0] == b'i', byte_order });
        }
        b"b1" => return Some(Elements::Truth),
        _ => return None,
    };
    Some(Elements::Float(Encoding { format, byte_order }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary(
        format: FloatFormat,
        byte_order: ByteOrder,
        order: MemoryOrder,
        shape: &[usize],
    ) -> Dictionary {
        Dictionary {
            elements: Elements::Float(Encoding { format, byte_order }),
            order,
            shape: shape.to_vec(),
        }
    }

    #[test]
    fn the_header_numpy_writes_is_read() {
        let found =
            Dictionary::parse(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }        \n");
        assert_eq!(found.unwrap(), dictionary(FloatFormat::F32, ByteOrder::Little, MemoryOrder::C, &[3, 4]));
    }

    #[test]
    fn other_spellings_of_the_same_literal_are_read() {
        let found = Dictionary::parse(b"{\"shape\":(3,),'fortran_order':True,\n\t'descr' : \">f2\"}");
        assert_eq!(found.unwrap(), dictionary(FloatFormat::F16, ByteOrder::Big, MemoryOrder::Fortran, &[3]));
    }

    #[test]
    fn the_shape_of_a_scalar_is_read() {
        let found = Dictionary::parse(b"{'descr': '>f8', 'fortran_order': False, 'shape': ()}").unwrap();
        assert_eq!(found.shape, [0; 0]);
    }

    #[test]
    fn integers_are_read_and_other_dtypes_are_kept_by_name() {
        let elements = |descr: &str| {
            let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (3, 4), }}");
            Dictionary::parse(text.as_bytes()).unwrap().elements
        };
        let integer = |bytes, signed, byte_order| Elements::Integer { bytes, signed, byte_order };
        assert_eq!(elements("<i8"), integer(8, true, ByteOrder::Little));
        assert_eq!(elements(">u2"), integer(2, false, ByteOrder::Big));
        assert_eq!(elements("|b1"), Elements::Truth);
        for descr in ["|O", "<c8", "<f16", "=f4", "f4", "|V2", "", "<"] {
            assert_eq!(elements(descr), Elements::Other(descr.to_owned()));
        }
    }

    #[test]
    fn records_are_kept_by_name() {
        let text = b"{'descr': [('states', '<f4', (8,))], 'fortran_order': False, 'shape': (3,), }";
        assert_eq!(Dictionary::parse(text).unwrap().elements, Elements::Other("of a record".to_owned()));
    }

    #[test]
    fn every_departure_from_the_format_is_named_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("  (", 2),
            ("{", 1),
            ("{}", 2),
            ("{'descr': '<f4', 'shape': (3, 4), }", 35),
            ("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", 17),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'more': 1}", 58),
            ("{'descr' '<f4', 'fortran_order': False, 'shape': (3, 4), }", 9),
            ("{'descr': <f4, 'fortran_order': False, 'shape': (3, 4), }", 10),
            ("{'descr': '<f4", 10),
            ("{'de\\scr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", 1),
            ("{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 4), }", 34),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': [3, 4], }", 50),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3), }", 52),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3 4), }", 53),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4), }", 51),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 4L), }", 52),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 18446744073709551616), }", 54),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4) 'x'", 57),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } x", 60),
            ("{,}", 1),
        ] {
            match Dictionary::parse(text.as_bytes()).unwrap_err() {
                ForeignProblem::NpyHeader { at: found, .. } => assert_eq!(found, at, "{text}"),
                other => panic!("{text}: {other}"),
            }
        }
    }
}
