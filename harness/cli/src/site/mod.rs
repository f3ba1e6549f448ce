//! Publishing: what the database holds becomes a site model, and that becomes pages.

mod details;
mod machines;
mod matrices;
mod nights;
pub mod unchanged;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Result;
use assay_protocol::Digest;
use assay_record::{Day, RunId, Timestamp};
use assay_reports::{
    Night, Portion, Presentation, Publication, Published, RecordFile, SiteModel, SiteSettings,
};
use assay_store::{Access, RunRow, Store};
use assay_verdicts::ceilings::Ceilings;
use assay_verdicts::missed::AllMissed;
use assay_verdicts::nights::newest_start;
use assay_verdicts::{CaseHistory, Marks, Nights, Reading, RunSummary, known};

use crate::settings::Settings;
use crate::{database, marks, reproduction};

/// Runs whose pages are read and rendered together.
const PORTION: usize = 500;
/// Newest runs of each suite on each machine whose pages have all that was found, and that other pages tell of too.
const NEWEST: usize = 30;

/// What is published beside the usual.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Publishing {
    /// Add a page that compares two runs or more, the first with each other one: `A,B`, each an id, a unique prefix of one,
    /// `latest`, `latest~1`, or `tag:NAME`. May be given again. `compare = ["A,B"]` in assay.toml adds it every time.
    #[arg(long, value_name = "A,B")]
    compare: Vec<String>,
    /// Pages that are added where there is anything to compare, and else left out with a warning.
    #[arg(skip)]
    usual: Vec<String>,
    /// Publish uncommitted changes and environment variables of runs too; they may hold secrets.
    #[arg(long)]
    publish_source: bool,
}

impl Publishing {
    /// These wishes with those that the settings have for every time.
    fn with(&self, settings: &Settings) -> Self {
        let is_new = |pair: &&String| !settings.compare.contains(pair);
        let more = self.usual.iter().filter(is_new);
        Self {
            usual: settings.compare.iter().chain(more).cloned().collect(),
            ..self.clone()
        }
    }

    /// What is left out rather than that there be no site: a night was measured, whatever else was asked for.
    #[must_use]
    pub fn of_a_night(&self) -> Self {
        Self {
            compare: Vec::new(),
            usual: [&self.usual[..], &self.compare].concat(),
            publish_source: self.publish_source,
        }
    }
}

/// Whether logo and templates can be read, before anything is measured.
pub fn check(settings: &Settings) -> Result<()> {
    let of = site_settings(settings, &Publishing::default());
    Presentation::of(&of)?;
    Ok(())
}

fn site_settings(settings: &Settings, publishing: &Publishing) -> SiteSettings {
    SiteSettings {
        title: settings.title.clone(),
        base: settings.base.clone(),
        logo: settings.logo.clone(),
        commit_link: settings.commit_link.clone(),
        templates: settings.templates.clone(),
        publish_source: publishing.publish_source,
        newest_records: settings.newest_records,
    }
}

/// Publishes everything that the database holds to `out`.
pub fn publish(settings: &Settings, out: &Path, publishing: &Publishing) -> Result<Published> {
    let publishing = &publishing.with(settings);
    let marks = marks::load(settings)?;
    let site_settings = site_settings(settings, publishing);
    let presentation = Presentation::of(&site_settings)?;
    // The database is closed while pages are rendered, but for a moment for results: others may want to write.
    let read = || database::open(settings, Access::Read);
    let store = read()?;
    let runs = store.runs()?;
    marks::complain(settings, &marks, &store, day_of(&runs))?;
    warn_of_times_to_come(&runs);
    let inputs = unchanged::inputs(settings, &store, &presentation, publishing)?;
    if let Some(there) = unchanged::find(settings, out, inputs) {
        return Ok(there);
    }
    let model = model(settings, &store, &marks, publishing)?;
    let mut publication = Publication::begin(&model, out, &presentation)?;
    let missing: BTreeSet<RunId> = publication.missing_runs().into_iter().collect();
    let rows: Vec<&RunRow> = model
        .runs
        .iter()
        .filter(|row| missing.contains(&row.run))
        .collect();
    let before = before(&model.runs);
    let newest: BTreeSet<&RunId> = model.summaries.iter().map(|of| &of.run.run).collect();
    let mut store = Some(store);
    for rows in rows.chunks(PORTION) {
        let open = store.take().map_or_else(read, Ok)?;
        let portion = portion(&open, &before, &newest, rows)?;
        drop(open);
        publication.add(&portion)?;
    }
    drop(store);
    let results = publication.missing_results();
    thread::scope(|scope| -> Result<()> {
        let results = scope.spawn(|| database::export_results(settings, &results));
        publication.add_others()?;
        results.join().unwrap_or_else(|panic| resume_unwind(panic))
    })?;
    let published = publication.finish()?;
    unchanged::remember(settings, &published, inputs);
    // The process ends soon: to take a million values apart first is of no use to anybody.
    std::mem::forget(model);
    Ok(published)
}

