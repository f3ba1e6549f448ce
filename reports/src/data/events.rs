//! What got worse, run by run: what feeds tell, and nothing that marks excuse.
//!
//! An event is a run with which something got worse on a machine by an arm: what gates say of nights, lasting changes that began with it and
//! that no gate settled, or cases that failed from then on, mended or not since. One event for many cases, for they mostly have one cause.
//! A regression that is in the history already is not told again each night that the gate still sees it.
//!
//! What new rounds confirmed is told of the night that showed it, for good, and at the time of that night; what a later night adds is another
//! event, though it may have begun with the same run, for who was told of the first would not look at it again.
//!
//! Where a change lies is an estimate that moves as nights are added, and an event that is told must stay the same one. So
//! changes are one event if one run may be the first of all of them, and its id names the first of its series and how many
//! regressions that series had before: never a run that was estimated.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::{Digest, Metric};
use assay_record::{RunId, Timestamp};
use assay_stats::Interval;
use assay_store::RunRow;
use assay_verdicts::window::is_night;
use assay_verdicts::{
    CaseComparison, CaseHistory, CaseState, Change, Confirmed, LocatedChange, Onset, RunSummary,
    Trouble, Verdict,
};

use crate::address;
use crate::model::{Library, Night, NightPlace, Unjudged, night_place};
use crate::pages::part;

/// A run with which something got worse.
pub struct Event<'a> {
    /// Name of the suite.
    pub suite: &'a str,
    /// Name of the machine.
    pub machine: &'a str,
    /// Name of the arm.
    pub arm: &'a str,
    /// The run; of changes the likeliest.
    pub run: &'a RunId,
    /// When it started.
    pub started: Timestamp,
    /// When it was told first; absent where the runs do not say.
    pub told: Option<Timestamp>,
    /// The same for the same event, whenever and wherever the site is built.
    pub id: String,
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
    Failed(&'a Trouble),
    /// The same of an arm that no night judges.
    Bad(&'a CaseState),
    /// The gate says so of the newest night.
    Tonight(&'a CaseComparison),
    /// A night showed it and new rounds confirmed it, beside this run.
    Confirmed(&'a CaseComparison, Option<&'a RunRow>),
    /// The level of the series changed to stay.
    Lasting(&'a LocatedChange),
}

impl What<'_> {
    /// By the size of the effect.
    fn weight(&self) -> f64 {
        let size = |ratio: Option<Interval>| ratio.map_or(0.0, |ratio| ratio.estimate.ln().abs());
        match self {
            Self::Failed(_) | Self::Bad(_) => f64::INFINITY,
            Self::Tonight(case) | Self::Confirmed(case, _) => size(case.ratio),
            Self::Lasting(change) => size(change.ratio),
        }
    }
}

/// A UUID, as a URN, that follows from these texts alone: of the kind that holds a hash (RFC 9562, section 5.8).
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
    let is_asked = |own: &str| suite.is_none_or(|suite| own == suite);
    let mut book = Book::default();
    for history in library.histories.values() {
        let key = &history.series.key;
        if is_asked(&key.suite) && library.has_place(&night_place(key)) {
            book.lasting(library, history);
        }
    }
    for night in &library.model.nights {
        if let Some(row) = library.runs.get(&night.gate.run)
            && is_asked(&row.suite)
        {
            let place = (row.suite.as_str(), row.machine.as_str(), night.arm());
            book.night(library, night, place);
        }
    }
    let unjudged = library.unjudged_of(suite);
    for one in unjudged.filter(|one| is_night(one.run)) {
        book.unjudged(library, one);
    }
    for row in library.latest_first().filter(|row| is_asked(&row.suite)) {
        if let Some(summary) = library.summary(&row.run).filter(|_| is_night(row)) {
            book.failed_before(library, summary);
        }
    }
    for one in &library.model.confirmed {
        if is_asked(&one.suite) && one.part_of.is_none() {
            book.confirmed(library, one);
        }
    }
    book.events(library)
}

/// A regression of one series, and between which runs it began.
struct Found<'a> {
    item: Item<'a>,
    /// The last run that is surely before it, where there is one.
    after: Option<&'a RunId>,
    /// The first run that surely has it.
    until: &'a RunId,
    /// The run that it most likely began with.
    run: &'a RunId,
    /// How many regressions its series had before, whatever is said of them.
    earlier: usize,
    /// The night that says so; absent of what histories say.
    night: Option<&'a RunId>,
    /// When it was confirmed, where it was: a fact, and no estimate.
    confirmed: Option<(Timestamp, &'a RunId)>,
    machine_changes: Vec<String>,
    is_common: bool,
}

impl Found<'_> {
    /// Names it among all others, whatever is known of where it lies.
    fn name(&self) -> (String, usize) {
        let Item {
            case,
            metric,
            history,
            ..
        } = self.item;
        let series = history.map_or_else(
            || format!("{}:{case}{metric}", case.len()),
            |history| address::series(&history.series.key),
        );
        (series, self.earlier)
    }
}

