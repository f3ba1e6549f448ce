//! Verdicts against truth: the same work is not regressed, a tenth more work is.

use assay_record::{Record, Timestamp};
use assay_store::synthetic::Recipe;

use crate::helpers::{ASSAY, Place, benchmark, have, spin, suite, suite_with};

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

/// A place where another build measured, as far as a digest can tell.
fn measured_by_another_build() -> Place {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
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
}

#[test]
fn a_kept_worker_that_was_changed_is_not_that_of_then() {
    let place = measured_by_another_build();
    let kept = std::fs::read_dir(place.path("assay-data/workers")).unwrap();
    for worker in kept {
        let path = worker.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.push(1);
        std::fs::write(&path, bytes).unwrap();
    }
    place
        .assay("reproduce latest --no-confirm")
        .says("is not at hand, and nobody knows how it was built: this executable takes its place")
        .lacks("was kept and runs again");
}

#[test]
fn a_run_whose_record_was_changed_is_not_reproduced() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.assay("run ./tiny.toml").exits(0);
    let run = place.runs().remove(0);
    let record = place.path(&format!("assay-data/records/{run}.jsonl.zst"));
    let whole = std::fs::read(&record).unwrap();
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&record, changed).unwrap();
        let outcome = place.assay(&format!("reproduce {run}"));
        assert_ne!(outcome.code, Some(0));
        outcome
            .says(&format!("the record of run {run} cannot be used"))
            .says("its content is sha256:")
            .says("was changed or damaged")
            .lacks("identical");
    }
    // What the database has of it is still there, and that is said.
    std::fs::remove_file(&record).unwrap();
    place
        .assay(&format!("reproduce {run} --no-confirm"))
        .says(&format!("the record of run {run} is not here"))
        .says("outputs: identical");
}

#[test]
fn the_worker_of_then_is_kept_and_runs_again() {
    let place = measured_by_another_build();
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

#[test]
fn a_folder_that_is_named_is_pinned_with_all_its_files() {
    let place = Place::new();
    let tool = "[benchmark.command]\nargv = [\"sh\", \"-c\", \"cat $0/one $0/deeper/two\", \"{dir}/data\"]\n";
    place.write("tiny.toml", suite("tiny", &[benchmark("tool", tool)]));
    place.write("data/one", "1");
    place.write("data/deeper/two", "2");
    place.assay("run ./tiny.toml").exits(0);
    place
        .assay("reproduce latest --no-confirm")
        .says("inputs:  identical");
    let differs = || {
        place
            .assay("reproduce latest")
            .exits(1)
            .says("inputs:  DIFFER")
    };
    // What a program keeps beside what it reads is no input.
    place.write("data/__pycache__/two.pyc", "compiled");
    place
        .assay("reproduce latest --no-confirm")
        .says("inputs:  identical");
    std::fs::remove_dir_all(place.path("data/__pycache__")).unwrap();
    place.write("data/deeper/two", "3");
    differs().says("data/deeper/two");
    place.write("data/deeper/two", "2");
    place.write("data/three", "more");
    differs().says("data/three");
    std::fs::remove_file(place.path("data/three")).unwrap();
    std::fs::remove_file(place.path("data/one")).unwrap();
    place.assay("reproduce latest").refuses(&["data/one"]);
    place.write("data/one", "1");
    place
        .assay("bundle latest -o run.bundle")
        .exits(0)
        .says("data data/deeper/two");
    let elsewhere = place.beside("elsewhere");
    elsewhere
        .assay("reproduce ../run.bundle --no-confirm")
        .says("inputs:  identical")
        .says("outputs: identical");
    std::os::unix::fs::symlink("..", place.path("data/up")).unwrap();
    place
        .assay("run ./tiny.toml")
        .refuses(&["{dir}/data/up", "neither a file nor a folder"]);
}

#[test]
fn reproductions_are_listed_each_and_a_confirmation_with_what_it_confirms() {
    let (place, run) = measured();
    place.script(
        "slower.sh",
        &format!("ASSAY_SPIN_EXTRA_PERMILLE=500 exec {ASSAY} worker \"$@\""),
    );
    for _ in 0..2 {
        place.assay(&format!("reproduce {run} --worker slower.sh --no-confirm"));
    }
    let listed = || {
        place.assay("report").exits(0);
        let page = place.read("assay-data/site/reproductions.html");
        place
            .runs()
            .iter()
            .filter(|again| **again != run && page.contains(&format!("{again}.html")))
            .count()
    };
    assert_eq!(listed(), 2);
    // Half as much again is a suspect, and is run once more: one reproduction, two runs.
    place
        .assay(&format!("reproduce {run} --worker slower.sh"))
        .exits(1);
    assert_eq!(place.runs().len(), 5);
    assert_eq!(listed(), 3);
}

#[test]
fn on_another_machine_outputs_are_compared_and_speed_is_a_comparison() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.write("assay.toml", "machine = \"one\"\n");
    place.assay("run ./tiny.toml").exits(0);
    place.write("assay.toml", "machine = \"two\"\n");
    place
        .assay("reproduce latest")
        .exits(0)
        .says("inputs:  identical")
        .says("outputs: identical")
        .says("speed:   a comparison, not a reproduction: ")
        .says("says nothing of the code")
        .lacks("REGRESSED");
    let json = place.assay("reproduce latest~1 --json").exits(0).json();
    assert!(
        json["comparison"]
            .as_str()
            .unwrap()
            .contains(" ran on one, ")
    );
    place.assay("report").exits(0);
    let page = place.read("assay-data/site/reproductions.html");
    assert!(
        page.contains("comparison") && page.contains("geometric mean of 1"),
        "{page}"
    );
}

