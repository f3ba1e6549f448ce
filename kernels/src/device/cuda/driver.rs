//! What the CUDA driver lends, each owned by a value that gives it back.
#![allow(unsafe_code)] // the driver's interface takes pointers and handles

use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;

use assay_protocol::Failure;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};

use super::set_lost;

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
        if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
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

impl Cuda {
    /// Opens a device for this thread.
    pub fn open(description: Description) -> Result<Self, Failure> {
        let device = checked("device", result::device::get(description.index as i32))?;
        // SAFETY: the device was given by the driver; the context is released when dropped.
        let context = checked("context", unsafe { result::primary_ctx::retain(device) })?;
        // SAFETY: the context was just retained.
        checked("context", unsafe { result::ctx::set_current(context) })?;
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
        // SAFETY: the stream lives as long as `self`.
        checked("synchronize", unsafe {
            result::stream::synchronize(self.stream)
        })
    }

    /// Free bytes of its memory.
    pub fn free_bytes(&self) -> Result<u64, Failure> {
        checked("free memory", result::mem_get_info()).map(|(free, _)| free as u64)
    }

    /// Fails with [`Failure::Skipped`] unless this much memory, and a little more, is free.
    pub fn ensure_fits(&self, bytes: u64) -> Result<(), Failure> {
        let free = self.free_bytes()?;
        if bytes > free / 100 * 95 {
            return Err(Failure::Skipped(format!(
                "not enough memory on the device: the case needs {bytes} bytes, and 95 % of the free {free} bytes may be used"
            )));
        }
        Ok(())
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // SAFETY: both were made by `open` and are given back once. An error here cannot be helped any more.
        unsafe {
            let _ = result::stream::destroy(self.stream);
            let _ = result::primary_ctx::release(self.device);
        }
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
}

/// A stream beside the device's own.
#[derive(Debug)]
pub struct Stream(sys::CUstream);

impl Stream {
    /// To enqueue on.
    pub fn get(&self) -> StreamRef<'_> {
        StreamRef(self.0, PhantomData)
    }

    /// Waits until all that was enqueued is done.
    pub fn synchronize(&self) -> Result<(), Failure> {
        // SAFETY: the stream lives as long as `self`.
        checked("synchronize", unsafe {
            result::stream::synchronize(self.0)
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made by `Cuda::new_stream`, destroyed once.
        let _ = unsafe { result::stream::destroy(self.0) };
    }
}

/// Memory of a device.
#[derive(Debug)]
pub struct DeviceMemory {
    address: sys::CUdeviceptr,
    bytes: usize,
}

impl DeviceMemory {
    /// Allocates; nothing is allocated for no bytes.
    pub fn new(bytes: usize) -> Result<Self, Failure> {
        if bytes == 0 {
            return Ok(Self { address: 0, bytes });
        }
        // SAFETY: it is written before it is read.
        let address = checked("allocation", unsafe { result::malloc_sync(bytes) })?;
        Ok(Self { address, bytes })
    }

    /// Allocates memory that host and device both address, never more than is free on the device.
    pub fn managed(cuda: &Cuda, bytes: usize) -> Result<Self, Failure> {
        cuda.ensure_fits(bytes as u64)?;
        let flags = sys::CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL;
        // SAFETY: it is written before it is read.
        let address = checked("managed allocation", unsafe {
            result::malloc_managed(bytes, flags)
        })?;
        Ok(Self { address, bytes })
    }

    /// Its address on the device.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies all of `from`, which has the same size, to here, and waits.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn upload(&self, from: &[u8]) -> Result<(), Failure> {
        assert_eq!(from.len(), self.bytes, "sizes of an upload");
        if self.bytes == 0 {
            return Ok(());
        }
        // SAFETY: both sides have this size, and the call waits.
        checked("upload", unsafe {
            result::memcpy_htod_sync(self.address, from)
        })
    }

    /// Copies all of it to `to`, which has the same size, and waits.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn download(&self, to: &mut [u8]) -> Result<(), Failure> {
        assert_eq!(to.len(), self.bytes, "sizes of a download");
        if self.bytes == 0 {
            return Ok(());
        }
        // SAFETY: both sides have this size, and the call waits.
        checked("download", unsafe {
            result::memcpy_dtoh_sync(to, self.address)
        })
    }

    /// Enqueues setting every byte.
    pub fn set(&self, stream: StreamRef, byte: u8) -> Result<(), Failure> {
        if self.bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range is this allocation.
        checked("memset", unsafe {
            result::memset_d8_async(self.address, byte, self.bytes, stream.0)
        })
    }

