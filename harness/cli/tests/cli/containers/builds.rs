//! Images that are built here: the same of the same files, whoever builds them, and when.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::{Harbour, worker};
use crate::helpers::{ASSAY, Outcome, Running, have, state, suite};

#[test]
fn the_image_that_comes_with_assay_is_built_twice_and_runs() {
    let Some(harbour) = Harbour::new() else {
        return;
    };
    harbour.build("worker-cpu").exits(0);
    let first = harbour.place.read("containers/lock.toml");
    harbour.podman("rmi --all --force");
    harbour.build("worker-cpu").exits(0);
    assert_eq!(harbour.place.read("containers/lock.toml"), first);
    harbour.assay("run ./tiny.toml --env worker-cpu").exits(0);
}

#[test]
fn two_that_are_built_at_once_are_both_locked() {
    let Some(harbour) = Harbour::new() else {
        return;
    };
    let names = ["one", "two"];
    let build = |name: &&str| {
        harbour.recipe(name, name);
        let mut command = harbour.command(ASSAY);
        command
            .args(["env", "build", name, "--worker"])
            .arg(worker());
        Running::begin(&harbour.place, "env build", command)
    };
    let building: Vec<Running> = names.iter().map(build).collect();
    for one in building {
        one.end().exits(0);
    }
    harbour
        .assay("env verify")
        .exits(0)
        .says("one: as pinned")
        .says("two: as pinned");
}

