//! The trait behind every built-in workload. Workers in other languages follow the same steps.

use std::collections::BTreeMap;

use crate::case::CaseSpec;
use crate::message::{Failure, Prepared, Verification, WorkloadInfo};

/// A prepared case: inputs built, outputs poisoned, ready to be timed.
pub trait Workload {
    /// Work, metrics and input digests.
    fn prepared(&self) -> &Prepared;

    /// Puts back inputs that an iteration changes. Called before every sample, outside the timed region.
    fn restore(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Most iterations that a sample may have, however short it is.
    fn most_iterations(&self) -> u64 {
        u64::MAX
    }

    /// Runs the timed region `iterations` times (at least once).
    fn run(&mut self, iterations: u64) -> Result<Measured, Failure>;

    /// Compares the output of the last iteration with the reference.
    fn verify(&mut self) -> Result<Verification, Failure>;

    /// Values of the declared case-level metrics.
    fn finish(&mut self) -> Result<BTreeMap<String, f64>, Failure> {
        Ok(BTreeMap::new())
    }
}

/// What a workload itself observed while it ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Host nanoseconds of the timed region, where the workload times it itself (a child process); otherwise the worker loop does.
    pub host_ns: Option<u64>,
    /// Device nanoseconds of all iterations.
    pub device_ns: Option<u64>,
    /// Values of the declared sample-level metrics.
    pub values: BTreeMap<String, f64>,
    /// Why this is no observation, where it is none: it is thrown away, and another is taken.
    pub invalid: Option<String>,
}

/// One entry of a worker's catalog.
pub trait Catalog: Sync {
    /// What it is and which parameters it takes.
    fn info(&self) -> WorkloadInfo;

    /// Allocates and builds the inputs of a case whose parameters fit [`Catalog::info`].
    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure>;
}
