//! A model in the order in which pages show it, and the ways to look things up in it.

mod nights;
mod unjudged;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::thread;

use assay_protocol::{Digest, Metric};
use assay_record::{CaseLists, Fingerprint, Manifest, RunId, Timestamp};
use assay_store::{RunGauges, RunRow, SeriesKey};
use assay_verdicts::nights::{NEWS_DAYS, days_between};
use assay_verdicts::{CaseHistory, CaseSummary, RunSummary, Series};

use super::{CaseDetail, Night, Portion, SiteModel};
use crate::address;
use crate::data::origin::Origins;
use crate::downloads::Downloads;
use crate::presentation::Presentation;
use crate::results::{self, Results};
use crate::values::Values;
use nights::by_place;

pub use nights::{NightPlace, Said, night_place, steps_within};
pub use unjudged::Unjudged;

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
    /// What is said of the newest nights, what asks for action first; a night of several runs is there with each of them.
    pub nights: Vec<&'a Night>,
    /// The same by their places, in each the latest run first.
    by_place: BTreeMap<NightPlace<'a>, Vec<&'a Night>>,
    /// Cases of the newest night of each place.
    present: Arc<nights::Present<'a>>,
    /// Arms that no night judges.
    unjudged: Arc<Vec<Unjudged<'a>>>,
    /// Suites that have several arms, which are then named.
    with_arms: BTreeSet<&'a str>,
    /// The series that has the latest point in each place; definitions follow each other there.
    pub current: BTreeMap<Place<'a>, &'a CaseHistory>,
    /// Runs by their machines, oldest first.
    pub by_machine: BTreeMap<&'a str, Vec<&'a RunRow>>,
    /// Digest over which series a suite has on a machine.
    pub places: BTreeMap<(&'a str, &'a str), Digest>,
    /// Minutes in which several runs of a suite on a machine started.
    shared_minutes: BTreeMap<(&'a str, &'a str), BTreeSet<i64>>,
    /// When each of these began, in order, with a digest over it and those before it.
    begun: BTreeMap<(&'a str, &'a str), Vec<(Timestamp, Digest)>>,
    /// Cases of manifests: most runs have the same.
    pub case_lists: Arc<CaseLists>,
    /// Keys of the pages of runs, once they are known.
    pub run_keys: BTreeMap<&'a RunId, OnceLock<Option<Digest>>>,
    /// Keys of what is made of series, once they are known: several files share one.
    pub series_keys: BTreeMap<&'a SeriesKey, OnceLock<Option<Digest>>>,
    /// What each run has in which series.
    pub values: Arc<Values<'a>>,
    /// What downloads tell of runs.
    pub origins: Arc<Origins<'a>>,
    /// What is said in the end of nights, by their runs.
    said: Arc<BTreeMap<&'a RunId, Said<'a>>>,
    /// Series by their cases.
    by_case: BTreeMap<&'a str, Vec<&'a Series>>,
    /// When the newest run of all started, but for those of a time to come.
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
        thread::scope(|scope| {
            let listed: Vec<&CaseHistory> = histories.values().copied().collect();
            // What takes longest beside all else.
            let values = scope.spawn(move || Values::of(listed.into_iter()));
            let values = || values.join().unwrap_or_else(|panic| resume_unwind(panic));
            Self::put_together(model, settings, histories, values)
        })
    }

    fn put_together(
        model: &'a SiteModel,
        settings: &'a Presentation<'a>,
        histories: BTreeMap<&'a SeriesKey, &'a CaseHistory>,
        values: impl FnOnce() -> Values<'a>,
    ) -> Self {
        let library = Self {
            settings,
            runs: model.runs.iter().map(|row| (&row.run, row)).collect(),
            summaries: model.summaries.iter().map(|s| (&s.run.run, s)).collect(),
            histories,
            hrefs: model
                .histories
                .iter()
                .map(|history| &history.series.key)
                .map(|key| (key, address::series(key)))
                .collect(),
            nights: model.nights.iter().collect(),
            by_place: by_place(model),
            present: Arc::default(),
            unjudged: Arc::default(),
            with_arms: with_arms(model),
            current: current(model),
            by_machine: by_machine(model),
            places: places(model),
            shared_minutes: shared_minutes(model),
            begun: begun(model),
            case_lists: Arc::default(),
            run_keys: model
                .runs
                .iter()
                .map(|row| (&row.run, OnceLock::new()))
                .collect(),
            series_keys: model
                .histories
                .iter()
                .map(|history| (&history.series.key, OnceLock::new()))
                .collect(),
            origins: Arc::new(Origins::of(model.runs.iter())),
            by_case: by_case(model),
            newest: model
                .newest_start
                .or_else(|| model.runs.iter().map(|row| row.started).max()),
            again: again(model),
            portion: None,
            downloads: None,
            files: None,
            said: Arc::default(),
            model,
            values: Arc::new(values()),
        };
        library.told()
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
    pub fn manifest(&self, digest: &Digest) -> Option<&'a Manifest> {
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

    /// Whole days from the start of a run to that of the newest run of all: what is old follows from runs, never from the clock.
    pub fn age_days(&self, started: Timestamp) -> i64 {
        days_between(started, self.newest.unwrap_or(started))
    }

    /// Whether another run of a suite on a machine started in the same minute, and at another second.
    pub fn shares_its_minute(&self, of: (&str, &str), started: Timestamp) -> bool {
        let shared = self.shared_minutes.get(&of);
        shared.is_some_and(|shared| shared.contains(&minute(started)))
    }

    /// Minutes of which that is so.
    pub fn shared_minutes<'s>(&'s self, of: (&'s str, &'s str)) -> Option<&'s BTreeSet<i64>> {
        self.shared_minutes.get(&of)
    }

    /// Whether a run is too long ago to be news.
    pub fn is_old(&self, row: &RunRow) -> bool {
        self.age_days(row.started) > NEWS_DAYS
    }

    /// Whether the series of a suite must be told apart by their arms.
    pub fn has_arms(&self, suite: &str) -> bool {
        self.with_arms.contains(suite)
    }

    /// The name of an arm where a suite has several; else empty.
    pub fn arm_in<'n>(&self, suite: &str, arm: &'n str) -> &'n str {
        if self.has_arms(suite) { arm } else { "" }
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

    /// Whether a series had a value by some time.
    pub fn had_begun(&self, key: &SeriesKey, by: Timestamp) -> bool {
        let history = self.histories.get(key);
        let began = history.and_then(|history| began(&history.series));
        began.is_some_and(|began| began <= by)
    }

    /// Digest over the series of a run's suite on its machine that had begun when it started.
    pub fn begun_by(&self, row: &RunRow) -> Option<Digest> {
        let begun = self
            .begun
            .get(&(row.suite.as_str(), row.machine.as_str()))?;
        let until = begun.partition_point(|(began, _)| *began <= row.started);
        Some(begun[until.checked_sub(1)?].1)
    }

    /// Series of the same case and metric in the same place whose definition is another one.
    pub fn siblings(&self, key: &SeriesKey) -> impl Iterator<Item = &'a Series> {
        let of_case = self.by_case.get(key.case.as_str());
        let all = of_case.into_iter().flatten().copied();
        all.filter(move |other| are_siblings(&other.key, key))
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

