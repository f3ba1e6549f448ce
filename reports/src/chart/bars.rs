//! Shares of two tables in the same bins: the real one's as bars, the synthetic one's as lines across them.

use plotters::prelude::*;

use super::backend::Role;
use super::sheet::{Axes, Words, marks, sheet};
use crate::text::clip;

/// Characters of a label below its bar.
const LABEL: usize = 9;

/// Bins with what falls into each.
pub struct Bars<'a> {
    /// What bins are called: where they begin, if they are of numbers.
    pub bins: &'a [String],
    /// Whether they are of numbers.
    pub is_number: bool,
    /// Share of each, real and synthetic.
    pub shares: &'a [Vec<f64>; 2],
}

/// Draws them; there is at least one bin.
pub fn bars(bars: &Bars<'_>, words: Words<'_>) -> Result<String, String> {
    let count = bars.bins.len();
    let all = bars.shares.iter().flatten().copied();
    let most = all.fold(0.0, f64::max).max(1e-3) * 1.1;
    let axes = Axes {
        x: 0.0..count as f64,
        y: 0.0..most,
        left: 44,
        labels: (0, 4),
        vertical_lines: false,
        x_words: &|_| String::new(),
        y_words: &|share| format!("{:.0} %", share * 100.0),
    };
    let labels = labels(bars);
    sheet(words, "bars", (360, 170), |area| {
        let mut chart = axes.draw(area)?;
        for (at, share) in bars.shares[0].iter().enumerate() {
            let (from, to) = (at as f64 + 0.1, at as f64 + 0.9);
            let corners = [(from, 0.0), (to, 0.0), (to, *share), (from, *share)];
            chart.draw_series(std::iter::once(Polygon::new(corners, Role::Band.color())))?;
        }
        for (at, share) in bars.shares[1].iter().enumerate() {
            let ends = vec![(at as f64, *share), (at as f64 + 1.0, *share)];
            chart.draw_series(std::iter::once(PathElement::new(ends, Role::Line.color())))?;
        }
        area.present()?;
        Ok(marks(&chart, &axes, &labels))
    })
}

/// Words below bins: all of few categories, the ends and the middle of numbers.
fn labels(bars: &Bars<'_>) -> Vec<(f64, String)> {
    let count = bars.bins.len();
    let label = |at: usize, place: f64| (place, clip(&bars.bins[at], LABEL).into_owned());
    if bars.is_number {
        let mut places = vec![0, count / 2, count - 1];
        places.dedup();
        return places
            .into_iter()
            .map(|at| label(at, at as f64 + 0.5))
            .collect();
    }
    // Every second of many, so that they do not touch.
    let step = count.div_ceil(6);
    (0..count)
        .step_by(step)
        .map(|at| label(at, at as f64 + 0.5))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Bars, bars, labels};
    use crate::chart::Words;

    #[test]
    fn bars_and_lines_are_as_many_as_bins_and_words_are_escaped() {
        let bins: Vec<String> = ["<a>", "b", "others"].map(Into::into).into();
        let shares = [vec![0.5, 0.3, 0.2], vec![0.4, 0.4, 0.2]];
        let drawn = Bars {
            bins: &bins,
            is_number: false,
            shares: &shares,
        };
        assert_eq!(labels(&drawn).len(), 3);
        let words = Words {
            id: "c",
            title: "t",
            description: "d",
        };
        let svg = bars(&drawn, words).unwrap();
        assert!(svg.contains("&lt;a&gt;") && !svg.contains("<a>"));
        let path = |class: &str| {
            svg.split(&format!("<path class=\"{class}\" d=\""))
                .nth(1)
                .unwrap()
        };
        let path = |class: &str| path(class).split('"').next().unwrap().matches('M').count();
        assert_eq!((path("band"), path("line")), (3, 3));
    }
}
