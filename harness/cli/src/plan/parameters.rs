//! The parameters of a case: from a suite's axes and values, checked against what the workload takes on the device.

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::{
    DeviceSelector, ParamValue, ParameterInfo, ParameterKind, Params, WorkloadInfo,
};

use crate::suite::Benchmark;
use crate::suite::axes::Point;

/// What there is to choose from.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// What the suite says.
    pub benchmark: &'a Benchmark,
    /// What the workload says.
    pub info: &'a WorkloadInfo,
    /// Where it runs.
    pub device: &'a DeviceSelector,
    /// Whether a value that the workload has on another device only is no mistake, since the suite left the device open.
    pub lenient: bool,
}

impl Parameters<'_> {
    /// Every parameter of the workload on this device, at a point of the axes. What the device has none of is taken out of the
    /// point; `None` where a value is for other devices.
    pub fn resolve(&self, point: &mut Point) -> Result<Option<Params>> {
        let mut given = point.clone();
        for (name, value) in &self.benchmark.params {
            let value = value
                .resolve()
                .with_context(|| format!("field `params.{name}`"))?;
            given.insert(name.clone(), value);
        }
        for name in given.keys() {
            self.check_name(name, point.contains_key(name))?;
        }
        point.retain(|name, _| self.on_device().any(|p| p.name == *name));
        let mut params = Params::new();
        for parameter in self.on_device() {
            let value = given
                .remove(&parameter.name)
                .or_else(|| parameter.default.clone());
            if value.is_none() && parameter.optional {
                continue;
            }
            let value = value.with_context(|| {
                format!(
                    "parameter `{}` of workload `{}` has no value; add it to `axes` or `params`",
                    parameter.name, self.info.name
                )
            })?;
            if self.lenient
                && !is_choice(parameter, &value)
                && self.is_choice_elsewhere(&parameter.name, &value)
            {
                return Ok(None);
            }
            params.insert(parameter.name.clone(), check_value(parameter, value)?);
        }
        Ok(Some(params))
    }

    /// The parameters on this device.
    fn on_device(&self) -> impl Iterator<Item = &ParameterInfo> {
        let here =
            |p: &&ParameterInfo| p.devices.is_empty() || p.devices.contains(&self.device.kind);
        self.info.parameters.iter().filter(here)
    }

    fn is_choice_elsewhere(&self, name: &str, value: &ParamValue) -> bool {
        self.info
            .parameters
            .iter()
            .any(|p| p.name == name && is_choice(p, value))
    }

    /// Fails for a name that the workload has on none of the devices that the benchmark may run on.
    fn check_name(&self, name: &str, in_axes: bool) -> Result<()> {
        let place = if in_axes { "axes" } else { "params" };
        let mut of_name = self
            .info
            .parameters
            .iter()
            .filter(|p| p.name == name)
            .peekable();
        if of_name.peek().is_none() {
            let mut names: Vec<&str> = self
                .info
                .parameters
                .iter()
                .map(|p| p.name.as_str())
                .collect();
            names.dedup();
            bail!(
                "field `{place}.{name}`: workload `{}` has no parameter `{name}`{}; it has: {}",
                self.info.name,
                closest(name, &names),
                names.join(", ")
            );
        }
        let choices = &self.benchmark.devices;
        let used = |p: &ParameterInfo| {
            p.devices.is_empty()
                || p.devices
                    .iter()
                    .any(|kind| choices.iter().any(|choice| choice.may_be(*kind)))
        };
        ensure!(
            of_name.any(used),
            "field `{place}.{name}`: workload `{}` has it on none of the devices of `devices`",
            self.info.name
        );
        Ok(())
    }
}

fn is_choice(parameter: &ParameterInfo, value: &ParamValue) -> bool {
    parameter.choices.is_empty() || parameter.choices.contains(value)
}

/// What was perhaps meant by a name, in words.
pub fn closest(name: &str, known: &[&str]) -> String {
    let best = known
        .iter()
        .map(|other| (strsim::osa_distance(name, other), other))
        .min();
    match best {
        Some((distance, other)) if distance <= 2 => format!(" (did you mean `{other}`?)"),
        _ => String::new(),
    }
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
