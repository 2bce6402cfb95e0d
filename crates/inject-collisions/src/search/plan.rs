//! How many coordinates to look at first.

use nalgebra::DMatrix;
use rayon::prelude::*;

use super::{
    axes::{Axes, Position},
    cascade::Cascade,
    products::Multiplier,
};
use crate::metric::Points;

/// Which coordinates the fast arithmetic looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The coordinates as they are. Nothing is lost but rounding.
    Whole,
    /// The first `lead` principal coordinates and the length of the rest in the products, then the first `cascade` ones and
    /// the length of their rest for the pairs that are left.
    Principal { lead: usize, cascade: usize },
}

impl Plan {
    /// Numbers a row in the products.
    pub(super) fn lead_width(self, columns: usize) -> usize {
        match self {
            Plan::Whole => columns,
            Plan::Principal { lead, .. } => lead + 1,
        }
    }

    /// Numbers a row in the cascade.
    pub(super) fn cascade_width(self) -> usize {
        match self {
            Plan::Whole => 0,
            Plan::Principal { lead, cascade } => Cascade::width(cascade - lead + 1),
        }
    }

    /// Bytes that an index by this plan takes, at its largest: each number is held twice while it is put in order.
    pub(super) fn bytes(self, rows: usize, columns: usize) -> usize {
        let bytes = 2 * (4 * self.lead_width(columns) + 2 * self.cascade_width()) + 64;
        rows.saturating_mul(bytes)
    }
}

/// Which pairs a question still has to look at, as far as a sample can tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reach {
    /// Those closer than a row's nearest neighbour.
    Neighbour,
    /// Those closer than the closest pair.
    Closest,
    /// Those closer than this, as an L2 distance of points.
    Fixed(f64),
}

/// Numbers of leading coordinates that are considered.
const LEADS: [usize; 8] = [8, 16, 32, 48, 64, 80, 96, 128];
/// Rows of the sample that are looked from, and at.
const FROM: usize = 192;
const AT: usize = 4096;

/// What a pair costs in one core's nanoseconds, measured on a Zen 4 core: they steer the choice and nothing else.
#[derive(Clone, Copy, Debug)]
struct Costs {
    /// Of one coordinate in the products.
    coordinate: f64,
    /// Of comparing the product.
    comparison: f64,
}

impl Costs {
    fn of(multiplier: &Multiplier) -> Self {
        match multiplier.kernel {
            Some(_) => Costs { coordinate: 0.0085, comparison: 0.2 },
            None => Costs { coordinate: 0.018, comparison: 0.7 },
        }
    }
}

/// The same of the cascade, per pair of the sample that is left: of all rows, whose neighbours are nearer, a quarter of that are.
const CASCADE: f64 = 7.0;
/// The same of a distance computed directly.
const DIRECT: f64 = 250.0;

impl Plan {
    /// The plan that takes the least memory.
    pub(super) fn smallest(columns: usize) -> Self {
        Plan::Principal { lead: columns.min(LEADS[0]), cascade: columns.min(LEADS[0]) }
    }

    /// The plan that should take the least time, among those that fit into the budget.
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

/// Distances of some rows to some others, coordinate by coordinate.
struct Sample {
    /// Principal coordinates of the rows looked from and at: [axis, row].
    from: DMatrix<f64>,
    at: DMatrix<f64>,
    /// Squared lengths.
    from_norms: Vec<f64>,
    at_norms: Vec<f64>,
    /// The squared distance up to which each row looks.
    reaches: Vec<f64>,
}

impl Sample {
    fn new(points: &Points<'_>, position: &Position, axes: &Axes, reach: Reach) -> Self {
        let n = points.rows.rows();
        let rows = |count: usize| -> Vec<usize> { (0..count).map(|place| place * n / count).collect() };
        let (from_rows, at_rows) = (rows(FROM.min(n)), rows(AT.min(n)));
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

    /// The share of the pairs that so many leading coordinates and the length of the rest do not exclude.
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
        // A pair is left if either of its rows still looks that far; each row finds itself.
        let share = left.saturating_sub(from.len()) as f64 / (from.len() * at.len()) as f64;
        (2.0 * share).min(1.0)
    }
}
