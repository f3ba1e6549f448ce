//! What a site is made of, and how it is looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::address;
use crate::downloads::Downloads;
use crate::presentation::Presentation;
use crate::results::{self, Results};
use crate::values::Values;
use assay_protocol::{Digest, Metric};
use assay_record::{Fingerprint, RunId, Timestamp};
use assay_store::{Planned, RoundDetail, RunGauges, RunRow, SeriesKey};
use assay_verdicts::ceilings::Ceilings;
use assay_verdicts::gate::State;
use assay_verdicts::{
    CaseHistory, CaseSummary, Comparison, Gate, Reproduction, RunSummary, Series,
};

/// All that a site shows. The order within the lists does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteModel {
    /// Every run.
    pub runs: Vec<RunRow>,
    /// What each run's record ends with: the same text, the same record.
    pub heads: BTreeMap<RunId, String>,
    /// What the newest runs found, all of it: other pages than their own tell of that too. Of every other run the page has its values as
    /// the series have them, and what went wrong. Which runs these are must follow from the rest of the model, not from what was
    /// published before.
    pub summaries: Vec<RunSummary>,
    /// The series with what changed in them.
    pub histories: Vec<CaseHistory>,
    /// What the gate says of the newest night of each suite on each machine.
    pub nights: Vec<Night>,
    /// Comparisons that have a page.
    pub matrices: Vec<Matrix>,
    /// The reproductions.
    pub reproductions: Vec<Reproduction>,
    /// Fingerprints by the digests that runs name: of the newest run of each machine.
    pub fingerprints: BTreeMap<Digest, Fingerprint>,
    /// Measured ceilings by machine.
    pub ceilings: BTreeMap<String, Ceilings>,
    /// What lies behind the newest points of series.
    pub details: BTreeMap<CaseOfRun, CaseDetail>,
    /// What changed on each machine before which of its newest runs, the latest first.
    pub timelines: BTreeMap<String, Vec<MachineChange>>,
    /// Records of the runs whose manifests and records are published.
    pub records: BTreeMap<RunId, RecordFile>,
    /// Whether the site has all results as Parquet, which [`crate::Publication::missing_results`] asks for.
    pub with_results: bool,
}

/// Where the record of a run lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFile {
    /// The file.
    pub path: PathBuf,
    /// Its length; absent where there is no such file any more.
    pub bytes: Option<u64>,
}

/// A run before which its machine was not what it had been at the run before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineChange {
    /// The run.
    pub run: RunId,
    /// When it started.
    pub started: Timestamp,
    /// What was set or installed otherwise, in words, the gravest first.
    pub words: Vec<String>,
}

/// What the pages of some runs are made of, beside the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Portion {
    /// The runs.
    pub runs: Vec<RunId>,
    /// Of those whose summary is not in the model the cases that did not go well, with the events.
    pub troubles: BTreeMap<RunId, RunSummary>,
    /// Their fingerprints, and those of the runs before them.
    pub fingerprints: BTreeMap<Digest, Fingerprint>,
    /// Their manifests by digest.
    pub manifests: BTreeMap<Digest, Planned>,
    /// What telemetry read over them, where it read anything.
    pub gauges: BTreeMap<RunId, RunGauges>,
}

/// One night and what is said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Night {
    /// The run against its window, with what confirmed it since.
    pub gate: Gate,
    /// The night before it of the same suite on the same machine.
    pub previous: Option<RunId>,
    /// What changed on the machine since then, in words, the gravest first.
    pub machine_changes: Vec<String>,
}

/// Sides that are compared, the first with each other one.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// What the sides differ in, or that somebody chose them.
    pub by: By,
    /// Name of the suite.
    pub suite: String,
    /// One per side but the first, which is the baseline of all; at least one.
    pub comparisons: Vec<Comparison>,
    /// How the sides lie, where they differ in two things.
    pub cross: Option<Cross>,
}

/// Sides laid out by two things in which they differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cross {
    /// What there is of the first.
    pub rows: Vec<String>,
    /// What there is of the second.
    pub columns: Vec<String>,
    /// Row and column of each side, the baseline first.
    pub places: Vec<(usize, usize)>,
}