fn minute(at: Timestamp) -> i64 {
    at.unix_ns().div_euclid(60_000_000_000)
}

fn shared_minutes(model: &SiteModel) -> BTreeMap<(&str, &str), BTreeSet<i64>> {
    let mut first: BTreeMap<(&str, &str, i64), i64> = BTreeMap::new();
    let mut shared: BTreeMap<(&str, &str), BTreeSet<i64>> = BTreeMap::new();
    for row in &model.runs {
        let (of, minute) = ((&*row.suite, &*row.machine), minute(row.started));
        let second = row.started.unix_ns().div_euclid(1_000_000_000);
        if *first.entry((of.0, of.1, minute)).or_insert(second) != second {
            shared.entry(of).or_default().insert(minute);
        }
    }
    shared
}

/// When a series has its first value.
fn began(series: &Series) -> Option<Timestamp> {
    let point = series.points.first().map(|point| point.started);
    let impossible = series.impossible.first().map(|found| found.started);
    point.into_iter().chain(impossible).min()
}

fn begun(model: &SiteModel) -> BTreeMap<(&str, &str), Vec<(Timestamp, Digest)>> {
    let mut places: BTreeMap<(&str, &str), Vec<(Timestamp, String)>> = BTreeMap::new();
    for history in &model.histories {
        let key = &history.series.key;
        if let Some(began) = began(&history.series) {
            let own = places.entry((&key.suite, &key.machine)).or_default();
            own.push((began, address::series(key)));
        }
    }
    let chained = |mut begun: Vec<(Timestamp, String)>| {
        begun.sort_unstable();
        let mut last = Digest::of("");
        let link = |(began, href): (Timestamp, String)| {
            last = Digest::of_parts([&last.as_bytes()[..], href.as_bytes()]);
            (began, last)
        };
        begun.into_iter().map(link).collect()
    };
    let places = places.into_iter();
    places.map(|(place, own)| (place, chained(own))).collect()
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

/// Suites that have several arms.
fn with_arms(model: &SiteModel) -> BTreeSet<&str> {
    let keys = model.histories.iter().map(|history| &history.series.key);
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    let other = keys.filter(|key| *first.entry(&key.suite).or_insert(&key.arm) != key.arm);
    other.map(|key| key.suite.as_str()).collect()
}
