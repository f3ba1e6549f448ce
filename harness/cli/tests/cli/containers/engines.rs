//! Engines besides podman, as far as they can be had here.

use std::path::PathBuf;

use assay_record::Engine;

use super::Harbour;
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