/// What got worse where.
#[derive(Default)]
struct Book<'a> {
    regressed: BTreeMap<NightPlace<'a>, Vec<Found<'a>>>,
    /// By the run since which cases have failed.
    failed: BTreeMap<(NightPlace<'a>, &'a RunId), Vec<Item<'a>>>,
}

impl<'a> Book<'a> {
    fn lasting(&mut self, library: &Library<'a>, history: &'a CaseHistory) {
        let key = &history.series.key;
        let worse = history.changes.iter().filter(|change| is_worse(change));
        for (earlier, change) in worse.enumerate() {
            let Some(point) = history.series.points.get(change.index) else {
                continue;
            };
            if change.mark.is_some() || library.is_told_by_gates(history, change) {
                continue;
            }
            let found = Found {
                item: Item {
                    case: &key.case,
                    metric: &key.metric,
                    history: Some(history),
                    what: What::Lasting(change),
                },
                after: Some(&change.last_before.run),
                until: &change.first_after.run,
                run: &point.run,
                earlier,
                night: None,
                confirmed: None,
                machine_changes: {
                    let ends = [&change.last_before.run, &change.first_after.run];
                    changes_in(library, history, &change.machine, ends)
                },
                is_common: false,
            };
            self.regressed
                .entry(night_place(key))
                .or_default()
                .push(found);
        }
    }

    fn night(&mut self, library: &Library<'a>, night: &'a Night, place: NightPlace<'a>) {
        let gate = &night.gate;
        for case in &gate.comparison.cases {
            let history = library.series_of(night, &case.case, &case.metric.name);
            if let Some(trouble) = &case.trouble {
                let since = failing_since(library, &gate.run, place, &case.case, history);
                self.failed.entry((place, since)).or_default().push(Item {
                    case: &case.case,
                    metric: "",
                    history,
                    what: What::Failed(trouble),
                });
            } else if is_called(case)
                && case.at_first.is_none()
                && !history.is_some_and(|known| is_lasting(library, known, &gate.run))
            {
                let baseline = gate.comparison.baseline_of(case);
                // Where it began, as far as the series shows it: the next night that still sees it is no news.
                let onset = history.and_then(|of| Onset::of(&of.series, baseline, &gate.run));
                let known = |run: &RunId| library.runs.get_key_value(run).map(|(run, _)| *run);
                let ends = onset.and_then(|onset| {
                    let after = known(&onset.last_before.run)?;
                    Some((Some(after), known(&onset.first_after.run)?))
                });
                let (after, began) = ends.unwrap_or((baseline.last(), &gate.run));
                let found = Found {
                    item: Item {
                        case: &case.case,
                        metric: &case.metric.name,
                        history,
                        what: What::Tonight(case),
                    },
                    after,
                    until: began,
                    run: began,
                    earlier: history.map_or(0, |history| earlier(history, &gate.run)),
                    night: Some(&gate.run),
                    confirmed: None,
                    machine_changes: [&*night.machine_changes, &night.arm_changes].concat(),
                    is_common: gate.comparison.suite.common_shift.is_some(),
                };
                self.regressed.entry(place).or_default().push(found);
            }
        }
    }

