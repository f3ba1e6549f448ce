//! Reproducing: what is checked before the manifest runs again, and the verdict afterwards.

use std::path::PathBuf;

use anyhow::Result;
use assay_machine::diff;
use assay_protocol::Digest;
use assay_record::manifest::GitState;
use assay_record::{Arm, Fingerprint, Manifest, RunId};
use assay_store::Store;
use assay_verdicts::Reproduction;

use crate::plan::{self, project, sources};
use crate::settings::Settings;
use crate::workers;

/// What differs between the manifest and what is here and may explain another result, before anything runs; in words.
pub fn notes(manifest: &Manifest, settings: &Settings) -> Result<Vec<String>> {
    let tool = tool_note(manifest, plan::own_digest()?);
    Ok(tool
        .into_iter()
        .chain(project_note(manifest, settings)?)
        .collect())
}

/// Files that the run read and that have another content here: other inputs, so that there is nothing to run.
pub fn changed_inputs(manifest: &Manifest) -> Result<Vec<PathBuf>> {
    let dir = plan::folder(&manifest.suite.source)?;
    Ok(sources::compare(manifest, &dir).changed)
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
    let is_kept = |arm: &Arm| {
        arm.image.is_none() && workers::folder(settings).join(arm.worker.hex()).exists()
    };
    Ok(matches!(&manifest.arms[..], [arm] if arm.worker != here && is_kept(arm)))
}

fn project_note(manifest: &Manifest, settings: &Settings) -> Result<Option<String>> {
    let here = project::state(settings)?;
    Ok(match (manifest.project.git(), here.git()) {
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
    })
}

/// The verdicts on all reproductions that the store holds, oldest first.
///
/// A reproduction of nothing but the suspects of the one before it is its confirmation, not one more.
pub fn all_stored(store: &Store) -> Result<Vec<Reproduction>> {
    let mut verdicts: Vec<Reproduction> = Vec::new();
    for row in store.runs()? {
        let Some(original) = row
            .reproduces
            .as_ref()
            .filter(|original| store.run(original).is_ok())
        else {
            continue;
        };
        let verdict = judge(store, original, &row.run, &[])?;
        match verdicts
            .iter_mut()
            .rev()
            .find(|earlier| earlier.original == verdict.original)
        {
            Some(earlier) if confirms(&verdict, earlier) => {
                *earlier = earlier.clone().confirm(&verdict);
            }
            _ => verdicts.push(verdict),
        }
    }
    Ok(verdicts)
}

/// Whether `second` measured the suspects of `first` and no other case.
fn confirms(second: &Reproduction, first: &Reproduction) -> bool {
    let suspects: Vec<&String> = first.suspects().iter().map(|case| &case.case).collect();
    let measured: Vec<&String> = second
        .cases
        .iter()
        .filter(|case| case.ratio.is_some())
        .map(|case| &case.case)
        .collect();
    !suspects.is_empty() && suspects == measured
}

/// The verdict on `again` as a reproduction of `original`; `notes` come before what the fingerprints explain.
pub fn judge(
    store: &Store,
    original: &RunId,
    again: &RunId,
    notes: &[String],
) -> Result<Reproduction> {
    let before = fingerprint(store, original)?;
    let after = fingerprint(store, again)?;
    let explained = diff::explain(&before, &after)
        .into_iter()
        .map(|explanation| explanation.text);
    let explanations = notes.iter().cloned().chain(explained).collect();
    Ok(Reproduction::of(store, original, again, explanations)?)
}

fn fingerprint(store: &Store, run: &RunId) -> Result<Fingerprint> {
    Ok(store.fingerprint(&store.run(run)?.before)?)
}
