//! A figure before it is drawn.

use std::path::Path;

use super::{Axis, Mark, axis::Place};
use crate::outcome::Failure;

/// Some series of points over two axes.
///
/// # Example
///
/// ```
/// use inject_cli::plot::{Axis, Figure, Mark};
///
/// let figure = Figure::new("Time of inversion", Axis::linear("prompt length (tokens)"), Axis::log("time (s)"))
///     .with("block-1", Mark::Line, [(32.0, 0.1), (64.0, 0.25), (128.0, 0.7)])
///     .with("block-2", Mark::Line, [(32.0, 0.2), (64.0, 0.5), (128.0, 1.4)]);
/// assert!(figure.svg().expect("text can be drawn to").contains("block-2"));
/// ```
#[derive(Clone, Debug)]
pub struct Figure {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    notes: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) mark: Mark,
    pub(super) points: Vec<(f64, f64)>,
    /// The place of the colour in the palette, counted on where the palette begins again.
    pub(super) colour: usize,
}

impl Figure {
    /// Creates a figure without any points.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Figure { title: title.into(), x, y, series: Vec::new(), notes: Vec::new() }
    }

    /// Adds a series, in the next colour.
    pub fn with(
        self,
        name: impl Into<String>,
        mark: Mark,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let colour = self.series.last().map_or(0, |series| series.colour + 1);
        self.with_coloured(name.into(), mark, points.into_iter().collect(), colour)
    }

    /// Adds a series in the colour of the one before: single points beside their mean, a bound beside a value.
    pub fn beside(
        self,
        name: impl Into<String>,
        mark: Mark,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let colour = self.series.last().map_or(0, |series| series.colour);
        self.with_coloured(name.into(), mark, points.into_iter().collect(), colour)
    }

    /// Adds a box plot: for each place on the level axis five numbers in ascending order, from whisker to whisker.
    pub fn with_boxes(
        self,
        name: impl Into<String>,
        boxes: impl IntoIterator<Item = (f64, [f64; 5])>,
    ) -> Self {
        self.with(name, Mark::Boxes, boxes.into_iter().flat_map(|(x, numbers)| numbers.map(|y| (x, y))))
    }

    /// Adds a line under the title.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Returns the figure as an SVG document.
    ///
    /// # Errors
    ///
    /// [`Failure`] if it cannot be drawn.
    pub fn svg(&self) -> Result<String, Failure> {
        super::draw::svg(self)
    }

    /// Writes the figure as a PNG file.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<(), Failure> {
        super::draw::png(self, path)
    }

    fn with_coloured(mut self, name: String, mark: Mark, points: Vec<(f64, f64)>, colour: usize) -> Self {
        self.series.push(Series { name, mark, points, colour });
        self
    }

    /// Returns the place of each point of a series. A box is whole or not there.
    pub(super) fn places(&self, series: &Series) -> Vec<(Place, Place)> {
        let places: Vec<Option<(Place, Place)>> =
            series.points.iter().map(|&(x, y)| Some((self.x.place(x)?, self.y.place(y)?))).collect();
        match series.mark {
            Mark::Boxes => {
                let whole = places.chunks(5).filter(|five| five.iter().all(Option::is_some));
                whole.flatten().flatten().copied().collect()
            }
            _ => places.into_iter().flatten().collect(),
        }
    }

    /// Whether any point is a zero on a logarithmic axis.
    pub(super) fn has_zeros(&self) -> bool {
        let zero = |(x, y): (Place, Place)| x == Place::Zero || y == Place::Zero;
        self.series.iter().any(|series| self.places(series).into_iter().any(zero))
    }

    /// The lines under the title. They also name the values that are not drawn.
    pub(super) fn notes(&self) -> Vec<String> {
        let missing: usize =
            self.series.iter().map(|series| series.points.len() - self.places(series).len()).sum();
        let empty = self.series.iter().all(|series| series.points.is_empty());
        let missing = match missing {
            0 => empty.then(|| "there is nothing to draw".to_owned()),
            1 => Some("1 point has no place on these axes and is not drawn".to_owned()),
            count => Some(format!("{count} points have no place on these axes and are not drawn")),
        };
        self.notes.iter().cloned().chain(missing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(points: &[(f64, f64)]) -> Figure {
        Figure::new("title", Axis::linear("x"), Axis::log("y")).with("a", Mark::Line, points.iter().copied())
    }

    #[test]
    fn a_zero_on_a_logarithmic_axis_is_drawn_and_named() {
        let zero = figure(&[(1.0, 0.5), (2.0, 0.0)]);
        assert!(zero.has_zeros() && zero.notes().is_empty());
        let svg = zero.svg().unwrap();
        assert!(svg.contains("zero"), "{svg}");
        let triangles = svg.matches("<polygon").count();
        assert_eq!(triangles, 2, "the point, and its kind in the legend: {svg}");
        assert!(!figure(&[(1.0, 0.5)]).svg().unwrap().contains("zero"));
    }

    #[test]
    fn nothing_is_left_out_in_silence() {
        let figure = figure(&[(1.0, f64::NAN), (2.0, -1.0), (3.0, 1.0)]);
        assert_eq!(figure.notes(), ["2 points have no place on these axes and are not drawn"]);
        assert!(figure.svg().unwrap().contains("2 points have no place"));
        assert_eq!(self::figure(&[]).notes(), ["there is nothing to draw"]);
    }

    #[test]
    fn a_box_that_reaches_down_to_zero_is_drawn() {
        let figure = Figure::new("", Axis::columns("", ["a"]), Axis::log(""))
            .with_boxes("boxes", [(0.0, [0.0, 0.0, 1.0, 2.0, 3.0])]);
        assert_eq!(figure.places(&figure.series[0]).len(), 5);
        assert!(figure.notes().is_empty() && figure.svg().is_ok());
    }

    #[test]
    fn single_points_have_the_colour_of_their_mean() {
        let figure = figure(&[]).beside("b", Mark::Dots, []).with("c", Mark::Line, []);
        let colours: Vec<usize> = figure.series.iter().map(|series| series.colour).collect();
        assert_eq!(colours, [0, 0, 1]);
    }

    #[test]
    fn a_mark_under_another_shows_as_a_ring() {
        let points = [(1.0, 2.0), (2.0, 3.0)];
        let alone = figure(&points).svg().unwrap();
        assert!(!alone.contains("r=\"6\""), "{alone}");
        let hidden = figure(&points).with("b", Mark::Line, points).svg().unwrap();
        assert_eq!(hidden.matches("r=\"6\"").count(), 2, "{hidden}");
    }

    #[test]
    fn a_ring_under_another_shows_around_it() {
        let rings = |count: usize| {
            let figures = (0..count).fold(figure(&[]), |all, i| {
                all.with(format!("{i}"), Mark::Rings, [(1.0, 2.0), (2.0, 3.0 + i as f64)])
            });
            figures.svg().unwrap()
        };
        let wide = |svg: &str| svg.matches("r=\"8\"").count();
        assert_eq!((wide(&rings(1)), wide(&rings(2))), (0, 1));
    }

    #[test]
    fn series_of_one_colour_differ_in_their_marks() {
        let of = |count: usize| {
            (0..count).fold(figure(&[]), |all, i| all.with("a", Mark::Line, [(1.0 + i as f64, 2.0)]))
        };
        let (nine, ten) = (of(8).svg().unwrap(), of(9).svg().unwrap());
        let squares = |svg: &str| svg.matches("<rect").count();
        assert_eq!(squares(&ten) - squares(&nine), 2, "the point, and its kind in the legend: {ten}");
    }

    #[test]
    fn a_png_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        figure(&[(1.0, 0.0), (2.0, 3.0)]).write_png(&path).unwrap();
        assert!(std::fs::read(path).unwrap().starts_with(b"\x89PNG"));
    }
}
