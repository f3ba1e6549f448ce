//! A program whose buffers live on from one run to the next, on the host or on a GPU, with the time that each family of ops took.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Instant;

use assay_kernels::buffer::{Buffer, Buffers};
use assay_kernels::device::cuda::{CudaSession, Launched};
use assay_kernels::device::{Team, host};
use assay_kernels::element::Element;
use assay_kernels::program::{Arg, BufferSpec, CpuStep, Program, Step, Steps};
use assay_protocol::Failure;
use assay_protocol::case::Which;

use super::model::Parameter;
use super::step::Sometimes;

/// What runs a program.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// So many threads of this process.
    Host(usize),
    /// A GPU.
    Cuda {
        /// Which one.
        which: Which,
        /// How steps get there.
        launched: Launched,
    },
}

impl Device {
    /// Whether it is a GPU.
    pub fn is_cuda(&self) -> bool {
        matches!(self, Self::Cuda { .. })
    }

    /// Threads of the host beside it, or that it is.
    pub fn threads(&self) -> usize {
        match self {
            Self::Host(threads) => *threads,
            Self::Cuda { .. } => host::usable_cpus(),
        }
    }
}

/// Steps on the host, and what they work on.
struct OnHost {
    steps: Vec<(&'static str, CpuStep)>,
    sometimes: Vec<(&'static str, CpuStep)>,
    team: Team,
    buffers: Buffers,
}

enum Runs {
    OnHost(OnHost),
    OnCuda(Box<CudaSession>),
}

/// The sequences of steps of a [`CudaSession`].
const SOMETIMES: usize = 0;
const MAIN: usize = 1;

/// A buffer, as the last run left it.
pub enum Seen<'a> {
    /// Where the host's steps work on it.
    There(&'a Buffer),
    /// A copy of what a GPU has.
    Copied(Buffer),
}

impl Deref for Seen<'_> {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        match self {
            Self::There(buffer) => buffer,
            Self::Copied(buffer) => buffer,
        }
    }
}

/// What a run took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Took {
    /// By the host's clock.
    pub host_ns: u64,
    /// By that of a GPU, where one ran it.
    pub device_ns: Option<u64>,
    /// The clock of a GPU's multiprocessors, in MHz.
    pub clock_mhz: Option<f64>,
}

impl Took {
    /// By the clock of what ran it.
    pub fn ns(&self) -> u64 {
        self.device_ns.unwrap_or(self.host_ns)
    }
}

/// A program that is run again and again.
pub struct Session {
    program: Program,
    /// Its buffers, in the order in which steps come to them.
    order: Vec<usize>,
    runs_on: Runs,
    /// Before how many runs what is done now and then is done, where there is such.
    every: Option<usize>,
    runs: usize,
    seed: u64,
    families: BTreeMap<&'static str, u64>,
}

impl Session {
    /// Allocates and fills the buffers of a program.
    ///
    /// # Errors
    /// If they do not fit into memory, or if there is no such device: then it is skipped, and the reason says what is missing.
    pub fn new(mut program: Program, seed: u64, device: &Device) -> Result<Self, Failure> {
        let steps = program.take_steps();
        Self::of_steps(program, steps, None, seed, device)
    }

    /// As [`Self::new`], of steps that were taken out of the program.
    ///
    /// # Errors
    /// The same.
    pub fn of_steps(
        program: Program,
        steps: Steps,
        sometimes: Option<Sometimes>,
        seed: u64,
        device: &Device,
    ) -> Result<Self, Failure> {
        let order = order(&program, &steps);
        let every = sometimes.as_ref().map(|sometimes| sometimes.every);
        let sometimes = sometimes.map(|sometimes| sometimes.steps);
        let sometimes = sometimes.unwrap_or_default();
        let (runs_on, families) = match device {
            Device::Host(threads) => OnHost::begin(&program, [sometimes, steps], seed, *threads)?,
            Device::Cuda { which, launched } => {
                on_cuda(&program, [sometimes, steps], seed, (which, *launched))?
            }
        };
        Ok(Self {
            program,
            order,
            runs_on,
            every,
            runs: 0,
            seed,
            families,
        })
    }

