//! What a calibration measures, what it says, and what `check` takes from it.

use serde_json::Value;

use crate::helpers::{Place, spin, suite_with};

const POLICY: &str =
    "rounds = 4, max_rounds = 4, min_samples = 2, max_samples = 200, warmup_ms = 5, round_ms = 10";

/// A place that was calibrated with a few short runs.
fn calibrated(runs: u32) -> Place {
    let place = Place::new();
    let benchmarks = [spin("control/one", 20_000), spin("control/two", 30_000)];
    place.write("tiny.toml", suite_with("tiny", POLICY, &benchmarks));
    place
        .assay(&format!("calibrate ./tiny.toml -q --runs {runs}"))
        .exits(0)
        .says("control/one@cpu")
        .says("control/two@cpu")
        .says(&format!("from {runs} calibration runs"));
    place
}

#[test]
fn a_calibration_has_every_level_and_what_follows() {
    let place = calibrated(3);
    let shown = place
        .assay("calibrate ./tiny.toml --runs 0 --json")
        .exits(0);
    let found: Value = serde_json::from_str(&shown.stdout).unwrap();
    let cases = found["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let number = |pointer: &str| case.pointer(pointer).and_then(Value::as_f64).unwrap();
        assert!(number("/levels/round_sd") > 0.0 && number("/levels/run_sd") >= 0.0);
        assert!(number("/sample_sd") >= 0.0 && number("/noise_floor") >= 0.0);
        assert!(
            number("/detectable") >= 0.01,
            "less than matters is never called"
        );
        assert!(number("/margin") > 0.0);
        assert_eq!(case.pointer("/levels/runs").unwrap(), 3);
        assert_eq!(case.pointer("/basis/is").unwrap(), "calibration");
    }
}

#[test]
fn calibration_runs_are_no_nights() {
    let place = calibrated(2);
    place.assay("run ./tiny.toml -q").exits(0);
    place.assay("check").exits(0).says("NO BASELINE YET");
}

#[test]
fn what_cannot_be_calibrated_says_why() {
    let place = Place::new();
    place.write(
        "tiny.toml",
        suite_with("tiny", POLICY, &[spin("control/one", 20_000)]),
    );
    place.assay("run ./tiny.toml -q").exits(0);
    place
        .assay("calibrate ./tiny.toml --runs 0")
        .exits(2)
        .says("was never calibrated");
    place
        .assay("calibrate ./tiny.toml --arm A=here")
        .exits(2)
        .says("two arms of its own");
    place.assay("calibrate ./tiny.toml --runs 101").exits(2);
    place
        .assay("calibrate ./tiny.toml -q --runs 1")
        .exits(3)
        .says("two runs");
}