fn model(
    settings: &Settings,
    store: &Store,
    marks: &Marks,
    publishing: &Publishing,
) -> Result<SiteModel> {
    let runs = store.runs()?;
    let today = day_of(&runs);
    let newest_start = newest_start(&runs, Timestamp::now());
    let meant = looked_at(&runs);
    // As long as it takes to read all series.
    let (late, early) = meant.split_at(meant.len() * 2 / 3);
    let ((), series) = both(
        store.share()?,
        |other| ask(other, late),
        || {
            let series = store.series()?;
            ask(store, early)?;
            Ok(series)
        },
    )?;
    let places = Nights::among(store, &runs, newest_start)?;
    let ((mut nights, (mut confirmed, asked), matrices, reproductions), (histories, missed)) =
        both(
            store.share()?,
            |other| {
                let reading = Reading {
                    store: other,
                    series: Some(&series),
                };
                let nights = nights::all(reading, settings, &places, (marks, today))?;
                let confirmed =
                    nights::confirmed(reading, settings, &runs, &nights, (marks, today))?;
                let matrices = matrices::all(reading, (&runs, &places), publishing)?;
                let reproductions = reproduction::all_stored(reading)?;
                Ok((nights, confirmed, matrices, reproductions))
            },
            || {
                let missed = AllMissed::of(store)?;
                Ok((CaseHistory::of_rows(store, &series, marks, today)?, missed))
            },
        )?;
    let reading = Reading {
        store,
        series: Some(&series),
    };
    let settled = nights::settled_by_gates(
        reading,
        settings,
        (&runs, &places),
        (&histories, asked),
        (marks, today),
    )?;
    drop(series);
    known::settle(
        nights.iter_mut().map(|night| &mut night.gate),
        &mut confirmed,
        &histories,
    );
    let newest = newest(&runs, &nights, &histories);
    let (details, summaries) = both(
        store.share()?,
        |other| details::all(other, &histories, &nights, &confirmed),
        || Ok(RunSummary::of_rows(store, &newest)?),
    )?;
    Ok(SiteModel {
        heads: store.heads()?,
        summaries,
        details,
        matrices,
        reproductions,
        fingerprints: store.fingerprints(&last_fingerprints(&runs))?,
        ceilings: Ceilings::of_all(store, runs.iter().map(|row| row.machine.as_str()))?,
        timelines: machines::timelines(store, &runs)?,
        records: records(&runs, settings.newest_records),
        with_results: true,
        newest_start,
        runs: runs.to_vec(),
        histories,
        missed,
        nights,
        confirmed,
        settled,
    })
}

/// Runs that nights, comparisons, reproductions and summaries ask for: the newest of each suite on each machine, those that are no
/// points of histories, and what these reproduce.
fn looked_at(runs: &[RunRow]) -> Vec<&RunRow> {
    let others = runs.iter().filter(|row| !is_point(row));
    let mut meant: BTreeSet<&RunId> = recent(runs).map(|row| &row.run).collect();
    meant.extend(others.flat_map(|row| {
        [Some(&row.run), row.reproduces.as_ref()]
            .into_iter()
            .flatten()
    }));
    let latest = runs.iter().rev();
    latest.filter(|row| meant.contains(&row.run)).collect()
}

