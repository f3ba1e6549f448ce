//! Expanding benchmarks into cases, and checking each against its worker's catalog.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, bail, ensure};
use assay_protocol::{
    DeviceKind, DeviceSelector, Digest, Hello, ParamValue, Params, TimingMode, U64, WorkloadInfo,
};
use assay_record::manifest::BUILTIN_WORKER;
use assay_record::validate::MAX_CASES;
use assay_record::{Case, Policy, WorkloadRef, canonical};
use assay_suites::synthetic::workload::check_parameters;
use serde_json::json;

use super::parameters::{Parameters, closest};
use super::{Options, command, kernel, sources};
use crate::suite::axes::{self, Point};
use crate::suite::device::DeviceChoice;
use crate::suite::{Benchmark, Suite, check_policy};

/// Every case of a suite that the options leave, which may be none.
pub fn expand(
    suite: &Suite,
    catalogs: &BTreeMap<String, Hello>,
    options: &Options,
) -> Result<Vec<Case>> {
    check_count(suite)?;
    let mut cases = Vec::new();
    for benchmark in suite
        .benchmarks
        .iter()
        .filter(|benchmark| tagged(benchmark, &options.tags))
    {
        let expanded = expand_benchmark(suite, benchmark, catalogs);
        cases.extend(expanded.with_context(|| format!("benchmark `{}`", benchmark.name))?);
    }
    let kept = |case: &Case| {
        options.filters.is_empty() || options.filters.iter().any(|f| case.id.contains(f))
    };
    cases.retain(kept);
    check_saves(&cases)?;
    if let Some(rounds) = options.rounds {
        for case in &mut cases {
            (case.policy.rounds, case.policy.max_rounds) = (rounds, rounds);
            check_policy(&case.policy).context("option --rounds")?;
        }
    }
    Ok(cases)
}

/// Whether the options ask for a benchmark with such tags.
pub fn tagged(benchmark: &Benchmark, tags: &[String]) -> bool {
    tags.is_empty() || tags.iter().any(|tag| benchmark.tags.contains(tag))
}

fn check_count(suite: &Suite) -> Result<()> {
    let mut total = 0usize;
    for benchmark in &suite.benchmarks {
        let points = axes::count(&benchmark.axes)
            .with_context(|| format!("benchmark `{}`", benchmark.name))?;
        let each = benchmark
            .devices
            .len()
            .saturating_mul(timings(benchmark).len());
        total = total.saturating_add(points.saturating_mul(each));
    }
    let shown = if total == usize::MAX {
        "more than can be counted".to_owned()
    } else {
        total.to_string()
    };
    ensure!(
        total <= MAX_CASES,
        "its axes span {shown} cases; at most {MAX_CASES}: take values out of the axes, or split the suite"
    );
    Ok(())
}

fn timings(benchmark: &Benchmark) -> Vec<TimingMode> {
    match (&benchmark.timing[..], &benchmark.command) {
        ([], Some(_)) => vec![TimingMode::Host],
        ([], None) => vec![TimingMode::Hot],
        (given, _) => given.to_vec(),
    }
}

fn expand_benchmark(
    suite: &Suite,
    benchmark: &Benchmark,
    catalogs: &BTreeMap<String, Hello>,
) -> Result<Vec<Case>> {
    let policy = benchmark
        .policy
        .apply(suite.policy.apply(Policy::default()));
    check_policy(&policy)?;
    let mut cases: Vec<Case> = Vec::new();
    for choice in &benchmark.devices {
        for case in expand_on(benchmark, choice, catalogs, policy)? {
            // Points that differ in what this device has none of are one.
            if !cases.iter().any(|other| other.id == case.id) {
                cases.push(case);
            }
        }
    }
    ensure!(
        !cases.is_empty(),
        "none of its points is for a device of this machine"
    );
    Ok(cases)
}

