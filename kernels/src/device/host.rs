//! What the host is, as far as a worker has to say so.
#![allow(unsafe_code)] // asking the C library for its version

use std::fs;
use std::thread;

use assay_protocol::MemoryLevel;

use super::caches::Caches;

/// CPUs that this process may use, by affinity mask and cgroup quota.
pub fn usable_cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// What holds a working set of `bytes`, see [`Caches::level_of`].
pub fn level_of(bytes: u64) -> Option<MemoryLevel> {
    Caches::host().level_of(bytes)
}

/// Model name of the processor, or its architecture where the system does not tell.
pub fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    model.unwrap_or_else(|| std::env::consts::ARCH.into())
}

/// Name and version of the C library in use.
#[cfg(target_env = "gnu")]
pub fn libc_version() -> String {
    unsafe extern "C" {
        // Part of glibc since 2.1: <gnu/libc-version.h>.
        safe fn gnu_get_libc_version() -> *const std::ffi::c_char;
    }
    // SAFETY: glibc returns a pointer to a static, NUL-terminated string.
    let version = unsafe { std::ffi::CStr::from_ptr(gnu_get_libc_version()) };
    format!("glibc {}", version.to_string_lossy())
}

/// Name of the C library in use.
#[cfg(not(target_env = "gnu"))]
pub fn libc_version() -> String {
    if cfg!(target_env = "musl") {
        "musl"
    } else {
        "unknown"
    }
    .into()
}