    fn unjudged(&mut self, library: &Library<'a>, one: &Unjudged<'a>) {
        for found in one.failed_cases() {
            let (case, arm) = (&*found.case.case, &*found.case.arm);
            let history = library.series_at(one.run, arm, case, Metric::TIME);
            let since = failing_since(library, &one.run.run, one.place, case, history);
            let failed = self.failed.entry((one.place, since)).or_default();
            failed.push(Item {
                case,
                metric: "",
                history,
                what: What::Bad(&found.state),
            });
        }
    }

    /// What failed in a run, mended or not since: of each stretch of failures that runs at hand show, the last of them.
    fn failed_before(&mut self, library: &Library<'a>, summary: &'a RunSummary) {
        let row = &summary.run;
        let Some((run, _)) = library.runs.get_key_value(&row.run) else {
            return;
        };
        for found in summary.cases.iter().filter(|of| part::is_bad(&of.state)) {
            let (case, arm) = (&*found.case.case, &*found.case.arm);
            let place = (&*row.suite, &*row.machine, arm);
            if !library.has_place(&place) {
                continue;
            }
            let history = library.series_at(row, arm, case, Metric::TIME);
            let since = failing_since(library, run, place, case, history);
            let failed = self.failed.entry((place, since)).or_default();
            if failed.iter().all(|item| item.case != case) {
                failed.push(Item {
                    case,
                    metric: "",
                    history,
                    what: What::Bad(&found.state),
                });
            }
        }
    }

    /// Whatever became of it since: who reads a feed may have seen it.
    fn confirmed(&mut self, library: &Library<'a>, one: &'a Confirmed) {
        let Some(row) = library.runs.get(&one.night).copied() else {
            return;
        };
        let found = library.series_at(row, &one.arm, &one.case.case, &one.case.metric.name);
        let Some(history) = found.filter(|history| one.is_of(history)) else {
            return;
        };
        let onset = one.onset(history);
        let place = (row.suite.as_str(), row.machine.as_str(), one.arm.as_str());
        let told = self.regressed.entry(place).or_default();
        let is_same = |found: &Found<'_>| {
            let same = found.item.history.map(|history| &history.series.key);
            found.confirmed.is_some() && same == Some(&history.series.key)
        };
        // What is confirmed again, and not known to have begun later, is the same.
        let is_again = onset.is_none() && told.iter().any(is_same);
        if is_again || one.is_accepted(history) {
            return;
        }
        let known = |run: &RunId| library.runs.get_key_value(run).map(|(run, _)| *run);
        let [after, until] = one.ends(onset.as_ref()).map(|run| run.and_then(known));
        told.push(Found {
            item: Item {
                case: &one.case.case,
                metric: &one.case.metric.name,
                history: Some(history),
                what: What::Confirmed(
                    &one.case,
                    one.reference
                        .as_ref()
                        .and_then(|run| library.runs.get(run).copied()),
                ),
            },
            after,
            until: until.unwrap_or(&one.night),
            run: &one.night,
            earlier: 0,
            night: Some(&one.night),
            confirmed: Some((one.started, &one.night)),
            machine_changes: onset.map_or(Vec::new(), |onset| {
                let ends = [&onset.last_before.run, &onset.first_after.run];
                changes_in(library, history, &onset.machine, ends)
            }),
            is_common: one.is_common,
        });
    }

    fn events(self, library: &Library<'a>) -> Vec<Event<'a>> {
        let groups = self.regressed.into_iter().flat_map(|(place, found)| {
            let groups = together(found).into_iter().flat_map(by_night);
            groups.map(move |group| (place, group))
        });
        let regressed = groups.filter_map(|(place, group)| regression(library, place, group));
        let failed = self.failed.into_iter();
        let failed =
            failed.filter_map(|((place, since), items)| failure(library, place, since, items));
        let mut events: Vec<Event> = failed.chain(regressed).collect();
        events.sort_by(|a, b| (b.started, b.run).cmp(&(a.started, a.run)));
        events
    }
}

