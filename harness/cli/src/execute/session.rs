//! A run in progress: which case is visited next, by which worker, and what is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use assay_machine::noise::NoiseCounters;
use assay_machine::roots::Roots;
use assay_machine::telemetry::Sampler;
use assay_protocol::Hello;
use assay_record::body::Worker;
use assay_record::manifest::BUILTIN_WORKER;
use assay_record::{
    Block, BlockStatus, Body, Case, Event, EventKind, Manifest, RecordWriter, RunStatus, Timestamp,
    WorkloadRef,
};
use assay_stats::{AcrossRounds, Decision};

use super::launch::Launcher;
use super::order;
use super::progress::Progress;
use super::visit::{self, Visit};
use super::worker::WorkerProcess;
use crate::interrupt::Interrupt;

/// Rounds come in blocks of two, so that an environment drifting through the run meets both alike.
const BLOCK: u32 = 2;

/// A case on an arm, by their places in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    case: usize,
    arm: usize,
}

/// What is known of a place so far.
#[derive(Debug, Default)]
struct Progression {
    /// Median time of each good round, in nanoseconds.
    medians: Vec<f64>,
    /// Visited no more: it was skipped, or failed alone too.
    given_up: bool,
}

/// A run in progress.
pub struct Session<'a> {
    manifest: &'a Manifest,
    launchers: BTreeMap<String, Launcher>,
    workers: BTreeMap<(usize, String), WorkerProcess>,
    introduced: BTreeSet<(usize, String)>,
    writer: RecordWriter,
    sampler: Sampler,
    timer_ns: u64,
    interrupt: &'a Interrupt,
    progress: Progress,
    places: BTreeMap<Place, Progression>,
    blocks: u64,
}

impl<'a> Session<'a> {
    /// A session about to begin.
    pub fn new(
        manifest: &'a Manifest,
        launchers: BTreeMap<String, Launcher>,
        writer: RecordWriter,
        sampler: Sampler,
        timer_ns: u64,
        interrupt: &'a Interrupt,
        quiet: bool,
    ) -> Self {
        let places: BTreeMap<Place, Progression> = (0..manifest.cases.len())
            .flat_map(|case| (0..manifest.arms.len()).map(move |arm| Place { case, arm }))
            .map(|place| (place, Progression::default()))
            .collect();
        let visits: u64 = manifest
            .cases
            .iter()
            .map(|case| u64::from(case.policy.rounds))
            .sum();
        Self {
            progress: Progress::new(visits * manifest.arms.len() as u64, quiet),
            manifest,
            launchers,
            workers: BTreeMap::new(),
            introduced: BTreeSet::new(),
            writer,
            sampler,
            timer_ns,
            interrupt,
            places,
            blocks: 0,
        }
    }

    /// Runs all rounds, after `notes` for the record. It holds every block when this returns, however it returns.
    pub fn run(&mut self, notes: &[String]) -> Result<RunStatus> {
        for note in notes {
            self.event(EventKind::Note, note.clone(), None)?;
        }
        let mut round = 0;
        loop {
            let due: Vec<Place> = self
                .places
                .keys()
                .copied()
                .filter(|place| self.is_due(*place, round))
                .collect();
            if due.is_empty() {
                break;
            }
            for _ in 0..BLOCK {
                self.round(&due, round)?;
                round += 1;
                if self.interrupt.requested() {
                    return self.interrupted();
                }
            }
        }
        self.progress.finish();
        for note in self.sampler.notes() {
            self.event(EventKind::Note, format!("telemetry: {note}"), None)?;
        }
        Ok(RunStatus::Complete)
    }

    /// How many blocks were written.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Ends all workers and telemetry, and gives the record back for its footer.
    pub fn into_writer(self) -> RecordWriter {
        self.writer
    }

    fn interrupted(&mut self) -> Result<RunStatus> {
        self.progress.finish();
        self.workers.clear();
        self.event(
            EventKind::Interrupted,
            "asked to stop by a signal".into(),
            None,
        )?;
        Ok(RunStatus::Interrupted)
    }

    /// Whether a place takes part in the block that begins with `round`.
    fn is_due(&self, place: Place, round: u32) -> bool {
        let progression = &self.places[&place];
        let policy = self.manifest.cases[place.case].policy;
        if progression.given_up {
            return false;
        }
        if round < policy.rounds {
            return true;
        }
        // Rounds that failed count as rounds: a case that always fails must not go on for ever.
        if round >= policy.max_rounds {
            return false;
        }
        let rule = AcrossRounds {
            target_relative_half_width: policy.target,
            min_rounds: 2,
            max_rounds: policy.max_rounds as usize,
            block: 1,
        };
        rule.decide(&progression.medians) == Decision::Continue
    }

