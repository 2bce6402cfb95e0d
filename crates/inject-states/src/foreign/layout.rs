//! The meaning of the axes of a tensor.

use super::{ForeignProblem, Header};

/// The order of the first two axes of a three-dimensional tensor. The last is always `d_model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axes {
    /// `[token, tap, d_model]`, as vLLM writes.
    TokenTap,
    /// `[tap, token, d_model]`, as a stack of Hugging Face's `hidden_states`; also a batch of one prompt,
    /// `[1, token, d_model]`.
    TapToken,
}

/// The axis of a tensor that varies fastest in the file: the last (C) or the first (Fortran).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryOrder {
    C,
    Fortran,
}

/// The place of each value. Strides count values, and no length is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) rows: Axis,
    pub(super) columns: Axis,
    pub(super) dimensions: Axis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) length: usize,
    pub(super) stride: usize,
}

impl Layout {
    /// Returns the only reading of the header's shape that fits the token ids and tap names beside the tensor and the
    /// caller's `axes`.
    ///
    /// The product of the shape has been checked against the length of the file.
    pub(super) fn detect(header: &Header, axes: Option<Axes>) -> Result<Layout, ForeignProblem> {
        let &Header { tensor, order, ref shape, .. } = header;
        let n_tokens = header.token_ids.as_ref().map(Vec::len);
        let n_taps = header.taps.as_ref().map(Vec::len);
        if shape.contains(&0) {
            return Err(ForeignProblem::Empty { tensor, shape: shape.clone() });
        }
        let (first, second, last) = match shape[..] {
            [tokens, d_model] => (tokens, 1, d_model),
            [first, second, d_model] => (first, second, d_model),
            _ => return Err(ForeignProblem::Dimensions { tensor, shape: shape.clone() }),
        };
        let axes = if shape.len() == 2 { Some(Axes::TokenTap) } else { axes };
        let fits = |reading| {
            let (tokens, taps) = match reading {
                Axes::TokenTap => (first, second),
                Axes::TapToken => (second, first),
            };
            axes.is_none_or(|known| known == reading)
                && n_tokens.is_none_or(|n| n == tokens)
                && n_taps.is_none_or(|n| n == taps)
        };
        let reading = match (fits(Axes::TokenTap), fits(Axes::TapToken)) {
            (false, false) => {
                let shape = shape.clone();
                return Err(ForeignProblem::Mismatch { tensor, shape, n_tokens, n_taps, axes });
            }
            // One state: both readings are the same.
            (true, true) if first == 1 && second == 1 => Axes::TokenTap,
            (true, true) => {
                return Err(ForeignProblem::Ambiguous { tensor, shape: shape.clone() });
            }
            (true, false) => Axes::TokenTap,
            (false, true) => Axes::TapToken,
        };
        let strides = match order {
            MemoryOrder::C => [second * last, last, 1],
            MemoryOrder::Fortran => [1, first, first * second],
        };
        let first = Axis { length: first, stride: strides[0] };
        let second = Axis { length: second, stride: strides[1] };
        let dimensions = Axis { length: last, stride: strides[2] };
        Ok(match reading {
            Axes::TokenTap => Layout { rows: first, columns: second, dimensions },
            Axes::TapToken => Layout { rows: second, columns: first, dimensions },
        })
    }
}

#[cfg(test)]
mod tests {
    use inject_models::{FloatFormat, Tap};

    use super::super::encoding::{ByteOrder, Encoding};
    use super::*;

    /// Rows, columns and dimensions that a C-order tensor with this many token ids and tap names beside it
    /// has.
    fn detect(
        shape: &[usize],
        n_tokens: Option<usize>,
        n_taps: Option<usize>,
        axes: Option<Axes>,
    ) -> Result<[usize; 3], ForeignProblem> {
        let header = Header {
            tensor: "states",
            encoding: Encoding { format: FloatFormat::F32, byte_order: ByteOrder::Little },
            order: MemoryOrder::C,
            shape: shape.to_vec(),
            start: 0,
            taps: n_taps.map(|n| (1..=n).map(Tap::Block).collect()),
            token_ids: n_tokens.map(|n| vec![0; n]),
        };
        let layout = Layout::detect(&header, axes)?;
        Ok([layout.rows, layout.columns, layout.dimensions].map(|axis| axis.length))
    }

