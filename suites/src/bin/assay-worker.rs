//! The slim worker: the worker loop and nothing else, for images and remote machines.
//!
//! With `check DEVICE [SEED [SIZE [TIMING]]]` (`cpu` or `cuda`) it serves nothing, but checks every op of the device against its
//! reference, at several sizes or at one, in the timing modes that tell something or in one.

use std::process::ExitCode;

use assay_protocol::{DeviceKind, TimingMode};
use assay_suites::CheckScope;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "check") {
        return check(&arguments[1..]);
    }
    assay_suites::run_worker()
}

fn check(arguments: &[String]) -> ExitCode {
    let device = match arguments.first().map(String::as_str) {
        Some("cpu") => DeviceKind::Cpu,
        Some("cuda") => DeviceKind::Cuda,
        _ => return usage(),
    };
    let Ok(seed) = arguments.get(1).map_or(Ok(1), |text| text.parse()) else {
        return usage();
    };
    let sizes = match arguments.get(2).map(|text| text.parse()) {
        None => assay_suites::CHECK_SIZES.to_vec(),
        Some(Ok(size)) => vec![size],
        Some(Err(_)) => return usage(),
    };
    let Ok(timing) = arguments.get(3).map(|text| timing(text)).transpose() else {
        return usage();
    };
    let scope = CheckScope {
        device,
        seed,
        sizes,
        timing,
    };
    let tally = assay_suites::check(&scope, &mut |line| println!("{line}"));
    println!(
        "{} passed, {} failed, {} skipped; seed {seed}",
        tally.passed, tally.failed, tally.skipped
    );
    if tally.failed > 0 {
        ExitCode::from(1)
    } else if tally.passed == 0 {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}

fn timing(text: &str) -> Result<TimingMode, serde_json::Error> {
    serde_json::from_value(text.into())
}

fn usage() -> ExitCode {
    eprintln!("usage: assay-worker check cpu|cuda [SEED [SIZE [TIMING]]]");
    ExitCode::from(2)
}
