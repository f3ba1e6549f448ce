//! A run in progress: which case is visited next, by which worker, and what is written down.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use assay_protocol::Hello;
use assay_record::body::Worker;
use assay_record::{
    Block, BlockStatus, Body, Case, Event, EventKind, Manifest, RecordWriter, RunStatus, Timestamp,
};

use super::agreement::Outputs;
use super::endings;
use super::launch::Launcher;
use super::order::{self, BLOCK};
use super::progress::Progress;
use super::progression::{Need, Progression};
use super::visit::{self, Visit};
use super::watch::{Seen, Telemetry, Watch};
use super::worker::WorkerProcess;
use crate::engines::Mismatch;
use crate::errors::CouldNotRun;
use crate::interrupt::Interrupt;

/// A worker of a stretch: that of an arm in a round, by its name in the manifest.
type Key = (usize, u32, String);

/// A run in progress.
pub struct Session<'a> {
    manifest: &'a Manifest,
    launchers: BTreeMap<String, Launcher>,
    workers: BTreeMap<Key, WorkerProcess>,
    introduced: BTreeSet<(usize, String)>,
    writer: RecordWriter,
    telemetry: Telemetry,
    timer_ns: u64,
    interrupt: &'a Interrupt,
    progress: Progress,
    /// By the place of the case in the manifest.
    cases: Vec<Progression>,
    outputs: Outputs,
    blocks: u64,
}

impl<'a> Session<'a> {
    /// A session about to begin.
    pub fn new(
        manifest: &'a Manifest,
        launchers: BTreeMap<String, Launcher>,
        writer: RecordWriter,
        telemetry: Telemetry,
        timer_ns: u64,
        interrupt: &'a Interrupt,
        quiet: bool,
    ) -> Self {
        let arms = manifest.arms.len();
        let policies = manifest.cases.iter().map(|case| case.policy);
        let rounds: u64 = policies
            .clone()
            .map(|policy| u64::from(policy.rounds))
            .sum();
        Self {
            progress: Progress::new(rounds * arms as u64, quiet),
            manifest,
            launchers,
            workers: BTreeMap::new(),
            introduced: BTreeSet::new(),
            writer,
            telemetry,
            timer_ns,
            interrupt,
            cases: policies
                .map(|policy| Progression::new(policy, arms))
                .collect(),
            outputs: Outputs::default(),
            blocks: 0,
        }
    }

