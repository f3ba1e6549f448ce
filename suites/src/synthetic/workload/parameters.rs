//! What suites say to the workloads of generators of tables, and what of it can be told to be wrong when a suite is planned.

use std::path::PathBuf;

use assay_kernels::parameters::{choice, integer, integer_from, integer_or};
use assay_protocol::{
    CaseSpec, DeviceKind, Failure, ParamValue, ParameterInfo, ParameterKind, Params, TimingMode,
    WorkloadInfo,
};

use super::{GENERATORS, Noise, Privacy, Synthesis};
use crate::synthetic::privacy::mechanism::{MECHANISMS, Mechanism};
use crate::synthetic::privacy::{Budget, PrivacyError, USUAL_DELTA};
use crate::synthetic::quality::requirement::Requirement;
use crate::synthetic::table::census;

/// What suites ask for where columns are not to be private.
const NOT_PRIVATE: &str = "none";
/// The probability of more than epsilon says. Cases of before have none, and one that is not given is [`USUAL_DELTA`].
const DELTA: &str = "delta";
/// Rows of a seed.
pub const MOST_ROWS: u64 = 1 << 44;

/// What a workload is, and its parameters.
pub fn info(what: Synthesis) -> WorkloadInfo {
    let summary = match what {
        Synthesis::Fit => "learns a census-like table of mixed columns",
        Synthesis::Rows => "makes rows of a census-like table that was learned",
        Synthesis::Table => "learns a table, of yours or a census-like one, and makes as many rows",
    };
    let with_default = |name: &str, kind, default| ParameterInfo {
        kind,
        default: Some(default),
        minimum: None,
        ..integer(name)
    };
    let float =
        |name: &str, default| with_default(name, ParameterKind::Float, ParamValue::Float(default));
    let text =
        |name: &str| with_default(name, ParameterKind::Text, ParamValue::Text(String::new()));
    let mut parameters = vec![
        integer("rows"),
        integer_or("columns", census::COLUMNS as i64),
        choice("generator", &GENERATORS),
        choice("mechanism", &[&[NOT_PRIVATE][..], &MECHANISMS].concat()),
        float("epsilon", 1.0),
        ParameterInfo {
            kind: ParameterKind::Float,
            minimum: None,
            optional: true,
            ..integer(DELTA)
        },
        float("quality", 0.0),
        text("require"),
        integer_or("threads", 1),
    ];
    if what == Synthesis::Table {
        parameters.extend([text("table"), integer_from("most_cells", 0)]);
    }
    WorkloadInfo {
        name: what.name().into(),
        summary: summary.into(),
        definition: 1,
        parameters,
        timing: vec![TimingMode::Hot],
        devices: vec![DeviceKind::Cpu],
    }
}

/// Whether parameters of a workload are such as it takes, as far as their types and choices do not say: what a suite demands, within which
/// budget. Asked when a suite is planned; of other workloads than these there is nothing to be asked.
///
/// # Errors
/// The parameter, and what is wrong with it.
pub fn check_parameters(workload: &str, params: &Params) -> Result<(), String> {
    if !Synthesis::ALL.map(Synthesis::name).contains(&workload) {
        return Ok(());
    }
    let rows = params.get("rows").and_then(ParamValue::as_u64);
    check_rows(rows.unwrap_or(1))?;
    table(params)?;
    check_privacy(params)?;
    demands(params).map(drop)
}

pub(super) fn check_rows(rows: u64) -> Result<(), String> {
    if rows < MOST_ROWS {
        return Ok(());
    }
    Err(format!(
        "parameter `rows` is {rows}: expected fewer than 2^44, which is as many as a seed has"
    ))
}

/// The file of a table, where it is not the census that is learned.
pub(super) fn table(params: &Params) -> Result<Option<PathBuf>, String> {
    let path = params.get("table").map_or(Some(""), ParamValue::as_str);
    let path = path.ok_or("parameter `table`: expected the name of a file")?;
    if path.is_empty() {
        return Ok(None);
    }
    let columns = params.get("columns").and_then(ParamValue::as_u64);
    if columns.is_some_and(|columns| columns != census::COLUMNS as u64) {
        return Err("parameter `columns` is of the census: a `table` has its own".into());
    }
    Ok(Some(path.into()))
}