/// All cases of a benchmark on one device.
fn expand_on(
    benchmark: &Benchmark,
    choice: &DeviceChoice,
    catalogs: &BTreeMap<String, Hello>,
    policy: Policy,
) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    if benchmark.command.is_some() {
        for timing in timings(benchmark) {
            for point in axes::points(&benchmark.axes)? {
                let work = resolve_command(benchmark, &point, choice, timing)?;
                cases.push(make_case(
                    benchmark,
                    &point,
                    work,
                    &DeviceSelector::CPU,
                    timing,
                    policy,
                )?);
            }
        }
        return Ok(cases);
    }
    if let Some(kernel) = &benchmark.kernel {
        let device = any_cuda(choice)?;
        for timing in timings(benchmark) {
            for point in axes::points(&benchmark.axes)? {
                let spec = kernel::resolve(kernel, &point)?;
                let work = (WorkloadRef::Kernel(Box::new(spec)), point.clone());
                cases.push(make_case(benchmark, &point, work, &device, timing, policy)?);
            }
        }
        return Ok(cases);
    }
    let worker = benchmark.worker.as_deref().unwrap_or(BUILTIN_WORKER);
    let name = benchmark.workload.as_deref().unwrap_or_default();
    let (hello, info) = find_workload(worker, name, catalogs)?;
    let device = choice.resolve(hello, info);
    for timing in timings_on(benchmark, choice, &device) {
        check_supported(info, &device, timing)?;
        for mut point in axes::points(&benchmark.axes)? {
            let chosen = Parameters {
                benchmark,
                info,
                device: &device,
                lenient: *choice == DeviceChoice::Auto,
            };
            let Some(params) = chosen.resolve(&mut point)? else {
                continue;
            };
            let workload = WorkloadRef::Worker {
                worker: worker.into(),
                name: name.into(),
                definition: info.definition,
            };
            cases.push(make_case(
                benchmark,
                &point,
                (workload, params),
                &device,
                timing,
                policy,
            )?);
        }
    }
    Ok(cases)
}

/// The timing modes on a device: where it was chosen by itself and is the CPU, the one that CPUs have.
fn timings_on(
    benchmark: &Benchmark,
    choice: &DeviceChoice,
    device: &DeviceSelector,
) -> Vec<TimingMode> {
    if *choice == DeviceChoice::Auto && device.kind == DeviceKind::Cpu {
        return vec![TimingMode::Hot];
    }
    timings(benchmark)
}

/// The device of a kernel, which is for CUDA devices alone.
fn any_cuda(choice: &DeviceChoice) -> Result<DeviceSelector> {
    let chosen = match choice {
        DeviceChoice::Selected(device) => device.clone(),
        DeviceChoice::Auto => "cuda".parse()?,
    };
    ensure!(
        chosen.kind == DeviceKind::Cuda,
        "field `devices`: a kernel runs on \"cuda\" devices; say so"
    );
    Ok(chosen)
}

fn resolve_command(
    benchmark: &Benchmark,
    point: &Point,
    choice: &DeviceChoice,
    timing: TimingMode,
) -> Result<(WorkloadRef, Params)> {
    let declared = benchmark.command.as_ref().context("no command")?;
    ensure!(
        timing == TimingMode::Host,
        "field `timing`: a command is timed as `host`, not `{timing}`"
    );
    ensure!(
        *choice == DeviceChoice::Selected(DeviceSelector::CPU),
        "field `devices`: a command runs on \"cpu\" alone"
    );
    let spec = command::resolve(declared, point)?;
    Ok((WorkloadRef::Command(spec), point.clone()))
}

fn find_workload<'a>(
    worker: &str,
    name: &str,
    catalogs: &'a BTreeMap<String, Hello>,
) -> Result<(&'a Hello, &'a WorkloadInfo)> {
    let hello = catalogs
        .get(worker)
        .with_context(|| format!("worker `{worker}` was not asked what it offers"))?;
    let known = &hello.workloads;
    known
        .iter()
        .find(|info| info.name == name)
        .map(|info| (hello, info))
        .with_context(|| {
            let names: Vec<&str> = known.iter().map(|info| info.name.as_str()).collect();
            format!(
                "field `workload`: worker `{worker}` has no workload `{name}`{}; it has: {}",
                closest(name, &names),
                names.join(", ")
            )
        })
}

