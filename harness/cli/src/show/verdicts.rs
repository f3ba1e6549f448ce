//! Comparisons and gates as text for a terminal of 100 columns.

use std::fmt::Write as _;

use assay_verdicts::comparison::LeftOut;
use assay_verdicts::gate::{Confirmation, Gate, State};
use assay_verdicts::{CaseComparison, Comparison, Verdict};

use super::{matrix, plain, words};

/// Columns of a terminal.
pub const WIDTH: usize = 100;
/// Columns of a verdict and of an effect.
const VERDICT: usize = 12;
const EFFECT: usize = 24;

/// One comparison in full, several as a matrix.
pub fn comparisons(comparisons: &[Comparison]) -> String {
    match comparisons {
        [one] => comparison(one),
        many => matrix::text(many),
    }
}

/// A comparison: what differs, the cases, the suite.
fn comparison(comparison: &Comparison) -> String {
    let mut text = Text::default();
    text.line(0, &format!("baseline   {}", side(comparison, true)));
    text.line(0, &format!("candidate  {}", side(comparison, false)));
    if let Some(shift) = words::common_shift(comparison) {
        text.sentence(0, &shift);
    }
    text.body(comparison, |_| true);
    text.0
}

/// A gate: what is said in the end first, then why.
pub fn gate(gate: &Gate) -> String {
    let mut text = Text::default();
    for line in first_lines(gate) {
        text.sentence(0, &line);
    }
    text.line(0, &format!("run        {}", gate.run));
    let label = &gate.comparison.baseline.label;
    text.line(0, &format!("baseline   {} ({label})", gate.window));
    // Of a suite that is checked each night, nobody reads what stayed as it was.
    text.body(&gate.comparison, |case| {
        case.verdict != Verdict::Unchanged || case.trouble.is_some()
    });
    if let Some(confirmation) = &gate.confirmation {
        text.confirmation(confirmation);
    }
    text.0
}

/// What comes before all else: a wrong output, then what most cases share, then the rest; what moved is not lost behind a regression.
pub fn first_lines(gate: &Gate) -> Vec<String> {
    let shift = words::common_shift(&gate.comparison);
    let mut lines: Vec<String> = shift.into_iter().chain([headline(gate)]).collect();
    if matches!(gate.state, State::Troubled | State::Impossible) {
        lines.reverse();
    }
    if gate.state != State::Moved && gate.has_moved() {
        lines.push(moved(gate));
    }
    lines
}

/// What is said in the end, in one line.
pub fn headline(gate: &Gate) -> String {
    let counts = &gate.comparison.suite.counts;
    let suspects = gate.suspects().len();
    let certainty = certainty(gate);
    match gate.state {
        State::Troubled => format!(
            "FAILED: {} failed or gave a wrong output, which is worse than slow{}",
            words::count(counts.troubled, "case"),
            if counts.regressed > 0 {
                format!("; besides, {} regressed", counts.regressed)
            } else {
                String::new()
            }
        ),
        State::Regressed => format!(
            "REGRESSED: {} of {}{}",
            counts.regressed,
            words::count(compared(gate), "comparison"),
            certainty
        ),
        State::Impossible => format!(
            "IMPOSSIBLE: {}{}",
            words::impossible(counts.impossible),
            if counts.regressed > 0 {
                format!("; besides, {} regressed", counts.regressed)
            } else {
                String::new()
            }
        ),
        State::NotMeasured => match gate.missing() {
            0 => "NOTHING MEASURED: every case is skipped, as it was in the baseline".into(),
            missing => format!(
                "NOTHING MEASURED: none of the {} of the baseline was",
                words::count(missing, "case")
            ),
        },
        State::Moved => moved(gate),
        State::NoBaseline => {
            "NO BASELINE YET: no earlier run has anything to compare with; this one is the first"
                .into()
        }
        State::Suspected => format!(
            "SUSPECTED: {} may have changed; `assay confirm` runs them again before anybody is told",
            words::count(suspects, "comparison")
        ),
        State::Improved => format!(
            "IMPROVED: {} of {}{}, and nothing regressed",
            counts.improved,
            words::count(compared(gate), "comparison"),
            if gate.confirmation.is_some() {
                certainty
            } else {
                ""
            }
        ),
        State::Inconclusive => format!(
            "NO ALERT: nothing is known to have changed; {} of {} cannot be told{}",
            counts.inconclusive,
            words::count(compared(gate), "comparison"),
            missing(gate)
        ),
        State::Known => format!(
            "KNOWN: {} regressed as marks say, and nothing else changed",
            words::count(counts.excused, "comparison")
        ),
        State::Unchanged => format!(
            "UNCHANGED: all {}",
            words::count(compared(gate), "comparison")
        ),
    }
}

