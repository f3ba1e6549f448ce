//! From a command as declared to the command of one point: axes filled in, rules for metrics checked.

use anyhow::{Context as _, Result, ensure};
use assay_protocol::{CommandMetric, CommandSpec, ParamValue};

use super::sources;
use crate::suite::CommandDeclaration;
use crate::suite::axes::Point;

/// Replaces `{axis}` in a command's arguments and environment; `{dir}` stays, so that the manifest names no path.
pub fn resolve(command: &CommandDeclaration, point: &Point) -> Result<CommandSpec> {
    check_axes(command, point)?;
    command.metrics.iter().try_for_each(check_metric)?;
    let texts = command.argv.iter().chain(command.env.values());
    texts.clone().try_for_each(|text| sources::check(text))?;
    Ok(CommandSpec {
        argv: command.argv.iter().map(|text| fill(text, point)).collect(),
        env: command
            .env
            .iter()
            .map(|(name, value)| (name.clone(), fill(value, point)))
            .collect(),
        directory: command.directory.clone(),
        timeout_ms: command.timeout_s.saturating_mul(1000),
        exit_code: command.exit_code,
        metrics: command.metrics.clone(),
    })
}

fn marker(axis: &str) -> String {
    format!("{{{axis}}}")
}

/// Puts the values of axes in place of their `{name}`.
pub fn fill(text: &str, point: &Point) -> String {
    point.iter().fold(text.to_owned(), |text, (axis, value)| {
        // In full: a program does not read 2^20.
        let plain = match value {
            ParamValue::Int(n) => n.to_string(),
            other => other.to_string(),
        };
        text.replace(&marker(axis), &plain)
    })
}

fn check_axes(command: &CommandDeclaration, point: &Point) -> Result<()> {
    let texts: Vec<&String> = command.argv.iter().chain(command.env.values()).collect();
    let unused = point
        .keys()
        .find(|axis| !texts.iter().any(|text| text.contains(&marker(axis))));
    match unused {
        None => Ok(()),
        Some(axis) => anyhow::bail!(
            "field `axes.{axis}`: the command does not use {}",
            marker(axis)
        ),
    }
}

fn check_metric(metric: &CommandMetric) -> Result<()> {
    let name = &metric.name;
    match (&metric.json, &metric.regex) {
        (Some(pointer), None) => ensure!(
            pointer.is_empty() || pointer.starts_with('/'),
            "metric `{name}`, field `json`: a JSON Pointer starts with /"
        ),
        (None, Some(pattern)) => {
            let rule = regex::Regex::new(pattern);
            let groups = rule
                .with_context(|| format!("metric `{name}`, field `regex`"))?
                .captures_len();
            ensure!(
                groups >= 2,
                "metric `{name}`, field `regex`: needs a group ( ) around the number"
            );
        }
        _ => anyhow::bail!("metric `{name}`: give one rule, `json` or `regex`"),
    }
    Ok(())
}