    /// Enqueues copying all of `from`, which has the same size, to here.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn copy_from(&self, stream: StreamRef, from: &Self) -> Result<(), Failure> {
        assert_eq!(from.bytes, self.bytes, "sizes of a copy");
        if self.bytes == 0 {
            return Ok(());
        }
        // SAFETY: both ranges are whole allocations of this size.
        let copied =
            unsafe { result::memcpy_dtod_async(self.address, from.address, self.bytes, stream.0) };
        checked("copy", copied)
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        if self.address != 0 {
            // SAFETY: allocated by `new` or `managed`, freed once; the driver waits for what uses it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// Pinned memory of the host, which the device can address.
#[derive(Debug)]
pub struct PinnedMemory {
    start: *mut c_void,
    bytes: usize,
}

impl PinnedMemory {
    /// Allocates, filled with zeros.
    pub fn new(bytes: usize) -> Result<Self, Failure> {
        super::super::memory::ensure_fits(bytes as u64)?;
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: what is allocated is written at once.
        let start = checked("pinned allocation", unsafe {
            result::malloc_host(bytes.max(1), flags)
        })?;
        // SAFETY: at least so many bytes were allocated.
        unsafe { start.cast::<u8>().write_bytes(0, bytes) };
        Ok(Self { start, bytes })
    }

    /// Its address, the same on host and device.
    pub fn address(&self) -> u64 {
        self.start.addr() as u64
    }

    /// Its bytes; nothing on the device may be writing to them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the whole allocation, initialised, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.bytes) }
    }

    /// Word `index` of 32 bits, as it is now, while the device may write it.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn read_word(&self, index: usize) -> u32 {
        assert!(4 * (index + 1) <= self.bytes, "a word of pinned memory");
        // SAFETY: inside the allocation, which is aligned to a page.
        unsafe { self.start.cast::<u32>().add(index).read_volatile() }
    }

    /// Sets word `index` of 32 bits, for the device to see.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn write_word(&self, index: usize, value: u32) {
        assert!(4 * (index + 1) <= self.bytes, "a word of pinned memory");
        // SAFETY: inside the allocation, which is aligned to a page; the device reads whole words.
        unsafe { self.start.cast::<u32>().add(index).write_volatile(value) };
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, freed once.
        let _ = unsafe { result::free_host(self.start) };
    }
}

/// A moment on a stream.
#[derive(Debug)]
pub struct Event(Cell<sys::CUevent>);

impl Event {
    /// An event that records when it came.
    pub fn new() -> Result<Self, Failure> {
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
        checked("event", event).map(|event| Self(Cell::new(event)))
    }

    /// Enqueues it.
    pub fn record(&self, stream: StreamRef) -> Result<(), Failure> {
        // SAFETY: the event lives as long as `self`.
        checked("event", unsafe {
            result::event::record(self.0.get(), stream.0)
        })
    }

    /// Makes a stream wait for it.
    pub fn hold(&self, stream: StreamRef) -> Result<(), Failure> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: event and stream are alive.
        checked("wait", unsafe {
            result::stream::wait_event(stream.0, self.0.get(), flags)
        })
    }

    /// Nanoseconds from `start`, which was recorded before on the same stream, to this one; both have come.
    pub fn since_ns(&self, start: &Self) -> Result<u64, Failure> {
        // SAFETY: both are alive.
        let ms = checked("elapsed time", unsafe {
            result::event::elapsed(start.0.get(), self.0.get())
        })?;
        Ok((f64::from(ms) * 1e6).round() as u64)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        let _ = unsafe { result::event::destroy(self.0.get()) };
    }
}

/// Work that was captured from a stream, ready to be launched again.
#[derive(Debug)]
pub struct Graph {
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
}

impl Graph {
    /// Captures what `enqueue` puts on the device's stream.
    pub fn capture(
        cuda: &Cuda,
        enqueue: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive.
        checked("graph capture", unsafe {
            result::stream::begin_capture(cuda.stream, mode)
        })?;
        let enqueued = enqueue();
        // SAFETY: the capture of this stream was begun above.
        let captured = checked("graph capture", unsafe {
            result::stream::end_capture(cuda.stream)
        });
        enqueued?;
        let graph = captured?;
        // SAFETY: the graph was just captured.
        let instance =
            unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) };
        match checked("graph", instance) {
            Ok(executable) => Ok(Self { graph, executable }),
            Err(failure) => {
                // SAFETY: the graph was captured above and is used by nothing.
                let _ = unsafe { result::graph::destroy(graph) };
                Err(failure)
            }
        }
    }

    /// Enqueues it.
    pub fn launch(&self, stream: StreamRef) -> Result<(), Failure> {
        // SAFETY: graph and stream are alive.
        checked("graph launch", unsafe {
            result::graph::launch(self.executable, stream.0)
        })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: both were made by `capture` and are destroyed once.
        unsafe {
            let _ = result::graph::exec_destroy(self.executable);
            let _ = result::graph::destroy(self.graph);
        }
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
