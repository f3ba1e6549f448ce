//! One visit to one case: prepare, warm up, sample, verify, tear down.
//!
//! The worker batches and times; when warm-up has ended and when enough was seen is judged here,
//! between chunks, by the pure rules of `assay_stats`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use assay_protocol::{
    CaseSpec, Exchange, ParamValue, Prepared, Reply, Request, SampleRequest, Step, TimingMode,
    Verification,
};
use assay_record::{BlockStatus, Case, Samples};
use assay_stats::{Decision, StopReason, WithinRound, steady_from};

use super::worker::{Lost, WorkerProcess};
use crate::plan::sources;

/// Samples that are batched are at least this many timer resolutions long.
const RESOLUTIONS: u64 = 1000;
/// Chunks per phase: how often the harness looks at what it has.
const CHUNKS: u64 = 8;
/// Most samples of one chunk.
const CHUNK_SAMPLES: u32 = 512;

/// What a visit found.
#[derive(Debug)]
pub struct Visit {
    /// How it ended.
    pub status: BlockStatus,
    /// What the worker prepared.
    pub prepared: Option<Prepared>,
    /// Every sample.
    pub samples: Samples,
    /// How many of the first are warm-up.
    pub warmup: usize,
    /// Whether a steady state was reached.
    pub steady: bool,
    /// Why sampling stopped.
    pub stop: Option<StopReason>,
    /// How the output compares with the reference.
    pub verification: Option<Verification>,
    /// Case-level metrics.
    pub values: BTreeMap<String, f64>,
    /// Whether the worker can serve another case.
    pub reusable: bool,
    /// Whether somebody asked to stop in the middle of it.
    pub interrupted: bool,
}

/// Why a visit ended early.
enum End {
    Skipped(String),
    Failed(String),
    Lost(Lost),
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// Visits a case. `dir` is the suite's folder; `timer_ns` the resolution of the timer; `target` the relative half-width
/// at which the round is precise enough.
pub fn visit(
    case: &Case,
    worker: &mut WorkerProcess,
    dir: &Path,
    timer_ns: u64,
    target: f64,
) -> Visit {
    let mut visitor = Visitor {
        case,
        worker,
        timer_ns,
        target,
        last_end_ns: 0,
        visit: Visit::empty(),
    };
    let end = visitor.run(dir);
    let mut visit = visitor.visit;
    match end {
        Ok(()) => visit.status = judge(case, &visit),
        Err(End::Skipped(reason)) => visit.status = BlockStatus::Skipped(reason),
        Err(End::Failed(reason)) => {
            visit.status = BlockStatus::Failed(reason);
            // Whatever went wrong may have left the process in a bad state (a sticky device error).
            visit.reusable = false;
        }
        Err(End::Lost(lost)) => {
            visit.interrupted = matches!(lost, Lost::Interrupted);
            visit.status = BlockStatus::Failed(format!("the worker {lost}"));
            visit.reusable = false;
        }
    }
    visit
}

impl Visit {
    /// A visit that did not come about.
    pub fn failed(reason: String) -> Self {
        Self {
            status: BlockStatus::Failed(reason),
            reusable: false,
            ..Self::empty()
        }
    }

    fn empty() -> Self {
        Self {
            status: BlockStatus::Ok,
            prepared: None,
            samples: Samples::default(),
            warmup: 0,
            steady: false,
            stop: None,
            verification: None,
            values: BTreeMap::new(),
            reusable: true,
            interrupted: false,
        }
    }
}

struct Visitor<'a> {
    case: &'a Case,
    worker: &'a mut WorkerProcess,
    timer_ns: u64,
    target: f64,
    last_end_ns: u64,
    visit: Visit,
}

