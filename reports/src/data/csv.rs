//! The points of a series as CSV (RFC 4180), oldest first, for spreadsheets.
//!
//! Numbers are written so that they read back as they were. Text from outside is quoted where need be, and never begins
//! like a formula: a spreadsheet would work it out (OWASP, "CSV Injection").

use std::borrow::Cow;
use std::fmt::Write as _;

use assay_record::RunId;
use assay_verdicts::{Point, Series};

use crate::model::Library;
use crate::text;

const HEAD: &str = "run,started,commit,dirty,value,low,high,unit,rounds,machine_changes\r\n";

/// Usual length of a line, in bytes.
const LINE: usize = 160;

/// The file.
pub fn render(library: &Library<'_>, series: &Series) -> String {
    let unit = cell(series.metric.unit.symbol());
    let mut origins = library.origins.walk();
    let mut file = String::with_capacity(HEAD.len() + LINE * series.points.len());
    file.push_str(HEAD);
    for point in &series.points {
        if let Some(known) = origins.of(point) {
            file.push_str(&known.csv);
        } else {
            let started = point.started.to_string();
            let commit = point.commit.as_deref();
            file.push_str(&origin(&point.run, &started, commit, point.dirty));
        }
        push_value(&mut file, point, &unit);
    }
    file
}

/// The cells of a run, and the comma after them.
pub fn origin(run: &RunId, started: &str, commit: Option<&str>, dirty: bool) -> String {
    let commit = cell(commit.unwrap_or_default());
    format!("{},{started},{commit},{dirty},", run.as_str())
}

/// The other cells. A site has a million of these, so what is plain text is copied and not formatted.
fn push_value(file: &mut String, point: &Point, unit: &str) {
    let value = &point.estimate;
    let estimate = number(value.estimate);
    // Of one round both ends are the estimate: to write a number takes longer than all else.
    let end = |end: f64| {
        let is_same = end.to_bits() == value.estimate.to_bits();
        if is_same {
            Cow::Borrowed(estimate.as_str())
        } else {
            Cow::Owned(number(end))
        }
    };
    let (low, high) = if value.confidence == 0.0 {
        // One number has no interval.
        (Cow::Borrowed(""), Cow::Borrowed(""))
    } else {
        (end(value.low), end(value.high))
    };
    for text in [estimate.as_str(), &low, &high, unit] {
        file.push_str(text);
        file.push(',');
    }
    // Writing to a string does not fail.
    let _ = write!(file, "{},{}\r\n", point.rounds, point.changes.len());
}

/// A number as [`f64`] shows itself, with no exponent. What writes JSON is three times as fast, and writes most numbers so too.
fn number(number: f64) -> String {
    let json = serde_json::to_string(&number).unwrap_or_default();
    if json.contains('e') || !number.is_finite() {
        return number.to_string();
    }
    json.strip_suffix(".0")
        .map_or_else(|| json.clone(), str::to_owned)
}

/// Text in a cell.
fn cell(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return text.into();
    }
    let plain = text::plain(text);
    let is_formula = plain.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guard = if is_formula { "'" } else { "" };
    if plain.contains(['"', ',', '\r', '\n']) {
        return format!("\"{guard}{}\"", plain.replace('"', "\"\"")).into();
    }
    format!("{guard}{plain}").into()
}

#[cfg(test)]
mod tests {
    use super::{cell, number};

    #[test]
    fn numbers_are_written_as_they_show_themselves() {
        let some = [
            0.0,
            0.1,
            1.0,
            12.0,
            1.5e-7,
            1e-5,
            123_456.789,
            1e15,
            1e16,
            1e17,
            3e300,
            5e-324,
            f64::MAX,
            f64::NAN,
            f64::INFINITY,
            2_f64.powi(53),
            0.1 + 0.2,
        ];
        for value in some.into_iter().flat_map(|value| [value, -value]) {
            assert_eq!(number(value), value.to_string());
        }
    }

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        for (text, written) in [
            ("", ""),
            ("0a1b2c", "0a1b2c"),
            (
                "=HYPERLINK(\"x\",\"y\")",
                "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"",
            ),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("a,b\nc", "\"a,b\nc\""),
            ("a\0\u{202e}b", "a\u{fffd}\u{fffd}b"),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
