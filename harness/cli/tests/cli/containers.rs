//! Runs in containers, by real podman: the image that runs is the one that was pinned, or nothing runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use assay_record::{BlockStatus, Engine};

use crate::helpers::{
    ASSAY, Outcome, PATIENCE, Place, case, eventually, have, spin, state, suite, suite_with,
};

/// What podman needs where no systemd runs and its defaults ask for more than a container may have.
const CONF: &str = "[containers]\ndefault_ulimits=[\"nofile=16384:16384\",\"nproc=30000:30000\"]\n[engine]\nruntime=\"runc\"\ncgroup_manager=\"cgroupfs\"\nevents_logger=\"file\"\n";
/// A containerfile of a base that is a tag.
const BY_TAG: &str = "FROM localhost/nothing:latest\nCOPY root/ /\n";

/// Rounds of some seconds, so that there is time to look at a container.
const LONG: &str = "rounds = 2, max_rounds = 2, min_samples = 2, max_samples = 4000, warmup_ms = 10, round_ms = 4000";

/// A place with podman, a store of its own, and a suite of one case.
struct Harbour {
    place: Place,
    /// Stores are on one disk: one test at a time builds and runs.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

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
        // The slim worker, where the workspace was built, makes a small image; the program itself serves as well.
        let slim = Path::new(ASSAY).with_file_name("assay-worker");
        let worker = if slim.is_file() { slim } else { ASSAY.into() };
        self.assay(&format!("env build {name} --worker {}", worker.display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.place.program(program);
        command
            .env("CONTAINERS_CONF", self.place.path("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.place.path("storage.conf"));
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

#[test]
fn a_run_in_a_container_comes_again() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.assay("run ./tiny.toml --env box").exits(0);
    let record = harbour.place.record();
    let arm = &record.header.manifest.arms[0];
    assert_eq!((arm.name.as_str(), arm.engine), ("box", Engine::Podman));
    let oci = arm.image.as_ref().unwrap().oci.unwrap();
    assert_eq!(oci.config.to_string(), harbour.locked("config"));
    // What ran was inspected, and is in the record.
    let inspected = format!(
        "inspected while it ran: image {}, manifest {}",
        oci.config, oci.manifest
    );
    assert!(
        record
            .events
            .iter()
            .any(|event| event.text.contains(&inspected)),
        "{:?}",
        record.events
    );
    harbour
        .assay("reproduce latest")
        .says("inputs:  identical")
        .says("outputs: identical");
    assert_eq!(harbour.containers(), "");
    harbour.place.is_left_alone();
}

#[test]
fn a_container_is_told_and_given_nothing_but_what_it_needs() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    // The image's file is what it looks for, and what the run is told of itself.
    let probe = r#"[[benchmark]]
name = "probe"
command = { argv = ["/usr/local/bin/assay-worker", "check", "nothing"], exit_code = 2 }
"#;
    harbour
        .place
        .write("probe.toml", suite("probe", &[probe.to_owned()]));
    let mut run = harbour.command(ASSAY);
    run.args(["run", "./probe.toml", "--env", "box"])
        .env("SECRET_OF_THE_HOST", "x")
        .env("OMP_NUM_THREADS", "3");
    assert!(run.status().unwrap().success());
    let arm = harbour.place.record().header.manifest.arms.remove(0);
    assert_eq!(arm.env.keys().collect::<Vec<_>>(), ["OMP_NUM_THREADS"]);
}

#[test]
fn host_and_container_are_arms_of_one_run() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let run = "run ./tiny.toml --arm host=here --arm box=image:box";
    harbour
        .assay(run)
        .exits(0)
        .says("control/spin@cpu  host")
        .says("control/spin@cpu  box");
    let compared = harbour.assay("compare --by arm");
    // Where the worker ran is said before any number.
    compared
        .says("The environment was this machine without a container and is now box (")
        .says("control/spin@cpu");
    harbour
        .assay("run ./tiny.toml --env box --arm a=here")
        .refuses(&["--env", "image:ENVIRONMENT"]);
}

#[test]
fn a_suite_may_name_its_environment() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let tiny = harbour.place.read("tiny.toml");
    harbour.place.write(
        "tiny.toml",
        tiny.replace("schema = 1", "schema = 1\nenvironment = \"box\""),
    );
    harbour.assay("run ./tiny.toml").exits(0);
    assert_eq!(harbour.place.record().header.manifest.arms[0].name, "box");
    // Said on the command line, this machine is meant.
    harbour.assay("run ./tiny.toml --arm main=here").exits(0);
    assert_eq!(
        harbour.place.record().header.manifest.arms[0].engine,
        Engine::Host
    );
}

#[test]
fn a_suites_own_worker_reads_its_folder_and_does_not_write_it() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let own = "[[benchmark]]\nname = \"own\"\nworkload = \"spin\"\nworker = \"own\"\nparams = { steps = 1000000 }\n";
    let worker =
        "[workers.own]\nargv = [\"/usr/local/bin/assay-worker\", \"worker\", \"{dir}/data.txt\"]\n";
    harbour.place.write("data.txt", "x");
    harbour.place.write(
        "own.toml",
        suite_with("own", LONG, &[own.to_owned(), worker.to_owned()]),
    );
    harbour
        .assay("plan ./own.toml --env box -o m.json")
        .exits(0);
    let mut running = harbour.command(ASSAY);
    running.args(["run", "m.json"]);
    let running = crate::helpers::Running::begin(&harbour.place, "run m.json", running);
    let mount = || {
        let name = harbour.containers();
        if name.is_empty() {
            return String::new();
        }
        let name = name.lines().next().unwrap().to_owned();
        let inspected = harbour
            .command("podman")
            .args(["container", "inspect", &name])
            .output()
            .unwrap();
        String::from_utf8_lossy(&inspected.stdout).into_owned()
    };
    let mut seen = String::new();
    eventually(PATIENCE, || {
        seen = mount();
        seen.contains("\"Destination\": \"/suite\"")
    });
    running.end().exits(0);
    let found: serde_json::Value = serde_json::from_str(&seen).unwrap();
    let mounts = found[0]["Mounts"].as_array().unwrap();
    let suite = mounts
        .iter()
        .find(|mount| mount["Destination"] == "/suite")
        .unwrap();
    assert_eq!(suite["RW"], false);
    assert_eq!(found[0]["HostConfig"]["NetworkMode"], "none");
    assert_eq!(found[0]["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(found[0]["EffectiveCaps"].as_array().map_or(0, Vec::len), 0);
}

#[test]
fn a_suite_is_run_as_far_as_its_image_goes() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    // The smoke suite has a worker in Python, and the image has none.
    harbour
        .assay("plan smoke --env box --filter s -o m.json")
        .exits(0)
        .says("benchmark `python/sort` is left out")
        .says("worker `example`");
    harbour
        .assay("run smoke --env box --filter control --filter ml/softmax")
        .exits(0)
        .says("ml/softmax");
    harbour
        .assay("reproduce latest")
        .says("inputs:  identical")
        .says("outputs: identical");
}

#[test]
fn the_same_image_is_built_twice() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let first = harbour.place.read("containers/lock.toml");
    harbour.build("box").exits(0);
    assert_eq!(harbour.place.read("containers/lock.toml"), first);
    harbour.recipe("box", "other");
    harbour.build("box").exits(0);
    assert_ne!(harbour.place.read("containers/lock.toml"), first);
    harbour.assay("env verify").exits(0).says("box: as pinned");
    harbour
        .assay("env list")
        .exits(0)
        .says("localhost/assay-box");
    harbour
        .place
        .write("containers/tagged/Containerfile", BY_TAG);
    harbour
        .build("tagged")
        .refuses(&["FROM localhost/nothing:latest", "not named by digest"]);
    harbour
        .build("nowhere")
        .refuses(&["Containerfile", "worker-cpu"]);
}

