//! What stands between a case and an honest time: a gate that hides the cost of launching, a flush of the caches, and a
//! look at the multiprocessors' clock.

use assay_protocol::Failure;

use super::driver::{Cuda, DeviceMemory, PinnedMemory, StreamRef};
use super::modules::{Modules, ReadyLaunch};
use crate::program::{Arg, Launch, Source, cuda_source};

static SOURCE: Source = cuda_source!("timing.cu");

/// A gate that nobody opens opens by itself after this long, and the sample is no observation.
const GATE_TIMEOUT_NS: u64 = 200_000_000;
/// How long the clock is watched after a sample.
const CLOCK_WINDOW_NS: u64 = 50_000;

/// Words of pinned memory.
const OPEN: usize = 0;
const EXPIRED: usize = 1;
/// Behind them, as 64 bits each: nanoseconds and cycles of the window.
const CLOCK: usize = 2;

/// Launches of our own beside a case's.
#[derive(Debug)]
pub struct Instruments {
    words: PinnedMemory,
    gate: ReadyLaunch,
    clock: ReadyLaunch,
    flush: Option<Flush>,
    _modules: Modules,
}

/// Memory that is written and then other memory that is read: what a case left in the L2 is gone, and no dirty line is left.
#[derive(Debug)]
struct Flush {
    dirty: DeviceMemory,
    sweep: ReadyLaunch,
    _clean: DeviceMemory,
}

impl Instruments {
    /// Loads them; the memory for flushing only where it is wanted.
    pub fn new(cuda: &Cuda, flushes: bool) -> Result<Self, Failure> {
        let words = PinnedMemory::new(64)?;
        let l2 = cuda.description.l2_bytes.max(1 << 20) as usize;
        let clean_bytes = if flushes { 2 * l2 } else { 0 };
        let clean = DeviceMemory::new(clean_bytes)?;
        let launches = launches(cuda, clean_bytes as u64);
        let mut modules = Modules::default();
        modules.load(cuda, &launches.each_ref())?;
        let addresses = [words.address(), clean.address()];
        let ready = |index: usize| modules.ready(&launches[index], &addresses);
        let flush = if flushes {
            clean.set(cuda.stream(), 0x5a)?;
            Some(Flush {
                dirty: DeviceMemory::new(l2 + l2 / 4)?,
                sweep: ready(2)?,
                _clean: clean,
            })
        } else {
            None
        };
        Ok(Self {
            gate: ready(0)?,
            clock: ready(1)?,
            flush,
            words,
            _modules: modules,
        })
    }

    /// Enqueues a gate that what comes behind it waits for.
    pub fn close(&mut self, stream: StreamRef) -> Result<(), Failure> {
        self.words.write_word(OPEN, 0);
        self.words.write_word(EXPIRED, 0);
        self.gate.enqueue(stream)
    }

    /// Opens the gate.
    pub fn open(&self) {
        self.words.write_word(OPEN, 1);
    }

    /// Whether the last gate opened by itself: all behind it had not been enqueued by then. The stream is idle.
    pub fn has_expired(&self) -> bool {
        self.words.read_word(EXPIRED) != 0
    }

    /// Enqueues a flush of the L2, which ends in reading.
    pub fn flush(&mut self, stream: StreamRef) -> Result<(), Failure> {
        let Some(flush) = &mut self.flush else {
            return Ok(());
        };
        flush.dirty.set(stream, 0xa5)?;
        flush.sweep.enqueue(stream)
    }

    /// Enqueues a look at the clock.
    pub fn watch_clock(&mut self, stream: StreamRef) -> Result<(), Failure> {
        self.clock.enqueue(stream)
    }

    /// The clock of a multiprocessor in the last look, in MHz. The stream is idle.
    pub fn clock_mhz(&self) -> f64 {
        let number = |index: usize| {
            let [low, high] =
                [0, 1].map(|word| u64::from(self.words.read_word(CLOCK + 2 * index + word)));
            (low | high << 32) as f64
        };
        let (ns, cycles) = (number(0), number(1));
        if ns > 0.0 { cycles / ns * 1e3 } else { 0.0 }
    }
}

/// The gate, the clock, and the sweep over `bytes`.
fn launches(cuda: &Cuda, bytes: u64) -> [Launch; 3] {
    let word = |index: usize| Arg::BufferAt {
        buffer: 0,
        byte: 4 * index,
    };
    let gate = Launch::new(&SOURCE, "gate", 1, 1).args([
        word(OPEN),
        word(EXPIRED),
        Arg::U64(GATE_TIMEOUT_NS),
    ]);
    let clock =
        Launch::new(&SOURCE, "clock_window", 1, 1).args([word(CLOCK), Arg::U64(CLOCK_WINDOW_NS)]);
    let blocks = 8 * cuda.description.multiprocessors.max(1);
    let sweep = Launch::new(&SOURCE, "read_sweep", blocks, 256).args([
        Arg::Buffer(1),
        Arg::U64(bytes / 16),
        word(8),
    ]);
    [gate, clock, sweep]
}

/// Every kernel of it.
pub fn kernels() -> (&'static Source, Vec<String>) {
    (
        &SOURCE,
        ["gate", "clock_window", "read_sweep"]
            .map(String::from)
            .to_vec(),
    )
}
