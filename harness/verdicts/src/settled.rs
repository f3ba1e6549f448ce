//! Which lasting changes of a level gates have spoken of, so that the history says no more of them.
//!
//! A gate is calibrated for what it has in sight: a night beside a baseline that is wholly from before a change. Where the suspects of such
//! a night were run again, what of it is news was confirmed and told; to tell from the history what that night did not call would be a false
//! alarm that nobody calibrated. Every other change is what the history alone knows: of nights whose suspects nobody ran again, and
//! of those that came too late, with the change in their baselines. So what was run again once, of one case or months ago, hides nothing else.
//!
//! A night without suspects has nothing to run again. Whether somebody would have done so, the last one before it that had some shows.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use assay_record::RunId;
use assay_store::{RunRow, SeriesKey};

use crate::gate::Confirmation;
use crate::nights::Place;
use crate::{CaseHistory, Confirmed, Gate, LocatedChange, Nights, Verdict};

/// Most nights that may have a change in sight: as many as a window leaves out, and the first.
const IN_SIGHT: usize = 3;

/// Most nights before one without suspects that are asked for theirs: as many as a usual baseline has.
const WALK: usize = 20;

/// Newest nights of a place that are looked at. What began before them is as if settled, where suspects were ever run again: it was told for
/// months.
const LOOKED_AT: usize = 100;

/// Lasting changes that gates have settled: by their series, the runs that they most likely began with.
pub type Settled = BTreeMap<SeriesKey, BTreeSet<RunId>>;

/// What became of the suspects of a night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspects {
    /// There was nothing to run again.
    None,
    /// All of them were run again.
    RunAgain,
    /// Some of them were not.
    Open,
}

/// What of a gate says what it has settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The last run that it compared with.
    pub last_of_baseline: Option<RunId>,
    /// What became of its suspects.
    pub suspects: Suspects,
}

impl From<&Gate> for Spoken {
    fn from(gate: &Gate) -> Self {
        Self {
            last_of_baseline: gate.comparison.baseline.runs.last().cloned(),
            suspects: gate.what_became_of_suspects(),
        }
    }
}

impl Gate {
    fn what_became_of_suspects(&self) -> Suspects {
        let suspects = self.suspects();
        let none = Confirmation::default();
        let confirmation = self.confirmation.as_ref().unwrap_or(&none);
        let is_settled = |case: &str| confirmation.same.contains(case) || confirmation.has(case);
        if suspects.iter().any(|(case, _)| !is_settled(case)) {
            Suspects::Open
        } else if confirmation.is_run() {
            Suspects::RunAgain
        } else {
            Suspects::None
        }
    }
}

impl Confirmed {
    /// Whether it tells a lasting change of its series: the change began between what it was compared with and its night.
    pub fn tells(&self, history: &CaseHistory, change: &LocatedChange) -> bool {
        let began = history.series.points.get(change.index);
        let is_between = |began: &RunId| {
            let first = self.baseline.first();
            *began <= self.night && first.is_some_and(|first| first < began)
        };
        change.verdict == Some(Verdict::Regressed)
            && began.is_some_and(|point| is_between(&point.run))
            && self.is_of(history)
    }
}

/// The changes of these series that gates have settled. `is_run_again` says of a place whether suspects were ever run again there, and `ask` of
/// a night what its gate says; each night is asked for once.
pub fn settled<E>(
    nights: &Nights<'_>,
    histories: &[CaseHistory],
    is_run_again: impl Fn(&Place) -> bool,
    ask: impl FnMut(&RunRow) -> Result<Spoken, E>,
) -> Result<Settled, E> {
    let mut asked = Asked {
        ask,
        known: BTreeMap::new(),
    };
    let mut settled = Settled::new();
    for history in histories.iter().filter(|of| !of.changes.is_empty()) {
        let key = &history.series.key;
        let place = Place {
            suite: key.suite.clone(),
            machine: key.machine.clone(),
            arm: key.arm.clone(),
        };
        if !is_run_again(&place) {
            continue;
        }
        let nights = nights.of(&place);
        let matters = history.changes.iter().filter(|of| of.verdict.is_some());
        for change in matters {
            let Some(began) = history.series.points.get(change.index) else {
                continue;
            };
            if asked.is_settled(nights, &began.run)? {
                let own = settled.entry(key.clone()).or_default();
                own.insert(began.run.clone());
            }
        }
    }
    Ok(settled)
}

struct Asked<F> {
    ask: F,
    known: BTreeMap<RunId, Spoken>,
}

impl<E, F: FnMut(&RunRow) -> Result<Spoken, E>> Asked<F> {
    /// Whether a night that has what began with a run in sight had its suspects run again.
    fn is_settled(&mut self, nights: &[&RunRow], began: &RunId) -> Result<bool, E> {
        let first = nights.partition_point(|row| row.run < *began);
        if first + LOOKED_AT < nights.len() {
            return Ok(true);
        }
        for at in (first..nights.len()).take(IN_SIGHT) {
            let last = self.of(nights[at])?.last_of_baseline.as_ref();
            if last.is_some_and(|last| last < began) && self.is_run_again(&nights[..=at])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the last of these nights that had suspects had them run again.
    fn is_run_again(&mut self, nights: &[&RunRow]) -> Result<bool, E> {
        for row in nights.iter().rev().take(WALK) {
            match self.of(row)?.suspects {
                Suspects::None => {}
                Suspects::RunAgain => return Ok(true),
                Suspects::Open => return Ok(false),
            }
        }
        Ok(false)
    }

    fn of(&mut self, row: &RunRow) -> Result<&Spoken, E> {
        Ok(match self.known.entry(row.run.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(open) => open.insert((self.ask)(row)?),
        })
    }
}
