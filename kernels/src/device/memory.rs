//! How much memory a case may take, so that one that does not fit is skipped and not killed.

use std::fs;
use std::path::{Path, PathBuf};

use assay_protocol::Failure;

/// Share of the available memory that a case may take; the rest is for verification and everybody else.
const USABLE_PERCENT: u64 = 90;

/// Fails with [`Failure::Skipped`] if `bytes` more would not fit.
pub fn ensure_fits(bytes: u64) -> Result<(), Failure> {
    match available() {
        Some(available) => ensure_within("", bytes, available, USABLE_PERCENT),
        None => Ok(()),
    }
}

/// Fails with [`Failure::Skipped`], and says how much is missing, if `bytes` are more than this share of what is free. `place` says where, as in
/// ` on the device`.
pub fn ensure_within(place: &str, bytes: u64, free: u64, percent: u64) -> Result<(), Failure> {
    let usable = free / 100 * percent;
    if bytes <= usable {
        return Ok(());
    }
    let [needed, missing, free] = [bytes, bytes - usable, free].map(readable);
    Err(Failure::Skipped(format!(
        "not enough memory{place}: the case needs {needed}, and {missing} are missing: {percent} % of the {free} that are free may be used"
    )))
}

/// Bytes as people read them.
fn readable(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut rest = bytes as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next();
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    while rest >= 1024.0 {
        rest /= 1024.0;
        unit = units.next().or(unit);
    }
    format!("{rest:.2} {}", unit.unwrap_or_default())
}

/// Whether this reason to skip a case is that the host or a device lacks memory for it.
pub fn is_lacking(reason: &str) -> bool {
    ["not enough memory", "CUDA_ERROR_OUT_OF_MEMORY"]
        .iter()
        .any(|words| reason.contains(words))
}

/// Bytes that can be allocated now without swapping or meeting a cgroup's limit, as far as is known.
pub fn available() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok();
    let system = system.as_deref().and_then(mem_available);
    system.into_iter().chain(cgroup_available()).min()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least room under the limits of this process's cgroup and its ancestors.
fn cgroup_available() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let (leaf, root, limit, usage) = memory_cgroup(&membership)?;
    leaf.ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| {
            let limit = number_in(&folder.join(limit))?;
            let usage = number_in(&folder.join(usage))?;
            Some(limit.saturating_sub(usage))
        })
        .min()
}

type MemoryCgroup = (PathBuf, &'static Path, &'static str, &'static str);

/// Folder of the cgroup that limits memory, its hierarchy's root, and the files of limit and usage, from
/// the text of `/proc/self/cgroup`: version 2 is the line `0::PATH`, version 1 the one that lists `memory`.
fn memory_cgroup(membership: &str) -> Option<MemoryCgroup> {
    let inside = |root: &'static str, path: &str| {
        (
            Path::new(root).join(path.trim_start_matches('/')),
            Path::new(root),
        )
    };
    let lines = || membership.lines().filter_map(|line| line.split_once(':'));
    let v1 = lines().find_map(|(_, rest)| {
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|c| c == "memory")
            .then_some(path)
    });
    if let Some(path) = v1 {
        let (leaf, root) = inside("/sys/fs/cgroup/memory", path);
        return Some((leaf, root, "memory.limit_in_bytes", "memory.usage_in_bytes"));
    }
    let v2 =
        lines().find_map(|(id, rest)| (id == "0").then(|| rest.strip_prefix(':')).flatten())?;
    let (leaf, root) = inside("/sys/fs/cgroup", v2);
    Some((leaf, root, "memory.max", "memory.current"))
}

/// The number that a file holds; `None` for `max`, which is no limit.
fn number_in(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{available, ensure_fits, ensure_within, mem_available, memory_cgroup, readable};
    use assay_protocol::Failure;

    #[test]
    fn reads_meminfo() {
        let text = "MemTotal:  100 kB\nMemAvailable:    20 kB\n";
        assert_eq!(mem_available(text), Some(20 * 1024));
        assert_eq!(mem_available("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn finds_the_cgroup_of_either_version() {
        let (leaf, _, limit, _) = memory_cgroup("0::/user/x\n").unwrap();
        assert_eq!(
            (leaf.to_str(), limit),
            (Some("/sys/fs/cgroup/user/x"), "memory.max")
        );
        let (leaf, _, limit, _) = memory_cgroup("5:cpu:/a\n4:hugetlb,memory:/b\n0::/\n").unwrap();
        assert_eq!(
            (leaf.to_str(), limit),
            (Some("/sys/fs/cgroup/memory/b"), "memory.limit_in_bytes")
        );
        assert!(memory_cgroup("").is_none());
    }

    #[test]
    fn what_does_not_fit_is_skipped() {
        assert!(available().is_some());
        assert_eq!(ensure_fits(1), Ok(()));
        assert!(matches!(ensure_fits(u64::MAX), Err(Failure::Skipped(_))));
    }

    #[test]
    fn what_is_missing_is_said_in_units() {
        assert_eq!(ensure_within(" there", 90 << 20, 100 << 20, 90), Ok(()));
        let failure = ensure_within(" there", 3 << 30, 1 << 30, 50);
        let words = "not enough memory there: the case needs 3.00 GiB, and 2.50 GiB are missing: 50 % of the 1.00 GiB that are free may \
                     be used";
        assert_eq!(failure, Err(Failure::Skipped(words.into())));
        let found = [0, 1023, 1024, (1 << 20) - 1, u64::MAX].map(readable);
        let expected = [
            "0 bytes",
            "1023 bytes",
            "1.00 KiB",
            "1024.00 KiB",
            "16.00 EiB",
        ];
        assert_eq!(found, expected);
    }
}
