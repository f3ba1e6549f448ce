//! Locking: what an image is, found once, from a name that may move to digests that do not.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::Digest;
use assay_record::{Engine, ImageFormat, validate};

use super::{Environment, LockedFile, documents, usual_engine, worker};
use crate::engines::client::Client;
use crate::engines::oci;
use crate::engines::{docker, podman};
use crate::errors::CouldNotRun;
use crate::plan::{file_digest, project};
use crate::settings::Settings;

/// What an image is, by a name in an engine's store: `localhost/mine:latest`, an id.
pub fn image(name: &str, settings: &Settings) -> Result<Environment> {
    let engine = usual_engine(settings);
    let client = client_of(engine)?;
    let mut environment = stored(&client, name, None)?;
    environment.engine = Some(engine);
    Ok(environment)
}

/// The program that knows an engine's store.
pub fn client_of(engine: Engine) -> Result<Client> {
    match engine {
        Engine::Podman => Ok(podman::CLIENT),
        Engine::Docker => Ok(docker::CLIENT),
        Engine::Apptainer | Engine::Host => {
            bail!(
                "{} has no store of images; lock a file with --file",
                engine.name()
            )
        }
    }
}

/// What is known of an image in an engine's store; `otherwise` is what it is called where it has no name there.
pub fn stored(client: &Client, name: &str, otherwise: Option<&str>) -> Result<Environment> {
    let found = oci::stored(client, name)?.ok_or_else(|| {
        CouldNotRun(format!(
            "{} has no image `{name}`; `{0} images` lists what it has, `{0} pull {name}` fetches it",
            client.program
        ))
    })?;
    let reference = repository(name, &found.names, otherwise)?;
    let named = documents::tell_apart(client, &reference, &found);
    Ok(Environment {
        reference,
        platform: found.platform.clone(),
        engine: None,
        index: named.index,
        manifest: Some(named.manifest),
        config: Some(found.id),
        worker: worker_in(client, &found.id)?,
        memory_bytes: None,
        pids: None,
        file: None,
        built: None,
    })
}

/// The repository of a name: what is before tag and digest; of an id, that of one of its names, or `otherwise`.
fn repository(name: &str, names: &[String], otherwise: Option<&str>) -> Result<String> {
    let of = |name: &str| {
        let name = name.split('@').next().unwrap_or_default();
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let end = name[last..].find(':').map_or(name.len(), |at| last + at);
        name[..end].to_owned()
    };
    let is_id = oci::digest(name).is_some();
    // An engine knows what it was called in full.
    let known = names
        .iter()
        .map(|name| of(name))
        .find(|known| is_id || known.ends_with(&of(name)));
    let repository = match (known, otherwise) {
        (Some(known), _) => known,
        (None, Some(otherwise)) if is_id => otherwise.to_owned(),
        (None, _) => {
            ensure!(
                !is_id,
                "the image {name} has no name; give it one with `podman tag`"
            );
            of(name)
        }
    };
    validate::reference(&repository).map_err(anyhow::Error::msg)?;
    Ok(repository)
}

/// SHA-256 of the built-in worker in an image.
fn worker_in(client: &Client, id: &Digest) -> Result<Option<Digest>> {
    let folder = tempfile::tempdir().context("no folder for a worker")?;
    let to = folder.path().join("worker");
    let has_one = worker::copy_out(client, OsStr::new(&id.to_string()), &to)?;
    has_one.then(|| file_digest(&to)).transpose()
}

/// What an image is that comes as a file: an OCI archive, which an engine loads, or a SIF file.
pub fn file(path: &Path, settings: &Settings) -> Result<Environment> {
    let digest = file_digest(path)?;
    let format = format_of(path)?;
    let mut environment = match format {
        ImageFormat::Sif => of_sif(path)?,
        ImageFormat::OciArchive => {
            let engine = usual_engine(settings);
            let client = client_of(engine)?;
            let name = load(&client, path)?;
            let mut environment = stored(&client, &name, Some(stem(path)))?;
            environment.engine = Some(engine);
            environment
        }
    };
    environment.file = Some(LockedFile {
        path: from_lock_file(path, settings)?,
        format,
        digest,
    });
    Ok(environment)
}

/// Loads an archive, and says under which name or id.
fn load(client: &Client, path: &Path) -> Result<String> {
    let words = [OsStr::new("load"), OsStr::new("--input"), path.as_os_str()];
    let said = String::from_utf8_lossy(&client.act(&words)?).into_owned();
    // `Loaded image: localhost/x:latest`, `Loaded image ID: sha256:...`
    let name = said.lines().rev().find_map(|line| {
        line.split_once(": ")
            .map(|(_, name)| name.trim().to_owned())
    });
    name.with_context(|| {
        format!(
            "`{} load` does not say what it loaded: {said}",
            client.program
        )
    })
}

