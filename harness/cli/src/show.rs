//! Verdict values as text for a terminal, or as JSON.

pub mod figures;
pub mod junit;
pub mod markdown;
mod matrix;
pub mod verdicts;

use std::collections::BTreeSet;

use anyhow::Result;
use assay_protocol::Unit;
use assay_record::{EventKind, RunStatus};
use assay_reports::{format, words};
use assay_stats::Interval;
use assay_store::CaseRow;
use assay_verdicts::ceilings::Fraction;
use assay_verdicts::{
    CaseReproduction, CaseState, CaseSummary, Energy, Likeness, MetricSummary, Reproduction,
    RunSummary, Verdict,
};
use serde::Serialize;

/// Longest text in a table's cell.
const REASON: usize = 300;

/// A value as pretty JSON on standard output.
pub fn json(value: &impl Serialize) -> Result<()> {
    crate::say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A run: its cases, then what went wrong, then one line.
pub fn run(summary: &RunSummary) {
    let row = &summary.run;
    let dirty = if row.dirty {
        ", with uncommitted changes"
    } else {
        ""
    };
    let commit = row.commit.as_deref().map_or("no commit".into(), |c| {
        c.chars().take(12).collect::<String>()
    });
    crate::say!(
        "{}  {}  on {}  at {commit}{dirty}",
        row.run,
        row.suite,
        row.machine
    );
    if let Some(event) = summary
        .events
        .iter()
        .find(|event| event.kind == EventKind::Imported)
    {
        crate::say!("{}", event.text);
    }
    if row.status != RunStatus::Complete {
        crate::say!(
            "this run is {}: what follows is not all",
            format!("{:?}", row.status).to_lowercase()
        );
    }
    let arms: BTreeSet<&str> = summary.cases.iter().map(|case| &*case.case.arm).collect();
    let name = |case: &CaseSummary| match arms.len() {
        1 => case.case.case.clone(),
        _ => format!("{}  {}", case.case.case, case.case.arm),
    };
    let names: Vec<String> = summary.cases.iter().map(name).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for (case, name) in summary.cases.iter().zip(&names) {
        crate::say!("  {name:<width$}  {}", case_line(case));
        let others = measured_by(case).map(|one| figures::lines(case, one));
        for line in others.into_iter().flatten() {
            crate::say!("{line}");
        }
        for line in warned(&case.case) {
            crate::say!("{line}");
        }
    }
    let count =
        |of: fn(&CaseState) -> bool| summary.cases.iter().filter(|case| of(&case.state)).count();
    crate::say!(
        "{} ok, {} failed, {} wrong, {} skipped",
        count(|state| *state == CaseState::Ok),
        count(|state| matches!(state, CaseState::Failed(_))),
        count(|state| matches!(state, CaseState::Wrong(_) | CaseState::Impossible(_))),
        count(|state| matches!(state, CaseState::Skipped(_))),
    );
}

/// What a case spent of privacy, and why that may protect less than one may think (the ledger is in the record); and why a held-out loss may not
/// be that of new data.
fn warned(case: &CaseRow) -> impl Iterator<Item = String> {
    let words = [
        ("privacy", "privacy"),
        ("privacy.warning", "warning"),
        ("corpus.warning", "warning"),
    ];
    let line = |(fact, name): (&str, &str)| {
        let value = case.facts.get(fact)?;
        Some(format!("    {name}: {}", plain(value)))
    };
    words.map(line).into_iter().flatten()
}

fn case_line(case: &CaseSummary) -> String {
    match &case.state {
        CaseState::Ok => measured(case),
        CaseState::Skipped(reason) => format!("skipped: {}", plain(reason)),
        CaseState::Failed(reason) => format!("FAILED: {}", plain(reason)),
        CaseState::Wrong(reason) => format!("WRONG: {}", plain(reason)),
        CaseState::Impossible(reason) => format!("IMPOSSIBLE: {}", plain(reason)),
    }
}

/// The metric of a case that its line shows. What was measured may be no time at all.
fn measured_by(case: &CaseSummary) -> Option<&MetricSummary> {
    case.metrics.iter().find(|one| one.estimate.is_some())
}

fn measured(case: &CaseSummary) -> String {
    let measured = measured_by(case);
    let Some((time, estimate)) = measured.and_then(|one| Some((one, one.estimate.as_ref()?)))
    else {
        return "no estimate".into();
    };
    let rate = time.rates.first().map_or(String::new(), |(unit, rate)| {
        format!(
            "  {:>22}",
            format::interval(rate, &Unit::from(unit.as_str())).to_string()
        )
    });
    let fractions: Vec<String> = case.fractions.iter().map(fraction).collect();
    let fractions = fractions.concat();
    let time_text = format::interval(estimate, &time.metric.unit).to_string();
    let unresolved = if case.is_unresolved() {
        ", unresolved"
    } else {
        ""
    };
    let doubts = doubts(&case.case) + unresolved;
    let lacks = case.energy_lacks.as_ref();
    let lacks = lacks.map_or(String::new(), |why| format!(", no energy: {why}"));
    let energy = case.energy.as_ref().map_or(lacks, energy);
    format!(
        "{time_text:>22}{rate}{fractions}  {} rounds{doubts}{energy}",
        time.rounds.len()
    )
}

/// A result beside a ceiling.
fn fraction(fraction: &Fraction) -> String {
    let percent = format::percent(&fraction.of_ceiling);
    format!("  {percent} of {}", fraction.limit.name())
}

/// Energy of an iteration. Of one round there is no interval, but what the counter's period may have done is known.
fn energy(energy: &Energy) -> String {
    let joules = format::interval(&energy.estimate, &Unit::Joules);
    let within = format::scientific((energy.error * 1000.0).ceil() / 10.0);
    let per_item = energy.per_item.as_ref().map_or(String::new(), |joules| {
        format!(", {} per item", format::interval(joules, &Unit::Joules))
    });
    let of_several = match &energy.gpus[..] {
        [] => "counter".into(),
        gpus => {
            let numbers: Vec<String> = gpus.iter().map(ToString::to_string).collect();
            format!("counters of GPUs {}", numbers.join(", "))
        }
    };
    format!(", {joules} each{per_item} ({of_several} within {within} %)")
}

/// What speaks against the rounds that count: those disturbed, those that never settled, those whose samples were not kept.
fn doubts(case: &CaseRow) -> String {
    let all = case.good_rounds().count();
    let disturbed = case
        .good_rounds()
        .filter(|round| !round.disturbed.is_empty());
    let unsettled = case.good_rounds().filter(|round| !round.steady);
    let say = |count: usize, what: &str| match count {
        0 => String::new(),
        _ => format!(", {what} in {count} of {all}"),
    };
    let means = case.good_rounds().filter(|round| round.is_summary());
    say(disturbed.count(), "disturbed")
        + &say(unsettled.count(), "never settled")
        + &say(means.count(), "a summary alone")
}

/// A reproduction: three parts, the cases, and why.
pub fn reproduction(verdict: &Reproduction) {
    crate::say!("{} reproduces {}", verdict.again, verdict.original);
    if !verdict.explanations.is_empty() {
        crate::say!("what differs between the two:");
    }
    for explanation in &verdict.explanations {
        crate::say!("  {}", plain(&explanation.text));
    }
    crate::say!(
        "inputs:  {}{}",
        likeness(&verdict.inputs),
        alike(
            &verdict.inputs,
            verdict.cases.iter().map(|case| &case.inputs)
        )
    );
    crate::say!(
        "outputs: {}{}",
        likeness(&verdict.outputs),
        alike(
            &verdict.outputs,
            verdict.cases.iter().map(|case| &case.outputs)
        )
    );
    crate::say!("speed:   {}", speed(verdict));
    let name = verdict.naming();
    for case in &verdict.cases {
        case_reproduction(case, &name(case));
    }
    if let Some(case) = verdict
        .cases
        .iter()
        .find(|case| is_quietly_inconclusive(case))
    {
        crate::say!(
            "inconclusive, for example {}: {}",
            name(case),
            plain(&case.note)
        );
        crate::say!("(--json gives the reason of each)");
    }
}

/// In how many cases a part is alike, where it cannot be said of all.
fn alike<'a>(whole: &Likeness, of_cases: impl Iterator<Item = &'a Likeness> + Clone) -> String {
    let is_alike =
        |part: &&Likeness| matches!(part, Likeness::Identical | Likeness::WithinTolerance);
    match whole {
        Likeness::Unknown(_) => format!(
            " ({} of {} cases are alike)",
            of_cases.clone().filter(is_alike).count(),
            of_cases.count()
        ),
        _ => String::new(),
    }
}

