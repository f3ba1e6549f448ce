//! What the CUDA driver lends, each owned by a value that gives it back.
#![allow(unsafe_code)] // the driver's interface takes pointers and handles

mod events;
mod memory;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Mutex, OnceLock, PoisonError};

use assay_protocol::Failure;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};

use super::set_lost;
use crate::device::memory::ensure_within;

pub use events::{Event, Graph};
pub use memory::{DeviceMemory, ManagedMemory, PinnedMemory, StreamMemory};

/// The oldest driver whose interface we use (`cuEventElapsedTime_v2`).
const OLDEST: Version = Version(12, 8);

/// A version of CUDA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What a GPU is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Enumeration index.
    pub index: u32,
    /// Model name.
    pub name: String,
    /// `GPU-` or `MIG-` and its UUID.
    pub uuid: String,
    /// Compute capability: major, minor.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of its L2 cache.
    pub l2_bytes: u64,
    /// Dynamic shared memory that a block may ask for, in bytes.
    pub shared_bytes: u32,
    /// Bytes of its memory.
    pub memory_bytes: u64,
    /// Whether managed memory may be touched by host and device at once.
    pub concurrent_managed: bool,
}

impl Description {
    /// Its architecture, as compilers name it: `90a` where there is such a target, else `89`.
    pub fn architecture(&self) -> String {
        let (major, minor) = self.capability;
        let suffix = if major >= 9 { "a" } else { "" };
        format!("{major}{minor}{suffix}")
    }
}

/// Turns an error of the driver into a failure: `what` was being done.
pub fn checked<T>(what: &str, outcome: Result<T, DriverError>) -> Result<T, Failure> {
    outcome.map_err(|error| {
        let text = format!("CUDA: {what}: {}", words(error));
        if matches!(
            error.0,
            CUresult::CUDA_ERROR_OUT_OF_MEMORY | CUresult::CUDA_ERROR_NOT_SUPPORTED
        ) {
            return Failure::Skipped(text);
        }
        if is_sticky(error.0) {
            set_lost();
        }
        Failure::Failed(text)
    })
}

/// Whether the context is beyond repair after an error: all later calls give it again.
fn is_sticky(error: CUresult) -> bool {
    matches!(
        error,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
            | CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUresult::CUDA_ERROR_CONTAINED
            | CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE
            | CUresult::CUDA_ERROR_DEINITIALIZED
            | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUresult::CUDA_ERROR_UNKNOWN
    )
}

fn words(error: DriverError) -> String {
    let text = |found: Result<&std::ffi::CStr, DriverError>| {
        found.map_or_else(
            |_| format!("{:?}", error.0),
            |text| text.to_string_lossy().into_owned(),
        )
    };
    format!(
        "{} ({})",
        text(error.error_string()),
        text(error.error_name())
    )
}

/// Loads and starts the driver, once; the reason where there is none.
pub fn start() -> Result<(), Failure> {
    static STARTED: OnceLock<Result<(), Failure>> = OnceLock::new();
    STARTED.get_or_init(start_now).clone()
}

fn start_now() -> Result<(), Failure> {
    // SAFETY: it loads the library and looks for no symbol.
    if !unsafe { sys::is_culib_present() } {
        return Err(Failure::Skipped("no CUDA driver".into()));
    }
    result::init().map_err(|error| match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => Failure::Skipped("no CUDA device".into()),
        _ => Failure::Skipped(format!("the CUDA driver does not start: {}", words(error))),
    })?;
    let found = version()?;
    if found < OLDEST {
        return Err(Failure::Skipped(format!(
            "the CUDA driver is for {found}: {OLDEST} or newer is needed"
        )));
    }
    Ok(())
}

/// The newest CUDA that the driver supports.
pub fn version() -> Result<Version, Failure> {
    // SAFETY: as in `start_now`; the library is there where its functions are called.
    if !unsafe { sys::is_culib_present() } {
        return Err(Failure::Skipped("no CUDA driver".into()));
    }
    let mut number = 0;
    // SAFETY: the pointer is valid for the call.
    let outcome = unsafe { sys::cuDriverGetVersion(&raw mut number) };
    checked("driver version", outcome.result())?;
    Ok(Version(number as u32 / 1000, number as u32 % 1000 / 10))
}

/// Every GPU.
pub fn devices() -> Result<Vec<Description>, Failure> {
    start()?;
    let count = checked("count of devices", result::device::get_count())?;
    (0..count).map(describe).collect()
}

