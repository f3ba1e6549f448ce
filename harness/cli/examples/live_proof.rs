//! How often verdicts are right on this machine, now: interleaved arms of `spin`, whose true cost is known.
//!
//! `cargo run --release -p assay --example live_proof [-- COMPARISONS]`, by default 200; it takes about ten minutes. Two runs of
//! as many cases in a temporary folder: first two identical arms, then one that does 5 % more true work. What it prints is what
//! happened, not what is wanted; it fails only if it cannot run.
//!
//! This program is also the `assay` that it starts: with arguments other than a number it behaves as such.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use assay_verdicts::{Comparison, Verdict};

/// Thousandths of true work that the slower arm does in excess.
const EXTRA_PERMILLE: u32 = 50;

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    let comparisons = match first.as_deref().map(str::parse::<u32>) {
        None => 200,
        Some(Ok(count)) if count > 0 => count,
        Some(_) => return assay::commands::main(),
    };
    match prove(comparisons) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn prove(comparisons: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("live.toml"), suite(comparisons))?;
    let slower = format!("slower=env:ASSAY_SPIN_EXTRA_PERMILLE={EXTRA_PERMILLE}");
    let alike = interleave(folder.path(), "same=here")?;
    let apart = interleave(folder.path(), &slower)?;
    report(&alike, &apart);
    Ok(())
}

/// One case per comparison: `spin` of about a millisecond, so that what an iteration costs besides its steps (nanoseconds) is
/// far below what the interval can see; each with a length of its own.
fn suite(comparisons: u32) -> String {
    let steps: Vec<String> = (0..comparisons)
        .map(|i| (1_000_000 + i).to_string())
        .collect();
    format!(
        "schema = 1\nname = \"live\"\n\n[policy]\nrounds = 6\nmax_rounds = 6\nwarmup_ms = 15\nround_ms = 30\n\n\
         [[benchmark]]\nname = \"spin\"\nworkload = \"spin\"\naxes = {{ steps = [{}] }}\n",
        steps.join(", ")
    )
}

fn interleave(folder: &Path, arm: &str) -> Result<Comparison> {
    assay(
        folder,
        &["run", "live.toml", "-q", "--arm", "base=here", "--arm", arm],
    )?;
    let json = assay(folder, &["compare", "latest", "--by", "arm", "--json"])?;
    serde_json::from_slice(&json).context("what `compare --json` printed")
}

fn assay(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .current_dir(folder)
        .output()?;
    // 1 is a finding, and here the point.
    ensure!(
        matches!(output.status.code(), Some(0 | 1)),
        "assay {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn report(alike: &Comparison, apart: &Comparison) {
    let count = |of: &Comparison, verdicts: &[Verdict]| {
        of.cases
            .iter()
            .filter(|case| verdicts.contains(&case.verdict))
            .count()
    };
    let covers = |of: &Comparison, truth: f64| {
        let ratios = of.cases.iter().filter_map(|case| case.ratio);
        ratios.filter(|ratio| ratio.contains(truth)).count()
    };
    let truth = 1.0 + f64::from(EXTRA_PERMILLE) / 1000.0;
    println!(
        "| | identical arms | {} % more work |",
        f64::from(EXTRA_PERMILLE) / 10.0
    );
    println!("|---|---|---|");
    println!(
        "| comparisons | {} | {} |",
        alike.cases.len(),
        apart.cases.len()
    );
    for (name, verdict) in [
        ("regressed", Verdict::Regressed),
        ("improved", Verdict::Improved),
        ("unchanged", Verdict::Unchanged),
        ("inconclusive", Verdict::Inconclusive),
    ] {
        println!(
            "| {name} | {} | {} |",
            count(alike, &[verdict]),
            count(apart, &[verdict])
        );
    }
    println!(
        "| false alarms announced, at most | {:.2} | {:.2} |",
        alike.suite.expected_false_alarms, apart.suite.expected_false_alarms
    );
    println!(
        "| 95 % intervals that hold the true ratio | {} of 1.000 | {} of {truth:.3} |",
        covers(alike, 1.0),
        covers(apart, truth)
    );
}
