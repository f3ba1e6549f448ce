//! What podman and docker have in common: options, the words of `inspect`, and when an image is the one that was pinned.

mod given;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use assay_protocol::Digest;
use assay_record::{Image, OciDigests};
use serde_json::Value;

use super::client::Client;
use super::{Mismatch, Ran, Sandbox, Start, named};
use crate::environments;
use crate::errors::CouldNotRun;
use crate::settings::Settings;

/// Space that a container has to write to, all of it in memory.
const TMPFS: &str = "/tmp:rw,nosuid,nodev,size=256m,mode=1777";
/// Processes and threads of a container, where nobody said otherwise: more than any worker starts, fewer than would harm.
const PIDS: u32 = 4096;
/// Memory of a container in eighths of the machine's, where nobody said otherwise: so that the machine outlives it.
const MEMORY_EIGHTHS: u64 = 7;

/// The options of `run` that both engines know, up to the image, and what follows it.
pub fn run(sandbox: &Sandbox, start: &Start<'_>, own: &[&str]) -> Result<Vec<OsString>> {
    let limits = sandbox.image.limits;
    let memory = limits
        .memory_bytes
        .map_or_else(most_memory, |bytes| Ok(bytes.0))?;
    let pids = limits.pids.unwrap_or(PIDS);
    let mut argv: Vec<OsString> = [
        "run",
        "--interactive",
        "--name",
        start.name,
        "--pull",
        "never",
        "--network",
        "none",
        "--read-only",
        "--tmpfs",
        TMPFS,
        "--cap-drop",
        "all",
        "--security-opt",
        "no-new-privileges",
        "--log-driver",
        "none",
        "--no-healthcheck",
    ]
    .iter()
    .chain(own)
    .map(OsString::from)
    .collect();
    argv.push(format!("--memory={memory}").into());
    // As much as of memory alone: none of it is swap.
    argv.push(format!("--memory-swap={memory}").into());
    argv.push(format!("--pids-limit={pids}").into());
    argv.extend(sandbox.gpus.iter().map(OsString::from));
    for (from, to, is_writable) in sandbox.mounts() {
        let access = if is_writable { "" } else { ",readonly" };
        argv.push(
            format!(
                "--mount=type=bind,source={},target={to}{access}",
                from.display()
            )
            .into(),
        );
    }
    for (name, value) in &sandbox.env {
        argv.push(format!("--env={name}={value}").into());
    }
    let mut command = start
        .prefix
        .iter()
        .map(OsString::from)
        .chain(start.argv.iter().cloned());
    if let Some(program) = command.next() {
        argv.extend(["--entrypoint".into(), program]);
    }
    argv.push(sandbox.subject.clone());
    argv.extend(command);
    Ok(argv)
}

/// Most memory of a container here, in bytes.
fn most_memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let kilobytes: u64 = total.and_then(|text| text.parse().ok()).ok_or_else(|| {
        CouldNotRun("/proc/meminfo says nothing of MemTotal; bound the memory of containers by `memory_bytes` in the lock file".into())
    })?;
    Ok(kilobytes * 1024 / 8 * MEMORY_EIGHTHS)
}

/// How long an engine may take to notice that a container has ended.
const SETTLING: Duration = Duration::from_secs(3);
/// How often it is asked meanwhile.
const TICK: Duration = Duration::from_millis(50);

/// An image of an engine's store, as `inspect` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its id: the digest of its configuration; with containerd's store under Docker, that of its manifest or index.
    pub id: Digest,
    /// Digests of manifests and indexes under which the store knows it.
    pub digests: Vec<Digest>,
    /// Operating system and architecture.
    pub platform: String,
    /// Names under which the store knows it, with their tags.
    pub names: Vec<String>,
}

impl Stored {
    /// From the answer of `image inspect`.
    pub fn parse(found: &Value) -> Option<Self> {
        let text = |field: &str| found.get(field).and_then(Value::as_str);
        let list = |field: &str| -> Vec<String> {
            let texts = given::texts(found.get(field));
            texts.map(str::to_owned).collect()
        };
        let with_name = list("RepoDigests");
        let of_names = with_name.iter().filter_map(|name| name.rsplit('@').next());
        let mut digests: Vec<Digest> = Vec::new();
        for digest in text("Digest")
            .into_iter()
            .chain(of_names)
            .filter_map(digest)
        {
            if !digests.contains(&digest) {
                digests.push(digest);
            }
        }
        Some(Self {
            id: digest(text("Id")?)?,
            digests,
            platform: format!("{}/{}", text("Os")?, text("Architecture")?),
            names: list("RepoTags"),
        })
    }

