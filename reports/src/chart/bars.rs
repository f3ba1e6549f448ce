//! Shares of two tables in the same bins: the real one's as bars, the synthetic one's as lines across them.

use plotters::prelude::*;

use super::backend::Role;
use super::sheet::{Axes, Words, marks, sheet};
use crate::text::clip;

/// Characters of a label below its bar.
const LABEL: usize = 9;
/// The room of the bars, what a character takes of it in the largest type that the page has, and what is left free between labels.
const WIDTH: f64 = 316.0;
const CHARACTER: f64 = 6.5;
const GAP: f64 = 8.0;

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
    // Not every one of many or long ones, so that they do not touch.
    let shown = |bin: &String| clip(bin, LABEL).chars().count();
    let longest = bars.bins.iter().map(shown).max().unwrap_or(0);
    let room = longest as f64 * CHARACTER + GAP;
    let step = (room * count as f64 / WIDTH).ceil().max(1.0) as usize;
    (0..count)
        .step_by(step)
        .map(|at| label(at, at as f64 + 0.5))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Bars, CHARACTER, GAP, WIDTH, bars, labels};
    use crate::chart::Words;

    #[test]
    fn labels_are_left_out_where_they_would_touch() {
        for (of, length) in [(3, 2), (3, 9), (6, 9), (13, 4), (13, 30)] {
            let bins: Vec<String> = (0..of).map(|_| "m".repeat(length)).collect();
            let shares = [vec![0.1; of], vec![0.1; of]];
            let drawn = labels(&Bars {
                bins: &bins,
                is_number: false,
                shares: &shares,
            });
            let apart = WIDTH / of as f64;
            for pair in drawn.windows(2) {
                let [(from, words), (to, _)] = [&pair[0], &pair[1]];
                let wide = words.chars().count() as f64 * CHARACTER;
                assert!(
                    (to - from) * apart >= wide + GAP,
                    "{of} of {length}: {drawn:?}"
                );
            }
            // As many as there is room for.
            let most = (WIDTH / (length.min(9) as f64 * CHARACTER + GAP)) as usize;
            assert!(
                drawn.len() >= of.min(most.div_ceil(2)),
                "{of} of {length}: {drawn:?}"
            );
        }
    }

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