#[test]
fn the_rights_of_whoever_builds_change_nothing() {
    let Some(harbour) = Harbour::new() else {
        return;
    };
    harbour.recipe("box", "x");
    // What is called as the folder that assay lays out, further down, is nobody's business.
    harbour.place.write("containers/box/etc/root/file", "x");
    let all = "FROM scratch\nCOPY root/ /\nCOPY . /all/\n";
    harbour.place.write("containers/box/Containerfile", all);
    let built = |umask: &str, mode: u32| {
        for (name, mode) in [("content", mode), ("etc", mode | 0o100)] {
            let path = harbour.place.path(&format!("containers/box/{name}"));
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let worker = worker();
        let line = format!(
            "umask {umask} && exec {ASSAY} env build box --worker {}",
            worker.display()
        );
        let output = harbour.command("sh").args(["-c", &line]).output().unwrap();
        Outcome::of(&line, &output).exits(0);
        harbour.locked("config")
    };
    assert_eq!(built("022", 0o644), built("077", 0o600));
    harbour.place.write("containers/box/root/file", "x");
    harbour
        .build("box")
        .refuses(&["containers/box/root", "laid out by assay"]);
}

/// A program that fails where it sees more of a network than the machine's talk with itself: two lines of heading, one of `lo`.
const PROBE: &str = "#include <stdio.h>\nint main(void) { char line[512]; int lines = 0; FILE *net = fopen(\"/proc/net/dev\", \"r\"); while (net && fgets(line, sizeof line, net)) lines++; return lines == 3 ? 0 : 1; }\n";

#[test]
fn a_build_has_no_network() {
    if !have("cc") {
        return;
    }
    let Some(harbour) = Harbour::new() else {
        return;
    };
    harbour.recipe("box", "");
    harbour.place.write("probe.c", PROBE);
    let mut compile = harbour.place.program("cc");
    compile.args(["-static", "-o", "containers/box/content", "probe.c"]);
    assert!(compile.status().unwrap().success());
    let file = "FROM scratch\nCOPY root/ /\nCOPY content /content\nRUN [\"/content\"]\n";
    harbour.place.write("containers/box/Containerfile", file);
    harbour.build("box").exits(0);
}

#[test]
fn what_is_not_pinned_is_not_built() {
    let Some(harbour) = Harbour::new() else {
        return;
    };
    for (line, expected) in [
        ("FROM localhost/v:latest", "not named by digest"),
        (
            "FROM scratch\nCOPY --from=localhost/v:latest /x /x",
            "not named by digest",
        ),
        (
            "FROM scratch\nRUN --mount=type=bind,from=localhost/v:latest,target=/x /x",
            "not named by digest",
        ),
        ("FROM scratch\nADD https://example.org/x /x", "COPY it"),
    ] {
        harbour
            .place
            .write("containers/box/Containerfile", format!("{line}\n"));
        let last = line.lines().last().unwrap();
        harbour.build("box").refuses(&[last, expected]);
    }
    assert!(!harbour.place.path("containers/lock.toml").exists());
}

#[test]
fn what_an_image_ran_is_there_for_this_machine_too() {
    let Some(harbour) = Harbour::new() else {
        return;
    };
    harbour.recipe("box", "");
    // Not this executable: such a one is at hand anyway.
    let mut bytes = fs::read(worker()).unwrap();
    bytes.push(0);
    let other = harbour.place.path("other");
    fs::write(&other, bytes).unwrap();
    fs::set_permissions(&other, Permissions::from_mode(0o755)).unwrap();
    harbour.assay("env build box --worker ./other").exits(0);
    fs::remove_file(other).unwrap();
    harbour
        .assay("run ./tiny.toml --arm host=here --arm box=image:box")
        .exits(0);
    harbour
        .assay("reproduce latest --on-host --no-confirm")
        .says("What starts the workers of arm box was podman and is now host.")
        .says("outputs: identical");
}

#[test]
fn the_cuda_image_is_the_worker_on_a_base_that_is_named_by_digest() {
    let Some(harbour) = Harbour::new() else {
        return;
    };
    // What NVIDIA's image is to it: a root with libraries, and variables of its own.
    harbour.recipe("base", "of the base");
    let base = "FROM scratch\nCOPY root/lib /lib\nCOPY root/lib64 /lib64\nCOPY content /content\nENV NVIDIA_VISIBLE_DEVICES=all\n";
    harbour.place.write("containers/base/Containerfile", base);
    harbour.build("base").exits(0);
    let base = format!("localhost/assay-base@{}", harbour.locked("manifest"));
    let build = |base: &str| {
        let worker = worker().display().to_string();
        let given = format!("BASE={base}");
        let words = [
            "env",
            "build",
            "worker-cuda",
            "--worker",
            &worker,
            "--arg",
            &given,
        ];
        let output = harbour.command(ASSAY).args(words).output().unwrap();
        Outcome::of("env build worker-cuda", &output)
    };
    build(&base).exits(0);
    let first = harbour.place.read("containers/lock.toml");
    assert!(first.contains(&format!("BASE = \"{base}\"")), "{first}");
    build(&base).exits(0);
    assert_eq!(harbour.place.read("containers/lock.toml"), first);
    let id = harbour.podman("images --quiet --no-trunc localhost/assay-worker-cuda");
    let says = |format: &str| harbour.podman(&format!("image inspect {id} --format {format}"));
    assert_eq!(
        says("{{.Config.Entrypoint}}"),
        "[/usr/local/bin/assay-worker]"
    );
    assert!(says("{{.Config.Env}}").contains("NVIDIA_VISIBLE_DEVICES=all"));
    // The base's files lie beneath; of this machine comes the worker alone.
    harbour.podman(&format!("create --name looked-into {id}"));
    harbour.podman(&format!(
        "cp looked-into:/content {}",
        harbour.place.path("taken").display()
    ));
    harbour.podman("rm looked-into");
    assert_eq!(harbour.place.read("taken"), "of the base");
    let triad = "[[benchmark]]\nname = \"triad\"\nworkload = \"stream-triad\"\ndevices = [\"cpu\", \"cuda\"]\nparams = { elements = 1024, dtype = \"f32\" }\n";
    harbour
        .place
        .write("triad.toml", suite("triad", &[triad.to_owned()]));
    let run = harbour.assay("run ./triad.toml --env worker-cuda --json");
    let run = run.exits(0).json();
    assert!(state(&run, "triad@cpu").starts_with("ok"));
    assert!(state(&run, "triad@cuda").starts_with("skipped"));
    let gone = format!("localhost/nowhere@sha256:{}", "1".repeat(64));
    build(&gone).exits(3).says("in a registry that is in reach");
    build("localhost/assay-base:latest").refuses(&["not named by digest"]);
    assert_eq!(harbour.place.read("containers/lock.toml"), first);
}
