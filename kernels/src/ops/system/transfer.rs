//! Copies between host and device, and on the device.
//!
//! Bytes: those that arrive, `n`, from the host's memory or to it; a copy on the device reads and writes, `2 n`. Pageable
//! memory goes by way of a buffer of the driver's.

use assay_protocol::{DeviceKind, Failure, MemoryLevel, Work};

use super::workload::{Activity, Plan, SystemWorkload};
use crate::buffer::Buffer;
use crate::device::cuda::driver::{Cuda, DeviceMemory, PinnedMemory};
use crate::device::{Team, host, memory};
use crate::element::DType;
use crate::fill;
use crate::ops::OpInfo;
use crate::parameters::{self, Arguments};
use crate::program::{BufferSpec, Checked, Fill, Role};

/// What a target holds before: one random byte in 256 is the same.
const POISON: u8 = 0xC7;

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    ToDevice,
    ToHost,
    OnDevice,
}

const PATHS: &[(&str, (Path, bool))] = &[
    ("h2d-pinned", (Path::ToDevice, true)),
    ("h2d-pageable", (Path::ToDevice, false)),
    ("d2h-pinned", (Path::ToHost, true)),
    ("d2h-pageable", (Path::ToHost, false)),
    ("d2d", (Path::OnDevice, false)),
];

/// Copies.
#[derive(Clone, Copy, Debug)]
pub struct Transfer;

impl SystemWorkload for Transfer {
    fn info(&self) -> OpInfo {
        let names: Vec<_> = PATHS.iter().map(|(name, _)| *name).collect();
        OpInfo {
            name: "transfer",
            summary: "copy from host to device, back, or on the device",
            parameters: vec![
                parameters::integer("bytes"),
                parameters::choice("path", &names),
            ],
            devices: &[DeviceKind::Cuda],
        }
    }

    fn plan(&self, arguments: &Arguments, cuda: &Cuda) -> Result<Plan, Failure> {
        let bytes = arguments.size("bytes")?;
        let (path, is_pinned) = arguments.choice("path", PATHS)?;
        cuda.ensure_fits(2 * bytes as u64)?;
        memory::ensure_fits(4 * bytes as u64)?;
        let sent = random_bytes(bytes, arguments.0.seed.0)?;
        let inputs = [("bytes".to_owned(), sent.digest())].into();
        let on_device = path == Path::OnDevice;
        let work = Work {
            bytes: Some(if on_device { 2 } else { 1 } * bytes as u64),
            formula: if on_device {
                "bytes = 2 n; n = bytes".into()
            } else {
                "bytes = n; n = bytes".into()
            },
            ..Work::default()
        };
        let copy = Copy::new(cuda, (path, is_pinned), sent)?;
        Ok(Plan {
            inputs,
            level: Some(level(path, bytes as u64, cuda)),
            ..Plan::new(work, copy)
        })
    }
}

fn level(path: Path, bytes: u64, cuda: &Cuda) -> MemoryLevel {
    match path {
        Path::ToDevice | Path::ToHost => MemoryLevel::Host,
        // As for kernels: a part of it stays in the cache.
        Path::OnDevice if 2 * bytes < 4 * cuda.description.l2_bytes => MemoryLevel::L2,
        Path::OnDevice => MemoryLevel::Dram,
    }
}

/// Random bytes on the host.
pub fn random_bytes(bytes: usize, seed: u64) -> Result<Buffer, Failure> {
    let spec = BufferSpec {
        name: "bytes".into(),
        dtype: DType::U8,
        len: bytes,
        role: Role::Input,
        fill: Fill::Words { stream: 0 },
    };
    fill::buffer(&Team::new(host::usable_cpus())?, &spec, seed)
}

/// How many bytes differ.
pub fn compare(found: &[u8], sent: &[u8]) -> Checked {
    let different = found.iter().zip(sent).filter(|(a, b)| a != b).count();
    Checked::exact(different, "bytes that are not those that were sent")
}

/// Memory of the host.
enum HostMemory {
    Pinned(PinnedMemory),
    Pageable(Vec<u8>),
}

impl HostMemory {
    fn new(is_pinned: bool, bytes: usize) -> Result<Self, Failure> {
        Ok(if is_pinned {
            Self::Pinned(PinnedMemory::new(bytes)?)
        } else {
            Self::Pageable(vec![0; bytes])
        })
    }

    fn bytes(&mut self) -> &mut [u8] {
        match self {
            Self::Pinned(memory) => memory.bytes_mut(),
            Self::Pageable(bytes) => bytes,
        }
    }
}

struct Copy {
    path: Path,
    sent: Buffer,
    host: HostMemory,
    device: DeviceMemory,
    second: DeviceMemory,
}

impl Copy {
    /// Everything in place: what is sent at the source, and poison at the target.
    fn new(cuda: &Cuda, (path, is_pinned): (Path, bool), sent: Buffer) -> Result<Self, Failure> {
        let bytes = sent.len();
        let (on_host, second) = match path {
            Path::OnDevice => (0, bytes),
            _ => (bytes, 0),
        };
        let mut host = HostMemory::new(is_pinned, on_host)?;
        let device = DeviceMemory::new(bytes)?;
        let second = DeviceMemory::new(second)?;
        if path == Path::ToDevice {
            host.bytes().copy_from_slice(sent.bytes());
            device.set(cuda.stream(), POISON)?;
        } else {
            host.bytes().fill(POISON);
            device.upload(cuda.stream(), sent.bytes())?;
        }
        second.set(cuda.stream(), POISON)?;
        cuda.synchronize()?;
        Ok(Self {
            path,
            sent,
            host,
            device,
            second,
        })
    }
}

impl Activity for Copy {
    fn once(&mut self, cuda: &Cuda) -> Result<(), Failure> {
        match self.path {
            Path::ToDevice => self.device.send(cuda.stream(), self.host.bytes()),
            Path::ToHost => self.device.receive(cuda.stream(), self.host.bytes()),
            Path::OnDevice => self.second.copy_from(cuda.stream(), &self.device),
        }
    }

    fn judge(&mut self, cuda: &Cuda) -> Result<Checked, Failure> {
        let target = match self.path {
            Path::ToHost => return Ok(compare(self.host.bytes(), self.sent.bytes())),
            Path::ToDevice => &self.device,
            Path::OnDevice => &self.second,
        };
        let mut found = vec![0; target.bytes()];
        target.download(cuda.stream(), &mut found)?;
        Ok(compare(&found, self.sent.bytes()))
    }
}
