//! Allocation and release of memory: one of each an iteration, as the host sees it.

use assay_protocol::{DeviceKind, Failure, TimingMode, Work};

use super::transfer;
use super::workload::{Activity, Plan, SystemWorkload};
use crate::buffer::Buffer;
use crate::device::cuda::driver::{Cuda, DeviceMemory, ManagedMemory, PinnedMemory, StreamMemory};
use crate::device::memory;
use crate::ops::OpInfo;
use crate::parameters::{self, Arguments};
use crate::program::Checked;

/// What kind of memory.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Device,
    Stream,
    Managed,
    Pinned,
}

const KINDS: &[(&str, Kind)] = &[
    ("device", Kind::Device),
    ("stream", Kind::Stream),
    ("managed", Kind::Managed),
    ("pinned", Kind::Pinned),
];

/// Allocation and release.
#[derive(Clone, Copy, Debug)]
pub struct Allocation;

impl SystemWorkload for Allocation {
    fn info(&self) -> OpInfo {
        let names: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
        OpInfo {
            name: "allocation",
            summary: "allocation and release of memory",
            parameters: vec![
                parameters::integer("bytes"),
                parameters::choice("memory", &names),
            ],
            devices: &[DeviceKind::Cuda],
        }
    }

    fn timing(&self) -> &'static [TimingMode] {
        &[TimingMode::Host]
    }

    fn plan(&self, arguments: &Arguments, cuda: &Cuda) -> Result<Plan, Failure> {
        let bytes = arguments.size("bytes")?;
        let kind = arguments.choice("memory", KINDS)?;
        cuda.ensure_fits(bytes as u64)?;
        memory::ensure_fits(3 * bytes as u64)?;
        let sent = transfer::random_bytes(bytes, arguments.0.seed.0)?;
        let work = Work {
            items: Some(1),
            formula: "items = 1 allocation and its release".into(),
            ..Work::default()
        };
        Ok(Plan {
            is_awaited: false,
            ..Plan::new(work, Allocate { kind, sent })
        })
    }
}

struct Allocate {
    kind: Kind,
    /// What memory of the kind is tried with.
    sent: Buffer,
}

impl Activity for Allocate {
    fn once(&mut self, cuda: &Cuda) -> Result<(), Failure> {
        let bytes = self.sent.len();
        match self.kind {
            Kind::Device => DeviceMemory::new(bytes).map(drop),
            Kind::Stream => StreamMemory::new(cuda.stream(), bytes).map(drop),
            Kind::Managed => ManagedMemory::come_and_go(bytes),
            Kind::Pinned => PinnedMemory::come_and_go(bytes),
        }
    }

    /// Whether memory of the kind keeps what is written to it.
    fn judge(&mut self, cuda: &Cuda) -> Result<Checked, Failure> {
        let (stream, sent) = (cuda.stream(), self.sent.bytes());
        let mut found = vec![0; sent.len()];
        let mut there_and_back = |memory: &DeviceMemory| {
            memory.upload(stream, sent)?;
            memory.download(stream, &mut found)
        };
        match self.kind {
            Kind::Device => there_and_back(&DeviceMemory::new(sent.len())?)?,
            Kind::Stream => there_and_back(&*StreamMemory::new(stream, sent.len())?)?,
            Kind::Managed => there_and_back(ManagedMemory::new(cuda, sent.len())?.memory())?,
            Kind::Pinned => {
                let mut pinned = PinnedMemory::new(sent.len())?;
                let device = DeviceMemory::new(sent.len())?;
                device.upload(stream, sent)?;
                device.download(stream, pinned.bytes_mut())?;
                found.copy_from_slice(pinned.bytes());
            }
        }
        Ok(transfer::compare(&found, sent))
    }
}
