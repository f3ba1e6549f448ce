//! Laying a bundle out in the user's cache, so that its manifest runs as any other does: its project as a git repository
//! of its own, the suite's files, the workers among those that are kept, and the record among the user's records.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::Seek as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_record::{Arm, Manifest, ManifestFile, Record, RunId};
use git2::Repository;
use tempfile::{NamedTempFile, TempDir};

use super::cache::{self, Held};
use super::format::{Part, Place, What};
use super::reading::{Bundle, cannot_write};
use super::writing::lexical;
use super::{image, source, vendor};
use crate::errors::{CouldNotRun, in_words};
use crate::plan::{self, project, sources};
use crate::settings::Settings;
use crate::workers;

/// Longest manifest, in bytes, as everywhere.
const MAX_MANIFEST_BYTES: u64 = 256 << 20;
/// Longest commit object, in bytes.
const MAX_COMMIT_BYTES: u64 = 16 << 20;

/// A bundle that lies there ready to be run.
#[derive(Debug)]
pub struct Laid {
    /// Its manifest.
    pub file: ManifestFile,
    /// The run that it holds.
    pub run: RunId,
    /// Its record, among the user's.
    pub record: PathBuf,
    /// What `{dir}` stands for.
    pub dir: PathBuf,
    /// The user's settings, with the bundle's project in place of the user's.
    pub settings: Settings,
    /// What is otherwise here than the manifest had it, in words.
    pub notes: Vec<String>,
    /// Keeps what lies there where it is.
    pub held: Held,
}

/// Checks every byte of a bundle and lays it out.
///
/// With a worker of the user's, or one that is built here, programs for another machine are no hindrance; on the host no image is needed.
pub fn lay_out(
    bundle: &Bundle,
    settings: &Settings,
    own_worker: bool,
    on_host: bool,
) -> Result<Laid> {
    bundle.verify()?;
    let (file, record) = documents(bundle)?;
    check_data(bundle, &file.manifest)?;
    let here = super::platform();
    let theirs = &bundle.contents.platform;
    ensure!(
        own_worker || *theirs == here,
        CouldNotRun(format!(
            "the bundle's programs are for {theirs}, and this is {here}; `--worker PATH` measures a worker of yours in their place, and `--rebuild` builds it if the bundle was made with --with-vendor"
        ))
    );
    settings.prepare_folders()?;
    keep_workers(bundle, settings)?;
    let mut packed = file.manifest.clone();
    let mut notes = Vec::new();
    for arm in packed.arms.iter_mut().filter(|_| !on_host) {
        notes.extend(lay_image(bundle, arm, settings)?);
    }
    let is_whole = |root: &Path| is_whole(bundle, &file.manifest, root);
    let held = cache::hold(bundle, is_whole, |root| make(bundle, &file.manifest, root))?;
    let place = &bundle.contents.place;
    Ok(Laid {
        run: bundle.contents.run.clone(),
        record: keep_record(&record, bundle, settings)?,
        dir: dir_of(place, &held.root),
        settings: settings_of(place, &held.root, settings),
        file: ManifestFile::seal(&packed)?,
        notes,
        held,
    })
}

/// The user's settings, with a project that lies laid out in place of the user's.
pub fn settings_of(place: &Place, root: &Path, settings: &Settings) -> Settings {
    let mut of_bundle = settings.clone();
    of_bundle.project = root.join(FILES);
    let tree = root.join(TREE);
    if tree.is_dir() {
        let folder = tree.join(&place.project);
        // Its settings may have lain where git does not look.
        of_bundle.project = if folder.is_dir() { folder } else { tree };
        // Settings that this Assay cannot read say nothing of how to build; all else of them is the user's.
        of_bundle.build = Settings::of(&of_bundle.project)
            .ok()
            .and_then(|theirs| theirs.build);
        let home = root.join(vendor::HOME);
        of_bundle.cargo_home = home.is_dir().then_some(home);
    }
    of_bundle
}

/// What `{dir}` stands for in a folder where a bundle lies.
pub fn dir_of(place: &Place, root: &Path) -> PathBuf {
    root.join(base_name(place)).join(&place.folder)
}

/// Puts the image of an arm where its engine finds it. Where that packs the same content otherwise, the arm names it so.
fn lay_image(bundle: &Bundle, arm: &mut Arm, settings: &Settings) -> Result<Option<String>> {
    let Some(part) = image::part_of(bundle, arm) else {
        return Ok(None);
    };
    let there = image::lay(bundle, part, arm, settings)?;
    let Some((there, image)) = there.zip(arm.image.as_mut()) else {
        return Ok(None);
    };
    let before = image.oci.replace(there);
    let before = before.map_or(String::new(), |oci| oci.manifest.to_string());
    Ok(Some(format!(
        "The image of arm `{}` is packed otherwise here (manifest {before} then, {} now); its content is what it was: configuration {}.",
        arm.name, there.manifest, there.config
    )))
}

/// The project's files.
const TREE: &str = "tree";
/// The suite's files, where they lay elsewhere.
const FILES: &str = "files";

fn base_name(place: &Place) -> &'static str {
    if place.in_tree { TREE } else { FILES }
}

