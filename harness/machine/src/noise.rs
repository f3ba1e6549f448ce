//! Counters of what disturbs a measurement, read before and after each round: time stolen by the
//! hypervisor, context switches, interrupts, page faults, swapping, throttling by the control group. [`ProcessUse`] is the
//! part that is our own, and [`disturbances`] says what of the rest is enough to matter.

mod disturbance;
mod gpu;
mod process;

pub use disturbance::disturbances;
pub use gpu::gpu_disturbances;
pub use process::ProcessUse;
pub(crate) use process::descendants;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::roots::Roots;

/// Counters of the whole machine since boot. One that cannot be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoiseCounters {
    /// Time that all CPUs worked, in ticks of 1/100 s.
    pub busy_ticks: Option<u64>,
    /// Time that all CPUs were idle or waited for a disk, in ticks.
    pub idle_ticks: Option<u64>,
    /// Time that the hypervisor gave to others while this machine wanted to run, in ticks.
    pub steal_ticks: Option<u64>,
    /// Context switches.
    pub context_switches: Option<u64>,
    /// Interrupts served.
    pub interrupts: Option<u64>,
    /// Page faults, of which most need no disk.
    pub page_faults: Option<u64>,
    /// Page faults that needed a disk.
    pub major_faults: Option<u64>,
    /// Pages read back from swap.
    pub pages_swapped_in: Option<u64>,
    /// Pages written to swap.
    pub pages_swapped_out: Option<u64>,
    /// Time in which some thread waited for a CPU, in microseconds.
    pub cpu_pressure_us: Option<u64>,
    /// Time for which our control group stopped threads that had used up its share, in microseconds.
    pub throttled_us: Option<u64>,
    /// Threads that run or want to, now; the reader is one of them.
    pub procs_running: Option<u64>,
    /// Threads that wait for a disk, now.
    pub procs_blocked: Option<u64>,
}

impl NoiseCounters {
    /// The counters now.
    pub fn read(roots: &Roots) -> Self {
        let stat = roots.read("/proc/stat").unwrap_or_default();
        let vmstat = roots.read("/proc/vmstat").unwrap_or_default();
        let mut counters = Self::from_stat(&stat);
        counters.page_faults = entry(&vmstat, "pgfault");
        counters.major_faults = entry(&vmstat, "pgmajfault");
        counters.pages_swapped_in = entry(&vmstat, "pswpin");
        counters.pages_swapped_out = entry(&vmstat, "pswpout");
        counters.cpu_pressure_us = pressure(&roots.read("/proc/pressure/cpu").unwrap_or_default());
        counters.throttled_us = throttled(roots);
        counters
    }

    /// Those that `/proc/stat` holds.
    pub(crate) fn from_stat(stat: &str) -> Self {
        let cpu = CpuTicks::parse(stat);
        Self {
            busy_ticks: cpu.as_ref().map(|cpu| cpu.busy),
            idle_ticks: cpu.as_ref().map(|cpu| cpu.idle),
            steal_ticks: cpu.as_ref().map(|cpu| cpu.steal),
            context_switches: entry(stat, "ctxt"),
            interrupts: entry(stat, "intr"),
            procs_running: entry(stat, "procs_running"),
            procs_blocked: entry(stat, "procs_blocked"),
            ..Self::default()
        }
    }

    /// What was added since `earlier`; a counter that went back, or is missing on one side, is `None`.
    /// The two numbers of processes are no counters and are those of now.
    #[must_use]
    pub fn delta(&self, earlier: &Self) -> Self {
        let since = |now: Option<u64>, then: Option<u64>| now?.checked_sub(then?);
        Self {
            busy_ticks: since(self.busy_ticks, earlier.busy_ticks),
            idle_ticks: since(self.idle_ticks, earlier.idle_ticks),
            steal_ticks: since(self.steal_ticks, earlier.steal_ticks),
            context_switches: since(self.context_switches, earlier.context_switches),
            interrupts: since(self.interrupts, earlier.interrupts),
            page_faults: since(self.page_faults, earlier.page_faults),
            major_faults: since(self.major_faults, earlier.major_faults),
            pages_swapped_in: since(self.pages_swapped_in, earlier.pages_swapped_in),
            pages_swapped_out: since(self.pages_swapped_out, earlier.pages_swapped_out),
            cpu_pressure_us: since(self.cpu_pressure_us, earlier.cpu_pressure_us),
            throttled_us: since(self.throttled_us, earlier.throttled_us),
            procs_running: self.procs_running,
            procs_blocked: self.procs_blocked,
        }
    }

