//! What a machine was, in four parts: hardware, software, settings, and volatile state.
//!
//! Each part is a flat map from dotted names (`cpu.model`, `gpu.0.power.limit_watts`) to fields, so
//! that a new probe is one more name, and a difference is a difference of maps. A field that could
//! not be read says why: not offered here, not allowed, or an error are three different things.

use std::collections::BTreeMap;
use std::fmt;

use assay_protocol::{Digest, uuids};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError};
use crate::time::Timestamp;

/// A machine at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// When it was taken.
    pub taken: Timestamp,
    /// What was built: models, topology, caches, memory, identities of devices.
    pub hardware: Section,
    /// What is installed: kernel, libc, microcode, driver, CUDA, container engines, toolchain.
    pub software: Section,
    /// How it is set: governor, turbo, SMT, mitigations, power limits, clocks.
    pub settings: Section,
    /// What moves by itself: load, temperatures, clocks, free memory. Never part of an identity.
    pub volatile: Section,
}

/// Fields by dotted name.
pub type Section = BTreeMap<String, Field>;

/// What is known of one property.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// It was read.
    Value(Scalar),
    /// This machine has no such thing.
    Unsupported,
    /// It is there, but this user may not read it.
    Denied,
    /// Reading it went wrong.
    Error(String),
}

/// A value of a field. Integers past 2^53 are text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// An integer within ±(2^53 - 1).
    Int(i64),
    /// A finite number.
    Float(f64),
    /// Text.
    Text(String),
}

impl Field {
    /// A text value.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Value(Scalar::Text(text.into()))
    }

    /// An integer value; beyond ±(2^53 - 1) it becomes text.
    pub fn int(value: impl TryInto<i64> + fmt::Display + Copy) -> Self {
        match value.try_into() {
            Ok(n) if n.unsigned_abs() < (1 << 53) => Self::Value(Scalar::Int(n)),
            _ => Self::text(value.to_string()),
        }
    }

    /// A number; one that is not finite is an error.
    pub fn float(value: f64) -> Self {
        if value.is_finite() {
            Self::Value(Scalar::Float(value))
        } else {
            Self::Error(format!("read {value}, which is no number"))
        }
    }

    /// A truth value.
    pub fn bool(value: bool) -> Self {
        Self::Value(Scalar::Bool(value))
    }

    /// The value, if it was read.
    pub fn value(&self) -> Option<&Scalar> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => f.write_str(if *value { "yes" } else { "no" }),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Unsupported => f.write_str("not supported"),
            Self::Denied => f.write_str("not permitted to read"),
            Self::Error(error) => write!(f, "error: {error}"),
        }
    }
}

/// What a machine is called in series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineIdentity {
    /// Name of this very machine: from the settings, else derived from its hardware.
    pub name: String,
    /// Digest of models and counts, without serial numbers: machines of one class are drawn together.
    pub class: Digest,
}

/// The four parts by name, in the order of their display.
pub const PARTS: [&str; 4] = ["hardware", "software", "settings", "volatile"];

impl Fingerprint {
    /// A part by its name in [`PARTS`].
    pub fn part(&self, name: &str) -> Option<&Section> {
        match name {
            "hardware" => Some(&self.hardware),
            "software" => Some(&self.software),
            "settings" => Some(&self.settings),
            "volatile" => Some(&self.volatile),
            _ => None,
        }
    }

