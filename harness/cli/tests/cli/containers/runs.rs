//! What runs in a container, and what it gets.

use assay_record::Engine;

use super::{Harbour, LONG};
use crate::helpers::{ASSAY, PATIENCE, Running, eventually, suite, suite_with};

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
    let running = Running::begin(&harbour.place, "run m.json", running);
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
    // The smoke suite has a worker in Python and a command of a shell, and the image has neither.
    harbour
        .assay("plan smoke --env box -o m.json")
        .exits(0)
        .says("benchmark `python/sort` is left out")
        .says("worker `example`")
        .says("case `command/sh@cpu` is left out")
        .says("program `sh` is in no folder of PATH");
    let manifest = harbour.place.read("m.json");
    assert!(manifest.contains("control/spin") && !manifest.contains("command/sh"));
    harbour
        .assay("run smoke --env box --filter command --filter python")
        .exits(3)
        .says("no case is left")
        .says("on the host");
    // What is lacking before any case is known counts as well.
    harbour
        .assay("run smoke --env box --filter python")
        .exits(3)
        .says("no case is left");
    harbour
        .assay("run smoke --env box --filter control --filter command --filter ml/softmax")
        .exits(0)
        .says("ml/softmax");
    harbour
        .assay("reproduce latest")
        .says("inputs:  identical")
        .says("outputs: identical");
}
