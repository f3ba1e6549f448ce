//! From effects to verdicts: the common shift first, then every case, corrected over the suite.

use std::collections::BTreeSet;

use assay_protocol::Metric;
use assay_stats::{
    CommonShift, Judged, Position, RatioInterval, Rules, common_shift, confirm,
    expected_false_alarms, screen,
};

use super::pairing::{Item, Pairing};
use super::words::Speaker;
use super::{
    Basis, CaseComparison, Comparison, Loaded, Options, Question, SuiteVerdict, effects, pairing,
    suite,
};
use crate::effect::{Effect, shown};
use crate::{History, Verdict};

pub(super) fn judge(
    baseline: &Loaded<'_>,
    candidate: &Loaded<'_>,
    history: &History,
    options: Options,
) -> Comparison {
    let basis = pairing::basis(baseline, candidate);
    let Pairing {
        items,
        troubles,
        left_out,
    } = pairing::pair(baseline, candidate, basis, &options);
    let rules = options.rules;
    let found = effects::effects(&items, basis, &candidate.arm, history);
    let common_shift = shift(&items, &found, basis, &rules);
    let relative_to = common_shift
        .as_ref()
        .filter(|_| options.question == Question::Gate)
        .map(|shift| shift.ratio.estimate);
    let judged_by = relative(&items, &found, relative_to);
    let judged = match options.question {
        Question::Confirmation => confirm(&judged_by, &rules),
        Question::Difference | Question::Gate => screen(&judged_by, &rules),
    };
    let speaker = Speaker {
        basis,
        question: options.question,
        rules,
        is_relative: relative_to.is_some(),
    };
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
            }
            .said(&speaker)
        });
    let mut comparison = Comparison {
        baseline: baseline.side(),
        candidate: candidate.side(),
        basis,
        caveats: caveats(baseline, candidate, options.force),
        cases: troubles.into_iter().map(troubled).chain(of_items).collect(),
        suite: SuiteVerdict {
            geometric_mean: suite::geometric_mean_of(&items, &found, basis, &candidate.arm),
            expected_false_alarms: match options.question {
                Question::Confirmation => rules.family_error,
                Question::Difference | Question::Gate => expected_false_alarms(&judged, &rules),
            },
            common_shift,
            ..SuiteVerdict::default()
        },
        differences: options.differences,
        left_out,
        rules,
    };
    comparison.recount();
    comparison
}

/// Arms of one run share their machine to the minute: what they differ by is the arms'.
fn shift(
    items: &[Item],
    found: &[Option<Effect>],
    basis: Basis,
    rules: &Rules,
) -> Option<CommonShift> {
    let timed = items
        .iter()
        .zip(found)
        .filter(|(item, _)| item.metric.name == Metric::TIME && item.obstacle.is_none());
    let ratios: Vec<RatioInterval> = timed
        .filter_map(|(_, effect)| Some(effect.as_ref()?.interval))
        .collect();
    let is_one_run = basis == Basis::Interleaved;
    common_shift(&ratios, rules.least_effect).filter(|_| !is_one_run)
}

/// What is judged: the ratio, for times as seen from the common shift.
fn relative(
    items: &[Item],
    found: &[Option<Effect>],
    shift: Option<f64>,
) -> Vec<Option<RatioInterval>> {
    let judged = items.iter().zip(found).map(|(item, effect)| {
        let interval = effect.as_ref()?.interval;
        let shift = shift.filter(|_| item.metric.name == Metric::TIME);
        Some(shift.map_or(interval, |shift| interval.relative_to(shift)))
    });
    judged.collect()
}

/// One item with all that was found.
struct Finding<'a> {
    item: &'a Item,
    effect: Option<&'a Effect>,
    by: Option<&'a RatioInterval>,
    judged: Option<&'a Judged>,
}

impl Finding<'_> {
    fn said(&self, speaker: &Speaker) -> CaseComparison {
        let position = self
            .judged
            .map_or(Position::Straddles, |judged| judged.position);
        let verdict = match &self.item.obstacle {
            Some(_) => Verdict::Inconclusive,
            None => {
                Verdict::of(position, self.item.metric.direction).unwrap_or(Verdict::Inconclusive)
            }
        };
        let by = self.by.map(shown);
        let ratio = self.effect.map(|effect| shown(&effect.interval));
        CaseComparison {
            case: self.item.case.clone(),
            metric: self.item.metric.clone(),
            verdict,
            suspect: self.judged.is_some_and(|judged| judged.suspect),
            ratio,
            relative: by.filter(|_| by != ratio),
            p_value: self.judged.map(|judged| judged.p_value),
            adjusted: self.judged.map(|judged| judged.adjusted),
            trouble: None,
            mark: self.item.excuse.clone(),
            note: speaker.note(self.item, self.effect, self.judged, verdict),
        }
    }
}

fn troubled((case, why): (String, String)) -> CaseComparison {
    CaseComparison {
        case,
        metric: Metric::time(),
        verdict: Verdict::Inconclusive,
        suspect: false,
        ratio: None,
        relative: None,
        p_value: None,
        adjusted: None,
        mark: None,
        note: "not compared: without a right result there is no speed".into(),
        trouble: Some(why),
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