    /// Digest of the whole, volatile state and time included: its name in the store.
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        canonical::digest(self)
    }

    /// The machine's identity. `name` is the one from the settings, if any.
    ///
    /// It rests on a fixed list of fields, and on those that were read: a new probe, a driver that is
    /// gone for a moment, or a firmware update is an event in a machine's history, not another machine.
    pub fn identity(&self, name: Option<&str>) -> Result<MachineIdentity, CanonicalError> {
        let individual =
            canonical::digest(&self.read_fields(&["machine.id", "cpu.model", "gpu.*.uuid"]))?;
        // Of GPUs the names alone, sorted: their order is the driver's.
        let models = ["cpu.model", "cpu.sockets", "cpu.cores", "memory.total_mib"];
        let mut gpus: Vec<String> = self
            .read_fields(&["gpu.*.name"])
            .iter()
            .map(|(_, v)| v.to_string())
            .collect();
        gpus.sort_unstable();
        Ok(MachineIdentity {
            name: name.map_or_else(
                || format!("machine-{}", &individual.hex()[..8]),
                str::to_owned,
            ),
            class: canonical::digest(&(self.read_fields(&models), gpus))?,
        })
    }

    /// Hardware fields that were read, by name; `*` stands for one part of a name.
    fn read_fields(&self, patterns: &[&str]) -> Vec<(&str, &Scalar)> {
        let wanted = |name: &str| patterns.iter().any(|pattern| matches(pattern, name));
        self.hardware
            .iter()
            .filter(|(name, _)| wanted(name))
            .filter_map(|(name, field)| Some((name.as_str(), field.value()?)))
            .collect()
    }

    /// How many GPUs there were, as far as is known.
    pub fn gpus(&self) -> u32 {
        match self.hardware.get("gpu.count").and_then(Field::value) {
            // A damaged record may say anything.
            Some(Scalar::Int(count)) => u32::try_from(*count).unwrap_or(0).min(MOST_GPUS),
            _ => 0,
        }
    }

    /// The GPU with this UUID, or whose instance has it (MIG), by its number in the names of fields and telemetry.
    /// Without a UUID it is the only one there was: a worker that does not say which one it used had no choice.
    ///
    /// Numbers are NVML's and may change from boot to boot: only within one run do they stand for a GPU.
    pub fn gpu(&self, uuid: Option<&str>) -> Option<u32> {
        let Some(uuid) = uuid else {
            return (self.gpus() == 1).then_some(0);
        };
        let is = |field: &Field| match field {
            Field::Value(Scalar::Text(known)) => bare(known).eq_ignore_ascii_case(bare(uuid)),
            _ => false,
        };
        let number = |name: &str| name.split('.').nth(1)?.parse().ok();
        let of = |section: &Section, pattern: &str| {
            let mut fields = section.iter();
            fields.find_map(|(name, field)| {
                (matches(pattern, name) && is(field)).then(|| number(name))?
            })
        };
        of(&self.hardware, "gpu.*.uuid").or_else(|| of(&self.settings, "gpu.*.mig.*.uuid"))
    }

    /// The GPUs that ran a case, by what [`Self::gpu`] or, of several, [`uuids`] has of them; `None` where one of them is not known.
    pub fn gpus_of(&self, device: Option<&str>) -> Option<Vec<u32>> {
        match device {
            None => Some(vec![self.gpu(None)?]),
            Some(device) => uuids::each(device)
                .map(|uuid| self.gpu(Some(uuid)))
                .collect(),
        }
    }

    /// Fields that differ, by part and name, without the volatile part.
    pub fn differences<'a>(&'a self, later: &'a Self) -> Vec<Difference<'a>> {
        PARTS[..3]
            .iter()
            .flat_map(|&part| match (self.part(part), later.part(part)) {
                (Some(before), Some(after)) => section_differences(part, before, after),
                _ => Vec::new(),
            })
            .collect()
    }
}

/// More than any machine has.
const MOST_GPUS: u32 = 1024;

/// A UUID without the word before it: CUDA leaves out what NVML puts there.
fn bare(uuid: &str) -> &str {
    let prefixes = ["GPU-", "MIG-"];
    let stripped = prefixes.iter().find_map(|prefix| uuid.strip_prefix(prefix));
    stripped.unwrap_or(uuid)
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = name.split('.');
    pattern
        .split('.')
        .all(|want| parts.next().is_some_and(|part| want == "*" || want == part))
        && parts.next().is_none()
}

/// One field that differs between two fingerprints; `None` where it is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference<'a> {
    /// `hardware`, `software` or `settings`.
    pub part: &'static str,
    /// Name of the field.
    pub name: &'a str,
    /// What it was.
    pub before: Option<&'a Field>,
    /// What it is.
    pub after: Option<&'a Field>,
}

