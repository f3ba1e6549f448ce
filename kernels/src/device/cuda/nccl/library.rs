//! The functions of NCCL that are called, and what they say when they fail.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use assay_protocol::Failure;

use crate::device::cuda::driver::StreamRef;
use crate::device::libraries;

/// Names of the library, the first one that of what is installed to run programs.
const NAMES: [&str; 2] = ["libnccl.so.2", "libnccl.so"];
const SUCCESS: c_int = 0;
/// `ncclInProgress`: not an error.
const IN_PROGRESS: c_int = 7;
/// `ncclFloat32`
const F32: c_int = 7;
/// `ncclSum`
const SUM: c_int = 0;

/// `ncclUniqueId`: by which ranks find each other.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UniqueId([u8; 128]);

impl Default for UniqueId {
    fn default() -> Self {
        Self([0; 128])
    }
}

impl UniqueId {
    /// That of these bytes, as many as it has; zeros where they are fewer.
    pub fn of(bytes: &[u8]) -> Self {
        let mut id = Self::default();
        let len = bytes.len().min(id.0.len());
        id.0[..len].copy_from_slice(&bytes[..len]);
        id
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `ncclComm_t`
#[derive(Clone, Copy, Debug)]
pub struct Handle(*mut c_void);

// SAFETY: NCCL allows a communicator to be used by any thread, one at a time; only its owner has the handle.
unsafe impl Send for Handle {}

type AllReduce = unsafe extern "C" fn(
    *const c_void,
    *mut c_void,
    usize,
    c_int,
    c_int,
    *mut c_void,
    *mut c_void,
) -> c_int;

/// The library, which stays loaded.
#[derive(Debug)]
pub struct Library {
    /// As `2.27.5`.
    pub version: String,
    get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> c_int,
    comm_init_rank: unsafe extern "C" fn(*mut *mut c_void, c_int, UniqueId, c_int) -> c_int,
    comm_get_async_error: unsafe extern "C" fn(*mut c_void, *mut c_int) -> c_int,
    comm_abort: unsafe extern "C" fn(*mut c_void) -> c_int,
    group_start: unsafe extern "C" fn() -> c_int,
    group_end: unsafe extern "C" fn() -> c_int,
    all_reduce: AllReduce,
    get_error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    get_last_error: unsafe extern "C" fn(*mut c_void) -> *const c_char,
}

/// Version of the library, loaded where it was not.
///
/// # Errors
/// If there is none, or one that lacks something: then what needs it is skipped.
pub fn version() -> Result<&'static str, Failure> {
    library().map(|library| library.version.as_str())
}

/// The library, loaded where it was not.
///
/// # Errors
/// As [`version`].
pub fn library() -> Result<&'static Library, Failure> {
    static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
    let library = LIBRARY.get_or_init(Library::load);
    library
        .as_ref()
        .map_err(|why| Failure::Skipped(why.clone()))
}

impl Library {
    fn load() -> Result<Self, String> {
        libraries::preload("nccl");
        // SAFETY: NVIDIA's library, by the name that the loader knows it by; its initialisers are meant to run.
        let opened = NAMES
            .iter()
            .find_map(|name| unsafe { libloading::Library::new(name).ok() });
        let library = opened.ok_or(
            "no NCCL library: install it (the package libnccl2, or nvidia-nccl-cu13 or -cu12 of Python), where the loader finds \
             libnccl.so.2 or beside the toolkit that CUDA_HOME names",
        )?;
        // Never unloaded: functions of it are kept.
        let library: &'static libloading::Library = Box::leak(Box::new(library));
        // SAFETY: each has this type in `nccl.h`, from version 2.13 on.
        unsafe {
            Ok(Self {
                version: read_version(get(library, "ncclGetVersion")?)?,
                get_unique_id: get(library, "ncclGetUniqueId")?,
                comm_init_rank: get(library, "ncclCommInitRank")?,
                comm_get_async_error: get(library, "ncclCommGetAsyncError")?,
                comm_abort: get(library, "ncclCommAbort")?,
                group_start: get(library, "ncclGroupStart")?,
                group_end: get(library, "ncclGroupEnd")?,
                all_reduce: get(library, "ncclAllReduce")?,
                get_error_string: get(library, "ncclGetErrorString")?,
                get_last_error: get(library, "ncclGetLastError")?,
            })
        }
    }

    /// A new one.
    pub fn unique_id(&self) -> Result<UniqueId, Failure> {
        let mut id = UniqueId::default();
        // SAFETY: the pointer is valid for the call.
        let outcome = unsafe { (self.get_unique_id)(&raw mut id) };
        self.checked("unique id", outcome, None)?;
        Ok(id)
    }

    /// Makes a communicator of the current device, as one of so many ranks, once all of them ask for it.
    pub fn meet(&self, id: UniqueId, (rank, of): (usize, usize)) -> Result<Handle, Failure> {
        let mut handle = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        let outcome =
            unsafe { (self.comm_init_rank)(&raw mut handle, of as c_int, id, rank as c_int) };
        self.checked(
            &format!("rank {rank} of {of} meets the others"),
            outcome,
            None,
        )?;
        Ok(Handle(handle))
    }

