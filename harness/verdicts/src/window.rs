//! Which runs a gate compares with: a window of earlier runs that are alike in all but what is measured.

use assay_record::{RunId, RunStatus};
use assay_stats::levels::MIN_BASELINE_RUNS;
use assay_store::{RunRow, Store, StoreError};

use crate::RunView;

/// Runs of the default window.
pub const DEFAULT_RUNS: usize = 20;

/// The newest runs, which the default window leaves out where there are enough: a change that was missed on its first
/// night is not in its own baseline on the next two.
const LEFT_OUT: usize = 2;

/// Name of the arm that histories are made of.
pub const MAIN_ARM: &str = "main";

/// Which earlier runs are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// The newest so many but two; the very newest where fewer than five would be left.
    Last(usize),
    /// Those with a tag.
    Tag(String),
    /// Those that started between two runs, ends included.
    Between(RunId, RunId),
    /// Just these.
    Runs(Vec<RunId>),
}

/// The runs of a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// The runs, oldest first.
    pub runs: Vec<RunView>,
    /// Eligible runs between the last of them and the run that is compared, oldest first: in no baseline, but changes happened there.
    pub later: Vec<RunRow>,
}

impl Window {
    /// The runs of the window that may be a baseline for `of`.
    ///
    /// Listed runs are taken as they are. Of the others only those are eligible that started before it, on the same machine, of the
    /// same suite, that came to their end, and that are nights of their own: no reproductions, and nothing that
    /// was run to explain another run.
    pub fn baseline(&self, store: &Store, of: &RunRow) -> Result<Baseline, StoreError> {
        let all = store.runs()?;
        let eligible: Vec<&RunRow> = all.iter().filter(|row| is_eligible(row, of)).collect();
        let chosen: Vec<&RunRow> = match self {
            Self::Last(most) => newest(&eligible, *most),
            Self::Tag(tag) => {
                let tagged = eligible.iter().filter(|row| row.tags.contains(tag));
                tagged.copied().collect()
            }
            Self::Between(first, last) => between(&all, &eligible, first, last),
            Self::Runs(listed) => all.iter().filter(|row| listed.contains(&row.run)).collect(),
        };
        let mut runs = Vec::new();
        for row in &chosen {
            let view = RunView::load(store, &row.run)?;
            // A run of arms with other names has nothing to compare with.
            if view.cases.iter().any(|case| case.arm == MAIN_ARM) {
                runs.push(view);
            }
        }
        let is_later = |row: &&RunRow| {
            let last = runs.last();
            last.is_some_and(|last| (row.started, &row.run) > (last.run.started, &last.run.run))
        };
        let later = eligible.into_iter().filter(is_later).cloned().collect();
        Ok(Baseline { runs, later })
    }
}

fn newest<'a>(eligible: &[&'a RunRow], most: usize) -> Vec<&'a RunRow> {
    let spare = match most {
        0..MIN_BASELINE_RUNS => 0,
        _ => eligible.len().saturating_sub(MIN_BASELINE_RUNS),
    };
    let end = eligible.len() - spare.min(LEFT_OUT);
    eligible[end.saturating_sub(most)..end].to_vec()
}

fn between<'a>(
    all: &[RunRow],
    eligible: &[&'a RunRow],
    first: &RunId,
    last: &RunId,
) -> Vec<&'a RunRow> {
    let started = |run: &RunId| {
        let row = all.iter().find(|row| row.run == *run);
        row.map(|row| row.started)
    };
    let (first, last) = (started(first), started(last));
    let is_meant = |row: &&&RunRow| first <= Some(row.started) && Some(row.started) <= last;
    eligible.iter().filter(is_meant).copied().collect()
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
