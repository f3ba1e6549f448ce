//! Commands whose program an image lacks: left out when a run is planned, as benchmarks of a worker that it lacks are.
//!
//! What an image has is seen best from within, by the worker that would run the command: it is asked to prepare it, which
//! looks for its program and folder and runs nothing. On this machine nobody asks: what is missing here is a failure.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use assay_protocol::{CaseSpec, CommandSpec, Reply, Request};
use assay_record::manifest::BUILTIN_WORKER;
use assay_record::{Case, WorkloadRef};

use crate::execute::{launch::Launcher, visit};

/// By what a command is found: its program, and where it is looked for.
type Key = (String, Option<String>, Option<String>);

/// The cases that an arm in a container can start; says which it cannot, and why.
pub fn startable(cases: &[Case], arm: &str, launcher: &Launcher) -> Result<Vec<Case>> {
    let lacking = lacking(cases, launcher)?;
    let reason = |case: &Case| command(case).and_then(|spec| lacking.get(&key(spec)));
    let mut left_out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in cases {
        if let Some(reason) = reason(case) {
            left_out.entry(reason).or_default().push(&case.id);
        }
    }
    for (reason, ids) in &left_out {
        crate::note!(
            "note: {} left out: in the image of arm `{arm}`, {reason}",
            named(ids)
        );
    }
    Ok(cases
        .iter()
        .filter(|case| reason(case).is_none())
        .cloned()
        .collect())
}

/// Why each command that cannot be started cannot.
fn lacking(cases: &[Case], launcher: &Launcher) -> Result<BTreeMap<Key, String>> {
    let mut found = BTreeMap::new();
    for case in cases {
        let Some(spec) = command(case) else { continue };
        found.entry(key(spec)).or_insert(case);
    }
    if found.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (mut worker, _) = launcher.start(BUILTIN_WORKER)?;
    let mut lacking = BTreeMap::new();
    for (key, case) in found {
        let request = Request::Prepare {
            case: probe(case, launcher),
        };
        let patience = Duration::from_millis(case.timeout_ms.into());
        let reply = worker
            .request(&request, &[], patience)
            .map_err(|lost| anyhow::anyhow!("its worker {lost}"))
            .with_context(|| format!("case `{}`", case.id))?;
        if let Reply::Failed { reason } | Reply::Skipped { reason } = reply {
            lacking.insert(key, reason);
        }
    }
    Ok(lacking)
}

/// The case without what has nothing to do with its program.
fn probe(case: &Case, launcher: &Launcher) -> CaseSpec {
    let mut spec = visit::in_folder(case.spec(), launcher.dir());
    if let Some(command) = &mut spec.command {
        command.metrics.clear();
    }
    spec
}

fn command(case: &Case) -> Option<&CommandSpec> {
    match &case.workload {
        WorkloadRef::Command(spec) => Some(spec),
        _ => None,
    }
}

fn key(spec: &CommandSpec) -> Key {
    let program = spec.argv.first().cloned().unwrap_or_default();
    (
        program,
        spec.directory.clone(),
        spec.env.get("PATH").cloned(),
    )
}

/// The first of some cases, and how many there are besides.
fn named(ids: &[&str]) -> String {
    match ids {
        [one] => format!("case `{one}` is"),
        [one, rest @ ..] => format!("case `{one}` and {} more are", rest.len()),
        [] => "nothing is".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn many_cases_are_one_line() {
        assert_eq!(named(&["a"]), "case `a` is");
        assert_eq!(named(&["a", "b", "c"]), "case `a` and 2 more are");
    }
}
