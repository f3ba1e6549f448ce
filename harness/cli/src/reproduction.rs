//! Reproducing: what is checked before the manifest runs again, and the verdict afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use assay_machine::diff::{self, Fact};
use assay_protocol::Digest;
use assay_record::manifest::GitState;
use assay_record::{Arm, ArmCommit, Fingerprint, Image, Manifest, Purpose, RunId, Shared};
use assay_store::{CaseRow, Store};
use assay_verdicts::{Explanation, Reading, Reproduction};

use crate::errors::in_words;
use crate::execute;
use crate::plan::{self, project, sources};
use crate::settings::Settings;
use crate::{checkout, workers};

/// What differs between the manifest and what is here and may explain another result, before anything runs; in words.
/// The project here is of no account where the files are those of then.
pub fn notes(manifest: &Manifest, settings: &Settings, files: &Files) -> Result<Vec<String>> {
    let tool = tool_note(manifest, plan::own_digest()?);
    let project = if files.are_of_then {
        None
    } else {
        project_note(manifest, settings)
    };
    Ok(tool.into_iter().chain(project).collect())
}

/// Where the files of a run are found now.
#[derive(Debug, Default)]
pub struct Files {
    /// What `{dir}` stands for, where it is another folder than that of then.
    pub dir: Option<PathBuf>,
    /// Whether the project's files are those of then, whatever lies here.
    pub are_of_then: bool,
    /// Files that have another content here: other inputs, so that there is nothing to run.
    pub changed: Vec<PathBuf>,
    /// What somebody should know of this.
    pub note: Option<String>,
}

/// Finds the files that a run read: in the folder that somebody names, else where they lay if all is as it was, else in a
/// worktree of the measured commit with its uncommitted changes, else where they lay if at least those that the manifest
/// pins are what they were.
pub fn files(manifest: &Manifest, settings: &Settings, named: Option<&Path>) -> Result<Files> {
    if let Some(named) = named {
        return in_folder(manifest, named);
    }
    let dir = plan::folder(&manifest.suite.source)?;
    let here = sources::compare(manifest, &dir);
    if is_as_then(manifest, settings)? || !sources::names_folder(manifest) {
        return Ok(Files {
            changed: here.changed,
            ..Files::default()
        });
    }
    let there = at_commit(manifest, settings, &dir);
    if let Ok(Some(there)) = &there {
        let note = format!(
            "the project is not what or where it was: the suite's files are those of its commit then, in {}",
            there.display()
        );
        return Ok(Files {
            dir: Some(there.clone()),
            are_of_then: true,
            note: Some(note),
            changed: Vec::new(),
        });
    }
    Ok(Files {
        note: there.err().map(|error| in_words(&error)),
        changed: here.changed,
        ..Files::default()
    })
}

/// Whether the suite's files and the project are where they were and as they were.
pub fn is_as_then(manifest: &Manifest, settings: &Settings) -> Result<bool> {
    let dir = plan::folder(&manifest.suite.source)?;
    let is_there = sources::compare(manifest, &dir).is_none();
    Ok(is_there && project_note(manifest, settings).is_none())
}

/// The files in a folder that somebody says is the suite's now.
fn in_folder(manifest: &Manifest, named: &Path) -> Result<Files> {
    ensure!(
        sources::names_folder(manifest),
        "--dir {}: the run reads nothing from its suite's folder; leave it away",
        named.display()
    );
    let found = named.canonicalize();
    let dir = found.with_context(|| format!("--dir {}", named.display()))?;
    Ok(Files {
        changed: sources::compare(manifest, &dir).changed,
        dir: Some(dir),
        ..Files::default()
    })
}

/// The suite's folder at the measured commit, if that has all files that the manifest pins.
fn at_commit(manifest: &Manifest, settings: &Settings, dir: &Path) -> Result<Option<PathBuf>> {
    let state = manifest
        .project
        .git()
        .filter(|state| state.commit.is_some());
    let (Some(state), Some(below)) = (state, checkout::of_suite(manifest, settings, dir)?) else {
        return Ok(None);
    };
    let there = checkout::files(settings, state)?.folder(&below);
    let is_whole = there.is_dir() && sources::compare(manifest, &there).is_none();
    Ok(is_whole.then_some(there))
}

/// Builds the worker of then from its commit, where it is not at hand and the project says how. `None` where it is, or
/// where nobody knows how: then this executable takes its place, as the record will say.
pub fn rebuild_worker(manifest: &Manifest, settings: &Settings) -> Result<Option<PathBuf>> {
    // The worker of a container comes from its image.
    let [
        arm @ Arm {
            image: None,
            commit: None,
            ..
        },
    ] = &manifest.arms[..]
    else {
        return Ok(None);
    };
    let is_here =
        arm.worker == plan::own_digest()? || workers::find(settings, &arm.worker).is_some();
    if is_here {
        return Ok(None);
    }
    let Some((state, commit)) = buildable(manifest, settings) else {
        crate::note!(
            "note: the worker of then, {}, is not at hand, and nobody knows how it was built: this executable takes its place, and what is compared is of two programs",
            arm.worker
        );
        return Ok(None);
    };
    crate::note!(
        "note: the worker of then, {}, is not at hand: it is built again from its commit",
        arm.worker
    );
    build(manifest, arm, (state, &commit), settings).map(Some)
}

