//! Refusing a case that does not fit what its workload says of itself, before the workload sees it.

use assay_protocol::{CaseSpec, Failure, ParamValue, ParameterInfo, ParameterKind, WorkloadInfo};

/// Fails unless every parameter is known, present or optional, of its type and one of its choices, and the workload
/// supports the case's timing mode and kind of device.
pub fn check(case: &CaseSpec, info: &WorkloadInfo) -> Result<(), Failure> {
    if !info.devices.contains(&case.device.kind) {
        let kind = case.device.kind;
        return Err(Failure::Skipped(format!(
            "`{}` does not run on {kind} devices",
            info.name
        )));
    }
    let applies =
        |p: &&ParameterInfo| p.devices.is_empty() || p.devices.contains(&case.device.kind);
    let known = |name: &String| {
        info.parameters
            .iter()
            .filter(applies)
            .any(|p| p.name == *name)
    };
    if let Some(name) = case.params.keys().find(|name| !known(name)) {
        return Err(failed(format!("`{}` has no parameter `{name}`", info.name)));
    }
    for parameter in info.parameters.iter().filter(applies) {
        let value = case.params.get(&parameter.name);
        if value.is_some() || !parameter.optional {
            check_value(parameter, value)?;
        }
    }
    if !info.timing.contains(&case.timing) {
        return Err(failed(format!(
            "`{}` does not support timing mode `{}`",
            info.name, case.timing
        )));
    }
    Ok(())
}

fn check_value(parameter: &ParameterInfo, value: Option<&ParamValue>) -> Result<(), Failure> {
    let name = &parameter.name;
    let value = value.ok_or_else(|| failed(format!("parameter `{name}` is missing")))?;
    if !has_kind(value, parameter.kind) {
        let expected = describe(parameter.kind);
        return Err(failed(format!(
            "parameter `{name}`: expected {expected}, found {value}"
        )));
    }
    if !parameter.choices.is_empty() && !parameter.choices.contains(value) {
        let choices: Vec<_> = parameter.choices.iter().map(ToString::to_string).collect();
        let choices = choices.join(", ");
        return Err(failed(format!(
            "parameter `{name}`: expected one of {choices}, found {value}"
        )));
    }
    Ok(())
}

fn has_kind(value: &ParamValue, kind: ParameterKind) -> bool {
    match value {
        ParamValue::Bool(_) => kind == ParameterKind::Bool,
        // An integer is a number, too.
        ParamValue::Int(_) => matches!(kind, ParameterKind::Int | ParameterKind::Float),
        ParamValue::Float(_) => kind == ParameterKind::Float,
        ParamValue::Text(_) => kind == ParameterKind::Text,
    }
}

fn describe(kind: ParameterKind) -> &'static str {
    match kind {
        ParameterKind::Bool => "true or false",
        ParameterKind::Int => "an integer",
        ParameterKind::Float => "a number",
        ParameterKind::Text => "text",
    }
}

fn failed(reason: String) -> Failure {
    Failure::Failed(reason)
}
