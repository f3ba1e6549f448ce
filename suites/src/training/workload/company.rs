//! Who trains: this process, and the ranks that it starts or that started it.

use assay_kernels::device::cuda::{self, nccl};
use assay_protocol::case::Which;
use assay_protocol::{CaseSpec, DeviceSelector, Failure, uuids};

use crate::training::plan::Plan;
use crate::training::ranks::processes::Processes;
use crate::training::ranks::{Place, Ranks};
use crate::training::session::Device;

/// The ranks of a training beside this one, as far as this one is in charge.
pub struct Company {
    /// Ranks that this one started.
    processes: Option<Processes>,
    /// GPUs of all ranks, by their UUIDs.
    gpus: Vec<String>,
}

impl Company {
    /// Starts other ranks, or meets those that started this one.
    ///
    /// # Errors
    /// If there are not enough GPUs, or no NCCL: then it is skipped. If a rank does not come.
    pub fn meet(case: &CaseSpec, plan: &Plan) -> Result<(Self, Option<Ranks>), Failure> {
        let mut company = Self {
            processes: None,
            gpus: vec![],
        };
        let of = plan.ranks;
        let ranks = match &plan.peer {
            _ if of == 1 => return Ok((company, None)),
            None => {
                let devices = company.devices(case, plan)?;
                let (processes, ranks) = Processes::start(case, &devices)?;
                company.processes = Some(processes);
                ranks
            }
            Some((rank, folder)) => Ranks::meet(folder, Place { rank: *rank, of })?,
        };
        Ok((company, Some(ranks)))
    }

    /// The device of each rank: of GPUs each has one of its own, and this one has the first.
    fn devices(&mut self, case: &CaseSpec, plan: &Plan) -> Result<Vec<DeviceSelector>, Failure> {
        let Device::Cuda { which, .. } = &plan.device else {
            return Ok(vec![case.device.clone(); plan.ranks]);
        };
        let found = cuda::select_alike(which, plan.ranks).map_err(|why| match why {
            Failure::Skipped(why) => Failure::Skipped(format!("{} `ranks`: {why}", plan.ranks)),
            failed @ Failure::Failed(_) => failed,
        })?;
        nccl::version()?;
        let kind = case.device.kind;
        let of = |index| DeviceSelector {
            kind,
            which: Which::Index(index),
        };
        let devices = found.iter().map(|device| of(device.index)).collect();
        self.gpus = found.into_iter().map(|device| device.uuid).collect();
        Ok(devices)
    }

    /// The GPUs that train together, where several do.
    pub fn gpus(&self) -> Option<String> {
        let count = self.gpus.len();
        (count > 0).then(|| format!("{count}: {}", self.gpus.join(", ")))
    }

    /// Their UUIDs, as one device's.
    pub fn device(&self) -> Option<String> {
        uuids::together(&self.gpus)
    }

    /// Waits until the others have begun, too.
    ///
    /// # Errors
    /// What this one or another could not.
    pub fn join<T>(&mut self, own: Result<T, Failure>) -> Result<T, Failure> {
        match &mut self.processes {
            Some(processes) => processes.join(own),
            None => own,
        }
    }

    /// Lets the others take a step, while `own` does.
    ///
    /// # Errors
    /// What this one or another could not.
    pub fn step<T>(&mut self, own: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        match &mut self.processes {
            Some(processes) => processes.step(own),
            None => own(),
        }
    }
}
