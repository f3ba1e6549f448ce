//! The images of a run's containers as files: out of an engine's store or from where they lie, and back to where a run looks.
//!
//! What an engine writes says when it was written; here an archive keeps names and content alone, so that one image gives the
//! same bytes each time. What comes back is found by its digests, as every image is.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_record::{Arm, Image, OciDigests, manifest::Engine};
use tar::{Archive, Builder, EntryType, Header};
use tempfile::NamedTempFile;

use super::format::{Part, What};
use super::reading::{Bundle, cannot_write};
use crate::engines::{oci, podman};
use crate::environments;
use crate::settings::Settings;

/// Where an image is, to be put into a bundle.
#[derive(Debug)]
pub enum Found {
    /// A file that it comes as.
    File(PathBuf),
    /// An archive that was made of it.
    Archive(File),
}

/// The digest by which a bundle knows an image.
pub fn key(image: &Image) -> Result<Digest> {
    let stored = image.oci.map(|oci| oci.manifest);
    let file = image.file.as_ref().map(|file| file.digest);
    file.or(stored).context("an image without a digest")
}

/// The image of an arm, by content; `scratch` has room for it meanwhile.
pub fn find(arm: &Arm, image: &Image, settings: &Settings, scratch: &Path) -> Result<Found> {
    if image.file.is_some() {
        return Ok(Found::File(environments::file(image, settings)?));
    }
    ensure!(
        arm.engine == Engine::Podman,
        "arm `{}`: its image lies in the store of {}, and only podman gives one out as it was; \
         lock a file of it with `assay env lock {} --file FILE`",
        arm.name,
        arm.engine.name(),
        image.environment
    );
    let id = oci::find(&podman::CLIENT, image, settings)?;
    let folder = tempfile::tempdir_in(scratch).map_err(|error| cannot_write(&error))?;
    let saved = folder.path().join("image.tar");
    let words = [
        "save",
        "--quiet",
        "--format",
        "oci-archive",
        "--uncompressed",
        "--output",
    ];
    let mut words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    words.extend([saved.as_os_str(), &id]);
    podman::CLIENT.act(&words)?;
    let made = tempfile::tempfile_in(scratch).map_err(|error| cannot_write(&error))?;
    normalise(&File::open(&saved)?, &made).context("the archive that podman made")?;
    Ok(Found::Archive(made))
}

/// The same files in the same order, with no times and owners.
fn normalise(from: &File, into: &File) -> Result<()> {
    let mut made = Builder::new(into);
    for entry in Archive::new(from).entries()? {
        let entry = entry?;
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory {
            continue;
        }
        let path = entry.path()?.into_owned();
        ensure!(kind == EntryType::Regular, "{}: no file", path.display());
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(entry.size());
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        made.append_data(&mut header, path, entry)
            .map_err(|error| cannot_write(&error))?;
    }
    made.into_inner().map_err(|error| cannot_write(&error))?;
    Ok(())
}

/// Puts the image of an arm where its engine finds it, unless it is there. Returns the digests that its content has there where
/// those are others: an engine gives out no layer as it was compressed in a registry, and what it compresses is another manifest.
pub fn lay(
    bundle: &Bundle,
    part: &Part,
    arm: &Arm,
    settings: &Settings,
) -> Result<Option<OciDigests>> {
    let Some(image) = &arm.image else {
        return Ok(None);
    };
    if let Some(file) = &image.file {
        ensure!(
            part.content.sha256 == file.digest,
            "{}: another file, expected {}",
            part.what,
            file.digest
        );
        let kept = environments::images(settings).join(file.digest.hex());
        let copy = unpacked(bundle, part, settings)?;
        copy.persist(kept)
            .map_err(|error| cannot_write(&error.error))?;
        return Ok(None);
    }
    let client = environments::lock::client_of(arm.engine)?;
    if oci::find(&client, image, settings).is_err() {
        let copy = unpacked(bundle, part, settings)?;
        oci::load(&client, copy.path())?;
    }
    let there = oci::as_stored(&client, image)?;
    Ok(there.filter(|there| Some(*there) != image.oci))
}

/// An image as a file beside those that are kept: where the system keeps its temporary files may be no room for it.
fn unpacked(bundle: &Bundle, part: &Part, settings: &Settings) -> Result<NamedTempFile> {
    let folder = environments::images(settings);
    fs::create_dir_all(&folder).map_err(|error| cannot_write(&error))?;
    let mut copy = NamedTempFile::new_in(&folder).map_err(|error| cannot_write(&error))?;
    bundle.extract(part, copy.as_file_mut())?;
    Ok(copy)
}

/// The part of a bundle that is an arm's image.
pub fn part_of<'a>(bundle: &'a Bundle, arm: &Arm) -> Option<&'a Part> {
    let key = key(arm.image.as_ref()?).ok()?;
    bundle.contents.part(|what| *what == What::Image(key))
}
