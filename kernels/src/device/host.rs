//! What the host is, as far as a worker has to say so.
#![allow(unsafe_code)] // asking the C library for its version

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::thread;

use assay_protocol::MemoryLevel;

/// CPUs that this process may use, by affinity mask and cgroup quota.
pub fn usable_cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The nearest cache that all usable cores together can hold `bytes` in, or memory; `None` where the system tells no
/// sizes. A working set of less than twice a cache is counted to it, since a part of it stays there.
pub fn level_of(bytes: u64) -> Option<MemoryLevel> {
    // Asked once: kernels of microseconds want to know.
    static CACHES: LazyLock<Vec<Cache>> = LazyLock::new(caches);
    let caches = &*CACHES;
    if caches.is_empty() {
        return None;
    }
    let fits = |cache: &&Cache| bytes < 2 * cache.bytes;
    let nearest = caches.iter().filter(fits).min_by_key(|cache| cache.level);
    Some(nearest.map_or(MemoryLevel::Dram, |cache| cache.level))
}

/// A level of cache, with what all usable cores have of it.
#[derive(Clone, Copy, Debug)]
struct Cache {
    level: MemoryLevel,
    bytes: u64,
}

/// Data caches, from `/sys/devices/system/cpu/cpu0/cache`.
fn caches() -> Vec<Cache> {
    let folder = Path::new("/sys/devices/system/cpu/cpu0/cache");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| cache(&entry.path())).collect()
}

fn cache(folder: &Path) -> Option<Cache> {
    let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
    if text("type")?.trim() == "Instruction" {
        return None;
    }
    let level = match text("level")?.trim() {
        "1" => MemoryLevel::L1,
        "2" => MemoryLevel::L2,
        "3" => MemoryLevel::L3,
        _ => return None,
    };
    let kib: u64 = text("size")?.trim().strip_suffix('K')?.parse().ok()?;
    // The third is shared: counted once.
    let copies = if level == MemoryLevel::L3 {
        1
    } else {
        usable_cpus() as u64
    };
    Some(Cache {
        level,
        bytes: kib.checked_mul(1024 * copies)?,
    })
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