#[test]
fn a_tag_that_moves_moves_no_run() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.assay("run ./tiny.toml --env box").exits(0);
    let first = harbour.locked("config");
    let before = harbour.place.read("containers/lock.toml");
    // Other content under the same tag; the lock file as it was.
    harbour.recipe("box", "other");
    harbour.build("box").exits(0);
    let second = harbour.locked("config");
    assert_ne!(first, second);
    harbour.place.write("containers/lock.toml", before);
    harbour.assay("reproduce latest").says("outputs: identical");
    let runs: Vec<String> = harbour
        .place
        .record()
        .events
        .into_iter()
        .map(|event| event.text)
        .collect();
    assert!(runs.iter().any(|text| text.contains(&first)), "{runs:?}");
    assert!(!runs.iter().any(|text| text.contains(&second)));
    // The first is gone, and the tag is still there: nothing runs.
    harbour.podman(&format!("rmi --force {first}"));
    let count = harbour.place.runs().len();
    harbour
        .assay("reproduce latest~1")
        .exits(3)
        .says("is not in the store of podman")
        .says("assay env pull box");
    harbour
        .assay("run ./tiny.toml --env box")
        .exits(3)
        .says(&first);
    assert_eq!(harbour.place.runs().len(), count);
    harbour
        .assay("env verify box")
        .exits(1)
        .says("is not in the store");
    harbour
        .assay("env pull box")
        .refuses(&["lies in no registry", "assay env build box"]);
}