/// Manifest and record, which must belong together.
fn documents(bundle: &Bundle) -> Result<(ManifestFile, NamedTempFile)> {
    let contents = &bundle.contents;
    let bytes = bundle.held(
        bundle.part(|what| *what == What::Manifest)?,
        MAX_MANIFEST_BYTES,
    )?;
    let file = ManifestFile::from_bytes(Path::new("the bundle's manifest"), &bytes)?;
    ensure!(
        file.digest == contents.manifest,
        "the bundle's manifest is {}, and its table of contents says {}",
        file.digest,
        contents.manifest
    );
    let part = bundle.part(|what| matches!(what, What::Record(_)))?;
    let What::Record(name) = &part.what else {
        unreachable!("it was asked for as a record");
    };
    // How a record is read depends on its ending.
    let ending = name.split_once('.').map_or("jsonl", |(_, ending)| ending);
    let mut copy = tempfile::Builder::new()
        .suffix(&format!(".{ending}"))
        .tempfile()
        .map_err(|error| cannot_write(&error))?;
    bundle.extract(part, copy.as_file_mut())?;
    let record = Record::read(copy.path()).context("the bundle's record")?;
    ensure!(
        record.header.run == contents.run && record.header.manifest_digest == file.digest,
        "the bundle's record is of another run or manifest than its table of contents says"
    );
    Ok((file, copy))
}

/// Files are laid out where the manifest pins them, and no others.
fn check_data(bundle: &Bundle, manifest: &Manifest) -> Result<()> {
    let folder = Path::new(&bundle.contents.place.folder);
    let place = |name: &String| lexical(&folder.join(name.strip_prefix("{dir}/").unwrap_or(name)));
    let pinned: HashSet<_> = manifest
        .sources
        .iter()
        .filter_map(|(name, digest)| Some((place(name)?, *digest)))
        .collect();
    for part in &bundle.contents.parts {
        if let What::Data(path) = &part.what {
            ensure!(
                pinned.contains(&(path.clone(), part.content.sha256)),
                "{}: the manifest pins no such file",
                part.what
            );
        }
    }
    Ok(())
}

fn keep_workers(bundle: &Bundle, settings: &Settings) -> Result<()> {
    for part in &bundle.contents.parts {
        let What::Worker(digest) = &part.what else {
            continue;
        };
        let folder = workers::folder(settings);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let mut copy = NamedTempFile::new_in(&folder).map_err(|error| cannot_write(&error))?;
        bundle.extract(part, copy.as_file_mut())?;
        // One that was changed since must not pass for it.
        if workers::find(settings, digest).is_none() {
            workers::keep(settings, copy.path(), digest)?;
        }
    }
    Ok(())
}

/// Copies the record to the user's, unless it is there: what a reproduction is compared with, and the site tells of.
fn keep_record(record: &NamedTempFile, bundle: &Bundle, settings: &Settings) -> Result<PathBuf> {
    let part = bundle.part(|what| matches!(what, What::Record(_)))?;
    let What::Record(name) = &part.what else {
        unreachable!("it was asked for as a record");
    };
    let to = settings.records.join(name);
    if to.exists() {
        ensure!(
            plan::file_digest(&to)? == plan::file_digest(record.path())?,
            "{}: a record of this name is there, and is not the bundle's; move it away",
            to.display()
        );
        return Ok(to);
    }
    let mut copy =
        NamedTempFile::new_in(&settings.records).map_err(|error| cannot_write(&error))?;
    let mut original = record.reopen()?;
    original.rewind()?;
    std::io::copy(&mut original, &mut copy)
        .and_then(|_| fs::set_permissions(copy.path(), Permissions::from_mode(0o644)))
        .map_err(|error| cannot_write(&error))?;
    copy.persist(&to)
        .map_err(|error| cannot_write(&error.error))?;
    Ok(to)
}

/// Lays a bundle out as this folder, whole or not at all.
fn make(bundle: &Bundle, manifest: &Manifest, root: &Path) -> Result<()> {
    let parent = root.parent().unwrap_or(Path::new("/"));
    let new = TempDir::new_in(parent).map_err(|error| cannot_write(&error))?;
    fill(bundle, manifest, new.path()).map_err(|error| unless_full(bundle, parent, error))?;
    ensure!(
        is_whole(bundle, manifest, new.path()),
        "what it holds is not what its manifest names"
    );
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("{}: in the way", root.display()))?;
    }
    let new = new.keep();
    fs::rename(&new, root).with_context(|| root.display().to_string())
}

/// That there is no room for a bundle's files, where there is none: not all that writes them says why it failed.
fn unless_full(bundle: &Bundle, folder: &Path, error: anyhow::Error) -> anyhow::Error {
    let is_laid = |what: &What| matches!(what, What::Tree(_) | What::Data(_) | What::Vendor);
    let parts = bundle.contents.parts.iter();
    let needed: u64 = parts
        .filter(|part| is_laid(&part.what))
        .map(|part| part.content.bytes)
        .sum();
    let found = rustix::fs::statvfs(folder);
    let free = found.map_or(u64::MAX, |found| {
        found.f_bavail.saturating_mul(found.f_frsize)
    });
    if free >= needed {
        return error;
    }
    CouldNotRun(format!(
        "{}: {free} bytes are free there, and the bundle's files take {needed} and more: {}",
        folder.display(),
        in_words(&error)
    ))
    .into()
}