/// Builds the worker of then from its commit because somebody wants that.
pub fn build_worker(manifest: &Manifest, settings: &Settings) -> Result<PathBuf> {
    let [
        arm @ Arm {
            image: None,
            commit: None,
            ..
        },
    ] = &manifest.arms[..]
    else {
        bail!(
            "--rebuild builds the worker of a run of one arm on this machine: a container has its worker in its image, and of several arms each is built as its commit says"
        );
    };
    let (state, commit) = buildable(manifest, settings).context(
        "--rebuild: nobody knows how the worker was built; declare [build] with `command` and `worker` in assay.toml, in the clone where its commit is",
    )?;
    build(manifest, arm, (state, &commit), settings)
}

/// The commit of then with how it is built, if it is here and anybody knows.
fn buildable<'a>(manifest: &'a Manifest, settings: &Settings) -> Option<(&'a GitState, ArmCommit)> {
    let state = manifest.project.git()?;
    let commit = checkout::resolve(settings, state.commit.as_deref()?).ok()?;
    commit.worker.is_some().then_some((state, commit))
}

fn build(
    manifest: &Manifest,
    arm: &Arm,
    (state, commit): (&GitState, &ArmCommit),
    settings: &Settings,
) -> Result<PathBuf> {
    let built = checkout::make_state(settings, state, commit)?.worker;
    let built = built.context("the build leaves no worker")?;
    let is = plan::file_digest(&built)?;
    let how = if is == arm.worker {
        "the same bytes as then"
    } else if arm.worker == manifest.tool.binary && checkout::is_own_build(commit) {
        "the slim worker of that commit; then the whole program was the worker, so that bytes cannot be compared"
    } else {
        "other bytes than then"
    };
    crate::note!("note: the build gave {how}");
    Ok(built)
}

fn tool_note(manifest: &Manifest, here: Digest) -> Option<String> {
    let tool = &manifest.tool;
    (tool.binary != here).then(|| {
        format!(
            "The tool differs: the manifest was made by assay {} ({}), this is assay {} ({}).",
            tool.version,
            tool.binary.short(),
            env!("CARGO_PKG_VERSION"),
            here.short()
        )
    })
}

/// Whether the only worker of then is another one and was kept: what runs again is not what was built since.
pub fn runs_kept_worker(manifest: &Manifest, settings: &Settings) -> Result<bool> {
    let here = plan::own_digest()?;
    let is_kept = |arm: &Arm| arm.image.is_none() && workers::find(settings, &arm.worker).is_some();
    Ok(matches!(&manifest.arms[..], [arm] if arm.worker != here && is_kept(arm)))
}

fn project_note(manifest: &Manifest, settings: &Settings) -> Option<String> {
    let here = match project::state(settings) {
        Ok(here) => here,
        // What lies here need not be measurable for what was measured then to run again.
        Err(error) => {
            let why = in_words(&error);
            return Some(format!("The project here cannot be compared: {why}"));
        }
    };
    match (manifest.project.git(), here.git()) {
        (Some(then), Some(now)) if then.commit != now.commit => {
            let commit = |state: &GitState| state.commit.as_deref().map_or("no commit".to_owned(), |c| c.chars().take(12).collect());
            Some(format!(
                "The project's commit was {} and is {}: --checkout DIR makes a worktree of the former.",
                commit(then),
                commit(now)
            ))
        }
        (Some(then), Some(now)) if then.diff != now.diff => {
            Some("The project's uncommitted changes are not what they were: --checkout DIR makes a worktree with the former.".into())
        }
        (None, Some(_)) => Some("The manifest was planned outside git; here is a repository.".into()),
        (Some(_), None) => Some("The manifest names a git commit, but this is no repository.".into()),
        _ => None,
    }
}

/// The verdicts on all reproductions that the store holds, oldest first.
///
/// What measured the suspects of one again is its confirmation, not one more.
pub fn all_stored(reading: Reading<'_>) -> Result<Vec<Reproduction>> {
    let mut verdicts: Vec<Reproduction> = Vec::new();
    for row in &reading.store.runs()? {
        let Some(original) = row
            .reproduces
            .as_ref()
            .filter(|original| reading.store.run(original).is_ok())
        else {
            continue;
        };
        let verdict = judge(reading, original, &row.run, &[])?;
        let confirmed = match &row.purpose {
            Purpose::Confirmation { of } => {
                verdicts.iter_mut().find(|earlier| earlier.again == *of)
            }
            _ => None,
        };
        match confirmed {
            Some(first) => *first = first.clone().confirm(&verdict),
            None => verdicts.push(verdict),
        }
    }
    Ok(verdicts)
}

