//! `command`: a program that knows nothing of Assay, run and timed as a whole.
//!
//! One iteration is one execution, from spawn to exit, one after the other; what the program prints is
//! captured and searched for the metrics that its suite declares. Around each execution stands a launcher:
//! this same executable, started afresh ([`launcher`]), which spawns the command, watches over it, and
//! reports what it cost.
//!
//! - **Peak memory stays honest.** The kernel hands a process's high-water mark down through `exec`, so a
//!   command spawned by a worker that once held 600 MB would report 600 MB. The launcher's mark is a few
//!   megabytes whatever the worker held, and an execution that stayed under it is said to need "at most"
//!   that.
//! - **The clock runs in the launcher**, so that starting the launcher is not on the command's time.
//! - **Nothing is left behind.** The launcher is a child subreaper: whatever descends from the command, in
//!   whichever process group or session, stays its descendant, and is killed when the command has exited,
//!   when the timeout is over, and when the worker is gone, which the launcher sees by its standard input
//!   hanging up. The worker in turn ends when its harness does ([`watch_harness`]).
//!
//! It runs no shell, and it does not limit what a command may use besides time and captured output.

mod capture;
mod execution;
mod launcher;
mod order;
mod program;
mod rules;
mod sweep;
mod validate;
mod watch;

use std::collections::BTreeMap;

use assay_protocol::{
    COMMAND_WORKLOAD, CaseSpec, Catalog, CommandSpec, DeviceKind, Digest, Direction, Failure,
    Measured, Metric, MetricKind, Prepared, TimingMode, Unit, Verification, Work, Workload,
    WorkloadInfo,
};

use crate::oom;
use capture::Captured;
use execution::Outcome;
use order::{Ending, Execution, Order};
use rules::Rule;

pub use launcher::{is_launcher, launch_main};
pub use watch::watch_harness;

/// Processor time in user mode of the command and of the descendants it waited for; the mean over the
/// executions of a sample, in nanoseconds (the kernel counts in microseconds).
const USER_TIME: &str = "user_time";
/// The same in kernel mode.
const SYSTEM_TIME: &str = "system_time";
/// Largest resident set of any one process of the command that was waited for; the largest over the
/// executions of a sample, in bytes. Never less than [`LEAST_TOLD_BYTES`].
const PEAK_MEMORY: &str = "peak_memory";
/// The kernel counts what the launcher held when it spawned a command as the command's. That differs from build to build and with
/// the page cache, and would be compared as if it were the command's own: so no peak is told that could be the launcher's.
const LEAST_TOLD_BYTES: u64 = 32 << 20;

/// The signal by which the kernel ends what takes too much memory.
const KILLED: i32 = 9;

/// Catalog entry of `command`.
pub struct PlainCommand;

impl Catalog for PlainCommand {
    fn info(&self) -> WorkloadInfo {
        WorkloadInfo {
            name: COMMAND_WORKLOAD.into(),
            summary: "any program: wall and processor time, peak memory, metrics from its output"
                .into(),
            definition: 1,
            parameters: vec![],
            timing: vec![TimingMode::Host],
            devices: vec![DeviceKind::Cpu],
        }
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let spec = case.command.as_ref();
        let spec = spec.ok_or_else(|| Failure::Failed("the case names no command".into()))?;
        Ok(Box::new(Prepare::new(spec)?))
    }
}

/// A command that is ready to run.
struct Prepare {
    prepared: Prepared,
    order: Order,
    exit_code: i32,
    rules: Vec<Rule>,
    last: Option<Last>,
    /// What the kernel had ended for want of memory beforehand.
    oom_kills: Option<u64>,
}

/// What is kept of the last execution.
struct Last {
    stdout: Captured,
    execution: Execution,
}

