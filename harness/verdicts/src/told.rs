//! What is said of a night in the end: by its gate, by what was confirmed before and stands, and by what lasts in the histories and no gate
//! settled. One word for the line of a night, its badges and programs.
//!
//! A gate compares with a window of runs, which gets used to what nobody mends; and where a level has changed to stay within that window it
//! cannot tell. So a history may know of a night what its gate does not.

use serde::{Deserialize, Serialize};

use crate::gate::State;
use crate::{CaseComparison, CaseHistory, Gate, LocatedChange, Verdict};

/// What is said of a night.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Told {
    /// What its gate says.
    Gate(State),
    /// What histories say, where that is graver, or where the gate cannot tell.
    History(OfHistory),
}

/// What histories say of a night.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfHistory {
    /// What was confirmed before still stands.
    StillRegressed,
    /// A level got worse to stay, which nobody confirmed.
    WorseToStay,
    /// A level got better to stay, which nobody confirmed.
    BetterToStay,
}

/// How many levels changed to stay where a night was, which its gate does not call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lasting {
    /// For the worse.
    pub worse: usize,
    /// For the better.
    pub better: usize,
    /// Of how many of them the gate cannot tell.
    pub inconclusive: usize,
    /// How many of them the gate calls unchanged: its baseline is of the new level by now.
    #[serde(default)]
    pub unchanged: usize,
}

impl Told {
    /// By the state of a gate, how many confirmed regressions still stand there, and what lasts.
    pub fn of(state: State, standing: usize, lasting: Lasting) -> Self {
        let history = match () {
            () if standing > 0 => Some(OfHistory::StillRegressed),
            () if lasting.worse > 0 => Some(OfHistory::WorseToStay),
            () if lasting.better > 0 => Some(OfHistory::BetterToStay),
            () => None,
        };
        match (state, history) {
            (_, None)
            | (State::Troubled | State::Impossible | State::Regressed | State::NotMeasured, _)
            // What should be run again, and what moved, is news; so is what got better by the night itself.
            | (
                State::Suspected | State::Moved | State::Improved,
                Some(OfHistory::BetterToStay),
            ) => Self::Gate(state),
            (_, Some(history)) => Self::History(history),
        }
    }

    /// The gravest of what is said of the runs of a night; `None` of none.
    pub fn gravest(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().min_by_key(|told| told.urgency())
    }

    /// Its place in a list that begins with what somebody should look at.
    pub fn urgency(self) -> u8 {
        match self {
            Self::Gate(State::Troubled) => 0,
            Self::Gate(State::Impossible) => 1,
            Self::Gate(State::Regressed) => 2,
            Self::History(OfHistory::StillRegressed) => 3,
            Self::History(OfHistory::WorseToStay) => 4,
            Self::Gate(State::Suspected) => 5,
            Self::Gate(State::NotMeasured) => 6,
            Self::Gate(State::Moved) => 7,
            Self::Gate(State::Improved) => 8,
            Self::History(OfHistory::BetterToStay) => 9,
            Self::Gate(State::Inconclusive) => 10,
            Self::Gate(State::Known) => 11,
            Self::Gate(State::Unchanged) => 12,
            Self::Gate(State::NoBaseline) => 13,
        }
    }
}

impl std::ops::AddAssign for Lasting {
    fn add_assign(&mut self, other: Self) {
        self.worse += other.worse;
        self.better += other.better;
        self.inconclusive += other.inconclusive;
        self.unchanged += other.unchanged;
    }
}

impl Lasting {
    /// Counts one.
    pub fn add(&mut self, change: &LocatedChange, case: Option<&CaseComparison>) {
        match change.verdict {
            Some(Verdict::Regressed) => self.worse += 1,
            Some(Verdict::Improved) => self.better += 1,
            Some(Verdict::Unchanged | Verdict::Inconclusive) | None => return,
        }
        match case
            .filter(|case| case.trouble.is_none())
            .map(|case| case.verdict)
        {
            Some(Verdict::Inconclusive) => self.inconclusive += 1,
            Some(Verdict::Unchanged) => self.unchanged += 1,
            Some(Verdict::Regressed | Verdict::Improved) | None => {}
        }
    }
}

impl CaseHistory {
    /// The last lasting change of the level, if it matters and no mark says that it is known.
    pub fn lasting(&self) -> Option<&LocatedChange> {
        let last = self.changes.last()?;
        (last.verdict.is_some() && last.mark.is_none()).then_some(last)
    }

    /// The same, if the gate on a night of the series does not call the case itself.
    pub fn lasting_beside(&self, gate: &Gate) -> Option<&LocatedChange> {
        let change = self.lasting()?;
        let is_called = |case: &CaseComparison| {
            case.trouble.is_none() && matches!(case.verdict, Verdict::Regressed | Verdict::Improved)
        };
        let is_told = gate.says_of(self).is_some_and(is_called);
        (!is_told).then_some(change)
    }
}

impl Gate {
    /// What it says of a metric of a case, as a series has it; of what failed, whatever is measured of it.
    pub fn says_of(&self, history: &CaseHistory) -> Option<&CaseComparison> {
        let key = &history.series.key;
        if key.arm != self.comparison.candidate.arm {
            return None;
        }
        let own = self
            .comparison
            .cases
            .iter()
            .filter(|case| case.case == key.case);
        own.filter(|case| case.trouble.is_some() || case.metric.name == key.metric)
            .min_by_key(|case| case.trouble.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::{Lasting, OfHistory, Told};
    use crate::gate::State;

    #[test]
    fn told_of_a_night_is_the_gravest_that_is_known() {
        let worse = Lasting {
            worse: 1,
            better: 2,
            inconclusive: 3,
            unchanged: 0,
        };
        let better = Lasting { worse: 0, ..worse };
        let none = Lasting::default();
        for (state, standing, lasting, said) in [
            (State::Inconclusive, 0, none, "inconclusive"),
            (State::Inconclusive, 0, worse, "worse_to_stay"),
            (State::Inconclusive, 0, better, "better_to_stay"),
            (State::Unchanged, 1, worse, "still_regressed"),
            (State::Troubled, 1, worse, "troubled"),
            (State::Regressed, 0, worse, "regressed"),
            (State::Suspected, 0, worse, "worse_to_stay"),
            (State::Suspected, 0, better, "suspected"),
            (State::Improved, 0, worse, "worse_to_stay"),
            (State::Improved, 0, better, "improved"),
        ] {
            let told = Told::of(state, standing, lasting);
            let text = serde_json::to_value(told).unwrap();
            assert_eq!(text, said, "{state:?} {standing} {lasting:?}");
            assert_eq!(serde_json::from_value::<Told>(text).unwrap(), told);
        }
    }

    #[test]
    fn told_worse_comes_before_what_cannot_be_told() {
        let inconclusive = Told::Gate(State::Inconclusive).urgency();
        assert!(Told::History(OfHistory::WorseToStay).urgency() < inconclusive);
        assert!(Told::History(OfHistory::BetterToStay).urgency() < inconclusive);
    }
}
