//! Figures: marks over two axes, as SVG and as PNG.
//!
//! The one idea: a figure shows every number it is given. A zero on a logarithmic axis has a place of its own below the scale,
//! shares have an axis from 0 to 1, a mark that others would cover is drawn larger, and points that cannot be
//! drawn are counted under the title.
//!
//! The PNG draws its text with a font in the program (DejaVu Sans), so none need be installed. The SVG asks its viewer for a
//! sans-serif font.

mod axis;
mod covered;
mod draw;
mod figure;
mod fitted;
mod zeros;

pub use self::{axis::Axis, figure::Figure};

/// The drawing of a series' points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Dots joined by a line, in the given order.
    Line,
    /// A line alone, for points so dense that dots would hide it. A single point is a dot.
    Curve,
    /// Filled circles, not joined.
    Dots,
    /// Open circles, not joined.
    Rings,
    /// Upright strokes, not joined.
    Strokes,
    /// A box from the second to the fourth of five points, a line at the third, whiskers to the first and the last.
    Boxes,
}

impl Mark {
    /// Returns whether a line joins the points.
    fn is_joined(self) -> bool {
        matches!(self, Mark::Line | Mark::Curve)
    }
}

/// Each value once, in the order of first appearance.
///
/// # Example
///
/// ```
/// assert_eq!(inject_cli::plot::distinct([3, 1, 3, 2].into_iter()), [3, 1, 2]);
/// ```
pub fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(Vec::new(), |mut distinct, value| {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
        distinct
    })
}
