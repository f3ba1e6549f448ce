//! Suspects, run again before anybody is told: interleaved with what the baseline ran, where that is still to be had.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use assay_protocol::Digest;
use assay_record::manifest::BUILTIN_WORKER;
use assay_record::{Arm, ArmCommit, Case, Manifest, ManifestFile, Purpose, RunStatus, WorkloadRef};
use assay_stats::gate::CONFIRMATION_PAIRS;
use assay_stats::levels::FORECAST_FROM;
use assay_store::RoundRow;
use assay_verdicts::comparison::{Options, Question};
use assay_verdicts::gate::Confirmation;
use assay_verdicts::{Comparison, Gate, RunView};

use crate::execute::{self, Executed};
use crate::gating::{Asking, Checked};
use crate::interrupt::Interrupt;
use crate::plan::{self, sources};
use crate::settings::Settings;
use crate::sides::{self, Side};
use crate::{checkout, database, workers};

/// Names of the two arms.
const ARMS: [&str; 2] = ["baseline", "candidate"];
/// How many cases a sentence lists.
const LISTED: usize = 3;

/// How a suspect can be run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Beside what the baseline ran.
    Interleaved,
    /// What the baseline ran is not to be had.
    Alone,
    /// What Assay runs is the same on both sides.
    Same,
}

/// Runs the suspects of a check again and says what is left of them; `None` where that was interrupted.
pub fn confirm(
    checked: Checked,
    asking: &Asking,
    running: &execute::Options,
    settings: &Settings,
    interrupt: &Interrupt,
) -> Result<Option<Checked>> {
    let suspects = checked.gate.suspects();
    let (Some(before), Some(tonight)) = (
        reference(&checked.baseline, settings),
        checked.candidate.newest(),
    ) else {
        return Ok(Some(checked));
    };
    if suspects.is_empty() {
        return Ok(Some(checked));
    }
    is_same_machine(tonight, settings)?;
    let scene = Scene::of(before, tonight, &checked, settings)?;
    let ways: BTreeMap<&str, Way> = suspects
        .iter()
        .map(|(case, _)| (case.as_str(), scene.way(case)))
        .collect();
    let of_way = |way: Way| -> BTreeSet<(String, String)> {
        let is_of = |(case, _): &&(String, String)| ways[case.as_str()] == way;
        suspects.iter().filter(is_of).cloned().collect()
    };
    let again = Again {
        scene: &scene,
        checked: &checked,
        asking,
        running,
        settings,
        interrupt,
    };
    let mut records = Vec::new();
    let mut confirmation = Confirmation {
        same: cases(&of_way(Way::Same)),
        ..Confirmation::default()
    };
    let interleaved = of_way(Way::Interleaved);
    if !interleaved.is_empty() {
        let Some((found, record)) = again.interleaved(interleaved)? else {
            return Ok(None);
        };
        confirmation.interleaved = Some(found);
        records.push(record);
    }
    let alone = of_way(Way::Alone);
    if !alone.is_empty() {
        confirmation.notes.push(alone_note(&cases(&alone)));
        let Some((found, record)) = again.alone(alone)? else {
            return Ok(None);
        };
        confirmation.alone = Some(found);
        records.push(record);
    }
    if !confirmation.same.is_empty() {
        confirmation
            .notes
            .push(same_note(&confirmation.same, &checked.gate));
    }
    Ok(Some(Checked {
        gate: checked.gate.confirmed(confirmation),
        records,
        ..checked
    }))
}

/// The run that stands for the baseline: the oldest of those that tonight was forecast from whose worker is kept, else the newest of all.
/// The oldest, since a change that came little by little is in the newest already.
fn reference<'a>(baseline: &'a Side, settings: &Settings) -> Option<&'a RunView> {
    let skipped = baseline.runs.len().saturating_sub(FORECAST_FROM);
    let is_kept = |view: &&RunView| {
        let mut arms = view.manifest.arms.iter();
        arms.any(|arm| arm.name == baseline.arm && workers::find(settings, &arm.worker).is_some())
    };
    let kept = baseline.runs[skipped..].iter().find(is_kept);
    kept.or(baseline.newest())
}