    /// Whether it is what was pinned. Where a store knows no manifest of it, as of what was built under Docker, the
    /// configuration alone says so: it names every layer by content.
    pub fn check(&self, image: &Image, oci: &OciDigests) -> Result<()> {
        let is_known = |digest: &Digest| self.digests.contains(digest);
        let by_manifest = is_known(&oci.manifest) || oci.index.as_ref().is_some_and(is_known);
        let by_address = self.id == oci.manifest || Some(self.id) == oci.index;
        let wrong = if self.id != oci.config && !by_address {
            format!(
                "its configuration is {}, and {} is pinned",
                self.id, oci.config
            )
        } else if !self.digests.is_empty() && !by_manifest && !by_address {
            let all: Vec<String> = self.digests.iter().map(Digest::to_string).collect();
            format!(
                "its manifest is {}, and {} is pinned",
                all.join(" or "),
                oci.manifest
            )
        } else if self.platform != image.platform {
            format!(
                "it is for {}, and {} is pinned",
                self.platform, image.platform
            )
        } else {
            return Ok(());
        };
        Err(CouldNotRun(format!(
            "{} is another one here: {wrong}; `assay env verify` compares all, `assay env lock` pins anew",
            named(image)
        ))
        .into())
    }
}

/// A digest with or without its algorithm's name.
pub fn digest(text: &str) -> Option<Digest> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    format!("sha256:{digits}").parse().ok()
}

/// What is known of an image by some name or id; `None` where the store has no such thing.
pub fn stored(client: &Client, name: &str) -> Result<Option<Stored>> {
    let words = ["image", "inspect", name].map(OsStr::new);
    let Some(found) = client.inspect(&words)? else {
        return Ok(None);
    };
    let stored = Stored::parse(&found).ok_or_else(|| {
        CouldNotRun(format!(
            "`{} image inspect` says neither Id nor platform",
            client.program
        ))
    })?;
    Ok(Some(stored))
}

/// The image as the engine's store has it: its id, which no tag can move. One that is not there is loaded from its file,
/// where it has one, and never fetched.
pub fn find(client: &Client, image: &Image, settings: &Settings) -> Result<OsString> {
    let oci = image.oci.ok_or_else(|| {
        CouldNotRun(format!(
            "{} has no digests by which {} runs it",
            named(image),
            client.program
        ))
    })?;
    if let Some(id) = pinned(client, image, &oci)? {
        return Ok(id);
    }
    if image.file.is_some() {
        let file = environments::file(image, settings)?;
        load(client, &file)?;
        if let Some(id) = pinned(client, image, &oci)? {
            return Ok(id);
        }
        let what = format!(
            "{} is not what its file {} holds",
            named(image),
            file.display()
        );
        return Err(CouldNotRun(format!("{what}: expected {}", oci.config)).into());
    }
    let (name, program) = (&image.environment, client.program);
    let remedy = if is_built_here(image) {
        format!(
            "it lies in no registry: `assay env build {name}` builds and locks it anew, and `{program} load --input FILE`, or a bundle \
             that was made with --with-image, brings that of somebody who has it"
        )
    } else {
        format!(
            "`assay env pull {name}` fetches what the lock file pins, `{program} pull {}` this very one; `assay env lock {name} IMAGE` pins another",
            by_digest(image, &oci)
        )
    };
    Err(CouldNotRun(format!(
        "{} is not in the store of {program}: no image there is {}; {remedy}",
        named(image),
        oci.config,
    ))
    .into())
}

/// By what a registry gives out an image and no other.
pub fn by_digest(image: &Image, oci: &OciDigests) -> String {
    format!("{}@{}", image.reference, oci.index.unwrap_or(oci.manifest))
}

/// Whether an image was built on some machine, and so lies in no registry.
pub fn is_built_here(image: &Image) -> bool {
    image.reference.starts_with("localhost/")
}

/// The id of a stored image, by any of its digests, if it is what was pinned.
fn pinned(client: &Client, image: &Image, oci: &OciDigests) -> Result<Option<OsString>> {
    let by_manifest = format!("{}@{}", image.reference, oci.manifest);
    for name in [oci.config.to_string(), by_manifest] {
        if let Some(stored) = stored(client, &name)? {
            stored.check(image, oci)?;
            return Ok(Some(stored.id.to_string().into()));
        }
    }
    Ok(None)
}

/// The digests under which a store has the content of an image: the pinned ones, or those of another packing of it, where an
/// engine unpacked the layers and packed them its own way. `None` where it is not there at all.
pub fn as_stored(client: &Client, image: &Image) -> Result<Option<OciDigests>> {
    let Some(oci) = image.oci else {
        return Ok(None);
    };
    let found = stored(client, &oci.config.to_string())?;
    let found = found.filter(|found| found.id == oci.config && found.platform == image.platform);
    Ok(found.map(|found| {
        if found.digests.is_empty() || found.check(image, &oci).is_ok() {
            return oci;
        }
        OciDigests {
            index: None,
            manifest: found.digests[0],
            config: oci.config,
        }
    }))
}

/// Puts an OCI archive into the store.
pub fn load(client: &Client, file: &Path) -> Result<()> {
    let words = [OsStr::new("load"), OsStr::new("--input"), file.as_os_str()];
    client.act(&words).map(|_| ())
}