    /// The counters that are known, by name.
    pub fn values(&self) -> BTreeMap<String, f64> {
        [
            ("busy_ticks", self.busy_ticks),
            ("idle_ticks", self.idle_ticks),
            ("steal_ticks", self.steal_ticks),
            ("context_switches", self.context_switches),
            ("interrupts", self.interrupts),
            ("page_faults", self.page_faults),
            ("major_faults", self.major_faults),
            ("pages_swapped_in", self.pages_swapped_in),
            ("pages_swapped_out", self.pages_swapped_out),
            ("cpu_pressure_us", self.cpu_pressure_us),
            ("throttled_us", self.throttled_us),
            ("procs_running", self.procs_running),
            ("procs_blocked", self.procs_blocked),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value? as f64)))
        .collect()
    }

    /// Stolen time as a part of all time that this machine wanted or had, in per cent.
    pub fn steal_percent(&self) -> Option<f64> {
        percent(
            self.steal_ticks?,
            self.busy_ticks? + self.steal_ticks? + self.idle_ticks?,
        )
    }

    /// Time worked as a part of all time, in per cent.
    pub fn busy_percent(&self) -> Option<f64> {
        percent(
            self.busy_ticks?,
            self.busy_ticks? + self.steal_ticks? + self.idle_ticks?,
        )
    }
}

/// How many CPUs the machine has, whoever may use them.
pub fn cpus(roots: &Roots) -> u32 {
    let stat = roots.read("/proc/stat").unwrap_or_default();
    let is_cpu = |line: &&str| {
        let number = line
            .strip_prefix("cpu")
            .and_then(|rest| rest.chars().next());
        number.is_some_and(|first| first.is_ascii_digit())
    };
    stat.lines().filter(is_cpu).count() as u32
}

/// The line `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`.
fn pressure(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split("total=").nth(1)?.parse().ok()
}

/// Of our own group, in version 2: that of another one above does not show here.
fn throttled(roots: &Roots) -> Option<u64> {
    let groups = roots.read("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let stat = roots.read(format!("/sys/fs/cgroup{group}/cpu.stat")).ok()?;
    entry(&stat, "throttled_usec")
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}

/// The first line of `/proc/stat`, added up.
struct CpuTicks {
    busy: u64,
    idle: u64,
    steal: u64,
}

impl CpuTicks {
    /// Fields: user nice system idle iowait irq softirq steal (and guest, which user includes).
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .take(8)
            .collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks[..] else {
            return None;
        };
        let busy = [nice, system, irq, softirq]
            .iter()
            .fold(user, |sum, &ticks| sum.saturating_add(ticks));
        Some(Self {
            busy,
            idle: idle.saturating_add(iowait),
            steal,
        })
    }
}

/// The first number after a name at the start of a line.
fn entry(text: &str, name: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{NoiseCounters, cpus};
    use crate::roots::Roots;

    const STAT: &str = "cpu  100 10 40 800 50 0 0 10 7 0\ncpu0 1 2 3\nintr 77 1 2\nctxt 500\nprocs_running 3\nprocs_blocked 1\n";

    #[test]
    fn reads_the_lines_it_needs() {
        let noise = NoiseCounters::from_stat(STAT);
        assert_eq!(
            (noise.busy_ticks, noise.idle_ticks, noise.steal_ticks),
            (Some(150), Some(850), Some(10))
        );
        assert_eq!(
            (noise.context_switches, noise.interrupts),
            (Some(500), Some(77))
        );
        assert!((noise.steal_percent().unwrap() - 1000.0 / 1010.0).abs() < 1e-9);
    }

    #[test]
    fn a_delta_keeps_what_is_known() {
        let earlier = NoiseCounters {
            interrupts: None,
            context_switches: Some(600),
            ..NoiseCounters::from_stat(STAT)
        };
        let later = NoiseCounters {
            steal_ticks: Some(15),
            ..NoiseCounters::from_stat(STAT)
        };
        let delta = later.delta(&earlier);
        assert_eq!(delta.steal_ticks, Some(5));
        assert_eq!(
            (delta.interrupts, delta.context_switches),
            (None, None),
            "unknown, and going back"
        );
        assert_eq!(delta.procs_running, Some(3));
    }

    #[test]
    fn pressure_and_throttling_are_read_where_there_are_any() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let roots = Roots::at(folder.path());
        assert_eq!(NoiseCounters::read(&roots), NoiseCounters::default());
        write(
            "proc/stat",
            "cpu  1 1 1 1 1 1 1 1\ncpu0 1\ncpu1 1\nctxt 5\n",
        );
        write(
            "proc/pressure/cpu",
            "some avg10=0.00 avg60=0.12 avg300=0.00 total=4711\nfull total=0\n",
        );
        write("proc/self/cgroup", "0::/a.slice/b\n");
        write(
            "sys/fs/cgroup/a.slice/b/cpu.stat",
            "usage_usec 5\nthrottled_usec 99\n",
        );
        let read = NoiseCounters::read(&roots);
        assert_eq!(
            (read.cpu_pressure_us, read.throttled_us),
            (Some(4711), Some(99))
        );
        assert_eq!(cpus(&roots), 2);
    }

    #[test]
    fn rubbish_is_no_counter() {
        assert_eq!(
            NoiseCounters::from_stat("cpu  a b\nctxt -1\n"),
            NoiseCounters::default()
        );
    }
}
