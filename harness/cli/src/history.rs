//! Histories of a case as text for a terminal.

use assay_protocol::{Direction, Metric};
use assay_reports::{format, words};
use assay_verdicts::{CaseHistory, Change, LocatedChange, Mark, Point, Series, Spot, Verdict};

use crate::chart;
use crate::show::plain;

/// Most changes of the machine that are listed at one place.
const CHANGES: usize = 8;

/// Prints the histories of a case: for each series a chart, its changes, its marks and its last runs.
pub fn print(case: &str, histories: &[CaseHistory], last: usize) {
    crate::say!("{}", plain(case));
    if histories.is_empty() {
        crate::say!("no run has a value of it: `assay show` says why");
    }
    let mut ordered: Vec<&CaseHistory> = histories.iter().collect();
    ordered.sort_by_key(|history| place(&history.series));
    for history in ordered {
        crate::say!("");
        one(history, histories, last);
    }
}

/// Time comes first, and of several definitions the one that was measured last comes last.
fn place(series: &Series) -> impl Ord {
    let key = series.key.clone();
    let last = series.points.last().map(|point| point.started);
    let is_time = key.metric == Metric::TIME;
    (!is_time, key.metric, key.suite, key.machine, key.arm, last)
}

fn one(history: &CaseHistory, all: &[CaseHistory], last: usize) {
    let series = &history.series;
    crate::say!("{}", heading(series, all));
    for line in chart::lines(history) {
        crate::say!("  {line}");
    }
    changes(history);
    marks(history);
    runs(series, last);
}

/// What the series is of; its definition only where the case has another one.
fn heading(series: &Series, all: &[CaseHistory]) -> String {
    let key = &series.key;
    let better = match series.metric.direction {
        Direction::Lower => "less is better",
        Direction::Higher => "more is better",
        Direction::Neutral => "never judged",
    };
    let arm = if key.arm == "main" {
        String::new()
    } else {
        format!(", arm {}", plain(&key.arm))
    };
    let is_redefined = all
        .iter()
        .any(|other| other.series.key.definition != key.definition);
    let definition = if is_redefined {
        format!(", definition {}", key.definition.short())
    } else {
        String::new()
    };
    format!(
        "{} ({better}), suite {} on {}{arm}{definition}",
        plain(&key.metric),
        plain(&key.suite),
        plain(&key.machine)
    )
}

fn changes(history: &CaseHistory) {
    if history.changes.is_empty() {
        crate::say!("no change was found");
        return;
    }
    crate::say!("changes");
    for change in &history.changes {
        crate::say!(
            "  {} {}",
            chart::sign(change),
            change_line(&history.series, change)
        );
        crate::say!("      {}", range(&change.last_before, &change.first_after));
        if change.gradual {
            crate::say!("      gradually: no single commit is to blame");
        }
        for machine in change.machine.iter().take(CHANGES) {
            crate::say!("      machine: {}", machine_line(machine));
        }
        if change.machine.len() > CHANGES {
            crate::say!("      machine: and {} more", change.machine.len() - CHANGES);
        }
        if let Some(mark) = &change.mark {
            crate::say!("      {}", plain(&mark.to_string()));
        }
    }
}

/// `REGRESSED +6.0 % [+5.1, +7.0]: 8.31 ± 0.04 ms -> 8.81 ± 0.05 ms`
fn change_line(series: &Series, change: &LocatedChange) -> String {
    let word = match change.verdict {
        Some(Verdict::Regressed) => "REGRESSED",
        Some(Verdict::Improved) => "improved",
        _ => "changed",
    };
    let by = change
        .ratio
        .as_ref()
        .map_or(String::new(), |ratio| format!(" {}", words::change(ratio)));
    let level = |level| format::interval(level, &series.metric.unit);
    format!(
        "{word}{by}: {} -> {}",
        level(&change.before),
        level(&change.after)
    )
}

/// `9bc0ee0f60..f6d00b09d1  2026-09-16 to 2026-09-18`
fn range(before: &Spot, after: &Spot) -> String {
    let days = (before.started.day(), after.started.day());
    let days = if days.0 == days.1 {
        format!("{} to {}", before.started.minute(), after.started.minute())
    } else {
        format!("{} to {}", days.0, days.1)
    };
    let (Some(a), Some(b)) = (&before.commit, &after.commit) else {
        return format!("{}..{}  {days}", before.run, after.run);
    };
    if a == b {
        return format!("all at {}: the project did not change  {days}", short(a));
    }
    let dirty = if before.dirty || after.dirty {
        ", with uncommitted changes"
    } else {
        ""
    };
    format!("{}..{}{dirty}  {days}", short(a), short(b))
}

fn machine_line(change: &Change) -> String {
    format!(
        "{} from {} to {}",
        plain(&change.field),
        plain(&change.before),
        plain(&change.after)
    )
}

fn marks(history: &CaseHistory) {
    if history.marks.is_empty() {
        return;
    }
    crate::say!("marks");
    for mark in &history.marks {
        crate::say!(
            "  # {}{}",
            plain(&mark.to_string()),
            placed(mark, &history.series.points)
        );
    }
}

/// Where a mark lies in the series.
fn placed(mark: &Mark, points: &[Point]) -> String {
    match (mark.at(), mark.place(points)) {
        (Some(at), Some(place)) => format!(" (at {at}, {})", points[place].started.day()),
        (Some(at), None) => format!(" (not applied: no run here is at {at})"),
        (None, _) => String::new(),
    }
}

fn runs(series: &Series, last: usize) {
    let points = &series.points;
    let left_out = points.len().saturating_sub(last);
    if left_out == 0 {
        crate::say!("runs, the latest last");
    } else {
        let shown = points.len() - left_out;
        crate::say!("runs, the latest last ({shown} of {})", points.len());
    }
    for point in &points[left_out..] {
        crate::say!("  {}", point_line(series, point));
    }
}

fn point_line(series: &Series, point: &Point) -> String {
    let commit = point.commit.as_deref().map_or("no commit", short);
    let dirty = if point.dirty { "+" } else { " " };
    let value = format::interval(&point.estimate, &series.metric.unit).to_string();
    let machine = if point.changes.is_empty() {
        ""
    } else {
        "  machine changed"
    };
    format!(
        "{}  {commit:<10}{dirty} {value:>22}  {} rounds{machine}",
        point.run, point.rounds
    )
}

/// A commit as pages show it.
fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}
