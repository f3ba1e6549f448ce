//! Metrics taken from what a command prints, each by a rule that its suite declares.

use std::borrow::Cow;
use std::collections::BTreeMap;

use assay_protocol::{CommandMetric, Failure};
use regex::Regex;
use serde_json::Value;

use super::capture::Captured;

/// How to find the number of one metric.
pub struct Rule {
    name: String,
    find: Find,
}

enum Find {
    /// JSON Pointer into the output, which is one JSON value.
    Json(String),
    /// First group of the first match in the output, in which bytes that are not UTF-8 are replaced.
    Regex(Regex),
}

impl Rule {
    /// Understands a declaration; fails with words that name the metric.
    pub fn new(metric: &CommandMetric) -> Result<Self, Failure> {
        let name = metric.name.clone();
        let find = match (&metric.json, &metric.regex) {
            (Some(pointer), None) => json_pointer(pointer),
            (None, Some(pattern)) => regex(pattern),
            (None, None) => Err("no rule is given: expected `json` or `regex`".into()),
            (Some(_), Some(_)) => Err("two rules are given: expected `json` or `regex`".into()),
        };
        let find = find.map_err(|what| failed(&name, &what))?;
        Ok(Self { name, find })
    }

    fn value(&self, output: &mut Output<'_>) -> Result<f64, Failure> {
        let value = match &self.find {
            Find::Json(pointer) => output.at_pointer(pointer),
            Find::Regex(pattern) => output.first_group(pattern),
        };
        value.map_err(|what| failed(&self.name, &what))
    }
}

/// The value of every rule, from the output of one execution.
pub fn values(rules: &[Rule], stdout: &Captured) -> Result<BTreeMap<String, f64>, Failure> {
    let Some(first) = rules.first() else {
        return Ok(BTreeMap::new());
    };
    let bytes = stdout.whole().ok_or_else(|| {
        let what = format!(
            "all of the output is needed, which is {}",
            stdout.too_long()
        );
        failed(&first.name, &what)
    })?;
    let mut output = Output {
        bytes,
        text: None,
        json: None,
    };
    let value = |rule: &Rule| Ok((rule.name.clone(), rule.value(&mut output)?));
    rules.iter().map(value).collect()
}

fn json_pointer(pointer: &str) -> Result<Find, String> {
    if pointer.is_empty() || pointer.starts_with('/') {
        return Ok(Find::Json(pointer.into()));
    }
    Err(format!(
        "`{pointer}` is not a JSON Pointer: expected it to be empty or to begin with `/`"
    ))
}

fn regex(pattern: &str) -> Result<Find, String> {
    let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
    if regex.captures_len() < 2 {
        return Err(format!(
            "`{pattern}` has no group: expected one around the number"
        ));
    }
    Ok(Find::Regex(regex))
}

/// The output of one execution, parsed no more than once.
struct Output<'a> {
    bytes: &'a [u8],
    text: Option<Cow<'a, str>>,
    json: Option<Result<Value, String>>,
}

impl Output<'_> {
    fn at_pointer(&mut self, pointer: &str) -> Result<f64, String> {
        let parse = || serde_json::from_slice(self.bytes).map_err(|error| error.to_string());
        let json = self.json.get_or_insert_with(parse);
        let json = json.as_ref();
        let json = json.map_err(|error| format!("the output is not one JSON value: {error}"))?;
        let found = json.pointer(pointer);
        let found = found.ok_or_else(|| format!("the output has nothing at `{pointer}`"))?;
        found.as_f64().ok_or_else(|| {
            let shown = excerpt(&found.to_string());
            format!("expected a number at `{pointer}`, found {shown}")
        })
    }

    fn first_group(&mut self, pattern: &Regex) -> Result<f64, String> {
        let text = || String::from_utf8_lossy(self.bytes);
        let text = self.text.get_or_insert_with(text);
        let found = pattern.captures(text);
        let found = found.ok_or_else(|| format!("the output has no match of `{pattern}`"))?;
        let group = found.get(1);
        let group = group.ok_or_else(|| {
            format!("the first group of `{pattern}` has no part in its first match")
        })?;
        finite(group.as_str())
    }
}

