//! What a worker is asked to run: a workload at one point of its parameters on one device.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::command::CommandSpec;
use crate::kernel::KernelSpec;
use crate::wide::U64;

/// Parameters by name, in the order of their names.
pub type Params = BTreeMap<String, ParamValue>;

/// A case as a worker sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseSpec {
    /// Name of the workload in the worker's catalog.
    pub workload: String,
    /// Every parameter of the workload.
    pub params: Params,
    /// Key of the counter-based generator that makes the inputs.
    pub seed: U64,
    /// Where to run.
    pub device: DeviceSelector,
    /// What a sample times.
    pub timing: TimingMode,
    /// The command, where the workload is [`crate::COMMAND_WORKLOAD`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandSpec>,
    /// The kernel, where the workload is [`crate::KERNEL_WORKLOAD`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Box<KernelSpec>>,
}

/// Value of one parameter.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ParamValue {
    /// `true` or `false`.
    Bool(bool),
    /// An integer within ±(2^53 - 1), so that it survives canonical JSON.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// Text.
    Text(String),
}

impl ParamValue {
    /// Largest magnitude of an integer parameter.
    pub const MAX_INT: i64 = (1 << 53) - 1;

    /// The value as a non-negative integer, if it is one.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The value as a number, if it is one: canonical JSON writes 2.0 as 2, so an integer is a number too.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// The value as text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// As in case ids: powers of two from 1024 on are written `2^k`.
impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) if *value >= 1024 && value.count_ones() == 1 => {
                write!(f, "2^{}", value.trailing_zeros())
            }
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Kind of device that runs a case.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The host's processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

/// Which device of a kind: `cpu`, `cuda` (any), `cuda:0` (by index), `cuda:H100` (by part of the model's name).
///
/// A manifest holds a selector; the record holds the device that it chose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceSelector {
    /// The kind of device.
    pub kind: DeviceKind,
    /// Which one of that kind.
    pub which: Which,
}

/// One device among those of a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// The first that is free.
    Any,
    /// By enumeration index.
    Index(u32),
    /// The first whose model name contains this text.
    Model(String),
}

/// Text that selects no device.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` selects no device: expected cpu, cuda, cuda:INDEX or cuda:MODEL")]
pub struct SelectorError(String);

impl DeviceSelector {
    /// The host's processor.
    pub const CPU: Self = Self {
        kind: DeviceKind::Cpu,
        which: Which::Any,
    };
}

impl FromStr for DeviceSelector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let (kind, which) = text
            .split_once(':')
            .map_or((text, None), |(k, w)| (k, Some(w)));
        let which = match which {
            None => Which::Any,
            Some(digits) if digits.parse::<u32>().is_ok_and(|n| n.to_string() == digits) => {
                Which::Index(digits.parse().map_err(|_| SelectorError(text.into()))?)
            }
            Some(model) if !model.is_empty() && model.len() <= 100 => Which::Model(model.into()),
            Some(_) => return Err(SelectorError(text.into())),
        };
        match (kind, which) {
            ("cpu", Which::Any) => Ok(Self::CPU),
            ("cuda", which) => Ok(Self {
                kind: DeviceKind::Cuda,
                which,
            }),
            _ => Err(SelectorError(text.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for DeviceSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Which::Any => self.kind.fmt(f),
            Which::Index(index) => write!(f, "{}:{index}", self.kind),
            Which::Model(model) => write!(f, "{}:{model}", self.kind),
        }
    }
}

impl Serialize for DeviceSelector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for DeviceSelector {
    fn schema_name() -> Cow<'static, str> {
        "DeviceSelector".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(cpu|cuda(:.{1,100})?)$",
            "description": "cpu, cuda (any), cuda:0 (by index) or cuda:H100 (by part of the model's name)."
        })
    }
}

/// What one sample times. Each mode is a series of its own.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TimingMode {
    /// Iterations back to back, caches as the last one left them.
    #[default]
    Hot,
    /// One launch with the device's caches flushed before it.
    Cold,
    /// Replay of a captured graph of launches.
    Graph,
    /// From launch to completion, as the host sees it; whole processes.
    Host,
}

impl fmt::Display for TimingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hot => "hot",
            Self::Cold => "cold",
            Self::Graph => "graph",
            Self::Host => "host",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceSelector, ParamValue};

    #[test]
    fn powers_of_two_are_short_in_ids() {
        let shown = |n| ParamValue::Int(n).to_string();
        assert_eq!(
            [
                shown(512),
                shown(1024),
                shown(1025),
                shown(1 << 24),
                shown(-1024)
            ],
            ["512", "2^10", "1025", "2^24", "-1024"]
        );
    }

    #[test]
    fn selectors_round_trip() {
        for text in ["cpu", "cuda", "cuda:0", "cuda:H100 PCIe"] {
            assert_eq!(text.parse::<DeviceSelector>().unwrap().to_string(), text);
        }
        for bad in ["", "cpu:0", "gpu", "cuda:", "tpu:1"] {
            assert!(bad.parse::<DeviceSelector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn untagged_values_keep_their_kind() {
        let text = r#"[1,1.5,true,"f32"]"#;
        let values: Vec<ParamValue> = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&values).unwrap(), text);
    }
}