/// The verdict on `again` as a reproduction of `original`; `notes` come behind what differs between the two.
pub fn judge(
    reading: Reading<'_>,
    original: &RunId,
    again: &RunId,
    notes: &[String],
) -> Result<Reproduction> {
    let store = reading.store;
    let before = fingerprint(store, original)?;
    let after = fingerprint(store, again)?;
    let explained = diff::explain_with(&before, &after, &facts(store, original, again)?)
        .into_iter()
        .map(|one| Explanation {
            field: Some(format!("{}.{}", one.part, one.name)),
            text: one.text,
            before: one.before,
            after: one.after,
        });
    let notes = notes.iter().cloned().map(Explanation::from);
    let explanations = explained.chain(notes).collect();
    Ok(Reproduction::of(reading, original, again, explanations)?)
}

/// What manifests and records say that differs: derived on reading, so that a stored reproduction has it too.
fn facts(store: &Store, original: &RunId, again: &RunId) -> Result<Vec<Fact>> {
    let manifest =
        |run| Ok::<_, anyhow::Error>(store.manifest(&store.run(run)?.manifest)?.manifest);
    let (then, now) = (manifest(original)?, manifest(again)?);
    let mut facts = arm_facts(&then, &now);
    facts.extend(other_worker(store, again)?);
    facts.extend(policy_fact(&then, &now));
    let cases = store.cases_of(&[original.clone(), again.clone()])?;
    facts.extend(disturbed(&cases[0], &cases[1]));
    Ok(facts)
}

/// How the arms of two manifests differ.
fn arm_facts(then: &Manifest, now: &Manifest) -> Vec<Fact> {
    let told = |manifest: &Manifest| -> BTreeMap<String, String> {
        let of_arm = |arm: &Arm| {
            let name = |what: &str| format!("arm.{}.{what}", arm.name);
            let image = arm.image.as_ref().and_then(digest_of);
            let image = image.map(|image| (name("image"), image.to_string()));
            let known = [
                (name("worker"), arm.worker.to_string()),
                (name("engine"), arm.engine.name().to_owned()),
            ];
            known.into_iter().chain(image)
        };
        manifest.arms.iter().flat_map(of_arm).collect()
    };
    let (then, now) = (told(then), told(now));
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let differs = |name: &&String| then.get(*name) != now.get(*name);
    let fact = |name: &String| Fact {
        name: name.clone(),
        before: then.get(name).cloned(),
        after: now.get(name).cloned(),
    };
    names.into_iter().filter(differs).map(fact).collect()
}

/// The digest of an image's content, however it is packed.
fn digest_of(image: &Image) -> Option<Digest> {
    let stored = image.oci.map(|oci| oci.config);
    stored.or(image.file.as_ref().map(|file| file.digest))
}

/// The worker that ran in place of a lost one, as the record says.
fn other_worker(store: &Store, run: &RunId) -> Result<Option<Fact>> {
    let events = store.events(run)?;
    Ok(events.iter().find_map(|event| {
        let (arm, then, now) = execute::arms::other_worker(&event.text)?;
        Some(Fact {
            name: format!("arm.{arm}.worker"),
            before: Some(then.to_owned()),
            after: Some(now.to_owned()),
        })
    }))
}

fn policy_fact(then: &Manifest, now: &Manifest) -> Option<Fact> {
    let rounds = |manifest: &Manifest, case: &str| {
        let mut cases = manifest.cases.iter();
        let policy = cases.find(|have| have.id == case)?.policy;
        Some(match (policy.rounds, policy.max_rounds) {
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        })
    };
    let case = &now.cases.first()?.id;
    let (before, after) = (rounds(then, case)?, rounds(now, case)?);
    (before != after).then(|| Fact {
        name: "policy.rounds".into(),
        before: Some(before),
        after: Some(after),
    })
}

/// Whether others used the machine during more of the rounds.
fn disturbed(then: &[Shared<CaseRow>], now: &[Shared<CaseRow>]) -> Option<Fact> {
    let count = |cases: &[Shared<CaseRow>]| {
        let rounds: Vec<_> = cases.iter().flat_map(|case| case.good_rounds()).collect();
        let disturbed = rounds.iter().filter(|round| !round.disturbed.is_empty());
        (disturbed.count(), rounds.len())
    };
    let ((before, of_then), (after, of_now)) = (count(then), count(now));
    // As shares: before / of_then < after / of_now.
    (before * of_now < after * of_then).then(|| Fact {
        name: "rounds.disturbed".into(),
        before: Some(format!("{before} of {of_then}")),
        after: Some(format!("{after} of {of_now}")),
    })
}

fn fingerprint(store: &Store, run: &RunId) -> Result<Fingerprint> {
    Ok(store.fingerprint(&store.run(run)?.before)?)
}
