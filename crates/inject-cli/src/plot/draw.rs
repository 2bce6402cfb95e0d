//! The drawing of a figure.

mod marks;

use std::{error::Error, path::Path};

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{Shift, cartesian::Cartesian2d},
    drawing::{DrawingArea, IntoDrawingArea},
    element::{PathElement, Text},
    prelude::{BitMapBackend, DrawingBackend, SVGBackend},
    style::{BLACK, Color, FontStyle, IntoFont, TextStyle, WHITE, register_font},
};

use self::marks::{Look, MARK, draw_box, draw_mark, draw_zero};
use super::{
    Figure, Mark, axis::Place, covered::covered, figure::Series, fitted::Fitted, zeros::side_by_side,
};
use crate::outcome::{Failure, chain};

const FONT: &str = "sans-serif";
const TITLE_SIZE: i32 = 20;
const TEXT_SIZE: i32 = 15;
const WIDTH: u32 = 960;
/// The width of the ring that shows around a mark of a later series, in pixels.
const RING: i32 = 2;
/// Between things in the header, in pixels.
const GAP: i32 = 10;
/// From the left end of a series' place in the legend to its name, in pixels.
const NAME_AT: i32 = 4 * MARK + GAP / 2;
/// From one mark of a zero to the next, in pixels.
const ZERO_STEP: i32 = 4 * MARK;
/// From one row of the header to the next, in pixels.
const ROW: i32 = TEXT_SIZE + 6;

type Area<B> = DrawingArea<B, Shift>;
type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<Fitted, Fitted>>;

/// An error of a drawing backend, as the user sees it.
struct DrawError(String);

impl<E: Error> From<E> for DrawError {
    fn from(error: E) -> Self {
        DrawError(chain(&error))
    }
}

pub(super) fn svg(figure: &Figure) -> Result<String, Failure> {
    let mut text = String::new();
    let backend = SVGBackend::with_string(&mut text, (WIDTH, height(figure)));
    draw(figure, &backend.into_drawing_area()).map_err(|DrawError(error)| Failure::new(error))?;
    Ok(text)
}

pub(super) fn png(figure: &Figure, path: &Path) -> Result<(), Failure> {
    let backend = BitMapBackend::new(path, (WIDTH, height(figure)));
    draw(figure, &backend.into_drawing_area())
        .map_err(|DrawError(error)| Failure::new(format!("cannot write {}: {error}", path.display())))
}

/// Room for every row where the rows are named.
fn height(figure: &Figure) -> u32 {
    figure.y.row_names().map_or(560, |names| 160 + 44 * names.len() as u32)
}

fn draw<B: DrawingBackend>(figure: &Figure, root: &Area<B>) -> Result<(), DrawError>
where
    B::ErrorType: Error + Send + Sync,
{
    register_font(FONT, FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| DrawError("the font in the program is damaged".to_owned()))?;
    root.fill(&WHITE)?;
    let body = draw_header(figure, root)?;
    let places = || figure.series.iter().flat_map(|series| figure.places(series));
    let x = Fitted::new(&figure.x, places().map(|(x, _)| x));
    let y = Fitted::new(&figure.y, places().map(|(_, y)| y));
    let widths = y.ticks.iter().map(|tick| body.estimate_text_size(&tick.label, &text_style()));
    let widest = widths.filter_map(Result::ok).map(|(width, _)| width).max().unwrap_or(0);
    let titled = u32::from(!figure.y.title().is_empty());
    let mut chart = ChartBuilder::on(&body)
        .margin(12)
        .margin_right(28)
        .x_label_area_size(52)
        .y_label_area_size(widest + 16 + titled * 28)
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(BLACK.mix(0.18))
        .light_line_style(BLACK.mix(0.06))
        .label_style((FONT, TEXT_SIZE))
        .axis_desc_style((FONT, TEXT_SIZE))
        .x_desc(figure.x.title())
        .y_desc(figure.y.title())
        .draw()?;
    let is_zero = |(x, y): &(Place, Place)| *x == Place::Zero || *y == Place::Zero;
    let coordinates = |place: &(Place, Place)| (x.coordinate(place.0), y.coordinate(place.1));
    let pixel = |place: &(Place, Place)| chart.backend_coord(&coordinates(place));
    // A dot hides what is near; a ring only another in its place.
    let under = |mark: Mark, near: i32| {
        let marks = |series: &Series| match series.mark == mark {
            true => figure.places(series).iter().map(pixel).collect(),
            false => Vec::new(),
        };
        covered(&figure.series.iter().map(marks).collect::<Vec<_>>(), near)
    };
    let (dots, rings) = (under(Mark::Line, MARK), under(Mark::Rings, 1));
    let zeros = |series: &Series| match series.mark {
        Mark::Boxes => Vec::new(),
        _ => figure.places(series).iter().map(|place| is_zero(place).then(|| pixel(place))).collect(),
    };
    let shifts = side_by_side(&figure.series.iter().map(zeros).collect::<Vec<_>>(), ZERO_STEP);
    for (number, series) in figure.series.iter().enumerate() {
        let places = figure.places(series);
        let covered = if series.mark == Mark::Rings { &rings[number] } else { &dots[number] };
        let shifts = &shifts[number];
        let point = |(number, place): (usize, &(Place, Place))| Point {
            at: coordinates(place),
            zero: is_zero(place).then(|| shifts.get(number).copied().unwrap_or(0)),
            covered: covered.get(number).copied().unwrap_or(0),
        };
        draw_series(&mut chart, series, &places.iter().enumerate().map(point).collect::<Vec<_>>())?;
    }
    root.present()?;
    Ok(())
}

