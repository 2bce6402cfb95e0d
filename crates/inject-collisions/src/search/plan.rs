//! The choice of the number of coordinates in the products.

use nalgebra::DMatrix;
use rayon::prelude::*;

use super::{
    axes::{Axes, Position},
    cascade::Cascade,
    products::Multiplier,
};
use crate::{
    metric::Points,
    tuning::{
        CASCADE, COMPARISON_F32, COMPARISON_I16, COORDINATE_F32, COORDINATE_I16, DIRECT, LEADS, PLAN_AT,
        PLAN_FROM,
    },
};

/// The coordinates that the fast arithmetic uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// All coordinates, in the products. Only rounding makes the bound inexact.
    Whole,
    /// The products contain the first `lead` principal coordinates and the length of the rest. The pairs that remain are then
    /// compared by the first `cascade` principal coordinates and the length of the rest.
    Principal { lead: usize, cascade: usize },
}

impl Plan {
    /// Returns the number of coordinates of each row in the products.
    pub(super) fn lead_width(self, columns: usize) -> usize {
        match self {
            Plan::Whole => columns,
            Plan::Principal { lead, .. } => lead + 1,
        }
    }

    /// Returns the number of coordinates of each row in the cascade.
    pub(super) fn cascade_width(self) -> usize {
        match self {
            Plan::Whole => 0,
            Plan::Principal { lead, cascade } => Cascade::width(cascade - lead + 1),
        }
    }

    /// Returns the peak size in bytes of an index by this plan. Each number is in memory twice while the rows are reordered.
    pub(super) fn bytes(self, rows: usize, columns: usize) -> usize {
        let bytes = 2 * (4 * self.lead_width(columns) + 2 * self.cascade_width()) + 64;
        rows.saturating_mul(bytes)
    }
}

/// The pairs that a question has to examine, estimated from a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reach {
    /// Pairs closer than a row's nearest neighbour.
    Neighbour,
    /// Pairs closer than the closest pair.
    Closest,
    /// Pairs closer than this L2 distance of points.
    Fixed(f64),
}

/// The time spent on one pair, in nanoseconds of one core.
#[derive(Clone, Copy, Debug)]
struct Costs {
    /// The time per coordinate of the product.
    coordinate: f64,
    /// The time of comparing the product with the bounds.
    comparison: f64,
}

impl Costs {
    fn of(multiplier: &Multiplier) -> Self {
        match multiplier.kernel {
            Some(_) => Costs { coordinate: COORDINATE_I16, comparison: COMPARISON_I16 },
            None => Costs { coordinate: COORDINATE_F32, comparison: COMPARISON_F32 },
        }
    }
}

impl Plan {
    /// Returns the plan that uses the least memory.
    pub(super) fn smallest(columns: usize) -> Self {
        Plan::Principal { lead: columns.min(LEADS[0]), cascade: columns.min(LEADS[0]) }
    }

    /// Returns the plan with the least estimated time among those that fit into the budget.
    pub(super) fn choose(
        points: &Points<'_>,
        position: &Position,
        axes: &Axes,
        reach: Reach,
        multiplier: &Multiplier,
        fits: impl Fn(Plan) -> bool,
    ) -> Self {
        let columns = points.rows.columns();
        let count = axes.directions.nrows();
        let sample = Sample::new(points, position, axes, reach);
        let left_by_all = sample.left(count);
        let costs = Costs::of(multiplier);
        let products = |coordinates: usize| coordinates as f64 * costs.coordinate + costs.comparison;
        let cost = |plan: Plan| match plan {
            Plan::Whole => products(columns),
            Plan::Principal { lead, .. } => {
                products(lead) + sample.left(lead) * CASCADE + left_by_all * DIRECT
            }
        };
        let leads = LEADS.into_iter().filter(|&lead| lead <= count);
        let plans = leads.map(|lead| Plan::Principal { lead, cascade: count }).chain([Plan::Whole]);
        let mut plans: Vec<(f64, Plan)> =
            plans.filter(|&plan| fits(plan)).map(|plan| (cost(plan), plan)).collect();
        plans.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        plans.first().map_or(Plan::smallest(count), |(_, plan)| *plan)
    }
}