/// What a file is called, for an image that has no other name.
fn stem(path: &Path) -> &str {
    path.file_stem().and_then(OsStr::to_str).unwrap_or_default()
}

fn of_sif(path: &Path) -> Result<Environment> {
    validate::reference(stem(path)).map_err(anyhow::Error::msg)?;
    Ok(Environment {
        reference: stem(path).to_owned(),
        platform: format!("linux/{}", architecture()),
        engine: Some(Engine::Apptainer),
        index: None,
        manifest: None,
        config: None,
        worker: None,
        memory_bytes: None,
        pids: None,
        file: None,
        built: None,
    })
}

/// The architecture of this machine, as images call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// By its first bytes: SIF names itself behind a line for the shell; an archive is a tar file.
fn format_of(path: &Path) -> Result<ImageFormat> {
    let say = || path.display().to_string();
    let mut head = [0; 512];
    let mut file = std::fs::File::open(path).with_context(say)?;
    let read = std::io::Read::read(&mut file, &mut head).with_context(say)?;
    let head = &head[..read];
    if head.windows(8).any(|bytes| bytes == b"SIF_MAGI") {
        return Ok(ImageFormat::Sif);
    }
    if head.get(257..262) == Some(b"ustar") {
        return Ok(ImageFormat::OciArchive);
    }
    bail!(
        "{}: neither an OCI archive (a tar file, as `podman save --format oci-archive` writes it) nor a SIF file",
        path.display()
    )
}

/// A file's place from the folder of the lock file, so that both can move together; where no project holds both, from the
/// root, which is said.
fn from_lock_file(path: &Path, settings: &Settings) -> Result<PathBuf> {
    let full = path
        .canonicalize()
        .with_context(|| path.display().to_string())?;
    let folder = project::resolve(settings.environments.parent().unwrap_or(Path::new("")));
    let project = project::resolve(&settings.project);
    if let Some(from_there) = between(&folder, &full, &project) {
        return Ok(from_there);
    }
    crate::note!(
        "note: {} lies outside the project: the lock file names it from the root of this machine. Elsewhere it is found in {} under its SHA-256",
        full.display(),
        super::images(settings).display()
    );
    Ok(full)
}

/// The way from a folder to a file, if it does not leave `within` or goes down alone.
fn between(folder: &Path, file: &Path, within: &Path) -> Option<PathBuf> {
    let mut way = PathBuf::new();
    for above in folder.ancestors() {
        if let Ok(below) = file.strip_prefix(above) {
            let stays = above == folder || above.starts_with(within);
            return stays.then(|| way.join(below));
        }
        way.push("..");
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{between, repository};

    #[test]
    fn a_repository_is_what_is_before_tag_and_digest() {
        let names = vec!["localhost/mine:latest".to_owned()];
        let id = "0".repeat(64);
        for (name, names, expected) in [
            ("localhost/mine:v1", &[][..], "localhost/mine"),
            ("r.example:5000/a/b@sha256:00", &[], "r.example:5000/a/b"),
            ("mine", &names, "localhost/mine"),
            (&id, &names, "localhost/mine"),
        ] {
            assert_eq!(repository(name, names, None).unwrap(), expected);
            assert_eq!(repository(name, names, Some("file")).unwrap(), expected);
        }
        assert_eq!(repository(&id, &[], Some("file")).unwrap(), "file");
        assert!(repository(&id, &[], None).is_err());
        assert!(repository(&id, &[], Some("a file")).is_err());
        assert!(repository("--x", &[], None).is_err());
    }

    #[test]
    fn a_file_is_named_from_the_lock_file_within_the_project() {
        for (folder, file, expected) in [
            ("/p/containers", "/p/containers/a/x.sif", Some("a/x.sif")),
            ("/p/containers", "/p/x.sif", Some("../x.sif")),
            ("/p/a/b", "/p/c/x.sif", Some("../../c/x.sif")),
            ("/p/containers", "/x.sif", None),
            ("/elsewhere/locks", "/elsewhere/x.sif", None),
            ("/elsewhere/locks", "/elsewhere/locks/x.sif", Some("x.sif")),
        ] {
            let way = between(Path::new(folder), Path::new(file), Path::new("/p"));
            assert_eq!(way.as_deref(), expected.map(Path::new), "{file}");
        }
    }
}