/// What the sides of a comparison differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// A night and the one before it.
    Night,
    /// Machines.
    Machine,
    /// GPU models.
    Gpu,
    /// Versions of the driver.
    Driver,
    /// GPU models, each with each version of the driver.
    GpuDriver,
    /// Images.
    Image,
    /// Arms of one run.
    Arm,
    /// Runs that somebody chose.
    Chosen,
}

/// A case of a run: run, id of the case, name of the arm.
pub type CaseOfRun = (RunId, String, String);

/// What was recorded of a case in a run, beside its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaseDetail {
    /// The rounds that count, with a value of every sample, and what telemetry read meanwhile.
    pub rounds: Vec<RoundDetail>,
    /// The run whose samples these are compared with, where there is one.
    pub baseline: Option<RunId>,
}

/// How a site presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteSettings {
    /// Name of the site, in the head of every page.
    pub title: String,
    /// Where the site will lie, such as `https://host/bench/`, ending in a slash; empty where nobody said. Feeds and badges
    /// need it; links between pages are relative and do not.
    pub base: String,
    /// File of the logo, which is copied to the site.
    pub logo: Option<PathBuf>,
    /// Address of a commit with `{commit}` for its hash; empty where there is none.
    pub commit_link: String,
    /// Folder of templates that take the place of ours, by name.
    pub templates: Option<PathBuf>,
    /// Whether diffs and environment variables of runs are published.
    pub publish_source: bool,
    /// Of how many of the newest runs manifests and records are published; of all where it is the most there is.
    pub newest_records: usize,
}

/// Newest runs whose manifests and records are published, where nobody said otherwise.
pub const NEWEST_RECORDS: usize = 30;

impl Default for SiteSettings {
    fn default() -> Self {
        Self {
            title: "Assay".into(),
            base: String::new(),
            logo: None,
            commit_link: String::new(),
            templates: None,
            publish_source: false,
            newest_records: NEWEST_RECORDS,
        }
    }
}

/// The model in the order in which pages show it.
#[derive(Clone)]
pub struct Library<'a> {
    /// Settings of the site.
    pub settings: &'a Presentation<'a>,
    /// Runs by id, so by start.
    pub runs: BTreeMap<&'a RunId, &'a RunRow>,
    /// What some of them found.
    pub summaries: BTreeMap<&'a RunId, &'a RunSummary>,
    /// Histories by the keys of their series: by suite, then case.
    pub histories: BTreeMap<&'a SeriesKey, &'a CaseHistory>,
    /// Pages of the series.
    pub hrefs: BTreeMap<&'a SeriesKey, String>,
    /// What is said of the newest nights, what asks for action first.
    pub nights: Vec<&'a Night>,
    /// The series that has the latest point in each place; definitions follow each other there.
    pub current: BTreeMap<Place<'a>, &'a CaseHistory>,
    /// Runs by their machines, oldest first.
    pub by_machine: BTreeMap<&'a str, Vec<&'a RunRow>>,
    /// Digest over which series a suite has on a machine.
    pub places: BTreeMap<(&'a str, &'a str), Digest>,
    /// Keys of what is made of series, once they are known: several files share one.
    pub series_keys: BTreeMap<&'a SeriesKey, OnceLock<Option<Digest>>>,
    /// What each run has in which series.
    pub values: Arc<Values<'a>>,
    /// Series by their cases.
    by_case: BTreeMap<&'a str, Vec<&'a Series>>,
    /// When the newest run of all started.
    newest: Option<Timestamp>,
    /// Runs by those that they reproduce.
    again: BTreeMap<&'a RunId, Vec<&'a RunId>>,
    /// Beside the model, where pages of runs are rendered.
    portion: Option<&'a Portion>,
    /// Downloads of the runs whose pages are rendered.
    pub downloads: Option<&'a BTreeMap<RunId, Downloads>>,
    /// Downloads of runs that the site has, once that is known.
    pub files: Option<&'a BTreeSet<String>>,
    /// The model itself.
    pub model: &'a SiteModel,
}

