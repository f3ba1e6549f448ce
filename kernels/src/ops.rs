//! The ops, one file per family and one line each in `OPS`.

mod bank_conflict;
mod ceiling;
pub mod conv2d;
mod fft;
mod gather;
pub(crate) mod gemm;
mod gemv;
mod histogram;
mod memset;
mod nbody;
mod pointer_chase;
mod power_spectrum;
mod radix_sort;
pub mod reduce;
mod scan;
mod spectral;
mod spmv;
mod stencil;
mod stream;
mod strided;
pub(crate) mod sum;
mod system;
mod top_k;
pub(crate) mod transpose;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use assay_protocol::{
    CaseSpec, Catalog, DeviceKind, Failure, ParamValue, ParameterInfo, TimingMode, Workload,
    WorkloadInfo,
};

use crate::device;
use crate::ml::{
    activation, add, attention, bias_gelu, cast, column_sum, columns, cross_entropy, depth, draw,
    dropout, embedding, gemm_i8, gradient, latent, linear, mixing, moe, norm, optimizer, pool,
    position, quantise, scale, search, soft_cross_entropy, softmax, squares, windows,
};
use crate::parameters::{self, Arguments};
use crate::program::{Program, Source};
use crate::synthetic::{closest, spectra};

/// Every op.
const OPS: &[&dyn Op] = &[
    &stream::Elementwise::Copy,
    &stream::Elementwise::Mul,
    &stream::Elementwise::Add,
    &stream::Elementwise::Triad,
    &stream::Elementwise::Nstream,
    &sum::Reduction::Dot,
    &sum::Reduction::Sum,
    &scan::Scan,
    &radix_sort::RadixSort,
    &histogram::Histogram,
    &top_k::TopK,
    &strided::Strided,
    &gather::Indexed::Gather,
    &gather::Indexed::Scatter,
    &pointer_chase::PointerChase,
    &memset::Memset,
    &bank_conflict::BankConflict,
    &transpose::Transpose,
    &gemv::Product::Gemv,
    &gemv::Product::Skinny,
    &gemm::Gemm::One,
    &gemm::Gemm::Batched,
    &conv2d::Conv2d,
    &conv2d::Conv2dBackward,
    &softmax::SoftmaxOp::Forward,
    &softmax::SoftmaxOp::Backward,
    &norm::NormOp::LAYER,
    &norm::NormOp::LAYER_BACKWARD,
    &norm::NormOp::RMS,
    &norm::NormOp::RMS_BACKWARD,
    &activation::ActivationOp::Gelu,
    &activation::ActivationOp::GeluBackward,
    &activation::ActivationOp::SwiGlu,
    &activation::ActivationOp::SwiGluBackward,
    &bias_gelu::BiasGeluOp::Forward,
    &bias_gelu::BiasGeluOp::Backward,
    &cross_entropy::CrossEntropyOp::Forward,
    &cross_entropy::CrossEntropyOp::Backward,
    &embedding::EmbeddingOp::Forward,
    &embedding::EmbeddingOp::Backward,
    &dropout::DropoutOp,
    &column_sum::ColumnSumOp,
    &add::AddOp::Forward,
    &add::AddOp::Accumulate,
    &windows::WindowsOp,
    &draw::DrawOp::Rows,
    &draw::DrawOp::Labels,
    &mixing::MixingOp,
    &pool::MeanPoolOp,
    &depth::DepthOp,
    &soft_cross_entropy::SoftCrossEntropyOp,
    &latent::CodesOp,
    &squares::SquaresOp,
    &cast::CastOp,
    &scale::ScaleOp,
    &spmv::Spmv,
    &stencil::Stencil,
    &ceiling::PeakBandwidth,
    &ceiling::PeakArithmetic,
    &system::Launches::Empty,
    &system::Launches::Graph,
    &system::FusionChain,
    &system::OccupancySweep,
    &ceiling::PeakTensor,
    &nbody::Nbody,
    &fft::FastFourier,
    &power_spectrum::PowerSpectrum,
    &gradient::GradientOp::Norm,
    &gradient::GradientOp::ClipNorm,
    &gradient::GradientOp::ClipAdaptive,
    &gradient::GradientOp::Centralise,
    &columns::ColumnsOp::Clip,
    &columns::ColumnsOp::Centralise,
    &gradient::GradientOp::LossScale,
    &optimizer::OptimizerOp::Sgd,
    &optimizer::OptimizerOp::AdamW,
    &optimizer::OptimizerOp::Lion,
    &optimizer::OptimizerOp::Adan,
    &optimizer::OptimizerOp::SophiaG,
    &optimizer::OptimizerOp::Curvature,
    &optimizer::schedule::ScheduleOp,
    &quantise::QuantiseOp::Quantise,
    &quantise::QuantiseOp::Dequantise,
    &gemm_i8::GemmI8,
    &search::SearchOp::TopK,
    &search::SearchOp::KMeans,
    &search::SearchOp::IvfFlat,
    &closest::ClosestRows,
    &linear::LinearOp::Full,
    &linear::LinearOp::Half,
    &linear::LinearOp::Mixed,
    &linear::codes::CodedLinear,
    &position::RopeOp,
    &position::AlibiOp,
    &attention::AttentionOp::Full,
    &attention::AttentionOp::Half,
    &moe::gate::GateOp,
    &moe::routing::RoutingOp::Dispatch,
    &moe::routing::RoutingOp::Combine,
    &moe::experts::ExpertsOp::Full,
    &moe::experts::ExpertsOp::Mixed,
];

