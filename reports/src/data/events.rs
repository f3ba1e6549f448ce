//! What got worse, run by run: what feeds tell, and nothing that marks excuse.
//!
//! An event is a run with which something got worse on a machine: lasting changes of series that began with it, what the
//! gate says of the newest night, and cases that have failed since. One event for many cases, for they mostly have one cause.
//! A regression that is in the history already is not told again each night that the gate still sees it.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::Digest;
use assay_record::{RunId, Timestamp};
use assay_verdicts::window::is_night;
use assay_verdicts::{
    CaseComparison, CaseHistory, CaseState, Gate, LocatedChange, RunSummary, Verdict,
};

use crate::model::{Library, Night};

/// A run with which something got worse.
pub struct Event<'a> {
    /// Name of the suite.
    pub suite: &'a str,
    /// Name of the machine.
    pub machine: &'a str,
    /// The run.
    pub run: &'a RunId,
    /// When it started.
    pub started: Timestamp,
    /// What changed on the machine before it, in words.
    pub machine_changes: BTreeSet<String>,
    /// Whether most cases of the suite moved together.
    pub is_common: bool,
    /// What got worse, the gravest first.
    pub items: Vec<Item<'a>>,
}

/// One thing that got worse.
pub struct Item<'a> {
    /// Id of the case.
    pub case: &'a str,
    /// Name of the metric; empty of a case that failed.
    pub metric: &'a str,
    /// The history that shows it.
    pub history: Option<&'a CaseHistory>,
    /// What is said of it.
    pub what: What<'a>,
}

/// How something got worse.
pub enum What<'a> {
    /// The case gives no right result.
    Failed(&'a str),
    /// The gate says so of the newest night.
    Tonight(&'a CaseComparison),
    /// The level of the series changed to stay.
    Lasting(&'a LocatedChange),
}

impl What<'_> {
    /// Failures first, then by the size of the effect.
    fn weight(&self) -> f64 {
        let size = |ratio: Option<f64>| ratio.map_or(0.0, |ratio| ratio.ln().abs());
        match self {
            Self::Failed(_) => f64::INFINITY,
            Self::Tonight(case) => size(case.ratio.map(|ratio| ratio.estimate)),
            Self::Lasting(change) => size(change.ratio),
        }
    }
}

impl Event<'_> {
    /// The same for the same event, whenever and wherever the site is built: a UUID of the kind that holds a hash (RFC 9562, section 5.8).
    pub fn id(&self) -> String {
        uuid(&[
            "regressions",
            self.suite,
            self.machine,
            &self.run.to_string(),
        ])
    }
}

/// A UUID, as a URN, that follows from these texts alone.
pub fn uuid(texts: &[&str]) -> String {
    let framed: Vec<String> = texts
        .iter()
        .map(|text| format!("{}:{text}", text.len()))
        .collect();
    let hex = Digest::of(framed.concat()).hex();
    format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..15],
        &hex[15..18],
        &hex[18..30]
    )
}

/// The events of a suite, or of all, the latest first.
pub fn events<'a>(library: &Library<'a>, suite: Option<&str>) -> Vec<Event<'a>> {
    let mut book = Book::default();
    for history in library.histories.values() {
        if is_asked(suite, &history.series.key.suite) {
            book.lasting(history);
        }
    }
    for night in &library.model.nights {
        if let Some(row) = library.runs.get(&night.gate.run) {
            if is_asked(suite, &row.suite) {
                book.night(library, night, &row.suite, &row.machine);
            }
        }
    }
    book.events()
}

fn is_asked(asked: Option<&str>, suite: &str) -> bool {
    asked.is_none_or(|asked| asked == suite)
}

/// Events by when they happened and where.
#[derive(Default)]
struct Book<'a> {
    events: BTreeMap<(Timestamp, &'a str, &'a str, &'a RunId), Event<'a>>,
}

