//! Environments by name: a lock file that says which image each one is, by digest, and how it was made.
//!
//! A tag is looked up when an environment is locked, and never again. What a manifest holds of an environment is taken from
//! here when a run is planned; what runs is found by those digests ([`crate::engines`]).

mod bases;
pub mod build;
pub mod documents;
pub mod lock;
pub mod staging;
pub mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::{Digest, U64};
use assay_record::{Engine, Image, ImageFile, ImageFormat, Limits, OciDigests, validate};
use serde::{Deserialize, Serialize};

use crate::checkout;
use crate::errors::CouldNotRun;
use crate::plan::{file_digest, project};
use crate::settings::Settings;
use crate::suite::{builtin::cache_folder, locate::read_text};

/// Version of the lock file.
const LOCK_SCHEMA: u32 = 1;
/// Longest lock file, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// What a new lock file begins with.
const HEAD: &str = "# Which image each environment is, by content. Written by `assay env lock` and `assay env build`; a run takes digests from here, never tags.\n";

/// The lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`LOCK_SCHEMA`].
    schema: u32,
    /// By name.
    #[serde(
        default,
        rename = "environment",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub environments: BTreeMap<String, Environment>,
}

/// One environment: an image, and how it came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Repository of the image, without tag and digest; of a SIF file, its name.
    pub reference: String,
    /// Operating system and architecture: `linux/amd64`.
    pub platform: String,
    /// What runs it, if not what `assay.toml` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// Digest of the index over all platforms, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Digest of this platform's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// Digest of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// SHA-256 of the built-in worker in it, at [`crate::engines::WORKER`]; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Digest>,
    /// Most memory of its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Most processes and threads of its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// The file it comes as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<LockedFile>,
    /// How it was built, where it was built here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<Built>,
}

/// An image as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Where it lies, from the folder of the lock file.
    pub path: PathBuf,
    /// What it is.
    pub format: ImageFormat,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

/// How an image was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Built {
    /// SHA-256 of the Containerfile.
    pub containerfile: Digest,
    /// Build arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, String>,
}

/// An environment as an arm has it.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// What runs it.
    pub engine: Engine,
    /// The image.
    pub image: Image,
    /// SHA-256 of its built-in worker; of no bytes where it has none.
    pub worker: Digest,
}

impl Lock {
    /// The project's; one without entries where there is no file.
    pub fn read(settings: &Settings) -> Result<Self> {
        let path = &settings.environments;
        if !path.exists() {
            return Ok(Self {
                schema: LOCK_SCHEMA,
                environments: BTreeMap::new(),
            });
        }
        Self::parse(&read_text(path, MAX_BYTES)?).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let version: toml::Table = toml::from_str(text)?;
        let schema = version.get("schema").and_then(toml::Value::as_integer);
        ensure!(
            schema.is_none_or(|schema| schema <= LOCK_SCHEMA.into()),
            "field `schema`: this lock file is newer than this assay reads; use a newer assay"
        );
        let lock: Self = toml::from_str(text)?;
        ensure!(
            lock.schema == LOCK_SCHEMA,
            "field `schema`: expected {LOCK_SCHEMA}"
        );
        lock.check()?;
        Ok(lock)
    }

    fn check(&self) -> Result<()> {
        self.environments
            .iter()
            .try_for_each(|(name, environment)| {
                environment
                    .check(name)
                    .with_context(|| format!("environment `{name}`"))
            })
    }

    /// Changes it, with no other assay of this user at it meanwhile: what that adds would be lost.
    pub fn change<T>(settings: &Settings, how: impl FnOnce(&mut Self) -> T) -> Result<T> {
        let file = project::resolve(&settings.environments);
        let name = Digest::of(file.as_os_str().as_encoded_bytes()).short();
        let _turn = checkout::lock(&cache_folder()?.join("environments").join(name))?;
        let mut lock = Self::read(settings)?;
        let changed = how(&mut lock);
        lock.write(settings)?;
        Ok(changed)
    }

    /// Writes it, whole or not at all, and nothing that could not be read again.
    fn write(&self, settings: &Settings) -> Result<()> {
        let path = &settings.environments;
        self.check().with_context(|| path.display().to_string())?;
        let say = || format!("{}: the lock file cannot be written", path.display());
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(say)?;
        let text = format!("{HEAD}{}", toml::to_string(self).with_context(say)?);
        let file = tempfile::NamedTempFile::new_in(folder).with_context(say)?;
        std::fs::write(file.path(), text).with_context(say)?;
        let plain = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(file.path(), plain).with_context(say)?;
        file.persist(path).with_context(say)?;
        Ok(())
    }

    /// An environment by its name.
    pub fn get(&self, name: &str, settings: &Settings) -> Result<&Environment> {
        let known: Vec<&str> = self.environments.keys().map(String::as_str).collect();
        let all = if known.is_empty() {
            "none".into()
        } else {
            known.join(", ")
        };
        self.environments.get(name).with_context(|| {
            format!(
                "no environment is called `{name}`; {} has: {all}. `assay env build {name}` builds and locks one, `assay env lock {name} IMAGE` locks \
                 an image that is here",
                settings.environments.display()
            )
        })
    }
}

impl Environment {
    fn check(&self, name: &str) -> Result<()> {
        // What a manifest would refuse is refused where it was written.
        validate::environment(name).map_err(anyhow::Error::msg)?;
        validate::reference(&self.reference).map_err(anyhow::Error::msg)?;
        validate::name("platform", &self.platform, "/").map_err(anyhow::Error::msg)?;
        ensure!(
            self.memory_bytes != Some(0) && self.pids != Some(0),
            "fields `memory_bytes` and `pids`: expected more than 0, or leave them away"
        );
        ensure!(
            self.engine != Some(Engine::Host),
            "field `engine`: the host runs no image"
        );
        ensure!(
            self.manifest.is_some() == self.config.is_some(),
            "fields `manifest` and `config` go together; lock it again with `assay env lock`"
        );
        ensure!(
            self.config.is_some() || self.file.is_some(),
            "has neither digests nor a file; lock it again with `assay env lock`"
        );
        Ok(())
    }

