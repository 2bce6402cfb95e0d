//! One row for every token, and products of a few points with all of them.

mod largest;

use std::ops::Range;

use crate::{
    collisions::{
        Arithmetic,
        approximate_products::{Bits, QuantisedRows},
    },
    error::InvertError,
    tensors::read_f32,
    tuning::{CHUNK, ON_DEVICE},
};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

pub(crate) use self::largest::{Largest, Scored, Wanted};

/// Rows of all tokens on the unit that multiplies them. Their products only propose, so few digits are enough.
#[derive(Clone, Debug)]
pub(crate) enum TokenRows {
    /// On the processor, in integers.
    Processor(QuantisedRows),
    /// On the device, in its own number format, [`ON_DEVICE`] tokens at a time.
    Device(Vec<DeviceRows>),
}

/// Rows of consecutive tokens on a device.
#[derive(Clone, Debug)]
pub(crate) struct DeviceRows {
    rows: Tensor<2>, // [tokens, width]
    /// Numbers added to each token's products, `[tokens, 1]`.
    addends: Option<Tensor<2>>,
}

/// Products of some points with the tokens of one chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile<'a> {
    /// The index of the chunk within the vocabulary.
    pub(crate) chunk: usize,
    /// The index of the first point.
    first: usize,
    points: usize,
    tokens: usize,
    /// [point, token], each point's row `stride` after the one before.
    products: &'a [f32],
    stride: usize,
}

impl<'a> Tile<'a> {
    /// Returns the numbers of the points.
    pub(crate) fn points(&self) -> Range<usize> {
        self.first..self.first + self.points
    }

    /// Returns the ids of the tokens.
    pub(crate) fn tokens(&self) -> Range<usize> {
        self.chunk * CHUNK..self.chunk * CHUNK + self.tokens
    }

    /// The products of one point.
    #[inline(always)]
    pub(crate) fn of(&self, point: usize) -> &'a [f32] {
        &self.products[(point - self.first) * self.stride..][..self.tokens]
    }
}

impl TokenRows {
    /// Takes the rows of a tensor, and numbers to add to each row's products.
    ///
    /// # Shapes
    ///
    /// `[vocab_size, width]`.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the device fails.
    pub(crate) fn of(
        rows: Tensor<2>,
        addends: Option<Vec<f32>>,
        digits: Bits,
        arithmetic: Arithmetic,
    ) -> Result<Self, InvertError> {
        let part = |range: Range<usize>| rows.clone().narrow(0, range.start, range.len());
        TokenRows::of_parts(rows.dims(), part, addends, digits, arithmetic)
    }

    /// Takes the rows of a table that is read part by part, and numbers to add to each row's products. The whole table is not in
    /// memory at once, unless the device multiplies.
    ///
    /// # Shapes
    ///
    /// The table is `[vocab_size, width]`.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the device fails.
    pub(crate) fn of_parts(
        [vocab_size, width]: [usize; 2],
        part: impl Fn(Range<usize>) -> Tensor<2> + Sync,
        addends: Option<Vec<f32>>,
        digits: Bits,
        arithmetic: Arithmetic,
    ) -> Result<Self, InvertError> {
        let read = |range: Range<usize>| read_f32(part(range));
        let coarse = match arithmetic {
            Arithmetic::I16OnProcessor => QuantisedRows::round(vocab_size, width, digits, read)?,
            Arithmetic::I16Portable => Some(QuantisedRows::round_portable(vocab_size, width, digits, read)?),
            // F32 on the device, and whatever else the searches learn to do.
            _ => None,
        };
        Ok(match (coarse, addends) {
            (Some(coarse), None) => TokenRows::Processor(coarse),
            (Some(coarse), Some(addends)) => TokenRows::Processor(coarse.plus(addends)),
            (None, addends) => {
                let chunk = |start: usize| {
                    let end = vocab_size.min(start + ON_DEVICE);
                    let rows = part(start..end);
                    let addends = addends.as_ref().map(|addends| {
                        let addends = TensorData::new(addends[start..end].to_vec(), [end - start, 1]);
                        Tensor::<2>::from_data(addends, &rows.device())
                    });
                    DeviceRows { rows, addends }
                };
                TokenRows::Device((0..vocab_size).step_by(ON_DEVICE).map(chunk).collect())
            }
        })
    }

