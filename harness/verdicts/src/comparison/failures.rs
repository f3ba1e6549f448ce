//! A case that gave no right result in some runs of a side of many: at how many, and whether in the last.
//!
//! One bad night of twenty is no reason to say nothing of the other nineteen. What failed when it was run last is another matter.

use std::collections::BTreeSet;

use assay_record::RunId;

use super::pairing::{Row, failure};
use super::{Basis, Loaded, Options, Trouble, commits};

/// What went wrong on a side.
pub(super) struct Failures<'a> {
    side: &'a str,
    /// `in 1 of 20 runs`, `at 1 of 20 commits`.
    how_many: String,
    /// Where it went wrong in the last run that has the case: that run, and why.
    last: Option<(&'a RunId, Trouble)>,
}

/// What went wrong with a case on a side; `None` where nothing did.
pub(super) fn of<'a>(
    side: &'a Loaded<'_>,
    rows: &[Row<'a>],
    basis: Basis,
    options: &Options,
) -> Option<Failures<'a>> {
    let failed = rows.iter().filter(|row| failure(row, options).is_some());
    let failed: Vec<&Row<'a>> = failed.collect();
    let last = rows.last()?;
    let at_last = failure(last, options).map(|trouble| (&last.view.run.run, trouble));
    let how_many = match basis {
        Basis::ByCommit { .. } => share(
            "at",
            commits_of(failed.iter().copied()),
            commits_of(rows),
            "commit",
        ),
        _ => share("in", failed.len(), rows.len(), "run"),
    };
    (!failed.is_empty()).then_some(Failures {
        side: &side.label,
        how_many,
        last: at_last,
    })
}

impl Failures<'_> {
    /// What is said beside the verdict on the rest.
    pub fn remark(&self) -> String {
        let last = match &self.last {
            Some((run, trouble)) => {
                format!(", the last of them in its last run there, {run} ({trouble})")
            }
            None => String::new(),
        };
        format!(
            "it gave no right result {} of {}{last}; the others are compared",
            self.how_many, self.side
        )
    }

    /// What is worse than any speed: that it went wrong when it was run last.
    pub fn trouble(&self) -> Option<Trouble> {
        let (run, trouble) = self.last.as_ref()?;
        Some(Trouble {
            kind: trouble.kind,
            why: format!(
                "{} (in run {run}, its last of {}; {} there)",
                trouble.why, self.side, self.how_many
            ),
        })
    }
}

fn commits_of<'a, 'r: 'a>(rows: impl IntoIterator<Item = &'a Row<'r>>) -> usize {
    let known = rows.into_iter().filter_map(|row| commits::of(row.view));
    known.collect::<BTreeSet<&str>>().len()
}

fn share(at: &str, failed: usize, all: usize, what: &str) -> String {
    let plural = if all == 1 { "" } else { "s" };
    format!("{at} {failed} of {all} {what}{plural}")
}
