//! The timing modes: what a sample is, and by which clock.

use std::time::Instant;

use assay_protocol::{Failure, Measured, TimingMode};

use super::driver::{Cuda, Event, Graph};
use super::gate::Instruments;

/// Launches that a stream takes without making the host wait, with room to spare: those behind a closed gate must fit.
const QUEUE: usize = 512;
/// Name of the metric that every sample on a GPU has.
pub const SM_CLOCK: &str = "sm_clock";

/// Times iterations in one of the modes.
#[derive(Debug)]
pub struct Timer {
    mode: TimingMode,
    start: Event,
    end: Event,
    instruments: Instruments,
    /// In mode `graph`, one iteration.
    graph: Option<Graph>,
}

/// What is timed: one iteration put on the device's stream.
pub type Enqueue<'a> = &'a mut dyn FnMut(&Cuda) -> Result<(), Failure>;

impl Timer {
    /// A timer for `mode`. `enqueue` has run before, so that everything is loaded that a first run loads.
    pub fn new(cuda: &Cuda, mode: TimingMode, enqueue: Enqueue) -> Result<Self, Failure> {
        let graph = match mode {
            TimingMode::Graph => Some(Graph::capture(cuda, || enqueue(cuda))?),
            _ => None,
        };
        let mut timer = Self {
            mode,
            start: Event::new()?,
            end: Event::new()?,
            instruments: Instruments::new(cuda, mode == TimingMode::Cold)?,
            graph,
        };
        timer.rehearse(cuda)?;
        Ok(timer)
    }

    /// Launches every instrument once, since first launches are slow, and none of them behind a gate.
    fn rehearse(&mut self, cuda: &Cuda) -> Result<(), Failure> {
        self.instruments.open();
        self.instruments.flush(cuda.stream())?;
        self.instruments.watch_clock(cuda.stream())?;
        if let Some(graph) = &self.graph {
            graph.launch(cuda.stream())?;
        }
        cuda.synchronize()?;
        self.instruments.close(cuda.stream())?;
        self.instruments.open();
        cuda.synchronize()
    }

    /// Most iterations that a sample may have, of which each takes `launches`. Those of a graph count as well: where its
    /// nodes wait is the driver's business.
    pub fn most_iterations(&self, launches: usize) -> u64 {
        match self.mode {
            TimingMode::Cold => 1,
            TimingMode::Hot | TimingMode::Graph => (QUEUE / launches.max(1)).max(1) as u64,
            TimingMode::Host => u64::MAX,
        }
    }

    /// Resolution of the clock that samples are timed by, in nanoseconds. `None` for the host's clock.
    pub fn resolution_ns(&self, cuda: &Cuda) -> Result<Option<u64>, Failure> {
        if self.mode == TimingMode::Host {
            return Ok(None);
        }
        event_resolution_ns(cuda, &self.start, &self.end).map(Some)
    }

    /// Takes a sample.
    pub fn sample(
        &mut self,
        cuda: &Cuda,
        iterations: u64,
        enqueue: Enqueue,
    ) -> Result<Measured, Failure> {
        let mut measured = match self.mode {
            TimingMode::Host => by_host(cuda, iterations, enqueue)?,
            _ => self.by_events(cuda, iterations, enqueue)?,
        };
        self.instruments.watch_clock(cuda.stream())?;
        cuda.synchronize()?;
        measured
            .values
            .insert(SM_CLOCK.into(), self.instruments.clock_mhz());
        Ok(measured)
    }

    fn by_events(
        &mut self,
        cuda: &Cuda,
        iterations: u64,
        enqueue: Enqueue,
    ) -> Result<Measured, Failure> {
        let stream = cuda.stream();
        self.instruments.flush(stream)?;
        self.instruments.close(stream)?;
        let enqueued = self.enqueue_timed(cuda, iterations, enqueue);
        // Whatever happened, nothing may be left waiting.
        self.instruments.open();
        let synchronized = cuda.synchronize();
        enqueued.and(synchronized)?;
        let invalid = self
            .instruments
            .has_expired()
            .then(|| "the gate opened before all was enqueued".into());
        Ok(Measured {
            device_ns: Some(self.end.since_ns(&self.start)?),
            invalid,
            ..Measured::default()
        })
    }

    fn enqueue_timed(&self, cuda: &Cuda, iterations: u64, enqueue: Enqueue) -> Result<(), Failure> {
        let stream = cuda.stream();
        self.start.record(stream)?;
        for _ in 0..iterations {
            match &self.graph {
                Some(graph) => graph.launch(stream)?,
                None => enqueue(cuda)?,
            }
        }
        self.end.record(stream)
    }
}

/// From launch to completion, one iteration after the other, as the host sees it.
fn by_host(cuda: &Cuda, iterations: u64, enqueue: Enqueue) -> Result<Measured, Failure> {
    let begin = Instant::now();
    for _ in 0..iterations {
        enqueue(cuda)?;
        cuda.synchronize()?;
    }
    let host_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok(Measured {
        host_ns: Some(host_ns),
        ..Measured::default()
    })
}

/// Resolution of events' times in nanoseconds, as it shows: the smallest step between the times of pairs of events with
/// nothing between them.
pub fn event_resolution_ns(cuda: &Cuda, start: &Event, end: &Event) -> Result<u64, Failure> {
    const PAIRS: usize = 64;
    let mut times = vec![];
    for _ in 0..PAIRS {
        start.record(cuda.stream())?;
        end.record(cuda.stream())?;
        cuda.synchronize()?;
        times.push(end.since_ns(start)?);
    }
    Ok(smallest_step(times))
}

/// The smallest difference between two of some times that is none.
fn smallest_step(mut times: Vec<u64>) -> u64 {
    // What the CUDA documentation says of events: "a resolution of approximately one half microsecond".
    const DOCUMENTED_NS: u64 = 500;
    times.sort_unstable();
    let steps = times
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .filter(|step| *step > 0);
    steps.min().unwrap_or(DOCUMENTED_NS)
}

#[cfg(test)]
mod tests {
    use super::smallest_step;

    #[test]
    fn the_resolution_is_the_smallest_step_that_shows() {
        assert_eq!(smallest_step(vec![1024, 1088, 1024, 1056]), 32);
        assert_eq!(smallest_step(vec![7, 7, 7]), 500);
        assert_eq!(smallest_step(vec![]), 500);
    }
}
