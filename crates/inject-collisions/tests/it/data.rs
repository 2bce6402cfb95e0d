//! States whose distances are difficult to compute.

use ndarray::{Array2, s};

/// A pseudorandom number generator with this state.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Draws a standard normal number by the Box-Muller transform.
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub(crate) fn gaussian(&mut self, rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_simple_fn((rows, columns), || self.normal() as f32)
    }
}

/// Returns each case with its name.
pub(crate) fn hard_cases() -> Vec<(&'static str, Array2<f32>)> {
    vec![
        ("isotropic", Draw(1).gaussian(700, 48)),
        ("width not a multiple of eight", Draw(2).gaussian(300, 37)),
        ("one column", Draw(3).gaussian(200, 1)),
        ("two rows", Draw(4).gaussian(2, 20)),
        ("three rows", Draw(5).gaussian(3, 5)),
        ("decaying", decaying(900, 64)),
        ("clusters", clusters(800, 40)),
        ("massive coordinates", massive(600, 96)),
        ("sinks among others", sinks(600, 64)),
        ("far from the origin", far(500, 32)),
        ("planted", planted(500, 72)),
        ("near ties", near_ties(400, 24)),
        ("duplicates", duplicates(400, 33)),
        ("all equal", Array2::from_elem((150, 19), 0.7)),
        ("on a line", Array2::from_shape_fn((300, 9), |(row, _)| row as f32)),
        (
            "on a grid",
            Array2::from_shape_fn((512, 3), |(row, axis)| (row / 8_usize.pow(axis as u32) % 8) as f32),
        ),
        ("tiny", Draw(6).gaussian(200, 16) * 1e-30),
        ("denormal", Draw(7).gaussian(200, 16) * 1e-41),
        ("huge", Draw(8).gaussian(200, 16) * 1e30),
    ]
}

/// Returns Gaussian rows whose standard deviations decrease from column to column, like those of real states.
fn decaying(rows: usize, columns: usize) -> Array2<f32> {
    let mut states = Draw(11).gaussian(rows, columns);
    let scale = |column: usize| 30.0 / (1.0 + column as f32).sqrt();
    states.columns_mut().into_iter().enumerate().for_each(|(column, mut values)| values *= scale(column));
    states
}

fn clusters(rows: usize, columns: usize) -> Array2<f32> {
    let centres = Draw(12).gaussian(17, columns) * 50.0;
    let mut states = Draw(13).gaussian(rows, columns);
    states.rows_mut().into_iter().enumerate().for_each(|(row, mut state)| state += &centres.row(row % 17));
    states
}

/// Returns rows with norms of 1e4, almost entirely due to three coordinates.
fn massive(rows: usize, columns: usize) -> Array2<f32> {
    let mut states = Draw(14).gaussian(rows, columns);
    for (column, offset) in [(3, 8_000.0), (50, -6_000.0), (95, 500.0)] {
        states.column_mut(column).mapv_inplace(|value| value * 3.0 + offset);
    }
    states
}

/// Returns Gaussian rows of which every tenth is an attention sink of norm 2e4.
fn sinks(rows: usize, columns: usize) -> Array2<f32> {
    let mut states = Draw(15).gaussian(rows, columns);
    for row in (0..rows).step_by(10) {
        states[[row, 7]] += 20_000.0;
        states[[row, 40]] -= 3_000.0;
    }
    states
}

fn far(rows: usize, columns: usize) -> Array2<f32> {
    Draw(16).gaussian(rows, columns) + 3_000.0
}

/// Returns rows of norm 1e4 that are far apart, except for pairs at distances from 1 to 1e-6.
fn planted(rows: usize, columns: usize) -> Array2<f32> {
    let mut states = Draw(17).gaussian(rows, columns) * 20.0;
    states.column_mut(5).mapv_inplace(|value| value + 10_000.0);
    for (place, exponent) in (0..=6).enumerate() {
        let (a, b) = (11 + 31 * place, 400 + 7 * place);
        let copy = states.row(a).to_owned();
        states.row_mut(b).assign(&copy);
        // A coordinate near zero represents the difference without rounding.
        states[[a, 30]] = 0.0;
        states[[b, 30]] = 10_f32.powi(-exponent);
    }
    states
}

/// Returns regular simplices, whose distances differ only in the last digits.
fn near_ties(rows: usize, columns: usize) -> Array2<f32> {
    let mut draw = Draw(18);
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        let corner = if row % columns == column { 5.0 } else { 0.0 };
        corner + 1e-6 * draw.normal() as f32
    })
}

fn duplicates(rows: usize, columns: usize) -> Array2<f32> {
    let mut states = Draw(19).gaussian(rows, columns);
    let half = states.slice(s![..rows / 4, ..]).to_owned();
    states.slice_mut(s![rows / 2..rows / 2 + rows / 4, ..]).assign(&half);
    states.row_mut(rows - 1).assign(&half.row(0));
    states
}
