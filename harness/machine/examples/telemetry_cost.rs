//! Prints what sampling telemetry costs: CPU time of its thread as a share of one core.

use std::time::{Duration, Instant};

use assay_machine::telemetry::{DEFAULT_PERIOD, Sampler};

fn main() {
    let sampler = Sampler::start(DEFAULT_PERIOD);
    // Opening files and libraries happens once, and is told apart.
    std::thread::sleep(Duration::from_millis(500));
    let opening = sampler.cost();
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(10));
    let (elapsed, cost) = (start.elapsed(), sampler.cost().saturating_sub(opening));
    for note in sampler.notes() {
        println!("{note}");
    }
    for series in sampler.stop() {
        let last = series.values.last().copied().unwrap_or_default();
        println!(
            "{:<32} {:>5} values, last {last:.2} {}",
            series.name,
            series.values.len(),
            series.unit
        );
    }
    let share = cost.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
    println!(
        "starting took {opening:.1?}; then {cost:.2?} in {elapsed:.1?}: {share:.3} % of a core"
    );
}