/// Days before the newest run of all from which on a night is no news: a machine that stopped stays on no front page for ever.
pub const OLD_DAYS: i64 = 14;

const DAY_NS: i64 = 86_400_000_000_000;

/// Where a series stands, whatever its definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place<'a> {
    /// Name of the suite.
    pub suite: &'a str,
    /// Id of the case.
    pub case: &'a str,
    /// Whether it is another metric than the time, which comes first.
    pub is_further: bool,
    /// Name of the metric.
    pub metric: &'a str,
    /// Name of the machine.
    pub machine: &'a str,
    /// Name of the arm.
    pub arm: &'a str,
}

impl<'a> Place<'a> {
    /// The place of a series.
    pub fn of(key: &'a SeriesKey) -> Self {
        Self {
            suite: &key.suite,
            case: &key.case,
            is_further: key.metric != Metric::TIME,
            metric: &key.metric,
            machine: &key.machine,
            arm: &key.arm,
        }
    }
}

impl<'a> Library<'a> {
    /// Puts a model in order.
    pub fn new(model: &'a SiteModel, settings: &'a Presentation<'a>) -> Self {
        let histories: BTreeMap<&SeriesKey, &CaseHistory> = model
            .histories
            .iter()
            .map(|history| (&history.series.key, history))
            .collect();
        Self {
            settings,
            values: Arc::new(Values::of(histories.values().copied())),
            runs: model.runs.iter().map(|row| (&row.run, row)).collect(),
            summaries: model.summaries.iter().map(|s| (&s.run.run, s)).collect(),
            histories,
            hrefs: model
                .histories
                .iter()
                .map(|history| &history.series.key)
                .map(|key| (key, address::series(key)))
                .collect(),
            nights: nights(model),
            current: current(model),
            by_machine: by_machine(model),
            places: places(model),
            series_keys: model
                .histories
                .iter()
                .map(|history| (&history.series.key, OnceLock::new()))
                .collect(),
            by_case: by_case(model),
            newest: model.runs.iter().map(|row| row.started).max(),
            again: again(model),
            portion: None,
            downloads: None,
            files: None,
            model,
        }
    }