/// Whether what is called was run again.
fn certainty(gate: &Gate) -> &'static str {
    match &gate.confirmation {
        None => "; `assay confirm` runs the suspects again",
        Some(_) if gate.awaiting().next().is_none() => ", confirmed",
        Some(_) => ", not all of them run again; `assay confirm` runs the suspects again",
    }
}

/// What moved without anything that was started being another, and what changed on the machine.
fn moved(gate: &Gate) -> String {
    let confirmation = gate.confirmation.as_ref();
    let moved = confirmation
        .into_iter()
        .flat_map(|confirmation| &confirmation.moved);
    let moved: Vec<&str> = moved.map(String::as_str).collect();
    let differences = &gate.comparison.differences;
    let changed = if differences.is_empty() {
        "nothing that Assay sees of the machine changed".to_owned()
    } else {
        differences.join(" ")
    };
    format!(
        "MOVED: {}, and what Assay starts is the same on both sides: it is the machine, or something that is not pinned ({}); {changed}",
        words::count(moved.len(), "case"),
        moved.join(", ")
    )
}

fn missing(gate: &Gate) -> String {
    match gate.missing() {
        0 => String::new(),
        missing => format!(
            ", and {} of the baseline not measured",
            words::count(missing, "case")
        ),
    }
}

fn compared(gate: &Gate) -> usize {
    gate.comparison.cases.len() - gate.comparison.suite.counts.without_result()
}

/// A side by what it is called, with its runs.
pub fn side(comparison: &Comparison, is_baseline: bool) -> String {
    let side = if is_baseline {
        &comparison.baseline
    } else {
        &comparison.candidate
    };
    match &side.runs[..] {
        [run] if side.label != run.as_str() => format!("{} (run {run})", plain(&side.label)),
        [first, .., last] if !side.label.contains(first.as_str()) => format!(
            "{} ({}, {first} to {last})",
            plain(&side.label),
            words::count(side.runs.len(), "run")
        ),
        _ => plain(&side.label),
    }
}

/// Lines of text, wrapped where they are sentences.
#[derive(Default)]
pub struct Text(pub String);

impl Text {
    /// A line as it is, after so many spaces.
    pub fn line(&mut self, indent: usize, line: &str) {
        let separator = if self.0.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = write!(
            self.0,
            "{separator}{}",
            format!("{:indent$}{line}", "").trim_end()
        );
    }

