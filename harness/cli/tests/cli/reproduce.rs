//! Verdicts against truth: the same work is not regressed, a tenth more work is.

use crate::helpers::{ASSAY, Place, spin, suite_with};

/// Enough rounds and time for a tenth to show.
const POLICY: &str = "rounds = 6, max_rounds = 6, min_samples = 10, max_samples = 400, warmup_ms = 40, round_ms = 100";
const TRIES: usize = 3;

/// A place where one spin was measured, with nothing beside it, and the run's id.
fn measured() -> (Place, String) {
    let place = Place::alone();
    let benchmarks = [spin("control/spin", 100_000)];
    place.write("tiny.toml", suite_with("tiny", POLICY, &benchmarks));
    place.assay("run ./tiny.toml").exits(0);
    let run = place.runs().remove(0);
    (place, run)
}

#[test]
fn the_same_again_is_not_regressed() {
    let (place, run) = measured();
    for _ in 0..TRIES {
        let outcome = place.assay(&format!("reproduce {run}")).exits(0);
        outcome
            .says("inputs:  identical")
            .says("outputs: identical")
            .lacks("REGRESSED");
    }
}

#[test]
fn a_tenth_more_work_is_regressed() {
    let (place, run) = measured();
    place.script(
        "slower.sh",
        &format!("ASSAY_SPIN_EXTRA_PERMILLE=100 exec {ASSAY} worker \"$@\""),
    );
    // A machine that is busy with something else can leave a try open, but never turn it round.
    let mut tries = 0;
    let mut found = 0;
    while found < TRIES {
        let outcome = place.assay(&format!("reproduce {run} --worker slower.sh"));
        let outcome = outcome.says("outputs: identical");
        if outcome.code == Some(1) {
            outcome.says("speed:   REGRESSED");
            found += 1;
        } else {
            outcome.says("speed:   inconclusive");
        }
        tries += 1;
        assert!(tries - found <= TRIES, "{found} of {tries}");
    }
}

#[test]
fn the_worker_of_then_is_kept_and_runs_again() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    // Another build, as far as a digest can tell.
    let mut other = std::fs::read(ASSAY).unwrap();
    other.push(0);
    place.script("other", "");
    std::fs::write(place.path("other"), other).unwrap();
    let ran = place
        .program("./other")
        .args(["run", "./tiny.toml"])
        .status();
    assert!(ran.unwrap().success());
    place
        .assay("reproduce latest")
        .says("note: the worker of then was kept and runs again")
        .says("outputs: identical");
    let said = || {
        let events = place.record().events;
        events
            .into_iter()
            .any(|event| event.text.contains("the manifest names the worker"))
    };
    assert!(!said());
    // Lost, and not to be built: this executable takes its place, and the record says so.
    std::fs::remove_dir_all(place.path("assay-data/workers")).unwrap();
    place
        .assay("reproduce latest~1")
        .lacks("was kept")
        .says("note: The tool differs");
    assert!(said());
}

#[test]
fn a_different_output_is_found() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.assay("run ./tiny.toml").exits(0);
    // Another implementation that gives another result: it answers for a chain of one step more.
    place.script(
        "other.sh",
        &format!("sed -u 's/\"steps\":1000/\"steps\":1001/' | {ASSAY} worker \"$@\""),
    );
    place
        .assay("reproduce latest --worker other.sh")
        .exits(1)
        .says("outputs: DIFFER");
}

#[test]
fn changed_inputs_are_found_before_anything_runs() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.write("data.txt", "one");
    let worker = format!("[workers.own]\nargv = [\"{ASSAY}\", \"worker\", \"{{dir}}/data.txt\"]\n");
    let own = "[[benchmark]]\nname = \"own\"\nworkload = \"spin\"\nworker = \"own\"\nparams = { steps = 10 }\n";
    let tiny = place.read("tiny.toml");
    place.write("tiny.toml", format!("{tiny}\n{own}\n{worker}"));
    place.assay("plan ./tiny.toml -o tiny.json").exits(0);
    place.assay("run tiny.json").exits(0);
    place.assay("reproduce latest").says("inputs:  identical");
    let runs = place.runs().len();
    place.write("data.txt", "two");
    place
        .assay("reproduce latest")
        .exits(1)
        .says("inputs:  DIFFER")
        .says("data.txt");
    place.assay("run tiny.json").refuses(&["data.txt"]);
    std::fs::remove_file(place.path("data.txt")).unwrap();
    place.assay("run tiny.json").refuses(&["data.txt"]);
    place
        .assay("plan ./tiny.toml")
        .refuses(&["tiny.toml", "{dir}/data.txt"]);
    assert_eq!(place.runs().len(), runs);
}
