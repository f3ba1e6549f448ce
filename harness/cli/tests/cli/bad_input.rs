//! Bad input is refused with the file, the field and the remedy, with exit code 2, and nothing is lost.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::helpers::{Outcome, Place, benchmark, spin, suite, suite_with};

const POLICY: &str = "rounds = 2, max_rounds = 2, round_ms = 10";

/// What planning says of a suite's text. Nothing runs, so nothing may be recorded.
#[track_caller]
fn planned(text: &str) -> Outcome {
    let place = Place::new();
    place.write("bad.toml", text);
    let outcome = place.assay("plan ./bad.toml");
    assert!(
        !place.path("assay-data").exists(),
        "planning writes nothing"
    );
    outcome
}

#[track_caller]
fn refused(text: &str, words: &[&str]) {
    planned(text).refuses(words);
}

/// What planning says of a benchmark in an otherwise good suite.
#[track_caller]
fn refused_benchmark(lines: &str, words: &[&str]) {
    let text = suite("tiny", &[spin("good", 10), benchmark("bad", lines)]);
    refused(&text, &[&["`bad`"], words].concat());
}

/// Every benchmark of every suite, those for devices that this machine lacks, too.
#[test]
fn the_suites_that_come_with_the_program_are_good() {
    let place = Place::new();
    for (name, _) in assay::suite::builtin::all() {
        place.assay(&format!("plan {name} -o {name}.json")).exits(0);
    }
}

#[test]
fn the_suites_of_these_tests_are_good() {
    planned(&suite("tiny", &[spin("good", 10)])).exits(0);
}

#[test]
fn unknown_fields_are_named_with_the_file_and_the_place() {
    let good = suite("tiny", &[spin("good", 10)]);
    for (text, word) in [
        (format!("{good}\nwarkload = \"spin\""), "warkload"),
        (format!("colour = 1\n{good}"), "colour"),
        (good.replace("round_ms", "round_s"), "round_s"),
        (good.replace("steps", "stepps"), "stepps"),
    ] {
        refused(&text, &["bad.toml", word]);
    }
    refused("schema = ", &["bad.toml"]);
    refused(
        &good.replace("schema = 1", "schema = 2"),
        &["bad.toml", "field `schema`", "newer"],
    );
    refused(
        &good.replace("name = \"tiny\"", "name = \"Tiny!\""),
        &["bad.toml", "field `name`"],
    );
    refused(
        "schema = 1\nname = \"tiny\"\nbenchmark = []",
        &["bad.toml", "field `benchmark`"],
    );
}

#[test]
fn unknown_workloads_and_parameters_come_with_the_nearest() {
    refused_benchmark(
        "workload = \"spinn\"",
        &["bad.toml", "field `workload`", "did you mean `spin`?"],
    );
    refused_benchmark(
        "workload = \"xyzzy\"",
        &["no workload `xyzzy`", "stream-triad"],
    );
    refused_benchmark(
        "workload = \"spin\"\nparams = { step = 10 }",
        &["field `params.step`", "did you mean `steps`?"],
    );
    refused_benchmark(
        "workload = \"spin\"\naxes = { stepz = [10] }",
        &["field `axes.stepz`", "did you mean `steps`?"],
    );
    refused_benchmark(
        "workload = \"spin\"",
        &["parameter `steps`", "has no value"],
    );
    refused_benchmark(
        "workload = \"spin\"\nparams = { steps = \"many\" }",
        &["parameter `steps`", "no int"],
    );
    refused_benchmark(
        "workload = \"fault\"\nparams = { mode = \"none-such\" }",
        &["parameter `mode`", "none of"],
    );
    refused_benchmark(
        "workload = \"spin\"\nworker = \"mine\"\nparams = { steps = 1 }",
        &["field `worker`", "`mine`"],
    );
    refused_benchmark(
        "workload = \"spin\"\nparams = { steps = 1 }\ntiming = [\"graph\"]",
        &["field `timing`"],
    );
    refused_benchmark(
        "workload = \"spin\"\nparams = { steps = 1 }\ndevices = [\"cuda\"]",
        &["field `devices`", "cuda"],
    );
    refused_benchmark(
        "workload = \"spin\"\nparams = { steps = 1 }\ncommand = { argv = [\"true\"] }",
        &["`workload`, `command` and `kernel`"],
    );
}

#[test]
fn axes_that_are_empty_or_explode_are_named_and_counted() {
    let axes = |text: &str| format!("workload = \"spin\"\naxes = {{ {text} }}");
    refused_benchmark(&axes("steps = []"), &["axis `steps` is empty"]);
    refused_benchmark(&axes("steps = [1, 1]"), &["axis `steps` has 1 twice"]);
    refused_benchmark(
        &axes("steps = { from = 9, to = 1, step = 1 }"),
        &["axis `steps`", "past `to`"],
    );
    let exploding =
        spin("good", 1) + &benchmark("bad", &axes("steps = { from = 1, to = 100000, step = 1 }"));
    refused(
        &suite("tiny", &[exploding]),
        &["bad.toml", "100001 cases", "at most 100000"],
    );
    let beyond = axes(
        "steps = { from = 1, to = \"2^50\", step = 1 }, a = { from = 1, to = \"2^50\", step = 1 }",
    );
    refused(
        &suite("tiny", &[benchmark("bad", &beyond)]),
        &["bad.toml", "more than can be counted"],
    );
}

