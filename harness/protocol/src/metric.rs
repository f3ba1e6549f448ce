//! Metrics and units: what a number is, and which way is better.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A quantity that a workload reports besides its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Name, unique within its workload: `peak_memory`, `loss`.
    pub name: String,
    /// Unit of every value.
    pub unit: Unit,
    /// Which way is better.
    pub direction: Direction,
    /// Whether each sample has a value, or each round.
    pub kind: MetricKind,
    /// The least that it can come to, where that is known: no model's loss stays below the entropy of what it learns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
}

impl Metric {
    /// Name of the metric that every workload has: nanoseconds per iteration.
    pub const TIME: &'static str = "time";

    /// The metric that every workload has: time per iteration.
    pub fn time() -> Self {
        Self::new(
            Self::TIME,
            Unit::Nanoseconds,
            Direction::Lower,
            MetricKind::Sample,
        )
    }

    /// A metric that has no floor.
    pub fn new(
        name: impl Into<String>,
        unit: Unit,
        direction: Direction,
        kind: MetricKind,
    ) -> Self {
        Self {
            name: name.into(),
            unit,
            direction,
            kind,
            floor: None,
        }
    }
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Less is better: time, memory, energy, loss.
    Lower,
    /// More is better: throughput, accuracy.
    Higher,
    /// Shown, never judged.
    Neutral,
}

/// How often a metric is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// One value with each sample.
    Sample,
    /// One value for the case in each round, reported at teardown.
    Case,
}

/// Unit of a metric. Text that is none of the known units is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// `ns`
    Nanoseconds,
    /// `B`
    Bytes,
    /// `B/s`
    BytesPerSecond,
    /// `FLOP/s`
    FlopsPerSecond,
    /// `items/s`
    ItemsPerSecond,
    /// `J`
    Joules,
    /// `W`
    Watts,
    /// `1`: a ratio or a count
    One,
    /// Anything else, as the workload spells it.
    Other(String),
}

impl Unit {
    /// The symbol, as in JSON and on pages.
    pub fn symbol(&self) -> &str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Bytes => "B",
            Self::BytesPerSecond => "B/s",
            Self::FlopsPerSecond => "FLOP/s",
            Self::ItemsPerSecond => "items/s",
            Self::Joules => "J",
            Self::Watts => "W",
            Self::One => "1",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for Unit {
    fn from(symbol: &str) -> Self {
        match symbol {
            "ns" => Self::Nanoseconds,
            "B" => Self::Bytes,
            "B/s" => Self::BytesPerSecond,
            "FLOP/s" => Self::FlopsPerSecond,
            "items/s" => Self::ItemsPerSecond,
            "J" => Self::Joules,
            "W" => Self::Watts,
            "1" => Self::One,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

impl Serialize for Unit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.symbol())
    }
}

impl<'de> Deserialize<'de> for Unit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let symbol = Cow::<str>::deserialize(deserializer)?;
        if symbol.len() > 32 {
            return Err(serde::de::Error::custom("a unit is at most 32 bytes long"));
        }
        Ok(Self::from(symbol.as_ref()))
    }
}

impl JsonSchema for Unit {
    fn schema_name() -> Cow<'static, str> {
        "Unit".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "maxLength": 32,
            "description": "ns, B, B/s, FLOP/s, items/s, J, W, 1, or any other text."
        })
    }
}