    /// The image as manifests name it.
    pub fn image(&self, name: &str) -> Image {
        let oci = self
            .manifest
            .zip(self.config)
            .map(|(manifest, config)| OciDigests {
                index: self.index,
                manifest,
                config,
            });
        Image {
            environment: name.into(),
            reference: self.reference.clone(),
            platform: self.platform.clone(),
            oci,
            file: self.file.as_ref().map(|file| ImageFile {
                format: file.format,
                digest: file.digest,
            }),
            limits: Limits {
                memory_bytes: self.memory_bytes.map(U64),
                pids: self.pids,
            },
        }
    }

    /// What runs it: as it says, as the settings say, or what is here.
    pub fn engine(&self, settings: &Settings) -> Engine {
        let is_sif = self
            .file
            .as_ref()
            .is_some_and(|file| file.format == ImageFormat::Sif);
        let usual = if is_sif {
            Engine::Apptainer
        } else {
            usual_engine(settings)
        };
        self.engine.unwrap_or(usual)
    }
}

/// The engine of this project: as the settings say, else the first that is here.
pub fn usual_engine(settings: &Settings) -> Engine {
    let is_here = |engine: &Engine| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(engine.name()).is_file())
    };
    let found = || [Engine::Podman, Engine::Docker].into_iter().find(is_here);
    settings.engine.or_else(found).unwrap_or(Engine::Podman)
}

/// An environment by its name, as an arm has it.
pub fn pinned(name: &str, settings: &Settings) -> Result<Pinned> {
    let lock = Lock::read(settings)?;
    let environment = lock.get(name, settings)?;
    Ok(Pinned {
        engine: environment.engine(settings),
        image: environment.image(name),
        worker: environment.worker.unwrap_or_else(worker::none),
    })
}

/// Folder where files of images lie under their digests, beside the database.
pub fn images(settings: &Settings) -> PathBuf {
    let beside = settings.database.parent().unwrap_or(Path::new(""));
    beside.join("images")
}

/// The file of an image: where the lock file says, or kept under its digest. Its content is what the manifest pins.
pub fn file(image: &Image, settings: &Settings) -> Result<PathBuf> {
    let Some(wanted) = &image.file else {
        bail!(
            "environment `{}` is no file; lock one with `assay env lock {0} --file FILE`",
            image.environment
        );
    };
    let folder = settings.environments.parent().unwrap_or(Path::new(""));
    let locked = Lock::read(settings).ok().and_then(|lock| {
        let file = lock.environments.get(&image.environment)?.file.clone()?;
        let path = folder.join(file.path);
        // The lock file may name it by a way up from where it lies itself.
        Some(path.canonicalize().unwrap_or(path))
    });
    let kept = images(settings).join(wanted.digest.hex());
    let here: Vec<PathBuf> = locked
        .into_iter()
        .chain([kept.clone()])
        .filter(|file| file.is_file())
        .collect();
    for file in &here {
        if file_digest(file)? == wanted.digest {
            return Ok(file.clone());
        }
    }
    let what = match here.first() {
        Some(file) => format!(
            "{}: another file, expected {}",
            file.display(),
            wanted.digest
        ),
        None => format!(
            "the file of environment `{}` ({}) is not here",
            image.environment, wanted.digest
        ),
    };
    Err(CouldNotRun(format!(
        "{what}; put it at {}, or lock anew with `assay env lock`",
        kept.display()
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::Lock;

    const ENTRY: &str =
        "schema = 1\n[environment.w]\nreference = \"localhost/w\"\nplatform = \"linux/amd64\"\n";
    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_lock_file_reads_back() {
        let text = format!("{ENTRY}manifest = \"{DIGEST}\"\nconfig = \"{DIGEST}\"\npids = 7\n");
        let lock = Lock::parse(&text).unwrap();
        assert_eq!(Lock::parse(&toml::to_string(&lock).unwrap()).unwrap(), lock);
        let image = lock.environments["w"].image("w");
        assert_eq!(
            (image.limits.pids, image.oci.unwrap().index),
            (Some(7), None)
        );
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_its_field() {
        for (text, expected) in [
            ("schema = 2\nother = 1\n".to_owned(), "newer"),
            ("environment = {}\n".to_owned(), "schema"),
            (ENTRY.to_owned(), "neither digests nor a file"),
            (format!("{ENTRY}manifest = \"{DIGEST}\"\n"), "go together"),
            (format!("{ENTRY}config = \"latest\"\n"), "config"),
            (format!("{ENTRY}tag = \"latest\"\n"), "tag"),
            (
                ENTRY.replace("localhost/w", "localhost/w:latest"),
                "without tag",
            ),
            (
                ENTRY.replace("localhost/w", "--privileged"),
                "no repository",
            ),
            (
                ENTRY.replace("environment.w", "environment.\"../w\""),
                "no name",
            ),
            (
                ENTRY.replace("linux/amd64", "bogus platform!!"),
                "field `platform`",
            ),
            (format!("{ENTRY}pids = 0\n"), "more than 0"),
            (
                format!(
                    "{ENTRY}engine = \"host\"\nmanifest = \"{DIGEST}\"\nconfig = \"{DIGEST}\"\n"
                ),
                "the host runs no image",
            ),
        ] {
            let error = format!("{:#}", Lock::parse(&text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
