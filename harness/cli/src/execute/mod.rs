//! Executing a manifest: the one path that `run`, `nightly` and `reproduce` share.
//!
//! Rounds are visits to every case by fresh worker processes, in blocks of two, in seeded random
//! order. Every block is on the disk before the next case starts.

pub mod agreement;
pub mod arms;
pub mod endings;
pub mod launch;
pub mod lock;
pub mod order;
pub mod progress;
pub mod progression;
pub mod session;
pub mod visit;
pub mod watch;
pub mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use assay_machine::telemetry::Sampler;
use assay_record::body::RECORD_VERSION;
use assay_record::{
    Fingerprint, Footer, Header, MachineIdentity, Manifest, ManifestFile, Purpose, RecordWriter,
    RunId, RunStatus, Timestamp,
};
use rustix::time::{ClockId, clock_gettime};

use crate::clocks::{self, Agreed};
use crate::errors::CouldNotRun;
use crate::interrupt::Interrupt;
use crate::plan;
use crate::plan::arms::Standing;
use crate::settings::Settings;
use session::Session;
use watch::Telemetry;

/// What the command line adds to a manifest.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names given to the run.
    pub tags: Vec<String>,
    /// The run that this one reproduces.
    pub reproduces: Option<RunId>,
    /// What the run is for.
    pub purpose: Purpose,
    /// Another executable in place of the built-in worker.
    pub worker: Option<PathBuf>,
    /// Another folder that `{dir}` stands for: it has the files that the manifest pins.
    pub dir: Option<PathBuf>,
    /// How long to wait for a device that another run holds, in seconds.
    pub wait_s: u64,
    /// Print nothing but errors to stderr.
    pub quiet: bool,
    /// Lock the clocks of GPUs while the run lasts.
    pub clocks: Option<Agreed>,
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
    let planned = plan::folder(&file.manifest.suite.source)?;
    let dir = options.dir.clone().unwrap_or(planned);
    plan::sources::verify(&file.manifest, &dir)?;
    settings.prepare_folders()?;
    // A commit may have to be built: not while a device is held.
    let (standing, mut notes) = arms::stand(&file.manifest, settings, options, &dir)?;
    let _locks = lock::devices(&file.manifest, options.wait_s, interrupt)?;
    let clocks = match options.clocks {
        Some(agreed) => clocks::Lock::take(agreed, &file.manifest)?,
        None => None,
    };
    let sampler = Sampler::start(assay_machine::telemetry::DEFAULT_PERIOD);
    let before = fingerprint(clocks.as_ref());
    notes.extend(clocks.iter().map(clocks::Lock::words));
    notes.extend(warned(
        watch::gpu_users(&file.manifest, &before, "before"),
        options,
    ));
    let header = header(file, before.clone(), settings, options)?;
    let run = header.run.clone();
    let launchers = launchers(&file.manifest, &standing, &run);
    let timer_ns = header.timer_resolution_ns;
    let writer =
        RecordWriter::create(&settings.records, header).map_err(|error| cannot_record(&error))?;
    let partial = writer.path().to_path_buf();
    let mut session = Session::new(
        &file.manifest,
        launchers,
        writer,
        Telemetry::new(sampler, before),
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
    let after = fingerprint(clocks.as_ref());
    let mut notes = warned(watch::gpu_users(&file.manifest, &after, "after"), options);
    notes.extend(clocks.map(clocks::Lock::release));
    for note in notes {
        session.note(note)?;
    }
    let footer = Footer {
        finished: Timestamp::now(),
        status,
        fingerprint: after,
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

/// What is also said on stderr, unless that shall be quiet.
fn warned(notes: Vec<String>, options: &Options) -> Vec<String> {
    for note in notes.iter().filter(|_| !options.quiet) {
        crate::note!("warning: {note}");
    }
    notes
}

/// This machine now, with the clocks that are locked for the run.
fn fingerprint(clocks: Option<&clocks::Lock>) -> Fingerprint {
    let mut fingerprint = assay_machine::fingerprint();
    if let Some(clocks) = clocks {
        clocks.mark(&mut fingerprint);
    }
    fingerprint
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

fn header(
    file: &ManifestFile,
    fingerprint: Fingerprint,
    settings: &Settings,
    options: &Options,
) -> Result<Header> {
    let started = Timestamp::now();
    let machine = identity(&fingerprint, settings)?;
    let timer = assay_machine::timer::resolution();
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
        purpose: options.purpose.clone(),
        timer_resolution_ns: timer.resolution_ns,
        timer_overhead_ns: Some(timer.overhead_ns),
    })
}

/// The name of this machine in series.
pub fn identity(fingerprint: &Fingerprint, settings: &Settings) -> Result<MachineIdentity> {
    fingerprint
        .identity(settings.machine.as_deref())
        .context("the fingerprint has no canonical form")
}

fn launchers(
    manifest: &Manifest,
    standing: &[Standing],
    run: &RunId,
) -> BTreeMap<String, launch::Launcher> {
    let launcher = |standing: &Standing| {
        let launcher = launch::Launcher::new(standing, &manifest.workers, &run.to_string());
        (standing.arm.name.clone(), launcher)
    };
    standing.iter().map(launcher).collect()
}

/// `CLOCK_MONOTONIC`, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
