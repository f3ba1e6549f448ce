//! The caches of the host's processor, and that of a CUDA device: which of them holds a working set, and which working sets lie in one of them and in no other.
//!
//! What threads have of a level together grows with them: each core has first and second caches of its own, and a processor may have
//! several third ones. That is read from `/sys/devices/system/cpu`; where the system tells nothing, as in some containers and small virtual
//! machines, an x86-64 processor is asked, and of others nothing is said.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::LazyLock;

use assay_protocol::MemoryLevel;

use super::host::usable_cpus;

/// How many times a nearer cache a working set is that little of it stays in. The last of them is shared with others, and large: beyond
/// it lies what is twice as much again.
const BEYOND: u64 = 2;
const BEYOND_LAST: u64 = 4;

/// Why no size is chosen.
const UNKNOWN: &str = "neither the system (/sys/devices/system/cpu/cpu*/cache) nor the processor tells sizes of caches: say how many `elements`";

/// Data caches of one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Which they are.
    pub level: MemoryLevel,
    /// Bytes of each.
    pub bytes: u64,
    /// How many the usable CPUs have, at least one.
    pub copies: u64,
}

impl Cache {
    /// What so many threads have together, each on a core of its own.
    fn of(self, threads: u64) -> u64 {
        self.bytes.saturating_mul(self.copies.min(threads))
    }
}

/// Every level of cache that a processor has, the nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caches(Vec<Cache>);

