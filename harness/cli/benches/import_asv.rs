//! How fast a history of airspeed velocity is imported and published, by its size, and what memory that takes.
//!
//! `cargo bench --bench import_asv`: folders of 140, 1,400 and, with `ASSAY_BENCH_LARGE` set, 14,000 result files of 2
//! machines and 300 benchmarks. Each is imported and published once, as one does, by the program itself, into a fresh
//! place; then once more, which finds nothing new, and once with one more file.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use assay::import::synthetic::AsvFolder;
use wait4::Wait4 as _;

const ASSAY: &str = env!("CARGO_BIN_EXE_assay");

fn main() {
    let is_asked = |name: &str| std::env::var_os(name).is_some();
    let mut sizes = vec![140, 1400];
    if is_asked("ASSAY_BENCH_LARGE") {
        sizes.push(14_000);
    }
    for files in sizes {
        let recipe = AsvFolder {
            files,
            ..AsvFolder::default()
        };
        history(&recipe);
    }
}

fn history(recipe: &AsvFolder) {
    let place = tempfile::tempdir().expect("a folder");
    let results = place.path().join("project/results");
    let bytes = recipe.write(&results).expect("is written");
    println!("{} files, {:.1} MB", recipe.files, bytes as f64 / 1e6);
    both(place.path(), "from nothing");
    both(place.path(), "nothing new");
    recipe
        .write_file(&results, recipe.files)
        .expect("is written");
    both(place.path(), "one more");
    let data = place.path().join("assay-data");
    let database = std::fs::metadata(data.join("assay.duckdb")).map_or(0, |meta| meta.len());
    let site = place.path().join("site");
    for (what, bytes) in [
        ("database", database),
        ("records", size(&data.join("records"))),
        ("site", size(&site)),
    ] {
        println!("  {what:<10} {:>9.1} MB", bytes as f64 / 1e6);
    }
}

/// Imports and publishes, and says what that took.
fn both(place: &Path, when: &str) {
    let import = cost(place, &["import", "asv", "project/results"]);
    let report = cost(place, &["report", "--out", "site"]);
    for (what, (seconds, peak_mb)) in [("import", import), ("report", report)] {
        println!("  {what:<10} {when:<14} {seconds:>7.2} s {peak_mb:>7.0} MB at most");
    }
}

/// Seconds of a command, and its peak memory in MB.
fn cost(place: &Path, words: &[&str]) -> (f64, f64) {
    let begun = Instant::now();
    let child = Command::new(ASSAY)
        .args(words)
        .current_dir(place)
        .spawn()
        .expect("starts");
    let used = child.wait4().expect("ends");
    assert!(used.status.success());
    let seconds = begun.elapsed().as_secs_f64();
    (seconds, used.rusage.maxrss as f64 / 1e6)
}

/// Bytes of the files of a folder and of those below it.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("is there");
    let bytes = entries.map(|entry| {
        let entry = entry.expect("can be read");
        let meta = entry.metadata().expect("can be read");
        if meta.is_dir() {
            size(&entry.path())
        } else {
            meta.len()
        }
    });
    bytes.sum()
}
