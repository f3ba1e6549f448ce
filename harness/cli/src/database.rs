//! The database as commands use it: opened for a short while, with patience for other processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::Digest;
use assay_record::{Record, RunId, Timestamp};
use assay_store::{Access, IngestReport, Patience, RunRow, Store};

use crate::settings::Settings;

/// How long to wait for another process that holds the database.
const PATIENCE: Duration = Duration::from_mins(1);

fn patience() -> Patience<'static> {
    Patience::new(PATIENCE, |what| crate::note!("{what}"))
}

/// Opens the database of the settings.
pub fn open(settings: &Settings, access: Access) -> Result<Store> {
    Ok(Store::open(&settings.database, access, &mut patience())?)
}

/// Where the record of a run lies: where it lay when it was ingested, or else among the records by its name.
pub fn record_path(settings: &Settings, run: &RunRow) -> PathBuf {
    let ingested = PathBuf::from(&run.record);
    match ingested.file_name() {
        Some(name) if !ingested.is_file() => settings.records.join(name),
        _ => ingested,
    }
}

/// Makes sure that a record is whole, and that of a run by its manifest.
pub fn check_record(path: &Path, run: &RunRow, manifest: Digest) -> Result<()> {
    let record = Record::read(path).with_context(|| {
        format!(
            "the record of run {} cannot be used (`assay db verify` looks at all)",
            run.run
        )
    })?;
    ensure!(
        record.header.run == run.run && record.header.manifest_digest == manifest,
        "{}: of another run than {}",
        path.display(),
        run.run
    );
    say_doubts(&record);
    Ok(())
}

/// Warns of times of a record that cannot be true.
fn say_doubts(record: &Record) {
    for doubt in record.clock_doubts(Timestamp::now()) {
        crate::note!("warning: run {}: {doubt}", record.header.run);
    }
}

/// Ingests one record that this process has just written, and leaves the database open for reading it back.
pub fn ingest_record(settings: &Settings, path: &Path) -> Result<Store> {
    let kept = || {
        format!(
            "the record is kept in {}; `assay ingest` reads it when this is mended",
            path.display()
        )
    };
    let record = Record::read(path).with_context(kept)?;
    say_doubts(&record);
    let mut store = open(settings, Access::Write).with_context(kept)?;
    store.ingest_record(&record, path).with_context(kept)?;
    Ok(store)
}

/// Ingests all records of some folders.
pub fn ingest_folders(settings: &Settings, folders: &[PathBuf]) -> Result<IngestReport> {
    if let Some(missing) = folders.iter().find(|folder| !folder.exists()) {
        bail!(
            "{}: no such folder; name the folders that hold records",
            missing.display()
        );
    }
    settings.prepare_folders()?;
    Ok(open(settings, Access::Write)?.ingest_folders(folders)?)
}

/// Writes the results of runs to Parquet files.
pub fn export_results(settings: &Settings, files: &[(PathBuf, Vec<RunId>)]) -> Result<()> {
    Ok(Store::export_results(
        &settings.database,
        files,
        &mut patience(),
    )?)
}

/// Builds the database anew from the records of some folders.
pub fn rebuild(settings: &Settings, folders: &[PathBuf]) -> Result<IngestReport> {
    Ok(Store::rebuild(
        &settings.database,
        folders,
        &mut patience(),
    )?)
}
