//! A model in the order in which pages show it, and the ways to look things up in it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::thread;

use assay_protocol::{Digest, Metric};
use assay_record::{CaseLists, Fingerprint, Manifest, Purpose, RunId, Timestamp};
use assay_store::{RunGauges, RunRow, SeriesKey};
use assay_verdicts::nights::{NEWS_DAYS, days_between};
use assay_verdicts::{
    CaseHistory, CaseState, CaseSummary, Confirmed, Lasting, LocatedChange, RunSummary, Series,
    Standing, Told, Verdict, confirmed,
};

use super::{CaseDetail, Night, Portion, SiteModel};
use crate::address;
use crate::data::origin::Origins;
use crate::downloads::Downloads;
use crate::presentation::Presentation;
use crate::results::{self, Results};
use crate::values::Values;

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
    /// Suites that have several arms, which are then named.
    with_arms: BTreeSet<&'a str>,
    /// The series that has the latest point in each place; definitions follow each other there.
    pub current: BTreeMap<Place<'a>, &'a CaseHistory>,
    /// Runs by their machines, oldest first.
    pub by_machine: BTreeMap<&'a str, Vec<&'a RunRow>>,
    /// Digest over which series a suite has on a machine.
    pub places: BTreeMap<(&'a str, &'a str), Digest>,
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

/// What is said of a night, and of what.
#[derive(Clone, Debug)]
pub struct Said<'a> {
    /// In the end.
    pub told: Told,
    /// How many confirmed regressions still stand there.
    pub standing: usize,
    /// How many levels changed to stay there, which the night does not call itself.
    pub counts: Lasting,
    /// These, where suspects are never run again.
    pub lasting: Vec<(&'a CaseHistory, &'a LocatedChange)>,
    /// How many got worse to stay there and stand, and are no news any more.
    pub older: usize,
}

/// Lasting changes with their histories, by the run whose night speaks of them.
type LastingByRun<'a> = BTreeMap<&'a RunId, Vec<(&'a CaseHistory, &'a LocatedChange)>>;

/// Where nights follow each other: suite, machine and arm.
pub type NightPlace<'a> = (&'a str, &'a str, &'a str);

