//! Why a verdict is what it is, in words.

use assay_protocol::Metric;
use assay_stats::{Judged, Rules, rounds_needed, runs_needed};

use super::commits::MIN_COMMITS;
use super::effects::MIN_BASELINE_RUNS;
use super::judging::Finding;
use super::pairing::Item;
use super::{Basis, Question};
use crate::effect::{EQUAL, Effect, SETTLES, advice, percent, runs_of_rounds};
use crate::few_runs::RUN_SD;
use crate::{CONFIDENCE, Verdict};

/// Rounds of a run, where advice has to name some.
const USUAL_ROUNDS: u32 = 6;

/// What is said of a suspect.
const RUN_AGAIN: &str = "`assay confirm` runs it again";
/// What is said of a suspect of a run that was imported.
const IMPORTED: &str =
    "it was imported and cannot be run again: whether it lasts, later results show";

/// A reason without what was advised to be done, for when it was done.
pub(crate) fn without_advice(note: &str) -> String {
    let is_advice = |part: &&str| *part == RUN_AGAIN || part.ends_with(SETTLES);
    let parts: Vec<&str> = note.split("; ").filter(|part| !is_advice(part)).collect();
    parts.join("; ")
}

/// What the words of all cases have in common.
pub(super) struct Speaker {
    pub basis: Basis,
    pub question: Question,
    pub rules: Rules,
    /// Whether the candidate was imported.
    pub is_imported: bool,
}

impl Speaker {
    pub fn note(&self, finding: &Finding<'_>, verdict: Verdict) -> String {
        let item = finding.item;
        let said = match (&item.obstacle, finding.effect, finding.judged) {
            (Some(obstacle), None, _) if !item.baseline.is_empty() => {
                format!("{obstacle}; {}", self.unmeasured(item))
            }
            (Some(obstacle), _, _) => obstacle.clone(),
            (None, Some(effect), Some(judged)) => self.compared(finding, effect, judged, verdict),
            _ => self.unmeasured(item),
        };
        match &item.remark {
            Some(remark) => format!("{remark}; {said}"),
            None => said,
        }
    }

    fn compared(
        &self,
        finding: &Finding<'_>,
        effect: &Effect,
        judged: &Judged,
        verdict: Verdict,
    ) -> String {
        let margin = finding.margin;
        let said = match verdict {
            Verdict::Regressed if !judged.position.is_called() => {
                "it moved with most of its suite, by more than what is equal".into()
            }
            Verdict::Regressed | Verdict::Improved => self.called(finding, judged, verdict),
            Verdict::Unchanged => {
                format!(
                    "the whole interval is within the margin of {}",
                    percent(margin)
                )
            }
            Verdict::Inconclusive => self.open(judged, margin),
        };
        let at_hand = finding
            .item
            .baseline
            .len()
            .min(finding.item.candidate.len());
        let remedy =
            (verdict == Verdict::Inconclusive).then(|| effect.remedy_beyond(at_hand, margin));
        let parts = [
            said,
            self.few(finding.item),
            effect.origin_words(),
            self.since(finding.item),
            remedy.unwrap_or_default(),
        ];
        let told: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        told.join("; ")
    }

    fn called(&self, finding: &Finding<'_>, judged: &Judged, verdict: Verdict) -> String {
        let is_time = finding.item.metric.name == Metric::TIME;
        let word = match (verdict, is_time) {
            (Verdict::Regressed, true) => "slower",
            (Verdict::Regressed, false) => "worse",
            (_, true) => "faster",
            (_, false) => "better",
        };
        let than = if finding.is_relative() {
            ", relative to what the suite did"
        } else {
            ""
        };
        let over = match self.question {
            Question::Confirmation => "over the suspects",
            Question::Difference | Question::Gate => "over the suite",
        };
        format!("{word}{than}: {} {over}", p_shown(judged.adjusted))
    }

