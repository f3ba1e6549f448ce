//! A ratio with its interval as one row of a forest plot: all rows of a table share the axis, which is of logarithms, with no
//! change in the middle and what counts as equal shaded.

use std::convert::Infallible;

use assay_stats::Interval;
use plotters::prelude::*;

use super::Chart;
use super::backend::{Classed, FINENESS, Role};

/// The axis reaches at least so far, and at most so far, to either side: logarithms of ratios.
const LEAST: f64 = 0.05;
const MOST: f64 = 1.4;

/// The axis of a table.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    reach: f64,
    margin: f64,
}

impl Axis {
    /// An axis on which all these fit, but for those far out; what is equal reaches to `margin`.
    pub fn of<'a>(ratios: impl Iterator<Item = &'a Interval>, margin: f64) -> Self {
        let ends = ratios.flat_map(|ratio| [ratio.low.ln().abs(), ratio.high.ln().abs()]);
        let farthest = ends.filter(|end| end.is_finite()).fold(0.0, f64::max);
        let reach = (1.1 * farthest.max(margin.ln_1p())).clamp(LEAST, MOST);
        Self {
            reach,
            margin: margin.ln_1p(),
        }
    }
}

/// A row; its numbers stand beside it. `class` is that of its verdict.
pub fn forest(axis: Axis, ratio: &Interval, class: &str) -> Result<String, String> {
    let (width, height) = (160, 20);
    let mut body = String::new();
    let area = Classed::new(width, height, &mut body).into_drawing_area();
    draw(&area, axis, ratio).map_err(|error| error.to_string())?;
    drop(area);
    let chart = Chart {
        id: "",
        class: &format!("forest {class}"),
        title: "",
        description: "",
        width,
        height,
        body,
    };
    chart.render()
}

type Area<'a> = DrawingArea<Classed<'a>, plotters::coord::Shift>;

fn draw(
    area: &Area<'_>,
    axis: Axis,
    ratio: &Interval,
) -> Result<(), DrawingAreaErrorKind<Infallible>> {
    let mut chart = ChartBuilder::on(area)
        .margin_left(3 * FINENESS)
        .margin_right(3 * FINENESS)
        .build_cartesian_2d(-axis.reach..axis.reach, 0.0..1.0)?;
    let place = |ratio: f64| ratio.ln().clamp(-axis.reach, axis.reach);
    let equal = [
        (-axis.margin, 0.0),
        (axis.margin, 0.0),
        (axis.margin, 1.0),
        (-axis.margin, 1.0),
    ];
    let across = |x: f64| PathElement::new(vec![(x, 0.0), (x, 1.0)], Role::Grid.color());
    let interval = vec![(place(ratio.low), 0.5), (place(ratio.high), 0.5)];
    chart.draw_series(std::iter::once(Polygon::new(equal, Role::Band.color())))?;
    chart.draw_series(std::iter::once(across(0.0)))?;
    chart.draw_series(std::iter::once(PathElement::new(
        interval,
        Role::Line.color(),
    )))?;
    let middle = (place(ratio.estimate), 0.5);
    chart.draw_series(std::iter::once(Circle::new(
        middle,
        3,
        Role::Point.color().filled(),
    )))?;
    area.present()
}
