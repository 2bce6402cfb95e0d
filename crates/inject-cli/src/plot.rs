//! Figures of what the programs measured: marks over two axes, as SVG and as PNG.
//!
//! Text in the PNG is drawn from a font in the program (DejaVu Sans), so no font need be installed; the SVG asks its viewer
//! for a sans-serif font.

mod axis;

use std::{error::Error, path::Path};

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{Shift, cartesian::Cartesian2d},
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, PathElement, Rectangle, Text},
    prelude::{BitMapBackend, DrawingBackend, SVGBackend},
    style::{BLACK, Color, FontStyle, IntoFont, RGBColor, TextStyle, WHITE, register_font},
};

pub use self::axis::Axis;
use self::axis::Fitted;
use crate::Failure;

/// Colours that people with any kind of colour vision tell apart.
///
/// # Source
///
/// Okabe and Ito, "Color Universal Design" (jfly.uni-koeln.de/color), without yellow, which is faint on white; then wine from Paul
/// Tol's muted scheme (personal.sron.nl/~pault) and grey.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(136, 34, 85),
    RGBColor(128, 128, 128),
];

const FONT: &str = "sans-serif";
const TITLE_SIZE: i32 = 20;
const TEXT_SIZE: i32 = 15;
const WIDTH: u32 = 960;
/// Half the size of a mark, in pixels.
const MARK: i32 = 4;
/// Between things in the header, in pixels.
const GAP: i32 = 10;
/// From the left end of a series' place in the legend to its name, in pixels.
const NAME_AT: i32 = 4 * MARK + GAP / 2;
/// From one row of the legend to the next, in pixels.
const LEGEND_ROW: i32 = TEXT_SIZE + 6;

/// Each value once, in the order in which it comes first: the columns of a figure, or its series.
///
/// # Example
///
/// ```
/// assert_eq!(inject_examples::distinct([3, 1, 3, 2].into_iter()), [3, 1, 2]);
/// ```
pub fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(Vec::new(), |mut distinct, value| {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
        distinct
    })
}

type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<Fitted, Fitted>>;

/// Some series of points over two axes.
///
/// # Example
///
/// ```
/// use inject_examples::{Axis, Figure, Mark};
///
/// let folder = tempfile::tempdir()?;
/// Figure::new("Time of inversion", Axis::linear("prompt length (tokens)"), Axis::log("time (s)"))
///     .with("block-1", Mark::Line, [(32.0, 0.1), (64.0, 0.25), (128.0, 0.7)])
///     .with("block-2", Mark::Line, [(32.0, 0.2), (64.0, 0.5), (128.0, 1.4)])
///     .write(folder.path(), "depth")
///     .expect("a new folder can be written to");
/// assert!(folder.path().join("depth.svg").is_file() && folder.path().join("depth.png").is_file());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Figure {
    title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
}

/// How the points of a series are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Dots joined by a line, in the order given.
    Line,
    /// Filled circles.
    Dots,
    /// Open circles.
    Rings,
    /// Upright strokes.
    Strokes,
    /// A box from the second to the fourth of five points, a line at the third, whiskers to the first and the last.
    Boxes,
}

#[derive(Clone, Debug)]
struct Series {
    name: String,
    mark: Mark,
    points: Vec<(f64, f64)>,
}

