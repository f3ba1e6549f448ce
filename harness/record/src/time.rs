//! Points in civil time.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds since 1970-01-01 00:00 UTC, written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The system clock's time.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now())
    }

    /// From integer nanoseconds since the epoch; `None` outside the years -9999 to 9999.
    pub fn from_unix_ns(ns: i64) -> Option<Self> {
        jiff::Timestamp::from_nanosecond(ns.into()).ok().map(Self)
    }

    /// Integer nanoseconds since the epoch, clamped to what an `i64` holds (years 1677 to 2262).
    pub fn unix_ns(self) -> i64 {
        let ns = self.0.as_nanosecond();
        i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
    }

    /// `20261120-211533`, in UTC: for run ids.
    pub fn compact(self) -> String {
        self.0.strftime("%Y%m%d-%H%M%S").to_string()
    }

    /// `2026-11-20 21:15 UTC`: for people.
    pub fn minute(self) -> String {
        self.0.strftime("%Y-%m-%d %H:%M UTC").to_string()
    }

    /// `2026-11-20 21:15:33 UTC`: for people who must tell runs of one minute apart.
    pub fn second(self) -> String {
        self.0.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    }

    /// The day in UTC.
    pub fn day(self) -> Day {
        Day(self.0.to_zoned(jiff::tz::TimeZone::UTC).date())
    }
}

impl FromStr for Timestamp {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.parse().map(Self);
        at.map_err(|_| format!("expected a time such as 2026-11-20T21:15:33Z, not `{text}`"))
    }
}

/// A day in UTC, written as `2026-11-20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(jiff::civil::Date);

impl Day {
    /// When it begins.
    pub fn start(self) -> Option<Timestamp> {
        let midnight = self.0.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(Timestamp(midnight.timestamp()))
    }
}

impl FromStr for Day {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // jiff also takes shorter forms and times of day.
        let day = text.parse().ok().map(Self);
        day.filter(|day| day.to_string() == text)
            .ok_or_else(|| format!("expected a day such as 2026-11-20, not `{text}`"))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::{Day, Timestamp};

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let day: Day = "2026-11-20".parse().unwrap();
        let start = day.start().unwrap();
        assert_eq!(start, "2026-11-20T00:00:00Z".parse().unwrap());
        assert_eq!(start.day(), day);
        assert!(
            "2026-11-20"
                .parse::<Timestamp>()
                .unwrap_err()
                .contains("2026-11-20T21")
        );
    }
}