#[test]
fn policies_that_cannot_be_followed_are_refused() {
    for (policy, field) in [
        ("rounds = 3", "policy.rounds"),
        ("rounds = 0", "policy.rounds"),
        ("rounds = 2, max_rounds = 5", "policy.max_rounds"),
        ("rounds = 2000", "policy.rounds"),
        ("target = 0.0", "policy.target"),
        ("min_samples = 9, max_samples = 5", "policy.min_samples"),
        ("max_samples = 1000000000", "policy.max_samples"),
        ("round_ms = 0", "policy.round_ms"),
    ] {
        refused(
            &suite_with("tiny", policy, &[spin("a", 10)]),
            &["bad.toml", field],
        );
    }
    refused(
        &suite_with("tiny", POLICY, &[spin("a", 1), spin("a", 2)]),
        &["bad.toml", "two benchmarks are called `a`"],
    );
}

#[test]
fn paths_of_suites_are_looked_at_before_they_are_used() {
    let place = Place::with_suite(&[spin("a", 10)]);
    place
        .assay("run sub/../tiny.toml")
        .refuses(&["sub/../tiny.toml", "`..`"]);
    place.assay("run ./none.toml").refuses(&["none.toml"]);
    place
        .assay("run smok")
        .refuses(&["`smok`", "smoke", "./smok.toml"]);
    place.assay_with(&["run", ""]).refuses(&["empty"]);
    place
        .assay_with(&["run", &format!("./{}.toml", "x".repeat(5000))])
        .refuses(&["5007 bytes", "at most 4096"]);
    place.assay("run .").refuses(&["."]);
    place.write("binary.toml", [0xff, 0xfe, 0]);
    place.assay("run ./binary.toml").refuses(&["binary.toml"]);
    place
        .assay("run ./tiny.toml --filter nothing")
        .refuses(&["no case is left"]);
    assert!(place.records().is_empty());
}

#[test]
fn settings_are_checked_too() {
    let place = Place::with_suite(&[spin("a", 10)]);
    place.write("assay.toml", "recrods = \"x\"\n");
    place
        .assay("run ./tiny.toml")
        .refuses(&["assay.toml", "recrods"]);
    place.assay("show").refuses(&["assay.toml", "recrods"]);
}

#[test]
fn a_file_that_is_no_usable_database_is_left_as_it_is() {
    let place = Place::with_runs(1);
    place.write("text.duckdb", "this is no database\n".repeat(1000));
    std::fs::create_dir(place.path("folder.duckdb")).unwrap();
    let mut damaged = std::fs::read(place.path("assay-data/assay.duckdb")).unwrap();
    let keep = damaged.len() / 2;
    damaged.truncate(keep);
    damaged[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    place.write("damaged.duckdb", &damaged);
    for (file, words) in [
        ("text.duckdb", "not a DuckDB database"),
        ("folder.duckdb", "it is a folder"),
        ("damaged.duckdb", "damaged"),
    ] {
        let before = std::fs::read(place.path(file)).ok();
        place.write("assay.toml", format!("database = \"{file}\"\n"));
        for command in ["show", "ingest", "report", "reproduce latest"] {
            place.assay(command).refuses(&[file, words]);
        }
        assert_eq!(
            std::fs::read(place.path(file)).ok(),
            before,
            "{file} was changed"
        );
    }
    // A run that cannot be ingested says where its record is kept.
    place.assay("run ./tiny.toml").refuses(&[
        "damaged.duckdb",
        "the record is kept in",
        "assay ingest",
    ]);
    assert_eq!(place.records().len(), 2);
    place.assay("db rebuild").exits(0).says("2 runs");
    place.assay("show").exits(0).says("1 ok");
}

#[test]
fn a_read_only_database_is_read_and_not_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::with_runs(1);
    let database = place.path("assay-data/assay.duckdb");
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o444)).unwrap();
    place.assay("show").exits(0);
    place
        .assay("run ./tiny.toml")
        .refuses(&["assay.duckdb", "read-only", "the record is kept in"]);
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o644)).unwrap();
    place.assay("ingest").exits(0).says("1 new");
}

#[test]
fn a_site_goes_only_where_a_site_may_go() {
    let place = Place::with_runs(1);
    place.write("mine/letter.txt", "dear");
    place
        .assay("report --out mine")
        .refuses(&["mine", "--out DIR"]);
    assert_eq!(place.read("mine/letter.txt"), "dear");
    place
        .assay("report --out mine/letter.txt")
        .refuses(&["letter.txt"]);
    place
        .assay("report --out mine/letter.txt/site")
        .refuses(&["letter.txt"]);
    // Nobody makes folders there, root included.
    place
        .assay("report --out /proc/site")
        .refuses(&["/proc", "--out DIR"]);
    place.assay("report --out site").exits(0);
}

