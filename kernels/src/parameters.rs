//! Reading the parameters of a case, with errors that name the parameter.

use assay_protocol::{CaseSpec, Failure, ParamValue, ParameterInfo, ParameterKind};

/// Description of an integer parameter that a suite must give.
pub fn integer(name: &str) -> ParameterInfo {
    ParameterInfo {
        name: name.into(),
        kind: ParameterKind::Int,
        default: None,
        minimum: Some(1),
        choices: vec![],
    }
}

/// Description of the parameter `threads`, which every op has: one thread unless a suite says more.
pub fn threads() -> ParameterInfo {
    ParameterInfo {
        default: Some(ParamValue::Int(1)),
        ..integer("threads")
    }
}

/// Description of a parameter with a few textual values, the first of which is the default.
pub fn choice(name: &str, choices: &[&str]) -> ParameterInfo {
    let choices: Vec<_> = choices
        .iter()
        .map(|c| ParamValue::Text((*c).into()))
        .collect();
    ParameterInfo {
        name: name.into(),
        kind: ParameterKind::Text,
        default: choices.first().cloned(),
        minimum: None,
        choices,
    }
}

/// The value of a parameter that counts something: an integer of at least 1.
pub fn count(case: &CaseSpec, name: &str) -> Result<usize, Failure> {
    let value = case.params.get(name);
    let count = value
        .and_then(ParamValue::as_u64)
        .and_then(|n| usize::try_from(n).ok());
    count
        .filter(|n| *n >= 1)
        .ok_or_else(|| wrong(name, "an integer of at least 1", value))
}

/// The value of a parameter that is text.
pub fn text<'a>(case: &'a CaseSpec, name: &str) -> Result<&'a str, Failure> {
    let value = case.params.get(name);
    value
        .and_then(ParamValue::as_str)
        .ok_or_else(|| wrong(name, "text", value))
}

/// The error for a value that is none of those expected.
pub fn wrong(name: &str, expected: &str, found: Option<&ParamValue>) -> Failure {
    let found = found.map_or_else(|| "nothing".into(), ToString::to_string);
    Failure::Failed(format!(
        "parameter `{name}`: expected {expected}, found {found}"
    ))
}

/// The product of some counts, or an error that names the parameters they come from.
pub fn product(names: &str, counts: &[u64]) -> Result<u64, Failure> {
    counts
        .iter()
        .try_fold(1_u64, |product, count| product.checked_mul(*count))
        .ok_or_else(|| {
            Failure::Failed(format!(
                "parameters {names}: their product is too large to count"
            ))
        })
}
