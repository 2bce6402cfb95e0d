//! The rows, prepared for the fast arithmetic.

use nalgebra::DMatrix;
use rayon::prelude::*;

use super::{
    axes::{Axes, Position},
    bounds::{UNDERFLOW, UNIT_F32, UNIT_F64, gamma, round_down},
    cascade::Cascade,
    grid::Grid,
    products::{DeviceProducts, Multiplier, Products},
};
use crate::{
    distance::norm,
    integer_products::{Rounded, round},
    metric::{Metric, Points},
    spatial_order::{Enclosure, order},
};

/// The number of rows that are projected together.
const CHUNK: usize = 256;

/// The rows centred, scaled, rotated, rounded to f32, and ordered so that near rows share a block.
///
/// A *place* is the position of a row in this order.
#[derive(Debug)]
pub(super) struct Index {
    /// The row at each place.
    pub(super) order: Vec<u32>,
    /// The number of places in a block.
    pub(super) block: usize,
    pub(super) products: Products,
    /// The number of coordinates in the products.
    pub(super) lead_width: usize,
    /// The error of a product, as a share of half the sum of the two squared lengths.
    product_error: f64,
    /// The second bound. `None` if the products contain all coordinates.
    pub(super) cascade: Option<Cascade>,
    /// The last coordinate of each place in the products: the length of the remaining coordinates, which the cascade refines.
    rests: Vec<f32>,
    /// Half the squared length of the coordinates in the products, minus the effect of rounding on the products.
    pub(super) half_norms: Vec<f32>,
    /// The squared length of the coordinates in the products.
    pub(super) norms: Vec<f64>,
    /// An upper bound of the distance between each indexed row and the exact one.
    pub(super) errors: Vec<f64>,
    pub(super) enclosures: Vec<Enclosure>,
    /// The factor by which the index multiplies the distances of points.
    pub(super) scale: f64,
    /// The largest factor by which the axes stretch a distance.
    pub(super) stretch: f64,
}

impl Index {
    /// Creates an index of all coordinates, without rotation.
    pub(super) fn whole(
        points: &Points<'_>,
        position: &Position,
        block: usize,
        labels: Option<&[u32]>,
        multiplier: &Multiplier,
    ) -> Self {
        let all = Coordinates::whole(points, position);
        let order = order(&all.lead, all.lead_width, block, labels);
        all.index(order, block, position.scale, multiplier)
    }

    /// Creates an index with the first `lead` coordinates along the axes in the products, and the others in the cascade.
    pub(super) fn along(
        points: &Points<'_>,
        position: &Position,
        axes: &Axes,
        lead: usize,
        block: usize,
        labels: Option<&[u32]>,
        multiplier: &Multiplier,
    ) -> Self {
        let all = Coordinates::along(points, position, axes, lead);
        let order = order(&all.lead, all.lead_width, block, labels);
        all.index(order, block, position.scale, multiplier)
    }

    pub(super) fn blocks(&self) -> usize {
        self.order.len().div_ceil(self.block)
    }

    /// Returns a lower bound of the squared distance of two rows along the coordinates before those of the cascade, given their
    /// product.
    #[inline(always)]
    pub(super) fn leading_distance(&self, p: usize, q: usize, product: f32) -> f64 {
        let norms = self.norms[p] + self.norms[q];
        let rest = f64::from(self.rests[p]) - f64::from(self.rests[q]);
        let off = norms * (self.product_error + 1e-12) + 2.0 * UNDERFLOW;
        (norms - 2.0 * f64::from(product) - off - rest * rest).max(0.0)
    }

    /// Returns the largest error of the rows of a block.
    pub(super) fn error(&self, block: usize) -> f64 {
        self.errors[self.places(block)].iter().fold(0.0, |largest: f64, error| largest.max(*error))
    }