impl Caches {
    /// Those of this machine.
    pub fn host() -> &'static Self {
        // Asked once: kernels of microseconds want to know.
        static HOST: LazyLock<Caches> = LazyLock::new(|| {
            let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
            let mut caches = Caches::read(Path::new("/sys/devices/system/cpu"), &status);
            // A quota may leave fewer.
            let cpus = usable_cpus() as u64;
            if caches.0.is_empty() {
                caches = Caches::described(registers(), cpus);
            }
            for cache in &mut caches.0 {
                cache.copies = cache.copies.min(cpus);
            }
            caches
        });
        &HOST
    }

    /// That of a CUDA device which all of its multiprocessors share.
    pub fn of_device(l2_bytes: u64) -> Self {
        Self(vec![Cache {
            level: MemoryLevel::L2,
            bytes: l2_bytes,
            copies: 1,
        }])
    }

    /// Those of a list.
    #[cfg(test)]
    pub fn new(caches: impl IntoIterator<Item = Cache>) -> Self {
        Self(caches.into_iter().collect())
    }

    /// Those that the CPUs may use which `status`, a process's, allows; from the system's folder of CPUs.
    fn read(folder: &Path, status: &str) -> Self {
        let mut all: Vec<(Cache, BTreeSet<String>)> = vec![];
        for cpu in allowed_cpus(status) {
            let entries = fs::read_dir(folder.join(format!("cpu{cpu}/cache")));
            let found = entries.into_iter().flatten().flatten();
            for (cache, sharing) in found.filter_map(|entry| cache(&entry.path())) {
                let known = all.iter_mut().find(|(known, _)| known.level == cache.level);
                if let Some((_, copies)) = known {
                    copies.insert(sharing);
                } else {
                    all.push((cache, BTreeSet::from([sharing])));
                }
            }
        }
        all.sort_unstable_by_key(|(cache, _)| cache.level);
        let counted = all.into_iter().map(|(cache, copies)| Cache {
            copies: copies.len() as u64,
            ..cache
        });
        Self(counted.collect())
    }

    /// Those that a processor describes, in registers `eax`, `ebx` and `ecx` of each, when so many of its CPUs may be used. How many
    /// CPUs share a cache it gives the most of, so that there may be more copies.
    fn described(registers: impl IntoIterator<Item = [u32; 3]>, cpus: u64) -> Self {
        const INSTRUCTIONS: u32 = 2;
        let of = |[eax, ebx, ecx]: [u32; 3]| {
            let (kind, level) = (eax & 0x1F, level(eax >> 5 & 7)?);
            let sharing = u64::from(eax >> 14 & 0xFFF) + 1;
            let [ways, parts, line] = [ebx >> 22, ebx >> 12 & 0x3FF, ebx & 0xFFF];
            let factors = [ways, parts, line, ecx].map(|less_one| u64::from(less_one) + 1);
            let cache = Cache {
                level,
                bytes: factors.iter().product(),
                copies: cpus.div_ceil(sharing),
            };
            (kind != INSTRUCTIONS).then_some(cache)
        };
        let mut caches: Vec<_> = registers.into_iter().filter_map(of).collect();
        caches.sort_unstable_by_key(|cache| cache.level);
        Self(caches)
    }

    /// The nearest cache that all usable cores together can hold `bytes` in, or memory; `None` where the system tells no
    /// sizes. A working set of less than twice a cache is counted to it, since a part of it stays there. Of third caches one is counted: it is
    /// not known which cores will do the work.
    pub fn level_of(&self, bytes: u64) -> Option<MemoryLevel> {
        let held = |cache: &Cache| {
            let is_third = cache.level == MemoryLevel::L3;
            cache.of(if is_third { 1 } else { u64::MAX })
        };
        let nearest = self.0.iter().find(|cache| bytes < 2 * held(cache));
        let level = nearest.map_or(MemoryLevel::Dram, |cache| cache.level);
        (!self.0.is_empty()).then_some(level)
    }

    /// The sizes in bytes that lie in a level when threads have a part of them each, and read that from one end to the other. In words why
    /// there are none; `None` where the system tells no sizes.
    fn sizes(
        &self,
        level: MemoryLevel,
        threads: u64,
    ) -> Option<Result<RangeInclusive<u64>, String>> {
        let farthest = self.0.last()?;
        if level == MemoryLevel::Dram {
            return Some(Ok(BEYOND_LAST * farthest.of(threads)..=u64::MAX));
        }
        let Some(place) = self.0.iter().position(|cache| cache.level == level) else {
            return Some(Err(format!("this machine has no cache `{level}`")));
        };
        let most = self.0[place].of(threads);
        let nearer = place.checked_sub(1).map(|place| self.0[place]);
        let least = nearer.map_or(0, |nearer| BEYOND * nearer.of(threads));
        if least <= most {
            return Some(Ok(least..=most));
        }
        let (of, advice) = match threads {
            1 => ("one thread".into(), ""),
            _ => (format!("{threads} threads"), "; take fewer threads"),
        };
        Some(Err(format!(
            "no size lies in `{level}` alone: of {of} it holds {most} bytes, and what is nearer half of {least}{advice}"
        )))
    }

    /// A size in bytes well within a level, for so many threads: of a cache in the middle between what is nearer and half of it.
    pub fn size_in(&self, level: MemoryLevel, threads: u64) -> Result<u64, String> {
        let sizes = self.sizes(level, threads);
        let sizes = sizes.ok_or(UNKNOWN)??;
        let (least, most) = sizes.into_inner();
        if level == MemoryLevel::Dram {
            return Ok(least);
        }
        let half = (most / 2).max(least);
        Ok(if least == 0 {
            half
        } else {
            ((least as f64) * (half as f64)).sqrt() as u64
        })
    }

    /// Fails in words if so many bytes lie elsewhere. Where the system tells no sizes, anything may be.
    pub fn ensure_in(&self, level: MemoryLevel, threads: u64, bytes: u64) -> Result<(), String> {
        let Some(sizes) = self.sizes(level, threads) else {
            return Ok(());
        };
        let sizes = sizes?;
        if sizes.contains(&bytes) {
            return Ok(());
        }
        let expected = match sizes.into_inner() {
            (least, u64::MAX) => format!("{least} or more"),
            (least, most) => format!("{least} to {most}"),
        };
        Err(format!(
            "{bytes} bytes of {threads} threads do not lie in `{level}` on this machine: those would be {expected}"
        ))
    }
}

