//! Times one case of an op by hand: `time_case WORKLOAD [NAME=VALUE]...`, for bench scripts and profilers.
//!
//! Prints the best and the median nanoseconds per iteration over samples of at least a millisecond, for about
//! a second (or `seconds=N`), and the verdict on the output. With `beside=ceiling` each sample is taken right after one of
//! `peak-bandwidth` from memory by as many threads, since others share a machine's memory: it also prints GB/s of
//! the case and of the ceiling and their ratio, of the best samples and of the medians. What another op bounds is compared with
//! that: `time_case conv2d ... beside gemm m=1024 ...`, by GFLOP/s where both count some, else by GB/s, else by items. So is what
//! arithmetic bounds with the same op in a cache: `time_case gelu elements=67108864 dtype=bf16 beside gelu elements=1048576 dtype=bf16`.

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
    let own: Vec<String> = arguments.by_ref().take_while(|a| a != "beside").collect();
    let mut given = params(own.iter());
    let seconds = given.remove("seconds").and_then(|value| value.as_u64());
    let limit = Duration::from_secs(seconds.unwrap_or(1));
    let is_ceiling = given.remove("beside").is_some();
    let mut beside = match arguments.next() {
        Some(other) => Some(prepare(&other, &params(arguments))?),
        None => is_ceiling.then(|| ceiling(&given)).transpose()?,
    };
    let mut case = prepare(&workload, &given)?;
    let (mut times, ratios) = sample(case.as_mut(), beside.as_deref_mut(), limit)?;
    let verdict = if case.verify()?.passed {
        "verified"
    } else {
        "WRONG"
    };
    let middle = median(&mut times);
    let beside = if beside.is_some() {
        compare(&ratios)
    } else {
        String::new()
    };
    Ok(format!("{:.1} {middle:.1} {verdict}{beside}", times[0]))
}

fn params(arguments: impl Iterator<Item: AsRef<str>>) -> Params {
    arguments
        .filter_map(|argument| parse(argument.as_ref()))
        .collect()
}

/// A case on the CPU with what was given, and else the defaults.
fn prepare(workload: &str, given: &Params) -> Result<Box<dyn Workload>, Failure> {
    let entry = catalog().iter().find(|entry| entry.info().name == workload);
    let entry = entry.ok_or_else(|| Failure::Failed(format!("no op is called `{workload}`")))?;
    let defaults = entry
        .info()
        .parameters
        .into_iter()
        .filter(|p| p.devices.is_empty() || p.devices.contains(&DeviceKind::Cpu))
        .filter_map(|p| Some((p.name, p.default?)));
    let mut params: Params = defaults.collect();
    params.extend(given.clone());
    entry.prepare(&CaseSpec {
        workload: workload.into(),
        params,
        seed: 1.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    })
}

/// Reading memory by as many threads as the case has.
fn ceiling(given: &Params) -> Result<Box<dyn Workload>, Failure> {
    let threads = given.get_key_value("threads");
    let threads = threads.map(|(name, value)| (name.clone(), value.clone()));
    let sizes = ["level=dram", "passes=1"];
    let sizes = sizes.into_iter().filter_map(parse);
    prepare("peak-bandwidth", &sizes.chain(threads).collect())
}

/// Rates of a case and of what it stands beside, right before: the best of each, and the medians, those of the ratios, too.
fn compare(rates: &[[f64; 2]]) -> String {
    let [mut own, mut most] = [0, 1].map(|i| rates.iter().map(|r| r[i]).collect::<Vec<_>>());
    let mut shares: Vec<f64> = rates.iter().map(|[own, most]| own / most).collect();
    let medians = [&mut own, &mut most, &mut shares].map(|values| median(values));
    // Sorted by now.
    let [best, peak] = [&own, &most].map(|rates| rates[rates.len() - 1]);
    let [own, most, share] = medians;
    format!(
        " best {best:.1} of {peak:.1}: {:.2} median {own:.1} of {most:.1}: {share:.2}",
        best / peak
    )
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn parse(argument: &str) -> Option<(String, ParamValue)> {
    let (name, value) = argument.split_once('=')?;
    let value = value
        .parse()
        .map_or_else(|_| ParamValue::Text(value.into()), ParamValue::Int);
    Some((name.into(), value))
}

/// Nanoseconds per iteration of each sample, and the rates of it and of what it stands beside, right before, where there is
/// something.
fn sample(
    case: &mut dyn Workload,
    mut beside: Option<&mut (dyn Workload + 'static)>,
    limit: Duration,
) -> Result<(Vec<f64>, Vec<[f64; 2]>), Failure> {
    let most_iterations = case.most_iterations();
    let own = works(case);
    let other = match beside.as_deref_mut() {
        Some(beside) => works(beside),
        None => [0; 3],
    };
    let what = (0..2).find(|i| own[*i] > 0 && other[*i] > 0).unwrap_or(2);
    let begin = Instant::now();
    let [mut iterations, mut others] = [1; 2];
    let (mut times, mut ratios) = (vec![], vec![]);
    while times.is_empty() || begin.elapsed() < limit {
        let mut is_long = true;
        let most = match beside.as_mut() {
            Some(beside) => {
                let (ns, done) = (time(*beside, others)?, others);
                is_long = !grows(&mut others, ns, beside.most_iterations());
                other[what] as f64 * done as f64 / ns
            }
            None => 0.0,
        };
        case.restore()?;
        let (ns, done) = (time(case, iterations)?, iterations);
        is_long &= !grows(&mut iterations, ns, most_iterations);
        if is_long {
            times.push(ns / done as f64);
            ratios.push([own[what] as f64 * done as f64 / ns, most]);
        }
    }
    Ok((times, ratios))
}

/// Whether so many iterations were too short for a sample: then there are twice as many the next time.
fn grows(iterations: &mut u64, ns: f64, most: u64) -> bool {
    let grows = ns < SAMPLE_NS as f64 && 2 * *iterations <= most;
    *iterations *= if grows { 2 } else { 1 };
    grows
}

/// Floating-point operations, bytes and items of an iteration.
fn works(workload: &mut dyn Workload) -> [u64; 3] {
    let work = &workload.prepared().work;
    [work.flops, work.bytes, work.items].map(Option::unwrap_or_default)
}

/// Nanoseconds of some iterations.
fn time(workload: &mut dyn Workload, iterations: u64) -> Result<f64, Failure> {
    Ok(workload.run(iterations)?.host_ns.unwrap_or(0).max(1) as f64)
}
