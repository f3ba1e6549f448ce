//! The gate: one run against its window, its suspects run again, and what is said in the end.

use std::collections::BTreeSet;

use assay_record::RunId;
use assay_stats::Interval;
use serde::{Deserialize, Serialize};

use crate::effect::change_words;
use crate::{CaseComparison, Comparison, Verdict};

/// Cases that are run again only to ask whether a shift that most cases share is the machine's.
const PROBES: usize = 3;

/// A run and what the gate says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The run.
    pub run: RunId,
    /// The window of runs that it is compared with, as it was asked for.
    pub window: String,
    /// What is said in the end.
    pub state: State,
    /// The run against its window. Once suspects were run again, only what that confirmed is called.
    pub comparison: Comparison,
    /// The suspects, run again.
    pub confirmation: Option<Confirmation>,
}

/// What is said of a run in the end: the first of these that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A case failed or gave a wrong output.
    Troubled,
    /// Something got worse.
    Regressed,
    /// No earlier run has anything to compare with.
    NoBaseline,
    /// Something may have changed: it should be run again before anybody is told.
    Suspected,
    /// Something got better, and nothing worse.
    Improved,
    /// Nothing is known to have changed, and not all of it is known to be unchanged.
    Inconclusive,
    /// Everything is unchanged.
    Unchanged,
}

/// Suspects that were run again, each in the strongest way that there was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    /// What that can and cannot say, in words.
    pub notes: Vec<String>,
    /// Interleaved with what the baseline ran: night and machine cancel.
    pub interleaved: Option<Comparison>,
    /// Once more alone, that run and the first together against the baseline: weaker.
    pub alone: Option<Comparison>,
    /// Cases of which Assay runs the same on both sides: no difference can come from there, and nothing was run.
    pub same: BTreeSet<String>,
}

impl Confirmation {
    /// What the new rounds say of a metric of a case, and the run that has them.
    fn of(&self, case: &CaseComparison) -> Option<(&CaseComparison, &RunId)> {
        let all = [&self.interleaved, &self.alone];
        all.into_iter().flatten().find_map(|comparison| {
            let found = comparison
                .cases
                .iter()
                .find(|again| again.case == case.case && again.metric.name == case.metric.name);
            found.zip(comparison.candidate.runs.last())
        })
    }
}

impl Gate {
    /// The gate on a run by its comparison with a window.
    pub fn new(window: String, run: RunId, comparison: Comparison) -> Self {
        let mut gate = Self {
            run,
            window,
            state: State::Unchanged,
            comparison,
            confirmation: None,
        };
        gate.state = gate.judged();
        gate
    }

    /// Cases and metrics to run again: suspects, and where most cases moved together those that moved the most, for
    /// only interleaved rounds tell a machine from code that all cases share.
    pub fn suspects(&self) -> BTreeSet<(String, String)> {
        let name = |case: &CaseComparison| (case.case.clone(), case.metric.name.clone());
        let mut suspects: BTreeSet<_> = self.comparison.suspects().map(name).collect();
        if self.comparison.suite.common_shift.is_some() {
            let moved = |case: &CaseComparison| case.ratio.map_or(0.0, |r| r.estimate.ln().abs());
            let mut shifted: Vec<&CaseComparison> = self.comparison.cases.iter().collect();
            shifted.retain(|case| case.relative.is_some() && case.mark.is_none());
            shifted.sort_by(|a, b| moved(b).total_cmp(&moved(a)));
            suspects.extend(shifted.into_iter().take(PROBES).map(name));
        }
        suspects
    }

    /// What is said once the suspects were run again: of these, only what `confirmation` says too, in the same direction.
    #[must_use]
    pub fn confirmed(mut self, confirmation: Confirmation) -> Self {
        let suspects = self.suspects();
        for case in &mut self.comparison.cases {
            let name = (case.case.clone(), case.metric.name.clone());
            if suspects.contains(&name) {
                case.confirm(&confirmation);
            }
        }
        self.comparison.recount();
        self.comparison.suite.expected_false_alarms = self.comparison.rules.family_error;
        self.confirmation = Some(confirmation);
        self.state = self.judged();
        self
    }

    /// Whether the run should stop whoever waits for it.
    pub fn is_worse(&self) -> bool {
        self.comparison.is_worse()
    }

    fn judged(&self) -> State {
        let counts = &self.comparison.suite.counts;
        let is_suspected = self.comparison.suspects().next().is_some();
        match () {
            () if counts.troubled > 0 => State::Troubled,
            () if counts.regressed > 0 => State::Regressed,
            () if self.comparison.is_empty() => State::NoBaseline,
            () if is_suspected && self.confirmation.is_none() => State::Suspected,
            () if counts.improved > 0 => State::Improved,
            () if counts.inconclusive > 0 => State::Inconclusive,
            () => State::Unchanged,
        }
    }
}

impl CaseComparison {
    fn confirm(&mut self, confirmation: &Confirmation) {
        let at_first = std::mem::take(&mut self.note);
        let (verdict, said) = match confirmation.of(self) {
            _ if confirmation.same.contains(&self.case) => (
                Verdict::Inconclusive,
                "not confirmed: same worker on both sides".into(),
            ),
            None => (
                Verdict::Inconclusive,
                "not confirmed: it could not be run again".into(),
            ),
            Some((again, run)) => {
                let gave = again.ratio.as_ref().map_or("no ratio".into(), change_words);
                let is_called = matches!(again.verdict, Verdict::Regressed | Verdict::Improved);
                if is_called && self.agrees(again.ratio.as_ref()) {
                    (again.verdict, format!("confirmed by run {run}: {gave}"))
                } else {
                    (
                        Verdict::Inconclusive,
                        format!("not confirmed: run {run} gave {gave}"),
                    )
                }
            }
        };
        self.verdict = verdict;
        self.note = format!("{said}; at first: {at_first}");
    }

    /// Whether a later ratio points in the same direction, be it of the ratio or of what it is relative to the common shift.
    fn agrees(&self, later: Option<&Interval>) -> bool {
        let Some(later) = later else { return false };
        [self.ratio, self.relative]
            .into_iter()
            .flatten()
            .any(|earlier| (earlier.estimate > 1.0) == (later.estimate > 1.0))
    }
}
