//! Which values of which rounds are compared: cases that both sides have, of one definition, measured and right.

use assay_protocol::{Direction, Metric};
use assay_record::{BlockStatus, RunId};
use assay_stats::{known_level, levels::MIN_BASELINE_RUNS, run_value};
use assay_store::CaseRow;
use foldhash::{HashMap, HashSet};

use super::{
    Basis, LeftOut, Loaded, Options, Question, Reason, Trouble, TroubleKind, commits, disturbed,
    failures,
};
use crate::likeness::differing_fields;
use crate::marks::Place;
use crate::rounds::common_rounds;
use crate::view::trouble;
use crate::{CaseState, Mark, RunView, Verdict};

/// All that two sides have to be compared by.
pub(super) struct Pairing {
    pub items: Vec<Item>,
    pub troubles: Vec<(String, Trouble)>,
    pub left_out: Vec<LeftOut>,
}

/// One metric of one case, with the values of both sides.
pub(super) struct Item {
    pub case: String,
    pub metric: Metric,
    /// Per run the values of its rounds. In pairs they are one list each, in the same order: interleaved of rounds that both have, by commit of commits.
    pub baseline: Vec<Vec<f64>>,
    /// Of each of these runs, or commits, its place in its side.
    pub baseline_runs: Vec<usize>,
    pub candidate: Vec<Vec<f64>>,
    /// Why nothing can be said, whatever the values are.
    pub obstacle: Option<String>,
    /// What must be said beside any verdict.
    pub remark: Option<String>,
    /// Why the candidate gave no right result when it was run last; told of one metric of a case.
    pub trouble: Option<Trouble>,
    /// The mark that keeps a regression of it from alerting.
    pub excuse: Option<Mark>,
    /// The first run of its baseline, where that does not begin with the window.
    pub since: Option<Since>,
}

/// Where a baseline begins that is shorter than its window.
pub(super) struct Since {
    pub run: RunId,
    /// By a mark, or else after a change of its level that is sure.
    pub by_mark: bool,
}

/// A case on one side: the row of each run that has it.
type Rows<'a> = Vec<Row<'a>>;

/// A case in one run of a side.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// Place of the run in its side.
    pub run: usize,
    pub view: &'a RunView,
    pub case: &'a CaseRow,
}

impl Row<'_> {
    fn id(&self) -> RunId {
        self.view.run.run.clone()
    }
}

impl Place for Row<'_> {
    fn run(&self) -> &RunId {
        &self.view.run.run
    }
    fn commit(&self) -> Option<&str> {
        self.view.run.commit.as_deref()
    }
}

/// What becomes of one case.
enum Outcome {
    Compared(Vec<Item>),
    Trouble(Trouble),
    LeftOut(Reason, String),
    /// Neither side could run it.
    Idle,
}

pub(super) fn basis(baseline: &Loaded<'_>, candidate: &Loaded<'_>, options: &Options) -> Basis {
    let (baseline_runs, candidate_runs) = (baseline.runs.len(), candidate.runs.len());
    if let ([one], [other]) = (&baseline.runs[..], &candidate.runs[..])
        && one.run.run == other.run.run
    {
        return Basis::Interleaved;
    }
    if options.by_commit {
        let commits = commits::common(baseline, candidate);
        if commits >= commits::MIN_COMMITS {
            return Basis::ByCommit { commits };
        }
    }
    Basis::of_runs(baseline_runs, candidate_runs)
}

pub(super) fn pair(
    baseline: &Loaded<'_>,
    candidate: &Loaded<'_>,
    basis: Basis,
    options: &Options,
) -> Pairing {
    let (before, after) = (by_case(baseline), by_case(candidate));
    let mut pairing = Pairing {
        items: Vec::new(),
        troubles: Vec::new(),
        left_out: Vec::new(),
    };
    let asked = Asked {
        sides: [baseline, candidate],
        basis,
        options,
    };
    for case in names(candidate, baseline) {
        let absent = Rows::new();
        let rows = [&before, &after].map(|side| side.get(case).unwrap_or(&absent));
        match asked.outcome(case, rows) {
            Outcome::Compared(items) => pairing.items.extend(items),
            Outcome::Trouble(why) => pairing.troubles.push((case.into(), why)),
            Outcome::LeftOut(reason, note) => pairing.left_out.push(LeftOut {
                case: case.into(),
                reason,
                note,
            }),
            Outcome::Idle => {}
        }
    }
    pairing
}

