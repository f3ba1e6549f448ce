//! The frame of workloads that are no programs of kernels: what they say of themselves, how they are timed and judged.
//!
//! In mode `hot` the device's clock times iterations that follow each other, from an event before the first to one
//! behind the last; there is no gate, since some iterations cannot be enqueued without the host waiting. In mode
//! `host` the host's clock times iterations each of which is waited for, where waiting is not the workload itself.

use std::collections::BTreeMap;
use std::time::Instant;

use assay_protocol::{
    Bound, CaseSpec, Catalog, DeviceKind, Digest, Failure, Measured, MemoryLevel, Prepared,
    TimingMode, Verification, Work, Workload, WorkloadInfo,
};

use crate::device::cuda::driver::{Cuda, Event};
use crate::device::cuda::{event_resolution_ns, select};
use crate::ops::OpInfo;
use crate::parameters::Arguments;
use crate::program::Checked;

/// Something that a device and its driver do.
pub trait SystemWorkload: Sync {
    /// What it is.
    fn info(&self) -> OpInfo;

    /// Modes in which it can be timed.
    fn timing(&self) -> &'static [TimingMode] {
        &[TimingMode::Hot, TimingMode::Host]
    }

    /// Allocates and fills what a case needs.
    fn plan(&self, arguments: &Arguments, cuda: &Cuda) -> Result<Plan, Failure>;
}

/// A case, ready to be run.
pub struct Plan {
    /// Work of one iteration.
    pub work: Work,
    /// Where its bytes come from.
    pub level: Option<MemoryLevel>,
    /// Digest of each input.
    pub inputs: BTreeMap<String, Digest>,
    /// Most iterations of a sample.
    pub most_iterations: u64,
    /// Whether an iteration is over only when the device is done with it.
    pub is_awaited: bool,
    /// What is done.
    pub activity: Box<dyn Activity>,
}

/// Work that a stream's queue holds for sure.
pub const QUEUE: u64 = 256;

impl Plan {
    /// A plan without inputs and bound, of as many iterations as a stream's queue holds.
    pub fn new(work: Work, activity: impl Activity + 'static) -> Self {
        Self {
            work,
            level: None,
            inputs: BTreeMap::new(),
            most_iterations: QUEUE,
            is_awaited: true,
            activity: Box::new(activity),
        }
    }
}

/// What is done in an iteration, and what of it can be seen afterwards.
pub trait Activity {
    /// Enqueues one iteration on the device's stream, or does it.
    fn once(&mut self, cuda: &Cuda) -> Result<(), Failure>;

    /// Puts back what an iteration changes, outside of the timed region.
    fn restore(&mut self, _cuda: &Cuda) -> Result<(), Failure> {
        Ok(())
    }

    /// Compares what iterations left behind with what they should have. The device is idle.
    fn judge(&mut self, cuda: &Cuda) -> Result<Checked, Failure>;
}

/// A workload as an entry of a catalog.
pub struct Entry(pub &'static dyn SystemWorkload);

impl Catalog for Entry {
    fn info(&self) -> WorkloadInfo {
        let info = self.0.info();
        WorkloadInfo {
            name: info.name.into(),
            summary: info.summary.into(),
            definition: 1,
            parameters: info.parameters,
            timing: self.0.timing().to_vec(),
            devices: info.devices.to_vec(),
        }
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        if case.device.kind != DeviceKind::Cuda {
            let reason = format!("`{}` is for CUDA devices", case.workload);
            return Err(Failure::Skipped(reason));
        }
        let arguments = Arguments(case);
        arguments.check_minima(&self.info().parameters)?;
        let cuda = Cuda::open(select(&case.device.which)?)?;
        let plan = self.0.plan(&arguments, &cuda)?;
        Ok(Box::new(Running::new(case.timing, plan, cuda)?))
    }
}

/// A prepared case. Its fields are dropped in this order, the device last.
struct Running {
    timing: TimingMode,
    plan: Plan,
    start: Event,
    end: Event,
    prepared: Prepared,
    iterations: u64,
    cuda: Cuda,
}

impl Running {
    fn new(timing: TimingMode, plan: Plan, cuda: Cuda) -> Result<Self, Failure> {
        let (start, end) = (Event::new()?, Event::new()?);
        let timer_resolution_ns = match timing {
            TimingMode::Host => None,
            _ => Some(event_resolution_ns(&cuda, &start, &end)?),
        };
        let prepared = Prepared {
            work: plan.work.clone(),
            device: Some(cuda.description.uuid.clone()),
            inputs: plan.inputs.clone(),
            deterministic: true,
            bound: Bound {
                level: plan.level,
                unit: None,
            },
            timer_resolution_ns,
            ..Prepared::default()
        };
        Ok(Self {
            timing,
            plan,
            start,
            end,
            prepared,
            iterations: 0,
            cuda,
        })
    }

    fn by_host(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let Self { plan, cuda, .. } = self;
        let begin = Instant::now();
        for _ in 0..iterations {
            plan.activity.once(cuda)?;
            if plan.is_awaited {
                cuda.synchronize()?;
            }
        }
        let host_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        cuda.synchronize()?;
        Ok(Measured {
            host_ns: Some(host_ns),
            ..Measured::default()
        })
    }

    fn by_events(&mut self, iterations: u64) -> Result<Measured, Failure> {
        self.start.record(self.cuda.stream())?;
        for _ in 0..iterations {
            self.plan.activity.once(&self.cuda)?;
        }
        self.end.record(self.cuda.stream())?;
        self.cuda.synchronize()?;
        Ok(Measured {
            device_ns: Some(self.end.since_ns(&self.start)?),
            ..Measured::default()
        })
    }
}

impl Workload for Running {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn most_iterations(&self) -> u64 {
        self.plan.most_iterations
    }

    fn restore(&mut self) -> Result<(), Failure> {
        self.plan.activity.restore(&self.cuda)?;
        self.cuda.synchronize()
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let measured = match self.timing {
            TimingMode::Host => self.by_host(iterations),
            _ => self.by_events(iterations),
        };
        self.iterations = iterations;
        measured
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        if self.iterations == 0 {
            return Ok(Verification {
                passed: false,
                error: None,
                tolerance: None,
                output: None,
                detail: "nothing was sampled yet".into(),
            });
        }
        let checked = self.plan.activity.judge(&self.cuda)?;
        Ok(Verification {
            passed: checked.error <= checked.tolerance,
            error: checked.error.is_finite().then_some(checked.error),
            tolerance: Some(checked.tolerance),
            output: None,
            detail: checked.detail,
        })
    }
}