impl Figure {
    /// A figure without any points.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Figure { title: title.into(), x, y, series: Vec::new() }
    }

    /// The same, and one more series in the next colour. A point at which an axis has no place (zero on a logarithmic one,
    /// infinity) is left out.
    pub fn with(
        mut self,
        name: impl Into<String>,
        mark: Mark,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        self.series.push(Series { name: name.into(), mark, points: points.into_iter().collect() });
        self
    }

    /// The same, and a box plot: for each place on the level axis five numbers in ascending order, from whisker to whisker. A box
    /// with a number that the axis has no place for is left out.
    pub fn with_boxes(
        self,
        name: impl Into<String>,
        boxes: impl IntoIterator<Item = (f64, [f64; 5])>,
    ) -> Self {
        let whole = |(x, numbers): &(f64, [f64; 5])| {
            self.x.place(*x).is_some() && numbers.iter().all(|&y| self.y.place(y).is_some())
        };
        let boxes: Vec<(f64, [f64; 5])> = boxes.into_iter().filter(whole).collect();
        self.with(name, Mark::Boxes, boxes.into_iter().flat_map(|(x, numbers)| numbers.map(|y| (x, y))))
    }

    /// Writes `name.svg` and `name.png` into a folder.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), Failure> {
        register_font(FONT, FontStyle::Normal, dejavu::sans::regular())
            .map_err(|_| Failure::new("the font in the program is damaged"))?;
        let size = (WIDTH, self.height());
        let svg = folder.join(name).with_extension("svg");
        self.draw(SVGBackend::new(&svg, size).into_drawing_area())?;
        let png = folder.join(name).with_extension("png");
        self.draw(BitMapBackend::new(&png, size).into_drawing_area())
    }

    /// Room for every row where the rows are named.
    fn height(&self) -> u32 {
        self.y.names().map_or(560, |names| 140 + 44 * names.len() as u32)
    }

    fn draw<B: DrawingBackend>(&self, root: DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: Error + Send + Sync,
    {
        root.fill(&WHITE)?;
        let legend = self.legend(&root)?;
        let rows = legend.last().map_or(1, |place| place.row + 1);
        let (header, body) = root.split_vertically(TITLE_SIZE + 14 + TEXT_SIZE + LEGEND_ROW * rows);
        self.draw_header(&header, &legend)?;
        let places = || {
            let points = self.series.iter().flat_map(|series| series.points.iter());
            points.filter_map(|&(x, y)| Some((self.x.place(x)?, self.y.place(y)?)))
        };
        let x = self.x.fit(places().map(|(x, _)| x));
        let y = self.y.fit(places().map(|(_, y)| y));
        let text = || TextStyle::from((FONT, TEXT_SIZE).into_font());
        let widths = y.ticks.iter().map(|tick| body.estimate_text_size(&tick.label, &text()));
        let widest = widths.filter_map(Result::ok).map(|(width, _)| width).max().unwrap_or(0);
        let named = u32::from(self.y.names().is_none());
        let mut chart = ChartBuilder::on(&body)
            .margin(12)
            .margin_right(28)
            .x_label_area_size(52)
            .y_label_area_size(widest + 16 + named * 28)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .bold_line_style(BLACK.mix(0.18))
            .light_line_style(BLACK.mix(0.06))
            .label_style((FONT, TEXT_SIZE))
            .axis_desc_style((FONT, TEXT_SIZE))
            .x_desc(self.x.title())
            .y_desc(self.y.title())
            .draw()?;
        for (series, &colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let place = |&(x, y): &(f64, f64)| Some((self.x.place(x)?, self.y.place(y)?));
            let points: Vec<(f64, f64)> = series.points.iter().filter_map(place).collect();
            draw_series(&mut chart, series.mark, &points, colour)?;
        }
        root.present()?;
        Ok(())
    }

    /// Where each series has its place under the title, in rows that are not wider than the figure.
    fn legend<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<Vec<LegendPlace>, Failure>
    where
        B::ErrorType: Error + Send + Sync,
    {
        let text = TextStyle::from((FONT, TEXT_SIZE).into_font());
        let (mut x, mut row) = (GAP, 0);
        let mut places = Vec::new();
        for series in &self.series {
            let width = area.estimate_text_size(&series.name, &text)?.0 as i32 + NAME_AT;
            if x > GAP && x + width + GAP > WIDTH as i32 {
                (x, row) = (GAP, row + 1);
            }
            places.push(LegendPlace { x, row });
            x += width + 2 * GAP;
        }
        Ok(places)
    }

    /// The title, and under it each series' mark and name.
    fn draw_header<B: DrawingBackend>(
        &self,
        header: &DrawingArea<B, Shift>,
        legend: &[LegendPlace],
    ) -> Result<(), Failure>
    where
        B::ErrorType: Error + Send + Sync,
    {
        let title = TextStyle::from((FONT, TITLE_SIZE).into_font());
        header.draw(&Text::new(self.title.clone(), (GAP, 10), title))?;
        let text = TextStyle::from((FONT, TEXT_SIZE).into_font());
        let entries = self.series.iter().zip(COLOURS.iter().cycle()).zip(legend);
        for ((series, &colour), &LegendPlace { x, row }) in entries {
            let y = 10 + TITLE_SIZE + 8 + TEXT_SIZE / 2 + row * LEGEND_ROW;
            if series.mark == Mark::Line {
                header.draw(&PathElement::new([(x, y), (x + 4 * MARK, y)], colour.stroke_width(2)))?;
            }
            draw_mark(header, series.mark, (x + 2 * MARK, y), colour)?;
            let name = (x + NAME_AT, y - TEXT_SIZE / 3);
            header.draw(&Text::new(series.name.clone(), name, text.clone()))?;
        }
        Ok(())
    }
}

