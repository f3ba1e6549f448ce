//! A program on a GPU.

use std::collections::BTreeMap;

use assay_protocol::{
    Bound, CaseSpec, Direction, Failure, Measured, MemoryLevel, Metric, MetricKind, Prepared,
    TimingMode, Unit, Verification, Workload,
};

use super::driver::{Cuda, DeviceMemory};
use super::modules::Modules;
use super::select;
use super::steps::{Memories, Ready};
use super::timing::{SM_CLOCK, Timer};
use crate::buffer::{Buffer, Buffers};
use crate::device::{Team, host, memory, outcome};
use crate::program::{Fill, Program, Role, Step, Traffic};

/// A prepared case on a GPU.
pub struct CudaCase {
    program: Program,
    steps: Vec<Ready>,
    timer: Timer,
    memories: Memories,
    pristine: BTreeMap<usize, DeviceMemory>,
    iterations: u64,
    distinct: outcome::Distinct,
    team: Team,
    prepared: Prepared,
    // After what uses them: fields are dropped in this order.
    _modules: Modules,
    cuda: Cuda,
}

impl CudaCase {
    /// Compiles and loads the kernels of a case, allocates and fills its buffers, and runs it once, untimed.
    pub fn new(case: &CaseSpec, mut program: Program) -> Result<Self, Failure> {
        let cuda = Cuda::open(select(&case.device.which)?)?;
        if program.cuda.is_empty() {
            return Err(Failure::Skipped(format!(
                "`{}` has no implementation of this kind for CUDA devices",
                case.workload
            )));
        }
        cuda.ensure_fits(program.allocated())?;
        memory::ensure_fits(program.allocated())?;
        let team = Team::new(host::usable_cpus())?;
        let memories = fill_all(&cuda, &team, &program, case.seed.0)?;
        let mut modules = Modules::default();
        let mut facts = modules.load(&cuda, &program.launches().collect::<Vec<_>>())?;
        let mut make_ready = |steps: Vec<Step>| {
            let steps = steps.into_iter();
            let ready =
                steps.map(|step| Ready::new(step, (&cuda, &modules), &memories, &mut facts));
            ready.collect::<Result<Vec<_>, _>>()
        };
        let mut setup = make_ready(std::mem::take(&mut program.setup))?;
        let mut steps = make_ready(std::mem::take(&mut program.cuda))?;
        let pristine = pristine(&cuda, &program, &memories.all)?;
        let inputs = outcome::digests(
            &program,
            &download(&cuda, &team, &program, &memories.all, true)?,
        );
        enqueue(&cuda, &mut setup, &memories)?;
        enqueue(&cuda, &mut steps, &memories)?;
        cuda.synchronize()?;
        let timer = {
            let mut once = |cuda: &Cuda| enqueue(cuda, &mut steps, &memories);
            Timer::new(&cuda, case.timing, &mut once)?
        };
        poison(&cuda, &team, &program, &memories.all)?;
        let prepared = Prepared {
            inputs,
            device: Some(cuda.description.uuid.clone()),
            bound: bound(&program, &cuda, case.timing),
            timer_resolution_ns: timer.resolution_ns(&cuda)?,
            facts,
            ..outcome::prepared(&program)
        };
        let mut case = Self {
            program,
            steps,
            timer,
            memories,
            pristine,
            iterations: 0,
            distinct: outcome::Distinct::default(),
            team,
            prepared,
            _modules: modules,
            cuda,
        };
        case.prepared.metrics.push(sm_clock());
        case.restore()?;
        Ok(case)
    }
}

/// Every buffer, filled.
fn fill_all(cuda: &Cuda, team: &Team, program: &Program, seed: u64) -> Result<Memories, Failure> {
    let memories = Memories::new(&program.buffers)?;
    for (index, spec) in program.buffers.iter().enumerate() {
        memories.fill((cuda, team), index, spec, seed)?;
    }
    Ok(memories)
}

/// Puts one iteration on the device's stream.
fn enqueue(cuda: &Cuda, steps: &mut [Ready], memories: &Memories) -> Result<(), Failure> {
    let mut steps = steps.iter_mut();
    steps.try_for_each(|step| step.enqueue(cuda, memories))
}

/// Copies of the inputs that iterations change, on the device.
fn pristine(
    cuda: &Cuda,
    program: &Program,
    buffers: &[DeviceMemory],
) -> Result<BTreeMap<usize, DeviceMemory>, Failure> {
    let changed = program
        .buffers
        .iter()
        .enumerate()
        .filter(|(_, spec)| spec.role == Role::InOut);
    changed
        .map(|(index, spec)| {
            let copy = DeviceMemory::new(spec.bytes())?;
            copy.copy_from(cuda.stream(), &buffers[index])?;
            Ok((index, copy))
        })
        .collect()
}