/// Puts together what may all have begun with one run: each group is of those that the earliest end among them lies within.
fn together(mut found: Vec<Found<'_>>) -> Vec<Vec<Found<'_>>> {
    found.sort_by(|a, b| a.until.cmp(b.until).then_with(|| a.name().cmp(&b.name())));
    let mut groups: Vec<Vec<Found>> = Vec::new();
    for one in found {
        let open = groups.last_mut();
        match open.filter(|group| one.after.is_none_or(|after| after < group[0].until)) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

fn regression<'a>(
    library: &Library<'a>,
    (suite, machine, arm): NightPlace<'a>,
    group: Vec<Found<'a>>,
) -> Option<Event<'a>> {
    // What was confirmed first names it: a night stays where it is.
    let confirmed = group.iter().filter(|found| found.confirmed.is_some());
    let confirmed = confirmed.min_by_key(|found| (found.confirmed, found.name()));
    let first = confirmed.or(group.iter().min_by_key(|found| found.name()))?;
    let (series, earlier) = first.name();
    let run = first.run;
    let told = first.confirmed.map(|(at, _)| at);
    let which = first
        .confirmed
        .map_or_else(|| earlier.to_string(), |(_, night)| night.to_string());
    let id = uuid(&["regression", suite, machine, &series, &which]);
    let is_common = group.iter().any(|found| found.is_common);
    let changes = group.iter().flat_map(|found| found.machine_changes.clone());
    Some(Event {
        suite,
        machine,
        arm,
        run,
        started: library.runs.get(run)?.started,
        told,
        id,
        machine_changes: changes.collect(),
        is_common,
        items: gravest_first(group.into_iter().map(|found| found.item).collect()),
    })
}

/// What was confirmed on several nights apart: a feed's readers show an entry once, and would never tell of what a later night adds to it.
/// What the gate of a night calls besides stays with what that night confirmed.
fn by_night(group: Vec<Found<'_>>) -> Vec<Vec<Found<'_>>> {
    let group = once_each(group);
    let confirmed = group.iter().filter_map(|found| found.confirmed);
    let nights: BTreeMap<&RunId, Timestamp> = confirmed.map(|(at, night)| (night, at)).collect();
    let mut apart: BTreeMap<Option<(Timestamp, &RunId)>, Vec<Found>> = BTreeMap::new();
    for found in group {
        let night = found.night.and_then(|night| nights.get_key_value(night));
        let night = night.map(|(night, at)| (*at, *night));
        apart.entry(night).or_default().push(found);
    }
    apart.into_values().collect()
}

/// Of each series one: what was confirmed first, else what lasts.
fn once_each(mut group: Vec<Found<'_>>) -> Vec<Found<'_>> {
    group.sort_by_key(|found| (found.confirmed.is_none(), found.confirmed, found.name()));
    let mut seen = BTreeSet::new();
    group.retain(|found| {
        let Item { case, metric, .. } = found.item;
        seen.insert((case, metric, found.item.history.map(|of| &of.series.key)))
    });
    group
}

fn failure<'a>(
    library: &Library<'a>,
    (suite, machine, arm): NightPlace<'a>,
    run: &'a RunId,
    items: Vec<Item<'a>>,
) -> Option<Event<'a>> {
    let mut items = gravest_first(items);
    // A case that failed is told once, whatever its metrics.
    items.dedup_by(|b, a| a.case == b.case);
    Some(Event {
        suite,
        machine,
        arm,
        run,
        started: library.runs.get(run)?.started,
        told: None,
        id: uuid(&["failure", suite, machine, run.as_str()]),
        machine_changes: BTreeSet::new(),
        is_common: false,
        items,
    })
}

fn gravest_first(mut items: Vec<Item<'_>>) -> Vec<Item<'_>> {
    items.sort_by(|a, b| {
        let by_weight = b.what.weight().total_cmp(&a.what.weight());
        by_weight.then_with(|| (a.case, a.metric).cmp(&(b.case, b.metric)))
    });
    items
}

/// What changed on the machine in a range of a series, and in what was started there.
fn changes_in(
    library: &Library<'_>,
    history: &CaseHistory,
    machine: &[Change],
    [from, to]: [&RunId; 2],
) -> Vec<String> {
    let started = library.arm_steps(&history.series, from, to);
    machine.iter().map(words).chain(started).collect()
}

fn words(change: &Change) -> String {
    format!(
        "{} from {} to {}",
        change.field, change.before, change.after
    )
}

fn is_worse(change: &LocatedChange) -> bool {
    change.verdict == Some(Verdict::Regressed)
}

fn is_called(case: &CaseComparison) -> bool {
    case.verdict == Verdict::Regressed && case.mark.is_none()
}

/// How many regressions a series had before the one that a night calls, which its history may have located by now.
fn earlier(history: &CaseHistory, night: &RunId) -> usize {
    let worse = history.changes.iter().filter(|change| is_worse(change));
    worse.count() - usize::from(known(history, night).is_some())
}

/// Whether what a night calls is told as what lasts.
fn is_lasting(library: &Library<'_>, history: &CaseHistory, night: &RunId) -> bool {
    known(history, night).is_some_and(|change| !library.is_told_by_gates(history, change))
}

/// The change with which the level began on which this run lies, if that is known to be worse than the one before.
fn known<'a>(history: &'a CaseHistory, run: &RunId) -> Option<&'a LocatedChange> {
    let mut points = history.series.points.iter();
    let at = points.position(|point| point.run == *run);
    let mut changes = history.changes.iter();
    let level = changes.rfind(|change| Some(change.index) <= at);
    level.filter(|change| is_worse(change) && change.mark.is_none())
}