/// The left end and the row of a series' mark and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LegendPlace {
    x: i32,
    row: i32,
}

fn draw_series<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    mark: Mark,
    points: &[(f64, f64)],
    colour: RGBColor,
) -> Result<(), Failure>
where
    B::ErrorType: Error + Send + Sync,
{
    if mark == Mark::Line {
        // Piece by piece: where a line turns sharply, its two edges would meet far beyond the point.
        let piece = |ends: &[(f64, f64)]| PathElement::new(ends.to_vec(), colour.stroke_width(2));
        chart.draw_series(points.windows(2).map(piece))?;
    }
    // In pixels, so that a stroke is as long on every scale.
    let area = chart.plotting_area().strip_coord_spec();
    let (left, top) = area.get_base_pixel();
    let pixel = |point: &(f64, f64)| {
        let (x, y) = chart.backend_coord(point);
        (x - left, y - top)
    };
    match mark {
        Mark::Boxes => {
            for five in points.as_chunks::<5>().0 {
                draw_box(&area, five.map(|point| pixel(&point)), colour)?;
            }
        }
        _ => points.iter().try_for_each(|point| draw_mark(&area, mark, pixel(point), colour))?,
    }
    Ok(())
}

/// One mark, in pixels.
fn draw_mark<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    mark: Mark,
    (x, y): (i32, i32),
    colour: RGBColor,
) -> Result<(), Failure>
where
    B::ErrorType: Error + Send + Sync,
{
    match mark {
        Mark::Line => area.draw(&Circle::new((x, y), MARK, colour.filled()))?,
        Mark::Dots => area.draw(&Circle::new((x, y), MARK, colour.mix(0.55).filled()))?,
        Mark::Rings => area.draw(&Circle::new((x, y), MARK + 2, colour.stroke_width(2)))?,
        Mark::Strokes => {
            let stroke = [(x, y - 2 * MARK), (x, y + 2 * MARK)];
            area.draw(&PathElement::new(stroke, colour.stroke_width(3)))?
        }
        Mark::Boxes => {
            let corners = [(x - MARK, y - MARK), (x + MARK, y + MARK)];
            area.draw(&Rectangle::new(corners, colour.stroke_width(2)))?
        }
    }
    Ok(())
}

/// A box with whiskers through five points of one column, in pixels.
fn draw_box<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    [low, first, middle, third, high]: [(i32, i32); 5],
    colour: RGBColor,
) -> Result<(), Failure>
where
    B::ErrorType: Error + Send + Sync,
{
    const HALF_WIDTH: i32 = 8;
    let level = |(x, y): (i32, i32), half: i32| [(x - half, y), (x + half, y)];
    let corners = [(first.0 - HALF_WIDTH, third.1), (first.0 + HALF_WIDTH, first.1)];
    area.draw(&Rectangle::new(corners, colour.mix(0.25).filled()))?;
    area.draw(&Rectangle::new(corners, colour.stroke_width(1)))?;
    for (from, to) in [(low, first), (third, high)] {
        area.draw(&PathElement::new([from, to], colour.stroke_width(1)))?;
    }
    for end in [low, high] {
        area.draw(&PathElement::new(level(end, HALF_WIDTH / 2), colour.stroke_width(1)))?;
    }
    area.draw(&PathElement::new(level(middle, HALF_WIDTH), colour.stroke_width(3)))?;
    Ok(())
}