/// A point in coordinates of the axes.
struct Point {
    at: (f64, f64),
    /// If it lies below the scale of a logarithmic axis: by how many pixels its mark is moved to the right.
    zero: Option<i32>,
    /// The number of later series with a mark in this place.
    covered: i32,
}

fn text_style() -> TextStyle<'static> {
    TextStyle::from((FONT, TEXT_SIZE).into_font())
}

/// Draws the title, the notes, and each series' mark and name in rows that are not wider than the figure. Returns the rest of
/// the area.
fn draw_header<B: DrawingBackend>(figure: &Figure, root: &Area<B>) -> Result<Area<B>, DrawError>
where
    B::ErrorType: Error + Send + Sync,
{
    let title = TextStyle::from((FONT, TITLE_SIZE).into_font());
    root.draw(&Text::new(figure.title.clone(), (GAP, 10), title))?;
    let mut top = 10 + TITLE_SIZE + 8;
    for note in figure.notes() {
        root.draw(&Text::new(note, (GAP, top), text_style().color(&BLACK.mix(0.7))))?;
        top += ROW;
    }
    let zeros = figure.has_zeros().then_some(("zero", None));
    let entries = figure.series.iter().map(|series| (series.name.as_str(), Some(series))).chain(zeros);
    let mut x = GAP;
    for (name, series) in entries {
        let width = root.estimate_text_size(name, &text_style())?.0 as i32 + NAME_AT;
        if x > GAP && x + width + GAP > WIDTH as i32 {
            (x, top) = (GAP, top + ROW);
        }
        let y = top + TEXT_SIZE / 2;
        let middle = (x + 2 * MARK, y);
        match series {
            None => draw_zero(root, middle, BLACK)?,
            Some(series) => {
                let look = Look::of(series);
                if series.mark.is_joined() {
                    let line = [(x, y), (x + 4 * MARK, y)];
                    root.draw(&PathElement::new(line, look.colour.stroke_width(2)))?;
                }
                if series.mark != Mark::Curve {
                    draw_mark(root, series.mark, middle, MARK, look)?;
                }
            }
        }
        root.draw(&Text::new(name.to_owned(), (x + NAME_AT, y - TEXT_SIZE / 3), text_style()))?;
        x += width + 2 * GAP;
    }
    Ok(root.split_vertically(top + ROW).1)
}

fn draw_series<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    series: &Series,
    points: &[Point],
) -> Result<(), DrawError>
where
    B::ErrorType: Error + Send + Sync,
{
    let look = Look::of(series);
    let colour = look.colour;
    if series.mark.is_joined() {
        // Piece by piece: where a line turns sharply, its two edges would meet far beyond the point. No piece leads to a
        // zero: a slope towards zero has no place on a logarithmic axis.
        let pieces = points.windows(2).filter(|ends| ends[0].zero.is_none() && ends[1].zero.is_none());
        let piece = |ends: &[Point]| PathElement::new([ends[0].at, ends[1].at], colour.stroke_width(2));
        chart.draw_series(pieces.map(piece))?;
    }
    // In pixels, so that a stroke is as long on every scale.
    let area = chart.plotting_area().strip_coord_spec();
    let (left, top) = area.get_base_pixel();
    let pixel = |point: &Point| {
        let (x, y) = chart.backend_coord(&point.at);
        (x - left, y - top)
    };
    if series.mark == Mark::Boxes {
        for [low, first, middle, third, high] in points.as_chunks::<5>().0 {
            draw_box(&area, [low, first, middle, third, high].map(pixel), colour)?;
        }
        return Ok(());
    }
    for point in points {
        let (x, y) = pixel(point);
        match point.zero {
            Some(shift) => draw_zero(&area, (x + shift, y), colour)?,
            None if series.mark == Mark::Curve && points.len() > 1 => {}
            None => draw_mark(&area, series.mark, (x, y), MARK + RING * point.covered, look)?,
        }
    }
    Ok(())
}
