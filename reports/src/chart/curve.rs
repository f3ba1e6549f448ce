//! What a metric went through while one process ran: a loss from step to step, and the least that it can come to.

use assay_protocol::Unit;
use plotters::prelude::*;

use super::backend::Role;
use super::sheet::{Axes, Words, axis_words, room, roomy, sheet};
use super::thin::thin;
use crate::format;

/// Most values that are drawn; the extremes are among them.
const DRAWN: usize = 240;

/// The values in their order, and the floor where there is one. There are at least two.
pub fn curve(
    values: &[f64],
    floor: Option<f64>,
    unit: &Unit,
    words: Words<'_>,
) -> Result<String, String> {
    let all = || values.iter().copied().chain(floor);
    let least = all().fold(f64::INFINITY, f64::min);
    let most = all().fold(f64::NEG_INFINITY, f64::max);
    let (factor, symbol) = format::axis_scale(most.abs().max(least.abs()), unit);
    let span = roomy(least / factor, most / factor);
    let decimals = format::axis_decimals((span.end - span.start) / 5.0);
    let end = values.len() as f64;
    let axes = Axes {
        x: 1.0..end,
        y: span.clone(),
        left: room(&span, decimals, &symbol),
        labels: (6, 5),
        vertical_lines: false,
        x_words: &|step| axis_words(*step, 0, ""),
        y_words: &|value| axis_words(*value, decimals, &symbol),
    };
    sheet(words, "curve", (760, 230), |area| {
        let mut chart = axes.draw(area)?;
        let below = floor.map(|floor| {
            let ends = vec![(1.0, floor / factor), (end, floor / factor)];
            PathElement::new(ends, Role::Limit.color())
        });
        chart.draw_series(below)?;
        let drawn = thin(values, DRAWN).into_iter();
        let points = drawn.map(|at| ((at + 1) as f64, values[at] / factor));
        chart.draw_series(std::iter::once(PathElement::new(
            points.collect::<Vec<_>>(),
            Role::Line.color(),
        )))?;
        area.present()?;
        Ok(String::new())
    })
}
