//! Refusing a command that cannot be run or whose metrics cannot be told apart, with words.

use assay_protocol::{CommandSpec, Failure, Metric};

use super::{PEAK_MEMORY, SYSTEM_TIME, USER_TIME};

/// Fails unless the parts of `spec` are ones that the system can take. What they name is not looked at.
pub fn check(spec: &CommandSpec) -> Result<(), Failure> {
    check_argv(&spec.argv)?;
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(failed(format!(
                "environment variable {name:?}: a name is not empty and has no `=`, and neither name nor value has a NUL"
            )));
        }
    }
    if spec
        .directory
        .as_ref()
        .is_some_and(|path| path.contains('\0'))
    {
        return Err(failed("the command's directory has a NUL in it".into()));
    }
    if spec.timeout_ms == 0 {
        return Err(failed("`timeout_ms` is 0: expected at least 1".into()));
    }
    check_names(spec)
}

fn check_argv(argv: &[String]) -> Result<(), Failure> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(failed("`argv` names no program".into()));
    }
    match argv.iter().position(|argument| argument.contains('\0')) {
        Some(index) => Err(failed(format!("`argv[{index}]` has a NUL in it"))),
        None => Ok(()),
    }
}

fn check_names(spec: &CommandSpec) -> Result<(), Failure> {
    let mut taken = vec![Metric::TIME, USER_TIME, SYSTEM_TIME, PEAK_MEMORY];
    for metric in &spec.metrics {
        if taken.contains(&metric.name.as_str()) {
            let name = &metric.name;
            return Err(failed(format!(
                "metric `{name}`: the name is taken already"
            )));
        }
        taken.push(&metric.name);
    }
    Ok(())
}

fn failed(reason: String) -> Failure {
    Failure::Failed(reason)
}
