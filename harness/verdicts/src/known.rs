//! What is no news: a regression that was confirmed and that nobody mended is called again by gates whose baselines still reach back to before
//! it, or have runs of both levels. It is told once, and stands.

use std::collections::BTreeMap;

use assay_record::RunId;

use crate::confirmed::Called;
use crate::{CaseComparison, CaseHistory, Confirmed, Gate, Verdict};

/// Takes out of what was confirmed, oldest first, what an earlier one of them explains, and out of gates what is called or suspected and is
/// no more than that.
pub fn settle<'a>(
    gates: impl IntoIterator<Item = &'a mut Gate>,
    confirmed: &mut Vec<Confirmed>,
    histories: &[CaseHistory],
) {
    let mut kept: Vec<Confirmed> = Vec::with_capacity(confirmed.len());
    for one in confirmed.drain(..) {
        let own = histories.iter().filter(|history| one.is_of(history));
        let called = one.called();
        // What was accepted is told once, too, and takes nothing from what was not.
        let is_known = |history: &CaseHistory| {
            let may = |by: &Confirmed| !by.is_accepted(history) || one.is_accepted(history);
            called.is_some_and(|called| first(&kept, history, &called, may).is_some())
        };
        if !own.into_iter().any(is_known) {
            kept.push(one);
        }
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
) -> BTreeMap<(String, String), RunId> {
    let of_series = |history: &CaseHistory| {
        let case = gate.says_of(history).filter(|case| is_news(case))?;
        let called = Called {
            night: &gate.run,
            baseline: &gate.comparison.baseline.runs,
            ratio: case.beside_baseline()?,
        };
        let is_open = |by: &Confirmed| !by.is_accepted(history);
        let known = first(confirmed, history, &called, is_open)?;
        Some((case.name(), known.night.clone()))
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

/// Whether it got worse, or may have, and nothing excuses it.
fn is_news(case: &CaseComparison) -> bool {
    let is_called = case.verdict == Verdict::Regressed || case.suspect;
    is_called && case.trouble.is_none() && case.mark.is_none()
}