fn finite(text: &str) -> Result<f64, String> {
    let value = text.trim().parse().ok();
    value
        .filter(|value: &f64| value.is_finite())
        .ok_or_else(|| format!("expected a finite number, found `{}`", excerpt(text)))
}

/// The beginning of something that may be long.
fn excerpt(text: &str) -> String {
    text.chars().take(100).collect()
}

fn failed(name: &str, what: &str) -> Failure {
    Failure::Failed(format!("metric `{name}`: {what}"))
}

#[cfg(test)]
mod tests {
    use assay_protocol::{CommandMetric, Direction, Failure, Unit};
    use proptest::prelude::*;

    use super::{Captured, Rule, values};

    fn rule(json: Option<&str>, regex: Option<&str>) -> Result<Rule, Failure> {
        Rule::new(&CommandMetric {
            name: "loss".into(),
            unit: Unit::One,
            direction: Direction::Lower,
            json: json.map(Into::into),
            regex: regex.map(Into::into),
        })
    }

    fn value(rule: Result<Rule, Failure>, output: &str) -> Result<f64, String> {
        let found = rule.and_then(|rule| values(&[rule], &Captured::read(output.as_bytes())));
        found
            .map(|values| values["loss"])
            .map_err(|e| e.to_string())
    }

    #[test]
    fn exactly_one_rule_is_given() {
        let neither = value(rule(None, None), "").unwrap_err();
        assert!(neither.contains("metric `loss`: no rule"), "{neither}");
        let both = value(rule(Some(""), Some("(1)")), "").unwrap_err();
        assert!(both.contains("metric `loss`: two rules"), "{both}");
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        for (json, regex, words) in [
            (Some("a/b"), None, "is not a JSON Pointer"),
            (None, Some("loss"), "has no group"),
            (None, Some("("), "unclosed group"),
        ] {
            let error = value(rule(json, regex), "").unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn pointers_find_numbers_and_nothing_else() {
        let output = r#"{"a": [1, {"b/c": -2.5e3}], "text": "7", "none": null}"#;
        assert_eq!(value(rule(Some("/a/1/b~1c"), None), output), Ok(-2500.0));
        assert_eq!(value(rule(Some(""), None), " 42\n"), Ok(42.0));
        for (pointer, output, words) in [
            ("/missing", output, "nothing at `/missing`"),
            ("/text", output, "found \"7\""),
            ("/none", output, "found null"),
            ("/a", "{\"a\": NaN}", "not one JSON value"),
            ("/a", "{\"a\": 1e999}", "not one JSON value"),
            ("/a", "", "not one JSON value"),
            ("/a", "{} {}", "not one JSON value"),
        ] {
            let error = value(rule(Some(pointer), None), output).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn groups_are_finite_numbers() {
        let pattern = || rule(None, Some(r"loss=(\S+)"));
        assert_eq!(value(pattern(), "loss=1e-3 loss=2"), Ok(1e-3));
        for (output, words) in [
            ("gain=1", "no match"),
            ("loss=NaN", "found `NaN`"),
            ("loss=inf", "found `inf`"),
            ("loss=-Infinity", "found `-Infinity`"),
            ("loss=1e999", "found `1e999`"),
            ("loss=12ms", "found `12ms`"),
        ] {
            let error = value(pattern(), output).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let optional = value(rule(None, Some(r"loss(=\d)?")), "loss").unwrap_err();
        assert!(optional.contains("has no part"), "{optional}");
    }

    proptest! {
        #[test]
        fn what_is_printed_is_what_is_found(number in -1e300..1e300f64) {
            let json = format!("{{\"x\": {number:e}}}");
            prop_assert_eq!(value(rule(Some("/x"), None), &json), Ok(number));
            let text = format!("x is {number}.");
            prop_assert_eq!(value(rule(None, Some(r"x is (.+)\.")), &text), Ok(number));
        }
    }
}
