//! Names of runs: sortable by start, unique without asking anybody.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use assay_protocol::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// How long one is.
const LENGTH: usize = 24;

/// `20261120-211533-3fa9c1d2`: start in UTC, and 8 hexadecimal digits that tell apart runs of one second.
///
/// In place, for histories hold one for each of their points.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId([u8; LENGTH]);

/// Text that is no run id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a run id: expected YYYYMMDD-HHMMSS-xxxxxxxx")]
pub struct RunIdError(String);

impl RunId {
    /// A new id for a run that starts now. `entropy` tells apart runs of one second (process id, manifest, machine).
    pub fn new(started: Timestamp, entropy: &[u8]) -> Self {
        let ns = started.unix_ns().to_le_bytes();
        let tail = Digest::of_parts([&ns[..], entropy]).hex();
        let text = format!("{}-{}", started.compact(), &tail[..8]);
        let mut id = [b'0'; LENGTH];
        for (to, from) in id.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Self(id)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Digits, letters and `-`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for RunId {
    type Err = RunIdError;
    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let digits = |s: &str, n| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
        let hex =
            |s: &str| s.len() == 8 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let wrong = || RunIdError(text.chars().take(100).collect());
        let mut parts = text.split('-');
        let mut next = || parts.next().unwrap_or_default();
        let is_id = digits(next(), 8) && digits(next(), 6) && hex(next()) && parts.next().is_none();
        let id = text.as_bytes().try_into().ok().filter(|_| is_id);
        id.map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({:?})", self.as_str())
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
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
