//! Making a bundle of a run: everything is gathered and checked first, then written beside the file and renamed.
//!
//! The same run gives the same bytes: parts have one order, one compression, and nothing that depends on when or where.

use std::fs::Permissions;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_record::{Arm, Image, Manifest, ManifestFile};
use assay_store::RunRow;

use super::format::{Contents, MAGIC, Place, VERSION, What};
use super::reading::{Bundle, cannot_write};
use super::{image, source, vendor};
use crate::database;
use crate::errors::{CouldNotRun, in_words};
use crate::interrupt::Interrupt;
use crate::plan::{self, project, sources};
use crate::reproduction::{self, Files};
use crate::settings::Settings;
use crate::{checkout, environments, workers};
use parts::{Content, Item};

mod parts;

/// What somebody wants in a bundle besides, and where to look.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct With {
    /// Put the images of the run's containers into it: from podman's store, or the files that were locked.
    #[arg(long = "with-image")]
    image: bool,
    /// Put what the project's Cargo.lock names into it, so that its worker can be built again without a network.
    #[arg(long = "with-vendor")]
    vendor: bool,
    /// The suite's folder, where it lies elsewhere now: what `{dir}` stands for.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Writes a bundle of a run to a file, and opens it again. An interrupt ends that in the middle, and leaves nothing.
pub fn write(
    settings: &Settings,
    run: &RunRow,
    file: &ManifestFile,
    with: &With,
    to: &Path,
    interrupt: &Interrupt,
) -> Result<Bundle> {
    let folder = folder_of(to);
    ensure!(
        folder.is_dir(),
        "{}: there is no folder {}",
        to.display(),
        folder.display()
    );
    ensure!(
        !with.image || file.manifest.arms.iter().any(|arm| arm.image.is_some()),
        "--with-image: no arm of the run was in a container; leave it away"
    );
    let mut gathered = Gathered::of(settings, run, file, folder)?;
    gathered.add_data(settings, &file.manifest, with.dir.as_deref())?;
    if with.image {
        gathered.add_images(settings, &file.manifest, folder)?;
    }
    if with.vendor {
        gathered.add_vendor(settings, &file.manifest, folder)?;
    }
    gathered.order();
    let written = gathered.write(run, file, to, interrupt);
    written.with_context(|| format!("{}: no bundle was written", to.display()))?;
    Bundle::open(to)
}

/// Where a file lies: a bundle is made there, so that there is room for it and it appears whole.
fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// All that goes into a bundle.
struct Gathered {
    place: Place,
    submodules: std::collections::BTreeMap<String, source::Submodules>,
    items: Vec<Item>,
}

impl Gathered {
    fn of(settings: &Settings, run: &RunRow, file: &ManifestFile, scratch: &Path) -> Result<Self> {
        let manifest = &file.manifest;
        // Refuses what cannot be run at all.
        plan::folder(&manifest.suite.source)?;
        let bytes = file.to_bytes()?;
        ManifestFile::from_bytes(Path::new("the manifest"), &bytes)?;
        let mut gathered = Self {
            place: Place {
                in_tree: false,
                folder: String::new(),
                project: String::new(),
            },
            submodules: std::collections::BTreeMap::new(),
            items: vec![
                Item::new(What::Manifest, Content::Held(bytes)),
                record(settings, run, file)?,
            ],
        };
        gathered.add_source(settings, manifest, scratch)?;
        gathered.add_workers(settings, manifest)?;
        Ok(gathered)
    }

    /// Each part once, in the order of the file.
    fn order(&mut self) {
        self.items.sort_by(|one, two| one.what.cmp(&two.what));
        self.items.dedup_by(|one, two| one.what == two.what);
    }

    fn add_images(
        &mut self,
        settings: &Settings,
        manifest: &Manifest,
        scratch: &Path,
    ) -> Result<()> {
        let arms = manifest.arms.iter();
        for (arm, image) in arms.filter_map(|arm| Some((arm, arm.image.as_ref()?))) {
            let content = match image::find(arm, image, settings, scratch)? {
                image::Found::File(path) => Content::Lying(path),
                image::Found::Archive(file) => Content::Scratch(file),
            };
            let what = What::Image(image::key(image)?);
            self.items.push(Item::new(what, content));
        }
        Ok(())
    }