/// Asks the store for what is needed of some runs: it keeps that for who looks at one of them.
fn ask(store: &Store, rows: &[&RunRow]) -> Result<()> {
    let runs: Vec<RunId> = rows.iter().map(|row| row.run.clone()).collect();
    store.cases_of(&runs)?;
    store.events_of(&runs)?;
    store.manifests(&rows.iter().map(|row| row.manifest).collect())?;
    store.fingerprints(&rows.iter().map(|row| row.before).collect())?;
    Ok(())
}

/// Two values that do not need each other, the first made by another thread with a connection of its own.
fn both<A: Send, B>(
    store: Store,
    one: impl FnOnce(&Store) -> Result<A> + Send,
    other: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    thread::scope(|scope| {
        let one = scope.spawn(move || one(&store));
        let other = other();
        let one = one.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok((one?, other?))
    })
}

/// Says which run stands before all others, for good: its machine's clock was ahead, or its commit has a wrong date.
fn warn_of_times_to_come(runs: &[RunRow]) {
    let newest = newest_start(runs, Timestamp::now());
    let mut later = runs.iter().filter(|row| Some(row.started) > newest);
    if let Some(row) = later.next() {
        let others = match later.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        crate::note!(
            "warning: run {} of suite `{}` on {} says that it started at {}, which is not yet{others}: it stays the newest of its suite there until then; remove {} and run `assay db rebuild`, or import it with another --date",
            row.run,
            row.suite,
            row.machine,
            row.started,
            row.record
        );
    }
}

/// The day that a site is of, which follows from its runs and never from the clock: by it marks hold or have expired.
fn day_of(runs: &[RunRow]) -> Day {
    let now = Timestamp::now();
    let newest = newest_start(runs, now);
    let known = runs.iter().filter(|row| Some(row.started) <= newest);
    let ends = known.map(|row| row.finished.unwrap_or(row.started));
    ends.max().unwrap_or(now).day()
}

/// Runs of which everything is told, on other pages than their own too: the newest of each suite on each machine, those that are no
/// points of histories, the newest nights, and the last of each series.
fn newest(runs: &[RunRow], nights: &[Night], histories: &[CaseHistory]) -> Vec<RunRow> {
    let mut meant: BTreeSet<&RunId> = recent(runs).map(|row| &row.run).collect();
    let is_no_point = |row: &&RunRow| !is_point(row);
    meant.extend(runs.iter().filter(is_no_point).map(|row| &row.run));
    meant.extend(nights.iter().map(|night| &night.gate.run));
    let last = histories
        .iter()
        .filter_map(|history| history.series.points.last());
    meant.extend(last.map(|point| &point.run));
    let newest = runs.iter().filter(|row| meant.contains(&row.run));
    newest.cloned().collect()
}

/// Whether a run is a point of histories.
fn is_point(row: &RunRow) -> bool {
    row.reproduces.is_none() && row.purpose.is_measurement()
}

/// The newest points of each suite on each machine, the latest first.
fn recent(runs: &[RunRow]) -> impl Iterator<Item = &RunRow> {
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let points = runs.iter().rev().filter(|row| is_point(row));
    points.filter(move |row| {
        let seen = seen.entry((&row.suite, &row.machine)).or_default();
        *seen += 1;
        *seen <= NEWEST
    })
}

/// Where the records of the newest runs lie.
fn records(runs: &[RunRow], newest: usize) -> BTreeMap<RunId, RecordFile> {
    let file = |row: &RunRow| {
        let path = PathBuf::from(&row.record);
        let found = std::fs::metadata(&path).ok();
        let bytes = found.filter(Metadata::is_file).map(|found| found.len());
        RecordFile { path, bytes }
    };
    let newest = runs.iter().rev().take(newest);
    newest.map(|row| (row.run.clone(), file(row))).collect()
}

/// What each machine was at its newest run, before and after it.
fn last_fingerprints(runs: &[RunRow]) -> BTreeSet<Digest> {
    let last: BTreeMap<&str, &RunRow> =
        runs.iter().map(|row| (row.machine.as_str(), row)).collect();
    let digests = last.values().flat_map(|row| [Some(row.before), row.after]);
    digests.flatten().collect()
}

