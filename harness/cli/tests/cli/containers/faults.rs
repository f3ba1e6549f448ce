//! Containers that end before their time, and engines that are not there.

use std::fs;

use assay_record::BlockStatus;

use super::{Harbour, LONG};
use crate::helpers::{
    ASSAY, Outcome, PATIENCE, Place, Running, benchmark, case, eventually, have, spin, state,
    suite, suite_with,
};

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
    let running = Running::begin(&harbour.place, "run m.json --json", command);
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
    let running = Running::begin(&harbour.place, "run m.json", command);
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
fn a_container_with_too_little_memory_to_begin_is_no_image_without_a_program() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let lock = harbour.place.read("containers/lock.toml");
    // Too little for the engine, for what starts the program, and for the program.
    for bytes in [500_000, 3_000_000, 4_000_000] {
        let bound = format!("memory_bytes = {bytes}\nplatform = ");
        harbour
            .place
            .write("containers/lock.toml", lock.replace("platform = ", &bound));
        let run = harbour.assay("run ./tiny.toml --env box");
        let run = run.lacks("no program").lacks("no case is left");
        if run.code != Some(0) {
            run.exits(3).says("memory");
        }
    }
}

#[test]
fn a_container_out_of_memory_fails_its_case_and_the_run_goes_on() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.relock("platform = ", "memory_bytes = 60000000\nplatform = ");
    let hog = benchmark(
        "hog",
        "workload = \"fault\"\ntimeout_s = 20\nparams = { mode = \"hog\" }",
    );
    let cases = [hog, spin("small", 1000)];
    harbour.place.write("hog.toml", suite("hog", &cases));
    let run = harbour.assay("run ./hog.toml --env box --json");
    let run = run.exits(1).json();
    let reason = state(&run, "hog");
    assert!(
        reason.starts_with("failed")
            && reason.contains("out of memory")
            && reason.contains("60000000 bytes"),
        "{reason}"
    );
    assert!(state(&run, "small").starts_with("ok"));
    assert_eq!(harbour.containers(), "");
}

/// A program that takes half a gigabyte, piece by piece.
const GREEDY: &str = "#include <stdlib.h>\n#include <string.h>\nint main(void) { for (int i = 0; i < 512; i++) { char *p = malloc(1 << 20); if (p) memset(p, 1, 1 << 20); } return 0; }\n";

#[test]
fn a_command_out_of_memory_says_so() {
    if !have("cc") {
        return;
    }
    let Some(harbour) = Harbour::new() else {
        return;
    };
    harbour.recipe("box", "");
    harbour.place.write("greedy.c", GREEDY);
    let mut compile = harbour.place.program("cc");
    compile.args(["-static", "-o", "containers/box/content", "greedy.c"]);
    assert!(compile.status().unwrap().success());
    harbour.build("box").exits(0);
    harbour.relock("platform = ", "memory_bytes = 60000000\nplatform = ");
    let command = |name: &str, program: &str| {
        benchmark(name, &format!("command = {{ argv = [\"{program}\"] }}"))
    };
    let commands = [command("greedy", "/content"), command("none", "/nothing")];
    harbour
        .place
        .write("greedy.toml", suite("greedy", &commands));
    let run = harbour.assay("run ./greedy.toml --env box --json");
    let run = run
        .says("case `none@cpu` is left out")
        .says("/nothing does not exist")
        .exits(1)
        .json();
    let reason = state(&run, "greedy");
    assert!(
        reason.contains("killed by signal 9") && reason.contains("out of memory"),
        "{reason}"
    );
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
