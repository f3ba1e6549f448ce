//! What gates and comparisons say, as badges, numbers and short sentences. The values are `assay-verdicts`'s.

use assay_stats::Interval;
use assay_verdicts::gate::{Gate, State};
use assay_verdicts::{CaseComparison, LocatedChange, OfHistory, Told, TroubleKind, Verdict};
use serde::Serialize;

use super::part::{self, Badge, badge};
use crate::model::Said;
use crate::text::{self, clip};
use crate::words;

/// What is said of a night.
pub fn state(state: State) -> Badge {
    match state {
        State::Troubled => badge("bad", "✕", "failed"),
        State::Impossible => badge("bad", "↯", "impossible"),
        State::Regressed => badge("bad", "▼", "regressed"),
        State::NotMeasured => badge("warn", "∅", "nothing measured"),
        State::NoBaseline => badge("quiet", "○", "no baseline yet"),
        State::Suspected => badge("warn", "!", "suspected"),
        State::Moved => badge("warn", "↕", "moved"),
        State::Improved => badge("good", "▲", "improved"),
        State::Inconclusive => badge("quiet", "?", "inconclusive"),
        State::Known => badge("quiet", "▽", "known"),
        State::Unchanged => badge("good", "=", "unchanged"),
    }
}

/// What is said of a night in the end.
pub fn told(of: Told) -> Badge {
    match of {
        Told::Gate(state) => self::state(state),
        Told::History(OfHistory::StillRegressed) => badge("bad", "▼", "still regressed"),
        Told::History(OfHistory::WorseToStay) => badge("warn", "▼", "worse to stay"),
        Told::History(OfHistory::BetterToStay) => badge("good", "▲", "better to stay"),
    }
}

/// What is said of a case of which a confirmed regression may stand, or whose level may have changed to stay, though the newest night does
/// not call it.
pub fn still(of: Badge, stands: bool, lasting: Option<&LocatedChange>) -> Badge {
    let is_called = of.class == "bad" || of.word == "improved";
    match lasting.and_then(|change| change.verdict) {
        _ if stands && of.class != "bad" => told(Told::History(OfHistory::StillRegressed)),
        Some(Verdict::Regressed) if !is_called => told(Told::History(OfHistory::WorseToStay)),
        Some(Verdict::Improved) if !is_called => told(Told::History(OfHistory::BetterToStay)),
        _ => of,
    }
}

/// What is said of a metric of a case. What could not be told is no reason to shout.
pub fn case(case: &CaseComparison) -> Badge {
    let kind = case.trouble.as_ref().map(|trouble| trouble.kind);
    match (kind, case.verdict) {
        (Some(TroubleKind::Failed), _) => badge("bad", "✕", "failed"),
        (Some(TroubleKind::Wrong), _) => badge("bad", "≠", "wrong"),
        (Some(TroubleKind::Impossible), _) => badge("bad", "↯", "impossible"),
        (None, Verdict::Regressed) if case.mark.is_some() => badge("quiet", "▽", "known"),
        (None, Verdict::Inconclusive) if case.still.is_some() => {
            told(Told::History(OfHistory::StillRegressed))
        }
        (None, Verdict::Inconclusive) => badge("quiet", "?", "inconclusive"),
        (None, verdict) => part::verdict(verdict),
    }
}

/// The same within a gate, where a suspect awaits being run again.
pub fn case_of(gate: &Gate, case: &CaseComparison) -> Badge {
    if is_suspected(gate, case) {
        badge("warn", "!", "suspected")
    } else {
        self::case(case)
    }
}

/// Whether it should be run again before anybody is told, and was not.
pub fn is_suspected(gate: &Gate, case: &CaseComparison) -> bool {
    let is_open = case.verdict == Verdict::Inconclusive && case.trouble.is_none();
    gate.is_open(case) && case.suspect && case.mark.is_none() && is_open
}

/// Whether it got worse and nobody knew.
pub fn is_regressed(case: &CaseComparison) -> bool {
    case.trouble.is_none() && case.verdict == Verdict::Regressed && case.mark.is_none()
}

/// Whether it got better.
pub fn is_improved(case: &CaseComparison) -> bool {
    case.trouble.is_none() && case.verdict == Verdict::Improved
}

/// A ratio as a change.
#[derive(Serialize)]
pub struct Effect {
    /// `+10.2 %`
    pub by: String,
    /// `+8.1 to +12.4 %`
    pub range: String,
    /// What it was before it was confirmed: `at first +10.4 %, +8.0 to +12.9 %`; empty where it was not.
    pub first: String,
    /// For sorting.
    pub sort: String,
}

/// A ratio as a change with its interval.
pub fn effect(ratio: &Interval) -> Effect {
    let [by, low, high] = words::changes(ratio);
    Effect {
        by: format!("{by} %"),
        range: format!("{low} to {high} %"),
        first: String::new(),
        sort: format!("{:.5}", ratio.estimate),
    }
}

/// The effect in a case: once it was confirmed that which was confirmed, with the first beside it.
pub fn effect_of(case: &CaseComparison) -> Option<Effect> {
    let first = case.at_first.as_ref().map(effect);
    Some(Effect {
        first: first.map_or(String::new(), |Effect { by, range, .. }| {
            format!("at first {by}, {range}")
        }),
        ..effect(case.ratio.as_ref()?)
    })
}

