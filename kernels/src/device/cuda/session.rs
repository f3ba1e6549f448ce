//! A program on a GPU whose buffers live on from one run to the next, with the time that each family of ops took.
//!
//! A run is timed by events: one before its first step, and one wherever the family of its steps changes. An event is a small piece of
//! work for the device itself, beside launches that take some microseconds each; the time of a run has that of all its events. Where a
//! session [replays](Launched::Replayed), a sequence is one graph that was captured once, between two events, and no family has a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use assay_protocol::Failure;
use assay_protocol::case::Which;

use super::driver::{Cuda, Description, Event, Graph};
use super::gate::Instruments;
use super::modules::Modules;
use super::select;
use super::steps::{Memories, Ready};
use super::timing::event_resolution_ns;
use crate::buffer::Buffer;
use crate::device::{Team, host};
use crate::element::DType;
use crate::program::{BufferSpec, Fill, Launch, Role, Step};

/// What no step has written: no number in any type of floats.
const UNWRITTEN: u8 = 0xFF;
/// How long until a session with calls of libraries looks again whether the device is done.
const PAUSE: Duration = Duration::from_micros(20);

/// Steps of one family, one after the other.
struct Span {
    family: &'static str,
    steps: Vec<Ready>,
}

/// How the steps of a run get to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launched {
    /// One by one.
    Singly,
    /// As graphs that were captured once, one for each sequence.
    Replayed,
}

/// A program on a GPU that goes on from run to run.
pub struct CudaSession {
    /// Of the sequences, where they are replayed; else none. They go first: a library may wait for the graphs that have calls of it.
    graphs: Vec<Graph>,
    sequences: Vec<Vec<Span>>,
    memories: Memories,
    /// Type and length of each buffer.
    shapes: Vec<(DType, usize)>,
    events: Vec<Event>,
    instruments: Instruments,
    resolution_ns: u64,
    facts: BTreeMap<String, String>,
    team: Team,
    // After what uses them: fields are dropped in this order.
    _modules: Modules,
    cuda: Cuda,
}

/// What a run took.
#[derive(Clone, Debug)]
pub struct Ran {
    /// From its first step to its last, by the device's clock.
    pub device_ns: u64,
    /// From the first launch until the host knew that all was done.
    pub host_ns: u64,
    /// Of that on the device, by the family of ops; of what was replayed nothing is known.
    pub families: BTreeMap<&'static str, u64>,
    /// The clock of a multiprocessor behind it, in MHz.
    pub clock_mhz: f64,
}

impl CudaSession {
    /// Compiles and loads all kernels, allocates and fills all buffers, and runs every sequence of steps once, untimed, since first
    /// launches are slow; after that buffers are as at first.
    ///
    /// # Errors
    /// If there is no such device, or if all does not fit into its memory: then it is skipped, and the reason says what is missing.
    pub fn new(
        which: &Which,
        specs: &[BufferSpec],
        sequences: Vec<Vec<(&'static str, Step)>>,
        seed: u64,
        launched: Launched,
    ) -> Result<Self, Failure> {
        let cuda = Cuda::open(select(which)?)?;
        let bytes = specs.iter().map(|spec| spec.bytes() as u64);
        cuda.ensure_fits(bytes.fold(0, u64::saturating_add))?;
        let mut modules = Modules::default();
        let mut facts = modules.load(&cuda, &different(&sequences))?;
        let memories = Memories::new(specs)?;
        let mut ready = vec![];
        for steps in sequences {
            ready.push(spans(steps, (&cuda, &modules), &memories, &mut facts)?);
        }
        let count: usize = ready.iter().map(Vec::len).sum();
        let events = (0..=count.max(1)).map(|_| Event::new());
        let events: Vec<_> = events.collect::<Result<_, _>>()?;
        let mut session = Self {
            shapes: specs.iter().map(|spec| (spec.dtype, spec.len)).collect(),
            graphs: vec![],
            sequences: ready,
            memories,
            resolution_ns: event_resolution_ns(&cuda, &events[0], &events[1])?,
            events,
            instruments: Instruments::new(&cuda, false)?,
            facts,
            team: Team::new(host::usable_cpus())?,
            _modules: modules,
            cuda,
        };
        session.fill(specs, seed, |_| true)?;
        let all: Vec<_> = (0..session.sequences.len()).collect();
        session.run(&all)?;
        session.restart(specs, seed)?;
        if launched == Launched::Replayed {
            session.capture()?;
        }
        Ok(session)
    }

    /// Captures each sequence, of which nothing runs by that. A graph has the addresses of all buffers, which stay.
    fn capture(&mut self) -> Result<(), Failure> {
        let (cuda, memories) = (&self.cuda, &self.memories);
        for spans in &mut self.sequences {
            let mut steps = spans.iter_mut().flat_map(|span| &mut span.steps);
            let enqueue = || steps.try_for_each(|step| step.enqueue(cuda, memories));
            self.graphs.push(Graph::capture(cuda, enqueue)?);
        }
        Ok(())
    }

    /// The device.
    pub fn description(&self) -> &Description {
        &self.cuda.description
    }

    /// What the record keeps of its kernels.
    pub fn facts(&self) -> &BTreeMap<String, String> {
        &self.facts
    }

    /// Resolution of the device's clock, as it shows.
    pub fn resolution_ns(&self) -> u64 {
        self.resolution_ns
    }

    /// Families of all steps that have times.
    pub fn families(&self) -> BTreeSet<&'static str> {
        let spans = self.sequences.iter().flatten();
        let spans = spans.filter(|_| self.graphs.is_empty());
        spans.map(|span| span.family).collect()
    }

