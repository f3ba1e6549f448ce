//! Times one case of an op by hand: `time_case WORKLOAD [NAME=VALUE]...`, for bench scripts and profilers.
//!
//! Prints the best and the median nanoseconds per iteration over samples of at least a millisecond, for about
//! a second (or `seconds=N`), and the verdict on the output.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use assay_kernels::catalog;
use assay_protocol::{
    CaseSpec, DeviceKind, DeviceSelector, Failure, ParamValue, Params, TimingMode, Workload,
};

const SAMPLE_NS: u64 = 1_000_000;

fn main() -> ExitCode {
    match time_case() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn time_case() -> Result<String, Failure> {
    let mut arguments = std::env::args().skip(1);
    let workload = arguments.next().unwrap_or_default();
    let entry = catalog().iter().find(|entry| entry.info().name == workload);
    let entry = entry.ok_or_else(|| Failure::Failed(format!("no op is called `{workload}`")))?;
    let defaults = entry
        .info()
        .parameters
        .into_iter()
        .filter(|p| p.devices.is_empty() || p.devices.contains(&DeviceKind::Cpu))
        .filter_map(|p| Some((p.name, p.default?)));
    let mut params: Params = defaults.collect();
    params.extend(arguments.filter_map(|argument| parse(&argument)));
    let seconds = params.remove("seconds").and_then(|value| value.as_u64());
    let case = CaseSpec {
        workload,
        params,
        seed: 1.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    };
    let mut workload = entry.prepare(&case)?;
    let mut per_iteration = sample(workload.as_mut(), Duration::from_secs(seconds.unwrap_or(1)))?;
    per_iteration.sort_by(f64::total_cmp);
    let (best, median) = (per_iteration[0], per_iteration[per_iteration.len() / 2]);
    let verdict = if workload.verify()?.passed {
        "verified"
    } else {
        "WRONG"
    };
    Ok(format!("{best:.1} {median:.1} {verdict}"))
}

fn parse(argument: &str) -> Option<(String, ParamValue)> {
    let (name, value) = argument.split_once('=')?;
    let value = value
        .parse()
        .map_or_else(|_| ParamValue::Text(value.into()), ParamValue::Int);
    Some((name.into(), value))
}

/// Nanoseconds per iteration of each sample.
fn sample(workload: &mut dyn Workload, limit: Duration) -> Result<Vec<f64>, Failure> {
    let begin = Instant::now();
    let mut iterations = 1;
    let mut times = vec![];
    while times.is_empty() || begin.elapsed() < limit {
        let ns = workload.run(iterations)?.host_ns.unwrap_or(0);
        if ns < SAMPLE_NS && iterations < 1 << 40 {
            iterations *= 2;
        } else {
            times.push(ns as f64 / iterations as f64);
        }
    }
    Ok(times)
}