    /// What is called between is enqueued together; nothing of it before this returns.
    pub fn grouped(
        &self,
        communicator: Handle,
        call: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // SAFETY: ended below, whatever is called between.
        self.checked("group", unsafe { (self.group_start)() }, Some(communicator))?;
        let called = call();
        // SAFETY: begun above.
        let ended = unsafe { (self.group_end)() };
        called?;
        self.checked("all-reduce", ended, Some(communicator))
    }

    /// Enqueues the sum over all ranks, in place.
    pub fn add_up(
        &self,
        Handle(communicator): Handle,
        (address, len): (u64, usize),
        stream: StreamRef,
    ) -> Result<(), Failure> {
        let at = ptr::without_provenance_mut(address as usize);
        let stream = stream.raw().cast();
        // SAFETY: communicator and stream are alive, and the buffer is on the device and as long.
        let outcome = unsafe { (self.all_reduce)(at, at, len, F32, SUM, communicator, stream) };
        self.checked("all-reduce", outcome, Some(Handle(communicator)))
    }

    /// Fails if something went wrong in what was enqueued.
    pub fn check(&self, communicator: Handle) -> Result<(), Failure> {
        let mut state = SUCCESS;
        // SAFETY: the communicator is alive, and the pointer valid for the call.
        let outcome = unsafe { (self.comm_get_async_error)(communicator.0, &raw mut state) };
        self.checked("state", outcome, Some(communicator))?;
        self.checked("all-reduce", state, Some(communicator))
    }

    /// Ends a communicator and what it does on the device. It may wait until no graph has it any more.
    pub fn abort(&self, Handle(communicator): Handle) {
        // SAFETY: made by `meet`, ended once. An error here cannot be helped any more.
        let _ = unsafe { (self.comm_abort)(communicator) };
    }

    fn checked(
        &self,
        what: &str,
        outcome: c_int,
        communicator: Option<Handle>,
    ) -> Result<(), Failure> {
        if matches!(outcome, SUCCESS | IN_PROGRESS) {
            return Ok(());
        }
        let last = communicator.map_or(ptr::null_mut(), |Handle(communicator)| communicator);
        // SAFETY: both give text of the library's that ends with a zero, or nothing; a communicator is alive or none.
        let [general, own] = unsafe {
            [
                words((self.get_error_string)(outcome)),
                words((self.get_last_error)(last)),
            ]
        };
        let own = if own.is_empty() {
            own
        } else {
            format!("; {own}")
        };
        Err(Failure::Failed(format!(
            "NCCL: {what}: {general}{own} ({outcome})"
        )))
    }
}

/// A function of the library.
///
/// # Safety
/// It has this type.
unsafe fn get<F: Copy>(library: &'static libloading::Library, name: &str) -> Result<F, String> {
    // SAFETY: the caller's promise.
    let found = unsafe { library.get::<F>(name.as_bytes()) };
    found
        .map(|function| *function)
        .map_err(|_| format!("the NCCL library has no {name}: 2.13 or newer is needed"))
}

fn read_version(get: unsafe extern "C" fn(*mut c_int) -> c_int) -> Result<String, String> {
    let mut number = 0;
    // SAFETY: the pointer is valid for the call.
    let outcome = unsafe { get(&raw mut number) };
    if outcome != SUCCESS {
        return Err(format!(
            "the NCCL library does not tell its version: error {outcome}"
        ));
    }
    Ok(format_version(number))
}

/// As it is written: 22705 is 2.27.5; up to 2.8 there was one digit less.
fn format_version(number: c_int) -> String {
    let unit = if number < 10_000 { 1000 } else { 10_000 };
    format!("{}.{}.{}", number / unit, number % unit / 100, number % 100)
}

/// # Safety
/// The pointer is to text that ends with a zero, or null.
unsafe fn words(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use assay_protocol::Failure;

    use super::{format_version, library};

    #[test]
    fn versions_are_read_as_nccl_writes_them() {
        let read = [2708, 21_304, 22_705, 23_203].map(format_version);
        assert_eq!(read, ["2.7.8", "2.13.4", "2.27.5", "2.32.3"]);
    }

    /// The library tells its version, and where ranks meet, without a device.
    #[test]
    fn the_version_is_told_or_its_absence() {
        match library() {
            Ok(library) => {
                let parts = library
                    .version
                    .split('.')
                    .map(|part| part.parse::<u32>().unwrap());
                assert!(
                    parts.collect::<Vec<_>>() >= vec![2, 13],
                    "{}",
                    library.version
                );
                let [id, other] = [0, 1].map(|_| library.unique_id().unwrap());
                assert_ne!(id.bytes(), other.bytes());
            }
            Err(Failure::Skipped(reason)) => {
                assert!(
                    reason.starts_with("no NCCL library: install it"),
                    "{reason}"
                );
                let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
                assert!(!required.split(',').any(|name| name == "nccl"), "{reason}");
                println!("skipped: {reason}");
            }
            Err(failure) => panic!("{failure}"),
        }
    }
}