    /// What the project depends on at its commit, with its changes.
    fn add_vendor(
        &mut self,
        settings: &Settings,
        manifest: &Manifest,
        scratch: &Path,
    ) -> Result<()> {
        let state = manifest.project.git();
        let state = state
            .filter(|state| state.commit.is_some())
            .context("--with-vendor: the run is of no commit, so that there is nothing to build")?;
        let files = checkout::files(settings, state)?;
        let archive = tempfile::tempfile_in(scratch).map_err(|error| cannot_write(&error))?;
        let folder = files.folder(Path::new(&self.place.project));
        vendor::pack(&folder, scratch, &archive)?;
        self.items
            .push(Item::new(What::Vendor, Content::Scratch(archive)));
        Ok(())
    }

    /// The commit of the project, and those that arms stand for.
    fn add_source(
        &mut self,
        settings: &Settings,
        manifest: &Manifest,
        scratch: &Path,
    ) -> Result<()> {
        let Some(state) = manifest
            .project
            .git()
            .filter(|state| state.commit.is_some())
        else {
            return Ok(());
        };
        let repository = project::discover(&settings.project)?
            .context("the run is of a git repository, and this is none: bundle where the measured project is cloned")?;
        let of_arms = manifest.arms.iter().filter_map(|arm| arm.commit.as_ref());
        let mut commits: Vec<String> = of_arms.map(|commit| commit.commit.clone()).collect();
        commits.extend(state.commit.clone());
        commits.sort_unstable();
        commits.dedup();
        for name in commits {
            let mut wanted = state.clone();
            wanted.commit = Some(name.clone());
            let commit = project::find_commit(&repository, &wanted)?;
            let object = source::commit_object(&repository, &name)?;
            let archive = tempfile::tempfile_in(scratch).map_err(|error| cannot_write(&error))?;
            let submodules = source::pack(&repository, &commit, &archive)
                .with_context(|| format!("the files of commit {name} cannot be bundled"))?;
            if !submodules.is_empty() {
                self.submodules.insert(name.clone(), submodules);
            }
            let tree = Item::new(What::Tree(name.clone()), Content::Scratch(archive));
            let object = Item::new(What::Commit(name), Content::Held(object));
            self.items.extend([object, tree]);
        }
        if let Some(diff) = &state.diff {
            let commit = project::find_commit(&repository, state)?.id();
            let files = project::patched(&repository, commit, diff)?;
            source::check_links(&repository, &files)
                .context("the uncommitted changes cannot be bundled")?;
        }
        let below = checkout::within(settings, &settings.project)?.unwrap_or_default();
        self.place.project = text(&below)?;
        Ok(())
    }

    /// The files that the manifest pins, by their paths from the place where they lie together.
    fn add_data(
        &mut self,
        settings: &Settings,
        manifest: &Manifest,
        named: Option<&Path>,
    ) -> Result<()> {
        let planned = plan::folder(&manifest.suite.source)?;
        let below = checkout::of_suite(manifest, settings, named.unwrap_or(&planned))?;
        let has_source = self
            .items
            .iter()
            .any(|item| matches!(item.what, What::Tree(_)));
        let base = match below.filter(|_| has_source) {
            Some(below) => {
                self.place.in_tree = true;
                below
            }
            None => common_folder(manifest, &planned),
        };
        self.place.folder = text(&base)?;
        let Files { dir, changed, .. } = reproduction::files(manifest, settings, named)?;
        ensure!(
            changed.is_empty(),
            "{}: not what the manifest pins, and no commit at hand has it: bring the file back",
            changed[0].display()
        );
        let dir = dir.unwrap_or(planned);
        for (name, digest) in &manifest.sources {
            let path = sources::resolve(name, &dir);
            let below = name.strip_prefix("{dir}/").unwrap_or(name);
            let what = What::Data(lexical(&base.join(below)).with_context(|| {
                format!("{name}: it lies outside the project, where a bundle cannot lay it out; move it below the suite's folder")
            })?);
            ensure!(
                path.is_file(),
                "{}: not there, though the manifest pins it; where the suite lies elsewhere now, name its folder with --dir",
                path.display()
            );
            self.items.push(Item {
                executable: is_executable(&path)?,
                pinned: Some(*digest),
                ..Item::new(what, Content::Lying(path))
            });
        }
        Ok(())
    }

