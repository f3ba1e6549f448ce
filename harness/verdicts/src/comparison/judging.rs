//! From effects to verdicts: the common shift first, then every case, corrected over the suite.

use std::collections::BTreeSet;

use assay_protocol::Metric;
use assay_stats::{
    Judged, Position, RatioInterval, confirm, expected_false_alarms, position, screen,
};

use super::effects::Ground;
use super::pairing::{Item, Pairing};
use super::words::Speaker;
use super::{
    CaseComparison, Comparison, Loaded, Options, Question, SuiteVerdict, Trouble, effects, moving,
    pairing, suite,
};
use crate::effect::{Effect, shown};
use crate::{History, Verdict};

pub(super) fn judge(
    baseline: &Loaded<'_>,
    candidate: &Loaded<'_>,
    history: &History,
    options: Options,
) -> Comparison {
    let basis = pairing::basis(baseline, candidate, &options);
    let Pairing {
        items,
        troubles,
        left_out,
    } = pairing::pair(baseline, candidate, basis, &options);
    let rules = options.rules;
    let ground = Ground {
        basis,
        arm: &candidate.arm,
        history,
        gap: options.gap,
    };
    let found = effects::effects(&items, &ground);
    let movement = moving::of_suite(&items, baseline, basis, &options);
    let judged_by = moving::judged_by(&items, &found, movement.as_ref(), &options);
    let judged = match options.question {
        Question::Confirmation => confirm(&judged_by, &rules),
        Question::Difference | Question::Gate => screen(&judged_by, &rules),
    };
    let speaker = Speaker {
        basis,
        question: options.question,
        rules,
        is_imported: options.is_imported,
    };
    let is_event = movement.as_ref().is_some_and(|found| found.event.is_some());
    let seen = found.iter().zip(&judged_by).zip(&judged);
    let of_items = items
        .iter()
        .zip(seen)
        .map(|(item, ((effect, by), judged))| {
            Finding {
                item,
                effect: effect.as_ref(),
                by: by.as_ref(),
                judged: judged.as_ref(),
                is_event,
                // Calibration is of times.
                margin: if item.metric.name == Metric::TIME {
                    options.margin(&item.case)
                } else {
                    options.rules.margin
                },
            }
            .said(&speaker)
        });
    let mut comparison = Comparison {
        baseline: baseline.side(),
        candidate: candidate.side(),
        basis,
        caveats: caveats(baseline, candidate, options.force),
        cases: worst_first(troubles.into_iter().map(troubled).chain(of_items)),
        suite: SuiteVerdict {
            geometric_mean: suite::geometric_mean_of(&items, &found, &ground),
            expected_false_alarms: match options.question {
                // Where nothing was compared, nothing can be called.
                _ if judged.iter().all(Option::is_none) => 0.0,
                Question::Confirmation => rules.family_error,
                Question::Difference | Question::Gate => expected_false_alarms(&judged, &rules),
            },
            common_shift: movement.and_then(|movement| movement.event),
            ..SuiteVerdict::default()
        },
        differences: options.differences,
        left_out,
        rules,
    };
    comparison.recount();
    comparison
}

/// What failed first, then as they come.
fn worst_first(cases: impl Iterator<Item = CaseComparison>) -> Vec<CaseComparison> {
    let (mut worst, others): (Vec<_>, Vec<_>) = cases.partition(|case| case.trouble.is_some());
    worst.extend(others);
    worst
}

/// One item with all that was found.
pub(super) struct Finding<'a> {
    pub item: &'a Item,
    /// The ratio as it is.
    pub effect: Option<&'a Effect>,
    /// What was judged.
    pub by: Option<&'a RatioInterval>,
    pub judged: Option<&'a Judged>,
    /// Whether most cases of the suite moved together.
    pub is_event: bool,
    /// What is equal here.
    pub margin: f64,
}

