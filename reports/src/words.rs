//! Effects, verdicts and sides of comparisons in words, for terminal, Markdown and pages alike.

use assay_verdicts::comparison::Counts;
use assay_verdicts::gate::Reference;
use assay_verdicts::{Basis, CaseComparison, Comparison, TroubleKind, Verdict, signed};
pub use assay_verdicts::{change_parts as changes, change_words as change};

/// A ratio as a change without its interval: `+10.2 %`.
pub fn percent(ratio: f64) -> String {
    format!("{} %", signed(ratio, 1))
}

/// A share without a sign: `3 %`, `2.5 %`.
pub fn share(share: f64) -> String {
    let text = format!("{:.1}", 100.0 * share);
    format!("{} %", text.trim_end_matches(".0"))
}

/// What is said of a case in one word; what asks for action, in capitals.
pub fn verdict(case: &CaseComparison) -> &'static str {
    let kind = case.trouble.as_ref().map(|trouble| trouble.kind);
    match (kind, case.verdict) {
        (Some(TroubleKind::Failed), _) => "FAILED",
        (Some(TroubleKind::Wrong), _) => "WRONG",
        (Some(TroubleKind::Impossible), _) => "IMPOSSIBLE",
        (None, Verdict::Regressed) if case.mark.is_some() => "regressed",
        (None, Verdict::Regressed) => "REGRESSED",
        (None, Verdict::Improved) => "improved",
        (None, Verdict::Unchanged) => "unchanged",
        (None, Verdict::Inconclusive) if case.still.is_some() => "still regressed",
        (None, Verdict::Inconclusive) => "inconclusive",
    }
}

/// Case and metric; the time, which every case has, goes without saying.
pub fn name(case: &CaseComparison) -> String {
    if case.metric.name == assay_protocol::Metric::TIME {
        case.case.clone()
    } else {
        format!("{} {}", case.case, case.metric.name)
    }
}

/// What a comparison rests on.
pub fn basis(comparison: &Comparison) -> String {
    let shorter = comparison.cases.iter();
    let shorter = shorter.filter(|case| case.baseline_runs.is_some()).count();
    let basis = of_basis(comparison.basis);
    match shorter {
        0 => basis,
        1 => format!("{basis}; 1 comparison has fewer of the baseline, as it says"),
        more => format!("{basis}; {more} comparisons have fewer of the baseline, as they say"),
    }
}

/// What a metric of a case rests on.
pub fn basis_of(comparison: &Comparison, case: Option<&CaseComparison>) -> String {
    of_basis(case.map_or(comparison.basis, |case| comparison.basis_of(case)))
}

fn of_basis(basis: Basis) -> String {
    match basis {
        Basis::Interleaved => "interleaved: adjacent rounds of two arms of one run".into(),
        Basis::ByCommit { commits } => format!(
            "paired by commit: {} that both sides measured; of each the ratio, and over them their geometric mean (a fifth trimmed at each end from six on) with Student's interval for pairs, which takes commits to be independent",
            count(commits, "commit")
        ),
        Basis::AcrossRuns {
            baseline_runs,
            candidate_runs,
        } => format!(
            "across runs: {} in the baseline and {} in the candidate, by how much runs differ among themselves",
            count(baseline_runs, "run"),
            count(candidate_runs, "run")
        ),
        Basis::FewRuns {
            baseline_runs: 1,
            candidate_runs: 1,
        } => "one run per side: how much runs differ is not seen here".into(),
        Basis::FewRuns {
            baseline_runs,
            candidate_runs,
        } => format!(
            "{} in the baseline and {} in the candidate: too few to see how much runs differ",
            count(baseline_runs, "run"),
            count(candidate_runs, "run")
        ),
    }
}

