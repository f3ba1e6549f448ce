//! The gate: one run against its window, its suspects run again, and what is said in the end.

use std::collections::{BTreeMap, BTreeSet};

use assay_record::RunId;
use assay_stats::{CommonShift, Interval, levels::MIN_BASELINE_RUNS};
use assay_store::RunRow;
use serde::{Deserialize, Serialize};

use crate::comparison::{LeftOut, Reason, Trouble, without_advice};
use crate::effect::change_words;
use crate::known::Known;
use crate::{CaseComparison, Comparison, MarkKind, Share, Verdict};

/// Cases that are run again only to ask whether a shift that most cases share is the machine's.
const PROBES: usize = 3;

/// Why a suspect is not called.
const SAME: &str = "not confirmed: what Assay starts is the same on both sides";
const NOT_RUN: &str = "not confirmed: it could not be run again";

/// What is said of a suspect while others were run again.
const OPEN: &str = "not run again, though other suspects of its night were";

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
    /// A case was faster than its machine can be: something was not computed.
    Impossible,
    /// Something got worse.
    Regressed,
    /// There is a baseline, and nothing was measured that could be compared with it.
    NotMeasured,
    /// No earlier run has anything to compare with.
    NoBaseline,
    /// Something may have changed: it should be run again before anybody is told.
    Suspected,
    /// The measurement moved, and what was started is the same: the machine, or something that is not pinned.
    Moved,
    /// Something got better, and nothing worse.
    Improved,
    /// Nothing is known to have changed, and not all of it is known to be unchanged, or was measured.
    Inconclusive,
    /// What regressed is known: marks excuse it. Everything else is unchanged.
    Known,
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
    /// Cases of which Assay starts the same on both sides: no difference can come from there, and nothing was run.
    pub same: BTreeSet<String>,
    /// Those of them that moved beyond doubt, or with most cases of the suite.
    pub moved: BTreeSet<String>,
    /// Suspects, by case and metric, that nobody has run again: what is said of them is what the night alone says.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub open: BTreeSet<(String, String)>,
    /// The run of the baseline whose files and worker the interleaved rounds had beside them; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// A run that others were run beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The run.
    pub run: RunId,
    /// Commit of the measured project.
    pub commit: Option<String>,
    /// Whether its tree had changes.
    pub dirty: bool,
}

impl From<&RunRow> for Reference {
    fn from(row: &RunRow) -> Self {
        Self {
            run: row.run.clone(),
            commit: row.commit.clone(),
            dirty: row.dirty,
        }
    }
}

impl Confirmation {
    fn comparisons(&self) -> impl Iterator<Item = &Comparison> {
        [&self.interleaved, &self.alone].into_iter().flatten()
    }

    /// What failed or gave a wrong output when it was run again.
    fn troubled(&self) -> Vec<CaseComparison> {
        let of_comparison = |comparison: &Comparison| {
            let run = comparison.candidate.runs.last().cloned();
            let troubled = comparison.cases.clone().into_iter();
            troubled.filter_map(move |case| {
                let (Trouble { kind, why }, run) = (case.trouble.clone()?, run.as_ref()?);
                let why = format!("{why} (when it was run again, in run {run})");
                let trouble = Some(Trouble { kind, why });
                Some(CaseComparison { trouble, ..case })
            })
        };
        self.comparisons().flat_map(of_comparison).collect()
    }

    /// How many of what was confirmed is false on average, at most: each way has its own rule.
    fn expected_false_alarms(&self) -> f64 {
        let of = |comparison: &Comparison| comparison.suite.expected_false_alarms;
        // The sum of nothing is a negative zero.
        self.comparisons().map(of).fold(0.0, |sum, own| sum + own)
    }

    /// Whether a case was run again.
    pub(crate) fn has(&self, case: &str) -> bool {
        let mut cases = self.comparisons().flat_map(|found| &found.cases);
        cases.any(|again| again.case == case)
    }

    /// Whether anything was run again.
    pub(crate) fn is_run(&self) -> bool {
        self.comparisons().next().is_some()
    }

    /// What the new rounds say of a metric of a case, and the run that has them.
    fn of(&self, case: &CaseComparison) -> Option<(&CaseComparison, &RunId)> {
        self.comparisons().find_map(|comparison| {
            let found = comparison
                .cases
                .iter()
                .find(|again| again.case == case.case && again.metric.name == case.metric.name);
            found.zip(comparison.candidate.runs.last())
        })
    }
}

