//! Executing a manifest: the one path that `run`, `nightly` and `reproduce` share.
//!
//! Rounds are visits to every case by fresh worker processes, in blocks of two, in seeded random
//! order. Every block is on the disk before the next case starts.

pub mod launch;
pub mod lock;
pub mod order;
pub mod progress;
pub mod session;
pub mod visit;
pub mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use assay_machine::telemetry::Sampler;
use assay_record::body::RECORD_VERSION;
use assay_record::{
    Fingerprint, Footer, Header, MachineIdentity, Manifest, ManifestFile, RecordWriter, RunId,
    RunStatus, Timestamp,
};
use rustix::time::{ClockId, clock_gettime};

use crate::errors::CouldNotRun;
use crate::interrupt::Interrupt;
use crate::plan;
use crate::settings::Settings;
use session::Session;

/// What the command line adds to a manifest.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names given to the run.
    pub tags: Vec<String>,
    /// The run that this one reproduces.
    pub reproduces: Option<RunId>,
    /// Another executable in place of the built-in worker.
    pub worker: Option<PathBuf>,
    /// How long to wait for a device that another run holds, in seconds.
    pub wait_s: u64,
    /// Print nothing but errors to stderr.
    pub quiet: bool,
}

/// A run that ended, one way or another.
#[derive(Debug)]
pub struct Executed {
    /// Its id.
    pub run: RunId,
    /// Its record.
    pub record: PathBuf,
    /// How it ended.
    pub status: RunStatus,
}

/// Runs a manifest and writes its record.
pub fn execute(
    file: &ManifestFile,
    settings: &Settings,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<Executed> {
    let dir = plan::folder(&file.manifest.suite.source)?;
    plan::sources::verify(&file.manifest, &dir)?;
    settings.prepare_folders()?;
    let _locks = lock::devices(&file.manifest, options.wait_s, interrupt)?;
    let sampler = Sampler::start(assay_machine::telemetry::DEFAULT_PERIOD);
    let header = header(file, settings, options)?;
    let run = header.run.clone();
    let launchers = launchers(file, options, &dir)?;
    let timer_ns = header.timer_resolution_ns;
    let writer =
        RecordWriter::create(&settings.records, header).map_err(|error| cannot_record(&error))?;
    let partial = writer.path().to_path_buf();
    let notes = worker_notes(&file.manifest, options)?;
    let mut session = Session::new(
        &file.manifest,
        launchers,
        writer,
        sampler,
        timer_ns,
        interrupt,
        options.quiet,
    );
    let status = session.run(&notes).with_context(|| {
        format!(
            "the run stopped early; what was measured is kept in {}: `assay ingest` reads it",
            partial.display()
        )
    })?;
    let footer = Footer {
        finished: Timestamp::now(),
        status,
        fingerprint: assay_machine::fingerprint(),
        blocks: session.blocks(),
    };
    let record = session
        .into_writer()
        .finish(footer)
        .map_err(|error| cannot_record(&error))?;
    Ok(Executed {
        run,
        record,
        status,
    })
}

/// A record that cannot be written is the machine's fault, not the input's.
fn cannot_record(error: &assay_record::RecordError) -> anyhow::Error {
    let remedy = if error.is_out_of_space() {
        "; free some space: what was recorded before is kept"
    } else {
        "; make the folder of records writable, or name another as `records` in assay.toml"
    };
    anyhow::Error::new(CouldNotRun(format!("{error}{remedy}")))
}

fn header(file: &ManifestFile, settings: &Settings, options: &Options) -> Result<Header> {
    let started = Timestamp::now();
    let fingerprint = assay_machine::fingerprint();
    let machine = identity(&fingerprint, settings)?;
    let entropy = format!("{} {} {}", std::process::id(), file.digest, machine.name);
    Ok(Header {
        version: RECORD_VERSION,
        run: RunId::new(started, entropy.as_bytes()),
        started,
        monotonic_ns: monotonic_ns(),
        manifest: file.manifest.clone(),
        manifest_digest: file.digest,
        fingerprint,
        machine,
        tags: options.tags.clone(),
        reproduces: options.reproduces.clone(),
        timer_resolution_ns: assay_machine::timer::resolution().resolution_ns,
    })
}

/// The name of this machine in series.
pub fn identity(fingerprint: &Fingerprint, settings: &Settings) -> Result<MachineIdentity> {
    fingerprint
        .identity(settings.machine.as_deref())
        .context("the fingerprint has no canonical form")
}

fn launchers(
    file: &ManifestFile,
    options: &Options,
    dir: &std::path::Path,
) -> Result<BTreeMap<String, launch::Launcher>> {
    let manifest = &file.manifest;
    let launcher = |arm: &assay_record::Arm| {
        let mut launcher = launch::Launcher::new(arm, &manifest.workers, dir)?;
        if let Some(worker) = &options.worker {
            launcher.replace_builtin(worker)?;
        }
        Ok((arm.name.clone(), launcher))
    };
    manifest.arms.iter().map(launcher).collect()
}

/// What a record must say where the built-in worker is not the executable that the manifest names.
fn worker_notes(manifest: &Manifest, options: &Options) -> Result<Vec<String>> {
    let here = match &options.worker {
        Some(path) => plan::file_digest(path)?,
        None => plan::own_digest()?,
    };
    let note = |arm: &assay_record::Arm| {
        format!(
            "arm `{}`: the manifest names the worker {}, this is {}",
            arm.name, arm.worker, here
        )
    };
    Ok(manifest
        .arms
        .iter()
        .filter(|arm| arm.worker != here)
        .map(note)
        .collect())
}

/// `CLOCK_MONOTONIC`, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