/// Whether a folder holds all of a bundle: what the manifest names, and what the project depends on.
fn is_whole(bundle: &Bundle, manifest: &Manifest, root: &Path) -> bool {
    let has_vendor = || root.join(vendor::HOME).join(vendor::SETTINGS).is_file();
    has_files(&bundle.contents.place, manifest, root)
        && (vendored(bundle).is_none() || has_vendor())
}

/// Whether a folder holds what the manifest names: files that it pins, and the project with its changes.
pub fn has_files(place: &Place, manifest: &Manifest, root: &Path) -> bool {
    let dir = dir_of(place, root);
    let has_files = dir.is_dir() && sources::compare(manifest, &dir).is_none();
    let has_tree = || {
        let here = project::state(&Settings::below(&root.join(TREE)));
        let then = manifest.project.git();
        here.is_ok_and(|here| {
            let here = here.git().map(|here| (&here.commit, &here.diff));
            here == then.map(|then| (&then.commit, &then.diff))
        })
    };
    has_files && (commit(manifest).is_none() || has_tree())
}

fn commit(manifest: &Manifest) -> Option<&String> {
    manifest.project.git()?.commit.as_ref()
}

/// What the project depends on, where the bundle has it.
fn vendored(bundle: &Bundle) -> Option<&Part> {
    bundle.contents.part(|what| *what == What::Vendor)
}

fn fill(bundle: &Bundle, manifest: &Manifest, root: &Path) -> Result<()> {
    if let Some(part) = vendored(bundle) {
        let mut archive = tempfile::tempfile().map_err(|error| cannot_write(&error))?;
        bundle.extract(part, &mut archive)?;
        archive.rewind()?;
        vendor::unpack(archive, &root.join(vendor::HOME)).with_context(|| part.what.to_string())?;
    }
    if let Some(commit) = commit(manifest) {
        let tree = root.join(TREE);
        let repository = Repository::init(&tree)?;
        add_commits(bundle, &repository)?;
        let state = manifest
            .project
            .git()
            .context("the manifest has a commit")?;
        let id = project::find_commit(&repository, state)
            .with_context(|| {
                format!("the bundle has no commit {commit}, which its manifest names")
            })?
            .id();
        if let Some(diff) = &state.diff {
            source::check_links(&repository, &project::patched(&repository, id, diff)?)
                .context("the manifest's diff")?;
        }
        project::fill(&repository, id, state.diff.as_ref())?;
    }
    let base = root.join(base_name(&bundle.contents.place));
    make_folder(&base, &bundle.contents.place.folder)?;
    for part in &bundle.contents.parts {
        if let What::Data(path) = &part.what {
            lay_file(bundle, part, &base, path).with_context(|| part.what.to_string())?;
        }
    }
    Ok(())
}

fn add_commits(bundle: &Bundle, repository: &Repository) -> Result<()> {
    for part in &bundle.contents.parts {
        let What::Tree(commit) = &part.what else {
            continue;
        };
        let object = bundle.part(|what| *what == What::Commit(commit.clone()))?;
        let object = bundle.held(object, MAX_COMMIT_BYTES)?;
        let mut archive = tempfile::tempfile().map_err(|error| cannot_write(&error))?;
        bundle.extract(part, &mut archive)?;
        archive.rewind()?;
        let none = source::Submodules::new();
        let submodules = bundle.contents.submodules.get(commit).unwrap_or(&none);
        source::unpack(repository, commit, &object, submodules, archive)?;
    }
    Ok(())
}

/// Makes folders below `base`, through no link: a tree may hold links, and data must not follow them out of it.
fn make_folder(base: &Path, below: &str) -> Result<PathBuf> {
    let mut at = base.to_path_buf();
    fs::create_dir_all(&at).map_err(|error| cannot_write(&error))?;
    for name in below.split('/').filter(|name| !name.is_empty()) {
        at.push(name);
        match fs::symlink_metadata(&at) {
            Ok(found) => ensure!(found.is_dir(), "{name} is in the way, and is no folder"),
            Err(_) => DirBuilder::new()
                .create(&at)
                .map_err(|error| cannot_write(&error))?,
        }
    }
    Ok(at)
}

fn lay_file(bundle: &Bundle, part: &Part, base: &Path, path: &str) -> Result<()> {
    // The tree may have it, perhaps by a link.
    if plan::file_digest(&base.join(path)).is_ok_and(|here| here == part.content.sha256) {
        return Ok(());
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let to = make_folder(base, folder)?.join(name);
    if fs::symlink_metadata(&to).is_ok() {
        fs::remove_file(&to).with_context(|| format!("{path} is in the way"))?;
    }
    let mode = if part.executable { 0o755 } else { 0o644 };
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&to)
        .map_err(|error| cannot_write(&error))?;
    bundle.extract(part, &mut file)
}
