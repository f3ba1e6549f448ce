//! Comparisons and gates as Markdown, for a job summary or a comment.

use std::fmt::Write as _;

use assay_verdicts::gate::Gate;
use assay_verdicts::{CaseComparison, Comparison, Verdict};

use super::matrix::{cell, names};
use super::verdicts::first_lines;
use super::{plain, words};

/// One comparison in full, several as a matrix.
pub fn comparisons(comparisons: &[Comparison]) -> String {
    match comparisons {
        [one] => comparison(one),
        many => matrix(many),
    }
}

/// A gate, with what is said in the end as its title.
pub fn gate(gate: &Gate) -> String {
    let mut text = String::new();
    for said in first_lines(gate) {
        line(&mut text, &format!("## {}", escaped(&said)));
    }
    line(
        &mut text,
        &format!(
            "Run {}, against {}: {}.",
            code(gate.run.as_str()),
            code(&gate.window),
            escaped(&gate.comparison.baseline.label)
        ),
    );
    body(&mut text, &gate.comparison);
    if let Some(confirmation) = &gate.confirmation {
        line(&mut text, "### Suspects, run again");
        if let Some(reference) = &confirmation.reference {
            let beside = words::beside(reference);
            line(
                &mut text,
                &escaped(&format!("Beside what the baseline ran in run {beside}.")),
            );
        }
        for note in &confirmation.notes {
            line(&mut text, &escaped(note));
        }
        let again = [&confirmation.interleaved, &confirmation.alone];
        for again in again.into_iter().flatten() {
            table(&mut text, &again.cases.iter().collect::<Vec<_>>());
        }
    }
    text.trim_end().to_owned()
}

fn comparison(comparison: &Comparison) -> String {
    let mut text = format!(
        "## {} against {}\n\n",
        escaped(&comparison.candidate.label),
        escaped(&comparison.baseline.label)
    );
    if let Some(shift) = words::common_shift(comparison) {
        line(&mut text, &format!("**{}**", escaped(&shift)));
    }
    body(&mut text, comparison);
    text.trim_end().to_owned()
}

fn body(text: &mut String, comparison: &Comparison) {
    if !comparison.differences.is_empty() {
        line(text, "What differs between the two:");
        let items: Vec<String> = comparison
            .differences
            .iter()
            .map(|words| format!("- {}", escaped(words)))
            .collect();
        line(text, &items.join("\n"));
    }
    if !comparison.baseline.runs.is_empty() {
        line(text, &escaped(&words::basis(comparison)));
    }
    for caveat in &comparison.caveats {
        line(text, &escaped(caveat));
    }
    let (quiet, told): (Vec<_>, Vec<_>) = comparison
        .cases
        .iter()
        .partition(|case| case.verdict == Verdict::Unchanged && case.trouble.is_none());
    table(text, &told);
    if !quiet.is_empty() {
        let title = format!("{} unchanged", quiet.len());
        line(text, &format!("<details><summary>{title}</summary>"));
        table(text, &quiet);
        line(text, "</details>");
    }
    if !comparison.left_out.is_empty() && !comparison.baseline.runs.is_empty() {
        line(text, "Not compared:");
        let items: Vec<String> = comparison
            .left_out
            .iter()
            .map(|left| format!("- {}: {}", code(&left.case), escaped(&left.note)))
            .collect();
        line(text, &items.join("\n"));
    }
    if !comparison.is_empty() {
        line(
            text,
            &format!(
                "{}; {}",
                escaped(&suite(comparison)),
                escaped(&words::false_alarms(comparison))
            ),
        );
    }
}

fn table(text: &mut String, cases: &[&CaseComparison]) {
    if cases.is_empty() {
        return;
    }
    text.push_str("| verdict | change | case | metric | why |\n|---|---:|---|---|---|\n");
    for case in cases {
        let change = case
            .ratio
            .as_ref()
            .map_or("not compared".into(), words::change);
        let mark = case
            .mark
            .as_ref()
            .filter(|_| case.verdict == Verdict::Regressed);
        let why = match (&case.trouble, mark) {
            (Some(trouble), _) => trouble.to_string(),
            (None, Some(mark)) => format!("{mark}; {}", case.note),
            (None, None) => case.note.clone(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {change} | {} | {} | {} |",
            words::verdict(case),
            code(&case.case),
            code(&case.metric.name),
            escaped(&why)
        );
    }
    text.push('\n');
}

fn matrix(comparisons: &[Comparison]) -> String {
    let Some(first) = comparisons.first() else {
        return String::new();
    };
    let lettered: Vec<(char, &Comparison)> = ('B'..).zip(comparisons).collect();
    let mut text = format!("## Against {}\n\n", escaped(&first.baseline.label));
    for (letter, comparison) in &lettered {
        line(
            &mut text,
            &format!(
                "**{letter}** is {}. {}",
                escaped(&comparison.candidate.label),
                escaped(&comparison.differences.join(" "))
            ),
        );
        if let Some(shift) = words::common_shift(comparison) {
            line(&mut text, &format!("**{letter}: {}**", escaped(&shift)));
        }
    }
    let letters = lettered.iter().map(|(letter, _)| letter.to_string());
    row(&mut text, letters, "case", "metric");
    row(
        &mut text,
        lettered.iter().map(|_| "---:".into()),
        "---",
        "---",
    );
    for (case, metric) in names(&lettered) {
        let cells = lettered.iter();
        let cells = cells.map(|(_, comparison)| cell(comparison, &case, &metric));
        row(&mut text, cells, &code(&case), &code(&metric));
    }
    text.push_str(
        "\n`!` failed or wrong, `R` regressed, `I` improved, `=` unchanged, `?` inconclusive\n\n",
    );
    for (letter, comparison) in &lettered {
        line(
            &mut text,
            &format!(
                "**{letter}**: {}; {}",
                escaped(&suite(comparison)),
                escaped(&words::false_alarms(comparison))
            ),
        );
    }
    text.trim_end().to_owned()
}

/// A row of a matrix.
fn row(text: &mut String, cells: impl Iterator<Item = String>, case: &str, metric: &str) {
    let cells: Vec<String> = cells.collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "| {case} | {metric} | {} |", cells.join(" | "));
}

/// The suite in one line.
fn suite(comparison: &Comparison) -> String {
    let counts = words::counts(&comparison.suite.counts);
    format!("{}; {counts}", words::mean(comparison))
}

/// A paragraph.
fn line(text: &mut String, paragraph: &str) {
    text.push_str(paragraph);
    text.push_str("\n\n");
}

/// Text from outside, that Markdown and HTML leave as it is.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in plain(text).chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\\' | '|' | '*' | '_' | '[' | ']' | '#' | '!' | '~' => safe.extend(['\\', c]),
            _ => safe.push(c),
        }
    }
    safe
}

/// A name from outside in code; in a table a bar needs its backslash even there.
fn code(text: &str) -> String {
    let safe = plain(text).replace('`', "'").replace('|', "\\|");
    format!("`{safe}`")
}