    /// The same for pages of some runs.
    pub fn with<'p>(&self, portion: &'p Portion) -> Library<'p>
    where
        'a: 'p,
    {
        let own: Library<'p> = self.clone();
        Library {
            portion: Some(portion),
            ..own
        }
    }

    /// What went wrong in a run whose page is rendered and whose summary is not at hand.
    pub fn troubles(&self, run: &RunId) -> Option<&'a RunSummary> {
        self.portion?.troubles.get(run)
    }

    /// A fingerprint, where it is at hand.
    pub fn fingerprint(&self, digest: &Digest) -> Option<&'a Fingerprint> {
        let of_portion = self
            .portion
            .and_then(|portion| portion.fingerprints.get(digest));
        of_portion.or_else(|| self.model.fingerprints.get(digest))
    }

    /// The run before another one on its machine.
    pub fn before(&self, row: &RunRow) -> Option<&'a RunRow> {
        let of_machine = self.by_machine.get(row.machine.as_str())?;
        let is_earlier = |other: &&RunRow| (other.started, &other.run) < (row.started, &row.run);
        let at = of_machine.partition_point(is_earlier);
        at.checked_sub(1).map(|at| of_machine[at])
    }

    /// The manifest of a run whose page is rendered.
    pub fn manifest(&self, digest: &Digest) -> Option<&'a Planned> {
        self.portion?.manifests.get(digest)
    }

    /// The runs that reproduce another, oldest first.
    pub fn again(&self, run: &RunId) -> &[&'a RunId] {
        self.again.get(run).map_or(&[], Vec::as_slice)
    }

    /// The files of results.
    pub fn results(&self) -> Vec<Results> {
        let runs = self.runs.values().copied();
        results::files(runs.filter(|_| self.model.with_results))
    }

    /// Runs, the latest first.
    pub fn latest_first(&self) -> impl Iterator<Item = &'a RunRow> {
        self.runs.values().rev().copied()
    }

    /// What a run found, where that is at hand.
    pub fn summary(&self, run: &RunId) -> Option<&'a RunSummary> {
        self.summaries.get(run).copied()
    }

    /// The row of a night's run.
    pub fn night_row(&self, night: &Night) -> Option<&'a RunRow> {
        self.runs.get(&night.gate.run).copied()
    }

    /// Whole days from the start of a run to that of the newest run of all: what is old follows from runs, never from the clock.
    pub fn age_days(&self, started: Timestamp) -> i64 {
        let newest = self.newest.unwrap_or(started);
        (newest.unix_ns() - started.unix_ns()) / DAY_NS
    }

    /// Whether a run is too long ago to be news.
    pub fn is_old(&self, row: &RunRow) -> bool {
        self.age_days(row.started) > OLD_DAYS
    }

    /// The nights that are news, and those that are not.
    pub fn nights_by_age(&self) -> [Vec<&'a Night>; 2] {
        let is_old = |night: &&&Night| self.night_row(night).is_some_and(|row| self.is_old(row));
        let (old, recent) = self
            .nights
            .iter()
            .partition::<Vec<_>, _>(|night| is_old(night));
        [recent, old]
    }

    /// The newest night where a series is, if it judges that series.
    pub fn night_of(&self, series: &Series) -> Option<&'a Night> {
        let key = &series.key;
        let current = self.current.get(&Place::of(key))?;
        let night = self.night(&key.suite, &key.machine)?;
        let is_judged = night.gate.comparison.candidate.arm == key.arm;
        (is_judged && current.series.key == *key).then_some(night)
    }

    /// The newest night of a suite on a machine.
    pub fn night(&self, suite: &str, machine: &str) -> Option<&'a Night> {
        let is_it = |night: &&&Night| {
            self.night_row(night)
                .is_some_and(|row| row.suite == suite && row.machine == machine)
        };
        self.nights.iter().find(is_it).copied()
    }

    /// The series that a night's verdict on a metric of a case is of.
    pub fn series_of(&self, night: &Night, case: &str, metric: &str) -> Option<&'a CaseHistory> {
        let arm = &night.gate.comparison.candidate.arm;
        self.series_at(self.night_row(night)?, arm, case, metric)
    }

    /// The series of a metric of a case where a run was.
    pub fn series_at(
        &self,
        row: &RunRow,
        arm: &str,
        case: &str,
        metric: &str,
    ) -> Option<&'a CaseHistory> {
        let place = Place {
            suite: &row.suite,
            case,
            is_further: metric != Metric::TIME,
            metric,
            machine: &row.machine,
            arm,
        };
        self.current.get(&place).copied()
    }

    /// What telemetry read over a run whose page is rendered.
    pub fn gauges(&self, run: &RunId) -> Option<&'a RunGauges> {
        self.portion?.gauges.get(run)
    }

    /// What lies behind a case's values in a run, where that is at hand.
    pub fn detail(&self, run: &RunId, case: &str, arm: &str) -> Option<&'a CaseDetail> {
        let place = (run.clone(), case.to_owned(), arm.to_owned());
        self.model.details.get(&place)
    }

    /// Machines by name, each with its runs, the latest first.
    pub fn machines(&self) -> BTreeMap<&'a str, Vec<&'a RunRow>> {
        let machines = self.by_machine.iter();
        let latest_first = |runs: &Vec<&'a RunRow>| runs.iter().rev().copied().collect();
        machines
            .map(|(name, runs)| (*name, latest_first(runs)))
            .collect()
    }

    /// Suites by name, each with its runs, the latest first.
    pub fn suites(&self) -> BTreeMap<&'a str, Vec<&'a RunRow>> {
        let mut suites: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
        for run in self.latest_first() {
            suites.entry(&run.suite).or_default().push(run);
        }
        suites
    }

    /// The case that a series is of, as its latest run had it.
    pub fn latest_case(&self, series: &Series) -> Option<(&'a RunSummary, &'a CaseSummary)> {
        let run = self.summary(&series.points.last()?.run)?;
        let is_it = |case: &&CaseSummary| {
            case.case.case == series.key.case && case.case.arm == series.key.arm
        };
        Some((run, run.cases.iter().find(is_it)?))
    }

    /// What makes each series of a case.
    pub fn of_case(&self, case: &str) -> impl Iterator<Item = &'a SeriesKey> {
        let of_case = self.by_case.get(case);
        of_case.into_iter().flatten().map(|series| &series.key)
    }

    /// Series of the same case and metric in the same place whose definition is another one.
    pub fn siblings(&self, key: &SeriesKey) -> impl Iterator<Item = &'a Series> {
        let of_case = self.by_case.get(key.case.as_str());
        let all = of_case.into_iter().flatten().copied();
        all.filter(move |other| are_siblings(&other.key, key))
    }
}