    /// Goes through the products of some points with all tokens, tile by tile, on all threads. Each thread folds one part of the
    /// vocabulary after the other into a state of its own, and all states are returned.
    ///
    /// # Shapes
    ///
    /// `points` is `[points, width]`.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the device fails.
    pub(crate) fn fold<S: Send>(
        &self,
        points: Tensor<2>,
        begin: impl Fn() -> S + Sync,
        look: impl Fn(&mut S, Tile<'_>) + Sync,
    ) -> Result<Vec<S>, InvertError> {
        let threads = rayon::current_num_threads();
        match self {
            TokenRows::Processor(rows) => {
                let points = rows.points(&read_f32(points)?);
                let chunks: Vec<usize> = (0..rows.rows().div_ceil(CHUNK)).collect();
                let per_thread = chunks.len().div_ceil(threads).max(1);
                let part = |chunks: &[usize]| {
                    let (mut state, mut products) = (begin(), Vec::new());
                    for &chunk in chunks {
                        let tokens = chunk * CHUNK..rows.rows().min((chunk + 1) * CHUNK);
                        let stride = QuantisedRows::padded(tokens.len());
                        for strip in 0..points.strips() {
                            let in_strip = points.in_strip(strip);
                            products.resize(points.rows_in(strip) * stride, 0.0);
                            rows.multiply(&points, strip, tokens.clone(), &mut products);
                            let (first, points) = (in_strip.start, in_strip.len());
                            let tokens = tokens.len();
                            look(
                                &mut state,
                                Tile { chunk, first, points, tokens, products: &products, stride },
                            );
                        }
                    }
                    state
                };
                Ok(chunks.par_chunks(per_thread).map(part).collect())
            }
            TokenRows::Device(chunks) => {
                let numbered: Vec<(usize, &DeviceRows)> = chunks.iter().enumerate().collect();
                let per_thread = numbered.len().div_ceil(threads).max(1);
                let part = |numbered: &[(usize, &DeviceRows)]| {
                    let mut state = begin();
                    for &(number, rows) in numbered {
                        let [stride, _] = rows.rows.dims();
                        let products = rows.products(points.clone())?;
                        for start in (0..stride).step_by(CHUNK) {
                            let (chunk, tokens) =
                                ((number * ON_DEVICE + start) / CHUNK, CHUNK.min(stride - start));
                            let (points, products) = (points.dims()[0], &products[start..]);
                            look(&mut state, Tile { chunk, first: 0, points, tokens, products, stride });
                        }
                    }
                    Ok(state)
                };
                numbered.par_chunks(per_thread).map(part).collect()
            }
        }
    }

    /// All products.
    ///
    /// # Shapes
    ///
    /// `points` is `[points, width]`. The result has `[points, tokens]` for each chunk.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the device fails.
    pub(crate) fn products(&self, points: Tensor<2>) -> Result<Vec<Vec<f32>>, InvertError> {
        let room = points.dims()[0] * CHUNK;
        let parts = self.fold(points, Vec::new, |chunks: &mut Vec<Vec<f32>>, tile| {
            if tile.first == 0 {
                chunks.push(Vec::with_capacity(room));
            }
            if let Some(chunk) = chunks.last_mut() {
                tile.points().for_each(|point| chunk.extend(tile.of(point)));
            }
        })?;
        Ok(parts.into_iter().flatten().collect())
    }
}

impl DeviceRows {
    /// `[points, width]` to `[points, tokens]`.
    fn products(&self, points: Tensor<2>) -> Result<Vec<f32>, InvertError> {
        // The large matrix stays on the left, in the order it is stored in.
        let products = self.rows.clone().matmul(points.cast(self.rows.dtype()).transpose());
        let products = match &self.addends {
            None => products,
            Some(addends) => products + addends.clone(),
        };
        read_f32(products.transpose())
    }
}

#[cfg(test)]
mod tests {
    use crate::states::random::SplitMix;

    use super::*;

    #[test]
    fn every_token_has_its_product_whatever_multiplies() {
        let (vocab_size, width) = (ON_DEVICE + CHUNK + 37, 5);
        let mut numbers = SplitMix::seeded(3);
        let mut draw = |count: usize| -> Vec<f32> {
            (0..count).map(|_| numbers.below(2001) as f32 / 1e3 - 1.0).collect()
        };
        let (rows, points, added) = (draw(vocab_size * width), draw(11 * width), draw(vocab_size));
        for device in inject_testing::compiled() {
            let on_device = |values: &[f32]| {
                let shape = [values.len() / width, width];
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &device)
            };
            for (arithmetic, digits, tolerance) in [
                // A product of five coordinates up to 1 has five roundings and as many of the sums.
                (Arithmetic::F32OnDevice, Bits::Eight, 1e-6),
                // Coordinates off by 1/254 and 1/32,766 of a length of at most the root of five, five times.
                (Arithmetic::I16OnProcessor, Bits::Eight, 5.0 / 254.0 + 1e-3),
                (Arithmetic::I16OnProcessor, Bits::Sixteen, 1e-3),
            ] {
                let table = TokenRows::of(on_device(&rows), Some(added.clone()), digits, arithmetic).unwrap();
                for count in [1, 3, 8, 11] {
                    let products = table.products(on_device(&points[..count * width])).unwrap();
                    assert_eq!(products.iter().map(Vec::len).sum::<usize>(), count * vocab_size);
                    for (chunk, products) in products.iter().enumerate() {
                        let tokens = products.len() / count;
                        for (place, &found) in products.iter().enumerate() {
                            let (point, token) = (place / tokens, chunk * CHUNK + place % tokens);
                            let pairs = rows[token * width..][..width].iter().zip(&points[point * width..]);
                            let product: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                            let expected = product + f64::from(added[token]);
                            assert!(
                                (f64::from(found) - expected).abs() <= tolerance,
                                "{arithmetic:?}, {digits:?}, point {point}, token {token}: {found}, {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}
