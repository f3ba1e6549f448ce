//! Suspects that are run again: beside what the baseline ran, alone, or not at all where what is started is the same.

use crate::gate::{NIGHTS, POLICY, SLOWER};
use crate::helpers::{ASSAY, Outcome, Place, benchmark, have, spin, suite, suite_with};

/// Runs git in a place.
fn git(place: &Place, arguments: &[&str]) -> String {
    let mut git = place.program("git");
    git.args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
    let output = git.args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A suite of one command in a repository; what the tests themselves leave there is no change of the project.
fn repository(place: &Place, command: &str, files: &[&str]) {
    place.write(
        "tiny.toml",
        suite("tiny", &[benchmark("tool/work", command)]),
    );
    git(place, &["init", "-q", "."]);
    place.write(".git/info/exclude", "*\n");
    git(place, &[&["add", "-f", "tiny.toml"], files].concat());
    git(place, &["commit", "-qm", "one"]);
}

/// A program in the suite's folder, which each commit has in another version.
const OWN_FILE: &str = "command = { argv = [\"sh\", \"{dir}/work.sh\"] }";

/// A command that sleeps for what a file says that nobody pins.
fn sleeps(place: &Place) -> String {
    let delay = place.path("delay");
    let delay = delay.to_str().unwrap();
    format!("command = {{ argv = [\"sh\", \"-c\", \"sleep $(cat {delay})\"] }}")
}

/// Whether a verdict was left open since others used the machine meanwhile: there is nothing more to see then.
fn is_busy(outcome: &Outcome) -> bool {
    let words: Vec<&str> = outcome.stdout.split_whitespace().collect();
    let busy = words.join(" ").contains("rounds were disturbed");
    if busy {
        println!("left open: the machine was busy");
    }
    busy
}

fn nights(place: &Place, count: usize) {
    for _ in 0..count {
        place.assay("run ./tiny.toml -q").exits(0);
    }
}

#[test]
fn a_worker_that_is_gone_leaves_the_weaker_way() {
    let place = Place::alone();
    let benchmarks = [spin("control/one", 20_000)];
    place.write("tiny.toml", suite_with("tiny", POLICY, &benchmarks));
    // Another executable measures the nights: a byte more, and another digest.
    let mut old = std::fs::read(ASSAY).unwrap();
    old.push(0);
    place.write("old-assay", old);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.path("old-assay"), executable).unwrap();
    let old = place.path("old-assay");
    for _ in 0..NIGHTS {
        let mut night = place.program(old.to_str().unwrap());
        assert!(
            night
                .args(["run", "./tiny.toml", "-q"])
                .status()
                .unwrap()
                .success()
        );
    }
    place.write("assay.toml", SLOWER);
    place.assay("run ./tiny.toml -q").exits(0);
    // What the baseline ran is kept, and runs beside what is new.
    place
        .assay("confirm -q")
        .exits(1)
        .says("The built-in worker was ")
        .says("interleaved with what the baseline ran");
    std::fs::remove_dir_all(place.path("assay-data/workers")).unwrap();
    std::fs::remove_file(old).unwrap();
    let alone = place.assay("confirm -q --fail-inconclusive --json").json();
    let note = alone["confirmation"]["notes"][0].as_str().unwrap();
    for words in ["run alone", "its worker is not kept", "which is weaker"] {
        assert!(note.contains(words), "{note}");
    }
}

#[test]
fn what_moves_with_the_same_start_is_said_first_and_alerts_nobody() {
    if !have("git") {
        return;
    }
    let place = Place::alone();
    place.write("delay", "0.01");
    repository(&place, &sleeps(&place), &[]);
    nights(&place, NIGHTS);
    place.write("delay", "0.3");
    let night = place.assay("nightly ./tiny.toml -q --junit gate.xml --markdown gate.md");
    if is_busy(&night) {
        return;
    }
    let night = night.exits(0).lacks("REGRESSED");
    assert!(night.stdout.starts_with("MOVED: 1 case, "), "{night}");
    night.says("not confirmed: what Assay starts is the same on both sides");
    assert!(place.read("gate.xml").contains("MOVED: 1 case, "));
    assert!(place.read("gate.md").starts_with("## MOVED: 1 case, "));
    place.assay("confirm -q --fail-inconclusive").exits(4);
    // Another commit, and what the command runs is in none: the old one cannot be had.
    git(&place, &["commit", "--allow-empty", "-qm", "two"]);
    let night = place.assay("nightly ./tiny.toml -q");
    if is_busy(&night) {
        return;
    }
    night.exits(1).says("REGRESSED: ").says(", alone:");
}