fn cases(suspects: &BTreeSet<(String, String)>) -> BTreeSet<String> {
    suspects.iter().map(|(case, _)| case.clone()).collect()
}

/// On another machine it would be another measurement.
fn is_same_machine(tonight: &RunView, settings: &Settings) -> Result<()> {
    let here = execute::identity(&assay_machine::fingerprint(), settings)?.name;
    ensure!(
        here == tonight.run.machine,
        "run {} was measured on {}, and this is {here}: its suspects can only be confirmed there",
        tonight.run.run,
        tonight.run.machine
    );
    Ok(())
}

/// What both sides ran, and what of it is still to be had.
struct Scene<'a> {
    tonight: &'a RunView,
    /// The arm of each side, under its new name.
    arms: [Arm; 2],
    /// Whether the built-in worker, its variables and the command before it are the same.
    same_worker: bool,
    /// Whether the baseline's built-in worker is to be had.
    has_worker: bool,
    /// Whether the files that cases read are the same.
    same_files: bool,
}

impl<'a> Scene<'a> {
    fn of(
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
            anyhow::bail!(
                "the baseline's run {} has no arm `{}` in its manifest",
                before.run.run,
                checked.baseline.arm
            );
        };
        let same_worker =
            old.worker == new.worker && old.prefix == new.prefix && old.env == new.env;
        let same_files = before.manifest.sources == tonight.manifest.sources
            && (!sources::names_folder(&tonight.manifest) || !other_commit(before, tonight));
        if !same_files && old.commit.is_none() {
            old.commit = commit_of(before, &tonight.manifest, settings)?;
        }
        let is_had = |worker: &Digest| -> Result<bool> {
            Ok(*worker == plan::own_digest()? || workers::find(settings, worker).is_some())
        };
        Ok(Self {
            has_worker: is_had(&old.worker)?,
            tonight,
            arms: [old, new],
            same_worker,
            same_files,
        })
    }

    fn way(&self, case: &str) -> Way {
        let mut cases = self.tonight.manifest.cases.iter();
        let reads_files = cases
            .find(|have| have.id == case)
            .is_some_and(|case| !is_builtin(case));
        let has_files = self.same_files || self.arms[0].commit.is_some();
        match reads_files {
            _ if self.same_worker && (!reads_files || self.same_files) => Way::Same,
            true if !has_files => Way::Alone,
            _ if !self.has_worker => Way::Alone,
            _ => Way::Interleaved,
        }
    }
}

/// Whether all that a case runs is in the built-in worker.
fn is_builtin(case: &Case) -> bool {
    matches!(&case.workload, WorkloadRef::Worker { worker, .. } if worker == BUILTIN_WORKER)
}

/// Whether the project was another one: then so may be files that no manifest pins.
fn other_commit(before: &RunView, tonight: &RunView) -> bool {
    let state = |view: &RunView| {
        let git = view.manifest.project.git();
        git.map(|state| (state.commit.clone(), state.diff.clone()))
    };
    state(before) != state(tonight)
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

/// Suspects in their new rounds, and the record of these.
type Found = (Comparison, PathBuf);

/// All that running suspects again takes.
struct Again<'a> {
    scene: &'a Scene<'a>,
    checked: &'a Checked,
    asking: &'a Asking,
    running: &'a execute::Options,
    settings: &'a Settings,
    interrupt: &'a Interrupt,
}