    /// One round: fresh workers, the cases in random order; those that failed are tried again alone.
    fn round(&mut self, due: &[Place], round: u32) -> Result<()> {
        self.workers.clear();
        self.announce(due, round)?;
        let mut failed = Vec::new();
        for index in order::permutation(due.len(), self.manifest.order_seed.0, round) {
            let place = due[index];
            if self.places[&place].given_up {
                continue;
            }
            if !self.attempt(place, round, 0)? {
                failed.push(place);
            }
            if self.interrupt.requested() {
                return Ok(());
            }
        }
        for place in failed {
            self.workers.clear();
            if !self.attempt(place, round, 1)? {
                self.places.entry(place).or_default().given_up = true;
            }
            if self.interrupt.requested() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn announce(&mut self, due: &[Place], round: u32) -> Result<()> {
        let extra = due
            .iter()
            .filter(|place| round >= self.manifest.cases[place.case].policy.rounds)
            .count();
        if extra == 0 {
            return Ok(());
        }
        self.progress.extend(extra as u64);
        if round.is_multiple_of(BLOCK) {
            let text =
                format!("{extra} cases get {BLOCK} more rounds: their intervals miss the target");
            self.event(EventKind::RoundsAdded, text, None)?;
        }
        Ok(())
    }

    /// Visits a place and writes its block; false where it failed and another attempt may help.
    fn attempt(&mut self, place: Place, round: u32, attempt: u32) -> Result<bool> {
        let manifest = self.manifest;
        let case = &manifest.cases[place.case];
        self.progress.visit(&case.id, round);
        let started = Timestamp::now();
        let noise_before = NoiseCounters::read(&Roots::here());
        // What was sampled between visits belongs to none.
        drop(self.sampler.drain());
        let (visit, log) = self.visit(place, case)?;
        let device = visit
            .prepared
            .as_ref()
            .and_then(|prepared| prepared.device.clone());
        let block = Block {
            case: case.id.clone(),
            arm: manifest.arms[place.arm].name.clone(),
            round,
            attempt,
            started,
            telemetry: self.sampler.drain(),
            noise: NoiseCounters::read(&Roots::here())
                .delta(&noise_before)
                .values(),
            disturbed: Vec::new(),
            status: visit.status.clone(),
            prepared: visit.prepared,
            device,
            samples: visit.samples,
            warmup: u32::try_from(visit.warmup).unwrap_or(u32::MAX),
            steady: visit.steady,
            stop: visit.stop.map(stop_name),
            verification: visit.verification,
            values: visit.values,
            log: if visit.status == BlockStatus::Ok {
                String::new()
            } else {
                log
            },
        };
        if visit.interrupted {
            // Neither a result nor a failure of the case.
            return Ok(true);
        }
        self.learn(place, &block);
        let retry = matches!(block.status, BlockStatus::Failed(_));
        self.progress.visited(&block, attempt);
        self.append(&Body::Block(Box::new(block)))?;
        self.blocks += 1;
        Ok(!retry)
    }

    fn learn(&mut self, place: Place, block: &Block) {
        let progression = self.places.entry(place).or_default();
        match &block.status {
            BlockStatus::Ok => {
                let times = block.samples.times_ns();
                progression
                    .medians
                    .extend(assay_stats::median(&times[block.warmup as usize..]));
            }
            // A wrong output stays wrong; one more round would only say so again.
            BlockStatus::Skipped(_) | BlockStatus::Wrong(_) => progression.given_up = true,
            BlockStatus::Failed(_) => {}
        }
    }

    /// The visit itself, with the end of the worker's log.
    fn visit(&mut self, place: Place, case: &Case) -> Result<(Visit, String)> {
        let name = worker_name(case);
        let key = (place.arm, name.to_owned());
        if !self.workers.contains_key(&key) {
            let launcher = &self.launchers[&self.manifest.arms[place.arm].name];
            match launcher.start(name) {
                Ok((mut worker, hello)) => {
                    worker.heed(self.interrupt);
                    self.introduce(&key, hello)?;
                    self.workers.insert(key.clone(), worker);
                }
                Err(error) => {
                    return Ok((Visit::failed(format!("{error:#}")), String::new()));
                }
            }
        }
        let dir: PathBuf = self.launchers[&self.manifest.arms[place.arm].name]
            .dir()
            .into();
        let Some(worker) = self.workers.get_mut(&key) else {
            unreachable!("it was just started");
        };
        let visit = visit::visit(case, worker, &dir, self.timer_ns);
        let mut log = worker.log();
        if !visit.reusable {
            if let Some(lost) = self.workers.remove(&key) {
                log = lost.kill_and_read_log();
            }
            if !visit.interrupted {
                let text = format!(
                    "worker `{name}` was replaced after: {}",
                    visit.status.reason().unwrap_or("unknown")
                );
                self.event(EventKind::WorkerLost, text, Some(case.id.clone()))?;
            }
        }
        Ok((visit, log))
    }

    /// Writes down who a worker is, the first time it is met.
    fn introduce(&mut self, key: &(usize, String), hello: Hello) -> Result<()> {
        if !self.introduced.insert(key.clone()) {
            return Ok(());
        }
        let arm = self.manifest.arms[key.0].name.clone();
        self.append(&Body::Worker(Worker {
            arm,
            worker: key.1.clone(),
            hello,
        }))
    }

    fn event(&mut self, kind: EventKind, text: String, case: Option<String>) -> Result<()> {
        self.append(&Body::Event(Event {
            at: Timestamp::now(),
            kind,
            text,
            case,
        }))
    }

    fn append(&mut self, body: &Body) -> Result<()> {
        self.writer
            .append(body)
            .map_err(|error| super::cannot_record(&error))
    }
}

/// The worker that serves a case.
fn worker_name(case: &Case) -> &str {
    match &case.workload {
        WorkloadRef::Worker { worker, .. } => worker,
        WorkloadRef::Command(_) => BUILTIN_WORKER,
    }
}

fn stop_name(reason: assay_stats::StopReason) -> String {
    use assay_stats::StopReason;
    match reason {
        StopReason::Precise => "precise",
        StopReason::MaxSamples => "max_samples",
        StopReason::MaxRounds => "max_rounds",
        StopReason::Budget => "budget",
    }
    .into()
}
