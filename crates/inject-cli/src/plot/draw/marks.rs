//! The marks of points, and their colours.

use std::error::Error;

use plotters::{
    element::{Circle, PathElement, Rectangle, TriangleMarker},
    prelude::DrawingBackend,
    style::{Color, RGBColor},
};

use super::{Area, DrawError};
use crate::plot::{Mark, figure::Series};

/// Half the size of a mark, in pixels.
pub(super) const MARK: i32 = 4;

/// Colours that people with any kind of colour vision can distinguish.
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

/// The look of a series, which no other of its figure has: where the colours begin again, another form of marks begins.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) colour: RGBColor,
    form: Form,
}

/// The form of the marks on a line, and of rings.
#[derive(Clone, Copy)]
enum Form {
    Round,
    Square,
    Cross,
}

impl Look {
    pub(super) fn of(series: &Series) -> Self {
        let forms = [Form::Round, Form::Square, Form::Cross];
        Look {
            colour: COLOURS[series.colour % COLOURS.len()],
            form: forms[series.colour / COLOURS.len() % forms.len()],
        }
    }
}

/// A triangle: the point lies below the scale.
pub(super) fn draw_zero<B: DrawingBackend>(
    area: &Area<B>,
    (x, y): (i32, i32),
    colour: RGBColor,
) -> Result<(), DrawError>
where
    B::ErrorType: Error + Send + Sync,
{
    area.draw(&TriangleMarker::new((x, y), MARK + 3, colour.filled()))?;
    Ok(())
}

/// One mark, in pixels. Half its size is `half`.
pub(super) fn draw_mark<B: DrawingBackend>(
    area: &Area<B>,
    mark: Mark,
    (x, y): (i32, i32),
    half: i32,
    Look { colour, form }: Look,
) -> Result<(), DrawError>
where
    B::ErrorType: Error + Send + Sync,
{
    let corners = |half: i32| [(x - half, y - half), (x + half, y + half)];
    match (mark, form) {
        (Mark::Line | Mark::Curve | Mark::Rings, Form::Cross) => {
            let [(left, top), (right, bottom)] = corners(half + 1);
            for stroke in [[(left, top), (right, bottom)], [(left, bottom), (right, top)]] {
                area.draw(&PathElement::new(stroke, colour.stroke_width(2)))?;
            }
        }
        (Mark::Line | Mark::Curve, Form::Round) => area.draw(&Circle::new((x, y), half, colour.filled()))?,
        (Mark::Line | Mark::Curve, Form::Square) => {
            area.draw(&Rectangle::new(corners(half), colour.filled()))?
        }
        (Mark::Dots, _) => area.draw(&Circle::new((x, y), half, colour.mix(0.55).filled()))?,
        (Mark::Rings, Form::Round) => area.draw(&Circle::new((x, y), half + 2, colour.stroke_width(2)))?,
        (Mark::Rings, Form::Square) => {
            area.draw(&Rectangle::new(corners(half + 1), colour.stroke_width(2)))?
        }
        (Mark::Strokes, _) => {
            let stroke = [(x, y - 2 * half), (x, y + 2 * half)];
            area.draw(&PathElement::new(stroke, colour.stroke_width(3)))?
        }
        (Mark::Boxes, _) => area.draw(&Rectangle::new(corners(half), colour.stroke_width(2)))?,
    }
    Ok(())
}

/// A box with whiskers through five points of one column, in pixels.
pub(super) fn draw_box<B: DrawingBackend>(
    area: &Area<B>,
    [low, first, middle, third, high]: [(i32, i32); 5],
    colour: RGBColor,
) -> Result<(), DrawError>
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