/// The CPUs that a process may use, by `Cpus_allowed_list` of its status; the first where that is not told.
fn allowed_cpus(status: &str) -> Vec<usize> {
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse().ok()?..=last.parse::<usize>().ok()?)
    };
    let ranges = allowed.unwrap_or_default().trim().split(',');
    let cpus: Vec<_> = ranges.filter_map(range).flatten().collect();
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// What an x86-64 processor says of its caches: leaf 4 of Intel's, and AMD's of the same form; nothing of other processors. Sources:
/// Intel, "Software developer's manual" 2A, CPUID; AMD, "Architecture programmer's manual" 3, appendix E.4.15.
fn registers() -> Vec<[u32; 3]> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid_count;

        const MOST_CACHES: u32 = 8;
        let has = |leaf: u32| __cpuid_count(leaf & 0x8000_0000, 0).eax >= leaf;
        let has_topology = has(0x8000_001D) && __cpuid_count(0x8000_0001, 0).ecx >> 22 & 1 == 1;
        let leaf = if has_topology { 0x8000_001D } else { 4 };
        if !has(leaf) {
            return vec![];
        }
        let caches = (0..MOST_CACHES).map(|index| __cpuid_count(leaf, index));
        let caches = caches.take_while(|cache| cache.eax & 0x1F != 0);
        caches
            .map(|cache| [cache.eax, cache.ebx, cache.ecx])
            .collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    vec![]
}

/// A level by its number.
fn level(number: u32) -> Option<MemoryLevel> {
    match number {
        1 => Some(MemoryLevel::L1),
        2 => Some(MemoryLevel::L2),
        3 => Some(MemoryLevel::L3),
        _ => None,
    }
}

