//! `assay history` and marks, on made-up nights with a step.

use assay_store::synthetic::Recipe;

use crate::helpers::Place;

const STEP: u32 = 18;

fn night(night: u32) -> Recipe {
    Recipe {
        night,
        cases: 2,
        slowdown: if night < STEP { 1.0 } else { 1.07 },
        kernel: if night < STEP { "6.1.0" } else { "6.2.0" }.into(),
        ..Recipe::default()
    }
}

fn nights() -> Vec<Recipe> {
    (0..30).map(night).collect()
}

fn mark(lines: &str) -> String {
    format!(
        "schema = 1\n\n[[mark]]\ncase = \"made-up[n=1]*\"\nreason = \"checks bounds now\"\n{lines}\n"
    )
}

#[test]
fn a_history_shows_the_step_its_commits_and_its_mark() {
    let place = Place::with_records(&nights());
    let commit = night(STEP).commit();
    place.write(
        "marks.toml",
        mark(&format!("kind = \"expected\"\nat = \"{}\"", &commit[..8])),
    );
    let shown = place.assay("history made-up[n=1]@cpu").exits(0);
    insta::assert_snapshot!(shown.stdout);
    assert_eq!(shown.stderr, "");
    assert!(
        shown.stdout.lines().all(|line| line.chars().count() <= 90),
        "{shown}"
    );
    let before = night(STEP - 1).commit();
    shown
        .says(&before[..10])
        .says(&commit[..10])
        .says("REGRESSED +7.")
        .says("software.kernel.release from 6.1.0 to 6.2.0")
        .says("expected: checks bounds now");
    // Fewer runs are listed, the chart stays.
    let few = place
        .assay("history n=1 --last 2")
        .exits(0)
        .says("2 of 30")
        .says("▼");
    assert_eq!(few.stdout.matches(" rounds").count(), 2);
}

#[test]
fn an_improvement_is_no_regression() {
    let faster = |recipe: Recipe| Recipe {
        slowdown: 1.0 / recipe.slowdown,
        ..recipe
    };
    let recipes: Vec<Recipe> = nights().into_iter().map(faster).collect();
    let place = Place::with_records(&recipes);
    place
        .assay("history n=1")
        .exits(0)
        .says("improved -6.")
        .says("▲")
        .lacks("REGRESSED");
}

#[test]
fn a_history_is_found_by_a_part_of_one_name() {
    let place = Place::with_records(&nights()[..3]);
    place
        .assay("history n=1")
        .exits(0)
        .says("made-up[n=1]@cpu")
        .says("no change");
    place.assay("history made").refuses(&[
        "a part of 2 cases",
        "made-up[n=0]@cpu",
        "made-up[n=1]@cpu",
    ]);
    place.assay("history maed-up").refuses(&[
        "no case is called `maed-up`",
        "near it",
        "made-up[n=0]@cpu",
    ]);
    place
        .assay("history n=0 --metric tiem")
        .refuses(&["no metric `tiem`", "loss, peak_memory, time"]);
    place
        .assay("history n=0 --machine other")
        .refuses(&["no machine `other`", "bench-1"]);
    place
        .assay("history n=0 --metric loss --machine bench-1")
        .exits(0)
        .says("loss (less")
        .lacks("time (less");
    let all = place.assay("history n=0").exits(0);
    let at = |metric: &str| all.stdout.find(&format!("\n{metric} (")).unwrap();
    assert!(at("time") < at("loss") && at("loss") < at("peak_memory"));
    let json = place
        .assay("history n=0 --json --metric time")
        .exits(0)
        .json();
    assert_eq!(json[0]["series"]["points"].as_array().unwrap().len(), 3);
    Place::new()
        .assay("history x")
        .refuses(&["assay.duckdb", "`assay run`"]);
}

#[test]
fn a_series_of_one_run_is_a_history_too() {
    let place = Place::with_records(&nights()[..1]);
    place
        .assay("history n=1")
        .exits(0)
        .says("•")
        .says("4 rounds");
}

#[test]
fn marks_are_checked_and_what_fits_nothing_is_reported() {
    let place = Place::with_records(&nights()[..3]);
    place.write("marks.toml", mark("kind = \"expected\"\nat = \"HEAD\""));
    for command in ["history n=1", "report"] {
        place
            .assay(command)
            .refuses(&["marks.toml", "mark 1", "field `at`"]);
    }
    place.write(
        "marks.toml",
        mark("kind = \"ignore\"\nuntil = \"2026-01-31\""),
    );
    place
        .assay("history n=1")
        .exits(0)
        .says("warning: ")
        .says("marks.toml: mark 1 (`made-up[n=1]*`): expired on 2026-01-31");
    // A site is of the day of its newest run, on which that holds.
    place.assay("report").exits(0).lacks("expired");
    place.write(
        "marks.toml",
        mark("kind = \"ignore\"\nuntil = \"2025-01-31\""),
    );
    place.assay("report").exits(0).says("expired on 2025-01-31");
    place.write(
        "marks.toml",
        mark("kind = \"ignore\"\nuntil = \"9999-12-31\"").replace("made-up", "made-down"),
    );
    place
        .assay("history n=1")
        .exits(0)
        .says("marks.toml: mark 1")
        .says("no such case");
    place.write("assay.toml", "marks = \"ci/known.toml\"\n");
    place.assay("history n=1").refuses(&["ci/known.toml"]);
    place.write(
        "ci/known.toml",
        mark("kind = \"ignore\"\nuntil = \"9999-12-31\""),
    );
    place
        .assay("history n=1")
        .exits(0)
        .says("ignored until 9999-12-31: checks bounds now")
        .lacks("warning");
}

#[test]
fn the_site_draws_the_step_and_tells_its_mark() {
    let place = Place::with_records(&nights());
    place.write(
        "marks.toml",
        mark(&format!(
            "kind = \"acknowledge\"\nat = \"{}\"",
            night(STEP).run()
        )),
    );
    place.assay("report").exits(0);
    let page = std::fs::read_dir(place.path("assay-data/site/series"))
        .unwrap()
        .find_map(|entry| {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            text.contains("checks bounds now").then_some(text)
        });
    let page = page.expect("a page with the mark");
    assert!(
        page.contains("class=\"shift bad\"") && page.contains("acknowledged: checks bounds now")
    );
}
