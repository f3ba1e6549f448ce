//! What telemetry read, as small charts with their numbers: over a run, or over the rounds of a case.

use assay_protocol::Unit;
use assay_store::{Gauge, GaugeStep, RoundDetail, RunGauges};
use serde::Serialize;

use super::part::cell;
use crate::chart::{self, Stretch, Words};
use crate::error::ReportError;
use crate::format::{self, Quantity};
use crate::text::clip;

/// Most charts of a page.
const CHARTS: usize = 16;

/// Longest unit, in characters.
const UNIT: usize = 24;

/// Most rounds whose number stands below a chart.
const NUMBERS: usize = 12;

/// Small charts, and their numbers.
#[derive(Default, Serialize)]
pub struct GaugesView {
    /// In the order of what explains most.
    pub gauges: Vec<GaugeView>,
    /// How many are left out.
    pub more: usize,
}

/// One thing that was read.
#[derive(Serialize)]
pub struct GaugeView {
    /// Its dotted name.
    pub name: String,
    /// The chart.
    pub chart: String,
    /// Lowest reading.
    pub low: Quantity,
    /// Median over the steps of time.
    pub middle: Quantity,
    /// Highest reading.
    pub high: Quantity,
}

/// Over a run: the axis is time since the first reading.
pub fn of_run(page: &str, found: &RunGauges) -> Result<GaugesView, ReportError> {
    let time = |share: f64| format::duration((found.length_ns as f64 * share) as i64);
    let times = [(0.0, "0 s".to_owned()), (0.5, time(0.5)), (1.0, time(1.0))];
    let pieces = found.gauges.iter().map(|gauge| Piece {
        name: &gauge.name,
        unit: &gauge.unit,
        stretches: vec![stretch(0.0, gauge)],
    });
    view(page, pieces.collect(), 1.0, &times)
}

/// Over the rounds of a case, each as wide as the others.
pub fn of_rounds(page: &str, rounds: &[&RoundDetail]) -> Result<GaugesView, ReportError> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    for (place, round) in rounds.iter().enumerate() {
        for gauge in &round.gauges {
            let stretch = stretch(place as f64, gauge);
            let is_it =
                |piece: &&mut Piece<'_>| (piece.name, piece.unit) == (&gauge.name, &gauge.unit);
            match pieces.iter_mut().find(is_it) {
                Some(piece) => piece.stretches.push(stretch),
                None => pieces.push(Piece {
                    name: &gauge.name,
                    unit: &gauge.unit,
                    stretches: vec![stretch],
                }),
            }
        }
    }
    let number = |(place, round): (usize, &&RoundDetail)| {
        (place as f64 + 0.5, (round.round + 1).to_string())
    };
    let step = rounds.len().div_ceil(NUMBERS).max(1);
    let numbered = rounds.iter().enumerate().step_by(step);
    let numbers: Vec<_> = numbered.map(number).collect();
    view(page, pieces, rounds.len() as f64, &numbers)
}

/// What was read of one thing.
struct Piece<'a> {
    name: &'a str,
    unit: &'a str,
    stretches: Vec<Stretch<'a>>,
}

impl Piece<'_> {
    fn steps(&self) -> impl Iterator<Item = &GaugeStep> {
        self.stretches.iter().flat_map(|stretch| stretch.steps)
    }

    /// Clocks, power and temperature explain speed; the rest comes after them.
    fn rank(&self) -> usize {
        let first = ["MHz", "W", "°C", "%"];
        let rank = first.iter().position(|unit| *unit == self.unit);
        rank.unwrap_or(first.len())
    }
}

fn stretch(from: f64, gauge: &Gauge) -> Stretch<'_> {
    Stretch {
        from,
        to: from + 1.0,
        steps: &gauge.steps,
    }
}

fn view(
    page: &str,
    mut pieces: Vec<Piece<'_>>,
    end: f64,
    below: &[(f64, String)],
) -> Result<GaugesView, ReportError> {
    pieces.retain(|piece| piece.steps().next().is_some());
    pieces.sort_by_key(|piece| (piece.rank(), piece.name.to_owned()));
    let more = pieces.len().saturating_sub(CHARTS);
    pieces.truncate(CHARTS);
    let gauges = pieces.iter().enumerate().map(|(at, piece)| {
        gauge(at, piece, end, below).map_err(|reason| ReportError::Chart {
            page: page.into(),
            reason,
        })
    });
    Ok(GaugesView {
        gauges: gauges.collect::<Result<_, _>>()?,
        more,
    })
}

fn gauge(
    at: usize,
    piece: &Piece<'_>,
    end: f64,
    below: &[(f64, String)],
) -> Result<GaugeView, String> {
    let unit: Unit = clip(piece.unit, UNIT).as_ref().into();
    let quantity = |value: f64| format::value(value, &unit);
    let low = piece
        .steps()
        .map(|step| step.low)
        .fold(f64::INFINITY, f64::min);
    let high = piece
        .steps()
        .map(|step| step.high)
        .fold(f64::NEG_INFINITY, f64::max);
    let middles: Vec<f64> = piece.steps().map(|step| step.middle).collect();
    let middle = assay_stats::median(&middles).unwrap_or(low);
    let [low, middle, high] = [low, middle, high].map(quantity);
    let name = cell(piece.name);
    let words = Words {
        id: &format!("gauge-{at}"),
        title: &name,
        description: &format!("Lowest {low}, median {middle}, highest {high}."),
    };
    Ok(GaugeView {
        chart: chart::gauge(&piece.stretches, end, &unit, words, below)?,
        name,
        low,
        middle,
        high,
    })
}