#[test]
fn an_unknown_or_wrong_digest_runs_nothing() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let lock = harbour.place.read("containers/lock.toml");
    let unknown = format!("sha256:{}", "0".repeat(64));
    for field in ["config", "manifest"] {
        let locked = harbour.locked(field);
        harbour.relock(
            &format!("{field} = \"{locked}\""),
            &format!("{field} = \"{unknown}\""),
        );
        harbour
            .assay("run ./tiny.toml --env box")
            .exits(3)
            .says(&unknown)
            .says("assay env");
        harbour.place.write("containers/lock.toml", &lock);
    }
    harbour.relock("linux/amd64", "linux/arm64");
    harbour
        .assay("run ./tiny.toml --env box")
        .exits(3)
        .says("it is for linux/amd64");
    harbour.relock("sha256:", "md5:");
    harbour
        .assay("run ./tiny.toml --env box")
        .refuses(&["lock.toml", "md5"]);
    harbour.place.write("containers/lock.toml", &lock);
    harbour
        .assay("run ./tiny.toml --env nowhere")
        .refuses(&["`nowhere`", "has: box"]);
    assert_eq!(harbour.place.runs().len(), 0);
}

#[test]
fn an_image_may_come_as_an_archive() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let id = harbour.locked("config").replace("sha256:", "");
    harbour.podman(&format!(
        "save --quiet --format oci-archive --uncompressed -o {} {id}",
        harbour.place.path("box.tar").display()
    ));
    harbour
        .assay("env lock packed --file box.tar")
        .exits(0)
        .says("file");
    // Not in the store: it is loaded from its file, whose digest is checked first.
    harbour.podman(&format!("rmi --force {id}"));
    harbour.assay("run ./tiny.toml --env packed").exits(0);
    assert_eq!(
        harbour.podman("images --quiet --no-trunc"),
        format!("sha256:{id}")
    );
    harbour.podman(&format!("rmi --force {id}"));
    let mut bytes = fs::read(harbour.place.path("box.tar")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(harbour.place.path("box.tar"), bytes).unwrap();
    harbour
        .assay("run ./tiny.toml --env packed")
        .exits(3)
        .says("box.tar")
        .says("another file");
    harbour.place.write("text", "no image");
    harbour
        .assay("env lock text --file text")
        .refuses(&["neither an OCI archive"]);
}