#[test]
fn a_lost_worker_is_built_from_its_commit() {
    if !have("git") {
        return;
    }
    let place = Place::new();
    place.write("tiny.toml", suite("tiny", &[spin("control/spin", 1000)]));
    place.write("worker.sh", format!("#!/bin/sh\nexec {ASSAY} worker\n"));
    let build = "mkdir -p out && cp worker.sh out/worker && chmod +x out/worker\n";
    place.write("build.sh", build);
    place.write(".gitignore", "out/\nassay/\n*.lock\nassay-data/\n");
    let declared = "[build]\ncommand = [\"sh\", \"build.sh\"]\nworker = \"out/worker\"\n";
    place.write("assay.toml", declared);
    for arguments in [
        "git init -q -b main .",
        "git add -A",
        "git -c user.name=t -c user.email=t@example.org commit -q -m first",
    ] {
        let mut words = arguments.split(' ');
        let mut command = place.program(words.next().unwrap());
        assert!(command.args(words).status().unwrap().success());
    }
    // The change was never committed: it is built as well.
    place.write(
        "worker.sh",
        format!("#!/bin/sh\n# changed\nexec {ASSAY} worker\n"),
    );
    let made = place.program("sh").arg("build.sh").status();
    assert!(made.unwrap().success());
    place
        .assay("run ./tiny.toml --arm main=worker:out/worker")
        .exits(0);
    place.write("worker.sh", "lost");
    std::fs::remove_dir_all(place.path("out")).unwrap();
    std::fs::remove_dir_all(place.path("assay-data/workers")).unwrap();
    place
        .assay("reproduce latest")
        .says("is not at hand: it is built again from its commit")
        .says("sh build.sh")
        .says("note: the build gave the same bytes as then")
        .says("outputs: identical");
    // Now it is kept.
    place
        .assay("reproduce latest~1")
        .says("the worker of then was kept")
        .lacks("built again");
    // Other bytes are said, in the record too, and come first in what differs.
    std::fs::remove_dir_all(place.path("assay-data/workers")).unwrap();
    place.write(
        "assay.toml",
        declared.replace(
            "\"build.sh\"",
            "\"-c\", \"sh build.sh; echo >> out/worker\"",
        ),
    );
    place
        .assay("reproduce latest~2")
        .says("note: the build gave other bytes than then")
        .says("The worker of arm main was sha256:");
}

#[test]
fn clocks_that_are_wrong_are_a_warning() {
    let place = Place::new();
    let recipe = Recipe::default();
    let path = recipe.write(&place.path("records"), None).unwrap();
    // The same run, as a machine with a wrong clock would have written it.
    let text = std::fs::read_to_string(&path).unwrap();
    let started = Record::read(&path).unwrap().header.started;
    let shifted = |to: &str| {
        let bodies = text.lines().map(|line| {
            let body = line.split_once(r#","body":"#).unwrap().1;
            body.strip_suffix('}')
                .unwrap()
                .replace(&started.to_string(), to)
        });
        let mut chain = assay_record::chain::Chain::default();
        bodies
            .flat_map(|body| chain.seal(body.as_bytes()))
            .collect::<Vec<u8>>()
    };
    let started = |run: &str| place.assay(&format!("show {run}")).exits(0);
    for (to, words) in [
        ("2226-01-01T00:00:00Z", "which is still to come"),
        ("9999-01-01T00:00:00Z", "which is still to come"),
        ("-009999-01-02T01:59:59Z", ""),
        (
            "2226-01-01T00:00:00Z",
            "before that: the clock was set back",
        ),
    ] {
        std::fs::write(&path, shifted(to)).unwrap();
        let _ = std::fs::remove_dir_all(place.path("assay-data"));
        place
            .assay("ingest records")
            .exits(0)
            .says(words)
            .lacks("panicked");
        started("latest").lacks("panicked");
        place.assay("report").exits(0).lacks("panicked");
        place.assay("history case").lacks("panicked");
    }
    assert!(Timestamp::now() < "2226-01-01T00:00:00Z".parse().unwrap());
}