/// Variables that a stored image sets, as `NAME=VALUE`.
pub fn image_env(client: &Client, id: &OsStr) -> Result<Vec<String>> {
    let words = [OsStr::new("image"), OsStr::new("inspect"), id];
    let found = client.inspect(&words)?.unwrap_or_default();
    let texts = given::texts(found.pointer("/Config/Env"));
    Ok(texts.map(str::to_owned).collect())
}

/// What runs in a container and what it was given, compared with what its arm names.
pub fn inspect(client: &Client, sandbox: &Sandbox, name: &str, version: &str) -> Result<Ran> {
    let words = ["container", "inspect", name].map(OsStr::new);
    let found = client.inspect(&words)?.ok_or_else(|| {
        CouldNotRun(format!(
            "`{} container inspect {name}` finds no such container",
            client.program
        ))
    })?;
    let digests = |id: &Digest| {
        let image = stored(client, &id.to_string())?;
        Ok(image.map_or(Vec::new(), |image| image.digests))
    };
    compare(client, sandbox, &found, version, digests)
}

/// `digests` are those that a store knows an image by: a container names one of them, not always that of the manifest.
fn compare(
    client: &Client,
    sandbox: &Sandbox,
    found: &Value,
    version: &str,
    digests: impl FnOnce(&Digest) -> Result<Vec<Digest>>,
) -> Result<Ran> {
    let image = &sandbox.image;
    let text = |pointer: &str| found.pointer(pointer).and_then(Value::as_str);
    let runs = text("/Image").and_then(digest);
    let manifest = text("/ImageDigest")
        .or(text("/ImageManifestDescriptor/digest"))
        .and_then(digest);
    let oci = image.oci.as_ref();
    let is_pinned = |of: Digest| {
        oci.is_some_and(|oci| [Some(oci.config), Some(oci.manifest), oci.index].contains(&Some(of)))
    };
    let (Some(runs), Some(oci)) = (runs.filter(|runs| is_pinned(*runs)), oci) else {
        let runs = runs.map_or("an image that it does not name".into(), |runs| {
            runs.to_string()
        });
        let pinned = oci.map_or(String::new(), |oci| oci.config.to_string());
        return Err(Mismatch(format!(
            "the container of {} runs {runs}, and the manifest pins {pinned}",
            named(image)
        ))
        .into());
    };
    let other = manifest.filter(|manifest| !is_pinned(*manifest));
    if let Some(other) = other
        && !digests(&runs)?.into_iter().any(is_pinned)
    {
        return Err(Mismatch(format!(
            "the container of {} runs the manifest {other}, and {} is pinned",
            named(image),
            oci.manifest
        ))
        .into());
    }
    given::check(sandbox, found)
        .map_err(|what| Mismatch(format!("the container of {} {what}", named(image))))?;
    let manifest = manifest.map_or(String::new(), |manifest| format!(", manifest {manifest}"));
    let memory = found.pointer("/HostConfig/Memory").and_then(Value::as_u64);
    let bounds = if memory == Some(0) {
        "; its memory and processes are not bounded, for the engine cannot do so here"
    } else {
        ""
    };
    let pid = found.pointer("/State/Pid").and_then(Value::as_u64);
    Ok(Ran {
        // A daemon on another machine numbers its processes by itself.
        pid: pid
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|pid| *pid > 0),
        words: format!(
            "`{}` in a container of {} {version}, inspected while it ran: image {runs}{manifest}{bounds}",
            image.environment, client.program
        ),
    })
}

/// Why a container ended, if that was not its worker's own doing; `is_oom` if the kernel has ended something for want of
/// memory since it was started.
pub fn last_words(client: &Client, name: &str, is_oom: bool) -> Option<String> {
    let words = ["container", "inspect", name].map(OsStr::new);
    let deadline = Instant::now() + SETTLING;
    loop {
        let found = client.inspect(&words).ok()??;
        let runs = found.pointer("/State/Running").and_then(Value::as_bool);
        if runs != Some(true) || Instant::now() >= deadline {
            return ending(&found, is_oom);
        }
        std::thread::sleep(TICK);
    }
}

fn ending(found: &Value, is_oom: bool) -> Option<String> {
    let state = found.get("State")?;
    let flag = |field: &str| state.get(field).and_then(Value::as_bool) == Some(true);
    let code = state.get("ExitCode").and_then(Value::as_i64)?;
    let memory = found.pointer("/HostConfig/Memory").and_then(Value::as_u64);
    let bound = memory.map_or("all the".into(), |bytes| format!("the {bytes} bytes of"));
    match code {
        _ if flag("Running") => None,
        // Not every engine on every kernel is told when a container runs out of memory; the kernel counts.
        _ if flag("OOMKilled") || (code == 137 && is_oom) => Some(format!(
            "out of memory: its container used up {bound} memory that it may have, and was killed"
        )),
        137 => Some("its container was killed by signal 9, from outside".into()),
        143 => Some("its container was ended by signal 15, from outside".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