/// A sample of the rows, from which the number of pairs that a plan does not exclude is estimated.
struct Sample {
    /// The principal coordinates of the rows on both sides of the pairs: [axis, row].
    from: DMatrix<f64>,
    at: DMatrix<f64>,
    /// The squared lengths of the rows.
    from_norms: Vec<f64>,
    at_norms: Vec<f64>,
    /// The squared distance within which pairs of each row matter.
    reaches: Vec<f64>,
}

impl Sample {
    fn new(points: &Points<'_>, position: &Position, axes: &Axes, reach: Reach) -> Self {
        let n = points.rows.rows();
        let rows = |count: usize| -> Vec<usize> { (0..count).map(|place| place * n / count).collect() };
        let (from_rows, at_rows) = (rows(PLAN_FROM.min(n)), rows(PLAN_AT.min(n)));
        let read = |rows: &[usize]| {
            let mut matrix = DMatrix::zeros(points.rows.columns(), rows.len());
            for (column, &row) in matrix.as_mut_slice().chunks_mut(points.rows.columns()).zip(rows) {
                position.write(points, row, column);
            }
            matrix
        };
        let (from, at) = (read(&from_rows), read(&at_rows));
        let norms = |matrix: &DMatrix<f64>| -> Vec<f64> {
            matrix.column_iter().map(|column| column.norm_squared()).collect()
        };
        let (from_norms, at_norms) = (norms(&from), norms(&at));
        let products = from.transpose() * &at; // [from, at]
        let nearest = |row: usize| {
            let others = at_rows.iter().enumerate().filter(|(_, other)| **other != from_rows[row]);
            let squared =
                others.map(|(place, _)| from_norms[row] + at_norms[place] - 2.0 * products[(row, place)]);
            squared.fold(f64::INFINITY, f64::min).max(0.0)
        };
        let mut reaches: Vec<f64> = (0..from_rows.len()).map(nearest).collect();
        match reach {
            Reach::Neighbour => {}
            Reach::Closest => {
                let least = reaches.iter().copied().fold(f64::INFINITY, f64::min);
                reaches.fill(least);
            }
            Reach::Fixed(distance) => reaches.fill((distance * position.scale).powi(2)),
        }
        Sample { from: &axes.directions * from, at: &axes.directions * at, from_norms, at_norms, reaches }
    }

    /// Returns the share of the pairs that the first `lead` coordinates and the length of the rest do not exclude.
    fn left(&self, lead: usize) -> f64 {
        let rest =
            |column: &[f64], norm: f64| (norm - column.iter().map(|x| x * x).sum::<f64>()).max(0.0).sqrt();
        let columns = |matrix: &'_ DMatrix<f64>, norms: &[f64]| -> Vec<(Vec<f64>, f64)> {
            let column = |(column, norm): (nalgebra::DVectorView<'_, f64>, &f64)| {
                let leading: Vec<f64> = column.iter().take(lead).copied().collect();
                let rest = rest(&leading, *norm);
                (leading, rest)
            };
            matrix.column_iter().zip(norms).map(column).collect()
        };
        let (from, at) = (columns(&self.from, &self.from_norms), columns(&self.at, &self.at_norms));
        let left_of = |((x, x_rest), reach): (&(Vec<f64>, f64), &f64)| {
            let left = at.iter().filter(|(y, y_rest)| {
                let squared: f64 = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum();
                squared + (x_rest - y_rest).powi(2) <= *reach
            });
            left.count()
        };
        let left: usize = from.par_iter().zip(&self.reaches).map(left_of).sum();
        // A pair remains if it is within the reach of either row. Each row also finds itself, which is subtracted.
        let share = left.saturating_sub(from.len()) as f64 / (from.len() * at.len()) as f64;
        (2.0 * share).min(1.0)
    }
}
