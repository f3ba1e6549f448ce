//! JSON as Python writes it: with the numbers `NaN`, `Infinity` and `-Infinity`, which JSON has not, and in which asv
//! tells what was skipped from what failed.

use std::borrow::Cow;
use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Any value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    /// Entries in the order of the file.
    Map(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(&quoted(text))?)
    }

    /// The value of a key, if this is an object that has it; the first of several.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        let entry = entries.iter().find(|(name, _)| name == key);
        entry.map(|(_, value)| value)
    }

    /// The value of a key that is neither missing nor null, read by `read`. Errors name the key.
    pub fn field<'a, T>(&'a self, key: &str, read: impl Fn(&'a Self) -> Result<T>) -> Result<T> {
        let value = self.optional(key, read)?;
        value.with_context(|| format!("field `{key}` is missing"))
    }

    /// As [`Self::field`]; `None` where it is missing or null.
    pub fn optional<'a, T>(
        &'a self,
        key: &str,
        read: impl Fn(&'a Self) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.get(key) {
            None | Some(Self::Null) => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .with_context(|| format!("field `{key}`")),
        }
    }

    /// A number, which need not be finite.
    pub fn number(&self) -> Result<f64> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => match text.as_str() {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                _ => bail!("expected a number, not {self}"),
            },
            _ => bail!("expected a number, not {self}"),
        }
    }

    /// Text.
    pub fn text(&self) -> Result<&str> {
        match self {
            Self::Text(text) => Ok(text),
            _ => bail!("expected text, not {self}"),
        }
    }

    /// A list.
    pub fn list(&self) -> Result<&[Self]> {
        match self {
            Self::List(list) => Ok(list),
            _ => bail!("expected a list, not {self}"),
        }
    }

    /// An object.
    pub fn map(&self) -> Result<&[(String, Self)]> {
        match self {
            Self::Map(entries) => Ok(entries),
            _ => bail!("expected an object, not {self}"),
        }
    }
}

/// What it is, for messages.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{:?}", text.chars().take(60).collect::<String>()),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("an object"),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = object.next_entry()? {
            entries.push(entry);
        }
        Ok(Json::Map(entries))
    }
}

/// The text with every number that is none in quotes.
fn quoted(text: &str) -> Cow<'_, str> {
    const NAMES: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !text.contains("NaN") && !text.contains("Infinity") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let (mut rest, mut copied) = (0, 0);
    let bytes = text.as_bytes();
    while rest < bytes.len() {
        match bytes[rest] {
            b'"' => rest = end_of_text(bytes, rest),
            b'N' | b'I' | b'-' => {
                let name = NAMES
                    .iter()
                    .find(|name| bytes[rest..].starts_with(name.as_bytes()));
                if let Some(name) = name {
                    out.push_str(&text[copied..rest]);
                    out.extend(["\"", name, "\""]);
                    copied = rest + name.len();
                }
                rest += name.map_or(1, |name| name.len());
            }
            _ => rest += 1,
        }
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// The place behind the quote that ends the text which begins at `start`.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Json, quoted};

    #[test]
    fn asv_numbers_that_are_none_are_read() {
        let read = Json::parse(
            r#"{"a": [NaN, -Infinity, Infinity, -1, null], "NaN \" NaN": "-Infinity \\"}"#,
        );
        let read = read.unwrap();
        let list = read.field("a", Json::list).unwrap();
        let numbers: Vec<Option<f64>> = list.iter().map(|one| one.number().ok()).collect();
        assert!(numbers[0].is_some_and(f64::is_nan));
        let rest = [
            Some(f64::NEG_INFINITY),
            Some(f64::INFINITY),
            Some(-1.0),
            None,
        ];
        assert_eq!(numbers[1..], rest);
        assert_eq!(
            read.get("NaN \" NaN"),
            Some(&Json::Text("-Infinity \\".into()))
        );
    }

    #[test]
    fn asv_fields_of_another_type_are_named() {
        let read = Json::parse(r#"{"a": "x", "b": null}"#).unwrap();
        for (error, words) in [
            (
                read.field("a", Json::number).unwrap_err(),
                "field `a`: expected a number, not \"x\"",
            ),
            (
                read.field("a", Json::list).unwrap_err(),
                "field `a`: expected a list",
            ),
            (
                read.field("b", Json::text).unwrap_err(),
                "field `b` is missing",
            ),
            (
                read.field("c", Json::map).unwrap_err(),
                "field `c` is missing",
            ),
        ] {
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
    }

    proptest! {
        #[test]
        fn asv_json_without_such_numbers_stays_as_it_is(text in "[\"\\\\a-zNI,:\\[\\]{} -]{0,40}") {
            let said = quoted(&text);
            prop_assert_eq!(said.replace("\"NaN\"", "NaN").replace('"', ""), text.replace("\"NaN\"", "NaN").replace('"', ""));
        }

        #[test]
        fn asv_any_text_in_quotes_is_kept(text in ".*") {
            let json = serde_json::to_string(&[text.as_str(), "NaN"]).unwrap();
            let read = Json::parse(&json.replace("\"NaN\"", "NaN")).unwrap();
            let kept = text.replace("\"NaN\"", "NaN");
            prop_assume!(!text.contains("NaN"));
            prop_assert_eq!(read, Json::List(vec![Json::Text(kept), Json::Text("NaN".into())]));
        }
    }
}
