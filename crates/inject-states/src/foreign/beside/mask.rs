//! The attention mask of a batch: which positions are those of the prompt.

use std::ops::Range;

use super::{super::arrays::Archive, numbers};
use crate::foreign::{ForeignProblem, arrays::Elements};

/// An additive mask excludes a position by a number at most this: minus infinity, the least number of a format, or the -10000 of old programs.
const EXCLUDES: f64 = -1e4;

/// Stands for a number that is neither that of an attended position nor that of another.
const NEITHER: i128 = 2;

/// Returns 1 for each position of each prompt that is attended to, and 0 for the others.
///
/// # Shapes
///
/// `[token]`, `[prompt, token]`, or, with the positions that each position attends to, `[prompt, 1, token, token]` or `[prompt, 1, 1, token]`.
pub(super) fn read(archive: &mut Archive, name: &str) -> Result<Option<Vec<Vec<i128>>>, ForeignProblem> {
    let Some(index) = archive.position(name) else { return numbers(archive, name) };
    let array = &archive.arrays[index];
    let shape = array.shape();
    let (by_position, width) = match shape[..] {
        [tokens] | [_, tokens] => (false, tokens),
        [_, 1, by, tokens] if by == 1 || by == tokens => (by > 1, tokens),
        _ => return Err(ForeignProblem::MaskShape { tensor: array.name.clone(), shape }),
    };
    let values = match array.elements {
        Elements::Float(encoding) => of_floats(&archive.floats(index, encoding)?, shape.len() == 4),
        _ => archive.integers(index)?,
    };
    let width = width.max(1);
    if !by_position {
        return Ok(Some(values.chunks(width).map(<[i128]>::to_vec).collect()));
    }
    let prompts = values.chunks(width.saturating_mul(width)).enumerate();
    Ok(Some(prompts.map(|(prompt, rows)| of_positions(prompt, rows, width)).collect::<Result<_, _>>()?))
}

/// Returns the positions that a row of a mask attends to, which must be neighbours.
pub(super) fn attended(prompt: usize, mask: &[i128]) -> Result<Range<usize>, ForeignProblem> {
    let start = mask.iter().take_while(|&&value| value == 0).count();
    let length = mask[start..].iter().take_while(|&&value| value == 1).count();
    if length == 0 || mask[start + length..].iter().any(|&value| value != 0) {
        return Err(ForeignProblem::Mask { prompt });
    }
    Ok(start..start + length)
}

/// Tells ones and zeros from numbers that are added to scores: 0 for a position that is attended to, and a very negative one elsewhere.
/// Nothing but zeros attends to nothing as the former, so with four axes, which are those of the latter, it attends to everything.
fn of_floats(values: &[f64], four_axes: bool) -> Vec<i128> {
    let added = values.iter().any(|&value| value <= EXCLUDES)
        || four_axes && values.iter().all(|&value| value == 0.0);
    let of = |&value: &f64| match value {
        0.0 => i128::from(added),
        1.0 if !added => 1,
        excluded if added && excluded <= EXCLUDES => 0,
        _ => NEITHER,
    };
    values.iter().map(of).collect()
}

/// Returns the row of the last position, which attends to the whole prompt. That is so only if each position of the prompt attends to it and to
/// all before it: otherwise the mask is that of a window or of packed prompts.
fn of_positions(prompt: usize, rows: &[i128], width: usize) -> Result<Vec<i128>, ForeignProblem> {
    let last = rows[rows.len() - width..].to_vec();
    let span = attended(prompt, &last)?;
    let is_causal = span.clone().all(|at| {
        let row = &rows[at * width..][..width];
        row.iter().enumerate().all(|(to, &value)| value == i128::from(span.start <= to && to <= at))
    });
    if is_causal { Ok(last) } else { Err(ForeignProblem::Mask { prompt }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ones_of_a_mask_are_one_span() {
        assert_eq!(attended(0, &[1, 1, 0]).unwrap(), 0..2);
        assert_eq!(attended(0, &[0, 1, 1]).unwrap(), 1..3);
        for mask in [&[0, 0][..], &[1, 0, 1], &[1, 2], &[]] {
            assert!(matches!(attended(7, mask), Err(ForeignProblem::Mask { prompt: 7 })), "{mask:?}");
        }
    }

    #[test]
    fn floats_are_ones_and_zeros_or_are_added() {
        const LEAST: f64 = f32::MIN as f64;
        for (values, four_axes, expected) in [
            (&[1.0, 1.0, 0.0][..], false, &[1, 1, 0][..]),
            (&[0.0, 0.0, f64::NEG_INFINITY], false, &[1, 1, 0]),
            (&[0.0, 0.0, LEAST], true, &[1, 1, 0]),
            (&[-1e4, -0.0, 0.0], false, &[0, 1, 1]),
            (&[0.0, 0.0], true, &[1, 1]),
            (&[0.0, 0.0], false, &[0, 0]),
            // Neither kind, or a mixture of both.
            (&[1.0, 0.5], false, &[1, 2]),
            (&[1.0, 0.0, f64::NEG_INFINITY], false, &[2, 1, 0]),
            (&[0.0, -1.0, -1e9], true, &[1, 2, 0]),
            (&[1.0, f64::NAN], false, &[1, 2]),
        ] {
            assert_eq!(of_floats(values, four_axes), expected, "{values:?}");
        }
    }

    #[test]
    fn the_last_position_attends_to_the_whole_prompt_of_a_causal_mask() {
        let whole = [1, 0, 0, 1, 1, 0, 1, 1, 1];
        assert_eq!(of_positions(0, &whole, 3).unwrap(), [1, 1, 1]);
        // Padding on the right, and on the left, where the rows of padding may attend to anything.
        assert_eq!(of_positions(0, &[1, 0, 0, 1, 1, 0, 1, 1, 0], 3).unwrap(), [1, 1, 0]);
        assert_eq!(of_positions(0, &[1, 1, 1, 0, 1, 0, 0, 1, 1], 3).unwrap(), [0, 1, 1]);
        let (window, both_ways) = ([1, 0, 0, 1, 1, 0, 0, 1, 1], [1; 9]);
        for rows in [window, both_ways] {
            assert!(matches!(of_positions(7, &rows, 3), Err(ForeignProblem::Mask { prompt: 7 })), "{rows:?}");
        }
    }
}