/// A cache from its folder, once, and which CPUs share it.
fn cache(folder: &Path) -> Option<(Cache, String)> {
    let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
    if text("type")?.trim() == "Instruction" {
        return None;
    }
    let level = level(text("level")?.trim().parse().ok()?)?;
    let kib: u64 = text("size")?.trim().strip_suffix('K')?.parse().ok()?;
    let cache = Cache {
        level,
        bytes: kib.checked_mul(1024)?,
        copies: 1,
    };
    Some((cache, text("shared_cpu_list").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use assay_protocol::MemoryLevel::{self, Dram, L1, L2, L3};

    use super::{Cache, Caches};

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    fn caches<const N: usize>(of: [(MemoryLevel, u64, u64); N]) -> Caches {
        Caches::new(of.map(|(level, bytes, copies)| Cache {
            level,
            bytes,
            copies,
        }))
    }

    /// Two cores of a processor with a large third cache.
    fn large() -> Caches {
        caches([(L1, 48 * KIB, 2), (L2, 2 * MIB, 2), (L3, 480 * MIB, 1)])
    }

    /// 16 cores in two groups, each with a third cache.
    fn grouped() -> Caches {
        caches([(L1, 32 * KIB, 16), (L2, 512 * KIB, 16), (L3, 32 * MIB, 2)])
    }

    /// 16 cores whose second caches have more than half of the third.
    fn flat() -> Caches {
        caches([(L1, 48 * KIB, 16), (L2, 2 * MIB, 16), (L3, 60 * MIB, 1)])
    }

    #[test]
    fn a_size_lies_in_its_level_and_a_thread_has_no_part_in_a_nearer_one() {
        for machine in [large(), grouped(), flat()] {
            for threads in [1, 2, 4, 8, 16] {
                let mut nearer = 0;
                for cache in machine.0.clone() {
                    let Ok(size) = machine.size_in(cache.level, threads) else {
                        assert!(cache.level == L3 && threads == 16, "{machine:?}");
                        continue;
                    };
                    let held = cache.of(threads);
                    assert!(
                        size <= held && size >= 2 * nearer,
                        "{cache:?} {threads}: {size}"
                    );
                    machine.ensure_in(cache.level, threads, size).unwrap();
                    nearer = held;
                }
                let size = machine.size_in(Dram, threads).unwrap();
                assert_eq!(size, 4 * machine.0[2].of(threads));
            }
        }
        assert_eq!(large().size_in(Dram, 2), Ok(1920 * MIB));
        let device = Caches::of_device(50 * MIB);
        assert_eq!(device.size_in(L2, 1), Ok(25 * MIB));
        assert_eq!(device.size_in(Dram, 1), Ok(200 * MIB));
        assert!(device.ensure_in(Dram, 1, 64 * MIB).is_err());
        assert_eq!(large().size_in(L1, 2), Ok(48 * KIB));
    }

    #[test]
    fn what_lies_elsewhere_is_refused_in_words() {
        // 256 MiB are in the third cache, 256 KiB of 8 threads in their first, and 8 MiB of 16 in their second ones.
        for (machine, level, threads, bytes) in [
            (large(), Dram, 2, 256 * MIB),
            (grouped(), L2, 8, 256 * KIB),
            (grouped(), L3, 16, 8 * MIB),
            (large(), Dram, 1, 4 * KIB),
            (large(), L1, 1, 50 * KIB),
        ] {
            let refused = machine.ensure_in(level, threads, bytes).unwrap_err();
            assert!(refused.contains("do not lie in"), "{refused}");
        }
        let none = flat().size_in(L3, 16).unwrap_err();
        assert!(none.ends_with("take fewer threads"), "{none}");
        // There are no fewer than one.
        let shared = caches([(L1, 32 * KIB, 1), (L2, 2 * MIB, 1), (L3, 3 * MIB, 1)]);
        let none = shared.size_in(L3, 1).unwrap_err();
        assert!(
            none.contains("of one thread") && !none.contains("fewer"),
            "{none}"
        );
        let without = caches([(L1, 32 * KIB, 4), (L2, MIB, 1)]);
        assert_eq!(
            without.size_in(L3, 1).unwrap_err(),
            "this machine has no cache `l3`"
        );
        assert_eq!(without.size_in(Dram, 4), Ok(4 * MIB));
    }

    #[test]
    fn where_nothing_is_told_nothing_is_refused() {
        let nothing = Caches::default();
        assert_eq!(nothing.level_of(1), None);
        assert!(nothing.ensure_in(Dram, 1, 4).is_ok());
        assert!(nothing.size_in(Dram, 1).unwrap_err().contains("`elements`"));
    }

    /// Registers of 8 CPUs of a Zen: of pairs, and of all.
    #[test]
    fn a_processor_is_asked_where_the_system_tells_nothing() {
        let registers = |kind: u32, level: u32, sharing: u32, ways: u32, sets: u32| {
            let eax = kind | level << 5 | (sharing - 1) << 14;
            [eax, (ways - 1) << 22 | 63, sets - 1]
        };
        let told = [
            registers(1, 1, 2, 8, 64),
            registers(2, 1, 2, 8, 64),
            registers(3, 2, 2, 8, 2048),
            registers(3, 3, 8, 16, 32768),
        ];
        assert_eq!(
            Caches::described(told, 7),
            caches([(L1, 32 * KIB, 4), (L2, MIB, 4), (L3, 32 * MIB, 1)])
        );
        assert_eq!(Caches::described([], 7), Caches::default());
    }

    #[test]
    fn caches_are_counted_by_who_shares_them() {
        let folder = tempfile::tempdir().unwrap();
        for cpu in 0..8 {
            let pair = format!("{}-{}", cpu / 2 * 2, cpu / 2 * 2 + 1);
            let half = format!("{}-{}", cpu / 4 * 4, cpu / 4 * 4 + 3);
            for (index, kind, level, size, sharing) in [
                (0, "Data", 1, "32K", &pair),
                (1, "Instruction", 1, "64K", &pair),
                (2, "Unified", 2, "512K", &pair),
                (3, "Unified", 3, "16384K", &half),
            ] {
                let cache = folder.path().join(format!("cpu{cpu}/cache/index{index}"));
                fs::create_dir_all(&cache).unwrap();
                let level = level.to_string();
                for (name, text) in [
                    ("type", kind),
                    ("level", level.as_str()),
                    ("size", size),
                    ("shared_cpu_list", sharing),
                ] {
                    fs::write(cache.join(name), format!("{text}\n")).unwrap();
                }
            }
        }
        let read = |allowed: &str| {
            let status = format!("Name:\tworker\nCpus_allowed_list:\t{allowed}\n");
            Caches::read(folder.path(), &status)
        };
        let expected = |cores, halves| {
            caches([
                (L1, 32 * KIB, cores),
                (L2, 512 * KIB, cores),
                (L3, 16 * MIB, halves),
            ])
        };
        assert_eq!(read("0-7"), expected(4, 2));
        assert_eq!(read("0,1,6-7"), expected(2, 2));
        assert_eq!(read("5"), expected(1, 1));
        assert_eq!(
            Caches::read(&folder.path().join("none"), ""),
            Caches::default()
        );
    }
}
