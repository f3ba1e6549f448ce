//! Which runs a gate compares with: a window of earlier runs that are alike in all but what is measured.

use std::collections::BTreeSet;

use assay_record::{RunId, RunStatus};
use assay_stats::levels::MIN_BASELINE_RUNS;
use assay_store::{RunRow, Store, StoreError};

use crate::RunView;

/// Runs of the default window.
pub const DEFAULT_RUNS: usize = 20;

/// The newest runs, which the default window leaves out where there are enough: a change that was missed on its first
/// night is not in its own baseline on the next two.
const LEFT_OUT: usize = 2;

/// Name of the arm that runs are judged by, where they have several.
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
    /// Listed runs are taken as they are, if they have the arm [`MAIN_ARM`] or just one. Of the others only those are eligible that started before it, on
    /// the same machine, of the same suite, that came to their end, that are nights of their own (no reproductions, nothing that
    /// was run to explain another run, no arms with other names), and that have at least half of its cases.
    pub fn baseline(&self, store: &Store, of: &RunRow) -> Result<Baseline, StoreError> {
        let all = store.runs()?;
        let asked = Asked::of(store, of)?;
        let earlier = all.iter().filter(|row| is_eligible(row, of));
        let chosen: Vec<&RunRow> = match self {
            Self::Last(most) => newest(
                asked.kept(earlier.rev(), most.saturating_add(LEFT_OUT))?,
                *most,
            ),
            Self::Tag(tag) => asked.kept(earlier.filter(|row| row.tags.contains(tag)), MANY)?,
            Self::Between(first, last) => asked.kept(between(&all, earlier, first, last), MANY)?,
            Self::Runs(listed) => {
                let meant = all.iter().filter(|row| listed.contains(&row.run));
                Asked::anything(store).kept(meant, MANY)?
            }
        };
        let last = chosen.last().copied();
        let is_later = |row: &&RunRow| {
            last.is_some_and(|last| (row.started, &row.run) > (last.started, &last.run))
        };
        let later = all
            .iter()
            .filter(|row| is_eligible(row, of))
            .filter(is_later);
        Ok(Baseline {
            later: asked.kept(later, MANY)?.into_iter().cloned().collect(),
            runs: RunView::load_all(store, chosen.into_iter().cloned().collect())?,
        })
    }
}

/// Runs whose cases are read at once.
const PORTION: usize = 64;

/// No limit.
const MANY: usize = usize::MAX;

/// What a night must have to be in a baseline, as its manifest says.
struct Asked<'a> {
    store: &'a Store,
    /// The arm that it must be judged by; `None` for any.
    arm: Option<String>,
    /// Cases of which it must have half.
    cases: BTreeSet<String>,
}

impl<'a> Asked<'a> {
    fn of(store: &'a Store, of: &RunRow) -> Result<Self, StoreError> {
        let names = store.case_names(&of.run)?;
        Ok(Self {
            store,
            arm: arm_of(&names).map(Into::into),
            cases: names.into_iter().map(|(case, _)| case).collect(),
        })
    }

    fn anything(store: &'a Store) -> Self {
        Self {
            store,
            arm: None,
            cases: BTreeSet::new(),
        }
    }

    /// The first so many that have it.
    fn kept<'r>(
        &self,
        rows: impl Iterator<Item = &'r RunRow>,
        most: usize,
    ) -> Result<Vec<&'r RunRow>, StoreError> {
        let mut kept = Vec::new();
        let mut rows = rows.fuse();
        while kept.len() < most {
            let portion = (most - kept.len()).min(PORTION);
            let next: Vec<&RunRow> = rows.by_ref().take(portion).collect();
            if next.is_empty() {
                break;
            }
            let runs: Vec<RunId> = next.iter().map(|row| row.run.clone()).collect();
            let names = self.store.case_names_of(&runs)?;
            let met = next.into_iter().zip(names);
            kept.extend(
                met.filter(|(_, names)| self.is_met(names))
                    .map(|(row, _)| row),
            );
        }
        Ok(kept)
    }

    fn is_met(&self, names: &[(String, String)]) -> bool {
        let Some(arm) = arm_of(names) else {
            return false;
        };
        let own = names.iter().filter(|(_, of)| of == arm);
        let shared = own.filter(|(case, _)| self.cases.contains(case)).count();
        self.arm.as_deref().is_none_or(|asked| asked == arm) && 2 * shared >= self.cases.len()
    }
}

/// The arm that a run is judged by: [`MAIN_ARM`], or its only one, as imported runs have it.
fn arm_of(names: &[(String, String)]) -> Option<&str> {
    judged_arm(names.iter().map(|(_, arm)| arm.as_str()))
}

/// The arm by which a run of these is judged: [`MAIN_ARM`], or the only one; `None` where there are several others.
pub fn judged_arm<'a>(mut arms: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if arms.clone().any(|arm| arm == MAIN_ARM) {
        return Some(MAIN_ARM);
    }
    let only = arms.next()?;
    arms.all(|arm| arm == only).then_some(only)
}

/// The newest so many nights of those that are wanted, newest first: runs that came to their end, of their own, with the arm [`MAIN_ARM`] or just one.
pub fn newest_nights(
    store: &Store,
    most: usize,
    is_wanted: impl Fn(&RunRow) -> bool,
) -> Result<Vec<RunRow>, StoreError> {
    let all = store.runs()?;
    let nights = all
        .iter()
        .rev()
        .filter(|row| is_night(row) && is_wanted(row));
    let kept = Asked::anything(store).kept(nights, most)?;
    Ok(kept.into_iter().cloned().collect())
}

/// Of eligible runs, newest first, the window; oldest first.
fn newest(mut eligible: Vec<&RunRow>, most: usize) -> Vec<&RunRow> {
    let spare = match most {
        0..MIN_BASELINE_RUNS => 0,
        _ => eligible.len().saturating_sub(MIN_BASELINE_RUNS),
    };
    eligible.drain(..spare.min(LEFT_OUT));
    eligible.truncate(most);
    eligible.reverse();
    eligible
}

fn between<'a>(
    all: &[RunRow],
    eligible: impl Iterator<Item = &'a RunRow>,
    first: &RunId,
    last: &RunId,
) -> impl Iterator<Item = &'a RunRow> {
    let started = |run: &RunId| {
        let row = all.iter().find(|row| row.run == *run);
        row.map(|row| row.started)
    };
    let (first, last) = (started(first), started(last));
    eligible.filter(move |row| first <= Some(row.started) && Some(row.started) <= last)
}

/// Whether a run is a night of its own that came to its end, as far as its row says: see [`newest_nights`] for its arms.
pub fn is_night(row: &RunRow) -> bool {
    row.status == RunStatus::Complete && row.reproduces.is_none() && row.purpose.is_measurement()
}

fn is_eligible(row: &RunRow, of: &RunRow) -> bool {
    is_night(row)
        && row.machine == of.machine
        && row.suite == of.suite
        && (row.started, &row.run) < (of.started, &of.run)
}
