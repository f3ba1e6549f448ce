//! Names of runs: sortable by start, unique without asking anybody.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use assay_protocol::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// `20261120-211533-3fa9c1d2`: start in UTC, and 8 hexadecimal digits that tell apart runs of one second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

/// Text that is no run id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a run id: expected YYYYMMDD-HHMMSS-xxxxxxxx")]
pub struct RunIdError(String);

impl RunId {
    /// A new id for a run that starts now. `entropy` tells apart runs of one second (process id, manifest, machine).
    pub fn new(started: Timestamp, entropy: &[u8]) -> Self {
        let ns = started.unix_ns().to_le_bytes();
        let tail = Digest::of_parts([&ns[..], entropy]).hex();
        Self(format!("{}-{}", started.compact(), &tail[..8]))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = RunIdError;
    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let digits = |s: &str, n| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
        let hex =
            |s: &str| s.len() == 8 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let parts: Vec<&str> = text.split('-').collect();
        match parts[..] {
            [day, second, tail] if digits(day, 8) && digits(second, 6) && hex(tail) => {
                Ok(Self(text.into()))
            }
            _ => Err(RunIdError(text.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for RunId {
    fn schema_name() -> Cow<'static, str> {
        "RunId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]{8}-[0-9]{6}-[0-9a-f]{8}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::RunId;
    use crate::time::Timestamp;

    #[test]
    fn ids_sort_by_start_and_are_safe_as_file_names() {
        let at = |s: &str| serde_json::from_str::<Timestamp>(&format!("\"{s}\"")).unwrap();
        let early = RunId::new(at("2026-11-20T21:15:33Z"), b"1");
        let late = RunId::new(at("2026-11-20T21:15:34Z"), b"1");
        assert!(early < late);
        assert!(early.as_str().starts_with("20261120-211533-"));
        assert_ne!(early, RunId::new(at("2026-11-20T21:15:33Z"), b"2"));
        for bad in [
            "",
            "latest",
            "../../etc/passwd",
            "20261120-211533-3fa9c1dZ",
            "2026-1120-211533",
        ] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }
}