#[test]
fn a_failure_while_confirming_is_said_first() {
    let place = Place::alone();
    place.write("delay", "0.01");
    let benchmarks = [benchmark("tool/work", &sleeps(&place))];
    place.write("tiny.toml", suite("tiny", &benchmarks));
    nights(&place, NIGHTS);
    place.write("delay", "0.3");
    place.assay("run ./tiny.toml -q").exits(0);
    place.write("delay", "nonsense");
    let confirmed = place.assay("confirm -q --junit gate.xml").exits(1);
    assert!(
        confirmed.stdout.starts_with("FAILED: 1 case failed"),
        "{confirmed}"
    );
    assert!(place.read("gate.xml").contains("<failure type=\"failed\""));
}

#[test]
fn a_slower_commit_is_confirmed_beside_the_old_one() {
    if !have("git") {
        return;
    }
    let place = Place::alone();
    place.write("work.sh", "sleep 0.02\n");
    repository(&place, OWN_FILE, &["work.sh"]);
    nights(&place, NIGHTS);
    place.write("work.sh", "sleep 0.3\n");
    git(&place, &["commit", "-qam", "two"]);
    // Where the old commit cannot be built, a suspect stays a suspect.
    place.write("assay.toml", "build = { command = [\"false\"] }\n");
    let night = place.assay("nightly ./tiny.toml -q --junit gate.xml");
    night
        .exits(3)
        .lacks("REGRESSED")
        .says("SUSPECTED: ")
        .says("the suspects could not be run again");
    assert!(!place.read("gate.xml").contains("<failure"));
    // Assay's worker is the same; the files are not, and the old ones are in a commit.
    place.write("assay.toml", "");
    let night = place.assay("nightly ./tiny.toml -q --junit gate.xml --markdown gate.md");
    if is_busy(&night) {
        return;
    }
    let old = git(&place, &["rev-parse", "HEAD~1"]);
    let beside = format!("of commit {}", &old[..10]);
    night
        .exits(1)
        .says("REGRESSED: 1 of ")
        .says("The project's commit was ")
        .says("interleaved with what the baseline ran")
        .says(&beside);
    assert!(place.read("gate.xml").contains(&beside));
    assert!(place.read("gate.md").contains(&beside));
    let compared = place.assay("compare --by commit --metric time");
    assert!(is_busy(&compared) || compared.code == Some(1), "{compared}");
}

#[test]
fn what_an_expected_change_left_behind_confirms_nothing() {
    if !have("git") {
        return;
    }
    let place = Place::alone();
    place.write("work.sh", "sleep 0.02\n");
    repository(&place, OWN_FILE, &["work.sh"]);
    nights(&place, 1);
    place.write("work.sh", "sleep 0.1\n");
    git(&place, &["commit", "-qam", "two"]);
    nights(&place, NIGHTS);
    let expected = place.runs()[1].clone();
    let mark = format!(
        "case = \"tool/*\"\nreason = \"more work\"\nkind = \"expected\"\nat = \"{expected}\"\n"
    );
    place.write("marks.toml", format!("schema = 1\n[[mark]]\n{mark}"));
    place.write("assay.toml", "marks = \"marks.toml\"\n");
    place.write("work.sh", "sleep 0.3\n");
    git(&place, &["commit", "-qam", "three"]);
    place.assay("run ./tiny.toml -q").exits(0);
    let gate = place.assay("confirm -q --json");
    if is_busy(&gate) {
        return;
    }
    let gate = gate.exits(1).json();
    let again = &gate["confirmation"]["interleaved"]["cases"][0];
    // Beside the second commit it is three times slower, beside the first fifteen times.
    let ratio = again["ratio"]["estimate"].as_f64().unwrap();
    assert!(ratio < 6.0, "{again}");
}