fn describe(index: i32) -> Result<Description, Failure> {
    let device = checked("device", result::device::get(index))?;
    let attribute = |which| {
        // SAFETY: the device was given by the driver.
        checked("attribute of a device", unsafe {
            result::device::get_attribute(device, which)
        })
        .map(|value| value.max(0) as u32)
    };
    let uuid = checked("UUID of a device", result::device::get_uuid(device))?;
    Ok(Description {
        index: index as u32,
        name: checked("name of a device", result::device::get_name(device))?,
        uuid: format_uuid(uuid.bytes.map(|byte| byte as u8)),
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        l2_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.into(),
        shared_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        // SAFETY: the device was given by the driver.
        memory_bytes: checked("memory of a device", unsafe {
            result::device::total_mem(device)
        })? as u64,
        concurrent_managed: attribute(Attribute::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS)?
            > 0,
    })
}

/// As NVML writes it.
fn format_uuid(bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!(
        "GPU-{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// A GPU with its primary context, current to this thread, and a stream.
#[derive(Debug)]
pub struct Cuda {
    /// What it is.
    pub description: Description,
    device: sys::CUdevice,
    stream: sys::CUstream,
}

/// A device's primary context, which lives as long as the process: making one takes a good part of a second, which no case
/// should pay again.
#[derive(Clone, Copy, Debug)]
struct Context(sys::CUcontext);

// SAFETY: the driver allows a context to be made current on any thread; nothing else is done with the handle.
unsafe impl Send for Context {}

impl Context {
    /// That of a device, made when it is first asked for.
    fn of(device: sys::CUdevice) -> Result<Self, Failure> {
        static RETAINED: Mutex<BTreeMap<sys::CUdevice, Context>> = Mutex::new(BTreeMap::new());
        let mut retained = RETAINED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(context) = retained.get(&device) {
            return Ok(*context);
        }
        // SAFETY: the device was given by the driver. The context is kept until the process ends.
        let context = checked("context", unsafe { result::primary_ctx::retain(device) })?;
        retained.insert(device, Self(context));
        Ok(Self(context))
    }
}

/// Makes a device's primary context current to this thread.
pub fn attach(index: u32) -> Result<sys::CUdevice, Failure> {
    let device = checked("device", result::device::get(index as i32))?;
    let Context(context) = Context::of(device)?;
    // SAFETY: the context is retained.
    checked("context", unsafe { result::ctx::set_current(context) })?;
    Ok(device)
}

impl Cuda {
    /// Opens a device for this thread.
    pub fn open(description: Description) -> Result<Self, Failure> {
        let device = attach(description.index)?;
        let stream = checked(
            "stream",
            result::stream::create(result::stream::StreamKind::NonBlocking),
        )?;
        Ok(Self {
            description,
            device,
            stream,
        })
    }

    /// The stream that everything runs on.
    pub fn stream(&self) -> StreamRef<'_> {
        StreamRef(self.stream, PhantomData)
    }

    /// Another stream of the same device.
    pub fn new_stream(&self) -> Result<Stream, Failure> {
        checked(
            "stream",
            result::stream::create(result::stream::StreamKind::NonBlocking),
        )
        .map(Stream)
    }

    /// Waits until all that was enqueued is done.
    pub fn synchronize(&self) -> Result<(), Failure> {
        self.stream().synchronize()
    }

    /// Free bytes of its memory.
    pub fn free_bytes(&self) -> Result<u64, Failure> {
        checked("free memory", result::mem_get_info()).map(|(free, _)| free as u64)
    }

    /// Fails with [`Failure::Skipped`] unless this much memory, and a little more, is free.
    pub fn ensure_fits(&self, bytes: u64) -> Result<(), Failure> {
        ensure_within(" on the device", bytes, self.free_bytes()?, 95)
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // SAFETY: made by `open`, destroyed once. An error here cannot be helped any more.
        let _ = unsafe { result::stream::destroy(self.stream) };
    }
}

/// A stream that is alive.
#[derive(Clone, Copy, Debug)]
pub struct StreamRef<'a>(sys::CUstream, PhantomData<&'a ()>);

impl StreamRef<'_> {
    /// The driver's handle, for libraries.
    pub fn raw(self) -> sys::CUstream {
        self.0
    }

    /// Waits until all that was enqueued is done.
    pub fn synchronize(self) -> Result<(), Failure> {
        // SAFETY: the stream is alive.
        checked("synchronize", unsafe {
            result::stream::synchronize(self.0)
        })
    }
}

/// A stream beside the device's own.
#[derive(Debug)]
pub struct Stream(sys::CUstream);

impl Stream {
    /// To enqueue on.
    pub fn get(&self) -> StreamRef<'_> {
        StreamRef(self.0, PhantomData)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made by `Cuda::new_stream`, destroyed once.
        let _ = unsafe { result::stream::destroy(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::format_uuid;

    #[test]
    fn uuids_are_written_as_nvml_does() {
        let bytes = std::array::from_fn(|i| i as u8 * 17);
        assert_eq!(
            format_uuid(bytes),
            "GPU-00112233-4455-6677-8899-aabbccddeeff"
        );
    }
}
