//! What lies behind the last point of a series: its samples beside those of the baseline, its rounds, what telemetry read.

use assay_protocol::Unit;
use assay_record::RunId;
use assay_record::body::SUMMARY;
use assay_store::{CaseRow, RoundDetail, RoundRow};
use assay_verdicts::CaseHistory;
use serde::Serialize;

use crate::address;
use crate::chart::{self, Round, Sides, Words};
use crate::error::ReportError;
use crate::format::{self, Quantity};
use crate::model::{CaseDetail, Library};
use crate::pages::gauges::{self, GaugesView};
use crate::pages::part::{self, Link};
use crate::pages::series::curve::{self, Curve};
use crate::text::clip;
use crate::words;

/// Most rounds that are drawn, and listed.
const ROUNDS: usize = 24;

/// Shares of samples whose values are listed.
const SHARES: [(f64, &str); 7] = [
    (0.0, "least"),
    (0.05, "5 %"),
    (0.25, "25 %"),
    (0.5, "median"),
    (0.75, "75 %"),
    (0.95, "95 %"),
    (1.0, "most"),
];

/// The last run of a series.
#[derive(Serialize)]
pub struct Last {
    run: Link,
    at: String,
    /// Whether the samples were summed up before they came here: how they spread is not known.
    is_summary: bool,
    distribution: Option<Distribution>,
    curve: Option<Curve>,
    rounds_chart: String,
    rounds: Vec<RoundLine>,
    more_rounds: usize,
    gauges: GaugesView,
}

/// All samples of the run, and of its baseline.
#[derive(Serialize)]
struct Distribution {
    chart: String,
    samples: String,
    beyond: usize,
    baseline: Option<Baseline>,
    shares: Vec<ShareLine>,
}

#[derive(Serialize)]
struct Baseline {
    run: Link,
    /// What it is: the run nearest to the middle of the baseline, or what a regression was confirmed against.
    what: &'static str,
    samples: String,
}

/// The value that a share of the samples does not exceed.
#[derive(Serialize)]
struct ShareLine {
    share: &'static str,
    newest: Quantity,
    baseline: Option<Quantity>,
    /// In percent of the baseline's; empty where there is none.
    by: String,
}

/// One visit to the case.
#[derive(Serialize)]
struct RoundLine {
    number: String,
    samples: String,
    warmup: u32,
    value: Option<Quantity>,
    spread: Option<[Quantity; 2]>,
    notes: Vec<String>,
    error: String,
}

/// What is known of it; `None` where the series has no point.
pub fn last(library: &Library<'_>, history: &CaseHistory) -> Result<Option<Last>, ReportError> {
    let series = &history.series;
    let key = &series.key;
    let Some(point) = series.points.last() else {
        return Ok(None);
    };
    let detail = library.detail(&point.run, &key.case, &key.arm);
    let behind = Behind {
        library,
        detail,
        case: library.latest_case(series).map(|(_, case)| &*case.case),
        history,
    };
    let page = address::series(key);
    let wrong = |reason| ReportError::Chart {
        page: page.clone(),
        reason,
    };
    let (rounds, more_rounds) = behind.round_lines();
    Ok(Some(Last {
        run: part::run_link(&point.run),
        at: point.started.minute(),
        is_summary: behind.is_summary(),
        distribution: behind.distribution().map_err(wrong)?,
        curve: behind.curve().map_err(wrong)?,
        rounds_chart: behind.rounds_chart().map_err(wrong)?,
        rounds,
        more_rounds,
        gauges: gauges::of_rounds(&page, &behind.rounds())?,
    }))
}

/// All that is at hand.
struct Behind<'a> {
    library: &'a Library<'a>,
    detail: Option<&'a CaseDetail>,
    case: Option<&'a CaseRow>,
    history: &'a CaseHistory,
}