impl Prepare {
    fn new(spec: &CommandSpec) -> Result<Self, Failure> {
        validate::check(spec)?;
        let rules: Vec<_> = spec
            .metrics
            .iter()
            .map(Rule::new)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            prepared: Prepared {
                work: Work {
                    formula: "one execution of the program".into(),
                    ..Work::default()
                },
                metrics: metrics(spec),
                ..Prepared::default()
            },
            order: Order {
                program: program::find(spec)?,
                argv: spec.argv.clone(),
                env: spec.env.clone(),
                directory: spec.directory.clone(),
                timeout_ms: spec.timeout_ms,
            },
            exit_code: spec.exit_code,
            rules,
            last: None,
            oom_kills: oom::oom_kills(),
        })
    }

    /// Executes the command once.
    fn execute(&mut self, totals: &mut Totals) -> Result<(), Failure> {
        self.last = None;
        let outcome = execution::execute(&self.order)?;
        self.judge(&outcome)?;
        totals.add(&outcome.execution);
        let values = rules::values(&self.rules, &outcome.stdout)?;
        totals.add_declared(values);
        self.last = Some(Last {
            stdout: outcome.stdout,
            execution: outcome.execution,
        });
        Ok(())
    }

    /// Fails unless the command ended as it should.
    fn judge(&self, outcome: &Outcome) -> Result<(), Failure> {
        let what = match outcome.execution.ending {
            Ending::Code(code) if code == self.exit_code => return Ok(()),
            Ending::Code(code) => {
                format!("exited with code {code}; expected {}", self.exit_code)
            }
            Ending::Signal(KILLED) if oom::more_oom_kills(self.oom_kills) => {
                format!(
                    "was killed by signal {KILLED}: the kernel found itself or the container out of memory"
                )
            }
            Ending::Signal(signal) => format!("was killed by signal {signal}"),
            Ending::TimedOut => {
                format!(
                    "took longer than {} ms and was ended",
                    self.order.timeout_ms
                )
            }
        };
        let program = &self.order.argv[0];
        Err(Failure::Failed(format!(
            "`{program}` {what}; {}",
            outcome.stderr
        )))
    }
}

/// The metrics that every command has, then those that this one declares.
fn metrics(spec: &CommandSpec) -> Vec<Metric> {
    let own = |name: &str, unit| Metric::new(name, unit, Direction::Lower, MetricKind::Sample);
    let declared = spec.metrics.iter().map(|metric| {
        Metric::new(
            metric.name.clone(),
            metric.unit.clone(),
            metric.direction,
            MetricKind::Sample,
        )
    });
    let every = [
        own(USER_TIME, Unit::Nanoseconds),
        own(SYSTEM_TIME, Unit::Nanoseconds),
        own(PEAK_MEMORY, Unit::Bytes),
    ];
    every.into_iter().chain(declared).collect()
}

impl Workload for Prepare {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let mut totals = Totals::default();
        for _ in 0..iterations {
            self.execute(&mut totals)?;
        }
        Ok(totals.measured(iterations))
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        let last = self.last.as_ref();
        let last = last.ok_or_else(|| Failure::Failed("nothing was sampled yet".into()))?;
        Ok(Verification {
            passed: true,
            error: None,
            tolerance: None,
            output: last.stdout.whole().map(Digest::of),
            detail: last.detail(self.exit_code),
        })
    }
}

impl Last {
    fn detail(&self, exit_code: i32) -> String {
        let mut detail = format!("exit code {exit_code} as expected");
        if self.stdout.whole().is_none() {
            detail.push_str("; its output, ");
            detail.push_str(&self.stdout.too_long());
            detail.push_str(", has no digest");
        }
        if self.execution.peak_bytes <= LEAST_TOLD_BYTES {
            detail.push_str("; peak memory is at most 32 MiB, which is what is given");
        }
        detail
    }
}

/// Sums over the executions of a sample.
#[derive(Default)]
struct Totals {
    wall_ns: u64,
    user_ns: u64,
    system_ns: u64,
    peak_bytes: u64,
    declared: BTreeMap<String, f64>,
}

impl Totals {
    fn add(&mut self, execution: &Execution) {
        self.wall_ns += execution.wall_ns;
        self.user_ns += execution.user_ns;
        self.system_ns += execution.system_ns;
        self.peak_bytes = self.peak_bytes.max(execution.peak_bytes);
    }

    fn add_declared(&mut self, values: BTreeMap<String, f64>) {
        for (name, value) in values {
            *self.declared.entry(name).or_default() += value;
        }
    }

    fn measured(self, executions: u64) -> Measured {
        let mean = |sum: f64| sum / executions as f64;
        let declared = self
            .declared
            .into_iter()
            .map(|(name, sum)| (name, mean(sum)));
        let own = [
            (USER_TIME.into(), mean(self.user_ns as f64)),
            (SYSTEM_TIME.into(), mean(self.system_ns as f64)),
            (
                PEAK_MEMORY.into(),
                self.peak_bytes.max(LEAST_TOLD_BYTES) as f64,
            ),
        ];
        Measured {
            host_ns: Some(self.wall_ns),
            device_ns: None,
            values: own.into_iter().chain(declared).collect(),
            invalid: None,
        }
    }
}
