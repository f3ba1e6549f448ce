//! What a workload is, and how a harness talks to the process that runs it.
//!
//! Everything that Assay measures runs in a worker process. This crate holds what both sides of
//! that seam share: the [messages](message), the [case](case) that a worker is asked to prepare,
//! the [metrics](metric) it may declare, the [`Workload`] trait that built-in workloads implement,
//! the [rules](exchange) by which a reply is judged, and the counter-based random numbers
//! ([`philox`]) that make inputs the same bits everywhere. It performs no I/O: whoever owns the
//! pipes feeds lines in and writes lines out.

pub mod bound;
pub mod case;
pub mod command;
pub mod digest;
pub mod exchange;
pub mod kernel;
pub mod message;
pub mod metric;
pub mod philox;
pub mod uuids;
pub mod wide;
pub mod workload;

pub use bound::{ArithmeticUnit, Bound, MemoryLevel};
pub use case::{CaseSpec, DeviceKind, DeviceSelector, ParamValue, Params, TimingMode};
pub use command::{COMMAND_WORKLOAD, CommandMetric, CommandSpec};
pub use digest::{Digest, Digesting};
pub use exchange::{Exchange, Fault, Step, lacking};
pub use kernel::{KERNEL_WORKLOAD, KernelSpec};
pub use message::{
    DeviceInfo, Failure, Hello, ParameterInfo, ParameterKind, Prepared, Reply, Request, Sample,
    SampleRequest, Verification, Work, WorkloadInfo,
};
pub use metric::{Direction, Metric, MetricKind, Unit};
pub use philox::Philox;
pub use wide::U64;
pub use workload::{Catalog, Measured, Workload};

/// Version of the worker protocol. A worker that speaks another one is refused.
pub const PROTOCOL_VERSION: u32 = 1;

/// Longest line, in bytes without its newline, that either side may send.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Most lines in one reply (samples and progress together).
pub const MAX_REPLY_LINES: usize = 1 << 20;

/// Most bytes in one reply.
pub const MAX_REPLY_BYTES: usize = 256 << 20;

/// Most metrics that a case may declare.
pub const MAX_METRICS: usize = 64;

/// Most samples that one `sample` request may ask for.
pub const MAX_SAMPLES_PER_CHUNK: u32 = 100_000;