fn section_differences<'a>(
    part: &'static str,
    before: &'a Section,
    after: &'a Section,
) -> Vec<Difference<'a>> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| Difference {
            part,
            name,
            before: before.get(name),
            after: after.get(name),
        })
        .filter(|difference| difference.before != difference.after)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Field, Fingerprint, Section};
    use crate::time::Timestamp;

    fn fingerprint() -> Fingerprint {
        let section = |entries: &[(&str, Field)]| -> Section {
            entries
                .iter()
                .map(|(name, field)| ((*name).to_owned(), field.clone()))
                .collect()
        };
        Fingerprint {
            taken: Timestamp::from_unix_ns(0).unwrap(),
            hardware: section(&[
                ("cpu.model", Field::text("Xeon")),
                ("machine.id", Field::text("a1")),
            ]),
            software: section(&[("kernel.release", Field::text("6.1"))]),
            settings: section(&[("cpu.governor", Field::Denied)]),
            volatile: section(&[("load.1min", Field::float(0.5))]),
        }
    }

    #[test]
    fn volatile_state_is_no_part_of_identity() {
        let mut hot = fingerprint();
        hot.volatile.insert("load.1min".into(), Field::float(9.0));
        assert_eq!(
            hot.identity(None).unwrap(),
            fingerprint().identity(None).unwrap()
        );
        assert!(fingerprint().differences(&hot).is_empty());
    }

    #[test]
    fn a_new_probe_or_a_lost_field_is_the_same_machine() {
        let mut later = fingerprint();
        later
            .hardware
            .insert("board.bios".into(), Field::text("2.0"));
        later.hardware.insert(
            "gpu.count".into(),
            Field::Error("driver is being updated".into()),
        );
        assert_eq!(
            later.identity(None).unwrap(),
            fingerprint().identity(None).unwrap()
        );
    }

    #[test]
    fn individuals_differ_within_a_class() {
        let mut twin = fingerprint();
        twin.hardware.insert("machine.id".into(), Field::text("b2"));
        let (one, two) = (
            fingerprint().identity(None).unwrap(),
            twin.identity(None).unwrap(),
        );
        assert_eq!(one.class, two.class);
        assert_ne!(one.name, two.name);
        assert_eq!(twin.identity(Some("ci")).unwrap().name, "ci");
    }

    #[test]
    fn the_four_kinds_of_field_are_told_apart() {
        let kinds = [
            Field::int(1),
            Field::Unsupported,
            Field::Denied,
            Field::Error("EIO".into()),
        ];
        for (i, a) in kinds.iter().enumerate() {
            let text = serde_json::to_string(a).unwrap();
            assert_eq!(&serde_json::from_str::<Field>(&text).unwrap(), a);
            assert!(kinds[i + 1..].iter().all(|b| a != b));
        }
        let mut changed = fingerprint();
        changed
            .settings
            .insert("cpu.governor".into(), Field::Unsupported);
        assert_eq!(fingerprint().differences(&changed).len(), 1);
    }

    #[test]
    fn gpus_are_found_by_their_uuid_and_by_that_of_an_instance() {
        let mut machine = fingerprint();
        assert_eq!((machine.gpus(), machine.gpu(Some("GPU-aa"))), (0, None));
        machine.hardware.insert("gpu.count".into(), Field::int(12));
        for (name, uuid) in [("gpu.3.uuid", "GPU-aa"), ("gpu.11.uuid", "GPU-bb")] {
            machine.hardware.insert(name.into(), Field::text(uuid));
        }
        let instance = "gpu.3.mig.6.uuid".to_owned();
        machine.settings.insert(instance, Field::text("MIG-cc"));
        machine.hardware.insert("gpu.4.uuid".into(), Field::Denied);
        assert_eq!(machine.gpus(), 12);
        for (uuid, gpu) in [
            ("GPU-bb", Some(11)),
            ("BB", Some(11)),
            ("MIG-cc", Some(3)),
            ("GPU-dd", None),
            ("", None),
        ] {
            assert_eq!(machine.gpu(Some(uuid)), gpu, "{uuid}");
        }
        assert_eq!((machine.gpu(None), machine.gpus_of(None)), (None, None));
        for (uuids, gpus) in [
            ("GPU-bb", Some(vec![11])),
            ("GPU-bb,GPU-aa", Some(vec![11, 3])),
            ("GPU-bb,GPU-dd", None),
        ] {
            assert_eq!(machine.gpus_of(Some(uuids)), gpus, "{uuids}");
        }
        machine.hardware.insert("gpu.count".into(), Field::int(1));
        assert_eq!(machine.gpu(None), Some(0));
        assert_eq!(machine.gpus_of(None), Some(vec![0]));
        machine.hardware.insert("gpu.count".into(), Field::int(-1));
        assert_eq!(machine.gpus(), 0);
    }

    #[test]
    fn wide_integers_and_non_numbers() {
        assert_eq!(Field::int(u64::MAX), Field::text(u64::MAX.to_string()));
        assert!(matches!(Field::float(f64::NAN), Field::Error(_)));
    }
}
