//! The site as a whole: its pages, its links, its safety, and how it replaces the one before.

mod arms;
mod build;
mod compare;
mod contrast;
mod data;
mod detail;
mod downloads;
mod fixture;
mod html;
mod lasting;
mod older;
mod pages;
mod replace;
mod scale;
mod standing;
mod tonight;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assay_reports::{Portion, Presentation, Publication, Published, SiteModel, SiteSettings};
use tempfile::TempDir;

/// A published site and the folder around it.
struct Site {
    folder: TempDir,
}

impl Site {
    fn of(model: &SiteModel) -> Self {
        Self::with(model, &SiteSettings::default())
    }

    fn with(model: &SiteModel, settings: &SiteSettings) -> Self {
        let folder = TempDir::new().unwrap();
        publish_whole(model, &folder.path().join("site"), settings);
        Self { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    /// Every file by its path from the root.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.root(), &self.root(), &mut files);
        files
    }

    /// The pages, as text.
    fn pages(&self) -> BTreeMap<String, String> {
        let files = self.files().into_iter();
        let pages =
            files.filter(|(name, _)| Path::new(name).extension().is_some_and(|e| e == "html"));
        pages
            .map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap()))
            .collect()
    }
}

/// As the program publishes: with manifests and telemetry of the runs.
fn publish_whole(model: &SiteModel, out: &Path, settings: &SiteSettings) -> Published {
    let presentation = Presentation::of(settings).unwrap();
    let mut publication = Publication::begin(model, out, &presentation).unwrap();
    let portion = Portion {
        runs: publication.missing_runs(),
        ..fixture::portion()
    };
    publication.add(&portion).unwrap();
    publication.add_others().unwrap();
    publication.finish().unwrap()
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}
