//! Suspects, run again before anybody is told: interleaved with what the baseline ran, where that is still to be had.

mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, ensure};
use assay_record::{Manifest, ManifestFile, Purpose, RunId, RunStatus};
use assay_stats::gate::CONFIRMATION_PAIRS;
use assay_store::{RoundRow, RunRow, Store};
use assay_verdicts::comparison::{Options, Question};
use assay_verdicts::gate::Confirmation;
use assay_verdicts::{Comparison, Gate, Reading, RunView};

use self::scene::{ARMS, Scene, Way, Why};
use crate::database;
use crate::execute::{self, Executed};
use crate::gating::{Asking, Checked};
use crate::interrupt::Interrupt;
use crate::plan;
use crate::settings::Settings;
use crate::sides::{self, Side};

/// How many cases a sentence lists.
const LISTED: usize = 3;

/// Runs the suspects of a check again and says what is left of them; `None` where that was interrupted.
pub fn confirm(
    checked: Checked,
    asking: &Asking,
    running: &execute::Options,
    settings: &Settings,
    interrupt: &Interrupt,
) -> Result<Option<Checked>> {
    if let Some(tonight) = checked.candidate.newest()
        && checked.options.is_imported
    {
        // Says why it cannot be run again.
        plan::folder(&tonight.manifest.suite.source)?;
    }
    let suspects = checked.gate.suspects();
    let (Some(before), Some(tonight)) = (
        scene::reference(&checked, &suspects, settings),
        checked.candidate.newest(),
    ) else {
        return Ok(Some(checked));
    };
    if suspects.is_empty() {
        return Ok(Some(checked));
    }
    is_same_machine(tonight, settings)?;
    let scene = Scene::of(before, tonight, &checked, settings)?;
    let mut ways: BTreeMap<Way, BTreeSet<(String, String)>> = BTreeMap::new();
    for suspect in suspects {
        ways.entry(scene.way(&suspect.0))
            .or_default()
            .insert(suspect);
    }
    let again = Again {
        scene: &scene,
        before,
        checked: &checked,
        asking,
        running,
        settings,
        interrupt,
    };
    let Some((confirmation, records)) = again.all(ways)? else {
        return Ok(None);
    };
    Ok(Some(Checked {
        gate: checked.gate.confirmed(confirmation),
        records,
        ..checked
    }))
}

/// The same check with what was already run to confirm it, as the store has it. Suspects of which nothing is stored, and of which Assay
/// may have started something else, stay as the night alone has them.
pub fn recall(
    reading: Reading<'_>,
    checked: Checked,
    asking: &Asking,
    settings: &Settings,
) -> Result<Checked> {
    let suspects = checked.gate.suspects();
    let (Some(before), Some(tonight)) = (
        scene::reference(&checked, &suspects, settings),
        checked.candidate.newest(),
    ) else {
        return Ok(checked);
    };
    // What was imported is never run again.
    if suspects.is_empty() || checked.options.is_imported {
        return Ok(checked);
    }
    let scene = Scene::of(before, tonight, &checked, settings)?;
    let (same, open): (BTreeSet<_>, BTreeSet<_>) = suspects
        .into_iter()
        .partition(|(case, _)| scene.way(case) == Way::Same);
    let stored = stored(reading.store, &tonight.run.run)?;
    if !open.is_empty() && stored.is_empty() {
        return Ok(checked);
    }
    let mut confirmation = Confirmation::default();
    if !same.is_empty() {
        confirmation.same = cases(&same);
        let note = same_note(&confirmation.same, &scene, &checked.gate);
        confirmation.notes.push(note);
    }
    // What is spoken of by interleaved rounds, and by others.
    let mut spoken = [BTreeSet::new(), BTreeSet::new()];
    for view in &stored {
        let mut suspects = open.clone();
        suspects.retain(|(case, _)| view.cases.iter().any(|row| row.case == *case));
        if suspects.is_empty() {
            continue;
        }
        if is_interleaved(view) {
            let reference = &reference_of(view, &checked, before).run;
            suspects.retain(|(case, metric)| {
                scene::may_speak(&checked, (case, metric), &reference.run)
            });
            if suspects.is_empty() {
                continue;
            }
            confirmation.reference = Some(reference.into());
            spoken[0].clone_from(&suspects);
            confirmation.interleaved = Some(beside(reading, view, asking, suspects)?);
        } else {
            confirmation.alone = Some(together(reading, view, &checked, &suspects)?);
            spoken[1] = suspects;
        }
    }
    let is_open = |suspect: &(String, String)| spoken.iter().all(|of| !of.contains(suspect));
    confirmation.open = open.into_iter().filter(is_open).collect();
    Ok(Checked {
        gate: checked.gate.confirmed(confirmation),
        ..checked
    })
}

