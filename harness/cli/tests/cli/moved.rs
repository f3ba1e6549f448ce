//! Runs whose project or suite lies elsewhere by now: what they read is found by its content, or named anew.

use std::fs;
use std::path::Path;

use crate::helpers::{Outcome, Place, benchmark, have, metric_on, spin, suite};

/// What says the number in a file of the project.
const TOOL: &str = "[benchmark.command]\nargv = [\"sh\", \"{dir}/tool.sh\", \"{dir}/../data/numbers\"]\nmetrics = [{ name = \"said\", unit = \"1\", direction = \"neutral\", regex = \"(\\\\d+)\" }]\n";

#[track_caller]
fn git(place: &Place, arguments: &str) {
    let mut git = place.program("git");
    let output = git.args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "git {arguments}: {output:?}");
}

fn commit(place: &Place, numbers: &str) {
    place.write("data/numbers", numbers);
    git(place, "add -A");
    let who = "-c user.name=t -c user.email=t@example.org";
    git(place, &format!("{who} commit -q -m {numbers}"));
}

/// A folder `project` with a suite in a folder of it, whose tool says 2.
fn project(place: &Place) -> Place {
    let project = place.beside("project");
    project.write(
        "suites/tiny.toml",
        suite("tiny", &[benchmark("tool", TOOL)]),
    );
    project.write("suites/tool.sh", "cat $1\n");
    project.write("data/numbers", "2");
    project
}

/// The same as a repository, whose commit before says 1, and in which nothing of the tests' own counts.
fn repository(place: &Place) -> Place {
    let project = project(place);
    git(&project, "init -q -b main .");
    project.write(".gitignore", "assay/\n*.lock\nassay-data/\n*.bundle\n");
    commit(&project, "1");
    commit(&project, "2");
    project
}

/// What each arm's tool said in the last run.
fn said(place: &Place, arms: &[&str]) -> Vec<i64> {
    let run = place.assay("show --json").exits(0).json();
    let metrics = run["cases"][0]["metrics"].as_array().unwrap();
    let said = metrics
        .iter()
        .position(|one| one["metric"]["name"] == "said");
    let of = |arm: &&str| metric_on(&run, "tool", arm, said.unwrap()).round() as i64;
    arms.iter().map(of).collect()
}

#[track_caller]
/// The same work; how fast it went on a busy machine is not what is asked.
fn is_same(outcome: Outcome) {
    let is_judged = matches!(outcome.code, Some(0 | 1));
    assert!(is_judged, "{outcome}");
    outcome.says("inputs:  identical").lacks("DIFFER");
}

#[test]
fn arms_of_commits_keep_their_files_when_the_project_has_moved_on() {
    if !have("git") {
        return;
    }
    let place = Place::new();
    let project = repository(&place);
    let arms = "--arm first=commit:HEAD~1 --arm second=commit:HEAD --arm now=here";
    project
        .assay(&format!("run ./suites/tiny.toml {arms}"))
        .exits(0);
    commit(&project, "3");
    let again = project.assay("reproduce latest --no-confirm");
    // Several lines are of one case: each says of which arm.
    is_same(again.says("tool@cpu  first").says("tool@cpu  now"));
    assert_eq!(said(&project, &["first", "second", "now"]), [1, 2, 2]);
    // Another clone has the same commits, and files of its own.
    git(&place, "clone -q project clone");
    let clone = place.beside("clone");
    let arms = "--arm first=commit:HEAD~2 --arm second=commit:HEAD~1";
    project
        .assay(&format!("plan ./suites/tiny.toml {arms} -o ../m.json"))
        .exits(0);
    clone.assay("run ../m.json").exits(0);
    assert_eq!(said(&clone, &["first", "second"]), [1, 2]);
}