/// The first run since which the case has given no right result without a break.
fn failing_since<'a>(
    library: &Library<'a>,
    run: &'a RunId,
    (suite, machine, arm): NightPlace<'_>,
    case: &str,
    history: Option<&CaseHistory>,
) -> &'a RunId {
    let points = history.map_or(&[][..], |history| &history.series.points);
    let last_good = points[..points.partition_point(|point| point.run < *run)].last();
    let before = library
        .runs
        .range::<&RunId, _>(..run)
        .rev()
        .map(|(_, row)| *row);
    let before =
        before.filter(|row| is_night(row) && (&*row.suite, &*row.machine) == (suite, machine));
    // A run that left the case out, or was of another arm, says nothing of it.
    let of_case = before.map(|row| {
        let summary = library.summary(&row.run);
        (row, summary.map(|summary| state_in(summary, case, arm)))
    });
    let of_case = of_case.filter(|(_, found)| !matches!(found, Some(None)));
    let failing = of_case.take_while(|(row, found)| match found.flatten() {
        _ if last_good.is_some_and(|good| good.run >= row.run) => false,
        Some(state) => !matches!(state, CaseState::Ok | CaseState::Skipped(_)),
        None => last_good.is_some(),
    });
    failing.last().map_or(run, |(row, _)| &row.run)
}

fn state_in<'s>(summary: &'s RunSummary, case: &str, arm: &str) -> Option<&'s CaseState> {
    let mut cases = summary.cases.iter();
    let own = cases.find(|found| (&*found.case.case, &*found.case.arm) == (case, arm))?;
    Some(&own.state)
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
