//! Runs in containers, by real podman: the image that runs is the one that was pinned, or nothing runs.

mod broken;
mod builds;
mod bundles;
mod engines;
mod faults;
mod given;
mod images;
mod locking;
mod registry;
mod rootless;
mod runs;
mod tampered;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::helpers::{ASSAY, Outcome, PATIENCE, Place, eventually, have, spin};

/// What podman needs where no systemd runs and its defaults ask for more than a container may have.
const CONF: &str = "[containers]\ndefault_ulimits=[\"nofile=16384:16384\",\"nproc=30000:30000\"]\n[engine]\nruntime=\"runc\"\ncgroup_manager=\"cgroupfs\"\nevents_logger=\"file\"\n";
/// Rounds of some seconds, so that there is time to look at a container.
const LONG: &str = "rounds = 2, max_rounds = 2, min_samples = 2, max_samples = 4000, warmup_ms = 10, round_ms = 4000";

/// A place with podman, a store of its own, and a suite of one case.
struct Harbour {
    place: Place,
    /// Stores are on one disk: one test at a time builds and runs.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

/// The slim worker, where the workspace was built, makes a small image; the program itself serves as well.
fn worker() -> PathBuf {
    let slim = Path::new(ASSAY).with_file_name("assay-worker");
    if slim.is_file() { slim } else { ASSAY.into() }
}

impl Harbour {
    /// `None` where there is no podman, and none is required.
    fn new() -> Option<Self> {
        if !have("podman") {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Place::with_suite(&[spin("control/spin", 1000)]);
        place.write("containers.conf", CONF);
        let store = place.path("store");
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{0}/graph\"\nrunroot = \"{0}/run\"\n",
            store.display()
        );
        place.write("storage.conf", storage);
        place.write("registries.conf", "unqualified-search-registries = []\n");
        Some(Self { place, _turn: turn })
    }

    /// As [`Self::new`], with the environment `box` of an image that holds a worker.
    fn with_image() -> Option<Self> {
        let harbour = Self::new()?;
        harbour.recipe("box", "");
        harbour.build("box").exits(0);
        Some(harbour)
    }

    /// A Containerfile of the worker and a file that tells one content from another.
    fn recipe(&self, name: &str, content: &str) {
        let folder = format!("containers/{name}");
        self.place.write(&format!("{folder}/content"), content);
        let file = "FROM scratch\nCOPY root/ /\nCOPY content /content\n";
        self.place.write(&format!("{folder}/Containerfile"), file);
    }

    fn build(&self, name: &str) -> Outcome {
        self.assay(&format!("env build {name} --worker {}", worker().display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.place.program(program);
        command
            .env("CONTAINERS_CONF", self.place.path("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.place.path("storage.conf"))
            .env(
                "CONTAINERS_REGISTRIES_CONF",
                self.place.path("registries.conf"),
            );
        command
    }

    #[track_caller]
    fn assay(&self, arguments: &str) -> Outcome {
        let mut command = self.command(ASSAY);
        let output = command.args(arguments.split_whitespace()).output().unwrap();
        Outcome::of(arguments, &output)
    }

    #[track_caller]
    fn podman(&self, arguments: &str) -> String {
        let output = self
            .command("podman")
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        assert!(output.status.success(), "podman {arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Containers that are left, running or not.
    fn containers(&self) -> String {
        self.podman("ps --all --format {{.Names}}")
    }

    /// Waits until a run has a container.
    #[track_caller]
    fn until_worker(&self) {
        self.place.until_record();
        let name = format!("assay-{}", self.place.runs()[0]);
        let runs = || self.podman("ps --format {{.Names}}").contains(&name);
        assert!(eventually(PATIENCE, runs), "{}", self.containers());
    }

    /// Puts something else into the lock file.
    fn relock(&self, old: &str, new: &str) {
        let lock = self.place.read("containers/lock.toml");
        assert!(lock.contains(old), "{old} is not in {lock}");
        self.place
            .write("containers/lock.toml", lock.replace(old, new));
    }

    /// A field of the lock file.
    fn locked(&self, field: &str) -> String {
        let lock = self.place.read("containers/lock.toml");
        let line = lock
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{field} = ")));
        line.unwrap_or_else(|| panic!("no {field} in {lock}"))
            .trim_matches('"')
            .to_owned()
    }
}

impl Drop for Harbour {
    fn drop(&mut self) {
        for words in ["rm --all --force --time 0", "rmi --all --force"] {
            let _ = self.command("podman").args(words.split(' ')).output();
        }
        // What podman mounted would outlive the folder.
        let mounted = self.place.path("store/graph/overlay");
        let _ = self.command("umount").arg("--lazy").arg(mounted).output();
    }
}