impl Finding<'_> {
    fn said(&self, speaker: &Speaker) -> CaseComparison {
        let position = self.position();
        let verdict = match &self.item.obstacle {
            Some(_) => Verdict::Inconclusive,
            // What a mark excuses is known, however much of the suite it is.
            None if self.got_worse_with_its_suite() && self.item.excuse.is_some() => {
                Verdict::Regressed
            }
            None => {
                Verdict::of(position, self.item.metric.direction).unwrap_or(Verdict::Inconclusive)
            }
        };
        let is_suspect = self.judged.is_some_and(|judged| judged.suspect);
        let by = self.by.map(shown);
        let ratio = self.effect.map(|effect| shown(&effect.interval));
        CaseComparison {
            case: self.item.case.clone(),
            metric: self.item.metric.clone(),
            verdict,
            // What was imported cannot be run again, and so awaits nothing.
            suspect: is_suspect && !speaker.is_imported,
            ratio,
            at_first: None,
            relative: by.filter(|_| by != ratio),
            margin: self.margin,
            p_value: self.judged.map(|judged| judged.p_value),
            adjusted: self.judged.map(|judged| judged.adjusted),
            trouble: self.item.trouble.clone(),
            mark: self.item.excuse.clone(),
            remark: self.item.remark.clone(),
            since: self.item.since.as_ref().map(|since| since.run.clone()),
            still: None,
            baseline_runs: speaker.shorter(self.item).map(|(own, _)| own),
            note: speaker.note(self, verdict),
        }
    }
}

impl Finding<'_> {
    /// What is called stays called. What is equal depends on the margin of the case, and is claimed of the ratio that is
    /// shown: a case that moved with its suite is not unchanged.
    fn position(&self) -> Position {
        let (Some(judged), Some(effect)) = (self.judged, self.effect) else {
            return Position::Straddles;
        };
        if judged.position.is_called() {
            return judged.position;
        }
        match position(&effect.interval, self.margin) {
            Position::Within => Position::Within,
            _ => Position::Straddles,
        }
    }

    /// Whether it got worse beyond what is equal by itself, and is judged relative to most of its suite.
    pub fn got_worse_with_its_suite(&self) -> bool {
        let position = self
            .effect
            .map(|effect| position(&effect.interval, self.margin));
        let verdict = position.and_then(|of| Verdict::of(of, self.item.metric.direction));
        self.is_event && self.is_relative() && verdict == Some(Verdict::Regressed)
    }

    /// Whether it was judged relative to what the suite did.
    pub fn is_relative(&self) -> bool {
        let ratio = self.effect.map(|effect| &effect.interval);
        self.by != ratio
    }
}

fn troubled((case, trouble): (String, Trouble)) -> CaseComparison {
    CaseComparison {
        case,
        metric: Metric::time(),
        verdict: Verdict::Inconclusive,
        suspect: false,
        ratio: None,
        at_first: None,
        relative: None,
        margin: 0.0,
        p_value: None,
        adjusted: None,
        mark: None,
        remark: None,
        since: None,
        still: None,
        baseline_runs: None,
        note: "not compared: without a right result there is no speed".into(),
        trouble: Some(trouble),
    }
}

fn caveats(baseline: &Loaded<'_>, candidate: &Loaded<'_>, force: bool) -> Vec<String> {
    let (before, after) = (baseline.machines(), candidate.machines());
    let named = |machines: &BTreeSet<&str>| {
        let names: Vec<&str> = machines.iter().copied().collect();
        names.join(", ")
    };
    let is_other_machine = !before.is_empty() && before != after;
    let machines = is_other_machine.then(|| {
        format!(
            "different machines ({} and {}): how much machines of one kind differ is not known with so few of each; the verdicts are about these machines",
            named(&before),
            named(&after)
        )
    });
    let forced = force.then(|| "cases of different definitions are compared by force: their ratios are between two different things".to_owned());
    machines.into_iter().chain(forced).collect()
}
