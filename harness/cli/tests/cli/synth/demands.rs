//! Scores that suites demand: rows that do not reach them fail the run and the gate.

use crate::helpers::{Place, benchmark, suite};

/// A suite of two small cases, of which the second demands something.
fn demanding(require: &str) -> Place {
    let place = Place::new();
    let with = |name: &str, require: &str| {
        let params = format!("params = {{ rows = 300, generator = \"copula\"{require} }}");
        benchmark(name, &format!("workload = \"synth-rows\"\n{params}"))
    };
    let demand = format!(", require = \"{require}\"");
    let benchmarks = [with("rows/free", ""), with("rows/bound", &demand)];
    place.write("tiny.toml", suite("tiny", &benchmarks));
    place
}

#[test]
fn rows_that_miss_a_demand_fail_the_run_and_the_gate_with_score_value_and_demand() {
    let place = demanding("quality>=0.5, three_way<=0.0001, utility>=0.1");
    let run = place.assay("run ./tiny.toml -q").exits(1);
    assert!(
        run.stdout.contains("rows/bound") || run.stderr.contains("rows/bound"),
        "{run}"
    );
    let id = place.runs().pop().unwrap();
    let shown = place.assay(&format!("show {id}"));
    shown
        .says("three_way: 0.")
        .says("required at most 0.0001")
        .lacks("quality: ")
        .lacks("utility: ");
    place
        .assay("check --junit gate.xml")
        .exits(1)
        .says("FAILED: 1 case failed or gave a wrong output");
    let gate = place.read("gate.xml");
    let (_, demand) = gate.split_once("three_way: 0.").unwrap();
    assert!(demand.contains("required at most 0.0001"), "{gate}");
}

#[test]
fn rows_that_reach_all_demands_pass() {
    let place = demanding(
        "quality>=0.5, auc<=1, pmse_ratio<=1000, utility>=0, exact_copies<=0.5, duplicates<=0.5, baseline_protection>=0, overfit_protection>=0, constraints<=0",
    );
    place.assay("run ./tiny.toml -q").exits(0);
}

#[test]
fn mistyped_demands_are_refused_when_the_suite_is_planned() {
    for (require, words) in [
        ("fame>=1", "no score is called `fame`"),
        ("quality=high", "`high` is no number"),
        ("exact_copies=0", "exact_copies<=VALUE"),
        ("quality>=0.9 three_way<=0.1", "separated by commas"),
        ("quality>=2", "`quality` lies between 0 and 1"),
        ("constraints<=-1", "`constraints` lies between 0 and 1"),
    ] {
        let place = demanding(require);
        for command in ["plan", "run"] {
            place.assay(&format!("{command} ./tiny.toml")).refuses(&[
                "tiny",
                "benchmark `rows/bound`",
                "parameter `require`",
                words,
            ]);
        }
        assert!(place.runs().is_empty(), "{require}");
    }
    for (parameter, words) in [
        ("quality = 1.5", "parameter `quality`"),
        ("epsilon = 0.0", "parameter `epsilon`: epsilon is 0"),
        (
            "epsilon = 1e-9, generator = \"mst\"",
            "more epsilon takes less noise",
        ),
        (
            "mechanism = \"gaussian\", generator = \"independent\"",
            "`analytic-gaussian` is for all",
        ),
        ("mechanism = \"laplace\"", "`copula` is not private at all"),
        ("mechanism = \"geometric\"", "geometric"),
    ] {
        let params = format!("params = {{ rows = 300, {parameter} }}");
        let fit = format!("workload = \"synth-fit\"\n{params}");
        let place = Place::with_suite(&[benchmark("fit/bound", &fit)]);
        place
            .assay("plan ./tiny.toml")
            .refuses(&["tiny", "benchmark `fit/bound`", words]);
    }
}
