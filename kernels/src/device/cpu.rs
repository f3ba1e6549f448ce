//! A program on the host's processor.

use std::collections::BTreeMap;

use assay_protocol::{
    Bound, CaseSpec, Failure, Measured, MemoryLevel, Prepared, TimingMode, Verification, Workload,
};

use super::outcome::{self, Pristine};
use super::{Team, host, memory};
use crate::buffer::Buffers;
use crate::fill;
#[cfg(test)]
use crate::program::Role;
use crate::program::{CpuKernel, Program, Traffic};

/// A prepared case on the host.
pub struct CpuCase {
    program: Program,
    kernel: CpuKernel,
    team: Team,
    buffers: Buffers,
    pristine: Pristine,
    iterations: u64,
    distinct: outcome::Distinct,
    prepared: Prepared,
}

impl CpuCase {
    /// Allocates and fills the buffers of a case.
    pub fn new(case: &CaseSpec, mut program: Program, team: Team) -> Result<Self, Failure> {
        if case.timing != TimingMode::Hot {
            let timing = case.timing;
            return Err(Failure::Skipped(format!(
                "timing mode `{timing}` is for CUDA devices"
            )));
        }
        let kernel = program.take_cpu().ok_or_else(|| {
            Failure::Skipped(format!(
                "`{}` has no implementation of this kind for CPUs",
                case.workload
            ))
        })?;
        let seed = case.seed.0;
        memory::ensure_fits(program.allocated())?;
        let buffers = fill::buffers(&team, &program.buffers, seed)?;
        let pristine = Pristine::of(&team, &program, &buffers)?;
        let prepared = Prepared {
            inputs: outcome::digests(&program, &buffers),
            bound: bound(&program),
            ..outcome::prepared(&program)
        };
        let distinct = outcome::Distinct::default();
        Ok(Self {
            program,
            kernel,
            team,
            buffers,
            pristine,
            iterations: 0,
            distinct,
            prepared,
        })
    }

    /// Takes one iteration for done that was not.
    #[cfg(test)]
    pub fn pretend(&mut self) {
        self.iterations = 1;
    }

    /// Changes one element of an output, which a verification must notice: a little, or as much as that takes.
    ///
    /// # Panics
    /// If there is no output.
    #[cfg(test)]
    pub fn corrupt(&mut self, index: usize, beside: outcome::Beside) {
        let mut outputs = (0..self.program.buffers.len())
            .filter(|i| matches!(self.program.buffers[*i].role, Role::Output | Role::InOut));
        let output = outputs.next().unwrap();
        outcome::corrupt(&mut self.buffers.0[output], index, beside);
    }

    /// Multiplies all outputs of real numbers; says whether something changed by that, beyond where rounding would hide it.
    #[cfg(test)]
    pub fn scale_outputs(&mut self, factor: f64) -> bool {
        let outputs = outcome::outputs(&self.program);
        let scaled = outputs
            .into_iter()
            .map(|output| outcome::scale(&mut self.buffers.0[output], factor));
        scaled.fold(false, |any, changed| any | changed)
    }

    /// Changes a bit of some input that is only read, if there is one.
    #[cfg(test)]
    pub fn change_input(&mut self, index: usize) -> bool {
        let specs = self.program.buffers.iter().zip(&mut self.buffers.0);
        let mut inputs = specs
            .filter(|(spec, buffer)| spec.role == Role::Input && !buffer.is_empty())
            .map(|(_, buffer)| buffer);
        let Some(buffer) = inputs.next() else {
            return false;
        };
        let bytes = buffer.bytes_mut();
        bytes[index % bytes.len()] ^= 1;
        true
    }
}

impl Workload for CpuCase {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn most_iterations(&self) -> u64 {
        self.program.most_iterations
    }

    fn restore(&mut self) -> Result<(), Failure> {
        self.pristine.restore(&mut self.buffers);
        Ok(())
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let host_ns = (self.kernel)(&self.team, &mut self.buffers, iterations);
        self.iterations = iterations;
        if let Some(output) = self.program.distinct {
            self.distinct.note(&self.buffers.0[output]);
        }
        Ok(Measured {
            host_ns: Some(host_ns),
            ..Measured::default()
        })
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        Ok(outcome::verify(
            &self.program,
            &self.buffers,
            self.pristine.buffers(),
            &self.prepared.inputs,
            self.iterations,
        ))
    }

    fn finish(&mut self) -> Result<BTreeMap<String, f64>, Failure> {
        Ok(self.distinct.values(&self.program))
    }
}

/// What bounds a program on this processor.
fn bound(program: &Program) -> Bound {
    let level = match program.traffic {
        // Shared memory is a GPU's.
        Traffic::Unbounded | Traffic::Level(MemoryLevel::Shared | MemoryLevel::Host) => None,
        Traffic::Level(level) => Some(level),
        Traffic::Footprint => host::level_of(program.footprint()),
    };
    Bound {
        level,
        unit: program.unit,
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::Workload as _;

    #[test]
    fn what_is_for_gpus_alone_is_skipped() {
        let mut case = crate::ops::cases(assay_protocol::DeviceKind::Cpu, 9).remove(0);
        case.timing = assay_protocol::TimingMode::Cold;
        let program = crate::ops::program(&case).unwrap();
        let refused = super::CpuCase::new(&case, program, crate::device::Team::new(1).unwrap());
        assert!(matches!(refused, Err(assay_protocol::Failure::Skipped(_))));
        case.timing = assay_protocol::TimingMode::Hot;
        let program = crate::ops::program(&case).unwrap();
        let case =
            super::CpuCase::new(&case, program, crate::device::Team::new(1).unwrap()).unwrap();
        assert!(case.prepared().bound.level.is_some());
    }
}