impl<'a> Behind<'a> {
    fn unit(&self) -> &'a Unit {
        &self.history.series.metric.unit
    }

    /// The rounds that count, as many as are drawn.
    fn rounds(&self) -> Vec<&'a RoundDetail> {
        let rounds = self.detail.into_iter().flat_map(|detail| &detail.rounds);
        let mut rounds: Vec<&RoundDetail> = rounds.collect();
        rounds.sort_by_key(|round| round.round);
        rounds.truncate(ROUNDS);
        rounds
    }

    fn samples(&self, detail: Option<&CaseDetail>) -> Vec<f64> {
        let rounds = detail.into_iter().flat_map(|detail| &detail.rounds);
        let steady = rounds.flat_map(|round| self.split(round).1);
        steady.copied().collect()
    }

    /// A round's samples of the metric: warm-up, and the rest. What is no number was never measured.
    fn split<'r>(&self, round: &'r RoundDetail) -> (&'r [f64], &'r [f64]) {
        let values = round.values.get(&self.history.series.key.metric);
        let values = values.map_or(&[][..], Vec::as_slice);
        let values = if values.iter().all(|value| value.is_finite()) {
            values
        } else {
            &[]
        };
        values.split_at(values.len().min(round.warmup as usize))
    }

    /// Whether every round holds one number made of samples that were not kept.
    fn is_summary(&self) -> bool {
        let mut rounds = self
            .case
            .into_iter()
            .flat_map(CaseRow::good_rounds)
            .peekable();
        rounds.peek().is_some() && rounds.all(RoundRow::is_summary)
    }

    /// What the run is that the newest one is laid beside.
    fn what(&self, run: &RunId) -> &'static str {
        let confirmed = self.library.confirmed_of(self.history);
        let mut standing = confirmed.iter().filter(|(_, stands)| *stands);
        if standing.any(|(one, _)| one.reference.as_ref() == Some(run)) {
            "which the regression was confirmed against"
        } else {
            "the run nearest to the middle of its baseline"
        }
    }

    fn distribution(&self) -> Result<Option<Distribution>, String> {
        if self.is_summary() {
            return Ok(None);
        }
        let key = &self.history.series.key;
        let of_baseline = self.detail.and_then(|detail| detail.baseline.as_ref());
        let baseline = of_baseline.and_then(|run| self.library.detail(run, &key.case, &key.arm));
        // One number of a whole run is no distribution to lay beside this one.
        let before = Some(self.samples(baseline)).filter(|samples| samples.len() > 1);
        let sides = Sides::new(self.samples(self.detail), before.unwrap_or_default());
        if sides.newest.is_empty() {
            return Ok(None);
        }
        let shares: Vec<ShareLine> = SHARES
            .iter()
            .map(|share| self.share(&sides, *share))
            .collect();
        let count = |samples: &[f64]| format::count(samples.len() as u64);
        let named = of_baseline.filter(|_| !sides.baseline.is_empty());
        let baseline = named.map(|run| Baseline {
            run: part::run_link(run),
            what: self.what(run),
            samples: count(&sides.baseline),
        });
        let words = Words {
            id: "samples",
            title: "Distribution of the samples",
            description: &in_words(&shares, &sides),
        };
        Ok(Some(Distribution {
            chart: chart::ecdf(&sides, self.unit(), words)?,
            samples: count(&sides.newest),
            beyond: sides.beyond(),
            baseline,
            shares,
        }))
    }

    fn share(&self, sides: &Sides, (share, name): (f64, &'static str)) -> ShareLine {
        let newest = chart::ranked(&sides.newest, share);
        let baseline = (!sides.baseline.is_empty()).then(|| chart::ranked(&sides.baseline, share));
        let ratio = baseline
            .filter(|before| *before > 0.0)
            .map(|before| newest / before);
        ShareLine {
            share: name,
            newest: format::value(newest, self.unit()),
            baseline: baseline.map(|value| format::value(value, self.unit())),
            by: ratio.map_or(String::new(), words::percent),
        }
    }

    /// What the metric went through in the last round, where that is worth to be looked at.
    fn curve(&self) -> Result<Option<Curve>, String> {
        let rounds = self.rounds();
        let last = rounds.last().filter(|_| !self.is_summary());
        let values = last.map(|round| {
            let (warm, steady) = self.split(round);
            (round.round, [warm, steady].concat())
        });
        values.map_or(Ok(None), |(round, values)| {
            curve::of(&self.history.series.metric, round, &values)
        })
    }

    fn rounds_chart(&self) -> Result<String, String> {
        if self.is_summary() {
            return Ok(String::new());
        }
        let round = |detail: &RoundDetail| {
            let (warm, steady) = self.split(detail);
            Round {
                number: detail.round,
                samples: [warm, steady].concat(),
                warmup: warm.len(),
                value: assay_stats::median(steady),
            }
        };
        let rounds: Vec<Round> = self.rounds().into_iter().map(round).collect();
        if !rounds.iter().any(|round| !round.steady().is_empty()) {
            return Ok(String::new());
        }
        let words = Words {
            id: "rounds",
            title: "Samples of each round",
            description: &format!(
                "{} rounds side by side. The table below has the value and the spread of each.",
                rounds.len()
            ),
        };
        chart::rounds(&rounds, self.unit(), words)
    }

    /// Every visit, and how many more there are.
    fn round_lines(&self) -> (Vec<RoundLine>, usize) {
        let all = self.case.map_or(&[][..], |case| &case.rounds);
        let lines = all.iter().take(ROUNDS).map(|row| self.round_line(row));
        (lines.collect(), all.len().saturating_sub(ROUNDS))
    }

    fn round_line(&self, row: &RoundRow) -> RoundLine {
        let metric = &self.history.series.key.metric;
        let column = self
            .case
            .and_then(|case| case.metrics.iter().position(|m| m.name == *metric));
        let value = column.and_then(|at| row.values.get(at).copied().flatten());
        let spread = value.and_then(|_| self.spread(row));
        let error = row.verification.as_ref().and_then(|found| found.error);
        RoundLine {
            number: if row.attempt > 0 {
                format!("{}, attempt {}", row.round + 1, row.attempt + 1)
            } else {
                (row.round + 1).to_string()
            },
            samples: format::count(u64::from(row.samples.saturating_sub(row.warmup))),
            warmup: row.warmup,
            value: value.map(|value| format::value(value, self.unit())),
            spread,
            notes: notes(row),
            error: error.map_or(String::new(), format::scientific),
        }
    }

    /// Where nine tenths of a round's samples lie.
    fn spread(&self, row: &RoundRow) -> Option<[Quantity; 2]> {
        let rounds = &self.detail?.rounds;
        let detail = rounds.iter().find(|detail| detail.round == row.round)?;
        let mut samples = self.split(detail).1.to_vec();
        samples.sort_unstable_by(f64::total_cmp);
        let ends = [0.05, 0.95].map(|share| chart::ranked(&samples, share));
        (samples.len() > 1).then(|| ends.map(|value| format::value(value, self.unit())))
    }
}