/// Every op, and every workload that is no op, as an entry of a worker's catalog.
pub fn catalog() -> &'static [&'static dyn Catalog] {
    static ENTRIES: OnceLock<(Vec<Entry>, Vec<system::Entry>)> = OnceLock::new();
    static CATALOG: OnceLock<Vec<&'static dyn Catalog>> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let (ops, others) = ENTRIES.get_or_init(|| {
            let others = system::WORKLOADS.iter().copied().map(system::Entry);
            (OPS.iter().copied().map(Entry).collect(), others.collect())
        });
        let ops = ops.iter().map(|entry| entry as &dyn Catalog);
        let others = others.iter().map(|entry| entry as &dyn Catalog);
        ops.chain(others).collect()
    })
}

/// Something small that can be timed and checked alone, on any device that it has an implementation for.
pub trait Op: Sync {
    /// What it is.
    fn info(&self) -> OpInfo;

    /// Version of what is timed and of how its work is counted: whoever changes either raises it, so that older results are compared
    /// with none of the newer.
    fn definition(&self) -> u32 {
        1
    }

    /// Fails, in words, if this machine would not measure with a case what it is said to. That is asked before anything is timed, and
    /// never where results alone are of interest.
    fn ensure_measures(&self, _arguments: &Arguments) -> Result<(), Failure> {
        Ok(())
    }

    /// What a case of it allocates, does and checks. Sizes may be 0.
    fn program(&self, arguments: &Arguments) -> Result<Program, Failure>;

    /// The value of a parameter that is a size in tests that run everything at one size: less, where several multiply.
    fn test_size(&self, _parameter: &str, size: i64) -> i64 {
        size
    }

    /// The value of a count with a default in such tests: less, where that must not be above a size.
    fn test_default(&self, _parameter: &str, value: i64, _size: i64) -> i64 {
        value
    }
}

/// What an op says of itself; what all ops have in common is added to it.
#[derive(Clone, Debug)]
pub struct OpInfo {
    /// Its name, as suites give it.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Its own parameters.
    pub parameters: Vec<ParameterInfo>,
    /// Kinds of device that some variant of it runs on.
    pub devices: &'static [DeviceKind],
}

/// The devices of an op that runs everywhere.
pub const EVERYWHERE: &[DeviceKind] = &[DeviceKind::Cpu, DeviceKind::Cuda];