/// The buffers as the host sees them: only the inputs, or all but scratch; the others are zeros.
fn download(
    cuda: &Cuda,
    team: &Team,
    program: &Program,
    memories: &[DeviceMemory],
    inputs_only: bool,
) -> Result<Buffers, Failure> {
    let wanted = |role| match role {
        Role::Input | Role::InOut => true,
        Role::Output | Role::Reference => !inputs_only,
        Role::Scratch => false,
    };
    let specs = program.buffers.iter().zip(memories);
    let buffers = specs.map(|(spec, memory)| {
        if !wanted(spec.role) {
            return Buffer::zeroed(team, spec.dtype, 0);
        }
        let mut buffer = Buffer::zeroed(team, spec.dtype, spec.len)?;
        memory.download(cuda.stream(), buffer.bytes_mut())?;
        Ok(buffer)
    });
    buffers.collect::<Result<_, _>>().map(Buffers)
}

/// Poisons outputs and scratch: what the untimed run left there must not pass for what a timed one did.
fn poison(
    cuda: &Cuda,
    team: &Team,
    program: &Program,
    memories: &[DeviceMemory],
) -> Result<(), Failure> {
    for (spec, memory) in program.buffers.iter().zip(memories) {
        if matches!(spec.fill, Fill::Poison) && spec.role != Role::Reference {
            let mut poisoned = Buffer::zeroed(team, spec.dtype, spec.len)?;
            poisoned.poison(team);
            memory.upload(cuda.stream(), poisoned.bytes())?;
        }
    }
    Ok(())
}

/// What bounds a program on this device.
fn bound(program: &Program, cuda: &Cuda, timing: TimingMode) -> Bound {
    /// A working set of up to this many times the L2 keeps a part of itself there.
    const PARTLY_CACHED: u64 = 4;
    let level = match program.traffic {
        Traffic::Unbounded => None,
        Traffic::Level(level) => Some(level),
        Traffic::Footprint if timing == TimingMode::Cold => Some(MemoryLevel::Dram),
        Traffic::Footprint if program.footprint() < PARTLY_CACHED * cuda.description.l2_bytes => {
            Some(MemoryLevel::L2)
        }
        Traffic::Footprint => Some(MemoryLevel::Dram),
    };
    Bound {
        level,
        unit: program.unit,
    }
}

/// The metric of the multiprocessors' clock.
pub fn sm_clock() -> Metric {
    Metric::new(
        SM_CLOCK,
        Unit::from("MHz"),
        Direction::Neutral,
        MetricKind::Sample,
    )
}

impl CudaCase {
    /// Entries of the stream's queue that one iteration takes, at most.
    fn launches(&self) -> usize {
        self.steps.iter().map(Ready::launches).sum()
    }
}

impl Workload for CudaCase {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn most_iterations(&self) -> u64 {
        self.program
            .most_iterations
            .min(self.timer.most_iterations(self.launches()))
    }

    fn restore(&mut self) -> Result<(), Failure> {
        for (index, copy) in &self.pristine {
            self.memories.all[*index].copy_from(self.cuda.stream(), copy)?;
        }
        self.cuda.synchronize()
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let Self {
            timer,
            cuda,
            steps,
            memories,
            ..
        } = self;
        let mut once = |cuda: &Cuda| enqueue(cuda, steps, memories);
        let measured = timer.sample(cuda, iterations, &mut once)?;
        self.iterations = iterations;
        if let Some(output) = self.program.distinct {
            let spec = &self.program.buffers[output];
            let mut buffer = Buffer::zeroed(&self.team, spec.dtype, spec.len)?;
            self.memories.all[output].download(self.cuda.stream(), buffer.bytes_mut())?;
            self.distinct.note(&buffer);
        }
        Ok(measured)
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        let memories = &self.memories.all;
        let buffers = download(&self.cuda, &self.team, &self.program, memories, false)?;
        let mut initial = BTreeMap::new();
        for (index, copy) in &self.pristine {
            let spec = &self.program.buffers[*index];
            let mut buffer = Buffer::zeroed(&self.team, spec.dtype, spec.len)?;
            copy.download(self.cuda.stream(), buffer.bytes_mut())?;
            initial.insert(*index, buffer);
        }
        Ok(outcome::verify(
            &self.program,
            &buffers,
            &initial,
            &self.prepared.inputs,
            self.iterations,
        ))
    }

    fn finish(&mut self) -> Result<BTreeMap<String, f64>, Failure> {
        Ok(self.distinct.values(&self.program))
    }
}