    fn add_workers(&mut self, settings: &Settings, manifest: &Manifest) -> Result<()> {
        for arm in &manifest.arms {
            let path = match &arm.image {
                None => Some(worker(settings, arm)?),
                Some(image) => worker_of_image(settings, arm, image),
            };
            let Some(path) = path else { continue };
            self.items.push(Item {
                executable: true,
                pinned: Some(arm.worker),
                ..Item::new(What::Worker(arm.worker), Content::Lying(path))
            });
        }
        Ok(())
    }

    fn write(
        self,
        run: &RunRow,
        file: &ManifestFile,
        to: &Path,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let full = |error: std::io::Error| cannot_write(&error);
        let folder = folder_of(to);
        let mut payload = tempfile::tempfile_in(folder).map_err(full)?;
        let mut parts = Vec::new();
        for item in &self.items {
            let part = item.append(&mut payload, interrupt);
            parts.push(part.with_context(|| item.what.to_string())?);
        }
        let contents = Contents {
            version: VERSION,
            run: run.run.clone(),
            manifest: file.digest,
            platform: super::platform(),
            place: self.place,
            submodules: self.submodules,
            parts,
        };
        let (line, _) = contents.to_line()?;
        // As any file that is made: what the umask allows.
        let mut whole = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(full)?;
        payload.rewind()?;
        whole
            .write_all(MAGIC)
            .and_then(|()| whole.write_all(&line))
            .and_then(|()| std::io::copy(&mut payload, &mut whole))
            .and_then(|_| whole.as_file().sync_all())
            .map_err(full)?;
        whole.persist(to).map_err(|error| full(error.error))?;
        Ok(())
    }
}

/// The record of the run, read once and found to be it.
fn record(settings: &Settings, run: &RunRow, file: &ManifestFile) -> Result<Item> {
    let path = database::record_path(settings, run);
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.context("the record has no name")?.to_owned();
    ensure!(
        path.is_file(),
        "the record of run {} is not where it was when it was ingested; `assay ingest FOLDER` finds it",
        run.run
    );
    database::check_record(&path, run, file.digest)?;
    Ok(Item::new(What::Record(name), Content::Lying(path)))
}

/// The executable that is an arm's built-in worker.
fn worker(settings: &Settings, arm: &Arm) -> Result<PathBuf> {
    if arm.worker == plan::own_digest()? {
        return std::env::current_exe().context("the running executable cannot be found");
    }
    let kept = workers::find(settings, &arm.worker);
    let lost = || {
        CouldNotRun(format!(
            "arm `{}`: its worker {} is neither this executable nor in {}, and a bundle carries what was measured; \
             copy that executable there under its digest",
            arm.name,
            arm.worker,
            workers::folder(settings).display()
        ))
    };
    Ok(kept.ok_or_else(lost)?)
}

/// The worker of an arm's image: with it the arm can run on a host, too. In its container it needs none.
fn worker_of_image(settings: &Settings, arm: &Arm, image: &Image) -> Option<PathBuf> {
    let found = environments::worker::at_hand(arm, image, settings);
    found.unwrap_or_else(|error| {
        crate::note!(
            "note: the worker of arm `{}` is not in it, so that `reproduce --on-host` has to measure another: {}",
            arm.name,
            in_words(&error)
        );
        None
    })
}

/// The last names of the suite's folder: as many as some file needs to go up from it.
fn common_folder(manifest: &Manifest, dir: &Path) -> PathBuf {
    let up = |name: &String| {
        let parts = name.split('/').skip(1);
        parts.take_while(|part| *part == "..").count()
    };
    let most = manifest.sources.keys().map(up).max().unwrap_or(0);
    let names: Vec<Component<'_>> = dir.components().collect();
    names[names.len().saturating_sub(most)..].iter().collect()
}

/// A relative path without `..`; `None` where it leads out of where it starts.
pub fn lexical(path: &Path) -> Option<String> {
    let mut plain: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => _ = plain.pop()?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain.join("/"))
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str();
    Ok(text
        .with_context(|| format!("{}: a path that is not UTF-8", path.display()))?
        .to_owned())
}

fn is_executable(path: &Path) -> Result<bool> {
    let meta = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(meta.permissions().mode() & 0o111 != 0)
}