    /// Runs some sequences of steps, one after the other, and waits until that is done.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run(&mut self, sequences: &[usize]) -> Result<Ran, Failure> {
        let begin = Instant::now();
        self.events[0].record(self.cuda.stream())?;
        let families = if self.graphs.is_empty() {
            self.enqueue(sequences)?
        } else {
            self.replay(sequences)?
        };
        self.wait(families.len())?;
        let stream = self.cuda.stream();
        let host_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.instruments.watch_clock(stream)?;
        stream.synchronize()?;
        let device_ns = self.events[families.len()].since_ns(&self.events[0])?;
        let mut of_families = BTreeMap::new();
        for (family, events) in families.into_iter().zip(self.events.windows(2)) {
            if let Some(family) = family {
                *of_families.entry(family).or_default() += events[1].since_ns(&events[0])?;
            }
        }
        Ok(Ran {
            device_ns,
            host_ns,
            families: of_families,
            clock_mhz: self.instruments.clock_mhz(),
        })
    }

    /// Waits until an event has come, the last that was enqueued, and looks after what libraries wait for meanwhile.
    fn wait(&mut self, event: usize) -> Result<(), Failure> {
        let spans = self.sequences.iter_mut().flatten();
        let steps = spans.flat_map(|span| &mut span.steps);
        let mut calls: Vec<_> = steps.filter(|step| step.is_call()).collect();
        while !calls.is_empty() && !self.events[event].has_come()? {
            calls.iter_mut().try_for_each(|call| call.watch())?;
            std::thread::sleep(PAUSE);
        }
        self.cuda.synchronize()
    }

    /// Puts some sequences on the stream, step by step, with an event behind each span; says of what families these are.
    fn enqueue(&mut self, sequences: &[usize]) -> Result<Vec<Option<&'static str>>, Failure> {
        let mut families = vec![];
        for sequence in sequences {
            for span in &mut self.sequences[*sequence] {
                let mut steps = span.steps.iter_mut();
                steps.try_for_each(|step| step.enqueue(&self.cuda, &self.memories))?;
                families.push(Some(span.family));
                self.events[families.len()].record(self.cuda.stream())?;
            }
        }
        Ok(families)
    }

    /// Puts the graphs of some sequences on the stream, with one event behind all.
    fn replay(&self, sequences: &[usize]) -> Result<Vec<Option<&'static str>>, Failure> {
        let stream = self.cuda.stream();
        let mut graphs = sequences.iter().map(|sequence| &self.graphs[*sequence]);
        graphs.try_for_each(|graph| graph.launch(stream))?;
        self.events[1].record(stream)?;
        Ok(vec![None])
    }

    /// A buffer, as the last run left it.
    ///
    /// # Errors
    /// If the device fails, or if the host has no memory for it.
    pub fn read(&self, index: usize) -> Result<Buffer, Failure> {
        let (dtype, len) = self.shapes[index];
        let mut buffer = Buffer::zeroed(&self.team, dtype, len)?;
        let memory = &self.memories.all[index];
        memory.download(self.cuda.stream(), buffer.bytes_mut())?;
        Ok(buffer)
    }

    /// Replaces a buffer.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If there are not as many bytes.
    pub fn write(&mut self, index: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.memories.all[index].upload(self.cuda.stream(), bytes)
    }

    /// Fills every buffer as at first, but for inputs, which no step writes, and for what steps write before they read it.
    ///
    /// # Errors
    /// If the device fails, or if the host has no memory for what it makes.
    pub fn restart(&mut self, specs: &[BufferSpec], seed: u64) -> Result<(), Failure> {
        let goes_on =
            |spec: &BufferSpec| spec.role != Role::Input && !matches!(spec.fill, Fill::Poison);
        self.fill(specs, seed, goes_on)
    }

    fn fill(
        &self,
        specs: &[BufferSpec],
        seed: u64,
        is_wanted: impl Fn(&BufferSpec) -> bool,
    ) -> Result<(), Failure> {
        for (index, spec) in specs.iter().enumerate() {
            if !is_wanted(spec) {
                continue;
            }
            if matches!(spec.fill, Fill::Poison) {
                // By the device itself: there may be gigabytes of it.
                self.memories.all[index].set(self.cuda.stream(), UNWRITTEN)?;
            } else {
                let by = (&self.cuda, &self.team);
                self.memories.fill(by, index, spec, seed)?;
            }
        }
        self.cuda.synchronize()
    }
}

/// Launches of all sequences, each kernel once for each size of its shared memory.
fn different<'a>(sequences: &'a [Vec<(&'static str, Step)>]) -> Vec<&'a Launch> {
    let launches = sequences
        .iter()
        .flatten()
        .filter_map(|(_, step)| match step {
            Step::Launch(launch) => Some(launch),
            _ => None,
        });
    let keyed = launches.map(|launch| {
        let key = (launch.source.path, &launch.kernel, launch.shared_bytes);
        (key, launch)
    });
    keyed.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Steps that follow each other and are of one family, together.
fn spans(
    steps: Vec<(&'static str, Step)>,
    loaded: (&Cuda, &Modules),
    memories: &Memories,
    facts: &mut BTreeMap<String, String>,
) -> Result<Vec<Span>, Failure> {
    let mut spans: Vec<Span> = vec![];
    for (family, step) in steps {
        let step = Ready::new(step, loaded, memories, facts)?;
        match spans.last_mut() {
            Some(span) if span.family == family => span.steps.push(step),
            _ => spans.push(Span {
                family,
                steps: vec![step],
            }),
        }
    }
    Ok(spans)
}
