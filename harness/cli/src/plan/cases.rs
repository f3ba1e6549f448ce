//! Expanding benchmarks into cases, and checking each against its worker's catalog.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::{
    DeviceSelector, Digest, Hello, ParamValue, ParameterInfo, ParameterKind, Params, TimingMode,
    U64, WorkloadInfo,
};
use assay_record::manifest::BUILTIN_WORKER;
use assay_record::validate::MAX_CASES;
use assay_record::{Case, Policy, WorkloadRef, canonical};
use serde_json::json;

use super::{Options, command};
use crate::suite::axes::{self, Point};
use crate::suite::{Benchmark, Suite, check_policy};

/// Every case of a suite that the options leave.
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
    ensure!(
        !cases.is_empty(),
        "no case is left; `assay list {}` names them all",
        suite.name
    );
    Ok(cases)
}

fn tagged(benchmark: &Benchmark, tags: &[String]) -> bool {
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
    let mut cases = Vec::new();
    for device in &benchmark.devices {
        for timing in timings(benchmark) {
            for point in axes::points(&benchmark.axes)? {
                let work = resolve(benchmark, &point, catalogs, device, timing)?;
                cases.push(make_case(benchmark, &point, work, device, timing, policy)?);
            }
        }
    }
    Ok(cases)
}

fn resolve(
    benchmark: &Benchmark,
    point: &Point,
    catalogs: &BTreeMap<String, Hello>,
    device: &DeviceSelector,
    timing: TimingMode,
) -> Result<(WorkloadRef, Params)> {
    if let Some(command) = &benchmark.command {
        ensure!(
            timing == TimingMode::Host,
            "field `timing`: a command is timed as `host`, not `{timing}`"
        );
        ensure!(
            *device == DeviceSelector::CPU,
            "field `devices`: a command runs on \"cpu\", not on {device}"
        );
        let spec = command::resolve(command, point)?;
        return Ok((WorkloadRef::Command(spec), point.clone()));
    }
    let worker = benchmark.worker.as_deref().unwrap_or(BUILTIN_WORKER);
    let name = benchmark.workload.as_deref().unwrap_or_default();
    let info = find_workload(worker, name, catalogs)?;
    check_supported(info, device, timing)?;
    let params = resolve_params(benchmark, point, info)?;
    let workload = WorkloadRef::Worker {
        worker: worker.into(),
        name: name.into(),
        definition: info.definition,
    };
    Ok((workload, params))
}

fn find_workload<'a>(
    worker: &str,
    name: &str,
    catalogs: &'a BTreeMap<String, Hello>,
) -> Result<&'a WorkloadInfo> {
    let known = catalogs
        .get(worker)
        .map_or(&[][..], |hello| &hello.workloads);
    known
        .iter()
        .find(|info| info.name == name)
        .with_context(|| {
            let names: Vec<&str> = known.iter().map(|info| info.name.as_str()).collect();
            format!(
                "field `workload`: worker `{worker}` has no workload `{name}`{}; it has: {}",
                closest(name, &names),
                names.join(", ")
            )
        })
}

fn closest(name: &str, known: &[&str]) -> String {
    let best = known
        .iter()
        .map(|other| (strsim::osa_distance(name, other), other))
        .min();
    match best {
        Some((distance, other)) if distance <= 2 => format!(" (did you mean `{other}`?)"),
        _ => String::new(),
    }
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

fn resolve_params(benchmark: &Benchmark, point: &Point, info: &WorkloadInfo) -> Result<Params> {
    let mut params = point.clone();
    for (name, value) in &benchmark.params {
        let value = value
            .resolve()
            .with_context(|| format!("field `params.{name}`"))?;
        params.insert(name.clone(), value);
    }
    let names: Vec<&str> = info.parameters.iter().map(|p| p.name.as_str()).collect();
    if let Some(unknown) = params.keys().find(|name| !names.contains(&name.as_str())) {
        let place = if point.contains_key(unknown) {
            "axes"
        } else {
            "params"
        };
        let hint = closest(unknown, &names);
        bail!(
            "field `{place}.{unknown}`: workload `{}` has no parameter `{unknown}`{hint}; it has: {}",
            info.name,
            names.join(", ")
        );
    }
    for parameter in &info.parameters {
        let value = params
            .remove(&parameter.name)
            .or_else(|| parameter.default.clone());
        let value = value.with_context(|| {
            format!(
                "parameter `{}` of workload `{}` has no value; add it to `axes` or `params`",
                parameter.name, info.name
            )
        })?;
        params.insert(parameter.name.clone(), check_value(parameter, value)?);
    }
    Ok(params)
}

fn check_value(parameter: &ParameterInfo, value: ParamValue) -> Result<ParamValue> {
    let name = &parameter.name;
    let value = match (parameter.kind, value) {
        (ParameterKind::Float, ParamValue::Int(n)) => ParamValue::Float(n as f64),
        (ParameterKind::Bool, v @ ParamValue::Bool(_))
        | (ParameterKind::Int, v @ ParamValue::Int(_))
        | (ParameterKind::Float, v @ ParamValue::Float(_))
        | (ParameterKind::Text, v @ ParamValue::Text(_)) => v,
        (kind, other) => bail!(
            "parameter `{name}`: {other} is no {}",
            format!("{kind:?}").to_lowercase()
        ),
    };
    if let (Some(minimum), ParamValue::Int(n)) = (parameter.minimum, &value) {
        ensure!(
            *n >= minimum,
            "parameter `{name}`: {n} is below {minimum}, the least it may be"
        );
    }
    if !parameter.choices.is_empty() && !parameter.choices.contains(&value) {
        let choices: Vec<String> = parameter.choices.iter().map(ToString::to_string).collect();
        bail!(
            "parameter `{name}`: {value} is none of {}",
            choices.join(", ")
        );
    }
    Ok(value)
}

fn make_case(
    benchmark: &Benchmark,
    point: &Point,
    (workload, params): (WorkloadRef, Params),
    device: &DeviceSelector,
    timing: TimingMode,
    policy: Policy,
) -> Result<Case> {
    // A command has one mode, which goes without saying.
    let said = match &workload {
        WorkloadRef::Command(_) => TimingMode::Hot,
        WorkloadRef::Worker { .. } => timing,
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