impl Again<'_> {
    /// Both arms in one run; `None` where it was interrupted.
    fn interleaved(&self, suspects: BTreeSet<(String, String)>) -> Result<Option<Found>> {
        let mut manifest = self.manifest(&suspects);
        manifest.arms = self.scene.arms.to_vec();
        let Some((view, record)) = self.run(&manifest)? else {
            return Ok(None);
        };
        let [baseline, candidate] = ARMS.map(|arm| Side {
            label: arm.into(),
            arm: arm.into(),
            runs: vec![view.clone()],
        });
        let found = self.compare(&baseline, &candidate, suspects)?;
        Ok(Some((found, record)))
    }

    /// The suspects alone: their new rounds are added to tonight's, and the whole suite is judged again. It is still one night, and
    /// counts as one: that cannot cancel as it does for interleaved arms.
    fn alone(&self, suspects: BTreeSet<(String, String)>) -> Result<Option<Found>> {
        let Some((view, record)) = self.run(&self.manifest(&suspects))? else {
            return Ok(None);
        };
        let candidate = Side {
            label: self.checked.candidate.label.clone(),
            arm: self.checked.candidate.arm.clone(),
            runs: vec![longer(self.scene.tonight, &view)],
        };
        let store = database::open(self.settings, assay_store::Access::Read)?;
        let options = self.checked.options.clone();
        let mut found = sides::compare(&store, &self.checked.baseline, &candidate, options)?;
        found
            .cases
            .retain(|case| suspects.contains(&(case.case.clone(), case.metric.name.clone())));
        found.candidate.runs = vec![view.run.run];
        Ok(Some((found, record)))
    }

    /// Tonight's manifest with the suspects alone, and rounds enough.
    fn manifest(&self, suspects: &BTreeSet<(String, String)>) -> Manifest {
        let kept = cases(suspects);
        let mut manifest = self.scene.tonight.manifest.clone();
        manifest.schema = assay_record::manifest::MANIFEST_SCHEMA;
        manifest.cases.retain(|case| kept.contains(&case.id));
        for case in &mut manifest.cases {
            case.policy.rounds = CONFIRMATION_PAIRS;
            case.policy.max_rounds = CONFIRMATION_PAIRS;
        }
        manifest
    }

    fn run(&self, manifest: &Manifest) -> Result<Option<(RunView, PathBuf)>> {
        crate::note!(
            "{} of tonight's cases are run again before anybody is told",
            manifest.cases.len()
        );
        let options = execute::Options {
            purpose: Purpose::Confirmation {
                of: self.scene.tonight.run.run.clone(),
            },
            ..self.running.clone()
        };
        let file = ManifestFile::seal(manifest)?;
        let Executed {
            run,
            record,
            status,
        } = execute::execute(&file, self.settings, &options, self.interrupt)?;
        let store = database::ingest_record(self.settings, &record)?;
        if status == RunStatus::Interrupted {
            return Ok(None);
        }
        Ok(Some((RunView::load(&store, &run)?, record)))
    }

    fn compare(
        &self,
        baseline: &Side,
        candidate: &Side,
        suspects: BTreeSet<(String, String)>,
    ) -> Result<Comparison> {
        let store = database::open(self.settings, assay_store::Access::Read)?;
        let options = Options {
            only: Some(suspects),
            ..self.asking.options(Question::Confirmation)
        };
        sides::compare(&store, baseline, candidate, options)
    }
}

/// A run with the rounds of another after its own.
fn longer(run: &RunView, more: &RunView) -> RunView {
    let mut whole = run.clone();
    for case in &mut whole.cases {
        let mut found = more.cases.iter();
        let Some(added) = found.find(|added| added.case == case.case && added.arm == case.arm)
        else {
            continue;
        };
        let next = case
            .rounds
            .iter()
            .map(|row| row.round + 1)
            .max()
            .unwrap_or(0);
        case.rounds.extend(added.rounds.iter().map(|row| RoundRow {
            round: row.round + next,
            ..row.clone()
        }));
    }
    whole
}

fn alone_note(cases: &BTreeSet<String>) -> String {
    format!(
        "{} run alone, since what the baseline ran is not to be had (its worker is not kept, or its files are in no commit): with their new rounds tonight is judged again, which is weaker: a night cannot cancel itself",
        listed(cases)
    )
}

/// Not the worker: so what did change is named instead.
fn same_note(cases: &BTreeSet<String>, gate: &Gate) -> String {
    let machine = &gate.comparison.differences;
    let changed = if machine.is_empty() {
        "nothing that Assay sees of the machine changed either".to_owned()
    } else {
        format!("what changed is the machine: {}", machine.join(" "))
    };
    format!(
        "{}: Assay runs the same on both sides, so that it cannot be the code; {changed}",
        listed(cases)
    )
}

fn listed(cases: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = cases.iter().take(LISTED).map(String::as_str).collect();
    match cases.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