impl Visitor<'_> {
    fn run(&mut self, dir: &Path) -> Result<(), End> {
        self.prepare(dir)?;
        self.warm_up()?;
        self.measure()?;
        self.verify()?;
        self.tear_down()
    }

    fn prepare(&mut self, dir: &Path) -> Result<(), End> {
        let request = Request::Prepare {
            case: in_folder(self.case.spec(), dir),
        };
        match end_early(self.worker.request(&request, &[], self.timeout(0))?)? {
            Reply::Prepared(prepared) => self.visit.prepared = Some(prepared),
            _ => unreachable!("the exchange accepts no other reply"),
        }
        Ok(())
    }

    /// Samples until a steady state is seen or the time for warm-up is spent.
    fn warm_up(&mut self) -> Result<(), End> {
        let budget = Duration::from_millis(self.case.policy.warmup_ms.into());
        let begun = Instant::now();
        while begun.elapsed() < budget && self.left() > self.case.policy.min_samples {
            self.chunk(budget)?;
            if let Some(start) = steady_from(&self.visit.samples.times_ns()) {
                self.visit.warmup = start;
                self.visit.steady = true;
                return Ok(());
            }
        }
        self.visit.warmup = self.visit.samples.len();
        Ok(())
    }

    fn measure(&mut self) -> Result<(), End> {
        let policy = self.case.policy;
        let budget = Duration::from_millis(policy.round_ms.into());
        let rule = WithinRound {
            target_relative_half_width: self.target,
            min_samples: policy.min_samples as usize,
            max_samples: (policy.max_samples as usize)
                .saturating_sub(self.visit.warmup)
                .max(1),
            budget_ns: u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX),
        };
        let begun = Instant::now();
        let mut next_look = 0;
        loop {
            self.chunk(budget)?;
            let taken = self.visit.samples.len();
            // A look sorts all samples: only when there is an eighth more of them, so that looking stays cheap.
            if taken < next_look && begun.elapsed() < budget && self.left() > 0 {
                continue;
            }
            next_look = taken + taken / 8;
            let times = self.visit.samples.times_ns();
            let spent = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            if let Decision::Stop(reason) = rule.decide(&times[self.visit.warmup..], spent) {
                self.visit.stop = Some(reason);
                return Ok(());
            }
        }
    }

    /// Resolution of the clock that times the case.
    fn resolution_ns(&self) -> u64 {
        let prepared = self.visit.prepared.as_ref();
        prepared
            .and_then(|prepared| prepared.timer_resolution_ns)
            .unwrap_or(self.timer_ns)
    }

    /// One chunk: an eighth of `budget`, so that there is something to judge between.
    fn chunk(&mut self, budget: Duration) -> Result<(), End> {
        let share = u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX) / CHUNKS;
        let batched = self.case.timing != TimingMode::Host;
        let request = Request::Sample(SampleRequest {
            max_samples: self.left().clamp(1, CHUNK_SAMPLES),
            max_ns: share.max(1),
            min_sample_ns: if batched {
                RESOLUTIONS * self.resolution_ns().max(1)
            } else {
                0
            },
        });
        let timeout = self.timeout(share);
        let metrics = self
            .visit
            .prepared
            .as_ref()
            .map_or(&[][..], |prepared| &prepared.metrics);
        let mut exchange = Exchange::new(&request, metrics, self.last_end_ns);
        let samples = &mut self.visit.samples;
        let reply = self.worker.ask(&request, &mut exchange, timeout, |step| {
            if let Step::Sample(sample) = step {
                samples.push(&sample);
            }
        })?;
        self.last_end_ns = exchange.last_end_ns();
        end_early(reply)?;
        samples.check().map_err(End::Failed)
    }

    fn verify(&mut self) -> Result<(), End> {
        let timeout = self.timeout(0);
        match end_early(self.worker.request(&Request::Verify, &[], timeout)?)? {
            Reply::Verified(verification) => self.visit.verification = Some(verification),
            _ => unreachable!("the exchange accepts no other reply"),
        }
        Ok(())
    }

    fn tear_down(&mut self) -> Result<(), End> {
        let timeout = self.timeout(0);
        let metrics = self
            .visit
            .prepared
            .as_ref()
            .map_or(&[][..], |prepared| &prepared.metrics);
        match end_early(self.worker.request(&Request::Teardown, metrics, timeout)?)? {
            Reply::TornDown { values } => self.visit.values = values,
            _ => unreachable!("the exchange accepts no other reply"),
        }
        Ok(())
    }

    /// Samples that the round may still take.
    fn left(&self) -> u32 {
        let taken = u32::try_from(self.visit.samples.len()).unwrap_or(u32::MAX);
        self.case.policy.max_samples.saturating_sub(taken)
    }

    fn timeout(&self, share_ns: u64) -> Duration {
        Duration::from_millis(self.case.timeout_ms.into()) + Duration::from_nanos(share_ns)
    }
}

fn end_early(reply: Reply) -> Result<Reply, End> {
    match reply {
        Reply::Skipped { reason } => Err(End::Skipped(reason)),
        Reply::Failed { reason } => Err(End::Failed(reason)),
        other => Ok(other),
    }
}

/// The verdict on the output: the workload's own, then what the suite expects.
fn judge(case: &Case, visit: &Visit) -> BlockStatus {
    let Some(verification) = &visit.verification else {
        return BlockStatus::Failed("the output was never verified".into());
    };
    if !verification.passed {
        let detail = match (verification.error, verification.tolerance) {
            _ if !verification.detail.is_empty() => verification.detail.clone(),
            (Some(error), Some(tolerance)) => {
                format!("error {error:e} is beyond the tolerance {tolerance:e}")
            }
            _ => "the worker says so, without a reason".into(),
        };
        return BlockStatus::Wrong(format!("the verification failed: {detail}"));
    }
    unexpected(case, visit, verification).map_or(BlockStatus::Ok, BlockStatus::Wrong)
}

/// What the suite's expectations say against a result.
fn unexpected(case: &Case, visit: &Visit, verification: &Verification) -> Option<String> {
    if let Some(expected) = case.expect.output
        && verification.output != Some(expected)
    {
        let found = verification
            .output
            .map_or_else(|| "none".into(), |digest| digest.to_string());
        return Some(format!("expected output {expected}, found {found}"));
    }
    let limit = case.expect.max_time_ns?;
    let median = assay_stats::median(&visit.samples.times_ns()[visit.warmup..])?;
    (median > limit).then(|| {
        format!("expected at most {limit} ns per iteration, found a median of {median} ns")
    })
}

/// Puts the suite's folder in place of `{dir}` in a command, or in parameters. The values of a command's axes are in it already.
pub fn in_folder(mut spec: CaseSpec, dir: &Path) -> CaseSpec {
    for value in spec.params.values_mut() {
        if let ParamValue::Text(text) = value {
            *text = sources::fill(text, dir);
        }
    }
    if let Some(command) = &mut spec.command {
        spec.params.clear();
        let texts = command
            .argv
            .iter_mut()
            .chain(command.env.values_mut())
            .chain(command.directory.as_mut());
        for text in texts {
            *text = sources::fill(text, dir);
        }
    }
    if let Some(kernel) = &mut spec.kernel {
        spec.params.clear();
        kernel.file = sources::fill(&kernel.file, dir);
    }
    spec
}
