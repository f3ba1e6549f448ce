//! Engines besides podman, as far as they can be had here.

use std::path::PathBuf;

use assay_record::Engine;

use super::Harbour;
use super::locking::SIF;
use crate::helpers::{ASSAY, Outcome, PATIENCE, Place, eventually, have, spin};

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
    place.write("box.sif", SIF);
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

/// Makes a file of NVIDIA's driver that the command after it sees, and nothing else on this machine.
const WITH_DRIVER: &str = r#"mkdir dev && mount -t tmpfs none dev || exit 9
for node in null zero full random urandom tty; do touch dev/$node && mount --bind /dev/$node dev/$node || exit 9; done
touch dev/nvidiactl && mount --rbind dev /dev || exit 9
exec "$@""#;

#[test]
fn apptainer_is_told_of_gpus_where_there_is_a_driver() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can pretend that a driver is here");
        return;
    }
    let triad = "[[benchmark]]\nname = \"triad\"\nworkload = \"stream-triad\"\ndevices = [\"cpu\", \"cuda\"]\nparams = { elements = 1024, dtype = \"f32\" }\n";
    let place = Place::with_suite(&[triad.to_owned()]);
    place.write("box.sif", SIF);
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", stub(&place, "apptainer").display());
    place.assay("env lock box --file box.sif").exits(0);
    place.script("with-driver", WITH_DRIVER);
    let given = |wrapped: &[&str]| {
        let mut words = wrapped.to_vec();
        words.extend([ASSAY, "plan", "./tiny.toml", "--env", "box", "-o", "m.json"]);
        let mut plan = place.program(words[0]);
        let output = plan.args(&words[1..]).env("PATH", &path).output().unwrap();
        Outcome::of("plan", &output).exits(0);
        place.read("arguments")
    };
    let there = given(&["unshare", "--mount", "./with-driver"]);
    let words: Vec<&str> = there.lines().collect();
    assert!(words.contains(&"--nv"), "{words:?}");
    let is_cache = |word: &&str| word.starts_with("--bind=") && word.ends_with(":/cache:rw");
    assert!(words.iter().any(is_cache), "{words:?}");
    assert!(
        place
            .read("variables")
            .contains("APPTAINERENV_XDG_CACHE_HOME=/cache")
    );
    assert!(!given(&[]).contains("--nv"));
}

#[test]
fn an_engine_that_nobody_serves_is_named_with_its_remedy() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    let digest = format!("sha256:{}", "1".repeat(64));
    let lock = format!(
        "schema = 1\n[environment.box]\nreference = \"localhost/box\"\nplatform = \"linux/amd64\"\nmanifest = \"{digest}\"\nconfig = \"{digest}\"\n"
    );
    place.write("containers/lock.toml", lock);
    for (engine, says, remedy) in [
        (
            "docker",
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "systemctl start docker",
        ),
        (
            "podman",
            "Cannot connect to Podman. Please verify your connection to the Linux system",
            "take that variable away",
        ),
    ] {
        place.write("assay.toml", format!("engine = \"{engine}\"\n"));
        place.script(
            &format!("bin/{engine}"),
            &format!("echo '{says}' >&2\nexit 125"),
        );
        for (command, code) in [
            ("run ./tiny.toml --env box", 3),
            ("env verify", 3),
            ("env pull", 3),
        ] {
            let mut assay = place.program(ASSAY);
            assay
                .args(command.split(' '))
                .env("PATH", place.path("bin"));
            Outcome::of(command, &assay.output().unwrap())
                .exits(code)
                .says(&format!("{engine} cannot be reached"))
                .says(remedy);
        }
    }
}

#[test]
fn podman_is_told_apart_from_its_service() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let mut run = harbour.command(ASSAY);
    run.args(["run", "./tiny.toml", "--env", "box"])
        .env("CONTAINER_HOST", "unix:///nowhere.sock");
    Outcome::of("run", &run.output().unwrap())
        .exits(3)
        .says("podman cannot be reached")
        .says("CONTAINER_HOST");
}

#[test]
fn dockers_own_client_runs_what_podman_serves() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    if !have("docker") {
        return;
    }
    harbour.recipe("vol", "");
    let file = "FROM scratch\nCOPY root/ /\nVOLUME /data\n";
    harbour.place.write("containers/vol/Containerfile", file);
    harbour.build("vol").exits(0);
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
    // Docker cannot leave the volumes of an image out: there is a folder to write to that nobody asked for.
    let volume = assay(&socket, "run ./tiny.toml --env vol");
    service.kill().unwrap();
    service.wait().unwrap();
    ran.exits(0);
    assert_eq!(
        harbour.place.record().header.manifest.arms[0].engine,
        Engine::Docker
    );
    volume.exits(3).says("a folder /data").says("volume");
    assert_eq!(harbour.podman("volume ls --quiet"), "");
    away.exits(3).says("cannot be reached").says("DOCKER_HOST");
}