/// Of each run the one before it on its machine; `runs` are in order.
fn before(runs: &[RunRow]) -> BTreeMap<&RunId, &RunRow> {
    let mut last: BTreeMap<&str, &RunRow> = BTreeMap::new();
    let before = runs
        .iter()
        .filter_map(|row| Some((&row.run, last.insert(&row.machine, row)?)));
    before.collect()
}

/// All that pages of some runs are made of, beside the model.
fn portion(
    store: &Store,
    before: &BTreeMap<&RunId, &RunRow>,
    newest: &BTreeSet<&RunId>,
    rows: &[&RunRow],
) -> Result<Portion> {
    let runs: Vec<RunId> = rows.iter().map(|row| row.run.clone()).collect();
    let older = rows.iter().filter(|row| !newest.contains(&row.run));
    let older: Vec<RunRow> = older.copied().cloned().collect();
    let troubles = RunSummary::troubles_of_rows(store, &older)?.into_iter();
    let own = rows.iter().flat_map(|row| [Some(row.before), row.after]);
    let earlier = rows.iter().map(|row| Some(before.get(&row.run)?.before));
    let digests = own.chain(earlier).flatten().collect();
    Ok(Portion {
        fingerprints: store.fingerprints(&digests)?,
        manifests: store.manifests(&rows.iter().map(|row| row.manifest).collect())?,
        gauges: store.run_gauges(&runs)?,
        troubles: troubles
            .map(|found| (found.run.run.clone(), found))
            .collect(),
        runs,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use assay_record::{Purpose, Record, RunId};
    use assay_store::synthetic::Recipe;
    use assay_store::{Access, RunRow};
    use assay_verdicts::Marks;

    use super::{Publishing, before, model, portion};
    use crate::database;
    use crate::settings::Settings;

    /// Three nights of a suite, the last of which is slow and was run again, a calibration, ceilings and a reproduction.
    fn records(suite: u32) -> Vec<Record> {
        let night = |night: u32| Recipe {
            suite: format!("suite-{suite}"),
            night,
            slowdown: if night == 2 { 1.5 } else { 1.0 },
            ..Recipe::default()
        };
        let again = |purpose| Recipe {
            seed: 2,
            purpose,
            ..night(2)
        };
        let confirmation = Purpose::Confirmation { of: night(2).run() };
        let mut recipes: Vec<Recipe> = (0..3).map(night).collect();
        recipes.push(again(confirmation));
        for (seed, purpose) in [(3, Purpose::Calibration), (4, Purpose::Ceilings)] {
            recipes.push(Recipe {
                seed,
                ..again(purpose)
            });
        }
        let mut records: Vec<Record> = recipes.iter().map(Recipe::record).collect();
        let mut reproduction = night(3).record();
        reproduction.header.reproduces = Some(night(1).run());
        records.push(reproduction);
        records
    }

    /// Statements by which all of a site is collected.
    fn statements(suites: u32) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::of(folder.path()).unwrap();
        let mut store = database::open(&settings, Access::Write).unwrap();
        for record in (0..suites).flat_map(records) {
            let path = folder.path().join(record.header.run.as_str());
            store.ingest_record(&record, &path).unwrap();
        }
        drop(store);
        let store = database::open(&settings, Access::Read).unwrap();
        let chosen = Publishing::default();
        let model = model(&settings, &store, &Marks::default(), &chosen).unwrap();
        assert_eq!(model.nights.len() as u32, suites);
        assert_eq!(model.reproductions.len() as u32, suites);
        let newest: BTreeSet<&RunId> = model.summaries.iter().map(|of| &of.run.run).collect();
        let rows: Vec<&RunRow> = model.runs.iter().collect();
        portion(&store, &before(&model.runs), &newest, &rows).unwrap();
        store.statements()
    }

    #[test]
    fn more_suites_and_runs_take_no_more_statements() {
        assert_eq!(statements(1), statements(6));
    }
}
