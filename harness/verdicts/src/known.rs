//! What is no news: a regression that was confirmed and that nobody mended is called again by gates whose baselines still reach back to before
//! it, or have runs of both levels. It is told once, and stands.
//!
//! A shift of a whole suite is probed by a few of its cases, each night by those that moved the most. What later nights find of it in other cases
//! was told with the first of them: it stands, and is no news.

use std::collections::BTreeMap;

use assay_record::RunId;

use crate::confirmed::Called;
use crate::{CaseComparison, CaseHistory, Confirmed, Gate, Verdict};

/// What was told before.
pub(crate) struct Known {
    /// The night that showed it first.
    pub night: RunId,
    /// Whether that told of other cases, and of a shift of the whole suite.
    pub is_of_shift: bool,
}

/// Takes out of what was confirmed, oldest first, what an earlier one of them explains, says of what belongs to a shift that an earlier one told
/// that it does, and takes out of gates what is called or suspected and is no more than either.
pub fn settle<'a>(
    gates: impl IntoIterator<Item = &'a mut Gate>,
    confirmed: &mut Vec<Confirmed>,
    histories: &[CaseHistory],
) {
    let mut kept: Vec<Confirmed> = Vec::with_capacity(confirmed.len());
    for mut one in confirmed.drain(..) {
        let own: Vec<_> = histories.iter().filter(|of| one.is_of(of)).collect();
        let called = one.called();
        // What was accepted is told once, too, and takes nothing from what was not.
        let is_known = |history: &&CaseHistory| {
            let may = |by: &Confirmed| !by.is_accepted(history) || one.is_accepted(history);
            called.is_some_and(|called| first(&kept, history, &called, may).is_some())
        };
        if own.iter().any(is_known) {
            continue;
        }
        let of_shift = |history: &&CaseHistory| {
            let may = |by: &Confirmed| is_open(by, histories) || one.is_accepted(history);
            of_shift(&kept, history, &called?, may).map(|by| by.night.clone())
        };
        one.part_of = own.iter().find_map(of_shift);
        kept.push(one);
    }
    *confirmed = kept;
    if confirmed.is_empty() {
        return;
    }
    for gate in gates {
        let known = known(gate, confirmed, histories);
        if !known.is_empty() {
            gate.settle_known(&known);
        }
    }
}

/// Of what a gate calls or suspects, what was confirmed before, and on which night.
fn known(
    gate: &Gate,
    confirmed: &[Confirmed],
    histories: &[CaseHistory],
) -> BTreeMap<(String, String), Known> {
    let of_series = |history: &CaseHistory| {
        let case = gate.says_of(history).filter(|case| is_news(case))?;
        let called = Called {
            night: &gate.run,
            baseline: gate.comparison.baseline_of(case),
            ratio: case.beside_baseline()?,
        };
        let own = |by: &Confirmed| !by.is_accepted(history);
        let of_others = |by: &Confirmed| is_open(by, histories);
        let known = |found: &Confirmed, is_of_shift| Known {
            night: found.night.clone(),
            is_of_shift,
        };
        let found = first(confirmed, history, &called, own).map(|found| known(found, false));
        // What is judged relative to the suite and was not run again is of something else.
        let is_run_again = case.at_first.is_some();
        let of_shift = || of_shift(confirmed, history, &called, of_others).filter(|_| is_run_again);
        let found = found.or_else(|| of_shift().map(|found| known(found, true)))?;
        Some((case.name(), found))
    };
    histories.iter().filter_map(of_series).collect()
}

/// The first that explains it, of those that may.
fn first<'c>(
    confirmed: &'c [Confirmed],
    history: &CaseHistory,
    called: &Called<'_>,
    may: impl Fn(&Confirmed) -> bool,
) -> Option<&'c Confirmed> {
    let mut own = confirmed.iter().filter(|one| one.is_of(history));
    own.find(|one| may(one) && one.explains(history, called).unwrap_or(false))
}

/// The first that told of a shift of the whole suite which it belongs to, of those that may.
fn of_shift<'c>(
    confirmed: &'c [Confirmed],
    history: &CaseHistory,
    called: &Called<'_>,
    may: impl Fn(&Confirmed) -> bool,
) -> Option<&'c Confirmed> {
    let told = |by: &&Confirmed| by.explains_with_its_suite(history, called).unwrap_or(false);
    // The first of them all is no part of another.
    let mut first_told = confirmed.iter().filter(|by| by.part_of.is_none());
    first_told.find(|by| told(by) && may(by))
}

/// Whether nobody accepted it in its own series.
fn is_open(one: &Confirmed, histories: &[CaseHistory]) -> bool {
    let mut own = histories.iter().filter(|history| one.is_of(history));
    !own.any(|history| one.is_accepted(history))
}

/// Whether it got worse, or may have, and nothing excuses it.
fn is_news(case: &CaseComparison) -> bool {
    let is_called = case.verdict == Verdict::Regressed || case.suspect;
    is_called && case.trouble.is_none() && case.mark.is_none()
}