fn by_case<'a>(side: &Loaded<'a>) -> HashMap<&'a str, Rows<'a>> {
    let mut cases: HashMap<&str, Rows<'a>> = HashMap::default();
    for (run, view) in side.runs.iter().enumerate() {
        for case in view.cases.iter().filter(|row| row.arm == side.arm) {
            let row = Row { run, view, case };
            cases.entry(&case.case).or_default().push(row);
        }
    }
    cases
}

/// Every case of either side: in the order of the last run of `first`, then as they come.
fn names<'a>(first: &Loaded<'a>, second: &Loaded<'a>) -> Vec<&'a str> {
    let mut seen = HashSet::default();
    let runs = first.runs.iter().rev().chain(second.runs.iter().rev());
    runs.flat_map(|view| view.cases.iter())
        .map(|row| row.case.as_str())
        .filter(|case| seen.insert(*case))
        .collect()
}

/// What is asked of every case.
struct Asked<'a> {
    sides: [&'a Loaded<'a>; 2],
    basis: Basis,
    options: &'a Options,
}

impl Asked<'_> {
    fn outcome(&self, case: &str, rows: [&Rows<'_>; 2]) -> Outcome {
        let [before, after] = rows;
        let options = self.options;
        let is_asked = options
            .only
            .as_ref()
            .is_none_or(|only| only.iter().any(|(name, _)| name == case));
        if !is_asked || before.iter().chain(after).all(|row| is_idle(row.case)) {
            return Outcome::Idle;
        }
        let [good_before, good_after] = [before, after].map(|rows| measured(rows, options));
        // Of many runs that somebody compares, those that went well are.
        let is_spared = options.question == Question::Difference
            && after.len() > 1
            && !(good_before.is_empty() || good_after.is_empty());
        if let Some(why) = after.iter().rev().find_map(|row| failure(row, options))
            && !is_spared
        {
            return Outcome::Trouble(why);
        }
        if after.is_empty() {
            return Outcome::LeftOut(Reason::OnlyBaseline, "only the baseline has it".into());
        }
        if before.is_empty() {
            return Outcome::LeftOut(Reason::OnlyCandidate, "only the candidate has it".into());
        }
        for (good, all, side) in [
            (&good_before, before, "baseline"),
            (&good_after, after, "candidate"),
        ] {
            if good.is_empty() {
                let note = format!("not measured in the {side}: {}", why_not(all, options));
                return Outcome::LeftOut(Reason::NotMeasured, note);
            }
        }
        match self.alike(&good_before, &good_after) {
            Outcome::Compared(items) => Outcome::Compared(self.with_failures(items, rows)),
            other => other,
        }
    }

    /// What went wrong in some runs of a side, beside what is said of the others.
    fn with_failures(&self, mut items: Vec<Item>, rows: [&Rows<'_>; 2]) -> Vec<Item> {
        if self.options.question != Question::Difference {
            return items;
        }
        for (side, rows) in self.sides.iter().zip(rows) {
            let Some(found) = failures::of(side, rows, self.basis, self.options) else {
                continue;
            };
            for item in &mut items {
                let earlier = item.remark.take().map(|said| format!("{said}; "));
                item.remark = Some(earlier.unwrap_or_default() + &found.remark());
            }
        }
        let after = failures::of(self.sides[1], rows[1], self.basis, self.options);
        if let Some(first) = items.first_mut() {
            first.trouble = after.and_then(|found| found.trouble());
        }
        items
    }

    /// Keeps the rows of the definition that the last candidate run has; with force, all of them.
    fn alike<'a>(&self, before: &Rows<'a>, after: &Rows<'a>) -> Outcome {
        let Some(newest) = after.last() else {
            return Outcome::Idle;
        };
        let options = self.options;
        let is_same = |row: &CaseRow| {
            row.definition == newest.case.definition && row.timing == newest.case.timing
        };
        let keep = |rows: &Rows<'a>| -> Rows<'a> {
            let kept = rows.iter().filter(|row| options.force || is_same(row.case));
            kept.copied().collect()
        };
        let other = before.iter().rev().find(|row| !is_same(row.case));
        let difference = other.map(|other| difference(other, newest));
        let (before, after) = (keep(before), keep(after));
        if before.is_empty() {
            let note = format!(
                "the two time different things: {}",
                difference.unwrap_or_default()
            );
            return Outcome::LeftOut(Reason::Different, note);
        }
        let remark = difference
            .filter(|_| options.force)
            .map(|what| format!("compared by force, though they time different things: {what}"));
        let metrics = newest.case.metrics.iter().filter(|metric| {
            metric.direction != Direction::Neutral
                && options.asks_for(&newest.case.case, &metric.name)
        });
        let rows = Pair {
            before: &before,
            after: &after,
            basis: self.basis,
            options,
        };
        let items: Vec<Item> = metrics
            .clone()
            .filter_map(|metric| rows.item(metric, remark.clone()))
            .collect();
        let is_by_commit = matches!(self.basis, Basis::ByCommit { .. });
        if is_by_commit && items.is_empty() && metrics.count() > 0 {
            return Outcome::LeftOut(Reason::NotMeasured, NO_COMMIT.into());
        }
        Outcome::Compared(items)
    }
}

