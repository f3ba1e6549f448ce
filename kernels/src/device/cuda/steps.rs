//! Steps of a program, ready to be enqueued, and the memory that they work on: what is the same whether a program is one case or goes
//! on from step to step.

use std::collections::BTreeMap;

use assay_protocol::Failure;

use super::driver::{Cuda, DeviceMemory};
use super::modules::{Modules, ReadyLaunch};
use super::{LibraryCall, filler};
use crate::device::Team;
use crate::fill;
use crate::program::{BufferSpec, Fill, Step};

/// The buffers of a program on a device, by their numbers.
#[derive(Debug)]
pub struct Memories {
    /// What was allocated.
    pub all: Vec<DeviceMemory>,
    addresses: Vec<u64>,
}

impl Memories {
    /// Allocates them, unfilled.
    pub fn new(specs: &[BufferSpec]) -> Result<Self, Failure> {
        let all = specs.iter().map(|spec| DeviceMemory::new(spec.bytes()));
        let all: Vec<_> = all.collect::<Result<_, _>>()?;
        let addresses = all.iter().map(DeviceMemory::address).collect();
        Ok(Self { all, addresses })
    }

    /// Their addresses.
    pub fn addresses(&self) -> &[u64] {
        &self.addresses
    }

    /// Fills one: with random numbers on the device, with what only the host can make from there. Waits until that is done.
    pub fn fill(
        &self,
        (cuda, team): (&Cuda, &Team),
        index: usize,
        spec: &BufferSpec,
        seed: u64,
    ) -> Result<(), Failure> {
        let memory = &self.all[index];
        if matches!(spec.fill, Fill::Host(_) | Fill::Poison) {
            memory.upload(cuda.stream(), fill::buffer(team, spec, seed)?.bytes())
        } else {
            filler::fill(cuda, memory, spec, seed)
        }
    }
}

/// A step that can be enqueued at once.
pub enum Ready {
    /// A launch of a kernel.
    Launch(ReadyLaunch),
    /// Every byte of a buffer is set.
    Set {
        /// The buffer.
        buffer: usize,
        /// The byte.
        byte: u8,
    },
    /// All of a buffer is copied.
    Copy {
        /// Read.
        from: usize,
        /// Written.
        to: usize,
    },
    /// A library of the vendor's is called.
    Library(Box<dyn LibraryCall>),
}

impl Ready {
    /// Makes a step ready whose source was loaded. Libraries tell `facts`.
    pub fn new(
        step: Step,
        (cuda, modules): (&Cuda, &Modules),
        memories: &Memories,
        facts: &mut BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        Ok(match step {
            Step::Launch(launch) => Self::Launch(modules.ready(&launch, memories.addresses())?),
            Step::Set { buffer, byte } => Self::Set { buffer, byte },
            Step::Copy { from, to } => Self::Copy { from, to },
            Step::Library(mut call) => {
                facts.extend(call.prepare(cuda, memories.addresses())?);
                Self::Library(call)
            }
        })
    }

    /// Puts it on the device's stream.
    pub fn enqueue(&mut self, cuda: &Cuda, memories: &Memories) -> Result<(), Failure> {
        let (stream, all) = (cuda.stream(), &memories.all);
        match self {
            Self::Launch(launch) => launch.enqueue(stream),
            Self::Set { buffer, byte } => all[*buffer].set(stream, *byte),
            Self::Copy { from, to } => all[*to].copy_from(stream, &all[*from]),
            Self::Library(call) => call.enqueue(cuda, memories.addresses()),
        }
    }

    /// Whether it is a call of a library.
    pub fn is_call(&self) -> bool {
        matches!(self, Self::Library(_))
    }

    /// Looks after what it waits for besides the device.
    pub fn watch(&mut self) -> Result<(), Failure> {
        match self {
            Self::Library(call) => call.watch(),
            _ => Ok(()),
        }
    }

    /// Entries of the stream's queue that it takes, at most.
    pub fn launches(&self) -> usize {
        /// A call of a library may launch several kernels.
        const OF_A_CALL: usize = 8;
        match self {
            Self::Library(_) => OF_A_CALL,
            _ => 1,
        }
    }
}