impl Confirmation {
    /// Where a shift of the suite comes from, by the rounds beside what the baseline ran: they share its machine.
    fn cause(&self, shift: &CommonShift) -> Option<String> {
        let half = shift.ratio.estimate.ln() / 2.0;
        let moved = |case: &CaseComparison| {
            let log = case.ratio.map_or(0.0, |ratio| ratio.estimate.ln());
            log * half.signum() >= half.abs()
        };
        let again = &self.interleaved.as_ref()?.cases;
        let moved = again.iter().filter(|case| moved(case)).count();
        Some(if 2 * moved > again.len() {
            format!(
                "the suite's shift is in what was measured, not in the machine: {moved} of {} cases show it beside what the baseline ran",
                again.len()
            )
        } else {
            format!(
                "the suite's shift is the machine's: {moved} of {} cases show it beside what the baseline ran",
                again.len()
            )
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
        gate.comparison
            .cases
            .iter_mut()
            .for_each(CaseComparison::warn);
        gate.state = gate.judged();
        gate
    }

    /// Cases and metrics to run again: suspects, and where most cases moved together those that moved the most, for
    /// only interleaved rounds tell a machine from code that all cases share.
    pub fn suspects(&self) -> BTreeSet<(String, String)> {
        let suspects = self.comparison.suspects();
        let mut suspects: BTreeSet<_> = suspects.map(CaseComparison::name).collect();
        if self.comparison.suite.common_shift.is_some() {
            let moved = |case: &CaseComparison| case.ratio.map_or(0.0, |r| r.estimate.ln().abs());
            let mut shifted: Vec<&CaseComparison> = self.comparison.cases.iter().collect();
            shifted.retain(|case| case.relative.is_some() && case.mark.is_none());
            shifted.sort_by(|a, b| moved(b).total_cmp(&moved(a)));
            suspects.extend(shifted.into_iter().take(PROBES).map(CaseComparison::name));
        }
        suspects
    }

    /// What is said once the suspects were run again: of these, only what `confirmation` says too, in the same direction.
    #[must_use]
    pub fn confirmed(mut self, mut confirmation: Confirmation) -> Self {
        let suspects = self.suspects();
        let is_event = self.comparison.suite.common_shift.is_some();
        let cases = &mut self.comparison.cases;
        for case in cases
            .iter_mut()
            .filter(|case| suspects.contains(&case.name()))
        {
            if confirmation.open.contains(&case.name()) {
                if case.suspect || case.is_called() {
                    case.note = format!("{OPEN}: {}", case.note);
                }
                continue;
            }
            let is_plain = is_event || case.is_called();
            if is_plain && confirmation.same.contains(&case.case) {
                confirmation.moved.insert(case.case.clone());
            }
            case.confirm(&confirmation);
        }
        confirmation.notes.extend(
            self.comparison
                .suite
                .common_shift
                .and_then(|shift| confirmation.cause(&shift)),
        );
        let troubled = confirmation.troubled();
        cases.retain(|case| troubled.iter().all(|again| again.case != case.case));
        cases.splice(0..0, troubled);
        self.comparison.recount();
        // What is called by the night alone has the night's rule.
        let is_open = |case: &CaseComparison| confirmation.open.contains(&case.name());
        let calls = self.comparison.cases.iter().filter(|case| case.is_called());
        let by_night = self.comparison.rules.false_discovery_rate
            * calls.filter(|case| is_open(case)).count() as f64;
        self.comparison.suite.expected_false_alarms =
            confirmation.expected_false_alarms() + by_night;
        self.confirmation = Some(confirmation);
        self.state = self.judged();
        self
    }

    /// What is said where the suspects could not be run again: they stay suspects, and nobody is alerted by one of them.
    #[must_use]
    pub fn unconfirmed(mut self) -> Self {
        let suspects = self.suspects();
        for case in &mut self.comparison.cases {
            if suspects.contains(&case.name()) && case.is_called() {
                case.settle(Verdict::Inconclusive, NOT_RUN);
            }
        }
        self.comparison.recount();
        self.comparison.suite.expected_false_alarms = 0.0;
        self.state = self.judged();
        self
    }

    /// What is said of what the run stands for alone, where its night is of several.
    #[must_use]
    pub fn of_share(mut self, share: &Share) -> Self {
        let comparison = &mut self.comparison;
        comparison.cases.retain(|case| share.has(&case.case));
        comparison.left_out.retain(|left| share.has(&left.case));
        comparison.recount();
        if !comparison.has_verdicts() {
            comparison.suite.expected_false_alarms = 0.0;
        }
        if let Some(confirmation) = &mut self.confirmation {
            confirmation.moved.retain(|case| share.has(case));
        }
        self.state = self.judged();
        self
    }

    /// Takes what is no news out of what is called and suspected: by case and metric.
    pub(crate) fn settle_known(&mut self, known: &BTreeMap<(String, String), Known>) {
        for case in &mut self.comparison.cases {
            if let Some(Known { night, is_of_shift }) = known.get(&case.name()) {
                let what = if *is_of_shift {
                    "part of the shift of the whole suite that"
                } else {
                    "no more than what"
                };
                case.verdict = Verdict::Inconclusive;
                case.suspect = false;
                case.note = format!(
                    "{what} the night {night} showed and new rounds confirmed, which still stands; what this night gave: {}",
                    without_advice(&case.note)
                );
                case.still = Some(night.clone());
            }
        }
        self.comparison.recount();
        self.state = self.judged();
    }

    /// Cases that the baseline has and that were not measured this time.
    pub fn missing(&self) -> usize {
        let left_out = self.comparison.left_out.iter();
        left_out.filter(|left| is_missing(left)).count()
    }

    /// Whether there is a baseline, and neither side measured anything.
    fn is_idle(&self) -> bool {
        !self.comparison.baseline.runs.is_empty() && self.comparison.left_out.iter().all(is_missing)
    }

    /// Whether the run should stop whoever waits for it.
    pub fn is_worse(&self) -> bool {
        self.comparison.is_worse()
    }

    /// Whether something moved though what was started is the same.
    pub fn has_moved(&self) -> bool {
        let confirmation = self.confirmation.as_ref();
        confirmation.is_some_and(|confirmation| !confirmation.moved.is_empty())
    }

    /// What should be run again before anybody is told, and was not.
    pub fn awaiting(&self) -> impl Iterator<Item = &CaseComparison> {
        self.comparison.suspects().filter(|case| self.is_open(case))
    }

    /// Whether nobody has run a case again, whatever became of others.
    pub fn is_open(&self, case: &CaseComparison) -> bool {
        let confirmation = self.confirmation.as_ref();
        confirmation.is_none_or(|found| found.open.contains(&case.name()))
    }

    /// Where a shift that most cases share comes from, by rounds beside what the baseline ran.
    pub fn cause_of_shift(&self) -> Option<String> {
        let shift = self.comparison.suite.common_shift.as_ref()?;
        self.confirmation.as_ref()?.cause(shift)
    }

    fn judged(&self) -> State {
        let counts = &self.comparison.suite.counts;
        let is_suspected = self.awaiting().next().is_some();
        match () {
            () if counts.troubled > 0 => State::Troubled,
            () if counts.impossible > 0 => State::Impossible,
            () if counts.regressed > 0 => State::Regressed,
            () if self.comparison.is_empty() && self.is_idle() => State::NotMeasured,
            () if self.comparison.is_empty() => State::NoBaseline,
            () if is_suspected => State::Suspected,
            () if self.has_moved() => State::Moved,
            () if counts.improved > 0 => State::Improved,
            () if counts.inconclusive + counts.still > 0 || self.missing() > 0 => {
                State::Inconclusive
            }
            () if counts.excused > 0 => State::Known,
            () => State::Unchanged,
        }
    }
}

/// Whether the baseline measured a case that was not measured this time.
fn is_missing(left: &LeftOut) -> bool {
    match left.reason {
        Reason::OnlyBaseline => true,
        // The reason is the same for both sides; where it is the baseline's, nothing is missing.
        Reason::NotMeasured => left.note.starts_with("not measured in the candidate"),
        Reason::Different | Reason::OnlyCandidate => false,
    }
}

impl CaseComparison {
    pub(crate) fn name(&self) -> (String, String) {
        (self.case.clone(), self.metric.name.clone())
    }

    /// The night over its baseline, whatever new rounds said beside one run of it.
    pub(crate) fn beside_baseline(&self) -> Option<&Interval> {
        self.at_first.as_ref().or(self.ratio.as_ref())
    }

    fn is_called(&self) -> bool {
        matches!(self.verdict, Verdict::Regressed | Verdict::Improved)
    }

    /// Says what an acknowledged regression may hide.
    fn warn(&mut self) {
        let mark = self.mark.as_ref().map(|mark| &mark.kind);
        let is_known = matches!(mark, Some(MarkKind::Acknowledge { .. }));
        if is_known && self.verdict == Verdict::Regressed {
            let hides = format!(
                "; until the baseline has {MIN_BASELINE_RUNS} runs with the acknowledged change, a further regression of it would not alert"
            );
            self.note.push_str(&hides);
        }
    }

    fn confirm(&mut self, confirmation: &Confirmation) {
        if confirmation.same.contains(&self.case) {
            return self.settle(Verdict::Inconclusive, SAME);
        }
        let Some((again, run)) = confirmation.of(self) else {
            return self.settle(Verdict::Inconclusive, NOT_RUN);
        };
        let gave = again.ratio.as_ref().map_or("no ratio".into(), change_words);
        if again.is_called() && self.agrees(again.ratio.as_ref()) {
            let first = self.ratio.as_ref().map_or("no ratio".into(), change_words);
            self.note = format!("{first}, {}", self.note);
            self.settle(again.verdict, &format!("confirmed by run {run}: {gave}"));
            self.at_first = std::mem::replace(&mut self.ratio, again.ratio);
            (self.p_value, self.adjusted) = (again.p_value, again.adjusted);
        } else {
            let said = format!("not confirmed: run {run} gave {gave}: {}", again.note);
            self.settle(Verdict::Inconclusive, &said);
        }
    }

    /// What is said in the end, with what was said at first.
    fn settle(&mut self, verdict: Verdict, said: &str) {
        self.verdict = verdict;
        self.note = format!("{said}; at first: {}", without_advice(&self.note));
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
