//! What the newest night says of a series: the gate's verdict, as every other page has it.

use assay_verdicts::{CaseHistory, Onset};
use serde::Serialize;

use crate::model::Library;
use crate::pages::finding::{self, End};
use crate::pages::judged::{self, Effect};
use crate::pages::part::{self, Badge, Link, badge, cell};
use crate::text::clip;
use crate::words;

/// What is said of a case that was taken out.
const GONE: &str = "no run of the newest night has it any more: it is gone from its suite, and nothing stands of it";

/// Longest reason, in characters.
const NOTE: usize = 1000;

/// A night's verdict on a series.
#[derive(Serialize)]
pub struct VerdictView {
    badge: Badge,
    effect: Option<Effect>,
    run: Link,
    at: String,
    /// The window of runs that it is compared with, and what it is called; empty where there is none.
    baseline: String,
    basis: String,
    note: String,
    mark: String,
    /// What the effect was confirmed against.
    reference: Option<End>,
    /// How far the level moved where it began, and after which run; empty where the series does not tell.
    step: String,
    after: Option<End>,
}

/// `None` where no night judges the series.
pub fn view(library: &Library<'_>, history: &CaseHistory) -> Option<VerdictView> {
    let series = &history.series;
    let night = library.night_of(series)?;
    let row = library.night_row(night)?;
    let gate = &night.gate;
    let comparison = &gate.comparison;
    let own = comparison
        .cases
        .iter()
        .filter(|case| case.case == series.key.case);
    // What failed has one row, whatever is measured of it.
    let case = own
        .filter(|case| case.trouble.is_some() || case.metric.name == series.key.metric)
        .min_by_key(|case| case.trouble.is_none());
    let left_out = || {
        let mut left_out = comparison.left_out.iter();
        left_out.find(|left| left.case == series.key.case)
    };
    let (badge, note) = match case {
        Some(case) => {
            let trouble = case.trouble.as_ref().map(ToString::to_string);
            let note = trouble.unwrap_or_else(|| case.note.clone());
            (judged::case_of(gate, case), note)
        }
        None if library.is_gone(&series.key) => (part::gone(), GONE.to_owned()),
        None => (
            badge("quiet", "○", "not compared"),
            left_out()?.note.clone(),
        ),
    };
    let stands = library.stands(history);
    let (of_night, badge) = (badge.word, judged::still(badge, stands, None));
    let note = if badge.word == of_night {
        note
    } else {
        format!("what was confirmed before stands; the night by itself: {of_night}, {note}")
    };
    let is_confirmed = case.is_some_and(|case| case.at_first.is_some());
    let confirmation = gate.confirmation.as_ref().filter(|_| is_confirmed);
    let reference = confirmation.and_then(|found| found.reference.as_ref());
    let own = case.map_or(&comparison.baseline.runs[..], |case| {
        comparison.baseline_of(case)
    });
    let onset = reference.and_then(|_| Onset::of(series, own, &gate.run));
    let has_baseline = !comparison.baseline.runs.is_empty();
    let mark = case.and_then(|case| case.mark.as_ref());
    Some(VerdictView {
        badge,
        effect: case.and_then(judged::effect_of),
        run: part::run_link(&row.run),
        at: part::started(library, row),
        baseline: if has_baseline {
            cell(&format!("{} ({})", gate.window, comparison.baseline.label))
        } else {
            String::new()
        },
        basis: if has_baseline {
            judged::sentence(&words::basis_of(comparison, case))
        } else {
            String::new()
        },
        note: judged::sentence(&clip(&note, NOTE)),
        mark: mark.map_or(String::new(), |mark| cell(&mark.to_string())),
        reference: reference.and_then(|found| finding::end(library, &found.run)),
        step: onset
            .as_ref()
            .map_or(String::new(), |onset| words::percent(onset.step)),
        after: onset.and_then(|onset| finding::end(library, &onset.last_before.run)),
    })
}
