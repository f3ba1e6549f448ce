//! `kill -9` at random moments: the database opens each time, all that was acknowledged is there, and nothing is left running.

use std::time::Duration;

use assay_protocol::Philox;
use assay_record::Record;

use crate::helpers::{Place, benchmark, spin, suite_with};

/// How often, in each of the places that do so side by side.
const KILLS: u64 = 25;
/// Moments are drawn from this long after the start, which is more than a whole run takes.
const LATEST_MS: u64 = 700;

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for lane in 0..2 {
            let place = &place;
            scope.spawn(move || kill_again_and_again(&place.beside(&format!("lane-{lane}")), lane));
        }
    });
}

fn kill_again_and_again(place: &Place, lane: u64) {
    let slow = benchmark(
        "slow",
        "command = { argv = [\"sh\", \"-c\", \"sleep 0.02 & sleep 0.03; wait\"] }",
    );
    let cases = [spin("a", 1000), spin("b", 2000), spin("c", 3000), slow];
    let policy = "rounds = 4, max_rounds = 4, min_samples = 1, max_samples = 20, warmup_ms = 5, round_ms = 10";
    place.write("tiny.toml", suite_with("tiny", policy, &cases));
    place.assay("plan ./tiny.toml -o tiny.json").exits(0);
    let random = Philox::new(2, lane);
    let mut blocks = Vec::new();
    for attempt in 0..KILLS {
        let moment = u64::from(random.block(attempt)[0]) % LATEST_MS;
        blocks.push(kill_after(place, Duration::from_millis(moment)));
    }
    // The moments were spread over all of the run, or this test has shown nothing.
    let (none, all) = (0, cases.len() * 4);
    assert!(
        blocks.contains(&none) && blocks.iter().any(|n| (1..all).contains(n)),
        "{blocks:?}"
    );
    place.assay("db verify").exits(0);
}

/// Kills a run at a moment and returns how many blocks it left.
fn kill_after(place: &Place, moment: Duration) -> usize {
    let known = place.runs();
    let running = place.start("run tiny.json --quiet");
    std::thread::sleep(moment);
    let acknowledged = if place.runs().len() > known.len() {
        place.blocks_written()
    } else {
        0
    };
    running.signal(rustix::process::Signal::KILL);
    running.end();
    place.is_left_alone();
    place.assay("ingest").exits(0);
    let runs = place.runs();
    if runs.len() == known.len() {
        return 0;
    }
    let blocks = Record::read(place.records().last().unwrap())
        .unwrap()
        .blocks
        .len();
    assert!(blocks >= acknowledged, "{blocks} of {acknowledged} blocks");
    let run = place
        .assay(&format!("show --json {}", runs.last().unwrap()))
        .exits(0)
        .json();
    let cases = run["cases"].as_array().unwrap();
    let rounds = cases
        .iter()
        .map(|case| case["case"]["rounds"].as_array().unwrap().len());
    assert_eq!(rounds.sum::<usize>(), blocks);
    blocks
}

#[test]
fn a_stump_without_a_header_is_no_record() {
    let place = Place::with_runs(1);
    // What a kill leaves while the header is being written.
    place.write(
        "assay-data/records/20261120-000000-0123abcd.new",
        "{\"hash\":\"12",
    );
    place.assay("ingest").exits(0).says("0 new");
}

#[test]
fn a_record_that_was_cut_off_is_a_partial_run() {
    let place = Place::with_suite(&[spin("a", 1000), spin("b", 1000), spin("c", 1000)]);
    let running = place.start("run ./tiny.toml");
    place.until_blocks(2);
    let begun = std::fs::read(place.records().remove(0)).unwrap();
    running.end().exits(0);
    // Cut within its last line, as a kill in the middle of a write would.
    let stump = format!("stump/{}.jsonl", place.runs()[0]);
    place.write(&stump, &begun[..begun.len() - 40]);
    place.write("assay.toml", "database = \"other.duckdb\"\n");
    place.assay("ingest stump").exits(0).says("1 new");
    place.assay("show").exits(0).says("this run is partial");
    // The whole one, found later, takes its place; the stump, found again, does not.
    place
        .assay("ingest assay-data/records")
        .exits(0)
        .says("1 updated");
    place
        .assay("ingest stump")
        .exits(0)
        .says("0 new, 0 updated, 1 unchanged");
    place.assay("show").exits(0).lacks("partial").says("3 ok");
}
