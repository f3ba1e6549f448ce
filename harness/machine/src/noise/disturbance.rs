//! From counters to words: what else happened on the machine while something was measured, where it was enough to matter.
//!
//! A threshold is crossed where the disturbance could change a time by about as much as the smallest change that is ever
//! called (1 %), and lies above what a machine does that is left alone. Nothing is dropped for it: a disturbed round is
//! marked, and another measured beside it.

use std::time::Duration;

use super::NoiseCounters;
use super::process::TICKS_PER_SECOND;

/// CPU time of others, as a share of all CPUs. A machine left alone uses 1 or 2 % (timers, logs, an agent); from a tenth on
/// a scheduler can no longer keep others out of the way of a few busy threads, nor their work out of shared caches.
const OTHERS_SHARE: f64 = 0.10;
/// And so many ticks of 1/100 s, since each count is off by one or two;
const OTHERS_TICKS: u64 = 8;
/// or so few, in a visit too short for more,
const OTHERS_TICKS_UNDER_PRESSURE: u64 = 2;
/// if besides threads waited for a CPU for this share of it, which the kernel counts in microseconds. A worker that has a
/// thread on each CPU makes a few wait itself, up to 16 % of the time as measured; beside busy neighbours it is nearly all.
const PRESSURE_SHARE: f64 = 0.40;
/// Time that the hypervisor took, as a share of what was wanted: it lengthens a time by as much.
const STEAL_SHARE: f64 = 0.02;
/// And so many ticks.
const STEAL_TICKS: u64 = 3;
/// Pages to and from swap. A page read back stops a thread for about 0.1 ms on a good disk; a machine that is not short of
/// memory swaps none.
const SWAPPED_PAGES: u64 = 16;
/// Time for which the control group stopped our threads, as a share: it lengthens a time by as much.
const THROTTLED_SHARE: f64 = 0.01;

/// What disturbed a visit, in words with figures; empty where nothing did beyond a threshold.
///
/// `delta` is what the counters gained over `elapsed` on a machine of `cpus`; `own_cpu` is the CPU time of the harness and
/// the worker with all that it started, without which nothing can be said of others.
pub fn disturbances(
    delta: &NoiseCounters,
    elapsed: Duration,
    cpus: u32,
    own_cpu: Option<Duration>,
) -> Vec<String> {
    let found = [
        own_cpu.and_then(|own| others(delta, elapsed, cpus, own)),
        steal(delta),
        swapping(delta),
        throttling(delta, elapsed),
    ];
    found.into_iter().flatten().collect()
}

fn others(delta: &NoiseCounters, elapsed: Duration, cpus: u32, own: Duration) -> Option<String> {
    let own_ticks = (own.as_secs_f64() * TICKS_PER_SECOND as f64) as u64;
    let ticks = delta.busy_ticks?.saturating_sub(own_ticks);
    let used = ticks as f64 / TICKS_PER_SECOND as f64 / elapsed.as_secs_f64();
    let waited = Duration::from_micros(delta.cpu_pressure_us.unwrap_or(0));
    let is_pressed = waited.as_secs_f64() > PRESSURE_SHARE * elapsed.as_secs_f64();
    let least = if is_pressed {
        OTHERS_TICKS_UNDER_PRESSURE
    } else {
        OTHERS_TICKS
    };
    let is_much = ticks >= least && used > OTHERS_SHARE * f64::from(cpus.max(1));
    is_much.then(|| format!("others used {used:.1} of {cpus} CPUs"))
}

fn steal(delta: &NoiseCounters) -> Option<String> {
    let (stolen, busy) = (delta.steal_ticks?, delta.busy_ticks?);
    let share = stolen as f64 / (stolen + busy).max(1) as f64;
    let is_much = stolen >= STEAL_TICKS && share > STEAL_SHARE;
    is_much.then(|| format!("the hypervisor took {} of the time", percent(share)))
}

fn swapping(delta: &NoiseCounters) -> Option<String> {
    let pages = delta.pages_swapped_in.unwrap_or(0) + delta.pages_swapped_out.unwrap_or(0);
    (pages >= SWAPPED_PAGES).then(|| format!("swapped {pages} pages"))
}

