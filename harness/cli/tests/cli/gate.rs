//! Nights: a history, a slower night that is found and confirmed, an equal one that alerts nobody.

use crate::helpers::{Outcome, Place, spin, suite_with};

/// Enough rounds and time for a fifth to show; a busy machine may make it inconclusive, never wrong.
pub const POLICY: &str =
    "rounds = 4, max_rounds = 4, min_samples = 5, max_samples = 400, warmup_ms = 10, round_ms = 20";
/// Nights of a history: enough to see how much nights differ.
pub const NIGHTS: usize = 6;

/// What makes a spin slower, as the setting that it is.
pub const SLOWER: &str = "env = { ASSAY_SPIN_EXTRA_PERMILLE = \"1000\" }\n";

/// A place with a history of quick nights of two cases, with nothing beside it.
fn history() -> Place {
    let place = Place::alone();
    let benchmarks = [spin("control/one", 20_000), spin("control/two", 30_000)];
    place.write("tiny.toml", suite_with("tiny", POLICY, &benchmarks));
    for _ in 0..NIGHTS {
        place.assay("run ./tiny.toml -q").exits(0);
    }
    place
}

/// Verdict of a case in the JSON of a gate.
#[track_caller]
fn verdict(gate: &Outcome, case: &str) -> String {
    let json = gate.json();
    let cases = json["comparison"]["cases"].as_array().unwrap();
    let found = cases
        .iter()
        .find(|have| have["case"] == case && have["metric"]["name"] == "time");
    found.unwrap_or_else(|| panic!("no {case} in {gate}"))["verdict"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_slower_night_is_found_confirmed_and_said_first() {
    let place = history();
    place.write("assay.toml", SLOWER);
    place.assay("run ./tiny.toml -q").exits(0);
    // On a busy machine it is only suspected, and says why.
    place
        .assay("check")
        .says("`assay confirm` runs")
        .says("The variable ASSAY_SPIN_EXTRA_PERMILLE was not set and is now set.");
    let confirmed = place
        .assay("confirm -q --json --junit gate.xml --markdown gate.md")
        .exits(1);
    assert_eq!(verdict(&confirmed, "control/one@cpu"), "regressed");
    let json = confirmed.json();
    assert_eq!(json["state"], "regressed");
    assert_eq!(
        json["confirmation"]["interleaved"]["basis"]["is"],
        "interleaved"
    );
    let note = json["comparison"]["cases"][0]["note"].as_str().unwrap();
    assert!(note.starts_with("confirmed by run "), "{note}");
    assert!(
        place
            .read("gate.xml")
            .contains("<failure type=\"regressed\"")
    );
    assert!(place.read("gate.md").starts_with("## REGRESSED"));
    // What was run to confirm is no night: it is neither checked nor anybody's baseline, nor is it the latest run.
    place.assay("check").says("last:20 (5 runs, ");
    let again = &json["confirmation"]["interleaved"]["candidate"]["runs"][0];
    place
        .assay(&format!("compare --by arm {}", again.as_str().unwrap()))
        .exits(1)
        .says("interleaved")
        .says("REGRESSED");
}

#[test]
fn an_equal_night_alerts_nobody() {
    let place = history();
    let night = place.assay("nightly ./tiny.toml -q").exits(0);
    let night = night.lacks("REGRESSED").lacks("SUSPECTED").says("2 ok");
    assert!(night.field("site:").ends_with("/index.html"));
    let first = night.stdout.lines().next().unwrap();
    assert!(
        first.starts_with("UNCHANGED") || first.starts_with("NO ALERT"),
        "{first}"
    );
}

#[test]
fn a_slower_night_alerts_once_and_the_same_worker_explains_nothing() {
    let place = history();
    place.write("assay.toml", SLOWER);
    let night = place.assay("nightly ./tiny.toml -q --tag slow").exits(1);
    assert!(
        night
            .stdout
            .starts_with("REGRESSED: 2 of 2 comparisons, confirmed\n"),
        "{night}"
    );
    // The tag names the night, not what was run to confirm it.
    place.assay("check tag:slow").says("(5 runs, ");
    // Against that night alone there is nothing that Assay runs otherwise.
    let same = place
        .assay("nightly ./tiny.toml -q --baseline tag:slow")
        .exits(0);
    same.lacks("REGRESSED");
}

#[test]
fn a_failed_verification_is_worse_than_slow_and_comes_first() {
    let place = history();
    let broken = crate::helpers::fault("wrong");
    let tiny = place.read("tiny.toml");
    place.write("tiny.toml", format!("{tiny}\n{broken}"));
    place.assay("run ./tiny.toml -q").exits(1);
    let check = place.assay("check --junit gate.xml").exits(1);
    assert!(
        check
            .stdout
            .starts_with("FAILED: 1 case failed or gave a wrong output"),
        "{check}"
    );
    let xml = place.read("gate.xml");
    assert!(
        xml.contains("<failure type=\"wrong\"") || xml.contains("<failure type=\"failed\""),
        "{xml}"
    );
}

#[test]
fn the_first_night_has_no_baseline_yet() {
    let place = Place::with_runs(1);
    let first = place.assay("check").exits(0);
    first.says("NO BASELINE YET").lacks("only the candidate");
    place.assay("check --fail-inconclusive").exits(4);
    place.assay("confirm").exits(0).says("NO BASELINE YET");
    place.assay("check --json").exits(0).json();
}

#[test]
fn a_night_that_measured_nothing_is_no_first_night() {
    let place = Place::with_runs(6);
    let skipped = crate::helpers::fault("skip");
    let again = skipped.replace("fault/skip", "control/spin");
    // The case is there by its name and cannot be run here.
    place.write("tiny.toml", crate::helpers::suite("tiny", &[again]));
    place.assay("run ./tiny.toml -q").exits(3);
    place
        .assay("check --junit gate.xml")
        .exits(3)
        .says("NOTHING MEASURED: none of the 1 case of the baseline was");
    let xml = place.read("gate.xml");
    assert!(xml.contains("<skipped message="), "{xml}");
    // Skipped on both sides: nothing is missing.
    place.assay("run ./tiny.toml -q").exits(3);
    place
        .assay("check --baseline latest~1")
        .exits(0)
        .says("NOTHING MEASURED: every case is skipped, as it was in the baseline");
}

#[test]
fn windows_are_named_and_refused_in_words() {
    let place = Place::with_runs(3);
    let runs = place.runs();
    for (window, words) in [
        ("last:20", "last:20 (2 runs, "),
        ("last:1", &format!("last:1 ({})", runs[1])),
        (&runs[0], &runs[0]),
        (&format!("{},{}", runs[0], runs[1]), "(2 runs, "),
        (&format!("{}..{}", runs[0], runs[1]), "(2 runs, "),
    ] {
        place
            .assay(&format!("check --baseline {window}"))
            .says(words);
    }
    place.write("assay.toml", "baseline = \"last:1\"\n");
    place.assay("check").says("last:1 (");
    for (window, words) in [
        ("last:0", "whole number from 1 on"),
        ("last:x", "whole number from 1 on"),
        ("tag:none", "no run has a tag"),
        ("nonsense", "no run is called `nonsense`"),
        (runs[2].as_str(), "is the run that is checked"),
    ] {
        place
            .assay(&format!("check --baseline {window}"))
            .refuses(&[window, words]);
    }
    place
        .assay("check --junit no/such/folder.xml")
        .refuses(&["no/such/folder.xml"]);
}

#[test]
fn comparisons_of_nothing_are_refused_in_words() {
    let place = Place::with_runs(2);
    place
        .assay("compare")
        .refuses(&["two runs or more", "--by"]);
    place.assay("compare latest").refuses(&["two runs or more"]);
    place
        .assay("compare latest latest")
        .refuses(&["named twice"]);
    place
        .assay("compare latest~1 latest --metric nonsense")
        .refuses(&["--metric nonsense", "there are time"]);
    place
        .assay("compare latest~1 latest --margin 0")
        .refuses(&["above 0"]);
    place
        .assay("compare latest~1 latest --margin nan")
        .refuses(&["above 0"]);
    place
        .assay("compare --by arm")
        .refuses(&["has one arm, `main`", "--arm"]);
    place
        .assay("compare --by driver")
        .refuses(&["one driver among 2 runs"]);
    place
        .assay("compare --by arm latest latest~1")
        .refuses(&["within one run"]);
    // Other cases: nothing in common.
    place.write(
        "other.toml",
        crate::helpers::suite("other", &[spin("other/spin", 10)]),
    );
    place.assay("run ./other.toml -q").exits(0);
    place.assay("compare latest~1 latest").refuses(&[
        "nothing in common",
        "other/spin@cpu: only the candidate has it",
    ]);
    // The same name for other work.
    place.write(
        "tiny.toml",
        crate::helpers::suite("tiny", &[spin("control/spin", 2000)]),
    );
    place.assay("run ./tiny.toml -q").exits(0);
    place
        .assay("compare latest~2 latest")
        .refuses(&["the two time different things: params differs", "--force"]);
    place
        .assay("compare latest~2 latest --force --markdown")
        .says("compared by force")
        .says("params differs");
    let json = place.assay("compare latest~3 latest~2 --json").json();
    assert_eq!(json["basis"]["is"], "few_runs");
}

#[test]
fn one_round_is_inconclusive_and_says_how_many_more() {
    let place = Place::new();
    let policy = "rounds = 6, max_rounds = 6, min_samples = 2, max_samples = 9000, warmup_ms = 1, round_ms = 300";
    let benchmarks = [spin("control/spin", 1000)];
    place.write("tiny.toml", suite_with("tiny", policy, &benchmarks));
    place.assay("run ./tiny.toml -q").exits(0);
    // A run that was killed after its first round.
    let running = place.start("run ./tiny.toml -q");
    place.until_blocks(1);
    let _ = running.kill();
    place.assay("ingest").exits(0);
    let compared = place
        .assay("compare latest~1 latest --json")
        .exits(0)
        .json();
    let note = compared["cases"][0]["note"].as_str().unwrap();
    for words in [
        "6 rounds in the baseline and 1 in the candidate",
        "runs per side of 6 rounds would show it within",
    ] {
        assert!(note.contains(words), "{note}");
    }
    place
        .assay("compare latest~1 latest --fail-inconclusive")
        .exits(4);
    // What was cut off is no night.
    place.assay("check").exits(0).says("NO BASELINE YET");
}

#[test]
fn a_matrix_has_a_side_per_column() {
    let place = Place::with_runs(3);
    let matrix = place.assay("compare latest~2 latest~1 latest");
    let matrix = matrix.says("A (baseline)").says("geometric mean of times");
    assert!(
        matrix
            .stdout
            .lines()
            .all(|line| line.chars().count() <= 100),
        "{matrix}"
    );
    let json = place
        .assay("compare latest~2 latest~1 latest --json")
        .json();
    assert_eq!(json.as_array().unwrap().len(), 2);
    place
        .assay("compare latest~2 latest~1 latest --markdown")
        .says("| case | metric | B | C |");
}

#[test]
fn what_was_confirmed_and_accepted_stays_on_its_page() {
    let place = history();
    place.write("assay.toml", SLOWER);
    place.assay("run ./tiny.toml -q").exits(0);
    place.assay("confirm -q").exits(1);
    let page = || {
        place.assay("report").exits(0);
        let series = place.path("assay-data/site/series");
        let pages = std::fs::read_dir(series).unwrap();
        let mut texts = pages.map(|entry| std::fs::read_to_string(entry.unwrap().path()));
        let found = texts.find_map(|text| {
            let text = text.unwrap_or_default();
            text.contains("control/one@cpu</bdi></h1>").then_some(text)
        });
        found.unwrap()
    };
    let told = page();
    assert!(told.contains("id=\"h-confirmed\"") && told.contains("<strong>still so</strong>"));
    let night = place.runs()[NIGHTS].clone();
    for kind in ["acknowledge", "expected"] {
        let mark = format!(
            "schema = 1\n[[mark]]\nkind = \"{kind}\"\ncase = \"control/*\"\nat = \"{night}\"\nreason = \"more work\"\n"
        );
        place.write("marks.toml", mark);
        let told = page();
        assert!(told.contains("id=\"h-confirmed\""), "{kind}");
        assert!(!told.contains("still so"), "{kind}");
        assert!(
            told.contains(": more work</bdi>, from the run of <a href="),
            "{kind}: {told}"
        );
        let index = place.read("assay-data/site/index.html");
        assert!(!index.contains("id=\"h-standing\""), "{kind}");
    }
}