#[test]
fn a_container_that_is_killed_fails_its_case_and_the_run_goes_on() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let cases = [spin("a", 1_000_000), spin("b", 1000)];
    harbour
        .place
        .write("long.toml", suite_with("long", LONG, &cases));
    harbour
        .assay("plan ./long.toml --env box -o m.json")
        .exits(0);
    let mut command = harbour.command(ASSAY);
    command.args(["run", "m.json", "--json"]);
    let running = crate::helpers::Running::begin(&harbour.place, "run m.json --json", command);
    harbour.until_worker();
    harbour.podman("kill --all");
    let run = running.end().exits(0).json();
    // It was tried once more, alone.
    assert!(
        state(&run, "a@cpu").starts_with("ok"),
        "{}",
        case(&run, "a@cpu")
    );
    let record = harbour.place.record();
    let failed: Vec<String> = record
        .blocks
        .iter()
        .filter_map(|block| match &block.status {
            BlockStatus::Failed(reason) => Some(reason.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        failed[0].contains("its container was killed by signal 9"),
        "{failed:?}"
    );
    assert_eq!(harbour.containers(), "");
}

#[test]
fn a_container_ends_with_the_harness_however_that_ends() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let policy = "rounds = 2, max_rounds = 2, min_samples = 2, max_samples = 4000, warmup_ms = 10, round_ms = 60000";
    harbour.place.write(
        "long.toml",
        suite_with("long", policy, &[spin("a", 10_000_000)]),
    );
    harbour
        .assay("plan ./long.toml --env box -o m.json")
        .exits(0);
    let mut command = harbour.command(ASSAY);
    command.args(["run", "m.json"]);
    let running = crate::helpers::Running::begin(&harbour.place, "run m.json", command);
    harbour.until_worker();
    running.kill();
    assert!(
        eventually(PATIENCE, || harbour.containers().is_empty()),
        "{}",
        harbour.containers()
    );
    harbour.place.is_left_alone();
}

#[test]
fn a_container_keeps_to_its_memory() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.relock("platform = ", "memory_bytes = 50000000\nplatform = ");
    let big = "[[benchmark]]\nname = \"big\"\nworkload = \"stream-triad\"\nparams = { elements = 33554432, dtype = \"f32\" }\n";
    let big = suite("big", &[big.to_owned(), spin("small", 1000)]);
    harbour.place.write("big.toml", big);
    let run = harbour.assay("run ./big.toml --env box --json");
    let run = run.exits(0).json();
    // The worker sees the bound of its container, and not the machine's memory.
    let reason = state(&run, "big");
    assert!(
        reason.starts_with("skipped") && reason.contains("not enough memory"),
        "{reason}"
    );
    assert!(state(&run, "small").starts_with("ok"));
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    let digest = format!("sha256:{}", "1".repeat(64));
    let lock = format!(
        "schema = 1\n[environment.box]\nreference = \"localhost/box\"\nplatform = \"linux/amd64\"\nmanifest = \"{digest}\"\nconfig = \"{digest}\"\n"
    );
    place.write("containers/lock.toml", lock);
    fs::create_dir(place.path("empty")).unwrap();
    for engine in ["podman", "docker"] {
        place.write("assay.toml", format!("engine = \"{engine}\"\n"));
        let mut run = place.program(ASSAY);
        run.args(["run", "./tiny.toml", "--env", "box"])
            .env("PATH", place.path("empty"));
        let outcome = Outcome::of("run", &run.output().unwrap());
        outcome
            .exits(3)
            .says(&format!("{engine} is not installed here"))
            .says("without --env");
    }
    place.write("assay.toml", "engine = \"host\"\n");
    place
        .assay("run ./tiny.toml --env box")
        .refuses(&["assay.toml", "engine"]);
    place.write("assay.toml", "engine = \"apptainer\"\n");
    place
        .assay("run ./tiny.toml --env box")
        .refuses(&["`box` is no file", "--file"]);
}

/// A program that goes by an engine's name, notes its arguments and variables, and becomes the worker.
fn stub(place: &Place, name: &str) -> PathBuf {
    let body = format!(
        "[ \"$1\" = --version ] && echo 'apptainer version 1.3.0' && exit 0\nprintf '%s\\n' \"$@\" > arguments\nenv > variables\nexec {ASSAY} worker"
    );
    place.script(&format!("bin/{name}"), &body);
    place.path("bin")
}

