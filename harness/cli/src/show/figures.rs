//! What a case came to besides its time: other rates, its metrics in a few short lines, and the digest of its output.
//!
//! Figures of the whole case come first (a final loss, a perplexity, the most memory), then those of samples (a step's loss, the time of
//! a family of ops), in the order in which the worker declared them.

use assay_protocol::{MetricKind, Unit};
use assay_reports::format;
use assay_stats::Interval;
use assay_verdicts::{CaseSummary, MetricSummary};

use super::plain;

/// Columns of a line, its indentation among them.
const WIDTH: usize = 110;
const INDENT: &str = "      ";
/// Hexadecimal digits of a digest that are shown, as of a commit.
const DIGITS: usize = 12;

/// Lines of what a case has besides the metric that its own line shows with its first rate.
pub fn lines(case: &CaseSummary, shown: &MetricSummary) -> Vec<String> {
    let of = |kind: MetricKind| {
        let others = case.metrics.iter();
        let others = others.filter(move |one| one.metric != shown.metric);
        let others = others.filter(move |one| one.metric.kind == kind);
        others.filter_map(figure).collect::<Vec<_>>()
    };
    let metrics = [of(MetricKind::Case), of(MetricKind::Sample)].concat();
    if metrics.is_empty() {
        return vec![];
    }
    let mut figures: Vec<String> = shown.rates.iter().skip(1).map(rate).collect();
    figures.extend(metrics);
    figures.extend(output(case));
    wrapped(&figures)
}

fn rate((unit, rate): &(String, Interval)) -> String {
    format::interval(rate, &Unit::from(unit.as_str())).to_string()
}

fn figure(one: &MetricSummary) -> Option<String> {
    let (estimate, unit) = (one.estimate.as_ref()?, &one.metric.unit);
    // What is computed is the same in every round, and no mean of it.
    let first = one.rounds.first()?;
    let is_same = one.rounds.iter().all(|x| x.to_bits() == first.to_bits());
    let value = if is_same {
        format::value(*first, unit)
    } else {
        format::interval(estimate, unit)
    };
    Some(format!("{} {value}", plain(&one.metric.name)))
}

/// The digest of the output, where all rounds that count have the same.
fn output(case: &CaseSummary) -> Option<String> {
    let mut digests = case.case.good_rounds().map(|round| {
        let verification = round.verification.as_ref()?;
        verification.output.as_ref().map(ToString::to_string)
    });
    let first = digests.next()??;
    let is_same = digests.all(|digest| digest.as_ref() == Some(&first));
    let hex = first.rsplit(':').next().unwrap_or(&first);
    let short: String = hex.chars().take(DIGITS).collect();
    is_same.then(|| format!("output {short}"))
}

/// Texts side by side, as many on a line as fit.
fn wrapped(texts: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for text in texts {
        let fits = |line: &&mut String| line.chars().count() + 2 + text.chars().count() <= WIDTH;
        match lines.last_mut().filter(fits) {
            Some(line) => {
                line.push_str("  ");
                line.push_str(text);
            }
            None => lines.push(format!("{INDENT}{text}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{INDENT, WIDTH, wrapped};

    #[test]
    fn texts_share_lines_and_long_ones_have_their_own() {
        let texts = ["a".repeat(60), "b".repeat(42), "c".into(), "d".repeat(200)];
        let lines = wrapped(&texts);
        let lens: Vec<usize> = lines.iter().map(String::len).collect();
        assert_eq!(lens, [WIDTH, INDENT.len() + 1, INDENT.len() + 200]);
        assert!(wrapped(&[]).is_empty());
    }
}
