//! A copy to the device beside a kernel: one after the other on a stream, or at once on two.
//!
//! `n = elements` numbers of type f32 are copied from pinned memory while a kernel runs a chain of 64 operations over
//! `n` others. Bytes: those that arrive from the host, `n sizeof T`; flops `128 n`. Twice the shorter of both is
//! the most that overlap can save.

use assay_protocol::{DeviceKind, Failure, MemoryLevel, Work};

use super::workload::{Activity, Plan, QUEUE, SystemWorkload};
use super::{chain, managed, transfer};
use crate::buffer::Buffer;
use crate::device::cuda::driver::{Cuda, DeviceMemory, Event, PinnedMemory, Stream};
use crate::device::cuda::{Modules, ReadyLaunch};
use crate::device::memory;
use crate::ops::OpInfo;
use crate::parameters::{self, Arguments};
use crate::program::Checked;

const OPERATIONS: u32 = 64;
/// Entries of a stream's queue that an iteration takes.
const ENTRIES: u64 = 4;

/// Copy and kernel.
#[derive(Clone, Copy, Debug)]
pub struct Overlap;

impl SystemWorkload for Overlap {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "overlap",
            summary: "copy to the device beside a kernel, on one stream or on two",
            parameters: vec![
                parameters::integer("elements"),
                parameters::choice("variant", &["serial", "overlapped"]),
            ],
            devices: &[DeviceKind::Cuda],
        }
    }

    fn plan(&self, arguments: &Arguments, cuda: &Cuda) -> Result<Plan, Failure> {
        let elements = arguments.size("elements")?;
        let overlaps = arguments.choice("variant", &[("serial", false), ("overlapped", true)])?;
        let bytes = parameters::product("`elements`", &[elements as u64, 4])?;
        cuda.ensure_fits(parameters::product("`elements`", &[bytes, 3])?)?;
        memory::ensure_fits(parameters::product("`elements`", &[bytes, 4])?)?;
        let seed = arguments.0.seed.0;
        let first = managed::random_numbers(elements, seed)?;
        let sent = transfer::random_bytes(bytes as usize, seed)?;
        let inputs = [
            ("in".to_owned(), first.digest()),
            ("sent".to_owned(), sent.digest()),
        ];
        let work = Work {
            bytes: Some(bytes),
            flops: Some(parameters::product(
                "`elements`",
                &[elements as u64, 2 * u64::from(OPERATIONS)],
            )?),
            items: Some(elements as u64),
            formula: "bytes = n sizeof(T), flops = 128 n, items = n; n = elements".into(),
        };
        Ok(Plan {
            inputs: inputs.into(),
            level: Some(MemoryLevel::Host),
            most_iterations: QUEUE / ENTRIES,
            ..Plan::new(work, Both::new(cuda, overlaps, first, &sent)?)
        })
    }
}

struct Both {
    first: Buffer,
    launch: ReadyLaunch,
    pinned: PinnedMemory,
    arrived: DeviceMemory,
    out: DeviceMemory,
    /// Where the copy has a stream of its own.
    aside: Option<Stream>,
    fork: Event,
    join: Event,
    _input: DeviceMemory,
    _modules: Modules,
}

impl Both {
    fn new(cuda: &Cuda, overlaps: bool, first: Buffer, sent: &Buffer) -> Result<Self, Failure> {
        let mut pinned = PinnedMemory::new(sent.len())?;
        pinned.bytes_mut().copy_from_slice(sent.bytes());
        let (arrived, out) = (
            DeviceMemory::new(sent.len())?,
            DeviceMemory::new(sent.len())?,
        );
        let input = DeviceMemory::new(sent.len())?;
        input.upload(cuda.stream(), first.bytes())?;
        let launch = chain::fused([0, 1], OPERATIONS, first.len());
        let (modules, launch) = managed::ready(cuda, &launch, &[out.address(), input.address()])?;
        // What the launch above left must not pass for what a timed one did.
        out.set(cuda.stream(), 0xFF)?;
        arrived.set(cuda.stream(), 0xFF)?;
        cuda.synchronize()?;
        Ok(Self {
            first,
            launch,
            pinned,
            arrived,
            out,
            aside: overlaps.then(|| cuda.new_stream()).transpose()?,
            fork: Event::new()?,
            join: Event::new()?,
            _input: input,
            _modules: modules,
        })
    }
}

impl Activity for Both {
    fn once(&mut self, cuda: &Cuda) -> Result<(), Failure> {
        let stream = cuda.stream();
        let Some(aside) = &self.aside else {
            self.arrived.send(stream, self.pinned.bytes())?;
            return self.launch.enqueue(stream);
        };
        self.fork.record(stream)?;
        self.fork.hold(aside.get())?;
        self.arrived.send(aside.get(), self.pinned.bytes())?;
        self.join.record(aside.get())?;
        self.launch.enqueue(stream)?;
        self.join.hold(stream)
    }

    fn judge(&mut self, cuda: &Cuda) -> Result<Checked, Failure> {
        let mut found = vec![0; self.arrived.bytes()];
        self.arrived.download(cuda.stream(), &mut found)?;
        let copied = transfer::compare(&found, self.pinned.bytes());
        if copied.error > 0.0 {
            return Ok(copied);
        }
        self.out.download(cuda.stream(), &mut found)?;
        Ok(chain::difference(
            &managed::floats(&found),
            self.first.get(),
            OPERATIONS.into(),
        ))
    }
}
