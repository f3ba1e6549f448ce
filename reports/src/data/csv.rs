//! The points of a series as CSV (RFC 4180), oldest first, for spreadsheets.
//!
//! Numbers are written so that they read back as they were. Text from outside is quoted where need be, and never begins
//! like a formula: a spreadsheet would work it out (OWASP, "CSV Injection").

use std::borrow::Cow;
use std::fmt::Write as _;

use assay_verdicts::{Point, Series};

use crate::text;

const HEAD: &str = "run,started,commit,dirty,value,low,high,unit,rounds,machine_changes\r\n";

/// Usual length of a line, in bytes.
const LINE: usize = 160;

/// The file.
pub fn render(series: &Series) -> String {
    let unit = cell(series.metric.unit.symbol());
    let mut file = String::with_capacity(HEAD.len() + LINE * series.points.len());
    file.push_str(HEAD);
    for point in &series.points {
        line(&mut file, point, &unit);
    }
    file
}

fn line(file: &mut String, point: &Point, unit: &str) {
    let value = &point.estimate;
    let estimate = value.estimate.to_string();
    // Of one round both ends are the estimate: to write a number takes longer than all else.
    let end = |end: f64| {
        let is_same = end.to_bits() == value.estimate.to_bits();
        if is_same {
            Cow::Borrowed(estimate.as_str())
        } else {
            Cow::Owned(end.to_string())
        }
    };
    let commit = cell(point.commit.as_deref().unwrap_or_default());
    // Writing to a string does not fail.
    let _ = write!(
        file,
        "{},{},{commit},{},{estimate},{},{},{unit},{},{}\r\n",
        point.run,
        point.started,
        point.dirty,
        end(value.low),
        end(value.high),
        point.rounds,
        point.changes.len()
    );
}

/// Text in a cell.
fn cell(text: &str) -> String {
    let plain = text::plain(text);
    let is_formula = plain.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guard = if is_formula { "'" } else { "" };
    if plain.contains(['"', ',', '\r', '\n']) {
        return format!("\"{guard}{}\"", plain.replace('"', "\"\""));
    }
    format!("{guard}{plain}")
}

#[cfg(test)]
mod tests {
    use super::cell;

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