/// Where the nights of a series are.
pub fn night_place(key: &SeriesKey) -> NightPlace<'_> {
    (&key.suite, &key.machine, &key.arm)
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
            with_arms: with_arms(model),
            current: current(model),
            by_machine: by_machine(model),
            places: places(model),
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
            newest: model.runs.iter().map(|row| row.started).max(),
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

    /// With what is said of nights in the end, and these by that: what asks for action first.
    fn told(mut self) -> Self {
        let said = self.said_of_all();
        let urgency = |night: &&Night| said.get(&night.gate.run).map(|said| said.told.urgency());
        self.nights
            .sort_by_key(|night| (urgency(night), &night.gate.run));
        self.said = Arc::new(said);
        self
    }

    fn said_of_all(&self) -> BTreeMap<&'a RunId, Said<'a>> {
        let (mut lasting, older) = self.lasting();
        let mut standing: BTreeMap<&RunId, usize> = BTreeMap::new();
        for one in self.standing() {
            if let Some(night) = self.night_for(&one.history.series.key) {
                *standing.entry(&night.gate.run).or_default() += 1;
            }
        }
        let said = |night: &&'a Night| {
            let run = &night.gate.run;
            let lasting = lasting.remove(run).unwrap_or_default();
            let mut counts = Lasting::default();
            for (history, change) in &lasting {
                counts.add(change, night.gate.says_of(history));
            }
            let standing = standing.get(run).copied().unwrap_or(0);
            let told = Told::of(night.gate.state, standing, counts);
            let said = Said {
                told,
                standing,
                counts,
                lasting,
                older: older.get(run).copied().unwrap_or(0),
            };
            (run, said)
        };
        let at_hand = self.nights.iter();
        let at_hand = at_hand.filter(|night| self.night_row(night).is_some());
        at_hand.map(said).collect()
    }

    /// The latest lasting changes where suspects are never run again, as far as they are news, by the runs that speak of them; and how many
    /// for the worse are no news any more. How old one is goes by where it most likely is, not by how surely that is known.
    fn lasting(&self) -> (LastingByRun<'a>, BTreeMap<&'a RunId, usize>) {
        let places = self.places_unconfirmed();
        let (mut found, mut older) = (LastingByRun::new(), BTreeMap::new());
        for history in self.current.values().copied() {
            let key = &history.series.key;
            // Cheaper than what its night says of it.
            let may_be = places.contains(&night_place(key)) && !history.changes.is_empty();
            let Some(night) = may_be.then(|| self.night_for(key)).flatten() else {
                continue;
            };
            let Some(change) = history.lasting_beside(&night.gate) else {
                continue;
            };
            let run = &night.gate.run;
            let began = history.series.points.get(change.index);
            if began.is_some_and(|point| self.age_days(point.started) <= NEWS_DAYS) {
                found.entry(run).or_default().push((history, change));
            } else if change.verdict == Some(Verdict::Regressed) {
                *older.entry(run).or_default() += 1;
            }
        }
        (found, older)
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

    /// The row of a night's run.
    pub fn night_row(&self, night: &Night) -> Option<&'a RunRow> {
        self.runs.get(&night.gate.run).copied()
    }

    /// Whole days from the start of a run to that of the newest run of all: what is old follows from runs, never from the clock.
    pub fn age_days(&self, started: Timestamp) -> i64 {
        days_between(started, self.newest.unwrap_or(started))
    }

    /// Whether a run is too long ago to be news.
    pub fn is_old(&self, row: &RunRow) -> bool {
        self.age_days(row.started) > NEWS_DAYS
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

    /// The run of the newest night that speaks of a series, if that goes on.
    pub fn night_of(&self, series: &Series) -> Option<&'a Night> {
        let key = &series.key;
        let current = self.current.get(&Place::of(key))?;
        (current.series.key == *key).then(|| self.night_for(key))?
    }

    /// The run of the newest night that speaks of what a key says, whatever its definition.
    fn night_for(&self, key: &SeriesKey) -> Option<&'a Night> {
        let runs = self.by_place.get(&night_place(key))?;
        let own = runs.iter().find(|night| night.has(&key.case));
        own.or(runs.first()).copied()
    }

    /// The newest night of each place of a suite on a machine, by arm: its runs, the latest first.
    pub fn nights_at<'s>(
        &'s self,
        suite: &'s str,
        machine: &'s str,
    ) -> impl Iterator<Item = &'s [&'a Night]> {
        let places = self.nights_by_place();
        let own = places.filter(move |((of, on, _), _)| (*of, *on) == (suite, machine));
        own.map(|(_, runs)| runs)
    }

    /// The newest night of each place.
    pub fn nights_by_place(&self) -> impl Iterator<Item = (&NightPlace<'a>, &[&'a Night])> {
        let places = self.by_place.iter();
        places.map(|(place, runs)| (place, runs.as_slice()))
    }

    /// Whether the series of a suite must be told apart by their arms.
    pub fn has_arms(&self, suite: &str) -> bool {
        self.with_arms.contains(suite)
    }

    /// The name of an arm where a suite has several; else empty.
    pub fn arm_in<'n>(&self, suite: &str, arm: &'n str) -> &'n str {
        if self.has_arms(suite) { arm } else { "" }
    }

    /// How many of the cases that a run of a night speaks of were skipped, where that is at hand.
    pub fn skipped(&self, night: &Night) -> Option<usize> {
        let cases = self.summary(&night.gate.run)?.cases.iter();
        let own = cases.filter(|case| case.case.arm == night.arm() && night.has(&case.case.case));
        let skipped = own.filter(|case| matches!(case.state, CaseState::Skipped(_)));
        Some(skipped.count())
    }

    /// What was confirmed before the newest nights and still stands, of series that are news and go on, the largest first; what the newest
    /// night of one calls anew is told there.
    pub fn standing(&self) -> Vec<Standing<'a>> {
        let is_news = |history: &&CaseHistory| {
            let last = history.series.points.last();
            last.is_some_and(|point| self.age_days(point.started) <= NEWS_DAYS)
        };
        let going_on = self.current.values().copied().filter(is_news);
        let mut found = confirmed::standing(&self.model.confirmed, going_on);
        found.retain(|one| !self.is_called_anew(&one.history.series));
        let size = |one: &Standing| {
            one.last
                .case
                .ratio
                .map_or(0.0, |ratio| ratio.estimate.ln().abs())
        };
        found.sort_by(|a, b| size(b).total_cmp(&size(a)));
        found
    }

    fn is_called_anew(&self, series: &Series) -> bool {
        let night = self.night_of(series);
        let cases = night
            .into_iter()
            .flat_map(|night| &night.gate.comparison.cases);
        let mut own = cases.filter(|case| {
            (&case.case, &case.metric.name) == (&series.key.case, &series.key.metric)
        });
        own.any(|case| case.verdict == Verdict::Regressed && case.mark.is_none())
    }

    /// What was confirmed of a series, oldest first, and whether it still stands.
    pub fn confirmed_of(&self, history: &CaseHistory) -> Vec<(&'a Confirmed, bool)> {
        let own = self.model.confirmed.iter().filter(|one| one.is_of(history));
        own.map(|one| (one, one.stands(history))).collect()
    }

    /// Places where no suspect was ever run again: because their nights were imported, or because nobody does so there with the suite.
    /// What lasts is all that can be known there.
    pub fn places_unconfirmed(&self) -> BTreeSet<NightPlace<'a>> {
        let is_confirmation = |row: &&&RunRow| matches!(row.purpose, Purpose::Confirmation { .. });
        let rows = self.runs.values().filter(is_confirmation);
        let confirmed: BTreeSet<(&str, &str)> = rows
            .map(|row| (row.suite.as_str(), row.machine.as_str()))
            .collect();
        let places = self.by_place.iter();
        let open = places.filter(|((suite, machine, _), runs)| {
            runs.iter().any(|night| night.is_imported) || !confirmed.contains(&(suite, machine))
        });
        open.map(|(place, _)| *place).collect()
    }

    /// Whether a confirmed regression of a series still stands.
    pub fn stands(&self, history: &CaseHistory) -> bool {
        let mut own = self.model.confirmed.iter();
        own.any(|one| one.is_of(history) && one.stands(history))
    }

    /// What is said of a night in the end; `None` where its run is not at hand.
    pub fn said(&self, night: &Night) -> Option<&Said<'a>> {
        self.said.get(&night.gate.run)
    }

    /// The lasting change that is told of a series on the first page.
    pub fn lasting_of(&self, history: &CaseHistory) -> Option<&'a LocatedChange> {
        let key = &history.series.key;
        let said = self.said(self.night_for(key)?)?;
        let mut own = said.lasting.iter();
        own.find(|(of, _)| of.series.key == *key)
            .map(|(_, change)| *change)
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

/// Nights by their places, in each the latest run first.
fn by_place(model: &SiteModel) -> BTreeMap<NightPlace<'_>, Vec<&Night>> {
    let rows: BTreeMap<&RunId, &RunRow> = model.runs.iter().map(|row| (&row.run, row)).collect();
    let mut places: BTreeMap<NightPlace<'_>, Vec<&Night>> = BTreeMap::new();
    for night in &model.nights {
        if let Some(row) = rows.get(&night.gate.run) {
            let place = (row.suite.as_str(), row.machine.as_str(), night.arm());
            places.entry(place).or_default().push(night);
        }
    }
    for runs in places.values_mut() {
        runs.sort_by(|a, b| (b.is_newest(), &b.gate.run).cmp(&(a.is_newest(), &a.gate.run)));
    }
    places
}

/// Suites that have several arms.
fn with_arms(model: &SiteModel) -> BTreeSet<&str> {
    let keys = model.histories.iter().map(|history| &history.series.key);
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    let other = keys.filter(|key| *first.entry(&key.suite).or_insert(&key.arm) != key.arm);
    other.map(|key| key.suite.as_str()).collect()
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
