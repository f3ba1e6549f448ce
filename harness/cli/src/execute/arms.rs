//! The arms of a manifest as they stand on this machine: each with the worker that the manifest names, or none at all.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::{DeviceKind, Digest};
use assay_record::{Arm, Case, Manifest};

use super::Options;
use crate::checkout::{self, Checkout};
use crate::engines::{self, Needs};
use crate::errors::CouldNotRun;
use crate::plan::arms::Standing;
use crate::plan::{self, sources};
use crate::settings::Settings;
use crate::workers;

/// How a record says that another worker ran than the manifest names.
const NAMED: &str = "the manifest names the worker ";
const IS: &str = ", this is ";

/// Arm, worker of the manifest and worker that ran, where a record's note says that they differ.
pub fn other_worker(note: &str) -> Option<(&str, &str, &str)> {
    let (arm, rest) = note.strip_prefix("arm `")?.split_once("`: ")?;
    let (then, now) = rest.strip_prefix(NAMED)?.split_once(IS)?;
    Some((arm, then, now))
}

/// Every arm with its worker and folder, and what the record must say of them. Each worker is kept for later runs.
pub fn stand(
    manifest: &Manifest,
    settings: &Settings,
    options: &Options,
    dir: &Path,
) -> Result<(Vec<Standing>, Vec<String>)> {
    let mut notes = Vec::new();
    let arms = manifest
        .arms
        .iter()
        .map(|arm| stand_one(arm, manifest, settings, options, dir, &mut notes))
        .collect::<Result<_>>()?;
    Ok((arms, notes))
}

fn stand_one(
    arm: &Arm,
    manifest: &Manifest,
    settings: &Settings,
    options: &Options,
    dir: &Path,
    notes: &mut Vec<String>,
) -> Result<Standing> {
    let needs = needs(manifest, dir);
    if arm.image.is_some() {
        return contained(arm, settings, options, dir, &needs);
    }
    let are_several = manifest.arms.len() > 1;
    let made = checkout(arm, manifest, settings, dir)?;
    let checkout = made.as_ref().map(|(checkout, _)| checkout);
    let mut worker = worker(arm, manifest, checkout, settings, options)?;
    let is = digest(&worker)?;
    if let Err(error) = workers::keep(settings, &worker, &is) {
        // One arm runs from where it lies; it is only not at hand some other day.
        let what = format!("arm `{}`: {error:#}", arm.name);
        ensure!(!are_several, CouldNotRun(what));
        notes.push(what);
    }
    if is != arm.worker {
        let (name, then) = (&arm.name, arm.worker);
        notes.push(format!("arm `{name}`: {NAMED}{then}{IS}{is}"));
    }
    if are_several {
        // From paths of one length: where a program lies moves its stack, and can change its speed.
        worker = workers::find(settings, &is).ok_or_else(|| {
            CouldNotRun(format!(
                "arm `{}`: its kept worker was changed; run it again",
                arm.name
            ))
        })?;
    }
    Ok(Standing {
        arm: arm.clone(),
        worker,
        dir: made.map_or_else(|| dir.into(), |(_, dir)| dir),
        engine: engines::of(arm, settings, &needs)?,
    })
}

/// An arm in a container: worker and all are the image's.
fn contained(
    arm: &Arm,
    settings: &Settings,
    options: &Options,
    dir: &Path,
    needs: &Needs,
) -> Result<Standing> {
    ensure!(
        options.worker.is_none(),
        "--worker takes the place of a worker on this machine, and that of arm `{}` comes from its image",
        arm.name
    );
    let in_arm = || format!("arm `{}`", arm.name);
    Ok(Standing {
        engine: engines::of(arm, settings, needs).with_context(in_arm)?,
        arm: arm.clone(),
        worker: engines::WORKER.into(),
        dir: dir.into(),
    })
}

/// What a manifest's containers need.
fn needs(manifest: &Manifest, dir: &Path) -> Needs {
    let is_on_gpu = |case: &Case| case.device.kind == DeviceKind::Cuda;
    Needs {
        dir: sources::names_folder(manifest).then(|| dir.into()),
        gpus: manifest.cases.iter().any(is_on_gpu),
    }
}

/// The digest of a worker; our own is known.
fn digest(worker: &Path) -> Result<Digest> {
    let is_own = std::env::current_exe().is_ok_and(|own| own == worker);
    if is_own {
        plan::own_digest()
    } else {
        plan::file_digest(worker)
    }
}

/// The files of an arm's commit with the suite's folder in them, where the run reads any and the project has it.
fn checkout(
    arm: &Arm,
    manifest: &Manifest,
    settings: &Settings,
    dir: &Path,
) -> Result<Option<(Checkout, PathBuf)>> {
    let commit = arm.commit.as_ref();
    let Some(commit) = commit.filter(|_| sources::names_folder(manifest)) else {
        return Ok(None);
    };
    let Some(below) = checkout::of_suite(manifest, settings, dir)? else {
        return Ok(None);
    };
    let made = checkout::make(settings, commit)?;
    let dir = made.folder(&below);
    Ok(Some((made, dir)))
}

/// The executable that serves as an arm's built-in worker.
fn worker(
    arm: &Arm,
    manifest: &Manifest,
    made: Option<&Checkout>,
    settings: &Settings,
    options: &Options,
) -> Result<PathBuf> {
    let own = || std::env::current_exe().context("the running executable cannot be found");
    if let Some(path) = &options.worker {
        return path
            .canonicalize()
            .with_context(|| format!("worker {}", path.display()));
    }
    if arm.worker == plan::own_digest()? {
        return own();
    }
    if let Some(kept) = workers::find(settings, &arm.worker) {
        return Ok(kept);
    }
    if let Some(commit) = arm.commit.as_ref().filter(|commit| commit.worker.is_some()) {
        let built = match made.and_then(|made| made.worker.clone()) {
            Some(built) => Some(built),
            None => checkout::make(settings, commit)?.worker,
        };
        return built.context("the build leaves no worker");
    }
    if manifest.arms.len() == 1 {
        // Said in the record, and by `reproduce` beforehand.
        return own();
    }
    let what = format!(
        "arm `{}`: its worker {} is neither this executable nor in {}, and no commit says how to build it; \
         copy that executable there under its digest, or plan again",
        arm.name,
        arm.worker,
        workers::folder(settings).display()
    );
    Err(CouldNotRun(what).into())
}