    /// Runs all rounds, after `notes` for the record. It holds every block when this returns, however it returns.
    pub fn run(&mut self, notes: &[String]) -> Result<RunStatus> {
        for note in notes {
            self.note(note.clone())?;
        }
        let (arms, seed) = (self.manifest.arms.len(), self.manifest.order_seed.0);
        for block in 0.. {
            let due = self.due(block)?;
            if due.is_empty() {
                break;
            }
            for stretch in order::block(&due, arms, seed, block) {
                self.stretch(&stretch)?;
                if self.interrupt.requested() {
                    return self.interrupted();
                }
            }
        }
        self.progress.finish();
        for note in endings::notes(self.manifest, &self.cases) {
            self.note(note)?;
        }
        for note in self.telemetry.notes() {
            self.note(note)?;
        }
        // What they still hold of a GPU is no use by others.
        self.workers.clear();
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

    /// The cases of a block, by their places in the manifest.
    fn due(&mut self, block: u32) -> Result<Vec<usize>> {
        let needs: Vec<(usize, Need)> = self
            .cases
            .iter()
            .enumerate()
            .filter_map(|(place, case)| Some((place, case.need(block * BLOCK)?)))
            .collect();
        let count = |of: Need| needs.iter().filter(|(_, need)| *need == of).count();
        let (imprecise, disturbed) = (count(Need::Precision), count(Need::Quiet));
        if let Some(text) = endings::added(imprecise, disturbed) {
            let visits = (imprecise + disturbed) * self.manifest.arms.len();
            self.progress.extend(u64::from(BLOCK) * visits as u64);
            self.event(EventKind::RoundsAdded, text, None)?;
        }
        Ok(needs.into_iter().map(|(place, _)| place).collect())
    }

    /// Visits by fresh workers, one for each arm and round; those that failed are tried again alone.
    fn stretch(&mut self, visits: &[order::Visit]) -> Result<()> {
        self.workers.clear();
        let mut failed = Vec::new();
        for &place in visits {
            if self.cases[place.case].is_open(place.arm) && !self.attempt(place, 0)? {
                failed.push(place);
            }
            if self.interrupt.requested() {
                return Ok(());
            }
        }
        for place in failed {
            self.workers.clear();
            if !self.attempt(place, 1)? {
                self.cases[place.case].give_up(place.arm);
            }
            if self.interrupt.requested() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Visits a place and writes its block; false where it failed and another attempt may help.
    fn attempt(&mut self, place: order::Visit, attempt: u32) -> Result<bool> {
        let manifest = self.manifest;
        let case = &manifest.cases[place.case];
        self.progress.visit(&case.id, place.round);
        let started = Timestamp::now();
        self.telemetry.skip();
        let (mut visit, log, mut seen) = self.visit(place, case)?;
        if visit.interrupted {
            // Neither a result nor a failure of the case.
            return Ok(true);
        }
        if let Some(why) = self.outputs.contradiction(place, &visit) {
            visit.status = BlockStatus::Wrong(why);
        }
        let is_ok = visit.status == BlockStatus::Ok;
        let prepared = visit.prepared.as_ref();
        let device = prepared.and_then(|prepared| prepared.device.clone());
        let told = self.telemetry.tell(case.device.kind, device.as_deref());
        for incident in told.incidents {
            self.event(EventKind::Note, incident, Some(case.id.clone()))?;
        }
        seen.disturbed.extend(told.disturbed);
        let block = Block {
            case: case.id.clone(),
            arm: manifest.arms[place.arm].name.clone(),
            round: place.round,
            attempt,
            started,
            telemetry: told.series,
            noise: seen.noise,
            disturbed: seen.disturbed,
            device,
            status: visit.status,
            prepared: visit.prepared,
            samples: visit.samples,
            warmup: u32::try_from(visit.warmup).unwrap_or(u32::MAX),
            steady: visit.steady,
            stop: visit.stop.map(stop_name),
            verification: visit.verification,
            values: visit.values,
            log: if is_ok { String::new() } else { log },
        };
        self.cases[place.case].learn(place.arm, &block);
        let retry = matches!(block.status, BlockStatus::Failed(_));
        self.progress.visited(&block, attempt);
        self.append(&Body::Block(Box::new(block)))?;
        self.blocks += 1;
        Ok(!retry)
    }

    /// The visit itself, with the end of the worker's log, and what the machine did meanwhile.
    fn visit(&mut self, place: order::Visit, case: &Case) -> Result<(Visit, String, Seen)> {
        let launcher = &self.launchers[&self.manifest.arms[place.arm].name];
        let key = (place.arm, place.round, case.workload.worker().to_owned());
        let mut worker = match self.workers.remove(&key) {
            Some(worker) => worker,
            None => match launcher.start(&key.2) {
                Ok((mut worker, hello)) => {
                    worker.heed(self.interrupt);
                    let ran = worker.ran().map(|ran| ran.words.clone());
                    self.introduce(&key, hello, ran)?;
                    worker
                }
                // It is no failure of the case: nothing that follows would be what the manifest says.
                Err(error) if error.is::<Mismatch>() || error.is::<CouldNotRun>() => {
                    let text = format!("arm `{}`: {error:#}", self.manifest.arms[place.arm].name);
                    self.note(text.clone())?;
                    return Err(CouldNotRun(text).into());
                }
                Err(error) => {
                    let visit = Visit::failed(format!("{error:#}"));
                    return Ok((visit, String::new(), Seen::default()));
                }
            },
        };
        let launcher = &self.launchers[&self.manifest.arms[place.arm].name];
        let target = self.cases[place.case].round_target(place.arm);
        let watch = Watch::begin(worker.pid());
        let visit = visit::visit(case, &mut worker, launcher.dir(), self.timer_ns, target);
        let seen = watch.end();
        if visit.reusable {
            let log = worker.log();
            self.workers.insert(key, worker);
            return Ok((visit, log, seen));
        }
        let log = worker.kill_and_read_log();
        if !visit.interrupted {
            let reason = visit.status.reason().unwrap_or("unknown");
            let text = format!("worker `{}` was replaced after: {reason}", key.2);
            self.event(EventKind::WorkerLost, text, Some(case.id.clone()))?;
        }
        Ok((visit, log, seen))
    }

    /// Writes down who a worker is, the first time it is met.
    fn introduce(&mut self, key: &Key, hello: Hello, ran: Option<String>) -> Result<()> {
        if !self.introduced.insert((key.0, key.2.clone())) {
            return Ok(());
        }
        let arm = self.manifest.arms[key.0].name.clone();
        self.append(&Body::Worker(Worker {
            arm,
            worker: key.2.clone(),
            hello,
        }))?;
        match ran {
            Some(words) => self.note(format!(
                "worker `{}` of arm `{}`: {words}",
                key.2, self.manifest.arms[key.0].name
            )),
            None => Ok(()),
        }
    }

    /// Writes something worth reading into the record.
    pub fn note(&mut self, text: String) -> Result<()> {
        self.event(EventKind::Note, text, None)
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