    /// Runs it once; says how long that took.
    ///
    /// # Errors
    /// If a device fails.
    pub fn run(&mut self) -> Result<Took, Failure> {
        let every = self.every;
        let is_due = every.is_some_and(|every| self.runs.is_multiple_of(every));
        self.families.values_mut().for_each(|ns| *ns = 0);
        let took = match &mut self.runs_on {
            Runs::OnHost(host) => host.run(is_due, &mut self.families),
            Runs::OnCuda(session) => {
                let sequences = if is_due {
                    &[SOMETIMES, MAIN][..]
                } else {
                    &[MAIN]
                };
                let ran = session.run(sequences)?;
                self.families.extend(ran.families);
                Took {
                    host_ns: ran.host_ns,
                    device_ns: Some(ran.device_ns),
                    clock_mhz: Some(ran.clock_mhz),
                }
            }
        };
        self.runs += 1;
        Ok(took)
    }

    /// Goes on as after so many runs: what is done now and then is due accordingly.
    pub fn set_runs(&mut self, runs: usize) {
        self.runs = runs;
    }

    /// Goes on with so many threads, where it runs on the host; the bits are the same.
    ///
    /// # Errors
    /// If they cannot be started.
    pub fn set_threads(&mut self, threads: usize) -> Result<(), Failure> {
        if let Runs::OnHost(host) = &mut self.runs_on {
            host.team = Team::new(threads)?;
        }
        Ok(())
    }

    /// Nanoseconds of the last run, by the family of ops.
    pub fn families(&self) -> &BTreeMap<&'static str, u64> {
        &self.families
    }

    /// Fills every buffer as at first.
    ///
    /// # Errors
    /// If memory is lacking, or if a device fails.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.runs = 0;
        match &mut self.runs_on {
            Runs::OnHost(host) => {
                // The old ones go first, so that both never need to fit.
                host.buffers = Buffers::default();
                host.buffers = self.program.host_buffers(&host.team, self.seed)?;
                Ok(())
            }
            Runs::OnCuda(session) => session.restart(&self.program.buffers, self.seed),
        }
    }

    /// A buffer, as the last run left it.
    ///
    /// # Errors
    /// If a device fails.
    pub fn read(&self, buffer: usize) -> Result<Seen<'_>, Failure> {
        match &self.runs_on {
            Runs::OnHost(host) => Ok(Seen::There(&host.buffers.0[buffer])),
            Runs::OnCuda(session) => session.read(buffer).map(Seen::Copied),
        }
    }

    /// The numbers of a parameter: of codes those that they stand for.
    ///
    /// # Errors
    /// If a device fails.
    pub fn values(&self, parameter: &Parameter) -> Result<Vec<f32>, Failure> {
        let stored = self.read(parameter.buffer)?;
        let Some(scales) = parameter.scales else {
            return Ok(stored.get::<f32>().to_vec());
        };
        let scales = self.read(scales)?;
        Ok(parameter.quantised().decode(stored.bytes(), scales.get()))
    }

    /// Replaces a buffer.
    ///
    /// # Errors
    /// If a device fails.
    ///
    /// # Panics
    /// If there are not as many bytes.
    pub fn write(&mut self, buffer: usize, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.runs_on {
            Runs::OnHost(host) => {
                host.buffers.0[buffer].bytes_mut().copy_from_slice(bytes);
                Ok(())
            }
            Runs::OnCuda(session) => session.write(buffer, bytes),
        }
    }

    /// Replaces the first elements of a buffer; what is behind them stays as it was.
    ///
    /// # Errors
    /// If a device fails.
    ///
    /// # Panics
    /// If it has fewer, or of another type.
    pub fn write_first<T: Element>(&mut self, buffer: usize, values: &[T]) -> Result<(), Failure> {
        match &mut self.runs_on {
            Runs::OnHost(host) => {
                host.buffers.0[buffer].get_mut::<T>()[..values.len()].copy_from_slice(values);
                Ok(())
            }
            Runs::OnCuda(session) => {
                let mut all = session.read(buffer)?;
                all.get_mut::<T>()[..values.len()].copy_from_slice(values);
                session.write(buffer, all.bytes())
            }
        }
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.program.footprint()
    }

    /// The GPU that runs it, by its UUID, if one does; with what the record keeps of it.
    pub fn gpu(&self) -> Option<(&str, &BTreeMap<String, String>)> {
        match &self.runs_on {
            Runs::OnHost(_) => None,
            Runs::OnCuda(session) => Some((&session.description().uuid, session.facts())),
        }
    }

    /// Resolution of the clock that runs are timed by, where that is a GPU's.
    pub fn resolution_ns(&self) -> Option<u64> {
        match &self.runs_on {
            Runs::OnHost(_) => None,
            Runs::OnCuda(session) => Some(session.resolution_ns()),
        }
    }

    /// The first buffer of those given, each with its name, that holds something that is no finite number.
    ///
    /// # Errors
    /// If a device fails.
    pub fn find_bad(&self, buffers: impl Iterator<Item = usize>) -> Result<Option<&str>, Failure> {
        for index in buffers {
            let buffer = self.read(index)?;
            if (0..buffer.len()).any(|i| !buffer.value(i).is_finite()) {
                return Ok(Some(&self.program.buffers[index].name));
            }
        }
        Ok(None)
    }

    /// What a buffer is.
    pub fn spec(&self, buffer: usize) -> &BufferSpec {
        &self.program.buffers[buffer]
    }

    /// The buffer of a name, if there is one.
    pub fn find(&self, name: &str) -> Option<usize> {
        let mut buffers = self.program.buffers.iter();
        buffers.position(|spec| spec.name == name)
    }

    /// Numbers and names of all buffers, in the order in which a run writes them for the first time.
    pub fn in_order(&self) -> impl Iterator<Item = (usize, &str)> {
        let all = self.order.iter();
        all.map(|index| (*index, self.program.buffers[*index].name.as_ref()))
    }
}

