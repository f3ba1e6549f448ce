//! The chart of a finding: band, history and lasting changes, without axes; the numbers stand beside it.

use std::convert::Infallible;

use plotters::prelude::*;

use super::Chart;
use super::backend::{Classed, FINENESS};
use super::history::{Course, band, line, places, point, rule};
use super::thin::thin;

/// Most points that are drawn.
const POINTS: usize = 60;

/// What a small chart is called.
#[derive(Clone, Copy)]
pub struct Caption<'a> {
    /// Tells it from other charts of the page.
    pub id: &'a str,
    /// In a line.
    pub title: &'a str,
    /// What it shows.
    pub description: &'a str,
}

/// A history in small. `class` is that of the verdict on its last point.
pub fn small(course: &Course, caption: Caption<'_>, class: &str) -> Result<String, String> {
    let (width, height) = (240, 64);
    let mut body = String::new();
    let area = Classed::new(width, height, &mut body).into_drawing_area();
    let shifts = draw(&area, course).map_err(|error| error.to_string())?;
    drop(area);
    body.extend(shifts);
    let chart = Chart {
        id: caption.id,
        class: &format!("small {class}"),
        title: caption.title,
        description: caption.description,
        width,
        height,
        body,
    };
    chart.render()
}

type Area<'a> = DrawingArea<Classed<'a>, plotters::coord::Shift>;

/// Draws all but the lasting changes, and returns these.
fn draw(area: &Area<'_>, course: &Course) -> Result<Vec<String>, DrawingAreaErrorKind<Infallible>> {
    let span = course.span();
    let mut chart = ChartBuilder::on(area)
        .margin(4 * FINENESS)
        .build_cartesian_2d(places(course.len()), span.clone())?;
    let kept = thin(&course.estimates, POINTS);
    chart.draw_series(std::iter::once(band(course, &kept, &span)))?;
    chart.draw_series(std::iter::once(line(course, &kept)))?;
    chart.draw_series(course.len().checked_sub(1).map(|last| point(course, last)))?;
    area.present()?;
    Ok(course
        .shifts
        .iter()
        .map(|shift| rule(&chart, shift, &span))
        .collect())
}
