//! The rows as the fast arithmetic sees them.

use burn::tensor::Device;
use nalgebra::DMatrix;
use rayon::prelude::*;

use super::{
    axes::{Axes, Position},
    bounds::{UNDERFLOW, UNIT_F32, UNIT_F64, gamma, round_down},
    order::{Enclosure, order},
    plan::Plan,
    products::Products,
};
use crate::{Metric, metric::Points};

/// Rows that are projected at a time.
const CHUNK: usize = 256;

/// The rows as the fast arithmetic sees them: centred, scaled, turned, rounded to f32, near ones together.
///
/// A *place* is where a row stands in this order.
#[derive(Debug)]
pub(super) struct Index {
    /// The row at each place.
    pub(super) order: Vec<u32>,
    /// Places in a block.
    pub(super) block: usize,
    pub(super) products: Products,
    /// What the products are of, a row at each place.
    pub(super) lead_width: usize,
    /// [place, coordinate], or nothing.
    pub(super) cascade: Vec<f32>,
    pub(super) cascade_width: usize,
    /// Half the squared length of what the products are of, less all that rounding can do to the products.
    pub(super) half_norms: Vec<f32>,
    /// The squared length of what the products are of.
    pub(super) norms: Vec<f64>,
    /// How far what is stored may lie from what it stands for.
    pub(super) errors: Vec<f64>,
    pub(super) enclosures: Vec<Enclosure>,
    /// What the distances of points are multiplied by here.
    pub(super) scale: f64,
    /// The largest factor by which the axes stretch a distance.
    pub(super) stretch: f64,
}

impl Index {
    /// The coordinates as they are.
    pub(super) fn whole(
        points: &Points<'_>,
        position: &Position,
        block: usize,
        labels: Option<&[u32]>,
        device: &Device,
    ) -> Self {
        let seen = Seen::whole(points, position);
        let order = order(&seen.lead, seen.lead_width, block, labels);
        seen.index(order, block, position.scale, device)
    }

    /// The first `lead` coordinates along the axes in the products, then those along all axes.
    pub(super) fn along(
        points: &Points<'_>,
        position: &Position,
        axes: &Axes,
        lead: usize,
        block: usize,
        labels: Option<&[u32]>,
        device: &Device,
    ) -> Self {
        let width = Plan::Principal { lead, cascade: axes.directions.nrows() }.cascade_width();
        let seen = Seen::along(points, position, axes, lead, width);
        let order = order(&seen.lead, seen.lead_width, block, labels);
        seen.index(order, block, position.scale, device)
    }

    pub(super) fn blocks(&self) -> usize {
        self.order.len().div_ceil(self.block)
    }

    /// The places of a block.
    pub(super) fn places(&self, block: usize) -> std::ops::Range<usize> {
        block * self.block..((block + 1) * self.block).min(self.order.len())
    }
}

/// The coordinates of all rows, in the order of the rows.
struct Seen {
    lead: Vec<f32>,
    lead_width: usize,
    cascade: Vec<f32>,
    cascade_width: usize,
    errors: Vec<f64>,
    stretch: f64,
}

impl Seen {
    fn whole(points: &Points<'_>, position: &Position) -> Self {
        let (n, d) = (points.rows.rows(), points.rows.columns());
        let mut lead = vec![0.0_f32; n * d];
        let mut errors = vec![0.0; n];
        let rows = lead.par_chunks_mut(d).zip(errors.par_iter_mut()).enumerate();
        rows.for_each_init(
            || vec![0.0; d],
            |point, (row, (lead, error))| {
                position.write(points, row, point);
                lead.iter_mut().zip(&*point).for_each(|(value, exact)| *value = *exact as f32);
                *error = rounding(crate::norm(point), d) + reading(points, position);
            },
        );
        Seen { lead, lead_width: d, cascade: Vec::new(), cascade_width: 0, errors, stretch: 1.0 }
    }

