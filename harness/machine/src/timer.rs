//! How fine the clock is and what reading it costs, measured: the floor under every sample.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What the monotonic clock of this machine can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerReport {
    /// The smallest step seen between two readings that differ, in nanoseconds.
    pub resolution_ns: u64,
    /// What one reading costs, in nanoseconds: the median over batches.
    pub overhead_ns: u64,
}

const STEPS: usize = 2000;
const BATCHES: usize = 15;
const PER_BATCH: u32 = 500;
/// On a clock so coarse that it ticks a few times a second, the search ends here.
const PATIENCE: Duration = Duration::from_millis(50);

/// Measures the clock that `Instant` reads (`CLOCK_MONOTONIC`). Takes about a millisecond.
pub fn resolution() -> TimerReport {
    TimerReport {
        resolution_ns: smallest_step_ns(),
        overhead_ns: median(overheads_ns()),
    }
}

fn smallest_step_ns() -> u64 {
    let start = Instant::now();
    let mut smallest = u64::MAX;
    for _ in 0..STEPS {
        let before = Instant::now();
        let mut after = Instant::now();
        while after == before && after - start < PATIENCE {
            after = Instant::now();
        }
        let step = u64::try_from((after - before).as_nanos()).unwrap_or(u64::MAX);
        smallest = smallest.min(step.max(1));
        if after - start >= PATIENCE {
            break;
        }
    }
    smallest
}

fn overheads_ns() -> Vec<u64> {
    let batch = |_| {
        let start = Instant::now();
        for _ in 0..PER_BATCH {
            std::hint::black_box(Instant::now());
        }
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        (ns / u64::from(PER_BATCH)).max(1)
    };
    (0..BATCHES).map(batch).collect()
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_clock_has_a_resolution_and_a_price() {
        let report = super::resolution();
        assert!(
            (1..20_000_000).contains(&report.resolution_ns),
            "{report:?}"
        );
        assert!((1..1_000_000).contains(&report.overhead_ns), "{report:?}");
    }
}