/// An op as an entry of a catalog.
struct Entry(&'static dyn Op);

impl Catalog for Entry {
    fn info(&self) -> WorkloadInfo {
        let info = self.0.info();
        let is_cuda = info.devices.contains(&DeviceKind::Cuda);
        let timing: &[TimingMode] = if is_cuda {
            &[
                TimingMode::Hot,
                TimingMode::Cold,
                TimingMode::Graph,
                TimingMode::Host,
            ]
        } else {
            &[TimingMode::Hot]
        };
        WorkloadInfo {
            name: info.name.into(),
            summary: info.summary.into(),
            definition: self.0.definition(),
            parameters: info
                .parameters
                .into_iter()
                .chain([parameters::threads()])
                .collect(),
            timing: timing.to_vec(),
            devices: info.devices.to_vec(),
        }
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let arguments = Arguments(case);
        arguments.check_minima(&self.info().parameters)?;
        self.0.ensure_measures(&arguments)?;
        device::prepare(case, self.0.program(&arguments)?)
    }
}

/// The program of a case, by the name of its op.
pub fn program(case: &CaseSpec) -> Result<Program, Failure> {
    let op = OPS.iter().find(|op| op.info().name == case.workload);
    let op = op.ok_or_else(|| Failure::Failed(format!("no op is called `{}`", case.workload)))?;
    op.program(&Arguments(case))
}

/// Every case of every op on a kind of device, over all choices, with `size`, or what the op
/// makes of it, for each parameter that is a size.
pub fn cases(device: DeviceKind, size: i64) -> Vec<CaseSpec> {
    let selector = assay_protocol::DeviceSelector {
        kind: device,
        which: assay_protocol::case::Which::Any,
    };
    let mut cases = vec![];
    for op in OPS {
        let info = op.info();
        if !info.devices.contains(&device) {
            continue;
        }
        let mut parameters = info.parameters;
        parameters.retain(|p| p.devices.is_empty() || p.devices.contains(&device));
        for params in combinations(*op, &parameters, size) {
            let case = CaseSpec {
                workload: info.name.into(),
                params,
                seed: 1.into(),
                device: selector.clone(),
                timing: TimingMode::Hot,
                command: None,
                kernel: None,
            };
            // Some choices do not go together.
            if !matches!(program(&case), Err(Failure::Skipped(_))) {
                cases.push(case);
            }
        }
    }
    cases
}

/// Every combination of the choices of some parameters.
fn combinations(
    op: &dyn Op,
    parameters: &[ParameterInfo],
    size: i64,
) -> Vec<BTreeMap<String, ParamValue>> {
    let mut all = vec![BTreeMap::new()];
    for parameter in parameters {
        let mut values = parameter.choices.clone();
        if values.is_empty() {
            values.push(match &parameter.default {
                Some(ParamValue::Int(value)) => {
                    ParamValue::Int(op.test_default(&parameter.name, *value, size))
                }
                Some(other) => other.clone(),
                None => ParamValue::Int(op.test_size(&parameter.name, size)),
            });
        }
        all = all
            .into_iter()
            .flat_map(|params| {
                values.iter().map(move |value| {
                    let mut params: BTreeMap<String, ParamValue> = params.clone();
                    params.insert(parameter.name.clone(), value.clone());
                    params
                })
            })
            .collect();
    }
    all
}

/// Every kernel that some case, the frame or a brick without an op launches, by source, in the order of their names.
pub fn kernels() -> BTreeMap<&'static str, (&'static Source, Vec<String>)> {
    let own = device::cuda::kernels().into_iter();
    let mut all: BTreeMap<_, _> = own
        .chain([spectra::kernels()])
        .map(|(source, names)| (source.path, (source, names)))
        .collect();
    // What is chosen by size shows at a small and at a large one.
    let sizes = [67, 257].into_iter();
    for case in sizes.flat_map(|size| cases(DeviceKind::Cuda, size)) {
        let Ok(program) = program(&case) else {
            continue;
        };
        for launch in program.launches() {
            let (_, names) = all
                .entry(launch.source.path)
                .or_insert((launch.source, vec![]));
            if !names.contains(&launch.kernel) {
                names.push(launch.kernel.clone());
            }
        }
    }
    for (_, names) in all.values_mut() {
        names.sort();
    }
    all
}

#[cfg(test)]
mod tests;