/// A run that others were run beside: `20260916T021500Z-1c2d3e4f of commit 9bc0ee0f60`.
pub fn beside(reference: &Reference) -> String {
    let commit = reference.commit.as_deref().unwrap_or_default();
    let commit: String = commit.chars().take(10).collect();
    let changes = if reference.dirty {
        " with uncommitted changes"
    } else {
        ""
    };
    match &commit[..] {
        "" => reference.run.to_string(),
        commit => format!("{} of commit {commit}{changes}", reference.run),
    }
}

/// The shift that most cases share, if there is one.
pub fn common_shift(comparison: &Comparison) -> Option<String> {
    let shift = comparison.suite.common_shift.as_ref()?;
    let is_relative = comparison.cases.iter().any(|case| case.relative.is_some());
    let then = if is_relative {
        "one event of the machine, or of what all cases share; cases are judged relative to it"
    } else {
        "one event, not so many"
    };
    Some(format!(
        "the suite moved together, {} of {} cases, by {}: {then}",
        shift.moved,
        shift.cases,
        change(&shift.ratio)
    ))
}

/// The suite as a whole: its geometric mean.
pub fn mean(comparison: &Comparison) -> String {
    let mean = comparison.suite.geometric_mean.as_ref();
    mean.map_or("no geometric mean of times".into(), |mean| {
        format!(
            "geometric mean of times {} over {}",
            change(&mean.ratio),
            count(mean.cases, "case")
        )
    })
}

/// How many got each verdict.
pub fn counts(counts: &Counts) -> String {
    let troubled = match counts.troubled {
        0 => String::new(),
        troubled => format!("{troubled} failed or wrong, "),
    };
    let impossible = match counts.impossible {
        0 => String::new(),
        impossible => format!("{impossible} impossible, "),
    };
    let excused = match counts.excused {
        0 => String::new(),
        excused => format!("{excused} regressed as is known, "),
    };
    format!(
        "{troubled}{impossible}{} regressed, {excused}{} improved, {} unchanged, {} inconclusive",
        counts.regressed, counts.improved, counts.unchanged, counts.inconclusive
    )
}

/// How far the verdicts can be trusted as a whole.
pub fn false_alarms(comparison: &Comparison) -> String {
    if !comparison.has_verdicts() {
        return "nothing was compared, so no false alarm is expected".into();
    }
    let margin = comparison.rules.margin;
    let is_wider = comparison.cases.iter().any(|case| case.margin > margin);
    let wider = if is_wider {
        ", or what calibration found possible"
    } else {
        ""
    };
    format!(
        "at most {:.2} false alarms are expected among these verdicts; equal means within {}{wider}",
        comparison.suite.expected_false_alarms,
        share(margin)
    )
}

/// `1 case is faster than the machine can be: something was not computed`.
pub fn impossible(cases: usize) -> String {
    format!(
        "{} {} faster than the machine can be: something was not computed",
        count(cases, "case"),
        if cases == 1 { "is" } else { "are" }
    )
}

/// `today`, `1 day ago`, `23 days ago`: before the newest run of all.
pub fn days_ago(days: i64) -> String {
    match usize::try_from(days) {
        Ok(0) | Err(_) => "today".into(),
        Ok(days) => format!("{} ago", count(days, "day")),
    }
}

/// `1 run`, `3 runs`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use assay_stats::Interval;

    use super::change;

    fn words(low: f64, estimate: f64, high: f64) -> String {
        change(&Interval {
            estimate,
            low,
            high,
            confidence: 0.95,
        })
    }

    /// Both ends of `+33.1 to +33.1 %` are the same number, and the interval has a length.
    #[test]
    fn a_short_interval_has_the_decimals_to_show_it() {
        assert_eq!(words(1.081, 1.102, 1.124), "+10.2 % [+8.1, +12.4]");
        assert_eq!(words(1.3306, 1.3312, 1.3314), "+33.12 % [+33.06, +33.14]");
        assert_eq!(
            words(1.331_09, 1.331_12, 1.331_14),
            "+33.112 % [+33.109, +33.114]"
        );
        assert_eq!(words(0.9999, 0.9999, 0.9999), "+0.0 % [+0.0, +0.0]");
    }
}