#[test]
fn a_project_that_was_moved_or_cloned_gives_the_same_runs_and_bundles() {
    if !have("git") {
        return;
    }
    let place = Place::new();
    let project = repository(&place);
    // Not committed, and yet a part of what was measured.
    project.write("data/numbers", "5");
    project.assay("run ./suites/tiny.toml").exits(0);
    project.assay("bundle latest -o ../one.bundle").exits(0);
    fs::rename(project.path("assay-data/records"), place.path("records")).unwrap();
    fs::remove_dir_all(project.path("assay-data")).unwrap();
    fs::rename(place.path("project"), place.path("moved")).unwrap();
    git(&place, "clone -q moved clone");
    for name in ["moved", "clone"] {
        let here = place.beside(name);
        here.assay("ingest ../records").exits(0);
        here.assay("bundle latest -o ../two.bundle").exits(0);
        let read = |name: &str| fs::read(place.path(name)).unwrap();
        assert!(read("one.bundle") == read("two.bundle"), "{name}");
        is_same(here.assay("reproduce latest --no-confirm"));
        assert_eq!(said(&here, &["main"]), [5], "{name}");
    }
}

#[test]
fn a_suite_outside_git_that_was_moved_is_named_anew() {
    let place = Place::new();
    let old = project(&place);
    old.assay("plan ./suites/tiny.toml -o ../m.json").exits(0);
    old.assay("run ../m.json").exits(0);
    old.assay("bundle latest -o ../one.bundle").exits(0);
    fs::rename(place.path("project"), place.path("moved")).unwrap();
    let here = place.beside("moved");
    for command in ["reproduce latest", "run ../m.json", "bundle latest -o x"] {
        here.assay(command)
            .refuses(&["/project/suites/", "name its folder with --dir"]);
    }
    is_same(here.assay("reproduce latest --no-confirm --dir suites"));
    here.assay("run ../m.json --dir suites").exits(0);
    here.assay("bundle latest~2 -o ../two.bundle --dir ./suites")
        .exits(0);
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    assert!(read("one.bundle") == read("two.bundle"));
    // Another folder is looked at as closely as that of then.
    for command in ["reproduce latest", "run ../m.json", "bundle latest -o x"] {
        here.assay(&format!("{command} --dir data"))
            .refuses(&["tool.sh", "--dir"]);
        here.assay(&format!("{command} --dir nowhere"))
            .refuses(&["--dir nowhere", "No such file"]);
    }
    here.write("data/numbers", "7");
    here.assay("reproduce latest --dir suites")
        .exits(1)
        .says("inputs:  DIFFER");
    here.assay("reproduce ../one.bundle --dir suites")
        .refuses(&["--dir", "brings its suite's folder along"]);
    here.assay("run ./suites/tiny.toml --dir suites")
        .refuses(&["--dir suites", "for a manifest"]);
    assert!(!Path::new(&here.path("x")).exists());
}

#[test]
fn a_run_that_reads_no_folder_needs_none() {
    let place = Place::new();
    let old = place.beside("old");
    old.write("tiny.toml", suite("tiny", &[spin("control/spin", 1000)]));
    old.assay("run ./tiny.toml").exits(0);
    fs::rename(place.path("old"), place.path("new")).unwrap();
    let here = place.beside("new");
    is_same(here.assay("reproduce latest --no-confirm"));
    here.assay("reproduce latest --dir .")
        .refuses(&["--dir .", "reads nothing from its suite's folder"]);
}

#[test]
fn what_measured_nothing_is_not_measured_again() {
    let fails = benchmark("fails", "command = { argv = [\"false\"] }");
    let place = Place::with_suite(&[fails]);
    place.assay("run ./tiny.toml").exits(1);
    place.assay("reproduce latest").refuses(&[
        "measured nothing",
        "fails@cpu failed: `false` exited with code 1",
        "`assay run` measures anew",
    ]);
    assert_eq!(place.runs().len(), 1);
    // One case that was measured is enough.
    let cases = [
        benchmark("fails", "command = { argv = [\"false\"] }"),
        spin("control/spin", 1000),
    ];
    place.write("tiny.toml", suite("tiny", &cases));
    place.assay("run ./tiny.toml").exits(1);
    place
        .assay("reproduce latest --no-confirm")
        .says("inputs:  not comparable");
    assert_eq!(place.runs().len(), 3);
    place
        .assay("reproduce ./no.bundle")
        .refuses(&["./no.bundle", "there is no such file"]);
}
