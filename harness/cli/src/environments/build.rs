//! Building an image the same way twice: the base by digest, no cache, no time of day, and the worker that is named.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use assay_protocol::Digest;

use super::{Built, Environment, Lock, bases, file, lock, staging};
use crate::engines::{oci, podman};
use crate::plan;
use crate::settings::Settings;
use crate::workers;

/// Containerfiles that come with Assay, by the environment that they make. A project's own take their place.
const OWN: [(&str, &str); 2] = [
    (
        "worker-cpu",
        include_str!("../../../../containers/worker-cpu/Containerfile"),
    ),
    (
        "worker-cuda",
        include_str!("../../../../containers/worker-cuda/Containerfile"),
    ),
];
/// Name of the file in a folder of its own beside the lock file.
const FILE: &str = "Containerfile";

/// What to build.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Name of the environment.
    pub name: String,
    /// Its built-in worker; absent: the slim one beside this executable.
    pub worker: Option<PathBuf>,
    /// Build arguments.
    pub arguments: BTreeMap<String, String>,
}

/// Builds an environment's image and locks it.
pub fn build(recipe: &Recipe, settings: &Settings) -> Result<Environment> {
    assay_record::validate::environment(&recipe.name).map_err(anyhow::Error::msg)?;
    podman::version().context("images are built by podman; an image that was built otherwise is locked with `assay env lock`")?;
    let scratch = tempfile::tempdir().context("no folder to build in")?;
    let context = scratch.path().join("context");
    let text = containerfile(&recipe.name, settings, &context)?;
    bases::check(&text, &recipe.arguments)?;
    let worker = match &recipe.worker {
        Some(worker) => worker.clone(),
        None => staging::slim_worker()?,
    };
    staging::lay_out(&worker, &context)?;
    let reference = format!("localhost/assay-{}", recipe.name);
    run(&reference, &recipe.arguments, &context).with_context(|| {
        format!(
            "environment `{}` is not built; a base that is not in podman's store must be in a registry that is in reach",
            recipe.name
        )
    })?;
    let mut environment = lock::stored(&podman::CLIENT, &reference, None)?;
    environment.engine = None;
    let digest = plan::file_digest(&worker)?;
    environment.worker = Some(digest);
    environment.built = Some(Built {
        containerfile: Digest::of(&text),
        arguments: recipe.arguments.clone(),
    });
    // What a run in it measured can then be measured on this machine, too.
    settings.prepare_folders()?;
    workers::keep(settings, &worker, &digest)?;
    keep(&recipe.name, environment, settings)
}

/// Writes an environment into the lock file, if it can be read again, with the bounds and the engine that somebody set there.
pub fn keep(name: &str, mut environment: Environment, settings: &Settings) -> Result<Environment> {
    Lock::change(settings, |lock| {
        if let Some(before) = lock.environments.get(name) {
            environment.memory_bytes = before.memory_bytes;
            environment.pids = before.pids;
            environment.engine = environment.engine.or(before.engine);
        }
        lock.environments
            .insert(name.to_owned(), environment.clone());
        environment
    })
}

/// The text of an environment's Containerfile, which is put into `context` with all that lies beside it.
fn containerfile(name: &str, settings: &Settings, context: &Path) -> Result<String> {
    let folder = folder(name, settings);
    if folder.join(FILE).is_file() {
        staging::copy_context(&folder, context)?;
        return fs::read_to_string(folder.join(FILE))
            .with_context(|| folder.join(FILE).display().to_string());
    }
    let text = own(name).with_context(|| {
        let names = OWN.map(|(name, _)| name).join(", ");
        format!(
            "{}: there is no such file, and assay brings one for {names} alone",
            folder.join(FILE).display()
        )
    })?;
    staging::write(&context.join(FILE), text)?;
    Ok(text.to_owned())
}

fn own(name: &str) -> Option<&'static str> {
    OWN.into_iter()
        .find_map(|(own, text)| (own == name).then_some(text))
}

fn folder(name: &str, settings: &Settings) -> PathBuf {
    settings
        .environments
        .parent()
        .unwrap_or(Path::new(""))
        .join(name)
}

/// SHA-256 of the Containerfile that would be used now.
pub fn containerfile_digest(name: &str, settings: &Settings) -> Option<Digest> {
    let file = folder(name, settings).join(FILE);
    if file.is_file() {
        fs::read(file).ok().map(Digest::of)
    } else {
        own(name).map(Digest::of)
    }
}

fn run(reference: &str, arguments: &BTreeMap<String, String>, context: &Path) -> Result<()> {
    let given: Vec<String> = arguments
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut words: Vec<&OsStr> = [
        "build",
        "--no-cache",
        "--timestamp",
        "0",
        "--network",
        "none",
        "--quiet",
        "--tag",
        reference,
    ]
    .map(OsStr::new)
    .to_vec();
    for argument in &given {
        words.extend([OsStr::new("--build-arg"), OsStr::new(argument)]);
    }
    words.push(context.as_os_str());
    podman::CLIENT.act(&words).map(drop)
}

/// Fetches an environment's image by its digest, and nothing else under its name; one that comes as a file is looked for.
pub fn pull(name: &str, settings: &Settings) -> Result<()> {
    let lock = Lock::read(settings)?;
    let environment = lock.get(name, settings)?;
    let image = environment.image(name);
    let client = lock::client_of(environment.engine(settings));
    let (Some(digests), Ok(client)) = (image.oci, client) else {
        // What has no store runs a file, which lies here or does not.
        return file(&image, settings).map(drop);
    };
    match oci::find(&client, &image, settings) {
        Ok(_) => return Ok(()),
        Err(error) if image.file.is_some() || oci::is_built_here(&image) => return Err(error),
        Err(_) => {}
    }
    let by_digest = oci::by_digest(&image, &digests);
    let words = ["pull", "--quiet", &by_digest].map(OsStr::new);
    client.act(&words).with_context(|| {
        format!("environment `{name}`: {by_digest} cannot be fetched; is that registry in reach, and are you logged in there?")
    })?;
    oci::find(&client, &image, settings).map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{OWN, bases};

    #[test]
    fn what_comes_with_assay_is_pinned() {
        for (name, text) in OWN {
            let digest = format!("x@sha256:{}", "1".repeat(64));
            bases::check(text, &BTreeMap::from([("BASE".to_owned(), digest)]))
                .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }
}
