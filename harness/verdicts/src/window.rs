//! Which runs a gate compares with: a window of earlier runs that are alike in all but what is measured.

use assay_record::{RunId, RunStatus};
use assay_store::{RunRow, Store, StoreError};

use crate::RunView;

/// Runs of the default window.
pub const DEFAULT_RUNS: usize = 20;

/// Name of the arm that histories are made of.
pub const MAIN_ARM: &str = "main";

/// Which earlier runs are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// The newest so many.
    Last(usize),
    /// Those with a tag.
    Tag(String),
    /// Those that started between two runs, ends included.
    Between(RunId, RunId),
    /// Just these.
    Runs(Vec<RunId>),
}

impl Window {
    /// The runs of the window that may be a baseline for `of`, oldest first.
    ///
    /// Listed runs are taken as they are. Of the others only those are eligible that started before it, on the same machine, of the
    /// same suite, that came to their end, and that are nights of their own: no reproductions, and nothing that
    /// was run to explain another run.
    pub fn runs(&self, store: &Store, of: &RunRow) -> Result<Vec<RunView>, StoreError> {
        if let Self::Runs(listed) = self {
            let mut views = views(store, listed)?;
            views.sort_by(|a, b| a.run.started.cmp(&b.run.started));
            return Ok(views);
        }
        let all = store.runs()?;
        let started = |run: &RunId| {
            let row = all.iter().find(|row| row.run == *run);
            row.map(|row| row.started)
        };
        let is_meant = |row: &RunRow| match self {
            Self::Tag(tag) => row.tags.contains(tag),
            Self::Between(first, last) => {
                started(first) <= Some(row.started) && Some(row.started) <= started(last)
            }
            Self::Last(_) | Self::Runs(_) => true,
        };
        let most = match self {
            Self::Last(most) => *most,
            _ => usize::MAX,
        };
        let mut found = Vec::new();
        for row in all
            .iter()
            .rev()
            .filter(|row| is_eligible(row, of) && is_meant(row))
        {
            if found.len() == most {
                break;
            }
            let view = RunView::load(store, &row.run)?;
            if view.cases.iter().any(|case| case.arm == MAIN_ARM) {
                found.push(view);
            }
        }
        found.reverse();
        Ok(found)
    }
}

/// Whether a run is a night of its own, that came to its end: such runs are gated, and are baselines.
pub fn is_night(row: &RunRow) -> bool {
    row.status == RunStatus::Complete && row.reproduces.is_none() && row.purpose.is_measurement()
}

fn is_eligible(row: &RunRow, of: &RunRow) -> bool {
    is_night(row)
        && row.machine == of.machine
        && row.suite == of.suite
        && (row.started, &row.run) < (of.started, &of.run)
}

fn views(store: &Store, runs: &[RunId]) -> Result<Vec<RunView>, StoreError> {
    runs.iter().map(|run| RunView::load(store, run)).collect()
}
