//! What the machine does while something is measured, sampled on a thread of its own.
//!
//! Every metric is read at a rate that its counter can give: energy ten times a second, the load
//! average, which the kernel renews every five seconds, every five. A metric that fails is dropped
//! alone and noted once; the others go on. Values are kept as they were read: rates of counters
//! excepted, nothing is derived here.

mod cpu;
mod files;
mod gpu;
mod source;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use assay_record::body::TelemetrySeries;
use rustix::time::{ClockId, clock_gettime};

use crate::gpu::Gpus;
use crate::roots::Roots;
use source::Source;

/// How often the thread wakes, unless asked otherwise.
pub const DEFAULT_PERIOD: Duration = Duration::from_millis(100);
/// More often than this would disturb what is measured.
const SHORTEST_PERIOD: Duration = Duration::from_millis(5);

/// A thread that samples telemetry until it is stopped or dropped.
#[derive(Debug)]
pub struct Sampler {
    shared: Arc<Shared>,
    /// The thread ends when this is dropped.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    collected: Mutex<Collected>,
    cpu_ns: AtomicU64,
}

/// What was read since the last drain, and what was said of metrics that failed.
#[derive(Debug, Default)]
struct Collected {
    series: Vec<TelemetrySeries>,
    notes: Vec<String>,
}

impl Sampler {
    /// Samples this machine, with the NVML that [`Gpus::from_environment`] finds.
    pub fn start(period: Duration) -> Self {
        Self::start_on(Roots::here(), Arc::new(Gpus::from_environment()), period)
    }

    /// Samples the machine whose files lie below `roots`, and these GPUs.
    pub fn start_on(roots: Roots, gpus: Arc<Gpus>, period: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let body = move || {
            sample(
                &roots,
                &gpus,
                period.max(SHORTEST_PERIOD),
                &theirs,
                &stopped,
            );
        };
        let spawned = std::thread::Builder::new()
            .name("assay-telemetry".to_owned())
            .spawn(body);
        if let Err(error) = &spawned {
            shared.lock().notes.push(format!(
                "there is no telemetry: its thread did not start: {error}"
            ));
        }
        Self {
            shared,
            stop: Some(stop),
            thread: spawned.ok(),
        }
    }

    /// Takes what was read since the last call. Series without values are left out.
    pub fn drain(&self) -> Vec<TelemetrySeries> {
        let mut collected = self.shared.lock();
        let take = |series: &mut TelemetrySeries| TelemetrySeries {
            name: series.name.clone(),
            unit: series.unit.clone(),
            at_ns: std::mem::take(&mut series.at_ns),
            values: std::mem::take(&mut series.values),
        };
        collected
            .series
            .iter_mut()
            .filter(|series| !series.values.is_empty())
            .map(take)
            .collect()
    }

    /// Metrics that failed, each once, with the reason.
    pub fn notes(&self) -> Vec<String> {
        self.shared.lock().notes.clone()
    }

    /// CPU time that sampling has taken so far.
    pub fn cost(&self) -> Duration {
        Duration::from_nanos(self.shared.cpu_ns.load(Ordering::Relaxed))
    }

    /// Ends the thread and takes what is left.
    pub fn stop(mut self) -> Vec<TelemetrySeries> {
        self.end();
        self.drain()
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread costs what it had not handed over, no more.
            let _ = thread.join();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of the thread.
fn sample(
    roots: &Roots,
    gpus: &Gpus,
    period: Duration,
    shared: &Shared,
    stopped: &mpsc::Receiver<()>,
) {
    let mut sources = cpu::sources(roots);
    sources.extend(gpu::sources(gpus));
    shared.lock().series = series_of(&mut sources);
    let mut next_ns = monotonic_ns();
    loop {
        visit(&mut sources, monotonic_ns(), shared);
        shared
            .cpu_ns
            .store(now_ns(ClockId::ThreadCPUTime), Ordering::Relaxed);
        let now = monotonic_ns();
        // A thread that was held up skips what it missed.
        next_ns = (next_ns + period.as_nanos() as u64).max(now);
        let wait = Duration::from_nanos(next_ns - now);
        if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// An empty series for each channel, whose place the channel remembers.
fn series_of(sources: &mut [Source<'_>]) -> Vec<TelemetrySeries> {
    let mut all = Vec::new();
    for channel in sources.iter_mut().flat_map(|source| &mut source.channels) {
        channel.series = all.len();
        all.push(TelemetrySeries {
            name: channel.name.clone(),
            unit: channel.unit.to_owned(),
            at_ns: Vec::new(),
            values: Vec::new(),
        });
    }
    all
}

/// Reads those sources whose time has come.
fn visit(sources: &mut Vec<Source<'_>>, now_ns: u64, shared: &Shared) {
    for source in sources.iter_mut().filter(|source| source.is_due(now_ns)) {
        let (at_ns, readings) = source.read(now_ns);
        let mut collected = shared.lock();
        for (series, outcome) in readings {
            match outcome {
                Ok(value) => {
                    collected.series[series].at_ns.push(at_ns);
                    collected.series[series].values.push(value);
                }
                Err(note) => collected.notes.push(note),
            }
        }
    }
    sources.retain(|source| !source.channels.is_empty());
}

fn monotonic_ns() -> u64 {
    now_ns(ClockId::Monotonic)
}

fn now_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}
