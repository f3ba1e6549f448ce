//! The most that a machine was seen to do, and what results are beside that.
//!
//! A ceiling is a measurement like others: the best rate that a case of a ceilings run reached whose workload names the
//! memory level or arithmetic unit that bounds it. A result beyond the ceiling of what its own case names did not do its
//! work there: a product in lower precision, a "memory" test that lives in a cache. That is judged on reading and never
//! stored, so a better ceiling takes a judgement back.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::{ArithmeticUnit, Bound, MemoryLevel, Metric, Work};
use assay_record::RunId;
use assay_stats::Interval;
use assay_store::{CaseRow, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::estimate::{estimate, rates};
use crate::summary::time_of;

/// Runs of ceilings that are looked at, the newest first: one of them may have had a bad hour.
const RUNS: usize = 5;
/// How far beyond the upper end of a ceiling the lower end of a result must be to be impossible: what a ceiling's own kernel may
/// leave on the table.
const SLACK: f64 = 1.10;
/// The same of caches that can be written while they are read: their ceilings are of reading alone.
const SLACK_OF_CACHES: f64 = 2.0 * SLACK;

/// What a ceiling is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Bytes per second of a memory level.
    Level(MemoryLevel),
    /// Floating-point operations per second of a unit.
    Unit(ArithmeticUnit),
}

impl Limit {
    /// Its name: `dram`, `bf16-tensor`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Level(level) => level.name(),
            Self::Unit(unit) => unit.name(),
        }
    }

    /// How far beyond its ceiling is impossible.
    fn slack(self) -> f64 {
        match self {
            Self::Level(MemoryLevel::L1 | MemoryLevel::L2 | MemoryLevel::L3) => SLACK_OF_CACHES,
            Self::Level(_) | Self::Unit(_) => SLACK,
        }
    }

    /// The unit of its rate.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Level(_) => "B/s",
            Self::Unit(_) => "FLOP/s",
        }
    }
}

/// The best rate that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Kind of device: `cpu`, `cuda`.
    pub device: String,
    /// What it is of.
    pub limit: Limit,
    /// Bytes or floating-point operations per second.
    pub rate: Interval,
    /// The case that reached it.
    pub case: String,
    /// The run that it is from.
    pub run: RunId,
    /// Whether others used the machine meanwhile: it may do more than this, so nothing is impossible beside it.
    pub disturbed: bool,
}

/// The ceilings of one machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Best first within a limit; one for each device and limit.
    pub all: Vec<Ceiling>,
}

/// A result beside the ceiling of what bounds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fraction {
    /// What bounds it.
    pub limit: Limit,
    /// The result over the ceiling, by what is known of both: 0.93 is 93 %.
    pub of_ceiling: Interval,
    /// Why it cannot be, in words; absent where it can.
    pub impossible: Option<String>,
}

impl Ceilings {
    /// The ceilings of a machine, from its newest runs that measured them.
    pub fn of(store: &Store, machine: &str) -> Result<Self, StoreError> {
        let rows = store.ceilings_runs(machine)?.into_iter().rev();
        let runs: Vec<RunId> = rows.take(RUNS).map(|row| row.run).collect();
        let mut best: BTreeMap<(String, Limit), Ceiling> = BTreeMap::new();
        for (run, cases) in runs.iter().zip(store.cases_of(&runs)?) {
            for case in cases {
                for found in ceilings_of(&case, run) {
                    let key = (found.device.clone(), found.limit);
                    let known = best
                        .get(&key)
                        .is_some_and(|known| known.rate.estimate >= found.rate.estimate);
                    if !known {
                        best.insert(key, found);
                    }
                }
            }
        }
        Ok(Self {
            all: best.into_values().collect(),
        })
    }

    /// The ceilings of some machines, by their names.
    pub fn of_all<'a>(
        store: &Store,
        machines: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, Self>, StoreError> {
        let machines: BTreeSet<&str> = machines.into_iter().collect();
        let found = machines
            .into_iter()
            .map(|machine| Ok((machine.to_owned(), Self::of(store, machine)?)));
        found.collect()
    }

    /// Why a case's result cannot be, in words; `None` where it can, or no ceiling says otherwise.
    pub fn impossible(&self, case: &CaseRow) -> Option<String> {
        if self.all.is_empty() {
            return None;
        }
        let mut found = self.fractions(case, &time_of(case)?).into_iter();
        found.find_map(|fraction| fraction.impossible)
    }

    /// A case's result beside the ceilings of what bounds it. `time_ns` is that of one iteration.
    pub fn fractions(&self, case: &CaseRow, time_ns: &Interval) -> Vec<Fraction> {
        self.beside(&case.device, case.bound, &case.work, time_ns)
    }