/// Runs that came to their end and were made to confirm another, oldest first.
fn stored(store: &Store, of: &RunId) -> Result<Vec<RunView>> {
    let purpose = Purpose::Confirmation { of: of.clone() };
    let all = store.runs()?;
    let is_meant = |row: &&RunRow| row.purpose == purpose && row.status == RunStatus::Complete;
    let meant = all.iter().filter(is_meant).cloned();
    Ok(RunView::load_all(store, meant.collect())?)
}

fn is_interleaved(view: &RunView) -> bool {
    let names = view.manifest.arms.iter().map(|arm| arm.name.as_str());
    names.eq(ARMS)
}

/// The run of the baseline that a stored run had beside it: what that has of the baseline's arm says so, for which worker is kept may have
/// changed since; else the one that would be taken now.
fn reference_of<'a>(view: &RunView, checked: &'a Checked, now: &'a RunView) -> &'a RunView {
    let ran = view.manifest.arms.iter().find(|arm| arm.name == ARMS[0]);
    let is_it = |run: &&RunView| {
        let own = run.manifest.arms.iter();
        let own = own.filter(|arm| arm.name == checked.baseline.arm);
        ran.is_some_and(|ran| {
            let commit = ran.commit.as_ref().map(|of| &of.commit);
            let is_same = commit.is_none_or(|commit| run.run.commit.as_ref() == Some(commit));
            is_same
                && own
                    .clone()
                    .any(|arm| arm.worker == ran.worker && arm.env == ran.env)
        })
    };
    if is_it(&now) {
        return now;
    }
    let found = checked.baseline.runs.iter().find(is_it);
    found.unwrap_or(now)
}

/// The two arms of a run that interleaved them.
fn beside(
    reading: Reading<'_>,
    view: &RunView,
    asking: &Asking,
    suspects: BTreeSet<(String, String)>,
) -> Result<Comparison> {
    let [baseline, candidate] = ARMS.map(|arm| Side {
        label: arm.into(),
        arm: arm.into(),
        runs: vec![view.clone()],
    });
    let options = Options {
        only: Some(suspects),
        ..asking.options(Question::Confirmation)
    };
    sides::compare(reading, &baseline, &candidate, options)
}

/// The rounds of a run of suspects alone are added to tonight's, and the whole suite is judged again. It is still one night, and
/// counts as one: that cannot cancel as it does for interleaved arms.
fn together(
    reading: Reading<'_>,
    view: &RunView,
    checked: &Checked,
    suspects: &BTreeSet<(String, String)>,
) -> Result<Comparison> {
    let runs = checked.candidate.newest();
    let candidate = Side {
        label: checked.candidate.label.clone(),
        arm: checked.candidate.arm.clone(),
        runs: runs
            .map(|tonight| longer(tonight, view))
            .into_iter()
            .collect(),
    };
    let mut found = sides::compare(
        reading,
        &checked.baseline,
        &candidate,
        checked.options.clone(),
    )?;
    let run_again = cases(suspects);
    found.cases.retain(|case| {
        let name = (case.case.clone(), case.metric.name.clone());
        // What failed has one row, whichever metric was suspected.
        suspects.contains(&name) || case.trouble.is_some() && run_again.contains(&case.case)
    });
    found.candidate.runs = vec![view.run.run.clone()];
    Ok(found)
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

/// Suspects in their new rounds, and the record of these.
type Found = (Comparison, PathBuf);

/// All that running suspects again takes.
struct Again<'a> {
    scene: &'a Scene<'a>,
    /// The run that stands for the baseline.
    before: &'a RunView,
    checked: &'a Checked,
    asking: &'a Asking,
    running: &'a execute::Options,
    settings: &'a Settings,
    interrupt: &'a Interrupt,
}

