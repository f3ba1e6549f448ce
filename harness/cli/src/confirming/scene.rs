//! What the baseline ran and what tonight did: in which way a suspect can be run again, and why in no better one.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
use assay_protocol::Digest;
use assay_record::manifest::{BUILTIN_WORKER, Diff};
use assay_record::{Arm, ArmCommit, Case, Manifest, RunId, WorkloadRef};
use assay_stats::levels::FORECAST_FROM;
use assay_store::CaseRow;
use assay_verdicts::RunView;
use assay_verdicts::marks::Place;

use crate::engines::{self, Needs};
use crate::gating::Checked;
use crate::plan::{self, sources};
use crate::settings::Settings;
use crate::{checkout, workers};

/// Names of the two arms.
pub const ARMS: [&str; 2] = ["baseline", "candidate"];

/// How a suspect can be run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Beside what the baseline ran.
    Interleaved,
    /// What the baseline ran is not to be had.
    Alone(Why),
    /// What Assay starts is known to be the same on both sides.
    Same,
}

/// Why what the baseline ran is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its worker is not kept.
    NoWorker,
    /// What it ran lies in the suite's folder, and no commit has it.
    NoFiles,
    /// What it ran is no file that is pinned, and the project is another one, or in no repository.
    Unpinned,
}

impl Why {
    /// The reason in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoWorker => "its worker is not kept",
            Self::NoFiles => "its files are in no commit that is here",
            Self::Unpinned => {
                "it ran what no manifest pins, and the project is another one or in no repository"
            }
        }
    }
}

/// What both sides ran, and what of it is still to be had.
pub struct Scene<'a> {
    pub tonight: &'a RunView,
    /// The arm of each side, under its new name.
    pub arms: [Arm; 2],
    /// Whether the built-in worker, its variables and the command before it are the same.
    same_worker: bool,
    /// Whether the baseline's built-in worker is to be had.
    has_worker: bool,
    /// Whether what cases run beside the built-in worker is known to be the same.
    same_files: bool,
}

impl<'a> Scene<'a> {
    pub fn of(
        before: &RunView,
        tonight: &'a RunView,
        checked: &Checked,
        settings: &Settings,
    ) -> Result<Self> {
        let arm = |view: &RunView, name: &str, new: &str| -> Option<Arm> {
            let mut arms = view.manifest.arms.iter();
            let found = arms.find(|arm| arm.name == name)?.clone();
            Some(Arm {
                name: new.into(),
                ..found
            })
        };
        let (Some(mut old), Some(new)) = (
            arm(before, &checked.baseline.arm, ARMS[0]),
            arm(tonight, &checked.candidate.arm, ARMS[1]),
        ) else {
            bail!(
                "the baseline's run {} has no arm `{}` in its manifest",
                before.run.run,
                checked.baseline.arm
            );
        };
        let same_worker = old.worker == new.worker
            && old.prefix == new.prefix
            && old.env == new.env
            && (old.engine, &old.image) == (new.engine, &new.image);
        let same_files = before.manifest.sources == tonight.manifest.sources
            && old.commit == new.commit
            && is_same_project(before, tonight);
        if !same_files && old.commit.is_none() && old.image.is_none() {
            old.commit = commit_of(before, &tonight.manifest, settings)?;
        }
        let is_had = |worker: &Digest| -> Result<bool> {
            Ok(*worker == plan::own_digest()? || workers::find(settings, worker).is_some())
        };
        Ok(Self {
            has_worker: match &old.image {
                Some(_) => engines::of(&old, settings, &Needs::default()).is_ok(),
                None => is_had(&old.worker)?,
            },
            tonight,
            arms: [old, new],
            same_worker,
            same_files,
        })
    }

    pub fn way(&self, case: &str) -> Way {
        let case = self.case(case);
        let is_same = self.same_files || case.is_some_and(is_builtin);
        let names_folder =
            case.is_some_and(|case| sources::reads_folder(&self.tonight.manifest, case));
        match () {
            () if is_same && self.same_worker => Way::Same,
            () if !is_same && !names_folder => Way::Alone(Why::Unpinned),
            () if !is_same && self.arms[0].commit.is_none() => Way::Alone(Why::NoFiles),
            () if !self.has_worker => Way::Alone(Why::NoWorker),
            () => Way::Interleaved,
        }
    }