fn check_supported(info: &WorkloadInfo, device: &DeviceSelector, timing: TimingMode) -> Result<()> {
    ensure!(
        info.timing.contains(&timing),
        "field `timing`: workload `{}` cannot be timed `{timing}`",
        info.name
    );
    ensure!(
        info.devices.contains(&device.kind),
        "field `devices`: workload `{}` does not run on {}",
        info.name,
        device.kind
    );
    Ok(())
}

/// What a training writes is no file of the suite, whose files are pinned as they were.
fn check_save(params: &Params) -> Result<()> {
    if let Some(ParamValue::Text(path)) = params.get("save") {
        ensure!(
            !path.starts_with(sources::DIR),
            "parameter `save`: {path} would be written into the suite's folder, whose files are pinned: name a path outside of it"
        );
    }
    Ok(())
}

/// Whether each file that a training writes is named by one case alone.
fn check_saves(cases: &[Case]) -> Result<()> {
    let mut known: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for case in cases {
        let is_built_in = matches!(&case.workload, WorkloadRef::Worker { worker, .. } if worker == BUILTIN_WORKER);
        let (true, Some(ParamValue::Text(path))) = (is_built_in, case.params.get("save")) else {
            continue;
        };
        if path.is_empty() {
            continue;
        }
        // Of a path without `.` and doubled separators; links are for the worker to find.
        let place = Path::new(path).components().collect();
        if let Some(other) = known.insert(place, &case.id) {
            bail!(
                "parameter `save`: {other} and {} would both write {path}: name a file for each",
                case.id
            );
        }
    }
    Ok(())
}

fn make_case(
    benchmark: &Benchmark,
    point: &Point,
    (workload, params): (WorkloadRef, Params),
    device: &DeviceSelector,
    timing: TimingMode,
    policy: Policy,
) -> Result<Case> {
    if let WorkloadRef::Worker { worker, name, .. } = &workload {
        sources::texts(&params).try_for_each(|text| sources::check(text))?;
        if worker == BUILTIN_WORKER {
            check_save(&params)?;
            check_parameters(name, &params).map_err(Error::msg)?;
        }
    }
    // A command has one mode, which goes without saying.
    let said = match &workload {
        WorkloadRef::Command(_) => TimingMode::Hot,
        WorkloadRef::Worker { .. } | WorkloadRef::Kernel(_) => timing,
    };
    Ok(Case {
        definition: definition(&workload, &params, benchmark.seed, device, timing)?,
        id: id(&benchmark.name, point, device, said),
        benchmark: benchmark.name.clone(),
        tags: benchmark.tags.clone(),
        workload,
        params,
        seed: U64(benchmark.seed),
        device: device.clone(),
        timing,
        policy,
        timeout_ms: benchmark.timeout_s.saturating_mul(1000),
        expect: benchmark.expect.resolve(),
    })
}

/// Id of a case. The usual mode goes without saying.
pub(crate) fn id(
    benchmark: &str,
    point: &Point,
    device: &DeviceSelector,
    timing: TimingMode,
) -> String {
    let axes: Vec<(&str, &ParamValue)> = point
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    let id = Case::make_id(benchmark, &axes, device);
    match timing {
        TimingMode::Hot => id,
        _ => format!("{id}+{timing}"),
    }
}

/// Digest of what defines a series: the work, inputs, parameters and timed region; never an implementation.
pub(crate) fn definition(
    workload: &WorkloadRef,
    params: &Params,
    seed: u64,
    device: &DeviceSelector,
    timing: TimingMode,
) -> Result<Digest> {
    let what = match workload {
        WorkloadRef::Worker {
            worker,
            name,
            definition,
        } => json!([worker, name, definition]),
        // Neither the source nor how it is launched: an optimised kernel stays in its series.
        WorkloadRef::Kernel(spec) => json!(["kernel", spec.buffers, spec.work]),
        // Timeouts and rules for metrics change nothing of what is timed.
        WorkloadRef::Command(spec) => {
            json!([
                "command",
                spec.argv,
                spec.env,
                spec.directory,
                spec.exit_code
            ])
        }
    };
    let parts = json!({
        "workload": what, "params": params, "seed": U64(seed),
        "device": device.kind, "timing": timing,
    });
    canonical::digest(&parts).context("the case's definition has no canonical form")
}