impl Again<'_> {
    /// Each suspect in its way; `None` where that was interrupted.
    fn all(
        &self,
        mut ways: BTreeMap<Way, BTreeSet<(String, String)>>,
    ) -> Result<Option<(Confirmation, Vec<PathBuf>)>> {
        let mut confirmation = Confirmation::default();
        let mut records = Vec::new();
        if let Some(suspects) = ways.remove(&Way::Interleaved) {
            let Some((found, record)) = self.interleaved(suspects)? else {
                return Ok(None);
            };
            confirmation.interleaved = Some(found);
            confirmation.reference = Some((&self.before.run).into());
            records.push(record);
        }
        if let Some(suspects) = ways.remove(&Way::Same) {
            confirmation.same = cases(&suspects);
            let note = same_note(&confirmation.same, self.scene, &self.checked.gate);
            confirmation.notes.push(note);
        }
        let mut alone = BTreeSet::new();
        for (way, suspects) in ways {
            if let Way::Alone(why) = way {
                confirmation.notes.push(alone_note(&cases(&suspects), why));
            }
            alone.extend(suspects);
        }
        if !alone.is_empty() {
            let Some((found, record)) = self.alone(&alone)? else {
                return Ok(None);
            };
            confirmation.alone = Some(found);
            records.push(record);
        }
        Ok(Some((confirmation, records)))
    }

    /// Both arms in one run; `None` where it was interrupted.
    fn interleaved(&self, suspects: BTreeSet<(String, String)>) -> Result<Option<Found>> {
        let mut manifest = self.manifest(&suspects);
        manifest.arms = self.scene.arms.to_vec();
        let Some((view, record)) = self.run(&manifest)? else {
            return Ok(None);
        };
        let store = database::open(self.settings, assay_store::Access::Read)?;
        let found = beside((&store).into(), &view, self.asking, suspects)?;
        Ok(Some((found, record)))
    }

    /// The suspects alone; `None` where it was interrupted.
    fn alone(&self, suspects: &BTreeSet<(String, String)>) -> Result<Option<Found>> {
        let Some((view, record)) = self.run(&self.manifest(suspects))? else {
            return Ok(None);
        };
        let store = database::open(self.settings, assay_store::Access::Read)?;
        let found = together((&store).into(), &view, self.checked, suspects)?;
        Ok(Some((found, record)))
    }

    /// Tonight's manifest with the suspects alone, and rounds enough.
    fn manifest(&self, suspects: &BTreeSet<(String, String)>) -> Manifest {
        let kept = cases(suspects);
        let mut manifest = Manifest::clone(&self.scene.tonight.manifest);
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
}

/// A run with the rounds of another after its own.
fn longer(run: &RunView, more: &RunView) -> RunView {
    let mut whole = run.clone();
    for case in Arc::make_mut(&mut whole.cases) {
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

fn alone_note(cases: &BTreeSet<String>, why: Why) -> String {
    format!(
        "{} run alone, since what the baseline ran is not to be had ({}): with their new rounds tonight is judged again, which is weaker: a night cannot cancel itself",
        listed(cases),
        why.words()
    )
}

/// What is the same, and no more than is known of it; so what did change on the machine is named.
fn same_note(cases: &BTreeSet<String>, scene: &Scene<'_>, gate: &Gate) -> String {
    let machine = &gate.comparison.differences;
    let changed = if machine.is_empty() {
        "nothing that Assay sees of the machine changed".to_owned()
    } else {
        format!("what changed: {}", machine.join(" "))
    };
    let beyond = if cases.iter().all(|case| scene.is_builtin(case)) {
        ""
    } else {
        "; what it reads beyond that is not pinned"
    };
    format!(
        "{}: what Assay starts is the same on both sides{beyond}, so that nothing was run again; {changed}",
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
