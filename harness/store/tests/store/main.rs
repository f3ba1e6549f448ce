//! The store as its users see it. One binary: each that links DuckDB is some 60 MB.

mod access;
mod export;
mod ingest;
mod kept;
mod kill;
mod queries;
mod rebuild;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assay_store::synthetic::Recipe;
use assay_store::{Access, Patience, Store};

/// A database in a folder of its own, which goes away with it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path("assay.duckdb")
    }

    fn records(&self) -> PathBuf {
        self.path("records")
    }

    fn writer(&self) -> Store {
        open(&self.database(), Access::Write).unwrap()
    }

    fn reader(&self) -> Store {
        open(&self.database(), Access::Read).unwrap()
    }
}

fn open(path: &Path, access: Access) -> Result<Store, assay_store::StoreError> {
    Store::open(path, access, &mut Patience::silent(Duration::from_secs(20)))
}

/// A run of a made-up machine on some night.
fn night(machine: &str, night: u32) -> Recipe {
    Recipe {
        machine: machine.into(),
        night,
        seed: u64::from(night) + 1,
        ..Recipe::default()
    }
}

/// This test binary again, running only the ignored test `name`, which finds its folder in `ASSAY_TEST_FOLDER`.
fn child(name: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("ASSAY_TEST_FOLDER", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The folder that [`child`] gave; `None` where the ignored test was started by a person.
fn child_folder() -> Option<PathBuf> {
    std::env::var_os("ASSAY_TEST_FOLDER").map(PathBuf::from)
}
