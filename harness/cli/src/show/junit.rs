//! A gate as JUnit XML, which CI systems read: one test case for each metric of each case.

use std::fmt::Write as _;

use assay_verdicts::gate::Gate;
use assay_verdicts::{CaseComparison, Verdict};

use super::verdicts::headline;
use super::words;

/// The whole document. A regression, a failure and a wrong output are failures; what could not be told is skipped.
pub fn gate(gate: &Gate, suite: &str) -> String {
    let comparison = &gate.comparison;
    let mut cases: String = comparison
        .cases
        .iter()
        .map(|case| test(suite, case))
        .collect();
    for left in &comparison.left_out {
        let _ = write!(
            cases,
            "    <testcase classname=\"{}\" name=\"{}\">\n      <skipped message=\"{}\"/>\n    </testcase>\n",
            escaped(suite),
            escaped(&left.case),
            escaped(&left.note)
        );
    }
    let count = |tag: &str| cases.matches(tag).count();
    let totals = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\"",
        count("<testcase "),
        count("<failure "),
        count("<skipped ")
    );
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"assay\" {totals}>\n  <testsuite name=\"{}\" {totals}>\n    <properties>\n{}    </properties>\n{cases}    <system-out>{}</system-out>\n  </testsuite>\n</testsuites>\n",
        escaped(suite),
        properties(gate),
        escaped(&headline(gate)),
    )
}

fn properties(gate: &Gate) -> String {
    let comparison = &gate.comparison;
    let baseline = comparison.baseline.runs.iter().map(ToString::to_string);
    let reference = gate
        .confirmation
        .as_ref()
        .and_then(|found| found.reference.as_ref());
    let mut properties = String::new();
    for (name, value) in [
        ("run", gate.run.to_string()),
        ("window", gate.window.clone()),
        ("baseline", baseline.collect::<Vec<_>>().join(" ")),
        ("differences", comparison.differences.join(" ")),
        (
            "confirmed-beside",
            reference.map_or(String::new(), words::beside),
        ),
    ] {
        if value.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(
            properties,
            "      <property name=\"{name}\" value=\"{}\"/>",
            escaped(&value)
        );
    }
    properties
}

fn test(suite: &str, case: &CaseComparison) -> String {
    let name = escaped(&words::name(case));
    let effect = case
        .ratio
        .as_ref()
        .map_or(String::new(), |ratio| format!("{}: ", words::change(ratio)));
    let message = escaped(&format!("{effect}{}", case.note));
    let inside = match (&case.trouble, case.verdict) {
        (Some(trouble), _) => {
            let kind = words::verdict(case).to_lowercase();
            format!(
                "<failure type=\"{kind}\" message=\"{}\"/>",
                escaped(&trouble.to_string())
            )
        }
        (None, Verdict::Regressed) if case.mark.is_some() => {
            let mark = case
                .mark
                .as_ref()
                .map_or(String::new(), ToString::to_string);
            format!("<skipped message=\"{}; {message}\"/>", escaped(&mark))
        }
        (None, Verdict::Regressed) => {
            format!("<failure type=\"regressed\" message=\"{message}\"/>")
        }
        (None, Verdict::Inconclusive) => format!("<skipped message=\"inconclusive: {message}\"/>"),
        (None, Verdict::Improved | Verdict::Unchanged) => {
            format!(
                "<system-out>{}: {message}</system-out>",
                words::verdict(case)
            )
        }
    };
    format!(
        "    <testcase classname=\"{}\" name=\"{name}\">\n      {inside}\n    </testcase>\n",
        escaped(suite)
    )
}

/// Text from outside: escaped, and without the characters that XML 1.0 does not have at all.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => safe.push(' '),
            _ if c.is_control() => safe.push(' '),
            _ => safe.push(c),
        }
    }
    safe
}