/// Buffers in the order in which steps come to them: what these compute is written before anybody reads it. The launches tell, on either
/// kind of device, for they know their buffers; what none of them knows comes last.
fn order(program: &Program, steps: &Steps) -> Vec<usize> {
    let mut first = vec![usize::MAX; program.buffers.len()];
    for (place, (_, step)) in steps.cuda.iter().enumerate() {
        for buffer in buffers_of(step) {
            first[buffer] = first[buffer].min(place);
        }
    }
    let mut order: Vec<_> = (0..first.len()).collect();
    order.sort_by_key(|buffer| first[*buffer]);
    order
}

/// The buffers that a step names.
fn buffers_of(step: &Step) -> Vec<usize> {
    match step {
        Step::Launch(launch) => {
            let buffers = launch.args.iter().filter_map(|arg| match arg {
                Arg::Buffer(buffer) | Arg::BufferAt { buffer, .. } => Some(*buffer),
                _ => None,
            });
            buffers.collect()
        }
        Step::Set { buffer, .. } => vec![*buffer],
        Step::Copy { from, to } => vec![*from, *to],
        Step::Library(_) => vec![],
    }
}

type Begun = (Runs, BTreeMap<&'static str, u64>);

impl OnHost {
    fn begin(
        program: &Program,
        [sometimes, steps]: [Steps; 2],
        seed: u64,
        threads: usize,
    ) -> Result<Begun, Failure> {
        let team = Team::new(threads)?;
        let buffers = program.host_buffers(&team, seed)?;
        let (steps, sometimes) = (steps.host, sometimes.host);
        let families = steps.iter().chain(&sometimes);
        let families = families.map(|(family, _)| (*family, 0)).collect();
        let host = Self {
            steps,
            sometimes,
            team,
            buffers,
        };
        Ok((Runs::OnHost(host), families))
    }

    fn run(&mut self, is_due: bool, families: &mut BTreeMap<&'static str, u64>) -> Took {
        let first = is_due.then_some(&mut self.sometimes);
        let begin = Instant::now();
        let mut before = 0;
        for (family, step) in first.into_iter().flatten().chain(&mut self.steps) {
            step(&self.team, &mut self.buffers);
            let now = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            *families.entry(family).or_default() += now - before;
            before = now;
        }
        Took {
            host_ns: before,
            ..Took::default()
        }
    }
}

fn on_cuda(
    program: &Program,
    steps: [Steps; 2],
    seed: u64,
    (which, launched): (&Which, Launched),
) -> Result<Begun, Failure> {
    let sequences = steps.map(|steps| steps.cuda).into();
    let session = CudaSession::new(which, &program.buffers, sequences, seed, launched)?;
    let families = session.families().into_iter().map(|family| (family, 0));
    let families = families.collect();
    Ok((Runs::OnCuda(Box::new(session)), families))
}
