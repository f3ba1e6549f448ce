//! How fast a history of airspeed velocity is imported, by its size, and what memory that takes.
//!
//! `cargo bench --bench import_asv`: folders of 140, 1,400 and, with `ASSAY_BENCH_LARGE` set, 14,000 result files of 2
//! machines and 300 benchmarks. Each is imported once, as one does, by the program itself, into a fresh place; then once
//! more, which finds nothing new, and once with one more file.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use assay::import::synthetic::AsvFolder;

const ASSAY: &str = env!("CARGO_BIN_EXE_assay");

fn main() {
    let is_asked = |name: &str| std::env::var_os(name).is_some();
    let mut sizes = vec![140, 1400];
    if is_asked("ASSAY_BENCH_LARGE") {
        sizes.push(14_000);
    }
    println!(
        "{:>7} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "files", "MB", "import s", "again s", "one more s", "database MB", "records MB"
    );
    for files in sizes {
        let recipe = AsvFolder {
            files,
            ..AsvFolder::default()
        };
        row(&recipe);
    }
}

fn row(recipe: &AsvFolder) {
    let place = tempfile::tempdir().expect("a folder");
    let results = place.path().join("project/results");
    let bytes = recipe.write(&results).expect("is written");
    let first = import(place.path());
    let again = import(place.path());
    recipe
        .write_file(&results, recipe.files)
        .expect("is written");
    let more = import(place.path());
    let data = place.path().join("assay-data");
    let database = std::fs::metadata(data.join("assay.duckdb")).map_or(0, |meta| meta.len());
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "{:>7} {:>9.1} {first:>10.2} {again:>10.2} {more:>10.2} {:>10.1} {:>10.1}",
        recipe.files,
        mb(bytes),
        mb(database),
        mb(size(&data.join("records")))
    );
}

/// Seconds of an import.
fn import(place: &Path) -> f64 {
    let begun = Instant::now();
    let done = Command::new(ASSAY)
        .args(["import", "asv", "project/results"])
        .current_dir(place)
        .status();
    assert!(done.expect("starts").success());
    begun.elapsed().as_secs_f64()
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("is there");
    entries
        .map(|entry| {
            entry
                .and_then(|entry| entry.metadata())
                .map_or(0, |meta| meta.len())
        })
        .sum()
}
