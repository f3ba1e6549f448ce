//! Axes: lists and ranges of parameter values, and the points that they span.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::ParamValue;
use schemars::JsonSchema;
use serde::Deserialize;

/// Values of one axis, as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Axis {
    /// `[1, 2, "2^20"]`
    List(Vec<AxisValue>),
    /// `{ from = 1024, to = "2^20", factor = 4 }`
    Range(Range),
}

/// One value as written: text such as `2^20` is a power.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AxisValue {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text, or a power such as `2^20`.
    Text(String),
}

/// Integers from `from` to `to`, both included, by `step` or by `factor`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// First value.
    pub from: AxisValue,
    /// Last value, at most.
    pub to: AxisValue,
    /// Difference between neighbours, at least 1.
    pub step: Option<i64>,
    /// Ratio between neighbours, at least 2.
    pub factor: Option<i64>,
}

/// One point: a value for each axis, by name.
pub type Point = BTreeMap<String, ParamValue>;

impl AxisValue {
    /// The parameter value that it stands for.
    pub fn resolve(&self) -> Result<ParamValue> {
        match self {
            Self::Bool(value) => Ok(ParamValue::Bool(*value)),
            Self::Int(value) => int(*value),
            Self::Float(value) if value.is_finite() => Ok(ParamValue::Float(*value)),
            Self::Float(value) => bail!("{value} is no finite number"),
            Self::Text(text) => power(text).unwrap_or_else(|| Ok(ParamValue::Text(text.clone()))),
        }
    }
}

fn int(value: i64) -> Result<ParamValue> {
    ensure!(
        value.unsigned_abs() <= ParamValue::MAX_INT.unsigned_abs(),
        "{value} is past 2^53, beyond which canonical JSON rounds"
    );
    Ok(ParamValue::Int(value))
}

/// `2^20` as an integer; `None` if the text is no power.
fn power(text: &str) -> Option<Result<ParamValue>> {
    let (base, exponent) = text.split_once('^')?;
    let (base, exponent): (i64, u32) = (base.parse().ok()?, exponent.parse().ok()?);
    let value = base
        .checked_pow(exponent)
        .with_context(|| format!("{text} is past 2^53"));
    Some(value.and_then(int))
}

impl Axis {
    /// How many values it has, without making them.
    fn count(&self) -> Result<usize> {
        match self {
            Self::List(values) => Ok(values.len()),
            Self::Range(range) => range.count(),
        }
    }

    fn values(&self) -> Result<Vec<ParamValue>> {
        match self {
            Self::List(values) => values.iter().map(AxisValue::resolve).collect(),
            Self::Range(range) => range.values(),
        }
    }
}

impl Range {
    fn ends(&self) -> Result<(i64, i64)> {
        match (self.from.resolve()?, self.to.resolve()?) {
            (ParamValue::Int(from), ParamValue::Int(to)) if from <= to => Ok((from, to)),
            (ParamValue::Int(from), ParamValue::Int(to)) => {
                bail!("`from` ({from}) is past `to` ({to})")
            }
            _ => bail!("`from` and `to` are integers"),
        }
    }

    fn count(&self) -> Result<usize> {
        let (from, to) = self.ends()?;
        match (self.step, self.factor) {
            (Some(step), None) if step >= 1 => {
                Ok(usize::try_from((to - from) / step)?.saturating_add(1))
            }
            (None, Some(factor)) if factor >= 2 && from >= 1 => Ok(self.values()?.len()),
            (Some(_), None) => bail!("`step` is at least 1"),
            (None, Some(_)) => bail!("`factor` is at least 2, and `from` at least 1"),
            _ => bail!("give `step` or `factor`, one of them"),
        }
    }

    fn values(&self) -> Result<Vec<ParamValue>> {
        let (from, to) = self.ends()?;
        let next = |value: &i64| match (self.step, self.factor) {
            (Some(step), _) => value.checked_add(step),
            (None, factor) => value.checked_mul(factor.unwrap_or(2).max(2)),
        };
        let ends = std::iter::successors(Some(from), next).take_while(|value| *value <= to);
        ends.map(int).collect()
    }
}

