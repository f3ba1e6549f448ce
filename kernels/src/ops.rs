//! The ops, one file per family and one line each in [`catalog`].

mod gemm;
mod reduce;
mod softmax;
mod stream;
mod sum;
mod transpose;

use assay_protocol::{CaseSpec, Catalog, DeviceKind, Failure, TimingMode, Workload, WorkloadInfo};

use crate::device::Device;
use crate::parameters;

/// Every op, as an entry of a worker's catalog.
pub fn catalog() -> &'static [&'static dyn Catalog] {
    &[
        &Entry(stream::Elementwise::Copy),
        &Entry(stream::Elementwise::Mul),
        &Entry(stream::Elementwise::Add),
        &Entry(stream::Elementwise::Triad),
        &Entry(sum::Reduction::Dot),
        &Entry(sum::Reduction::Sum),
        &Entry(transpose::Transpose),
        &Entry(gemm::Gemm),
        &Entry(softmax::Softmax),
    ]
}

/// Something small that can be timed and checked alone, on any device that it supports.
trait Op: Sync {
    /// What it is; [`info`] fills in what all ops have in common.
    fn info(&self) -> WorkloadInfo;

    /// Allocates and builds the inputs of a case on an open device.
    fn prepare(&self, device: Device, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure>;
}

/// An op as an entry of a catalog.
struct Entry<O>(O);

impl<O: Op> Catalog for Entry<O> {
    fn info(&self) -> WorkloadInfo {
        self.0.info()
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let threads = parameters::count(case, "threads")?;
        let device = Device::open(&case.device, threads)?;
        self.0.prepare(device, case)
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
