//! The manifest of then, with one thing otherwise: worker, environment, rounds, or fewer cases.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use assay_record::manifest::Engine;
use assay_record::{Arm, ManifestFile};
use assay_verdicts::Reproduction;

use crate::environments;
use crate::errors::in_words;
use crate::plan;
use crate::settings::Settings;

/// The manifest with another executable as its built-in worker.
pub fn with_worker(
    file: ManifestFile,
    worker: &Path,
    notes: &mut Vec<String>,
) -> Result<ManifestFile> {
    let arms = &file.manifest.arms;
    ensure!(
        arms.len() == 1,
        "--worker takes the place of one worker, and the manifest has {} arms",
        arms.len()
    );
    let digest = plan::file_digest(worker)?;
    notes.push(format!(
        "The worker is another executable: {} ({}).",
        worker.display(),
        digest.short()
    ));
    let mut manifest = file.manifest;
    manifest.arms.iter_mut().for_each(|arm| arm.worker = digest);
    Ok(ManifestFile::seal(&manifest)?)
}

/// The manifest with no arm in a container: another environment, whose cost is to be seen. The workers are those of the images.
pub fn on_host(
    file: ManifestFile,
    settings: &Settings,
    needs_worker: bool,
    notes: &mut Vec<String>,
) -> Result<ManifestFile> {
    let mut manifest = file.manifest;
    let arms = manifest.arms.iter_mut();
    let contained: Vec<&mut Arm> = arms.filter(|arm| arm.image.is_some()).collect();
    ensure!(
        !contained.is_empty(),
        "--on-host: no arm of the manifest ran in a container; leave it away"
    );
    for arm in contained {
        let Some(image) = arm.image.take() else {
            continue;
        };
        let (name, environment) = (&arm.name, &image.environment);
        notes.push(format!(
            "Arm {name} runs on this machine, and not in a container of `{environment}`."
        ));
        if needs_worker {
            let found = environments::worker::at_hand(arm, &image, settings);
            let lacking = |error| {
                let why = in_words(&error);
                format!(
                    "The worker of arm {name} that lies in the image of `{environment}` is not at hand: {why}"
                )
            };
            notes.extend(found.err().map(lacking));
        }
        arm.engine = Engine::Host;
    }
    Ok(ManifestFile::seal(&manifest)?)
}

/// The manifest with another number of rounds: another policy, by which inputs and outputs are what they were.
pub fn with_rounds(
    file: ManifestFile,
    rounds: u32,
    notes: &mut Vec<String>,
) -> Result<ManifestFile> {
    let mut manifest = file.manifest;
    for case in &mut manifest.cases {
        case.policy.rounds = rounds;
        case.policy.max_rounds = rounds;
    }
    notes.push(format!(
        "The policy is another: {rounds} rounds of each case, whatever the manifest says."
    ));
    let sealed = ManifestFile::seal(&manifest);
    sealed.with_context(|| format!("--rounds {rounds}"))
}

/// The manifest with the suspects alone: fewer cases, each run in the same way.
pub fn only(file: &ManifestFile, verdict: &Reproduction) -> Result<ManifestFile> {
    let suspects: Vec<&str> = verdict
        .suspects()
        .iter()
        .map(|case| case.case.as_str())
        .collect();
    let mut manifest = file.manifest.clone();
    manifest
        .cases
        .retain(|case| suspects.contains(&case.id.as_str()));
    Ok(ManifestFile::seal(&manifest)?)
}