    /// Whether all that a case runs is in the built-in worker.
    pub fn is_builtin(&self, case: &str) -> bool {
        self.case(case).is_some_and(is_builtin)
    }

    fn case(&self, id: &str) -> Option<&Case> {
        self.tonight
            .manifest
            .cases
            .iter()
            .find(|case| case.id == id)
    }
}

fn is_builtin(case: &Case) -> bool {
    matches!(&case.workload, WorkloadRef::Worker { worker, .. } if worker == BUILTIN_WORKER)
}

/// Whether the project is known to be the same: then so are files in it that no manifest pins.
fn is_same_project(before: &RunView, tonight: &RunView) -> bool {
    let state = |view: &RunView| -> Option<(String, Option<Diff>)> {
        let state = view.manifest.project.git()?;
        Some((state.commit.clone()?, state.diff.clone()))
    };
    state(before).is_some_and(|was| Some(was) == state(tonight))
}

/// The baseline's commit as an arm's, where it is all that the baseline ran and still to be had.
fn commit_of(
    before: &RunView,
    tonight: &Manifest,
    settings: &Settings,
) -> Result<Option<ArmCommit>> {
    let state = before.manifest.project.git();
    let clean = state.filter(|state| state.diff.is_none());
    let Some(commit) = clean.and_then(|state| state.commit.as_ref()) else {
        return Ok(None);
    };
    let dir = plan::folder(&tonight.suite.source)?;
    if checkout::within(settings, Path::new(&dir))?.is_none() {
        return Ok(None);
    }
    // A commit that is no longer here is no error: there is a weaker way.
    Ok(checkout::resolve(settings, commit).ok())
}

/// The run that stands for the baseline: of the newest that every suspect was compared with, the oldest whose worker is kept, else the
/// newest. The oldest, since a change that came little by little is in the newest already; only those, since what a mark or another
/// definition leaves out of a baseline is another thing.
pub fn reference<'a>(
    checked: &'a Checked,
    suspects: &BTreeSet<(String, String)>,
    settings: &Settings,
) -> Option<&'a RunView> {
    let runs = &checked.baseline.runs;
    let of_suspects = suspects.iter();
    let used: Vec<BTreeSet<usize>> = of_suspects
        .map(|(case, metric)| compared_with(checked, case, metric))
        .collect();
    let is_common = |run: &usize| used.iter().all(|used| used.contains(run));
    let common: Vec<&RunView> = (0..runs.len())
        .filter(is_common)
        .map(|run| &runs[run])
        .collect();
    let newest = &common[common.len().saturating_sub(FORECAST_FROM)..];
    let is_kept = |view: &&&RunView| {
        let mut arms = view.manifest.arms.iter();
        arms.any(|arm| {
            let is_had = || arm.image.is_some() || workers::find(settings, &arm.worker).is_some();
            arm.name == checked.baseline.arm && is_had()
        })
    };
    let kept = newest.iter().find(is_kept).or(newest.last());
    // Where the suspects have no run in common, the newest is nearest to all of them.
    kept.copied().or(runs.last())
}

/// Which runs of the baseline a case is compared with: of tonight's definition, after an expected change, and after a known one.
fn compared_with(checked: &Checked, case: &str, metric: &str) -> BTreeSet<usize> {
    let tonight = checked.candidate.newest();
    let found = tonight.and_then(|view| Some((view, row(view, case, &checked.candidate.arm)?)));
    let Some((tonight, newest)) = found else {
        return BTreeSet::new();
    };
    let runs = &checked.baseline.runs;
    let is_alike = |run: &usize| {
        row(&runs[*run], case, &checked.baseline.arm).is_some_and(|row| {
            row.definition == newest.definition
                && row.timing == newest.timing
                && row.good_rounds().next().is_some()
        })
    };
    let mut used: Vec<usize> = (0..runs.len()).filter(is_alike).collect();
    if let Some(known) = &checked.options.known {
        let marks = known.marks.for_case(case, metric, known.today);
        let before = used.iter().map(|run| &runs[*run].run);
        let all = before.chain(&known.between).chain([&tonight.run]);
        let all: Vec<&dyn Place> = all.map(|row| row as &dyn Place).collect();
        let first = all.len() - marks.baseline(&all).len();
        used.drain(..first.min(used.len()));
    }
    if let Some(first) = begins_at(checked, case, metric) {
        used.retain(|run| *run >= first);
    }
    used.into_iter().collect()
}

