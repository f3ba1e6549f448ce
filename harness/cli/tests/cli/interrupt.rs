//! Ctrl-C keeps all that was measured.

use std::time::Duration;

use assay_record::RunStatus;
use rustix::process::Signal;

use crate::helpers::{PATIENCE, Place, eventually, fault, spin, suite_with};

/// More than any test waits for.
const LONG: &str = "rounds = 100, max_rounds = 100, min_samples = 2, max_samples = 100, warmup_ms = 10, round_ms = 100, target = 0.0001";

fn long_run() -> Place {
    let place = Place::new();
    let cases = [spin("a", 10_000), spin("b", 10_000)];
    place.write("long.toml", suite_with("long", LONG, &cases));
    place
}

#[test]
fn what_was_measured_is_kept() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = long_run();
        let running = place.start("run ./long.toml");
        place.until_blocks(3);
        // Between two rounds there is no worker for a moment.
        let both = eventually(PATIENCE, || place.processes().len() >= 2);
        assert!(both, "a harness and a worker");
        running.signal(signal);
        running.end().exits(130).says("this run is interrupted");
        let record = place.record();
        assert_eq!(
            record.footer.as_ref().unwrap().status,
            RunStatus::Interrupted
        );
        assert!((3..200).contains(&record.blocks.len()));
        place
            .assay("show")
            .exits(0)
            .says("this run is interrupted")
            .says("rounds");
        place.is_left_alone();
    }
}

#[test]
fn a_worker_that_hangs_does_not_hold_it_up() {
    let place = Place::new();
    let hang = fault("hang").replace("timeout_s = 1", "timeout_s = 100000");
    place.write(
        "long.toml",
        suite_with("long", LONG, &[spin("a", 10_000), hang]),
    );
    let running = place.start("run ./long.toml");
    // One case at most comes before the hang, whatever the order.
    place.until_record();
    std::thread::sleep(Duration::from_millis(500));
    running.signal(Signal::INT);
    running.end().exits(130);
    place.is_left_alone();
}

#[test]
fn an_interrupted_reproduction_gives_no_verdict() {
    let place = long_run();
    let running = place.start("run ./long.toml");
    place.until_blocks(3);
    running.signal(Signal::INT);
    running.end().exits(130);
    let first = place.runs().remove(0);
    let again = place.start(&format!("reproduce {first}"));
    place.until_blocks(3);
    again.signal(Signal::INT);
    again.end().exits(130).lacks("speed:");
    assert_eq!(place.runs().len(), 2);
}