#[test]
fn apptainer_is_given_a_file_that_was_checked() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    let path = format!(
        "{}:{}",
        stub(&place, "apptainer").display(),
        std::env::var("PATH").unwrap()
    );
    // The head of a SIF file, as far as its magic word.
    place.write(
        "box.sif",
        b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0 and an image",
    );
    let assay = |arguments: &str| {
        let mut command = place.program(ASSAY);
        command
            .args(arguments.split_whitespace())
            .env("PATH", &path)
            .env("OMP_NUM_THREADS", "1,2")
            .env("APPTAINERENV_LEAK", "x");
        Outcome::of(arguments, &command.output().unwrap())
    };
    assay("env lock box --file box.sif")
        .exits(0)
        .says("apptainer");
    assay("run ./tiny.toml --env box").exits(0);
    let arguments = place.read("arguments");
    let words: Vec<&str> = arguments.lines().collect();
    let file = place.path("box.sif").display().to_string();
    assert_eq!(words[0], "exec");
    for expected in [
        "--containall",
        "--cleanenv",
        "--no-home",
        "--network=none",
        "--drop-caps=all",
    ] {
        assert!(words.contains(&expected), "{expected}: {words:?}");
    }
    assert_eq!(
        words[words.len() - 3..],
        [file.as_str(), "/usr/local/bin/assay-worker", "worker"]
    );
    let variables = place.read("variables");
    assert!(
        variables.contains("APPTAINERENV_OMP_NUM_THREADS=1,2"),
        "{variables}"
    );
    assert!(!variables.contains("LEAK"), "{variables}");
    let record = place.record();
    assert!(
        record
            .events
            .iter()
            .any(|event| event.text.contains("apptainer 1.3.0"))
    );
    place.write("box.sif", "another");
    assay("run ./tiny.toml --env box")
        .exits(3)
        .says("box.sif")
        .says("another file");
}

#[test]
fn dockers_own_client_runs_what_podman_serves() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    if !have("docker") {
        return;
    }
    let socket = format!("unix://{}", harbour.place.path("docker.sock").display());
    let mut service = harbour.command("podman");
    let mut service = service
        .args(["system", "service", "--time", "0", &socket])
        .spawn()
        .unwrap();
    assert!(eventually(PATIENCE, || harbour
        .place
        .path("docker.sock")
        .exists()));
    harbour.place.write("assay.toml", "engine = \"docker\"\n");
    let assay = |socket: &str, arguments: &str| {
        let mut command = harbour.command(ASSAY);
        command
            .args(arguments.split_whitespace())
            .env("DOCKER_HOST", socket);
        Outcome::of(arguments, &command.output().unwrap())
    };
    let ran = assay(&socket, "run ./tiny.toml --env box");
    let away = assay("unix:///nowhere.sock", "run ./tiny.toml --env box");
    service.kill().unwrap();
    service.wait().unwrap();
    ran.exits(0);
    assert_eq!(
        harbour.place.record().header.manifest.arms[0].engine,
        Engine::Docker
    );
    away.exits(3).says("cannot be reached").says("DOCKER_HOST");
}

#[test]
fn a_bundle_brings_its_image_along() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.assay("run ./tiny.toml --env box").exits(0);
    harbour.assay("bundle latest -o bare.bundle").exits(0);
    harbour
        .assay("bundle latest --with-image -o one.bundle")
        .exits(0)
        .says("image sha256:");
    harbour
        .assay("bundle latest --with-image -o two.bundle")
        .exits(0);
    let read = |name: &str| fs::read(harbour.place.path(name)).unwrap();
    assert!(read("one.bundle") == read("two.bundle"));
    // Its store is empty, as on another machine: without the image nothing runs, and nothing else in its place.
    harbour.podman("rmi --all --force");
    harbour
        .assay("reproduce bare.bundle --no-confirm")
        .exits(3)
        .says("is not in the store of podman");
    harbour
        .assay("reproduce one.bundle --no-confirm")
        .says("inputs:  identical")
        .says("outputs: identical");
    let record = harbour.place.record();
    assert_eq!(record.header.manifest.arms[0].engine, Engine::Podman);
    let again = harbour.assay("reproduce one.bundle --no-confirm --on-host");
    again
        .says("What starts the workers of arm box was podman and is now host.")
        .says("outputs: identical");
    harbour
        .assay("bundle latest --with-image -o x.bundle")
        .refuses(&["--with-image", "no arm of the run was in a container"]);
    harbour
        .assay("reproduce latest --on-host")
        .refuses(&["--on-host", "no arm of the manifest ran in a container"]);
}
