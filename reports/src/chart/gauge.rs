//! What telemetry read of one thing, over a run or over the rounds of a case: the range in each step of time, and its middle.

use assay_protocol::Unit;
use assay_store::GaugeStep;
use plotters::prelude::*;

use super::backend::Role;
use super::sheet::{Axes, Words, axis_words, letters, marks, roomy, sheet};
use crate::format;

/// Readings over a stretch of the horizontal axis.
pub struct Stretch<'a> {
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// The readings; a step has its place between the two.
    pub steps: &'a [GaugeStep],
}

impl Stretch<'_> {
    fn x(&self, step: &GaugeStep) -> f64 {
        self.from + (self.to - self.from) * step.at
    }
}

/// The stretches on an axis from 0 to `end`, whether or not there are readings up to there; there is at least one
/// reading. `below` are places on the axis with their words.
pub fn gauge(
    stretches: &[Stretch<'_>],
    end: f64,
    unit: &Unit,
    words: Words<'_>,
    below: &[(f64, String)],
) -> Result<String, String> {
    let steps = || stretches.iter().flat_map(|stretch| stretch.steps);
    let least = steps().map(|step| step.low).fold(f64::INFINITY, f64::min);
    let most = steps()
        .map(|step| step.high)
        .fold(f64::NEG_INFINITY, f64::max);
    let (factor, symbol) = format::axis_scale(most.abs().max(least.abs()), unit);
    let span = roomy(least / factor, most / factor);
    let decimals = format::axis_decimals((span.end - span.start) / 3.0);
    let left = (letters(&span, decimals, &symbol) * 7 + 14).max(74);
    let axes = Axes {
        x: 0.0..end,
        y: span,
        left,
        labels: (0, 3),
        vertical_lines: false,
        x_words: &|_| String::new(),
        y_words: &|value| axis_words(*value, decimals, &symbol),
    };
    sheet(words, "gauge", (360, 150), |area| {
        let mut chart = axes.draw(area)?;
        for stretch in stretches {
            let at = |step: &GaugeStep, value: f64| (stretch.x(step), value / factor);
            let above = stretch.steps.iter().map(|step| at(step, step.high));
            let below = stretch.steps.iter().rev().map(|step| at(step, step.low));
            let band = Polygon::new(above.chain(below).collect::<Vec<_>>(), Role::Band.color());
            chart.draw_series(std::iter::once(band))?;
        }
        for stretch in stretches {
            let at = |step: &GaugeStep| (stretch.x(step), step.middle / factor);
            if let [only] = stretch.steps {
                let point = Circle::new(at(only), 2, Role::Point.color().filled());
                chart.draw_series(std::iter::once(point))?;
            } else {
                let corners: Vec<_> = stretch.steps.iter().map(at).collect();
                let line = PathElement::new(corners, Role::Line.color());
                chart.draw_series(std::iter::once(line))?;
            }
        }
        area.present()?;
        Ok(marks(&chart, &axes, below))
    })
}