/// Whether rounds beside a run of the baseline may speak of a case: not where a mark expects a change after it, or the case's own baseline
/// begins after it, for they show the change that came between.
pub fn may_speak(checked: &Checked, (case, metric): (&str, &str), reference: &RunId) -> bool {
    let mut runs = checked.baseline.runs.iter();
    let at = runs.position(|view| view.run.run == *reference);
    if at.is_some_and(|at| begins_at(checked, case, metric).is_some_and(|first| at < first)) {
        return false;
    }
    let Some(known) = &checked.options.known else {
        return true;
    };
    let marks = known.marks.for_case(case, metric, known.today);
    let own = checked.baseline.runs.iter().map(|view| &view.run);
    let tonight = checked.candidate.newest().map(|view| &view.run);
    let all = own.chain(&known.between).chain(tonight);
    let all: Vec<&dyn Place> = all.map(|row| row as &dyn Place).collect();
    marks
        .baseline(&all)
        .iter()
        .any(|run| run.run() == reference)
}

/// The place in the baseline of the first run that a case is compared with, where that is not the first of all.
fn begins_at(checked: &Checked, case: &str, metric: &str) -> Option<usize> {
    let mut cases = checked.gate.comparison.cases.iter();
    let found = cases.find(|own| own.case == case && own.metric.name == metric)?;
    let since = found.since.as_ref()?;
    let runs = &checked.baseline.runs;
    runs.iter().position(|view| view.run.run == *since)
}

fn row<'v>(view: &'v RunView, case: &str, arm: &str) -> Option<&'v CaseRow> {
    let mut rows = view.cases.iter().map(|row| &**row);
    rows.find(|row| row.case == case && row.arm == arm)
}

#[cfg(test)]
mod tests {
    use assay_store::Access;
    use assay_store::synthetic::Recipe;
    use assay_verdicts::Marks;

    use super::may_speak;
    use crate::database;
    use crate::gating::{Asking, Checked};
    use crate::settings::Settings;

    fn night(night: u32) -> Recipe {
        Recipe {
            night,
            seed: u64::from(night) + 1,
            rounds: 6,
            ..Recipe::default()
        }
    }

    /// The last of sixteen nights, by a mark of some kind on the sixth, of one case.
    fn checked(kind: &str) -> Checked {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::of(folder.path()).unwrap();
        let mut store = database::open(&settings, Access::Write).unwrap();
        for recipe in (0..16).map(night) {
            let path = folder.path().join(recipe.run().as_str());
            store.ingest_record(&recipe.record(), &path).unwrap();
        }
        let (case, at) = (&night(0).case_ids()[1], night(5).run());
        let mark = format!(
            "schema = 1\n[[mark]]\nkind = \"{kind}\"\ncase = \"{case}\"\nat = \"{at}\"\nreason = \"known\"\n"
        );
        let known = (Marks::parse(&mark).unwrap(), "2026-06-01".parse().unwrap());
        let asking = Asking::default();
        let found = asking.check_with((&store).into(), &night(15).run(), &settings, known);
        found.unwrap()
    }

    /// What an acknowledged change made of a baseline no mark says of the run before it: the case's own baseline does.
    #[test]
    fn rounds_beside_a_run_before_a_mark_do_not_speak_of_its_case() {
        let [other, marked] = [0, 1].map(|number| night(0).case_ids()[number].clone());
        for kind in ["acknowledge", "expected"] {
            let checked = checked(kind);
            let may = |case: &str, at| may_speak(&checked, (case, "time"), &night(at).run());
            for (at, is_after) in [(1, false), (4, false), (5, true), (12, true)] {
                assert_eq!(may(&marked, at), is_after, "{kind} {at}");
                assert!(may(&other, at), "{kind} {at}");
            }
        }
    }
}
