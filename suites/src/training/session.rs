//! A program on the host whose buffers live on from one run to the next, with the time that each family of ops took.

use std::collections::BTreeMap;
use std::time::Instant;

use assay_kernels::buffer::Buffers;
use assay_kernels::device::Team;
use assay_kernels::program::{BufferSpec, CpuStep, Program};
use assay_protocol::Failure;

/// A program that is run again and again.
pub struct Session {
    program: Program,
    steps: Vec<(&'static str, CpuStep)>,
    team: Team,
    /// Its buffers, by their numbers.
    pub buffers: Buffers,
    seed: u64,
    families: BTreeMap<&'static str, u64>,
}

impl Session {
    /// Allocates and fills the buffers of a program.
    ///
    /// # Errors
    /// If they do not fit into memory: then it is skipped, and the reason says what is missing.
    pub fn new(mut program: Program, seed: u64, threads: usize) -> Result<Self, Failure> {
        let team = Team::new(threads)?;
        let buffers = program.host_buffers(&team, seed)?;
        let steps = program.take_cpu_steps();
        let families = steps.iter().map(|(family, _)| (*family, 0)).collect();
        Ok(Self {
            program,
            steps,
            team,
            buffers,
            seed,
            families,
        })
    }

    /// Runs it once; says how many nanoseconds that took.
    pub fn run(&mut self) -> u64 {
        self.families.values_mut().for_each(|ns| *ns = 0);
        let begin = Instant::now();
        let mut before = 0;
        for (family, step) in &mut self.steps {
            step(&self.team, &mut self.buffers);
            let now = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            *self.families.entry(family).or_default() += now - before;
            before = now;
        }
        before
    }

    /// Nanoseconds of the last run, by the family of ops.
    pub fn families(&self) -> &BTreeMap<&'static str, u64> {
        &self.families
    }

    /// Fills every buffer as at first.
    ///
    /// # Errors
    /// If memory is lacking.
    pub fn restart(&mut self) -> Result<(), Failure> {
        // The old ones go first, so that both never need to fit.
        self.buffers = Buffers::default();
        self.buffers = self.program.host_buffers(&self.team, self.seed)?;
        Ok(())
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.program.footprint()
    }

    /// The first buffer of those given, each with its name, that holds something that is no finite number.
    pub fn find_bad(&self, buffers: impl Iterator<Item = usize>) -> Option<String> {
        let is_bad = |index: &usize| {
            let buffer = &self.buffers.0[*index];
            (0..buffer.len()).any(|i| !buffer.value(i).is_finite())
        };
        let found = buffers.into_iter().find(is_bad)?;
        Some(self.program.buffers[found].name.clone().into_owned())
    }

    /// What a buffer is.
    pub fn spec(&self, buffer: usize) -> &BufferSpec {
        &self.program.buffers[buffer]
    }

    /// Numbers and names of all buffers.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        let specs = self.program.buffers.iter().enumerate();
        specs.map(|(index, spec)| (index, spec.name.as_ref()))
    }
}
