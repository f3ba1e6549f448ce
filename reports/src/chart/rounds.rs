//! The rounds of a case side by side: its samples in their order, and the value of each round.

use assay_protocol::Unit;
use plotters::prelude::*;

use super::backend::Role;
use super::sheet::{Axes, Words, axis_words, marks, ranked, room, roomy, sheet};
use super::thin::thin;
use crate::format;

/// Most samples of a round that are drawn, and of its warm-up.
const SAMPLES: usize = 40;
const WARM_UP: usize = 12;

/// Share of the samples that the axis spans: single stalls would squeeze all else into a line.
const SHOWN: f64 = 0.99;

/// Width that a round's samples take of its place.
const WIDTH: f64 = 0.84;

/// One round.
pub struct Round {
    /// Its number, from 0.
    pub number: u32,
    /// Its samples in order.
    pub samples: Vec<f64>,
    /// How many of the first are warm-up.
    pub warmup: usize,
    /// Its value, where it has one.
    pub value: Option<f64>,
}

impl Round {
    /// The samples after warm-up.
    pub fn steady(&self) -> &[f64] {
        self.samples.get(self.warmup..).unwrap_or_default()
    }

    /// Where the samples lie that are drawn: the extremes are among them.
    fn drawn(&self) -> impl Iterator<Item = (usize, bool)> {
        let warmup = self.warmup.min(self.samples.len());
        let (warm, steady) = self.samples.split_at(warmup);
        let of_warm = thin(warm, WARM_UP).into_iter().map(|at| (at, false));
        let of_steady = thin(steady, SAMPLES).into_iter();
        of_warm.chain(of_steady.map(move |at| (at + warmup, true)))
    }
}

/// The rounds; there is at least one with a sample after warm-up.
pub fn rounds(rounds: &[Round], unit: &Unit, words: Words<'_>) -> Result<String, String> {
    let mut all: Vec<f64> = rounds.iter().flat_map(Round::steady).copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    let (least, most) = (ranked(&all, 0.0), ranked(&all, SHOWN));
    let (factor, symbol) = format::axis_scale(most.abs().max(least.abs()), unit);
    let span = roomy(least / factor, most / factor);
    let decimals = format::axis_decimals((span.end - span.start) / 5.0);
    let number = |(place, round): (usize, &Round)| {
        let middle = place as f64 + 0.5;
        (middle, (round.number + 1).to_string())
    };
    let numbers: Vec<_> = rounds.iter().enumerate().map(number).collect();
    let axes = Axes {
        x: 0.0..rounds.len() as f64,
        y: span.clone(),
        left: room(&span, decimals, &symbol),
        labels: (0, 5),
        vertical_lines: false,
        x_words: &|_| String::new(),
        y_words: &|value| axis_words(*value, decimals, &symbol),
    };
    sheet(words, "rounds", (760, 230), |area| {
        let mut chart = axes.draw(area)?;
        let inside = |value: f64| (value / factor).clamp(span.start, span.end);
        let between = (1..rounds.len()).map(|at| {
            let ends = vec![(at as f64, span.start), (at as f64, span.end)];
            PathElement::new(ends, Role::Grid.color())
        });
        chart.draw_series(between)?;
        for (does_count, role) in [(false, Role::Aside), (true, Role::Point)] {
            let points = rounds.iter().enumerate().flat_map(|(place, round)| {
                let drawn = round
                    .drawn()
                    .filter(move |(_, counts)| *counts == does_count);
                drawn.map(move |(at, _)| (x(place, round, at), round.samples[at]))
            });
            chart.draw_series(
                points.map(|(x, value)| Circle::new((x, inside(value)), 2, role.color().filled())),
            )?;
        }
        let values = rounds.iter().enumerate().filter_map(|(place, round)| {
            let (from, to) = (place as f64 + 0.04, place as f64 + 0.96);
            let value = inside(round.value?);
            let ends = vec![(from, value), (to, value)];
            Some(PathElement::new(ends, Role::Line.color()))
        });
        chart.draw_series(values)?;
        area.present()?;
        Ok(marks(&chart, &axes, &numbers))
    })
}

/// Where a sample lies: evenly spaced within the place of its round.
fn x(place: usize, round: &Round, at: usize) -> f64 {
    let share = (at as f64 + 0.5) / round.samples.len() as f64;
    place as f64 + (1.0 - WIDTH) / 2.0 + WIDTH * share
}