#[test]
fn a_folder_of_records_that_is_missing_is_named() {
    let place = Place::with_runs(1);
    place
        .assay("ingest nowhere")
        .refuses(&["nowhere", "no such folder"]);
    place
        .assay("db rebuild nowhere")
        .refuses(&["not rebuilt", &place.runs()[0]]);
    // The database that was there is still there.
    place.assay("show").exits(0);
}

#[test]
fn a_folder_of_records_that_cannot_be_made_is_named() {
    let place = Place::with_suite(&[spin("a", 10)]);
    place.write("assay.toml", "records = \"/proc/records\"\n");
    place
        .assay("run ./tiny.toml")
        .refuses(&["/proc/records", "name another in assay.toml"]);
}

#[test]
fn usage_is_explained() {
    let place = Place::new();
    for arguments in ["", "rnu", "run", "run smoke --laps 3", "show a b"] {
        place.assay(arguments).exits(2).says("Usage");
    }
}

/// A small file system of its own, which ends with the test.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(place: &Place, name: &str, size: &str) -> Option<Self> {
        let at = place.path(name);
        std::fs::create_dir_all(&at).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&at)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        assert!(
            !std::env::var("ASSAY_REQUIRE")
                .unwrap_or_default()
                .contains("tmpfs"),
            "no tmpfs"
        );
        println!("skipped: no file system can be mounted here (not root?)");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_keeps_what_was_recorded() {
    let place = Place::with_suite(&[spin("a", 1000), spin("b", 1000)]);
    let Some(_disk) = Disk::mount(&place, "disk", "128k") else {
        return;
    };
    place.write("assay.toml", "records = \"disk\"\n");
    let policy =
        "rounds = 1000, max_rounds = 1000, min_samples = 2, max_samples = 200, round_ms = 20";
    place.write(
        "long.toml",
        suite_with("long", policy, &[spin("a", 1000), spin("b", 1000)]),
    );
    place
        .assay("run ./long.toml")
        .exits(3)
        .says("disk/")
        .says("free some space")
        .lacks("panicked");
    place.is_left_alone();
    place.assay("ingest").exits(0).says("1 new");
    place
        .assay("show")
        .exits(0)
        .says("this run is partial")
        .says("2 ok");
}

#[test]
fn a_full_disk_under_the_database_loses_nothing() {
    let place = Place::with_suite(&[spin("a", 1000)]);
    let Some(_disk) = Disk::mount(&place, "disk", "512k") else {
        return;
    };
    place.write("assay.toml", "database = \"disk/a.duckdb\"\n");
    let mut runs = (0..20).map(|_| place.assay("run ./tiny.toml"));
    let failed = runs.find(|run| run.code != Some(0));
    let failed = failed.expect("the disk fills").says("disk/a.duckdb");
    failed
        .says("No space left")
        .says("the record is kept in")
        .lacks("panicked");
    // The database still opens, with what it had.
    place.assay("show").exits(0).says("1 ok");
    let all = place.runs().len();
    place.write("assay.toml", "database = \"b.duckdb\"\n");
    place.assay("ingest").exits(0).says(&format!("{all} new"));
}

#[test]
fn a_disk_that_is_full_from_the_start_is_said_at_once() {
    let place = Place::with_suite(&[spin("a", 1000)]);
    let Some(_disk) = Disk::mount(&place, "disk", "4k") else {
        return;
    };
    place.write("assay.toml", "records = \"disk\"\n");
    place
        .assay("run ./tiny.toml")
        .exits(3)
        .says("disk/")
        .says("free some space");
    place.assay("ingest").exits(0).says("0 new");
}

#[test]
fn a_record_that_is_a_link_to_nowhere_stops_nothing() {
    let place = Place::with_runs(1);
    symlink(
        "/nowhere",
        place.path("assay-data/records/20261120-000000-0123abcd.jsonl"),
    )
    .unwrap();
    place.write(
        "assay-data/records/20261120-000001-0123abcd.jsonl",
        "rubbish\n",
    );
    let outcome = place.assay("ingest").exits(2);
    outcome
        .says("20261120-000000-0123abcd")
        .says("20261120-000001-0123abcd")
        .says("1 unchanged");
}

#[test]
fn what_no_worker_could_do_is_refused_at_planning() {
    let none = "workload = \"spin\"\nparams = { steps = 0 }";
    refused_benchmark(none, &["bad.toml", "parameter `steps`", "below 1"]);
    let unpinned = "command = { argv = [\"cat\", \"--from={dir}/x\"] }";
    refused_benchmark(unpinned, &["bad.toml", "{dir} stands at the start"]);
}
