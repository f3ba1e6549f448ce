//! The ops, one file per family and one line each in [`catalog`].

mod gemm;
mod reduce;
mod softmax;
mod stream;
mod sum;
mod transpose;

use std::sync::OnceLock;

use assay_protocol::{CaseSpec, Catalog, DeviceKind, Failure, TimingMode, Workload, WorkloadInfo};

use crate::device::Device;
use crate::parameters;

/// Every op.
const OPS: &[&dyn Op] = &[
    &stream::Elementwise::Copy,
    &stream::Elementwise::Mul,
    &stream::Elementwise::Add,
    &stream::Elementwise::Triad,
    &sum::Reduction::Dot,
    &sum::Reduction::Sum,
    &transpose::Transpose,
    &gemm::Gemm,
    &softmax::Softmax,
];

/// Every op, as an entry of a worker's catalog.
pub fn catalog() -> &'static [&'static dyn Catalog] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    static CATALOG: OnceLock<Vec<&'static dyn Catalog>> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let entries = ENTRIES.get_or_init(|| OPS.iter().copied().map(Entry).collect());
        entries.iter().map(|entry| entry as &dyn Catalog).collect()
    })
}

/// Something small that can be timed and checked alone, on any device that it supports.
trait Op: Sync {
    /// What it is; [`info`] fills in what all ops have in common.
    fn info(&self) -> WorkloadInfo;

    /// Allocates and builds the inputs of a case on an open device.
    fn prepare(&self, device: Device, case: &CaseSpec) -> Result<Box<dyn OpCase>, Failure>;
}

/// A prepared case of an op.
trait OpCase: Workload {
    /// Changes one element of the output a little, which a verification must notice.
    #[cfg(test)]
    fn corrupt(&mut self, index: usize);
}

/// The change that [`OpCase::corrupt`] makes.
#[cfg(test)]
fn corrupt<T: crate::element::Element>(output: &mut [T], index: usize) {
    let index = index % output.len();
    let value: f64 = output[index].into();
    // Away from zero, so that the two parts never cancel.
    output[index] = T::from_f64(value * 1.001 + 0.01_f64.copysign(value));
}

/// An op as an entry of a catalog.
struct Entry(&'static dyn Op);

impl Catalog for Entry {
    fn info(&self) -> WorkloadInfo {
        self.0.info()
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let threads = parameters::count(case, "threads")?;
        let device = Device::open(&case.device, threads)?;
        Ok(self.0.prepare(device, case)?)
    }
}

/// Description of an op: its own parameters, and `threads`, which all have.
fn info(
    name: &str,
    summary: &str,
    parameters: impl IntoIterator<Item = assay_protocol::ParameterInfo>,
) -> WorkloadInfo {
    WorkloadInfo {
        name: name.into(),
        summary: summary.into(),
        definition: 1,
        parameters: parameters
            .into_iter()
            .chain([parameters::threads()])
            .collect(),
        timing: vec![TimingMode::Hot],
        devices: vec![DeviceKind::Cpu],
    }
}

#[cfg(test)]
mod tests;