    /// A sentence, wrapped.
    pub fn sentence(&mut self, indent: usize, sentence: &str) {
        let mut line = String::new();
        // A number and its percent sign stay together.
        let bound = plain(sentence).replace(" %", "\u{a0}%");
        for word in bound.split([' ', '\n']).filter(|word| !word.is_empty()) {
            let is_full = indent + line.chars().count() + 1 + word.chars().count() > WIDTH;
            if is_full && !line.is_empty() {
                self.line(indent, &line.replace('\u{a0}', " "));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(indent, &line.replace('\u{a0}', " "));
    }

    /// Sentences under a title; nothing where there are none.
    pub fn list(&mut self, title: &str, sentences: &[String]) {
        if !sentences.is_empty() {
            self.line(0, title);
        }
        for sentence in sentences {
            self.sentence(2, sentence);
        }
    }

    /// What all comparisons say below their title: what differs first.
    fn body(&mut self, comparison: &Comparison, is_shown: impl Fn(&CaseComparison) -> bool) {
        self.list("what differs between the two:", &comparison.differences);
        comparison
            .caveats
            .iter()
            .for_each(|caveat| self.sentence(0, &format!("note: {caveat}")));
        let has_baseline = !comparison.baseline.runs.is_empty();
        if has_baseline {
            self.sentence(0, &words::basis(comparison));
        }
        self.cases(comparison, is_shown);
        if has_baseline {
            self.left_out(&comparison.left_out);
        }
        if !comparison.is_empty() {
            self.suite(comparison, 0);
        }
    }

    /// The suite as a whole.
    pub fn suite(&mut self, comparison: &Comparison, indent: usize) {
        self.sentence(indent, &words::mean(comparison));
        self.sentence(indent, &words::counts(&comparison.suite.counts));
        self.sentence(indent, &words::false_alarms(comparison));
    }

    fn cases(&mut self, comparison: &Comparison, is_shown: impl Fn(&CaseComparison) -> bool) {
        let mut has_example = false;
        for case in comparison.cases.iter().filter(|case| is_shown(case)) {
            self.case(case);
            let is_open = case.verdict == Verdict::Inconclusive && case.trouble.is_none();
            let is_usual = is_open && case.ratio.is_some() && !case.suspect;
            // What is the same for most is said once.
            let is_said = match case.verdict {
                Verdict::Unchanged => false,
                // What went wrong is said with the case.
                _ if case.trouble.is_some() => false,
                _ if is_usual => !has_example,
                _ => true,
            };
            has_example |= is_usual;
            if is_said {
                self.sentence(6, &case.note);
            }
        }
    }

    fn case(&mut self, case: &CaseComparison) {
        let verdict = words::verdict(case);
        let effect = case
            .ratio
            .as_ref()
            .map_or("not compared".into(), words::change);
        let name = plain(&words::name(case));
        let start = format!("{verdict:<VERDICT$}  {effect:<EFFECT$}  ");
        if 2 + start.chars().count() + name.chars().count() <= WIDTH {
            self.line(2, &format!("{start}{name}"));
        } else {
            self.line(2, &start);
            self.line(6, &name);
        }
        if let Some(trouble) = &case.trouble {
            self.sentence(6, &trouble.to_string());
        }
        if let Some(mark) = case
            .mark
            .as_ref()
            .filter(|_| case.verdict == Verdict::Regressed)
        {
            self.sentence(6, &mark.to_string());
        }
    }

    fn left_out(&mut self, left_out: &[LeftOut]) {
        if !left_out.is_empty() {
            self.line(0, "not compared:");
        }
        for left in left_out {
            self.sentence(2, &format!("{}: {}", left.case, left.note));
        }
    }

    fn confirmation(&mut self, confirmation: &Confirmation) {
        let reference = confirmation.reference.as_ref();
        let beside = reference.map_or(String::new(), |of| format!(" in run {}", words::beside(of)));
        let interleaved = format!("interleaved with what the baseline ran{beside}");
        for (comparison, how) in [
            (&confirmation.interleaved, &*interleaved),
            (&confirmation.alone, "alone"),
        ] {
            let Some(comparison) = comparison else {
                continue;
            };
            let run = comparison.candidate.runs.last();
            let run = run.map_or(String::new(), |run| format!(" in run {run}"));
            self.sentence(0, &format!("suspects were run again{run}, {how}:"));
            comparison.cases.iter().for_each(|case| self.case(case));
        }
        for note in &confirmation.notes {
            self.sentence(0, &format!("note: {note}"));
        }
    }
}