fn nights(model: &SiteModel) -> Vec<&Night> {
    let mut nights: Vec<&Night> = model.nights.iter().collect();
    nights.sort_by_key(|night| (urgency(night.gate.state), &night.gate.run));
    nights
}

/// Its place in a list that begins with what somebody should look at.
pub fn urgency(state: State) -> u8 {
    match state {
        State::Troubled => 0,
        State::Impossible => 1,
        State::Regressed => 2,
        State::Suspected => 3,
        State::NotMeasured => 4,
        State::Moved => 5,
        State::Improved => 6,
        State::Inconclusive => 7,
        State::Known => 8,
        State::Unchanged => 9,
        State::NoBaseline => 10,
    }
}

fn current(model: &SiteModel) -> BTreeMap<Place<'_>, &CaseHistory> {
    let end = |history: &CaseHistory| history.series.points.last().map(|point| point.started);
    let mut current: BTreeMap<Place<'_>, &CaseHistory> = BTreeMap::new();
    for history in &model.histories {
        let key = &history.series.key;
        let at_hand = current.entry(Place::of(key)).or_insert(history);
        if (end(history), key) > (end(at_hand), &at_hand.series.key) {
            *at_hand = history;
        }
    }
    current
}

fn by_machine(model: &SiteModel) -> BTreeMap<&str, Vec<&RunRow>> {
    let mut machines: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
    for run in &model.runs {
        machines.entry(&run.machine).or_default().push(run);
    }
    for runs in machines.values_mut() {
        runs.sort_by(|a, b| (a.started, &a.run).cmp(&(b.started, &b.run)));
    }
    machines
}

fn places(model: &SiteModel) -> BTreeMap<(&str, &str), Digest> {
    let mut places: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for history in &model.histories {
        let key = &history.series.key;
        let own = places.entry((&key.suite, &key.machine)).or_default();
        own.push(address::series(key));
    }
    let digest = |mut hrefs: Vec<String>| {
        hrefs.sort_unstable();
        Digest::of(hrefs.join("\n"))
    };
    let digests = places
        .into_iter()
        .map(|(place, hrefs)| (place, digest(hrefs)));
    digests.collect()
}

fn by_case(model: &SiteModel) -> BTreeMap<&str, Vec<&Series>> {
    let mut by_case: BTreeMap<&str, Vec<&Series>> = BTreeMap::new();
    for history in &model.histories {
        let of_case = by_case.entry(&history.series.key.case).or_default();
        of_case.push(&history.series);
    }
    for series in by_case.values_mut() {
        series.sort_by_key(|series| &series.key);
    }
    by_case
}

fn again(model: &SiteModel) -> BTreeMap<&RunId, Vec<&RunId>> {
    let mut again: BTreeMap<&RunId, Vec<&RunId>> = BTreeMap::new();
    for row in &model.runs {
        if let Some(original) = &row.reproduces {
            again.entry(original).or_default().push(&row.run);
        }
    }
    for runs in again.values_mut() {
        runs.sort_unstable();
    }
    again
}

fn are_siblings(a: &SeriesKey, b: &SeriesKey) -> bool {
    a.definition != b.definition
        && (&a.case, &a.metric, a.timing) == (&b.case, &b.metric, b.timing)
        && (&a.suite, &a.machine, &a.arm) == (&b.suite, &b.machine, &b.arm)
}