/// The speed of all cases: on another machine a comparison, which no reproduction can be.
fn speed(verdict: &Reproduction) -> String {
    match (&verdict.comparison, verdict.mean_ratio()) {
        (Some(why), Some((ratio, cases))) => format!(
            "a comparison, not a reproduction: {:+.1} % (geometric mean; cases: {cases}); {}",
            (ratio - 1.0) * 100.0,
            plain(why)
        ),
        _ => word(verdict.speed).to_owned(),
    }
}

/// The usual case on one run per side: its reason is said once for all.
fn is_quietly_inconclusive(case: &CaseReproduction) -> bool {
    case.speed == Verdict::Inconclusive && !case.note.starts_with("not confirmed")
}

fn case_reproduction(case: &CaseReproduction, name: &str) {
    let ratio = case
        .ratio
        .as_ref()
        .map_or("not compared".into(), ratio_text);
    crate::say!("  {:<14} {ratio:<32} {name}", word(case.speed));
    for (name, part) in [("inputs", &case.inputs), ("outputs", &case.outputs)] {
        if matches!(part, Likeness::Differs(_) | Likeness::Unknown(_)) {
            crate::say!("      {name}: {}", likeness(part));
        }
    }
    let is_explained = case.speed == Verdict::Unchanged || is_quietly_inconclusive(case);
    if !is_explained && !case.note.is_empty() {
        crate::say!("      {}", plain(&case.note));
    }
}

/// A ratio of times as a change: `+10.2 % [+8.1, +12.4]`.
fn ratio_text(ratio: &Interval) -> String {
    let percent = |x: f64| (x - 1.0) * 100.0;
    format!(
        "{:+6.1} % [{:+.1}, {:+.1}]",
        percent(ratio.estimate),
        percent(ratio.low),
        percent(ratio.high)
    )
}

fn likeness(likeness: &Likeness) -> String {
    match likeness {
        Likeness::Identical => "identical".into(),
        Likeness::WithinTolerance => "other bits, within tolerance".into(),
        Likeness::Differs(what) => format!("DIFFER: {}", plain(what)),
        Likeness::Unknown(why) => format!("not comparable: {}", plain(why)),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "REGRESSED",
        Verdict::Improved => "improved",
        Verdict::Unchanged => "unchanged",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// Text from outside, without what a terminal would obey, and not too long.
pub fn plain(text: &str) -> String {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = visible.take(REASON).collect();
    if text.chars().count() > REASON {
        format!("{short}...")
    } else {
        short
    }
}