/// Number of points that some axes span; an error if an axis is empty or the number is past counting.
pub fn count(axes: &BTreeMap<String, Axis>) -> Result<usize> {
    axes.iter().try_fold(1usize, |product, (name, axis)| {
        let n = axis.count().with_context(|| format!("axis `{name}`"))?;
        ensure!(n > 0, "axis `{name}` is empty; give it values or remove it");
        Ok(product.saturating_mul(n))
    })
}

/// Every point, the last axis varying fastest. Ask [`count`] first: this makes them all.
pub fn points(axes: &BTreeMap<String, Axis>) -> Result<Vec<Point>> {
    let mut points = vec![Point::new()];
    for (name, axis) in axes {
        let values = axis.values().with_context(|| format!("axis `{name}`"))?;
        // By their text, which is what tells case ids apart.
        let mut seen = HashSet::new();
        if let Some(again) = values.iter().find(|value| !seen.insert(value.to_string())) {
            bail!("axis `{name}` has {again} twice");
        }
        points = points
            .iter()
            .flat_map(|point| {
                values.iter().map(|value| {
                    let mut longer = point.clone();
                    longer.insert(name.clone(), value.clone());
                    longer
                })
            })
            .collect();
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::{Axis, count, points};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn axes(text: &str) -> BTreeMap<String, Axis> {
        toml::from_str(text).unwrap()
    }

    fn shown(text: &str) -> Vec<String> {
        let show = |point: &super::Point| {
            point
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        points(&axes(text)).unwrap().iter().map(show).collect()
    }

    #[test]
    fn lists_ranges_and_powers() {
        assert_eq!(
            shown("n = [1, \"2^20\"]\nt = [\"f32\"]"),
            ["n=1,t=f32", "n=2^20,t=f32"]
        );
        assert_eq!(
            shown("n = { from = 1, to = 7, step = 3 }"),
            ["n=1", "n=4", "n=7"]
        );
        assert_eq!(
            shown("n = { from = \"2^10\", to = 5000, factor = 2 }"),
            ["n=2^10", "n=2^11", "n=2^12"]
        );
        assert_eq!(points(&BTreeMap::new()).unwrap().len(), 1);
    }

    #[test]
    fn bad_axes_are_named() {
        for (text, expected) in [
            ("n = []", "axis `n` is empty"),
            (
                "n = { from = 5, to = 1, step = 1 }",
                "`from` (5) is past `to` (1)",
            ),
            ("n = { from = 1, to = 5 }", "give `step` or `factor`"),
            ("n = { from = 0, to = 5, factor = 2 }", "`from` at least 1"),
            ("n = { from = 1, to = 5, step = 0 }", "`step` is at least 1"),
            ("n = { from = \"2^99\", to = 5, step = 1 }", "past 2^53"),
        ] {
            let error = format!("{:#}", count(&axes(text)).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
        let error = format!("{:#}", points(&axes("n = [1, 1]")).unwrap_err());
        assert!(error.contains("twice"), "{error}");
    }

    #[test]
    fn exploding_axes_are_counted_without_being_made() {
        let big = "from = 1, to = 9000000000000000, step = 1";
        let text = format!("a = {{ {big} }}\nb = {{ {big} }}");
        assert_eq!(count(&axes(&text)).unwrap(), usize::MAX);
    }

    proptest! {
        #[test]
        fn the_count_is_the_number_of_points(a in 1i64..5, b in 1i64..40, step in 1i64..9) {
            let text = format!("a = {{ from = 1, to = {a}, step = 1 }}\nb = {{ from = 1, to = {b}, step = {step} }}");
            prop_assert_eq!(count(&axes(&text)).unwrap(), points(&axes(&text)).unwrap().len());
        }
    }
}
