//! `assay env`: environments pinned by digest. Locking looks a name up once; a run never does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use assay_record::{Engine, validate};

use crate::engines::{docker, oci, podman};
use crate::environments::build::{self, Recipe};
use crate::environments::{self, Environment, Lock, lock};
use crate::errors::Exit;
use crate::settings::Settings;

/// What to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Pin an image that is here, by name or as a file, under an environment's name.
    Lock(Locking),
    /// Compare what is here with what the lock file pins; exits with 1 where it differs.
    Verify(Naming),
    /// List the environments of the lock file.
    List,
    /// Build an image of its Containerfile, the same way twice, and pin it.
    Build(Building),
    /// Fetch an environment's image by its digest.
    Pull(Naming),
}

#[derive(Debug, clap::Args)]
struct Locking {
    /// Name of the environment.
    name: String,
    /// The image: a name with its tag, or an id.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    image: Option<String>,
    /// A file instead: an OCI archive or a SIF file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Naming {
    /// Environments; none: all of the lock file.
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Building {
    /// Name of the environment: `worker-cpu`, `worker-cuda`, or one with a folder beside the lock file.
    name: String,
    /// The built-in worker that the image gets; without it, `assay-worker` beside this program.
    #[arg(long, value_name = "PATH")]
    worker: Option<PathBuf>,
    /// A build argument; may be given again.
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    arguments: Vec<String>,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    match &args.what {
        What::Lock(locking) => lock_one(locking, &settings),
        What::Verify(naming) => verify(naming, &settings),
        What::List => list(&settings),
        What::Build(building) => build_one(building, &settings),
        What::Pull(naming) => pull(naming, &settings),
    }
}

fn lock_one(locking: &Locking, settings: &Settings) -> Result<Exit> {
    // Before an archive is loaded.
    validate::environment(&locking.name).map_err(anyhow::Error::msg)?;
    let environment = match (&locking.image, &locking.file) {
        (_, Some(file)) => lock::file(file, settings)?,
        (Some(image), None) => lock::image(image, settings)?,
        (None, None) => bail!("name an image, or a file with --file"),
    };
    let environment = build::keep(&locking.name, environment, settings)?;
    say(&locking.name, &environment, settings);
    Ok(Exit::Fine)
}

fn build_one(building: &Building, settings: &Settings) -> Result<Exit> {
    let mut arguments = BTreeMap::new();
    for argument in &building.arguments {
        let Some((name, value)) = argument.split_once('=') else {
            bail!("--arg {argument}: expected NAME=VALUE");
        };
        arguments.insert(name.to_owned(), value.to_owned());
    }
    let recipe = Recipe {
        name: building.name.clone(),
        worker: building.worker.clone(),
        arguments,
    };
    let environment = build::build(&recipe, settings)?;
    say(&building.name, &environment, settings);
    Ok(Exit::Fine)
}

/// Fetches each that can be, and says which cannot.
fn pull(naming: &Naming, settings: &Settings) -> Result<Exit> {
    let mut exit = Exit::Fine;
    for name in named(naming, settings)? {
        match build::pull(&name, settings) {
            Ok(()) => crate::say!("{name}: here"),
            Err(error) => {
                crate::note!("{name}: {error:#}");
                exit = Exit::CouldNotRun;
            }
        }
    }
    Ok(exit)
}

/// The lock file, and a note if there is nothing in it to be asked for.
fn filled(settings: &Settings) -> Result<Lock> {
    let lock = Lock::read(settings)?;
    if lock.environments.is_empty() {
        crate::note!(
            "{} has no environment; `assay env build worker-cpu` builds one",
            settings.environments.display()
        );
    }
    Ok(lock)
}

fn list(settings: &Settings) -> Result<Exit> {
    let lock = filled(settings)?;
    for (name, environment) in &lock.environments {
        say(name, environment, settings);
    }
    Ok(Exit::Fine)
}

/// Compares each with what is here: exit 1 where one is another or not here, 3 where its engine is not.
fn verify(naming: &Naming, settings: &Settings) -> Result<Exit> {
    let lock = filled(settings)?;
    let mut exit = Exit::Fine;
    for name in named(naming, settings)? {
        let environment = lock.get(&name, settings)?;
        answers(environment.engine(settings))?;
        match here(&name, environment, settings) {
            Ok(()) => crate::say!("{name}: as pinned"),
            Err(error) => {
                crate::say!("{name}: {error:#}");
                exit = Exit::Found;
            }
        }
        let built = environment.built.as_ref();
        let now = build::containerfile_digest(&name, settings);
        if built
            .zip(now)
            .is_some_and(|(built, now)| built.containerfile != now)
        {
            crate::say!(
                "{name}: its Containerfile was changed since; `assay env build {name}` builds it anew"
            );
        }
    }
    Ok(exit)
}

/// Whether an engine that has a store is there to be asked.
fn answers(engine: Engine) -> Result<()> {
    match engine {
        Engine::Podman => podman::version().map(drop),
        Engine::Docker => docker::version().map(drop),
        Engine::Apptainer | Engine::Host => Ok(()),
    }
}

fn here(name: &str, environment: &Environment, settings: &Settings) -> Result<()> {
    let image = environment.image(name);
    if image.file.is_some() {
        environments::file(&image, settings)?;
    }
    match environment.engine(settings) {
        Engine::Apptainer | Engine::Host => Ok(()),
        engine => oci::find(&lock::client_of(engine)?, &image, settings).map(drop),
    }
}

fn named(naming: &Naming, settings: &Settings) -> Result<Vec<String>> {
    let lock = Lock::read(settings)?;
    for name in &naming.names {
        lock.get(name, settings)?;
    }
    let all = || lock.environments.keys().cloned().collect();
    Ok(if naming.names.is_empty() {
        all()
    } else {
        naming.names.clone()
    })
}

/// An environment as people read it.
fn say(name: &str, environment: &Environment, settings: &Settings) {
    let engine = environment.engine(settings).name();
    crate::say!(
        "{name}  {engine}  {}  {}",
        environment.reference,
        environment.platform
    );
    let digests = [
        ("index", environment.index),
        ("manifest", environment.manifest),
        ("config", environment.config),
        ("worker", environment.worker),
        ("file", environment.file.as_ref().map(|file| file.digest)),
    ];
    for (what, digest) in digests {
        match digest {
            Some(digest) => crate::say!("    {what:<9} {digest}"),
            None if what == "index" && environment.manifest.is_some() => {
                crate::say!("    {what:<9} none: it is for one platform");
            }
            None => {}
        }
    }
}
