//! Rounds that something disturbed: marked, kept, and others measured beside them as far as the policy allows.

use std::num::NonZero;
use std::process::{Child, Command};

use assay_machine::noise;
use assay_machine::roots::Roots;
use assay_record::EventKind;

use crate::helpers::{Place, spin, suite_with};

/// Rounds that take all their time, long enough for CPU time to be counted.
const POLICY: &str = "rounds = 4, max_rounds = 6, target = 0.9, min_samples = 100, max_samples = 200, warmup_ms = 30, round_ms = 200";

/// Programs that never rest, one for each CPU; ended when dropped.
struct Neighbours(Vec<Child>);

impl Neighbours {
    fn begin(cpus: u32) -> Self {
        let busy = |_| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "while :; do :; done"]).spawn().unwrap()
        };
        Self((0..cpus).map(busy).collect())
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn rounds_beside_busy_neighbours_are_marked_and_repeated_up_to_the_end_of_the_policy() {
    let cpus = noise::cpus(&Roots::here());
    let usable = std::thread::available_parallelism().map_or(1, NonZero::get);
    if usable < cpus as usize {
        println!("skipped: only {usable} of {cpus} CPUs are ours to disturb");
        return;
    }
    let place = Place::alone();
    place.write(
        "tiny.toml",
        suite_with("tiny", POLICY, &[spin("control/spin", 5_000_000)]),
    );
    let neighbours = Neighbours::begin(cpus);
    place
        .assay("run ./tiny.toml")
        .exits(0)
        .says("6 rounds, disturbed in 6 of 6");
    drop(neighbours);
    let record = place.record();
    assert_eq!(record.blocks.len(), 6, "nothing is dropped");
    for block in &record.blocks {
        let said = |words: &str| block.disturbed.iter().any(|d| d.contains(words));
        assert!(
            said("others used"),
            "{:?} {:?}",
            block.disturbed,
            block.noise
        );
    }
    let texts = |kind: EventKind| {
        let events = record.events.iter().filter(move |event| event.kind == kind);
        events.map(|event| event.text.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        texts(EventKind::RoundsAdded),
        ["1 case gets 2 more rounds beside disturbed ones"]
    );
    let notes = texts(EventKind::Note);
    assert!(
        notes
            .iter()
            .any(|note| note.contains("1 case met the target")),
        "{notes:?}"
    );
    assert!(
        notes
            .iter()
            .any(|note| note.contains("disturbed in every round")),
        "{notes:?}"
    );
}

#[test]
fn what_a_record_says_at_its_end_names_those_that_spent_their_rounds() {
    let place = Place::new();
    let policy = "rounds = 2, max_rounds = 4, target = 0.000001, min_samples = 2, max_samples = 20, warmup_ms = 5, round_ms = 5";
    place.write(
        "tiny.toml",
        suite_with("tiny", policy, &[spin("control/spin", 1000)]),
    );
    // Two rounds may by chance agree to the bit, and meet any target.
    let runs = (0..5).map(|_| {
        place.assay("run ./tiny.toml").exits(0);
        place.record()
    });
    let spent = runs.into_iter().find(|record| record.blocks.len() == 4);
    let record = spent.expect("a run that spent its rounds");
    let notes: Vec<&str> = record
        .events
        .iter()
        .map(|event| event.text.as_str())
        .collect();
    let expected = "0 cases met the target; 1 spent its rounds: control/spin@cpu";
    assert!(notes.contains(&expected), "{notes:?}");
    assert!(record.header.timer_overhead_ns.is_some_and(|ns| ns > 0));
}
