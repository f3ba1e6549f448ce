//! `assay list --workloads` and `--workload`: what a suite may name as `workload` of the built-in worker, and the parameters of one.

use std::fmt::Display;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use assay_protocol::{ParamValue, ParameterInfo, WorkloadInfo};

use crate::errors::Exit;
use crate::execute::worker::WorkerProcess;
use crate::plan::parameters::closest;

/// Lists all of them.
pub(super) fn list() -> Result<Exit> {
    for info in builtin()? {
        crate::say!("{:<24} {}", info.name, info.summary);
    }
    crate::note!("the parameters of one: assay list --workload NAME");
    Ok(Exit::Fine)
}

/// Shows one with its parameters.
pub(super) fn show(name: &str) -> Result<Exit> {
    let all = builtin()?;
    let Some(info) = all.iter().find(|info| info.name == name) else {
        let names: Vec<&str> = all.iter().map(|info| info.name.as_str()).collect();
        bail!("no built-in workload `{name}`{}", closest(name, &names));
    };
    describe(info);
    Ok(Exit::Fine)
}

/// What the built-in worker says that it offers.
fn builtin() -> Result<Vec<WorkloadInfo>> {
    let own = std::env::current_exe().context("the running executable cannot be found")?;
    let mut command = Command::new(own);
    command.arg("worker");
    let mut worker = WorkerProcess::spawn(command, None)?;
    let hello = worker.hello();
    Ok(hello
        .map_err(|lost| anyhow::anyhow!("the built-in worker {lost}"))?
        .workloads)
}

fn describe(info: &WorkloadInfo) {
    crate::say!("{}: {}", info.name, info.summary);
    crate::say!(
        "devices {}; timing {}; definition {}",
        joined(&info.devices),
        joined(&info.timing),
        info.definition
    );
    for parameter in &info.parameters {
        crate::say!(
            "  {:<16} {:<6} {}",
            parameter.name,
            kind(parameter),
            values(parameter)
        );
    }
}

fn kind(parameter: &ParameterInfo) -> String {
    format!("{:?}", parameter.kind).to_lowercase()
}

/// What a parameter may be, and what it is where a suite says nothing.
fn values(parameter: &ParameterInfo) -> String {
    let mut words = vec![match &parameter.default {
        Some(ParamValue::Text(text)) => format!("default {text:?}"),
        Some(default) => format!("default {default}"),
        None if parameter.optional => "may be left out".into(),
        None => "must be given".into(),
    }];
    words.extend(parameter.minimum.map(|least| format!("at least {least}")));
    if !parameter.choices.is_empty() {
        words.push(format!("one of {}", joined(&parameter.choices)));
    }
    if !parameter.devices.is_empty() {
        words.push(format!("{} only", joined(&parameter.devices)));
    }
    words.join("; ")
}

fn joined(items: &[impl Display]) -> String {
    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
    words.join(", ")
}