/// How a visit ended, and what disturbed it.
fn notes(row: &RoundRow) -> Vec<String> {
    let status = row
        .status
        .reason()
        .map(|reason| format!("{}: {reason}", row.status.name()));
    let unsteady = (status.is_none() && !row.steady).then(|| "not steady".to_owned());
    // To be precise enough is the usual end.
    let stop = row.stop.as_ref().filter(|why| *why != "precise");
    let stop = stop.map(|why| match why.as_str() {
        SUMMARY => "a summary alone".to_owned(),
        why => format!("ended by {}", why.replace('_', " ")),
    });
    let all = status
        .into_iter()
        .chain(unsteady)
        .chain(row.disturbed.iter().cloned())
        .chain(stop);
    all.map(|note| clip(&note, 200).into_owned()).collect()
}

fn in_words(shares: &[ShareLine], sides: &Sides) -> String {
    let of = |line: &ShareLine| {
        let baseline = line.baseline.as_ref();
        let before = baseline.map_or(String::new(), |value| format!(", baseline {value}"));
        format!("{} {}{before}", line.share, line.newest)
    };
    let told: Vec<String> = shares.iter().map(of).collect();
    let samples = sides.newest.len();
    format!(
        "Share of {samples} samples up to each value. {}.",
        told.join("; ")
    )
}