/// The generator of tables.
pub(super) fn generator(params: &Params) -> &str {
    let generator = params.get("generator").and_then(ParamValue::as_str);
    generator.unwrap_or(GENERATORS[0])
}

/// How private a case is, with noise of its seed. Manifests of before have none of these parameters.
pub(super) fn privacy(params: &Params, seed: u64) -> Result<Privacy, String> {
    let epsilon = params.get("epsilon").and_then(ParamValue::as_f64);
    let delta = delta(params)?;
    let budget = Budget::new(epsilon.unwrap_or(1.0), delta.unwrap_or(USUAL_DELTA));
    let mechanism = params.get("mechanism").and_then(ParamValue::as_str);
    let mechanism = match mechanism.unwrap_or(NOT_PRIVATE) {
        NOT_PRIVATE => None,
        name => Some(Mechanism::of_name(name).ok_or_else(|| {
            format!(
                "parameter `mechanism`: none is called `{name}`: there are {}",
                MECHANISMS.join(", ")
            )
        })?),
    };
    Ok(Privacy {
        budget: budget.map_err(|error| {
            let name = match error {
                PrivacyError::Delta(_) => DELTA,
                _ => "epsilon",
            };
            format!("parameter `{name}`: {error}")
        })?,
        mechanism,
        noise: Noise::Seeded(seed),
    })
}

fn delta(params: &Params) -> Result<Option<f64>, String> {
    let number = |value: &ParamValue| {
        let number = value.as_f64();
        number.ok_or_else(|| format!("parameter `{DELTA}`: expected a number"))
    };
    params.get(DELTA).map(number).transpose()
}

/// Whether there is noise for what is asked for; of a table of one's own, whose columns nobody has counted yet, for as many as the census has.
fn check_privacy(params: &Params) -> Result<(), String> {
    let privacy = privacy(params, 0)?;
    let generator = generator(params);
    let columns = params.get("columns").and_then(ParamValue::as_u64);
    let columns = columns.map_or(census::COLUMNS, |columns| columns as usize);
    privacy
        .check(generator)
        .map_err(|what| format!("parameter `mechanism`: {what}"))?;
    if delta(params)?.is_some() {
        privacy
            .check_delta(generator)
            .map_err(|what| format!("parameter `{DELTA}`: {what}"))?;
    }
    privacy
        .noise_on_counts(generator, columns)
        .map(drop)
        .map_err(|error| format!("parameter `epsilon`: {error}"))
}

/// What a case demands of scores. Manifests of before have neither parameter.
pub(super) fn demands(params: &Params) -> Result<Vec<Requirement>, String> {
    let text = params.get("require").map_or(Some(""), ParamValue::as_str);
    let text = text.ok_or("parameter `require`: expected a text")?;
    let mut demands = Requirement::parse_all(text)
        .map_err(|what| format!("parameter `require`: {what}; several are separated by commas"))?;
    let quality = params.get("quality").map_or(Some(0.0), ParamValue::as_f64);
    let quality = quality
        .filter(|quality| (0.0..=1.0).contains(quality))
        .ok_or("parameter `quality`: expected a number from 0, for nothing demanded, to 1")?;
    if quality > 0.0 {
        demands.push(Requirement::at_least("quality", quality));
    }
    Ok(demands)
}

/// A parameter that is a count.
pub(super) fn count(case: &CaseSpec, name: &str) -> Result<u64, Failure> {
    let value = case.params.get(name).and_then(ParamValue::as_u64);
    value.filter(|n| *n >= 1).ok_or_else(|| {
        Failure::Failed(format!(
            "parameter `{name}`: expected an integer of at least 1"
        ))
    })
}