/// Why a case has no pair of values, where sides are paired by commit.
const NO_COMMIT: &str = "both sides have it, and at no commit both";

/// The rows of one case on both sides.
struct Pair<'a> {
    before: &'a Rows<'a>,
    after: &'a Rows<'a>,
    basis: Basis,
    options: &'a Options,
}

impl Pair<'_> {
    fn item(&self, metric: &Metric, remark: Option<String>) -> Option<Item> {
        let case = self.after.last()?.case.case.clone();
        let (before, excuse, expected) = self.marked(&case, &metric.name);
        let by_mark = before.len() < self.before.len();
        let marked = before.first().filter(|_| by_mark);
        let (before, known) = self.at_known_level(before, &metric.name);
        let since = known.or_else(|| marked.map(Row::id)).map(|run| Since {
            by_mark: marked.is_some_and(|row| *row.run() == run),
            run,
        });
        let was = declared(self.before, &metric.name)?;
        let mut places = None;
        let (baseline, candidate) = match (self.basis, before, &self.after[..]) {
            (Basis::Interleaved, [one], [other]) => {
                common_rounds(one.case, other.case, &metric.name)
                    .map(only)
                    .into()
            }
            (Basis::ByCommit { .. }, ..) => {
                let found = commits::paired(before, self.after, &metric.name);
                places = Some(found.places);
                [found.baseline, found.candidate].map(only).into()
            }
            _ => (
                values(before, &metric.name),
                values(self.after, &metric.name),
            ),
        };
        if candidate.is_empty() || (baseline.is_empty() && expected.is_none()) {
            return None;
        }
        let other_unit =
            (was.unit != metric.unit || was.direction != metric.direction).then(|| {
                format!(
                    "it was in {} ({}) and is in {} ({})",
                    was.unit,
                    direction(was.direction),
                    metric.unit,
                    direction(metric.direction)
                )
            });
        let (baseline, candidate) = match other_unit {
            Some(_) => (Vec::new(), Vec::new()),
            None => (baseline, candidate),
        };
        let has_value = |row: &&Row<'_>| !row.case.good_values(&metric.name).is_empty();
        let own = before.iter().filter(has_value).map(|row| row.run);
        Some(Item {
            baseline_runs: places.unwrap_or_else(|| own.collect()),
            metric: metric.clone(),
            obstacle: expected
                .or(other_unit)
                .or_else(|| self.unevenly_disturbed(before)),
            remark,
            trouble: None,
            since,
            excuse,
            baseline,
            candidate,
            case,
        })
    }

    /// What follows the last change of the level within the baseline, and the run it begins with; all of it where none is sure.
    fn at_known_level<'r>(
        &self,
        before: &'r [Row<'r>],
        metric: &str,
    ) -> (&'r [Row<'r>], Option<RunId>) {
        if !self.options.at_known_level {
            return (before, None);
        }
        let values = before.iter().zip(0..).filter_map(|(row, at)| {
            let rounds = row.case.good_values(metric);
            (!rounds.is_empty()).then(|| Some((at, run_value(&rounds)?)))
        });
        // Where a value has no logarithm there is no ratio either.
        let Some(values) = values.collect::<Option<Vec<(usize, f64)>>>() else {
            return (before, None);
        };
        let logs: Vec<f64> = values.iter().map(|(_, log)| *log).collect();
        let first = known_level(&logs, self.options.rules.least_effect);
        first.map_or((before, None), |first| {
            let first = values[first].0;
            (&before[first..], Some(before[first].id()))
        })
    }

    /// Interleaved arms meet the same neighbours to the minute: there the slower arm's rounds are merely longer, and marked for that.
    fn unevenly_disturbed(&self, before: &[Row<'_>]) -> Option<String> {
        if self.basis == Basis::Interleaved {
            return None;
        }
        disturbed::unevenly(rows(before), rows(self.after))
    }

    /// What marks leave of the baseline; the one that excuses a regression; and what there is to say where nothing is left.
    fn marked(&self, case: &str, metric: &str) -> (&[Row<'_>], Option<Mark>, Option<String>) {
        let Some(known) = &self.options.known else {
            return (self.before, None, None);
        };
        let marks = known.marks.for_case(case, metric, known.today);
        let between = known.between.iter().map(|row| row as &dyn Place);
        let all: Vec<&dyn Place> = places(self.before)
            .chain(between)
            .chain(places(self.after))
            .collect();
        let expected = all.len() - marks.baseline(&all).len();
        // Once a baseline can be had of runs with the acknowledged change alone, what is worse than they is news.
        let acknowledged = marks.acknowledged(&all).filter(|at| {
            let has_value = |row: &&Row<'_>| !row.case.good_values(metric).is_empty();
            let since = self.before.get(*at..).unwrap_or_default();
            since.iter().filter(has_value).count() >= MIN_BASELINE_RUNS
        });
        let first = expected.max(acknowledged.unwrap_or(0));
        let before = &self.before[first.min(self.before.len())..];
        let expected = before.is_empty().then(|| {
            "a change is expected since the baseline: this run is of the new one".to_owned()
        });
        let excuse = marks.excuse(Verdict::Regressed, &all[first..]).cloned();
        (before, excuse, expected)
    }
}

fn places<'a>(rows: &'a [Row<'_>]) -> impl Iterator<Item = &'a dyn Place> {
    rows.iter().map(|row| row as &dyn Place)
}

/// The metric as the last of these runs declares it.
fn declared(rows: &[Row<'_>], metric: &str) -> Option<Metric> {
    let metrics = rows.iter().flat_map(|row| &row.case.metrics);
    metrics.rev().find(|have| have.name == metric).cloned()
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Lower => "lower is better",
        Direction::Higher => "higher is better",
        Direction::Neutral => "not judged",
    }
}

fn rows<'a>(rows: &'a [Row<'_>]) -> impl Iterator<Item = &'a CaseRow> {
    rows.iter().map(|row| row.case)
}

/// Values of the rounds of each run that has any.
fn values(rows: &[Row<'_>], metric: &str) -> Vec<Vec<f64>> {
    let values = rows.iter().map(|row| row.case.good_values(metric));
    values.filter(|rounds| !rounds.is_empty()).collect()
}

/// The values of a run, as the only one of a side; none where it has none.
fn only(values: Vec<f64>) -> Vec<Vec<f64>> {
    if values.is_empty() {
        vec![]
    } else {
        vec![values]
    }
}

/// What differs in what is timed, in words.
fn difference(before: &Row<'_>, after: &Row<'_>) -> String {
    let case = |row: &Row<'_>| {
        let mut cases = row.view.manifest.cases.iter();
        cases.find(|case| case.id == row.case.case).cloned()
    };
    let fields = match (case(before), case(after)) {
        (Some(one), Some(other)) => differing_fields(&one, &other),
        _ => Vec::new(),
    };
    // The definition is a digest over the others: by itself it says nothing.
    let telling: Vec<&str> = fields
        .into_iter()
        .filter(|field| *field != "definition")
        .collect();
    if telling.is_empty() {
        "the worker raised the definition".into()
    } else {
        let verb = if telling.len() == 1 {
            "differs"
        } else {
            "differ"
        };
        format!("{} {verb}", telling.join(" and "))
    }
}

fn measured<'a>(rows: &Rows<'a>, options: &Options) -> Rows<'a> {
    rows.iter()
        .filter(|row| failure(row, options).is_none() && row.case.good_rounds().next().is_some())
        .copied()
        .collect()
}

/// Why a case has no right result; skipped is nobody's fault.
pub(super) fn failure(row: &Row<'_>, options: &Options) -> Option<Trouble> {
    let (kind, why) = match trouble(row.case) {
        Some(BlockStatus::Wrong(why)) => (TroubleKind::Wrong, why.clone()),
        Some(BlockStatus::Failed(why)) => (TroubleKind::Failed, why.clone()),
        _ => {
            let ceilings = options.ceilings.get(&row.view.run.machine)?;
            (TroubleKind::Impossible, ceilings.impossible(row.case)?)
        }
    };
    Some(Trouble { kind, why })
}

fn why_not(rows: &Rows<'_>, options: &Options) -> String {
    let Some(last) = rows.last() else {
        return "no round was run".into();
    };
    match (failure(last, options), CaseState::of(last.case)) {
        (Some(trouble), _) => trouble.to_string(),
        (None, CaseState::Skipped(why)) => format!("skipped: {why}"),
        (None, _) => "no round was run".into(),
    }
}

fn is_idle(row: &CaseRow) -> bool {
    let skipped = |status: &BlockStatus| matches!(status, BlockStatus::Skipped(_));
    row.rounds.iter().all(|round| skipped(&round.status))
}
