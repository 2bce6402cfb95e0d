//! The scan of one tile: the pairs of two blocks, few of whose distances have to be computed.

use super::{
    bounds::{UNDERFLOW, UNIT_F32, UNIT_F64, gamma, round_up},
    index::Index,
    products::{Tile, TileProducts},
    question::{Question, Radius},
};
use crate::{
    answers::Pair,
    metric::{Metric, Points},
    pairs::Pairs,
};

/// The number of columns that are compared together.
const LANES: usize = 16;

/// The data needed to decide on the pairs of a tile.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) points: &'a Points<'a>,
    pub(super) pairs: &'a Pairs,
    pub(super) index: &'a Index,
}

impl Scan<'_> {
    /// Returns the squared distance in the index beyond which the exact distance of a pair certainly exceeds `radius`. `errors`
    /// is the sum of the errors of the two rows.
    pub(super) fn reach(&self, radius: f64, errors: f64) -> f64 {
        let metric = self.points.metric();
        let columns = self.points.rows.columns();
        // The rounding error of a directly computed distance.
        let computed = match metric {
            Metric::L2 => 0.0,
            Metric::Cosine => 8.0 * UNIT_F64,
        };
        let points = metric.to_points(radius.max(0.0)) * (1.0 + gamma(columns + 16, UNIT_F64)) + computed;
        (self.index.stretch * points * self.index.scale + errors).powi(2) * (1.0 + 1e-12) + UNDERFLOW
    }

    /// Scans all pairs of a tile, given their products. Returns the part of the answer and the number of distances computed.
    pub(super) fn tile<Q: Question>(
        &self,
        question: &Q,
        tile: Tile,
        products: TileProducts<'_>,
    ) -> (Q::Part, u64) {
        let scanning = TileScan::new(*self, question, tile);
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || scanning.all(products),
        )
    }
}

/// The rows of one side of a tile, and the distance within which each searches.
struct Side {
    /// The place of its first row.
    first: usize,
    /// The largest error of the rows of this side.
    error: f64,
    /// The squared distance beyond which no pair of a row matters.
    reach: Vec<f64>,
    /// Half of the reach, rounded up.
    half_reach: Vec<f32>,
    /// The half norm minus the half reach.
    lower: Vec<f32>,
}

struct TileScan<'a, Q: Question> {
    scan: Scan<'a>,
    tile: Tile,
    rows: Side,
    columns: Side,
    part: Q::Part,
    computed: u64,
    buffers: [Vec<f32>; 2],
}

impl<'a, Q: Question> TileScan<'a, Q> {
    fn new(scan: Scan<'a>, question: &Q, tile: Tile) -> Self {
        let side = |block: usize, other: usize| {
            let places = scan.index.places(block);
            let other_error = scan.index.error(other);
            let reach: Vec<f64> = places
                .clone()
                .map(|place| {
                    let radius = question.radius(scan.index.order[place] as usize);
                    scan.reach(radius, scan.index.errors[place] + other_error)
                })
                .collect();
            let half_reach: Vec<f32> = reach.iter().map(|&reach| half(reach)).collect();
            let norms = &scan.index.half_norms[places.clone()];
            let lower = norms.iter().zip(&half_reach).map(|(norm, reach)| norm - reach).collect();
            Side { first: places.start, error: scan.index.error(block), reach, half_reach, lower }
        };
        TileScan {
            rows: side(tile.row_block, tile.column_block),
            columns: side(tile.column_block, tile.row_block),
            scan,
            tile,
            part: question.part(),
            computed: 0,
            buffers: [Vec::new(), Vec::new()],
        }
    }

    #[inline(always)]
    fn all(mut self, products: TileProducts<'_>) -> (Q::Part, u64) {
        let block = self.scan.index.block;
        if Q::NARROWS && self.rows.reach.contains(&f64::INFINITY) {
            products.rows(
                block,
                #[inline(always)]
                |row, products| self.begin(row, products),
            );
        }
        let mut hits = vec![0_u32; block + LANES];
        products.rows(
            block,
            #[inline(always)]
            |row, products| self.row(row, products, &mut hits),
        );
        (self.part, self.computed)
    }

    /// Returns whether both sides are the same block.
    fn within(&self) -> bool {
        self.tile.row_block == self.tile.column_block
    }

    /// Scans the pairs of one row.
    #[inline(always)]
    fn row(&mut self, row: usize, products: &[f32], hits: &mut [u32]) {
        if row >= self.rows.reach.len() {
            return;
        }
        // A block is compared with itself only below the diagonal, so that each pair occurs once.
        let columns = if self.within() { row } else { self.columns.reach.len() };
        let products = &products[..columns];
        let half_norms = &self.scan.index.half_norms;
        let norm = half_norms[self.rows.first + row];
        let norms = &half_norms[self.columns.first..][..columns];
        let count = find(products, norm, self.rows.lower[row], norms, &self.columns.lower[..columns], hits);
        for &hit in &hits[..count] {
            let column = hit as usize;
            // Earlier pairs may have reduced the radii.
            let lowers = (self.rows.lower[row], self.columns.lower[column]);
            if matters(products[column], norm, lowers.0, norms[column], lowers.1) {
                self.pair(row, column, products[column]);
            }
        }
    }

