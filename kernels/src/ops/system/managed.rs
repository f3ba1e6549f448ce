//! Managed memory, which comes to where it is touched: the first use of it on the device after the host wrote it.
//!
//! An iteration is a kernel `x <- c - a x` over `n = elements` numbers of type f32, after a prefetch to the
//! device or, without one, by faults on the way. Before each the host writes all of it anew, untimed. Bytes:
//! `n sizeof T` from the host. There is never more of it than is free on the device.

use assay_protocol::{DeviceKind, Failure, MemoryLevel, Work};

use super::chain;
use super::workload::{Activity, Plan, SystemWorkload};
use crate::buffer::Buffer;
use crate::device::cuda::driver::{Cuda, ManagedMemory};
use crate::device::cuda::{Modules, ReadyLaunch};
use crate::device::{Team, host, memory};
use crate::element::DType;
use crate::fill;
use crate::ops::OpInfo;
use crate::parameters::{self, Arguments};
use crate::program::{BufferSpec, Checked, Fill, Launch, Role};

/// The use of managed memory.
#[derive(Clone, Copy, Debug)]
pub struct Managed;

impl SystemWorkload for Managed {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "managed",
            summary: "first use on the device of managed memory that the host wrote",
            parameters: vec![
                parameters::integer("elements"),
                parameters::choice("prefetch", &["none", "device"]),
            ],
            devices: &[DeviceKind::Cuda],
        }
    }

    fn plan(&self, arguments: &Arguments, cuda: &Cuda) -> Result<Plan, Failure> {
        let elements = arguments.size("elements")?;
        let prefetches = arguments.choice("prefetch", &[("none", false), ("device", true)])?;
        if !cuda.description.concurrent_managed {
            return Err(Failure::Skipped(
                "this device moves managed memory whole, before every launch".into(),
            ));
        }
        let bytes = parameters::product("`elements`", &[elements as u64, 4])?;
        cuda.ensure_fits(bytes)?;
        memory::ensure_fits(2 * bytes)?;
        let first = random_numbers(elements, arguments.0.seed.0)?;
        let inputs = [("in".to_owned(), first.digest())].into();
        let managed = ManagedMemory::new(cuda, bytes as usize)?;
        let address = managed.memory().address();
        let (modules, launch) = ready(cuda, &chain::link([0, 0], elements), &[address])?;
        let work = Work {
            bytes: Some(bytes),
            flops: Some(2 * elements as u64),
            items: Some(elements as u64),
            formula: "bytes = n sizeof(T), flops = 2 n, items = n; n = elements".into(),
        };
        let activity = FirstUse {
            first,
            prefetches,
            launch,
            managed,
            _modules: modules,
        };
        Ok(Plan {
            inputs,
            level: Some(MemoryLevel::Host),
            most_iterations: 1,
            ..Plan::new(work, activity)
        })
    }
}

/// Random numbers on the host, as a chain's input.
pub fn random_numbers(elements: usize, seed: u64) -> Result<Buffer, Failure> {
    let spec = BufferSpec {
        name: "in".into(),
        dtype: DType::F32,
        len: elements,
        role: Role::Input,
        fill: Fill::signed(1),
    };
    fill::buffer(&Team::new(host::usable_cpus())?, &spec, seed)
}

/// A launch with all that it needs. It was launched once: first launches are slow.
pub fn ready(
    cuda: &Cuda,
    launch: &Launch,
    addresses: &[u64],
) -> Result<(Modules, ReadyLaunch), Failure> {
    let mut modules = Modules::default();
    modules.load(cuda, &[launch])?;
    let mut ready = modules.ready(launch, addresses)?;
    ready.enqueue(cuda.stream())?;
    cuda.synchronize()?;
    Ok((modules, ready))
}

struct FirstUse {
    first: Buffer,
    prefetches: bool,
    launch: ReadyLaunch,
    managed: ManagedMemory,
    _modules: Modules,
}

impl Activity for FirstUse {
    fn once(&mut self, cuda: &Cuda) -> Result<(), Failure> {
        if self.prefetches {
            self.managed.memory().prefetch(cuda)?;
        }
        self.launch.enqueue(cuda.stream())
    }

    fn restore(&mut self, cuda: &Cuda) -> Result<(), Failure> {
        self.managed
            .bytes_mut(cuda)?
            .copy_from_slice(self.first.bytes());
        Ok(())
    }

    fn judge(&mut self, cuda: &Cuda) -> Result<Checked, Failure> {
        let found = floats(self.managed.bytes_mut(cuda)?);
        Ok(chain::difference(&found, self.first.get(), 1))
    }
}

/// The numbers that some bytes are.
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}
