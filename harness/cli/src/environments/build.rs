//! Building an image the same way twice: the base by digest, no cache, no time of day, and the worker that is named.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::Digest;
use assay_record::Engine;

use super::{Built, Environment, Lock, lock, staging};
use crate::engines::{oci, podman};
use crate::plan;
use crate::settings::Settings;

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
    let context = tempfile::tempdir().context("no folder to build in")?;
    let text = containerfile(&recipe.name, settings, context.path())?;
    check_bases(&text, &recipe.arguments)?;
    let worker = match &recipe.worker {
        Some(worker) => worker.clone(),
        None => staging::slim_worker()?,
    };
    staging::lay_out(&worker, context.path())?;
    let reference = format!("localhost/assay-{}", recipe.name);
    run(&reference, &recipe.arguments, context.path())?;
    let mut environment = lock::stored(&podman::CLIENT, &reference)?;
    environment.engine = None;
    environment.worker = Some(plan::file_digest(&worker)?);
    environment.built = Some(Built {
        containerfile: Digest::of(&text),
        arguments: recipe.arguments.clone(),
    });
    keep(&recipe.name, environment, settings)
}

/// Writes an environment into the lock file, with the bounds and the engine that somebody set there.
pub fn keep(name: &str, mut environment: Environment, settings: &Settings) -> Result<Environment> {
    let mut lock = Lock::read(settings)?;
    if let Some(before) = lock.environments.get(name) {
        environment.memory_bytes = before.memory_bytes;
        environment.pids = before.pids;
        environment.engine = environment.engine.or(before.engine);
    }
    lock.environments
        .insert(name.to_owned(), environment.clone());
    lock.write(settings)?;
    Ok(environment)
}

/// The text of an environment's Containerfile, which is put into `context` with all that lies beside it.
fn containerfile(name: &str, settings: &Settings, context: &Path) -> Result<String> {
    let folder = folder(name, settings);
    let text = if folder.join(FILE).is_file() {
        staging::copy_folder(&folder, context)?;
        fs::read_to_string(folder.join(FILE))
            .with_context(|| folder.join(FILE).display().to_string())?
    } else {
        own(name)
            .with_context(|| {
                let names = OWN.map(|(name, _)| name).join(", ");
                format!(
                    "{}: there is no such file, and assay brings one for {names} alone",
                    folder.join(FILE).display()
                )
            })?
            .to_owned()
    };
    fs::write(context.join(FILE), &text).context("no folder to build in")?;
    Ok(text)
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

/// Refuses a base that is not named by its digest: a tag is another image tomorrow.
fn check_bases(text: &str, arguments: &BTreeMap<String, String>) -> Result<()> {
    let mut values = BTreeMap::new();
    let mut stages = Vec::new();
    for line in text.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [word, argument, ..] if word.eq_ignore_ascii_case("ARG") => {
                let (name, default) = argument
                    .split_once('=')
                    .map_or((argument, None), |(name, value)| (name, Some(value)));
                let given = arguments.get(name).map(String::as_str);
                values.insert(name, given.or(default).unwrap_or_default());
            }
            [word, ref rest @ ..] if word.eq_ignore_ascii_case("FROM") => {
                let mut rest = rest.iter().filter(|word| !word.starts_with("--"));
                let base = rest.next().context("a FROM without a base")?;
                check_base(&filled(base, &values), &stages).with_context(|| format!("`{line}`"))?;
                if rest
                    .next()
                    .is_some_and(|word| word.eq_ignore_ascii_case("AS"))
                {
                    stages.extend(rest.next().map(|stage| (*stage).to_owned()));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// `${NAME}` or `$NAME`, whole, by its value.
fn filled(base: &str, values: &BTreeMap<&str, &str>) -> String {
    let name = base
        .strip_prefix('$')
        .map(|name| name.trim_start_matches('{').trim_end_matches('}'));
    match name {
        Some(name) => values.get(name).copied().unwrap_or_default().to_owned(),
        None => base.to_owned(),
    }
}

fn check_base(base: &str, stages: &[String]) -> Result<()> {
    let digest = base.rsplit_once('@').map(|(_, digest)| digest);
    let is_pinned = digest.is_some_and(|digest| digest.parse::<Digest>().is_ok());
    if base == "scratch" || is_pinned || stages.iter().any(|stage| stage == base) {
        return Ok(());
    }
    if base.is_empty() {
        bail!("its base is not given; name it by digest: --arg BASE=REPOSITORY@sha256:...");
    }
    bail!("the base {base:?} is not named by digest; write REPOSITORY@sha256:...");
}

/// Fetches an environment's image by its digest, and nothing else under its name.
pub fn pull(name: &str, settings: &Settings) -> Result<()> {
    let lock = Lock::read(settings)?;
    let environment = lock.get(name, settings)?;
    let image = environment.image(name);
    let oci = image.oci.with_context(|| {
        format!("environment `{name}` is a file; put it where the lock file says, `assay env verify {name}` checks it")
    })?;
    let client = match environment.engine(settings) {
        Engine::Docker => crate::engines::docker::CLIENT,
        _ => podman::CLIENT,
    };
    if oci::find(&client, &image, settings).is_ok() {
        return Ok(());
    }
    let by_digest = format!("{}@{}", image.reference, oci.index.unwrap_or(oci.manifest));
    ensure!(
        !image.reference.starts_with("localhost/"),
        "environment `{name}` was built here and lies in no registry: `assay env build {name}` builds it, or load the archive of somebody who has it"
    );
    let words = ["pull", "--quiet", &by_digest].map(OsStr::new);
    client.act(&words).with_context(|| {
        format!("environment `{name}`: {by_digest} cannot be fetched; is that registry in reach, and are you logged in there?")
    })?;
    oci::find(&client, &image, settings).map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{OWN, check_bases};

    #[test]
    fn a_base_is_named_by_digest() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let given = |base: &str| BTreeMap::from([("BASE".to_owned(), base.to_owned())]);
        for text in [
            "FROM scratch",
            "FROM scratch AS a\nFROM a",
            "ARG BASE=x\nFROM --platform=linux/amd64 ${BASE} AS b",
        ] {
            check_bases(text, &given(&format!("r/x@{digest}"))).unwrap();
        }
        for (text, base, expected) in [
            ("FROM debian:12", "", "debian:12"),
            ("ARG BASE\nFROM ${BASE}", "", "not given"),
            ("ARG BASE\nFROM $BASE", "debian", "by digest"),
            ("ARG BASE\nFROM $BASE", "debian@sha256:12", "by digest"),
            ("FROM scratch AS a\nFROM b", "", "\"b\""),
        ] {
            let error = format!("{:#}", check_bases(text, &given(base)).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_comes_with_assay_is_pinned() {
        for (name, text) in OWN {
            let digest = format!("x@sha256:{}", "1".repeat(64));
            check_bases(text, &BTreeMap::from([("BASE".to_owned(), digest)]))
                .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }
}