fn throttling(delta: &NoiseCounters, elapsed: Duration) -> Option<String> {
    let share = Duration::from_micros(delta.throttled_us?).as_secs_f64() / elapsed.as_secs_f64();
    let is_much = share > THROTTLED_SHARE;
    is_much.then(|| {
        format!(
            "throttled by the control group for {} of the time",
            percent(share)
        )
    })
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    use super::disturbances;
    use crate::noise::{NoiseCounters, ProcessUse, cpus};
    use crate::roots::Roots;

    const SECOND: Duration = Duration::from_secs(1);

    /// A second on two CPUs, of which one was busy with our own work.
    fn quiet() -> NoiseCounters {
        NoiseCounters {
            busy_ticks: Some(102),
            idle_ticks: Some(97),
            steal_ticks: Some(1),
            pages_swapped_in: Some(0),
            pages_swapped_out: Some(3),
            throttled_us: Some(0),
            ..NoiseCounters::default()
        }
    }

    fn said(edit: fn(&mut NoiseCounters)) -> Vec<String> {
        let mut delta = quiet();
        edit(&mut delta);
        disturbances(&delta, SECOND, 2, Some(SECOND))
    }

    #[test]
    fn a_machine_left_alone_is_quiet() {
        assert_eq!(said(|_| ()), [""; 0]);
        assert_eq!(said(|delta| delta.busy_ticks = Some(115)), [""; 0]);
        assert_eq!(said(|delta| *delta = NoiseCounters::default()), [""; 0]);
    }

    #[test]
    fn each_disturbance_is_said_with_its_figure() {
        assert_eq!(
            said(|d| d.busy_ticks = Some(190)),
            ["others used 0.9 of 2 CPUs"]
        );
        assert_eq!(
            said(|d| d.steal_ticks = Some(5)),
            ["the hypervisor took 5 % of the time"]
        );
        assert_eq!(
            said(|d| d.pages_swapped_in = Some(117)),
            ["swapped 120 pages"]
        );
        assert_eq!(
            said(|d| d.throttled_us = Some(40_000)),
            ["throttled by the control group for 4 % of the time"]
        );
    }

    #[test]
    fn what_cannot_be_told_is_not_said() {
        let busy = NoiseCounters {
            busy_ticks: Some(200),
            ..quiet()
        };
        assert_eq!(disturbances(&busy, SECOND, 2, None), [""; 0]);
        let nothing = Some(Duration::ZERO);
        assert_eq!(
            disturbances(&NoiseCounters::default(), Duration::ZERO, 0, nothing),
            [""; 0]
        );
    }

    #[test]
    fn in_a_short_visit_few_ticks_tell_something_only_under_pressure() {
        let visit = |pressure| NoiseCounters {
            busy_ticks: Some(4),
            cpu_pressure_us: Some(pressure),
            ..NoiseCounters::default()
        };
        let (elapsed, own) = (Duration::from_millis(20), Duration::from_millis(10));
        let said = |pressure| disturbances(&visit(pressure), elapsed, 2, Some(own));
        assert_eq!(said(3000), [""; 0]);
        assert_eq!(said(19_000), ["others used 1.5 of 2 CPUs"]);
    }

    /// A shell that never rests; ended when dropped.
    struct Busy(Child);

    impl Busy {
        fn begin() -> Self {
            let mut shell = Command::new("sh");
            Self(shell.args(["-c", "while :; do :; done"]).spawn().unwrap())
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn busy_neighbours_are_noticed_and_ones_own_work_is_not() {
        let roots = Roots::here();
        let usable = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if usable < cpus(&roots) as usize {
            // A few CPUs of many: too small a part of the machine to be noticed.
            return;
        }
        let neighbours: Vec<Busy> = (0..cpus(&roots)).map(|_| Busy::begin()).collect();
        let own = |pid| ProcessUse::of_tree(&roots, pid).unwrap_or_default();
        let (before, begun) = (NoiseCounters::read(&roots), Instant::now());
        let used: Vec<_> = neighbours.iter().map(|busy| own(busy.0.id())).collect();
        std::thread::sleep(Duration::from_millis(600));
        let delta = NoiseCounters::read(&roots).delta(&before);
        let elapsed = begun.elapsed();
        let as_others = disturbances(&delta, elapsed, cpus(&roots), Some(Duration::ZERO));
        assert!(
            as_others.iter().any(|said| said.starts_with("others used")),
            "{as_others:?}"
        );
        // Told that they are our own, their work is not that of others.
        let now = neighbours.iter().map(|busy| own(busy.0.id()));
        let ours = now
            .zip(&used)
            .fold(ProcessUse::default(), |sum, (now, then)| {
                sum.and(&now.since(then))
            });
        let all = Duration::from_millis(delta.busy_ticks.unwrap_or(0) * 10);
        assert!(ours.cpu() > all / 4, "{ours:?} of {all:?}");
    }
}
