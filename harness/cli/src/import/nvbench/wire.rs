//! The JSON that NVBench has written over the years, read into one shape.
//!
//! | since | states, axis values, summaries | numbers | summaries are told by |
//! |---|---|---|---|
//! | 2021-03 | lists | numbers | `name`, in words |
//! | 2021-05 | objects by name | numbers, from 2021-06 text | their key, in words; from 2021-12-22 a tag |
//! | 2021-12-25 | lists | text | `tag` |
//! | 2022-01 | lists, and `meta` with version 1.0.0 | text | `tag` |
//!
//! Fields that are not needed are not looked at: later versions add and drop some.

use std::fmt;
use std::marker::PhantomData;

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A file.
#[derive(Deserialize)]
pub struct File {
    /// Command line and versions.
    #[serde(default)]
    pub meta: Value,
    /// Every device of the machine, used or not.
    pub devices: Option<Vec<Device>>,
    /// The benchmarks.
    pub benchmarks: Option<Vec<Benchmark>>,
}

/// A device, and what the CUDA runtime says of it.
#[derive(Deserialize)]
pub struct Device {
    /// Index, by which states name it.
    pub id: u32,
    /// Model.
    pub name: String,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A benchmark.
#[derive(Deserialize)]
pub struct Benchmark {
    /// Its name.
    pub name: String,
    /// Its points.
    pub states: Option<Entries<State>>,
}

/// A benchmark at one point of its axes, on one device.
#[derive(Deserialize)]
pub struct State {
    /// `Device=0 T=I32`; the key where states are an object.
    pub name: Option<String>,
    /// Index of the device; without meaning where only the CPU was timed.
    pub device: Option<i64>,
    /// The point.
    #[serde(default)]
    pub axis_values: Entries<Typed>,
    /// What was found.
    #[serde(default)]
    pub summaries: Entries<Map<String, Value>>,
    /// Whether it was not measured.
    #[serde(default)]
    pub is_skipped: bool,
    /// Why.
    pub skip_reason: Option<String>,
}

/// A value with its type: `int64`, `float64` or `string`. Numbers may be text.
#[derive(Clone, Debug, Deserialize)]
pub struct Typed {
    /// Its name; the key where values are an object.
    pub name: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The value. A number that is none is text, or nothing.
    #[serde(default)]
    pub value: Value,
}

/// Entries of a list, or of an object with their keys. Nothing at all has none.
pub struct Entries<T>(pub Vec<(Option<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Entries::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push((None, entry));
        }
        Ok(Entries(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, entry)) = object.next_entry()? {
            entries.push((Some(key), entry));
        }
        Ok(Entries(entries))
    }
}

impl Typed {
    /// An integer.
    pub fn int(&self) -> Result<i64> {
        let number = match &self.value {
            Value::String(digits) => digits.parse().ok(),
            other => other.as_i64(),
        };
        ensure!(
            self.kind == "int64",
            "expected an int64, not a {}",
            clipped(&self.kind)
        );
        number.with_context(|| format!("{} is no int64", shown(&self.value)))
    }

    /// A number, which need not be finite.
    pub fn float(&self) -> Result<f64> {
        let number = match &self.value {
            Value::String(digits) => digits.parse().ok(),
            // JSON has neither infinity nor NaN.
            Value::Null => Some(f64::NAN),
            other => other.as_f64(),
        };
        ensure!(
            self.kind == "float64",
            "expected a float64, not a {}",
            clipped(&self.kind)
        );
        number.with_context(|| format!("{} is no float64", shown(&self.value)))
    }

    /// Text.
    pub fn text(&self) -> Result<&str> {
        match &self.value {
            Value::String(text) if self.kind == "string" => Ok(text),
            other => bail!("{} is no string", shown(other)),
        }
    }
}

/// What summaries were called before they had tags.
const TAGS: &[(&str, &str)] = &[
    ("Number of Samples (Cold)", "nv/cold/sample_size"),
    ("Average CPU Time (Cold)", "nv/cold/time/cpu/mean"),
    ("Average GPU Time (Cold)", "nv/cold/time/gpu/mean"),
    ("Number of Samples (Batch)", "nv/batch/sample_size"),
    ("Average GPU Time (Batch)", "nv/batch/time/gpu/mean"),
    ("Element Throughput", "nv/cold/bw/item_rate"),
    (
        "Average Global Memory Throughput",
        "nv/cold/bw/global/bytes_per_second",
    ),
];

impl State {
    /// The only summary with this tag.
    pub fn summary(&self, tag: &str) -> Result<Option<&Map<String, Value>>> {
        let is_it = |key: &Option<String>, body: &Map<String, Value>| {
            let said = ["tag", "name"]
                .into_iter()
                .find_map(|key| body.get(key)?.as_str());
            let name = key.as_deref().or(said).unwrap_or_default();
            let known = TAGS.iter().find(|(words, _)| *words == name);
            known.map_or(name, |(_, tag)| tag) == tag
        };
        let mut all = self
            .summaries
            .0
            .iter()
            .filter(|(key, body)| is_it(key, body));
        let first = all.next().map(|(_, body)| body);
        ensure!(all.next().is_none(), "two summaries are tagged `{tag}`");
        Ok(first)
    }

    /// A value of the summary with this tag.
    pub fn value(&self, tag: &str, name: &str) -> Result<Option<Typed>> {
        match self.summary(tag)? {
            None => Ok(None),
            Some(body) => value_of(body, name).with_context(|| format!("summary `{tag}`")),
        }
    }
}

/// A value of a summary: in the list `data` (once `values`), or a field of its own.
fn value_of(body: &Map<String, Value>, name: &str) -> Result<Option<Typed>> {
    let list = ["data", "values"]
        .into_iter()
        .find_map(|key| body.get(key)?.as_array());
    let found = match list {
        Some(list) => list
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name)),
        None => body.get(name),
    };
    found
        .map(|entry| Typed::deserialize(entry).with_context(|| format!("field `{name}`")))
        .transpose()
}

fn shown(value: &Value) -> String {
    clipped(&value.to_string())
}

fn clipped(text: &str) -> String {
    text.chars().take(60).collect()
}
