//! Apptainer, which clusters have: an image is one file, pinned by its SHA-256, and there is no daemon.
//!
//! Its program becomes the container's: nothing outlives the command. Bounds on memory and processes need a system with control
//! groups that users may use, so they are set only where the environment's lock says them.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use assay_record::{Arm, Image, ImageFormat};

use super::client::{Client, last_line};
use super::{DIR, Engine, Mismatch, Needs, Ran, Sandbox, Start, cdi, host, named};
use crate::environments;
use crate::errors::CouldNotRun;
use crate::settings::Settings;

/// Its program.
const CLIENT: Client = Client {
    program: "apptainer",
    remedy: "load its module or install it, name another engine as `engine` in assay.toml, or run on the host, without --env or by `reproduce --on-host`",
    daemon: (&[], ""),
};

/// What no container gets: the user's files, variables, processes and network, capabilities, and a shell's second look at arguments.
const CONTAINED: [&str; 9] = [
    "exec",
    "--containall",
    "--cleanenv",
    "--no-home",
    "--no-eval",
    "--net",
    "--network=none",
    "--drop-caps=all",
    "--no-privs",
];
/// Variables of a container, in the engine's own environment, by their prefix: `--env` would take a comma for the next one.
const PREFIXES: [&str; 2] = ["APPTAINERENV_", "SINGULARITYENV_"];

/// Containers of one file.
#[derive(Debug)]
pub struct Apptainer {
    sandbox: Sandbox,
    file: PathBuf,
    /// The file as it was when its digest was taken.
    seen: (u64, u64, u64, i64, i64),
    version: String,
    host: host::Host,
}

impl Apptainer {
    /// With a file that is here and has the digest of the manifest.
    pub fn ready(arm: &Arm, image: &Image, settings: &Settings, needs: &Needs) -> Result<Self> {
        let file = environments::file(image, settings)?;
        let version = version()?;
        let seen = identity(&file)?;
        let is_sif = image
            .file
            .as_ref()
            .is_some_and(|of| of.format == ImageFormat::Sif);
        let mut subject = OsString::from(if is_sif { "" } else { "oci-archive:" });
        subject.push(&file);
        Ok(Self {
            sandbox: Sandbox::new(arm, image, subject, needs, gpus(needs, Path::new("/")))?,
            file,
            seen,
            version,
            host: host::Host::new()?,
        })
    }

    fn argv(&self) -> Vec<OsString> {
        let mut argv: Vec<OsString> = CONTAINED.map(OsString::from).to_vec();
        let limits = self.sandbox.image.limits;
        argv.extend(
            limits
                .memory_bytes
                .map(|bytes| format!("--memory={bytes}").into()),
        );
        argv.extend(
            limits
                .pids
                .map(|pids| format!("--pids-limit={pids}").into()),
        );
        argv.extend(self.sandbox.gpus.iter().map(OsString::from));
        for (from, to, is_writable) in self.sandbox.mounts() {
            let access = if is_writable { "rw" } else { "ro" };
            argv.push(format!("--bind={}:{to}:{access}", from.display()).into());
        }
        argv.push(self.sandbox.subject.clone());
        argv
    }
}

/// The option that gives GPUs to a container, on a machine seen from `root`.
fn gpus(needs: &Needs, root: &Path) -> Vec<String> {
    let has_gpus = needs.gpus && cdi::has_driver(root);
    has_gpus.then(|| "--nv".into()).into_iter().collect()
}

fn version() -> Result<String> {
    let answer = CLIENT.ask(&[OsStr::new("--version")])?;
    let said = String::from_utf8_lossy(&answer.stdout);
    Ok(last_line(&said)
        .trim_start_matches("apptainer version ")
        .to_owned())
}

/// By what a file that was replaced or written to is noticed, without reading gigabytes each time.
fn identity(file: &Path) -> Result<(u64, u64, u64, i64, i64)> {
    let of = |meta: Metadata| {
        (
            meta.dev(),
            meta.ino(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec(),
        )
    };
    let meta = std::fs::metadata(file);
    Ok(meta
        .map(of)
        .map_err(|error| CouldNotRun(format!("{}: {error}", file.display())))?)
}

impl Engine for Apptainer {
    fn command(&self, start: &Start<'_>) -> Result<Command> {
        let mut argv = self.argv();
        argv.extend(start.prefix.iter().map(OsString::from));
        argv.extend(start.argv.iter().cloned());
        let mut command = self.host.guarded(CLIENT.program, argv);
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy();
            if PREFIXES.iter().any(|prefix| shown.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        for (name, value) in &self.sandbox.env {
            command.env(format!("{}{name}", PREFIXES[0]), value);
        }
        Ok(command)
    }

    fn inside(&self, _dir: &Path) -> PathBuf {
        DIR.into()
    }

    fn inspect(&self, _name: &str) -> Result<Option<Ran>> {
        let image = &self.sandbox.image;
        let digest = image
            .file
            .as_ref()
            .map_or(String::new(), |file| file.digest.to_string());
        if identity(&self.file)? != self.seen {
            return Err(Mismatch(format!(
                "{}: {} was changed since its digest was found to be {digest}",
                named(image),
                self.file.display()
            ))
            .into());
        }
        Ok(Some(Ran {
            pid: None,
            words: format!(
                "`{}` in a container of apptainer {}, from a file that is still what it was when its digest was taken: {digest}",
                image.environment, self.version
            ),
        }))
    }
}