    fn along(
        points: &Points<'_>,
        position: &Position,
        axes: &Axes,
        lead: usize,
        cascade_width: usize,
    ) -> Self {
        let (n, d) = (points.rows.rows(), points.rows.columns());
        let count = axes.directions.nrows();
        let lead_width = lead + 1;
        let mut seen = Seen {
            lead: vec![0.0; n * lead_width],
            lead_width,
            cascade: vec![0.0; n * cascade_width],
            cascade_width,
            errors: vec![0.0; n],
            stretch: (1.0 + axes.skew + axes.skew * axes.skew).sqrt(),
        };
        // How far the squared length of a rest may be off, as a share of the squared length of the whole.
        let off = axes.skew + 4.0 * gamma(d + count + 4, UNIT_F64);
        let chunks = seen.lead.par_chunks_mut(CHUNK * lead_width);
        let chunks = chunks.zip(seen.cascade.par_chunks_mut(CHUNK * cascade_width));
        let chunks = chunks.zip(seen.errors.par_chunks_mut(CHUNK)).enumerate();
        chunks.for_each(|(chunk, ((lead_rows, cascade_rows), errors))| {
            let mut exact = DMatrix::<f64>::zeros(d, errors.len());
            let columns = exact.as_mut_slice().chunks_mut(d).enumerate();
            columns.for_each(|(place, point)| position.write(points, chunk * CHUNK + place, point));
            let turned = &axes.directions * &exact; // [axis, row]
            for (place, error) in errors.iter_mut().enumerate() {
                let squared: f64 = exact.column(place).iter().map(|value| value * value).sum();
                let turned = turned.column(place);
                let mut left = squared;
                let lead_row = &mut lead_rows[place * lead_width..][..lead_width];
                let cascade_row = &mut cascade_rows[place * cascade_width..][..cascade_width];
                let mut rest_error = 0.0_f64;
                for (axis, &value) in turned.iter().enumerate() {
                    if axis == lead {
                        lead_row[lead] = left.max(0.0).sqrt() as f32;
                        rest_error = root_error(left, off * squared);
                    }
                    if axis < lead {
                        lead_row[axis] = value as f32;
                    }
                    cascade_row[axis] = value as f32;
                    left -= value * value;
                }
                if lead == count {
                    lead_row[lead] = left.max(0.0).sqrt() as f32;
                }
                cascade_row[count] = left.max(0.0).sqrt() as f32;
                rest_error = rest_error.max(root_error(left, off * squared));
                let norm = squared.sqrt();
                let turning = (count as f64).sqrt() * gamma(d + 2, UNIT_F64) * 1.01 * norm;
                *error = rounding(norm, d) + turning + rest_error + reading(points, position);
            }
        });
        seen
    }

    /// Puts the rows into their order.
    fn index(self, order: Vec<u32>, block: usize, scale: f64, device: &Device) -> Index {
        let Seen { lead, lead_width, cascade, cascade_width, errors, stretch } = self;
        let n = order.len();
        let blocks = n.div_ceil(block);
        let mut placed = vec![0.0_f32; blocks * block * lead_width];
        gather(&lead, lead_width, &order, &mut placed);
        drop(lead);
        let mut placed_cascade = vec![0.0_f32; if cascade_width > 0 { n * cascade_width } else { 0 }];
        gather(&cascade, cascade_width, &order, &mut placed_cascade);
        drop(cascade);
        let errors = order.iter().map(|&row| errors[row as usize]).collect();
        let norms: Vec<f64> = placed
            .par_chunks(lead_width)
            .take(n)
            .map(|row| row.iter().map(|&value| f64::from(value).powi(2)).sum())
            .collect();
        // The share that the products and the comparison with them may be off by: see docs/distances.md.
        let share = 1.0 - gamma(lead_width, UNIT_F32) - 8.0 * UNIT_F32 - 1e-12;
        let half_norms = norms.iter().map(|norm| round_down(norm / 2.0 * share)).collect();
        let enclosure = |block_number: usize| {
            Enclosure::of(&placed, lead_width, block_number * block..((block_number + 1) * block).min(n))
        };
        let enclosures = (0..blocks).into_par_iter().map(enclosure).collect();
        Index {
            order,
            block,
            products: Products::new(placed, [blocks, block, lead_width], device),
            lead_width,
            cascade: placed_cascade,
            cascade_width,
            half_norms,
            norms,
            errors,
            enclosures,
            scale,
            stretch,
        }
    }
}

/// Copies rows into another order.
fn gather(from: &[f32], width: usize, order: &[u32], to: &mut [f32]) {
    if width > 0 {
        let rows = to.par_chunks_mut(width).zip(order);
        rows.for_each(|(to, &row)| to.copy_from_slice(&from[row as usize * width..][..width]));
    }
}

/// How far rounding to f32 can move a vector of this length.
fn rounding(norm: f64, d: usize) -> f64 {
    // A little more than the bound, for what rounding does to the length itself.
    1.01 * UNIT_F32 * norm + (d as f64 + 1.0).sqrt() * UNDERFLOW
}

/// How far what was read may lie from the point that it stands for, scaled.
fn reading(points: &Points<'_>, position: &Position) -> f64 {
    match points.metric() {
        // Centring rounds each difference, by a share that `rounding` has room for.
        Metric::L2 => 0.0,
        Metric::Cosine => 2.0 * UNIT_F64 * position.scale,
    }
}

/// How far the root of `square` may lie from that of a number at most `off` from it.
fn root_error(square: f64, off: f64) -> f64 {
    if square > off { off / square.sqrt() } else { (2.0 * off).sqrt() }
}