    /// The same of any work on a device.
    pub(crate) fn beside(
        &self,
        device: &str,
        bound: Bound,
        work: &Work,
        time_ns: &Interval,
    ) -> Vec<Fraction> {
        let limits = limits(bound).into_iter();
        limits
            .filter_map(|limit| self.fraction(device, limit, work, time_ns))
            .collect()
    }

    fn fraction(
        &self,
        device: &str,
        limit: Limit,
        work: &Work,
        time_ns: &Interval,
    ) -> Option<Fraction> {
        let here = |ceiling: &&Ceiling| ceiling.device == device && ceiling.limit == limit;
        let ceiling = self.all.iter().find(here)?;
        let rate = rate(work, limit, time_ns)?;
        let most = ceiling.rate.high * limit.slack();
        let impossible = (rate.low > most && !ceiling.disturbed).then(|| {
            format!(
                "{:.3e} {unit} is beyond what `{name}` gives here, at most {:.3e} {unit} ({}): something was not computed, or not there",
                rate.estimate,
                ceiling.rate.high,
                ceiling.case,
                unit = limit.unit(),
                name = limit.name(),
            )
        });
        Some(Fraction {
            limit,
            of_ceiling: over(&rate, &ceiling.rate),
            impossible,
        })
    }
}

/// One rate over another, which was measured apart from it; both are positive.
///
/// The interval is recovered from those of the two (MOVER) on logarithms: the distances of its ends from the estimate add as
/// squares, each of the side that moves the ratio that way. Source: Donner and Zou 2012, "Closed-form confidence intervals for
/// functions of the normal mean and standard deviation", Statistical Methods in Medical Research 21(4). Its confidence is the
/// lower of the two.
fn over(rate: &Interval, ceiling: &Interval) -> Interval {
    let below = |of: &Interval| (of.estimate / of.low).ln();
    let above = |of: &Interval| (of.high / of.estimate).ln();
    let estimate = rate.estimate / ceiling.estimate;
    Interval {
        estimate,
        low: estimate * (-below(rate).hypot(above(ceiling))).exp(),
        high: estimate * above(rate).hypot(below(ceiling)).exp(),
        confidence: rate.confidence.min(ceiling.confidence),
    }
}

/// What a case says that bounds it.
fn limits(bound: Bound) -> Vec<Limit> {
    let level = bound.level.map(Limit::Level);
    let unit = bound.unit.map(Limit::Unit);
    level.into_iter().chain(unit).collect()
}

fn ceilings_of(case: &CaseRow, run: &RunId) -> Vec<Ceiling> {
    let Some(time_ns) = estimate(&case.good_values(Metric::TIME)) else {
        return vec![];
    };
    let ceiling = |limit| {
        Some(Ceiling {
            device: case.device.clone(),
            limit,
            rate: rate(&case.work, limit, &time_ns)?,
            case: case.case.clone(),
            run: run.clone(),
            disturbed: case.good_rounds().any(|round| !round.disturbed.is_empty()),
        })
    };
    limits(case.bound).into_iter().filter_map(ceiling).collect()
}

fn rate(work: &Work, limit: Limit, time_ns: &Interval) -> Option<Interval> {
    let rates = rates(work, time_ns).into_iter();
    rates
        .filter(|(unit, _)| unit == limit.unit())
        .map(|(_, rate)| rate)
        .next()
}

#[cfg(test)]
mod tests {
    use assay_stats::Interval;

    use super::over;

    fn interval(low: f64, estimate: f64, high: f64, confidence: f64) -> Interval {
        Interval {
            estimate,
            low,
            high,
            confidence,
        }
    }

    /// 8 % of a ceiling that is known to 8 % are 8 % of the share too, however well the result is known.
    #[test]
    fn verdicts_a_share_is_no_better_known_than_its_ceiling() {
        let rate = interval(234.0, 236.0, 238.0, 0.97);
        let share = over(&rate, &interval(460.0, 500.0, 540.0, 0.95));
        assert!((share.estimate - 0.472).abs() < 1e-9);
        assert!(
            (0.034..0.037).contains(&(share.estimate - share.low)),
            "{share:?}"
        );
        assert!(
            (0.039..0.042).contains(&(share.high - share.estimate)),
            "{share:?}"
        );
        assert!((share.confidence - 0.95).abs() < 1e-12);
    }

    #[test]
    fn verdicts_of_an_exact_ceiling_only_the_result_is_uncertain() {
        let share = over(
            &interval(90.0, 100.0, 120.0, 0.95),
            &interval(200.0, 200.0, 200.0, 0.97),
        );
        let ends = [(share.low, 0.45), (share.estimate, 0.5), (share.high, 0.6)];
        assert!(
            ends.iter()
                .all(|(is, expected)| (is / expected - 1.0).abs() < 1e-12)
        );
    }
}
