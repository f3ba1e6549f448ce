//! `kill -9` at random moments: the database opens each time, all that was acknowledged is there, and nothing is left running.

use std::time::Duration;

use assay_protocol::Philox;

use crate::helpers::{ASSAY, PATIENCE, Place, benchmark, eventually, fault, spin, suite_with};

/// How often, in each of the places that do so side by side.
const KILLS: u64 = 25;
/// Blocks of a whole run: four cases in four rounds.
const BLOCKS: usize = 16;

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let place = Place::new();
    let left = std::thread::scope(|scope| {
        let lane = |number| {
            let place = &place;
            scope.spawn(move || {
                kill_again_and_again(&place.beside(&format!("lane-{number}")), number)
            })
        };
        let lanes = [lane(0), lane(1)];
        lanes.map(|lane| lane.join().unwrap()).concat()
    });
    // The moments were spread over all of the run, or this test has shown nothing.
    assert!(left.contains(&0), "{left:?}");
    let in_the_middle = left.iter().filter(|blocks| (1..BLOCKS).contains(*blocks));
    assert!(in_the_middle.count() >= 10, "{left:?}");
}

/// Kills runs of one place and returns how many blocks each left.
fn kill_again_and_again(place: &Place, lane: u64) -> Vec<usize> {
    let slow = "command = { argv = [\"sh\", \"-c\", \"sleep 0.02 & sleep 0.03; wait\"] }";
    let cases = [
        spin("a", 1000),
        spin("b", 2000),
        spin("c", 3000),
        benchmark("slow", slow),
    ];
    let policy = "rounds = 4, max_rounds = 4, min_samples = 1, max_samples = 20, warmup_ms = 5, round_ms = 10";
    place.write("tiny.toml", suite_with("tiny", policy, &cases));
    place.assay("plan ./tiny.toml -o tiny.json").exits(0);
    let random = Philox::new(2, lane);
    let left = (0..KILLS).map(|kill| kill_once(place, random.block(kill)));
    let left = left.collect();
    place.assay("db verify").exits(0);
    left
}

/// Kills a run once it has written a random number of blocks, and a random while later.
fn kill_once(place: &Place, random: [u32; 4]) -> usize {
    let (blocks, later_ms) = (random[0] as usize % (BLOCKS + 2), u64::from(random[1] % 60));
    let known = place.runs().len();
    let mut running = place.start("run tiny.json --quiet");
    let begun = || place.runs().len() > known;
    let written = || if begun() { place.blocks_written() } else { 0 };
    // The last moments of a run have no more blocks to wait for.
    eventually(PATIENCE, || written() >= blocks || !running.goes_on());
    std::thread::sleep(Duration::from_millis(later_ms));
    let acknowledged = written();
    let code = running.kill().code;
    assert!(
        matches!(code, None | Some(0)),
        "neither killed nor done: {code:?}"
    );
    place.is_left_alone();
    place.assay("ingest").exits(0);
    if !begun() {
        return 0;
    }
    check_last(place, acknowledged)
}

/// Checks that the last run has all that was acknowledged, in its record and in the database.
fn check_last(place: &Place, acknowledged: usize) -> usize {
    let blocks = place.record().blocks.len();
    assert!(blocks >= acknowledged, "{blocks} of {acknowledged} blocks");
    let last = place.runs().pop().unwrap();
    let run = place.assay(&format!("show --json {last}")).exits(0).json();
    let cases = run["cases"].as_array().unwrap();
    let rounds = |case: &serde_json::Value| case["case"]["rounds"].as_array().unwrap().len();
    assert_eq!(cases.iter().map(rounds).sum::<usize>(), blocks);
    blocks
}

/// What a run may be busy with when its harness is killed.
#[test]
fn nothing_outlives_a_killed_harness() {
    let script = "setsid sleep 1000 & sleep 1000 & wait";
    let command = format!("command = {{ argv = [\"sh\", \"-c\", \"{script}\"] }}");
    let patient = |mode: &str| fault(mode).replace("timeout_s = 1", "timeout_s = 1000");
    let own = patient("hang").replace("timeout_s", "worker = \"own\"\ntimeout_s");
    let own = format!("{own}\n[workers.own]\nargv = [\"{ASSAY}\", \"worker\"]\n");
    for (busy, processes) in [
        (benchmark("command", &command), 6),
        (patient("hang"), 2),
        (patient("hang-prepare"), 2),
        (own, 2),
    ] {
        let place = Place::with_suite(&[busy]);
        let running = place.start("run ./tiny.toml");
        let busy = eventually(PATIENCE, || {
            !place.records().is_empty() && place.processes().len() >= processes
        });
        assert!(busy, "{:?}", place.processes());
        std::thread::sleep(Duration::from_millis(100));
        running.kill();
        place.is_left_alone();
    }
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
