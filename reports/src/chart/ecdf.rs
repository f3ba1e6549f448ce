//! The samples of a run beside those of its baseline, as shares of samples up to each value.

use assay_protocol::Unit;
use plotters::prelude::*;

use super::backend::Role;
use super::sheet::{Axes, Words, axis_words, ranked, roomy, sheet};
use crate::format;

/// Most corners of a line: of more samples these many quantiles are drawn, the least and the most among them.
const CORNERS: usize = 200;

/// Up to this many samples every one is a step.
const STEPS: usize = 60;

/// Share of the samples that the axis shows at least: single stalls would squeeze all else into a line.
const SHOWN: f64 = 0.99;

/// Samples of two sides, sorted.
pub struct Sides {
    /// Of the run that the page is about.
    pub newest: Vec<f64>,
    /// Of its baseline; empty where there is none.
    pub baseline: Vec<f64>,
}

impl Sides {
    /// Sorts the samples.
    pub fn new(mut newest: Vec<f64>, mut baseline: Vec<f64>) -> Self {
        newest.sort_unstable_by(f64::total_cmp);
        baseline.sort_unstable_by(f64::total_cmp);
        Self { newest, baseline }
    }

    fn all(&self) -> [&[f64]; 2] {
        [&self.baseline, &self.newest]
    }

    fn ends(&self) -> (f64, f64) {
        let there = || self.all().into_iter().filter(|side| !side.is_empty());
        let of = |share: f64| there().map(move |side| ranked(side, share));
        let least = of(0.0).fold(f64::INFINITY, f64::min);
        let most = of(1.0).fold(f64::NEG_INFINITY, f64::max);
        let usual = of(SHOWN).fold(f64::NEG_INFINITY, f64::max);
        let reach = usual + (usual - least) * 0.5;
        (least, if most <= reach { most } else { usual })
    }

    /// How many samples lie beyond the right end of the axis.
    pub fn beyond(&self) -> usize {
        let (_, most) = self.ends();
        let beyond = |side: &[f64]| side.len() - side.partition_point(|value| *value <= most);
        self.all().into_iter().map(beyond).sum()
    }
}

/// Both sides; there is at least one sample.
pub fn ecdf(sides: &Sides, unit: &Unit, words: Words<'_>) -> Result<String, String> {
    let (least, most) = sides.ends();
    let (factor, symbol) = format::axis_scale(most.abs().max(least.abs()), unit);
    let pad = ((most - least) * 0.04).max(most.abs() * 0.002);
    let floor = if least >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let span = if pad > 0.0 {
        (least - pad).max(floor) / factor..(most + pad) / factor
    } else {
        roomy(0.0, 0.0)
    };
    let decimals = format::axis_decimals((span.end - span.start) / 5.0);
    let axes = Axes {
        x: span.clone(),
        y: 0.0..1.0,
        left: 72,
        labels: (6, 6),
        vertical_lines: true,
        x_words: &|value| axis_words(*value, decimals, &symbol),
        y_words: &|share| format!("{:.0} %", share * 100.0),
    };
    sheet(words, "ecdf", (760, 260), |area| {
        let mut chart = axes.draw(area)?;
        let end = span.end;
        for (side, role) in sides.all().into_iter().zip([Role::Other, Role::Line]) {
            if !side.is_empty() {
                let corners = corners(side).into_iter();
                let corners = corners.map(|(value, share)| (value / factor, share));
                let shown = corners.take_while(|(value, _)| *value <= end);
                chart.draw_series(std::iter::once(PathElement::new(
                    shown.collect::<Vec<_>>(),
                    role.color(),
                )))?;
            }
        }
        area.present()?;
        Ok(String::new())
    })
}

/// The line through values and shares of samples up to them.
fn corners(sorted: &[f64]) -> Vec<(f64, f64)> {
    let count = sorted.len();
    if count <= STEPS {
        let step = |(at, value): (usize, &f64)| {
            let share = |samples: usize| samples as f64 / count as f64;
            [(*value, share(at)), (*value, share(at + 1))]
        };
        return sorted.iter().enumerate().flat_map(step).collect();
    }
    let corner = |at: usize| {
        let share = at as f64 / CORNERS as f64;
        (ranked(sorted, share), share)
    };
    (0..=CORNERS).map(corner).collect()
}

#[cfg(test)]
mod tests {
    use super::{CORNERS, Sides, corners};

    #[test]
    fn few_samples_are_steps_and_many_are_quantiles() {
        assert_eq!(
            corners(&[1.0, 2.0]),
            [(1.0, 0.0), (1.0, 0.5), (2.0, 0.5), (2.0, 1.0)]
        );
        let many: Vec<f64> = (0..100_000).map(f64::from).collect();
        let line = corners(&many);
        assert_eq!(line.len(), CORNERS + 1);
        assert_eq!((line[0], line[CORNERS]), ((0.0, 0.0), (99_999.0, 1.0)));
        assert_eq!(line[CORNERS / 2], (50_000.0, 0.5));
    }

    #[test]
    fn a_stall_leaves_the_axis_to_the_others() {
        let mut samples: Vec<f64> = (0..1000).map(|n| 100.0 + f64::from(n % 10)).collect();
        assert_eq!(Sides::new(samples.clone(), vec![]).beyond(), 0);
        samples.push(1e9);
        let sides = Sides::new(samples, vec![]);
        assert_eq!((sides.ends(), sides.beyond()), ((100.0, 109.0), 1));
    }
}
