//! How the cost of generators of tables goes with rows, over four decades, and with columns, over three.
//!
//!     cargo bench -p assay-suites --bench tables_by_size [-- GENERATOR ...]
//!
//! Learns the census-like table and makes as many rows as it has, with the threads that rayon takes (`RAYON_NUM_THREADS`). Seconds are the
//! least of a few repetitions: what the work takes where nothing else disturbs it. The exponent is that of a power of the size between a line and
//! the one above: 1 is linear.

use std::time::Instant;

use assay_suites::synthetic::table::{Table, census};
use assay_suites::synthetic::workload::{GENERATORS, Noise, fit};

/// Repetitions end after so many, or after so many seconds.
const REPETITIONS: usize = 5;
const SECONDS: f64 = 2.0;
/// Columns while rows grow, and rows while columns do.
const COLUMNS: usize = census::COLUMNS;
const ROWS: usize = 1000;

fn main() {
    // `cargo bench` adds an option of its own.
    let names: Vec<String> = std::env::args()
        .skip(1)
        .filter(|name| !name.starts_with('-'))
        .collect();
    let chosen = |name: &&str| names.is_empty() || names.iter().any(|chosen| chosen == name);
    println!(
        "{:<12} {:>8} {:>8} {:>12} {:>9} {:>12} {:>9}",
        "generator", "rows", "columns", "fit, s", "exponent", "rows, s", "exponent"
    );
    for generator in GENERATORS.iter().copied().filter(chosen) {
        let rows = [100, 1000, 10_000, 100_000, 1_000_000].map(|rows| (rows, COLUMNS));
        line_of_sizes(generator, &rows);
        let columns = [1, 10, 100, 1000].map(|columns| (ROWS, columns));
        line_of_sizes(generator, &columns);
    }
}

/// A line for each size, ten times the one before.
fn line_of_sizes(generator: &str, sizes: &[(usize, usize)]) {
    let mut before: Option<[f64; 2]> = None;
    for (rows, columns) in sizes {
        let found = seconds(generator, &census::households(1, *rows, *columns));
        let exponent = |which: usize| {
            before.map_or_else(String::new, |before| {
                format!("{:.2}", (found[which] / before[which]).log10())
            })
        };
        println!(
            "{generator:<12} {rows:>8} {columns:>8} {:>12.6} {:>9} {:>12.6} {:>9}",
            found[0],
            exponent(0),
            found[1],
            exponent(1)
        );
        before = Some(found);
    }
}

/// What learning a table takes, and making as many rows.
fn seconds(generator: &str, table: &Table) -> [f64; 2] {
    let learn = || fit(generator, table, None, Noise::Seeded(1)).expect("a table with rows");
    let model = learn();
    let learning = least(|| drop(learn()));
    let making = least(|| drop(model.rows(1, 0, table.rows())));
    [learning, making]
}

fn least(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut least = f64::INFINITY;
    for _ in 0..REPETITIONS {
        let begin = Instant::now();
        work();
        least = least.min(begin.elapsed().as_secs_f64());
        if start.elapsed().as_secs_f64() > SECONDS {
            break;
        }
    }
    least
}
