//! What the machine does while something is measured, sampled on threads of their own.
//!
//! Every metric is read at a rate that its counter can give: energy ten times a second, the load
//! average, which the kernel renews every five seconds, every five. A metric that fails is dropped
//! alone and noted once; the others go on. What answers at once shares one thread; what blocks
//! (`PCIe` throughput, waiting for a GPU's errors) has others, so that it delays nothing. Values are
//! kept as they were read: rates of counters excepted, nothing is derived here.

mod cpu;
mod files;
mod gpu;
mod incidents;
mod source;

pub use incidents::Incident;

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

/// How often the main thread wakes, unless asked otherwise.
pub const DEFAULT_PERIOD: Duration = Duration::from_millis(100);
/// More often than this would disturb what is measured.
const SHORTEST_PERIOD: Duration = Duration::from_millis(5);

/// Threads that sample telemetry until they are stopped or dropped.
#[derive(Debug)]
pub struct Sampler {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
}

/// One of the threads. It ends when `stop` is dropped.
#[derive(Debug)]
struct Lane {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
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
    incidents: Vec<Incident>,
    notes: Vec<String>,
}

impl Sampler {
    /// Samples this machine, with the NVML that [`Gpus::from_environment`] finds.
    pub fn start(period: Duration) -> Self {
        Self::start_on(Roots::here(), &Arc::new(Gpus::from_environment()), period)
    }

    /// Samples the machine whose files lie below `roots`, and these GPUs.
    pub fn start_on(roots: Roots, gpus: &Arc<Gpus>, period: Duration) -> Self {
        let period = period.max(SHORTEST_PERIOD);
        let mut sampler = Self {
            shared: Arc::new(Shared::default()),
            lanes: Vec::new(),
        };
        let theirs = Arc::clone(gpus);
        sampler.spawn("assay-telemetry", move |shared, stopped| {
            let mut sources = cpu::sources(&roots);
            sources.extend(gpu::sources(&theirs));
            sample(sources, period, shared, stopped);
        });
        let count = gpus.devices().len() as u32;
        if count > 0 {
            let theirs = Arc::clone(gpus);
            sampler.spawn("assay-pcie", move |shared, stopped| {
                sample(gpu::slow_sources(&theirs), period, shared, stopped);
            });
        }
        for gpu in 0..count {
            let theirs = Arc::clone(gpus);
            sampler.spawn("assay-xid", move |shared, stopped| {
                incidents::listen(&theirs, gpu, shared, stopped);
            });
        }
        sampler
    }

    fn spawn(
        &mut self,
        name: &str,
        body: impl FnOnce(&Shared, &mpsc::Receiver<()>) + Send + 'static,
    ) {
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::clone(&self.shared);
        let spawned = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || body(&shared, &stopped));
        match spawned {
            Ok(thread) => self.lanes.push(Lane { stop, thread }),
            Err(error) => self.shared.note(format!(
                "a part of the telemetry is missing: thread `{name}` did not start: {error}"
            )),
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

    /// Takes what GPUs reported by themselves since the last call.
    pub fn incidents(&self) -> Vec<Incident> {
        std::mem::take(&mut self.shared.lock().incidents)
    }

    /// Metrics that failed, each once, with the reason.
    pub fn notes(&self) -> Vec<String> {
        self.shared.lock().notes.clone()
    }

    /// CPU time that sampling has taken so far.
    pub fn cost(&self) -> Duration {
        Duration::from_nanos(self.shared.cpu_ns.load(Ordering::Relaxed))
    }

    /// Ends the threads and takes what is left.
    pub fn stop(mut self) -> Vec<TelemetrySeries> {
        self.end();
        self.drain()
    }

    fn end(&mut self) {
        // All are told before any is waited for.
        let threads = self.lanes.drain(..).map(|lane| {
            drop(lane.stop);
            lane.thread
        });
        for thread in threads.collect::<Vec<_>>() {
            // A panic of a thread costs what it had not handed over, no more.
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

    fn note(&self, text: String) {
        self.lock().notes.push(text);
    }
}

/// Adds up what a thread costs.
#[derive(Default)]
struct Meter {
    charged_ns: u64,
}

impl Meter {
    /// Adds what the calling thread has used since the last call.
    fn charge(&mut self, shared: &Shared) {
        let used_ns = now_ns(ClockId::ThreadCPUTime);
        let more = used_ns.saturating_sub(self.charged_ns);
        shared.cpu_ns.fetch_add(more, Ordering::Relaxed);
        self.charged_ns = used_ns;
    }
}

/// The body of a thread that reads sources in turn, until it is stopped or all of them have failed.
fn sample(
    mut sources: Vec<Source<'_>>,
    period: Duration,
    shared: &Shared,
    stopped: &mpsc::Receiver<()>,
) {
    register(&mut sources, shared);
    let mut meter = Meter::default();
    let mut next_ns = monotonic_ns();
    while !sources.is_empty() {
        visit(&mut sources, monotonic_ns(), shared);
        meter.charge(shared);
        let now = monotonic_ns();
        // A thread that was held up skips what it missed.
        next_ns = (next_ns + period.as_nanos() as u64).max(now);
        let wait = Duration::from_nanos(next_ns - now);
        if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Makes an empty series for each channel, whose place the channel remembers.
fn register(sources: &mut [Source<'_>], shared: &Shared) {
    let all = &mut shared.lock().series;
    for channel in sources.iter_mut().flat_map(|source| &mut source.channels) {
        channel.series = all.len();
        all.push(TelemetrySeries {
            name: channel.name.clone(),
            unit: channel.unit.to_owned(),
            at_ns: Vec::new(),
            values: Vec::new(),
        });
    }
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
