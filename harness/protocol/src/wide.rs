//! 64-bit integers that survive JSON.
//!
//! RFC 8785 canonicalises numbers as IEEE doubles, which silently rounds integers past 2^53. Values
//! that may be that large (seeds, byte counts in a manifest) are therefore decimal strings.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A `u64` written to JSON as a decimal string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct U64(pub u64);

impl fmt::Display for U64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for U64 {
    fn from(value: u64) -> Self {
        Self(value)
    }
}

impl Serialize for U64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for U64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let value: u64 = text
            .parse()
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is not a u64 in decimal")))?;
        // One value, one spelling: `007` and `+7` would hash differently from `7`.
        if value.to_string() != text {
            return Err(serde::de::Error::custom(format!(
                "`{text}` is not the canonical spelling of {value}"
            )));
        }
        Ok(Self(value))
    }
}

impl schemars::JsonSchema for U64 {
    fn schema_name() -> Cow<'static, str> {
        "U64".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(0|[1-9][0-9]{0,19})$",
            "description": "An unsigned 64-bit integer as a decimal string."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::U64;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips(value: u64) {
            let text = serde_json::to_string(&U64(value)).unwrap();
            prop_assert_eq!(serde_json::from_str::<U64>(&text).unwrap(), U64(value));
        }
    }

    #[test]
    fn refuses_numbers_and_other_spellings() {
        for bad in [
            "7",
            "\"07\"",
            "\"+7\"",
            "\"-1\"",
            "\"18446744073709551616\"",
            "\"\"",
        ] {
            assert!(serde_json::from_str::<U64>(bad).is_err(), "{bad}");
        }
    }
}
