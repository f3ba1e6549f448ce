//! Budgets of private fits, as suites give them.

use serde_json::Value;

use crate::helpers::{Outcome, Place, benchmark, suite};

/// A suite of one small fit.
fn planned(params: &str) -> (Place, Outcome) {
    let place = Place::new();
    let params = format!("params = {{ rows = 300, {params} }}");
    let one = benchmark("fit", &format!("workload = \"synth-fit\"\n{params}"));
    place.write("tiny.toml", suite("tiny", &[one]));
    let outcome = place.assay("plan ./tiny.toml -o m.json");
    (place, outcome)
}

fn case(params: &str) -> Value {
    let (place, outcome) = planned(params);
    outcome.exits(0);
    let manifest: Value = serde_json::from_str(&place.read("m.json")).unwrap();
    manifest["manifest"]["cases"][0].clone()
}

#[test]
fn a_case_without_a_delta_is_the_one_that_it_was_before_there_was_any() {
    let mst = |more: &str| case(&format!("generator = \"mst\"{more}"));
    let before = mst("");
    assert!(before["params"].get("delta").is_none(), "{before}");
    // Of a manifest that was planned when the workload had no such parameter.
    let known = "sha256:c54003f998907e9edf83bacdda5864ffdc1de339059a77d4b8b16478207823e9";
    assert_eq!(before["definition"], known);
    let given = mst(", delta = 1e-6");
    assert_eq!(given["params"]["delta"], 1e-6);
    assert_ne!(given["definition"], before["definition"]);
}

#[test]
fn what_is_no_delta_or_has_no_use_is_refused_when_the_suite_is_planned() {
    for (params, words) in [
        (
            "generator = \"mst\", delta = 0.0",
            "parameter `delta`: delta is 0",
        ),
        (
            "generator = \"mst\", delta = 1",
            "parameter `delta`: delta is 1",
        ),
        (
            "generator = \"mst\", delta = -0.5",
            "parameter `delta`: delta is -0.5",
        ),
        ("generator = \"mst\", delta = \"low\"", "`delta`"),
        (
            "generator = \"copula\", delta = 1e-6",
            "is not private: leave it out",
        ),
        (
            "generator = \"independent\", delta = 1e-6",
            "is not private: leave it out",
        ),
        (
            "generator = \"independent\", mechanism = \"laplace\", delta = 1e-6",
            "no probability of more",
        ),
    ] {
        planned(params).1.refuses(&[words]);
    }
}

#[test]
fn what_was_spent_is_shown_and_so_is_a_delta_that_promises_little() {
    for (params, spent, warning) in [
        (
            "generator = \"mst\", delta = 0.01",
            "at delta 1.000e-2",
            true,
        ),
        ("generator = \"mst\"", "at delta 1.000e-9", false),
        (
            "generator = \"independent\", mechanism = \"gaussian\", epsilon = 0.9, delta = 1e-6",
            "at delta 1.000e-6",
            false,
        ),
    ] {
        let (place, outcome) = planned(params);
        outcome.exits(0);
        place.assay("run ./tiny.toml -q").exits(0);
        let shown = place.assay("show").exits(0);
        let shown = shown.says("    privacy: epsilon ").says(spent);
        let words = "    warning: delta 0.01 is above one over the number of rows";
        if warning {
            shown.says(words);
        } else {
            shown.lacks("warning");
        }
    }
    let (place, outcome) = planned("generator = \"copula\"");
    outcome.exits(0);
    place.assay("run ./tiny.toml -q").exits(0);
    place.assay("show").exits(0).lacks("privacy");
}