    /// Computes the distance of the pair that is nearest by the products, for a row whose reach is still unlimited. Otherwise many
    /// distances would be computed before the reach becomes small.
    #[inline(always)]
    fn begin(&mut self, row: usize, products: &[f32]) {
        if self.rows.reach.get(row) != Some(&f64::INFINITY) {
            return;
        }
        let norms = &self.scan.index.half_norms[self.columns.first..][..self.columns.reach.len()];
        let nearness = products.iter().zip(norms).map(|(product, norm)| product - norm).enumerate();
        let others = nearness.filter(|(column, _)| !(self.within() && *column == row));
        if let Some((column, _)) = others.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
            self.pair(row, column, products[column]);
        }
    }

    #[inline(always)]
    fn pair(&mut self, row: usize, column: usize, product: f32) {
        let index = self.scan.index;
        let (p, q) = (self.rows.first + row, self.columns.first + column);
        if let Some(cascade) = &index.cascade {
            let reach = self.rows.reach[row].max(self.columns.reach[column]);
            if index.leading_distance(p, q, product) + cascade.squared_distance(p, q) > reach {
                return;
            }
        }
        // This is checked late, because labels are scattered in memory and most pairs are excluded before.
        let (x, y) = (index.order[p] as usize, index.order[q] as usize);
        let (a, b) = (x.min(y), x.max(y));
        if !self.scan.pairs.admit(self.scan.points.rows, a, b) {
            return;
        }
        let distance = self.scan.points.distance(a, b, &mut self.buffers);
        self.computed += 1;
        match Q::take(&mut self.part, Pair { a, b, distance }) {
            Radius::Same => {}
            Radius::Pair => {
                self.shrink_one(row, column, distance);
                if self.within() {
                    self.shrink_one(column, row, distance);
                }
            }
            Radius::All(radius) => self.shrink_all(radius),
        }
    }

    fn shrink_one(&mut self, row: usize, column: usize, radius: f64) {
        let index = self.scan.index;
        let errors = [self.columns.error, self.rows.error];
        let sides = [(&mut self.rows, row), (&mut self.columns, column)];
        for ((side, at), other_error) in sides.into_iter().zip(errors) {
            let place = side.first + at;
            let reach = self.scan.reach(radius, index.errors[place] + other_error);
            if reach < side.reach[at] {
                side.reach[at] = reach;
                side.half_reach[at] = half(reach);
                side.lower[at] = index.half_norms[place] - side.half_reach[at];
            }
        }
    }

    fn shrink_all(&mut self, radius: f64) {
        let index = self.scan.index;
        let errors = self.rows.error + self.columns.error;
        let reach = self.scan.reach(radius, errors);
        for side in [&mut self.rows, &mut self.columns] {
            if side.reach.iter().all(|held| *held <= reach) {
                continue;
            }
            for at in 0..side.reach.len() {
                if reach < side.reach[at] {
                    side.reach[at] = reach;
                    side.half_reach[at] = half(reach);
                    side.lower[at] = index.half_norms[side.first + at] - side.half_reach[at];
                }
            }
        }
    }
}

/// Returns half the reach, increased by the rounding error of the comparison.
fn half(reach: f64) -> f32 {
    round_up((reach + UNDERFLOW) / 2.0 * (1.0 + 8.0 * UNIT_F32))
}

/// Returns whether a product is too large to exclude its pair. Both half norms are given with and without the half reach
/// subtracted.
#[inline(always)]
fn matters(product: f32, norm: f32, lower: f32, other_norm: f32, other_lower: f32) -> bool {
    (product - norm >= other_lower) | (product - lower >= other_norm)
}

/// Writes the columns whose product with a row is too large to exclude the pair. Returns their number.
///
/// A pair matters if `product >= norm + norms - reach` for the reach of the row or of the column. Norms and reaches are halved.
#[inline(always)]
fn find(products: &[f32], norm: f32, lower: f32, norms: &[f32], lowers: &[f32], hits: &mut [u32]) -> usize {
    let mut count = 0;
    let (chunks, rest) = products.as_chunks::<LANES>();
    let (norm_chunks, norm_rest) = norms.as_chunks::<LANES>();
    let (lower_chunks, lower_rest) = lowers.as_chunks::<LANES>();
    for (chunk, ((products, norms), lowers)) in chunks.iter().zip(norm_chunks).zip(lower_chunks).enumerate() {
        let mut any = false;
        for lane in 0..LANES {
            any |= matters(products[lane], norm, lower, norms[lane], lowers[lane]);
        }
        if any {
            for lane in 0..LANES {
                hits[count] = (chunk * LANES + lane) as u32;
                count += usize::from(matters(products[lane], norm, lower, norms[lane], lowers[lane]));
            }
        }
    }
    for (lane, ((product, norms), lowers)) in rest.iter().zip(norm_rest).zip(lower_rest).enumerate() {
        hits[count] = (chunks.len() * LANES + lane) as u32;
        count += usize::from(matters(*product, norm, lower, *norms, *lowers));
    }
    count
}