    /// Returns the places of the rows of a block, in the order of the index.
    pub(super) fn places(&self, block: usize) -> std::ops::Range<usize> {
        block * self.block..((block + 1) * self.block).min(self.order.len())
    }
}

/// The coordinates of all rows, in their original order.
struct Coordinates {
    lead: Vec<f32>,
    lead_width: usize,
    /// The coordinates for the cascade, on grids. Empty if the lead contains all coordinates.
    cascade: Vec<i16>,
    cascade_width: usize,
    rounded: Vec<Rounded>,
    errors: Vec<f64>,
    stretch: f64,
}

impl Coordinates {
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
                *error = rounding(norm(point), d) + reading(points, position);
            },
        );
        Coordinates {
            lead,
            lead_width: d,
            cascade: Vec::new(),
            cascade_width: 0,
            rounded: vec![Rounded::default(); n],
            errors,
            stretch: 1.0,
        }
    }

    fn along(points: &Points<'_>, position: &Position, axes: &Axes, lead: usize) -> Self {
        let (n, d) = (points.rows.rows(), points.rows.columns());
        let count = axes.directions.nrows();
        let (lead_width, cascade_width) = (lead + 1, Cascade::width(count - lead + 1));
        let mut all = Coordinates {
            lead: vec![0.0; n * lead_width],
            lead_width,
            cascade: vec![0; n * cascade_width],
            cascade_width,
            rounded: vec![Rounded::default(); n],
            errors: vec![0.0; n],
            stretch: (1.0 + axes.skew + axes.skew * axes.skew).sqrt(),
        };
        // The error of the squared length of a rest, as a share of the squared length of the whole.
        let off = axes.skew + 4.0 * gamma(d + count + 4, UNIT_F64);
        let chunks = all.lead.par_chunks_mut(CHUNK * lead_width);
        let chunks = chunks.zip(all.cascade.par_chunks_mut(CHUNK * cascade_width));
        let chunks = chunks.zip(all.errors.par_chunks_mut(CHUNK)).zip(all.rounded.par_chunks_mut(CHUNK));
        chunks.enumerate().for_each(|(chunk, (((lead_rows, cascade_rows), errors), rounded))| {
            let mut exact = DMatrix::<f64>::zeros(d, errors.len());
            let columns = exact.as_mut_slice().chunks_mut(d).enumerate();
            columns.for_each(|(place, point)| position.write(points, chunk * CHUNK + place, point));
            let turned = &axes.directions * &exact; // [axis, row]
            for (place, (error, rounded)) in errors.iter_mut().zip(rounded).enumerate() {
                let squared: f64 = exact.column(place).iter().map(|value| value * value).sum();
                let turned = turned.column(place);
                // The squared length that remains after the first `axes` axes.
                let rest = |axes: usize| squared - turned.iter().take(axes).map(|x| x * x).sum::<f64>();
                let (lead_rest, cascade_rest) = (rest(lead), rest(count));
                let lead_row = &mut lead_rows[place * lead_width..][..lead_width];
                lead_row.iter_mut().zip(turned.iter()).for_each(|(value, &exact)| *value = exact as f32);
                lead_row[lead] = lead_rest.max(0.0).sqrt() as f32;
                let cascade_row = &mut cascade_rows[place * cascade_width..][..cascade_width];
                let coordinates = turned.iter().skip(lead).copied().chain([cascade_rest.max(0.0).sqrt()]);
                let mut places = cascade_row.iter_mut();
                *rounded = round(coordinates, |number| {
                    if let Some(place) = places.next() {
                        *place = number;
                    }
                });

                let norm = squared.sqrt();
                let turning = (count as f64).sqrt() * gamma(d + 2, UNIT_F64) * 1.01 * norm;
                let rest_error =
                    root_error(lead_rest, off * squared).max(root_error(cascade_rest, off * squared));
                *error = rounding(norm, d) + turning + rest_error + reading(points, position);
            }
        });
        all
    }

    /// Reorders the rows and computes the bounds.
    fn index(self, order: Vec<u32>, block: usize, scale: f64, multiplier: &Multiplier) -> Index {
        let Coordinates { lead, lead_width, cascade, cascade_width, rounded, errors, stretch } = self;
        let n = order.len();
        let blocks = n.div_ceil(block);
        let mut placed = vec![0.0_f32; blocks * block * lead_width];
        gather(&lead, lead_width, &order, &mut placed);
        drop(lead);
        let rounded: Vec<Rounded> = order.iter().map(|&row| rounded[row as usize]).collect();
        let second = (cascade_width > 0).then(|| {
            let mut placed = vec![0_i16; n * cascade_width];
            gather(&cascade, cascade_width, &order, &mut placed);
            Cascade::new(placed, cascade_width, &rounded)
        });
        drop(cascade);
        let (grid, product_error) = match multiplier.kernel {
            None => (None, gamma(lead_width, UNIT_F32)),
            Some(kernel) => (Some(Grid::round(&mut placed, lead_width, block, kernel)), Grid::PRODUCT_ERROR),
        };
        let moved = |place: usize| grid.as_ref().map_or(0.0, |(_, moved)| moved[place]);
        let both = rounded.iter().enumerate().map(|(place, rounded)| rounded.moved.hypot(moved(place)));
        let errors = order.iter().zip(both).map(|(&row, moved)| errors[row as usize] + moved).collect();
        let rests = placed.chunks(lead_width).take(n).map(|row| row[lead_width - 1]).collect();
        let norms: Vec<f64> = placed
            .par_chunks(lead_width)
            .take(n)
            .map(|row| row.iter().map(|&value| f64::from(value).powi(2)).sum())
            .collect();
        // One minus the relative errors of the products and of the comparison (see docs/distances.md).
        let share = 1.0 - product_error - 8.0 * UNIT_F32 - 1e-12;
        let half_norms = norms.iter().map(|norm| round_down(norm / 2.0 * share)).collect();
        let enclosure = |block_number: usize| {
            Enclosure::of(&placed, lead_width, block_number * block..((block_number + 1) * block).min(n))
        };
        let enclosures = (0..blocks).into_par_iter().map(enclosure).collect();
        let shape = [blocks, block, lead_width];
        let products = match grid {
            Some((grid, _)) => Products::Processor(grid),
            None => Products::Device(Box::new(DeviceProducts::new(placed, shape, &multiplier.device))),
        };
        Index {
            order,
            block,
            products,
            lead_width,
            product_error,
            cascade: second,
            rests,
            half_norms,
            norms,
            errors,
            enclosures,
            scale,
            stretch,
        }
    }
}

/// Copies rows in another order.
fn gather<T: Copy + Send + Sync>(from: &[T], width: usize, order: &[u32], to: &mut [T]) {
    let rows = to.par_chunks_mut(width).zip(order);
    rows.for_each(|(to, &row)| to.copy_from_slice(&from[row as usize * width..][..width]));
}

/// Returns an upper bound of the distance by which rounding to f32 moves a vector of this length.
fn rounding(norm: f64, d: usize) -> f64 {
    // The factor 1.01 covers the rounding of the length itself.
    1.01 * UNIT_F32 * norm + (d as f64 + 1.0).sqrt() * UNDERFLOW
}

/// Returns an upper bound of the scaled distance between a point as it was read and the exact point.
fn reading(points: &Points<'_>, position: &Position) -> f64 {
    match points.metric() {
        // Centring rounds each difference, which the factor in `rounding` covers.
        Metric::L2 => 0.0,
        Metric::Cosine => 2.0 * UNIT_F64 * position.scale,
    }
}

/// Returns an upper bound of the difference between the square root of `square` and that of a number within `off` of it.
fn root_error(square: f64, off: f64) -> f64 {
    if square > off { off / square.sqrt() } else { (2.0 * off).sqrt() }
}
