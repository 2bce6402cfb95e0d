//! The distribution of all distances. The distance of a pair is computed only if the bounds do not decide its bin.

use std::collections::BTreeMap;

use super::{
    bounds::{UNDERFLOW, UNIT_F32, UNIT_F64, gamma, round_up},
    products::{Tile, TileProducts},
    tile::Scan,
};
use crate::{answers::Distribution, error::CollisionError, metric::Metric, pairs::Pairs};

/// The value returned instead of a bin if the distance has to be computed.
const UNDECIDED: u32 = u32::MAX;
/// Distances below this, in the scale of the index, are always computed. Above it nothing underflows or overflows.
const SMALLEST: f32 = 1e-15;
/// An upper bound of the relative rounding error of one comparison.
const ROOM: f32 = 16.0 * UNIT_F32 as f32;
/// The bits of an f32 below those that identify its bin.
const BELOW_BIN: u32 = 17;

/// Adds every pair that counts to a distribution.
pub(super) fn histogram(
    scan: Scan<'_>,
    distribution: &mut Distribution,
    tiles_at_once: usize,
    progress: &mut dyn FnMut(f64),
) -> Result<(), CollisionError> {
    let index = scan.index;
    let blocks = index.blocks();
    let norms: Vec<f32> = index.norms.iter().map(|&norm| norm as f32).collect();
    let (mut done, tiles) = (0, blocks * (blocks + 1) / 2);
    for column_block in 0..blocks {
        let row_blocks: Vec<usize> = (column_block..blocks).collect();
        for row_blocks in row_blocks.chunks(tiles_at_once) {
            let tiles: Vec<Tile> =
                row_blocks.iter().map(|&row_block| Tile { row_block, column_block }).collect();
            let counts = index.products.each(&tiles, |tile, products| scan.bins(tile, products, &norms))?;
            for (counts, computed) in counts {
                counts.into_iter().for_each(|(bin, pairs)| distribution.add(bin, pairs));
                distribution.computed += computed;
            }
        }
        done += blocks - column_block;
        progress(done as f64 / tiles as f64);
    }
    if let Pairs::All = scan.pairs {
        scan.remove_repeated(distribution);
    }
    Ok(())
}

impl Scan<'_> {
    /// Returns the number of pairs of a tile in each bin, and the number of distances computed.
    fn bins(&self, tile: Tile, products: TileProducts<'_>, norms: &[f32]) -> (BTreeMap<u32, u64>, u64) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || self.bins_of(tile, products, norms),
        )
    }

    #[inline(always)]
    fn bins_of(&self, tile: Tile, products: TileProducts<'_>, norms: &[f32]) -> (BTreeMap<u32, u64>, u64) {
        let index = self.index;
        let (rows, columns) = (index.places(tile.row_block), index.places(tile.column_block));
        let column_error = index.error(tile.column_block);
        let limits = Limits::new(self);
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        let mut dense = vec![0_u32; 1 << (32 - BELOW_BIN)];
        let mut decided = vec![UNDECIDED; index.block];
        let mut buffers = [Vec::new(), Vec::new()];
        let mut computed = 0;
        products.rows(
            index.block,
            #[inline(always)]
            |row, products| {
                let place = rows.start + row;
                if place >= rows.end {
                    return;
                }
                let within = tile.row_block == tile.column_block;
                let width = if within { row } else { columns.len() };
                let products = &products[..width];
                let norms_of_columns = &norms[columns.start..columns.start + width];
                let error = round_up((index.errors[place] + column_error + limits.error) * 1.000_001);
                for ((decided, product), norm) in decided.iter_mut().zip(products).zip(norms_of_columns) {
                    *decided = limits.bin(*product, norms[place] + norm, error);
                }
                for (column, &bin) in decided[..width].iter().enumerate() {
                    let (x, y) = (index.order[place] as usize, index.order[columns.start + column] as usize);
                    // With `Pairs::All`, pairs with the same identity are removed at the end.
                    if !matches!(self.pairs, Pairs::All) && !self.pairs.admit(self.points.rows, x, y) {
                        continue;
                    }
                    if bin == UNDECIDED {
                        let distance = self.points.distance(x.min(y), x.max(y), &mut buffers);
                        *counts.entry(Distribution::bin(distance)).or_default() += 1;
                        computed += 1;
                    } else {
                        dense[bin as usize] += 1;
                    }
                }
            },
        );
        for (bin, &pairs) in dense.iter().enumerate().filter(|(_, pairs)| **pairs > 0) {
            *counts.entry((bin as i64 + limits.shift) as u32).or_default() += u64::from(pairs);
        }
        (counts, computed)
    }

    /// Removes the pairs of rows with the same identity.
    fn remove_repeated(&self, distribution: &mut Distribution) {
        let mut buffers = [Vec::new(), Vec::new()];
        for group in self.points.rows.repeated() {
            for (place, &b) in group.iter().enumerate() {
                for &a in &group[..place] {
                    distribution.remove(Distribution::bin(self.points.distance(a, b, &mut buffers)));
                }
            }
        }
    }
}

/// The conversion of a product into the bin of a distance.
struct Limits {
    metric: Metric,
    /// The error of the squared distance, as a share of the sum of the squared lengths.
    share: f32,
    /// The error of the distance computed in f64, scaled.
    error: f64,
    /// The number of a bin in f64 minus its number in f32, scaled.
    shift: i64,
}

impl Limits {
    fn new(scan: &Scan<'_>) -> Self {
        let metric = scan.points.metric();
        let scale = scan.index.scale;
        // The scale is a power of two. It shifts the exponent of a distance, and twice as far that of a squared distance.
        let exponent = (scale.log2().round() as i64) * if metric == Metric::Cosine { 2 } else { 1 };
        let computed = if metric == Metric::Cosine { 8.0 * UNIT_F64 * scale } else { 0.0 };
        Limits {
            metric,
            share: round_up(gamma(scan.index.lead_width, UNIT_F32) + 10.0 * UNIT_F32),
            error: computed + UNDERFLOW,
            shift: (1023 - 127 - exponent) << (23 - BELOW_BIN),
        }
    }

    /// Returns the bin that certainly contains the distance, or [`UNDECIDED`].
    #[inline(always)]
    fn bin(&self, product: f32, norms: f32, error: f32) -> u32 {
        let squared = norms - 2.0 * product;
        let off = norms * self.share;
        let least = ((squared - off).max(0.0).sqrt() * (1.0 - ROOM) - error).max(0.0);
        let most = ((squared + off).max(0.0).sqrt() + error) * (1.0 + ROOM);
        let (least, most) = match self.metric {
            Metric::L2 => (least, most),
            Metric::Cosine => (least * least * (0.5 - ROOM), most * most * (0.5 + ROOM)),
        };
        let (low, high) = (least.to_bits() >> BELOW_BIN, most.to_bits() >> BELOW_BIN);
        let smallest = if self.metric == Metric::L2 { SMALLEST } else { SMALLEST * SMALLEST };
        if (low == high) & (least > smallest) { low } else { UNDECIDED }
    }
}
