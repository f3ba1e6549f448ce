//! Results of other tools: each file becomes a record like any other, and the record is ingested.
//!
//! An [`Importer`] reads one format into [`Found`], in our words; [`assemble`] makes a record of it. What a file does
//! not say is not made up: the record says what it lacks, and cannot be run again. A file is imported whole or not at
//! all, and once, however often it is given.

mod assemble;
mod found;
mod nvbench;

use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::Digest;
use assay_record::{Record, RunId, Timestamp, whole};
use assay_store::{RunRow, Store};

use self::assemble::Origins;
use self::found::Found;
use crate::settings::Settings;
use crate::suite::locate::read_text;

/// Longest file that is imported, in bytes.
const MAX_BYTES: u64 = 128 << 20;

/// A format of results that another tool wrote.
pub trait Importer: Sync {
    /// What it is called on the command line and in records.
    fn name(&self) -> &'static str;

    /// What a file says. `text` was read from `path`, whose folder may hold more of it; `samples` says whether the
    /// samples are wanted or the sums of them are enough. Errors name the field.
    fn read(&self, path: &Path, text: &str, samples: bool) -> Result<Found>;
}

/// Every format.
const IMPORTERS: &[&dyn Importer] = &[&nvbench::NvBench];

/// The importer of a format.
pub fn importer(name: &str) -> Option<&'static dyn Importer> {
    IMPORTERS.iter().find(|one| one.name() == name).copied()
}

/// The names of all formats.
pub fn names() -> Vec<&'static str> {
    IMPORTERS.iter().map(|one| one.name()).collect()
}

/// What a file does not say, from the command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of the machine.
    pub machine: Option<String>,
    /// Name of the suite.
    pub suite: Option<String>,
    /// When it was measured; else when the file was last written.
    pub date: Option<Timestamp>,
    /// Commit of the measured project.
    pub commit: Option<String>,
    /// Names given to the run.
    pub tags: Vec<String>,
    /// Whether the sums of samples are enough.
    pub without_samples: bool,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is a run now.
    New(RunId),
    /// It was one before, and nothing changed.
    Known(RunId),
}

/// Imports one file.
pub fn import(
    importer: &dyn Importer,
    path: &Path,
    options: &Options,
    settings: &Settings,
    store: &mut Store,
) -> Result<Imported> {
    let text = read_text(path, MAX_BYTES)?;
    let digest = Digest::of(&text);
    let shown = || path.display().to_string();
    if let Some(known) = store.runs_of_suite(&digest)?.into_iter().next() {
        agree(&store.run(&known)?, options).with_context(shown)?;
        return Ok(Imported::Known(known));
    }
    let read = importer.read(path, &text, !options.without_samples);
    let origins = Origins {
        format: importer.name(),
        file: file_name(path),
        digest,
        date: date(path, options)?,
        is_dated: options.date.is_some(),
    };
    let made = read.and_then(|found| assemble::record(found, &origins, options));
    let (header, bodies) = made.with_context(shown)?;
    let run = header.run.clone();
    // The database may have been deleted since.
    let kept = whole::path(&settings.records, &run);
    if !kept.exists() {
        whole::write(&settings.records, header, bodies)?;
        ingest(store, &kept)?;
        return Ok(Imported::New(run));
    }
    ingest(store, &kept)?;
    ensure!(
        store.runs_of_suite(&digest)?.contains(&run),
        "{}: run {run} is of another file; give another --date",
        path.display()
    );
    agree(&store.run(&run)?, options).with_context(shown)?;
    Ok(Imported::Known(run))
}

fn ingest(store: &mut Store, record: &Path) -> Result<()> {
    let kept = || {
        format!(
            "the record is kept in {}; `assay ingest` reads it when this is mended",
            record.display()
        )
    };
    let read = Record::read(record).with_context(kept)?;
    store.ingest_record(&read, record).with_context(kept)?;
    Ok(())
}

/// Refuses to pass over a file that is to be imported in another way than it was.
fn agree(known: &RunRow, options: &Options) -> Result<()> {
    let differs = |wanted: Option<&String>, is: Option<&String>| wanted.is_some() && wanted != is;
    let other = if differs(options.machine.as_ref(), Some(&known.machine)) {
        "--machine"
    } else if differs(options.suite.as_ref(), Some(&known.suite)) {
        "--suite"
    } else if differs(options.commit.as_ref(), known.commit.as_ref()) {
        "--commit"
    } else if options.date.is_some_and(|date| date != known.started) {
        "--date"
    } else if !options.tags.is_empty() && options.tags != known.tags {
        "--tag"
    } else {
        return Ok(());
    };
    bail!(
        "imported before as {}, with another {other}; to import it anew, remove {} and run `assay db rebuild`",
        known.run,
        known.record
    )
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// When it was measured. A tool that writes its results at the end leaves nothing better than the time of its file.
fn date(path: &Path, options: &Options) -> Result<Timestamp> {
    let date = match options.date {
        Some(date) => date,
        None => written(path).with_context(|| {
            format!(
                "{}: the time of its last change cannot be read; give --date",
                path.display()
            )
        })?,
    };
    let ns = date.unix_ns();
    let is_usable = ns >= 0 && Timestamp::from_unix_ns(ns) == Some(date);
    ensure!(
        is_usable,
        "{date} is no time of a measurement: expected 1970 to 2262"
    );
    Ok(date)
}

fn written(path: &Path) -> Option<Timestamp> {
    let written = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = written.duration_since(UNIX_EPOCH).ok()?;
    Timestamp::from_unix_ns(since.as_nanos().try_into().ok()?)
}