    #[test]
    fn two_axes_are_tokens_and_dimensions() {
        for axes in [None, Some(Axes::TokenTap), Some(Axes::TapToken)] {
            assert_eq!(detect(&[5, 8], None, None, axes).unwrap(), [5, 1, 8]);
            assert_eq!(detect(&[5, 8], Some(5), Some(1), axes).unwrap(), [5, 1, 8]);
        }
    }

    #[test]
    fn token_ids_decide_between_the_two_readings() {
        assert_eq!(detect(&[5, 3, 8], Some(5), None, None).unwrap(), [5, 3, 8]);
        assert_eq!(detect(&[3, 5, 8], Some(5), None, None).unwrap(), [5, 3, 8]);
        assert_eq!(detect(&[1, 5, 8], Some(5), None, None).unwrap(), [5, 1, 8]);
        assert_eq!(detect(&[1, 5, 8], Some(1), None, None).unwrap(), [1, 5, 8]);
    }

    #[test]
    fn tap_names_decide_between_the_two_readings() {
        assert_eq!(detect(&[5, 3, 8], None, Some(3), None).unwrap(), [5, 3, 8]);
        assert_eq!(detect(&[3, 5, 8], None, Some(3), None).unwrap(), [5, 3, 8]);
        assert_eq!(detect(&[1, 5, 8], None, Some(1), None).unwrap(), [5, 1, 8]);
    }

    #[test]
    fn the_caller_decides_between_the_two_readings() {
        assert_eq!(detect(&[5, 5, 8], Some(5), Some(5), Some(Axes::TokenTap)).unwrap(), [5, 5, 8]);
        assert_eq!(detect(&[1, 5, 8], None, None, Some(Axes::TapToken)).unwrap(), [5, 1, 8]);
        assert_eq!(detect(&[1, 5, 8], None, None, Some(Axes::TokenTap)).unwrap(), [1, 5, 8]);
    }

    #[test]
    fn a_single_state_has_only_one_reading() {
        assert_eq!(detect(&[1, 1, 8], None, None, None).unwrap(), [1, 1, 8]);
    }

    #[test]
    fn three_axes_with_nothing_beside_them_are_ambiguous() {
        for shape in [[5, 3, 8], [1, 5, 8], [5, 1, 8], [5, 5, 8]] {
            let problem = detect(&shape, None, None, None).unwrap_err();
            assert!(matches!(problem, ForeignProblem::Ambiguous { .. }), "{problem}");
        }
    }

    #[test]
    fn as_many_tokens_as_taps_are_ambiguous() {
        for (n_tokens, n_taps) in [(Some(5), None), (None, Some(5)), (Some(5), Some(5))] {
            let problem = detect(&[5, 5, 8], n_tokens, n_taps, None).unwrap_err();
            assert!(matches!(problem, ForeignProblem::Ambiguous { .. }), "{problem}");
        }
    }

    #[test]
    fn a_shape_that_does_not_fit_what_stands_beside_it_is_refused() {
        for (shape, n_tokens, n_taps, axes) in [
            (&[5, 8][..], Some(8), None, None),
            (&[5, 8], None, Some(2), None),
            (&[5, 3, 8], Some(4), None, None),
            (&[5, 3, 8], None, Some(4), None),
            (&[5, 3, 8], Some(5), Some(5), None),
            (&[5, 3, 8], Some(5), None, Some(Axes::TapToken)),
        ] {
            let problem = detect(shape, n_tokens, n_taps, axes).unwrap_err();
            assert!(matches!(problem, ForeignProblem::Mismatch { .. }), "{problem}");
        }
    }

    #[test]
    fn one_axis_and_four_axes_are_refused() {
        for shape in [&[][..], &[8], &[1, 5, 3, 8]] {
            let problem = detect(shape, None, None, None).unwrap_err();
            assert!(matches!(problem, ForeignProblem::Dimensions { .. }), "{problem}");
        }
    }

    #[test]
    fn an_empty_tensor_is_refused() {
        for shape in [&[0, 8][..], &[5, 0], &[5, 0, 8]] {
            let problem = detect(shape, None, None, None).unwrap_err();
            assert!(matches!(problem, ForeignProblem::Empty { .. }), "{problem}");
        }
    }
}
