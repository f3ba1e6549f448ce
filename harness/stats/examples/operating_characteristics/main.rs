//! How often verdicts are right: simulated nights with known truth, for Assay's rule and for others' published defaults.
//!
//! `cargo run --release -p assay-stats --example operating_characteristics [-- --json] [--replicates N]`
//!
//! Each replicate is a suite of 300 cases over [`HISTORY`] + [`NIGHTS`] nights on a simulated machine. Assay's part calls the very
//! functions that `assay check` and `assay confirm` call; the others' rules see the same samples. The numbers are seeded.

mod gate;
mod noise;
mod others;
mod random;
mod report;
mod simulate;

use std::process::ExitCode;

/// Nights before the first that is judged: rustc-perf's rule wants 30 changes.
pub const HISTORY: usize = 31;
/// Nights judged.
pub const NIGHTS: usize = 30;
/// Cases of the suite.
pub const CASES: usize = 300;
/// True changes looked for.
pub const EFFECTS: [f64; 4] = [0.01, 0.02, 0.05, 0.10];

fn main() -> ExitCode {
    let mut json = false;
    let mut replicates = 12;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = (argument == "--replicates").then(|| arguments.next()?.parse().ok());
        match (argument.as_str(), number) {
            ("--json", _) => json = true,
            ("--replicates", Some(Some(count @ 1..=10_000))) => replicates = count,
            _ => {
                eprintln!("usage: operating_characteristics [--json] [--replicates 1..10000]");
                return ExitCode::from(2);
            }
        }
    }
    let results: Vec<_> = noise::MODELS
        .iter()
        .map(|model| simulate::model(model, replicates))
        .collect();
    let intervals = simulate::rounds_alone();
    report::text(&results, &intervals, replicates);
    if json {
        report::json(&results, replicates);
    }
    ExitCode::SUCCESS
}