    fn open(&self, judged: &Judged, margin: f64) -> String {
        let reach = format!(
            "the interval reaches beyond the margin of {}",
            percent(margin)
        );
        if !judged.suspect {
            return reach;
        }
        let (own, corrected) = (p_shown(judged.p_value), p_shown(judged.adjusted));
        match self.question {
            Question::Gate => format!(
                "suspect: {own} by itself, {corrected} over the suite; {}",
                self.next_step()
            ),
            Question::Difference => {
                format!("{own} by itself and {corrected} over the suite; {reach}")
            }
            Question::Confirmation => {
                format!("{own} by itself and {corrected} over the suspects; {reach}")
            }
        }
    }

    /// What becomes of a suspect.
    fn next_step(&self) -> &'static str {
        if self.is_imported {
            IMPORTED
        } else {
            RUN_AGAIN
        }
    }

    fn few(&self, item: &Item) -> String {
        let (before, after) = (item.baseline.len(), item.candidate.len());
        match (before, after) {
            _ if self.basis.is_paired() || before.max(after) >= MIN_BASELINE_RUNS => String::new(),
            (1, 1) => "one run per side".into(),
            _ => format!("{before} and {after} runs are few"),
        }
    }

    /// With how many runs of its baseline a metric of a case is compared, and how many that has, where these are not the same.
    pub fn shorter(&self, item: &Item) -> Option<(usize, usize)> {
        let (own, all) = (item.baseline.len(), self.basis.baseline_runs()?);
        (own > 0 && own < all).then_some((own, all))
    }

    /// Where the baseline begins, if that is not where its window does, and how much of it is left.
    fn since(&self, item: &Item) -> String {
        let shorter = self.shorter(item);
        let left = shorter.map(|(own, all)| format!("{own} of its {all} runs"));
        match (&item.since, left) {
            (None, None) => String::new(),
            (None, Some(left)) => format!("its baseline is {left}"),
            (Some(since), left) => {
                let why = if since.by_mark {
                    "where a mark begins it anew"
                } else {
                    "after the last change of its level"
                };
                let left = left.map_or(String::new(), |left| format!(": {left}"));
                format!("its baseline begins with run {}, {why}{left}", since.run)
            }
        }
    }

    /// Why there is no ratio.
    fn unmeasured(&self, item: &Item) -> String {
        let mut values = item.baseline.iter().chain(&item.candidate).flatten();
        if values.any(|value| !value.is_finite() || *value <= 0.0) {
            return "a value is zero, negative or not a number: there is no ratio".into();
        }
        if let Basis::ByCommit { .. } = self.basis {
            return format!(
                "measured on both sides at {} of the commits: fewer than {MIN_COMMITS} do not show how much ratios differ",
                item.baseline_runs.len()
            );
        }
        let rounds = |runs: &[Vec<f64>]| runs.iter().map(Vec::len).sum::<usize>();
        let (before, after) = (rounds(&item.baseline), rounds(&item.candidate));
        format!(
            "{before} round{} in the baseline and {after} in the candidate: one alone says nothing of its error; {}",
            if before == 1 { "" } else { "s" },
            self.remedy_for_one_round()
        )
    }

    fn remedy_for_one_round(&self) -> String {
        let (taken, margin) = (RUN_SD, self.rules.margin);
        let needed = if self.basis == Basis::Interleaved {
            rounds_needed(taken, 0.0, margin, CONFIDENCE)
                .map(|rounds| format!("{rounds} rounds of each arm"))
        } else {
            runs_needed(taken, USUAL_ROUNDS, taken, margin, CONFIDENCE)
                .map(|runs| runs_of_rounds(runs, USUAL_ROUNDS))
        };
        needed.map_or_else(
            || {
                format!(
                    "a margin of {} is too narrow for any number of rounds",
                    percent(margin)
                )
            },
            |needed| {
                let condition = format!("{EQUAL} and rounds and runs differ by {}", percent(taken));
                advice(&condition, &needed, margin)
            },
        )
    }
}

/// A p-value with the digits that matter.
pub(crate) fn p_shown(p: f64) -> String {
    match p {
        ..1e-300 => "p < 1e-300".into(),
        ..1e-3 => format!("p = {p:.0e}"),
        _ => format!("p = {p:.3}"),
    }
}