impl<'a> Book<'a> {
    fn at(
        &mut self,
        (suite, machine): (&'a str, &'a str),
        run: &'a RunId,
        started: Timestamp,
    ) -> &mut Event<'a> {
        let place = (started, suite, machine, run);
        self.events.entry(place).or_insert_with(|| Event {
            suite,
            machine,
            run,
            started,
            machine_changes: BTreeSet::new(),
            is_common: false,
            items: Vec::new(),
        })
    }

    fn lasting(&mut self, history: &'a CaseHistory) {
        let key = &history.series.key;
        for change in history.changes.iter().filter(|change| is_told(change)) {
            let Some(point) = history.series.points.get(change.index) else {
                continue;
            };
            let event = self.at((&key.suite, &key.machine), &point.run, point.started);
            let words = change.machine.iter().map(|change| {
                format!(
                    "{} from {} to {}",
                    change.field, change.before, change.after
                )
            });
            event.machine_changes.extend(words);
            event.items.push(Item {
                case: &key.case,
                metric: &key.metric,
                history: Some(history),
                what: What::Lasting(change),
            });
        }
    }

    fn night(&mut self, library: &Library<'a>, night: &'a Night, suite: &'a str, machine: &'a str) {
        let gate = &night.gate;
        for case in &gate.comparison.cases {
            let history = history_of(library, gate, case, (suite, machine));
            if let Some(why) = &case.trouble {
                self.failed(library, gate, (suite, machine), case, history, why);
            } else if is_called(case) && !history.is_some_and(|known| knows(known, &gate.run)) {
                let Some(row) = library.runs.get(&gate.run) else {
                    continue;
                };
                let event = self.at((suite, machine), &gate.run, row.started);
                event.is_common = gate.comparison.suite.common_shift.is_some();
                event.machine_changes.extend(night.machine_changes.clone());
                event.items.push(Item {
                    case: &case.case,
                    metric: &case.metric.name,
                    history,
                    what: What::Tonight(case),
                });
            }
        }
    }

    fn failed(
        &mut self,
        library: &Library<'a>,
        gate: &'a Gate,
        place: (&'a str, &'a str),
        case: &'a CaseComparison,
        history: Option<&'a CaseHistory>,
        why: &'a str,
    ) {
        let since = failing_since(library, &gate.run, place, &case.case, history);
        let Some(row) = library.runs.get(since) else {
            return;
        };
        self.at(place, &row.run, row.started).items.push(Item {
            case: &case.case,
            metric: "",
            history,
            what: What::Failed(why),
        });
    }

    fn events(self) -> Vec<Event<'a>> {
        let mut events: Vec<Event> = self.events.into_values().rev().collect();
        for event in &mut events {
            let order = |item: &Item<'a>| (item.case, item.metric);
            event.items.sort_by(|a, b| {
                let by_weight = b.what.weight().total_cmp(&a.what.weight());
                by_weight.then_with(|| order(a).cmp(&order(b)))
            });
            // A case that failed is told once, whatever its metrics.
            event.items.dedup_by(|b, a| {
                matches!((&a.what, &b.what), (What::Failed(_), What::Failed(_))) && a.case == b.case
            });
        }
        events
    }
}

fn is_told(change: &LocatedChange) -> bool {
    change.verdict == Some(Verdict::Regressed) && change.mark.is_none()
}

fn is_called(case: &CaseComparison) -> bool {
    case.verdict == Verdict::Regressed && case.mark.is_none()
}

/// The history that has the night's value of the case.
fn history_of<'a>(
    library: &Library<'a>,
    gate: &Gate,
    case: &CaseComparison,
    (suite, machine): (&str, &str),
) -> Option<&'a CaseHistory> {
    let arm = &gate.comparison.candidate.arm;
    let mut found = library.histories.values().filter(|history| {
        let key = &history.series.key;
        (&key.case, &key.metric, &key.arm) == (&case.case, &case.metric.name, arm)
            && (key.suite.as_str(), key.machine.as_str()) == (suite, machine)
    });
    // Of several definitions the night has measured the last.
    found
        .by_ref()
        .max_by_key(|history| history.series.points.last().map(|point| point.started))
        .copied()
}

/// Whether the level on which this run lies is known to be worse than the one before.
fn knows(history: &CaseHistory, run: &RunId) -> bool {
    let mut points = history.series.points.iter();
    let at = points.position(|point| point.run == *run);
    let level = history
        .changes
        .iter()
        .rfind(|change| Some(change.index) <= at);
    level.is_some_and(is_told)
}

/// The first run since which the case has given no right result without a break.
fn failing_since<'a>(
    library: &Library<'a>,
    run: &'a RunId,
    (suite, machine): (&str, &str),
    case: &str,
    history: Option<&CaseHistory>,
) -> &'a RunId {
    let last_good = history.and_then(|history| history.series.points.last());
    let nights = library.latest_first().filter(|row| {
        is_night(row) && (row.suite.as_str(), row.machine.as_str()) == (suite, machine)
    });
    let before = nights.filter(|row| row.run < *run);
    let failing = before.take_while(|row| match library.summary(&row.run) {
        _ if last_good.is_some_and(|good| good.run >= row.run) => false,
        Some(summary) => failed_in(summary, case),
        None => last_good.is_some(),
    });
    failing.last().map_or(run, |row| &row.run)
}

fn failed_in(summary: &RunSummary, case: &str) -> bool {
    summary.cases.iter().any(|found| {
        found.case.case == case && !matches!(found.state, CaseState::Ok | CaseState::Skipped(_))
    })
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn ids_are_uuids_that_stay() {
        let id = uuid(&["regressions", "cpu", "lab"]);
        assert_eq!(id, uuid(&["regressions", "cpu", "lab"]));
        assert_ne!(id, uuid(&["regressions", "cp", "ulab"]));
        let digits = id.strip_prefix("urn:uuid:").unwrap();
        let lengths: Vec<usize> = digits.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c) || c == '-';
        assert!(digits.chars().all(is_hex), "{id}");
        assert_eq!((&digits[14..15], &digits[19..20]), ("8", "8"));
    }
}