/// How far a ratio is from no change, in either direction.
pub fn size(case: &CaseComparison) -> f64 {
    case.ratio.map_or(0.0, |ratio| ratio.estimate.ln().abs())
}

/// A sentence: its first letter large, a full stop at its end.
pub fn sentence(said: &str) -> String {
    let mut letters = said.chars();
    let first = letters.next().map(char::to_uppercase);
    let whole: String = first.into_iter().flatten().chain(letters).collect();
    let end = if whole.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{whole}{end}")
}

/// What is said of a night in the end, in a sentence or two.
pub fn headline(gate: &Gate, said: Option<&Said<'_>>) -> String {
    let own = headline_of_gate(gate);
    let Some(said) = said else {
        return own;
    };
    let first = match said.told {
        Told::Gate(_) => return own,
        Told::History(OfHistory::StillRegressed) => {
            let verb = if said.standing == 1 {
                "stands"
            } else {
                "stand"
            };
            let known = words::count(said.standing, "regression");
            format!("{known} confirmed before still {verb}")
        }
        Told::History(OfHistory::WorseToStay | OfHistory::BetterToStay) => format!(
            "the level of {} series changed to stay, {} for the worse and {} for the better, as the history shows and nobody confirmed",
            said.lasting.len(),
            said.counts.worse,
            said.counts.better
        ),
    };
    format!("{} Of the night itself: {own}", sentence(&first))
}

/// What a gate says of a night, in a sentence.
fn headline_of_gate(gate: &Gate) -> String {
    let counts = &gate.comparison.suite.counts;
    let compared = gate.comparison.cases.len() - counts.without_result();
    let of = words::count(compared, "comparison");
    let called = gate.comparison.cases.iter();
    let called = called.filter(|case| match gate.state {
        State::Improved => is_improved(case),
        _ => is_regressed(case),
    });
    let confirmed = match certainty(called) {
        "confirmed" => ", confirmed by running the suspects again",
        "not all run again" => ", not all of them run again",
        _ => ", not run again yet",
    };
    let said = match gate.state {
        State::Troubled => format!(
            "{} failed or gave a wrong output, which is worse than slow",
            words::count(counts.troubled, "case")
        ),
        State::Impossible => words::impossible(counts.impossible),
        State::Regressed => format!("{} of {of} regressed{confirmed}", counts.regressed),
        State::NotMeasured => "nothing was measured that the baseline has".into(),
        State::NoBaseline => "no earlier run has anything to compare with".into(),
        State::Suspected => format!(
            "{} may have changed and should be run again before anybody is told",
            words::count(suspected(gate), "comparison")
        ),
        State::Moved => "the measurement moved, and what was started is the same on both sides: it is the machine, or something that is not pinned".into(),
        State::Improved => format!("{} of {of} improved{confirmed}, and nothing regressed", counts.improved),
        State::Inconclusive if counts.still > 0 => format!(
            "nothing new is known to have changed; {} of {of} regressed as an earlier night showed, and {} cannot be told",
            counts.still, counts.inconclusive
        ),
        State::Inconclusive => format!(
            "nothing is known to have changed; {} of {of} cannot be told",
            counts.inconclusive
        ),
        State::Known => format!(
            "{} regressed as marks say, and nothing else changed",
            words::count(counts.excused, "comparison")
        ),
        State::Unchanged => format!("all of {of} are unchanged"),
    };
    sentence(&said)
}

/// Whether what is called was run again, in a word; empty where nothing is called.
pub fn certainty<'a>(called: impl Iterator<Item = &'a CaseComparison>) -> &'static str {
    let (again, not): (Vec<_>, Vec<_>) = called.partition(|case| case.at_first.is_some());
    match (again.is_empty(), not.is_empty()) {
        (true, true) => "",
        (false, true) => "confirmed",
        (true, false) => "not run again",
        (false, false) => "not all run again",
    }
}

/// How many await being run again.
pub fn suspected(gate: &Gate) -> usize {
    let cases = gate.comparison.cases.iter();
    cases.filter(|case| is_suspected(gate, case)).count()
}

/// An expected number of false alarms: `0.04`, `<0.01`.
pub fn false_alarms(expected: f64) -> String {
    match expected {
        0.0 => "0".into(),
        ..0.005 => "<0.01".into(),
        _ => format!("{expected:.2}"),
    }
}

/// Texts from outside for a list, clipped, and how many more there are.
pub fn listed(texts: &[String], most: usize) -> (Vec<String>, usize) {
    let shown = texts.iter().take(most);
    let shown = shown.map(|words| clip(words, 2 * text::CELL).into_owned());
    (shown.collect(), texts.len().saturating_sub(most))
}

#[cfg(test)]
mod tests {
    use assay_verdicts::gate::State;

    use super::{state, still};

    #[test]
    fn a_regression_that_stands_is_no_quiet_case() {
        assert_eq!(still(state(State::Inconclusive), true, None).class, "bad");
        assert_eq!(
            still(state(State::Inconclusive), false, None).class,
            "quiet"
        );
        // What is worse is said.
        assert_eq!(still(state(State::Troubled), true, None).word, "failed");
    }
}
