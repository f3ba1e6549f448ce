//! The built-in worker of an image as a program of this machine: what ran in a container can run without one.
//!
//! It is the very file of the image, by the digest that the manifest names: as it was kept when the image was built, or taken
//! out of the image, which is started by nobody for that.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_record::{Arm, Image};

use super::lock;
use crate::engines::client::Client;
use crate::engines::{WORKER, oci};
use crate::plan::{self, file_digest};
use crate::settings::Settings;
use crate::workers;

/// The worker of an arm's image, if it has one; an error says why it is not at hand.
pub fn at_hand(arm: &Arm, image: &Image, settings: &Settings) -> Result<Option<PathBuf>> {
    if arm.worker == none() {
        return Ok(None);
    }
    if arm.worker == plan::own_digest()? {
        let own = std::env::current_exe();
        return own
            .map(Some)
            .context("the running executable cannot be found");
    }
    match workers::find(settings, &arm.worker) {
        Some(kept) => Ok(Some(kept)),
        None => take_out(arm, image, settings).map(Some),
    }
}

/// What a manifest names as the worker of an image that has none.
pub fn none() -> Digest {
    Digest::of("")
}

/// Keeps the worker of an image that is in an engine's store.
fn take_out(arm: &Arm, image: &Image, settings: &Settings) -> Result<PathBuf> {
    let client = lock::client_of(arm.engine)?;
    let id = oci::find(&client, image, settings)?;
    let folder = tempfile::tempdir().context("no folder for a worker")?;
    let to = folder.path().join("worker");
    ensure!(
        copy_out(&client, &id, &to)?,
        "{}: not in the image of environment `{}`",
        WORKER,
        image.environment
    );
    let is = file_digest(&to)?;
    ensure!(
        is == arm.worker,
        "the worker in the image of environment `{}` is {is}, and the manifest names {}",
        image.environment,
        arm.worker
    );
    settings.prepare_folders()?;
    workers::keep(settings, &to, &is)?;
    workers::find(settings, &is).context("it was changed while it was kept")
}

/// Copies the built-in worker out of an image, by a container that is made of it and never started. Whether it has one.
pub fn copy_out(client: &Client, id: &OsStr, to: &Path) -> Result<bool> {
    let name = format!("assay-lock-{}", std::process::id());
    let mut words = ["create", "--name", &name, "--pull", "never"]
        .map(OsStr::new)
        .to_vec();
    words.extend([id, OsStr::new(WORKER)]);
    client.act(&words)?;
    let from = format!("{name}:{WORKER}");
    let copied = client.ask(&[OsStr::new("cp"), OsStr::new(&from), to.as_os_str()]);
    client.act(&["rm", "--force", "--volumes", &name].map(OsStr::new))?;
    Ok(copied?.status.success())
}
