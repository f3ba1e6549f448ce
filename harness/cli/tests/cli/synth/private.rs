//! What is learned in private: what it spends, and what it keeps to itself.

use super::{people, with_people};
use crate::helpers::Place;

#[test]
fn a_private_model_says_what_it_spent_and_what_it_does_not_cover() {
    let place = with_people();
    place
        .assay("synth fit people.csv --generator mst --epsilon 2 --delta 0.01 -o model.json")
        .exits(0)
        .says("spent epsilon 1.9")
        .says("public knowledge")
        .says("delta 0.01 is above one over the number of rows");
    place
        .assay("synth sample model.json --rows 50 -o rows.jsonl")
        .exits(0);
    let card: serde_json::Value =
        serde_json::from_str(&place.read("rows.jsonl.card.json")).unwrap();
    assert_eq!(
        card["privacy"]["ledger"].as_array().unwrap().len(),
        3 + 2 + 2
    );
    // That the delta is large is said to who holds the rows alone.
    assert_eq!(card["privacy"]["caveats"].as_array().unwrap().len(), 1);
    for (budget, words) in [
        ("--epsilon 0", "epsilon is 0"),
        ("--epsilon=-1", "epsilon is -1"),
        ("--epsilon -1", "epsilon is -1"),
        ("--epsilon 1 --delta 0", "delta is 0"),
        ("--epsilon 1 --delta 1", "delta is 1"),
        ("--epsilon 1 --delta -0.5", "delta is -0.5"),
    ] {
        place
            .assay(&format!(
                "synth fit people.csv --generator mst {budget} -o x.json"
            ))
            .refuses(&[words]);
    }
    place
        .assay("synth fit people.csv --generator copula --epsilon 1 -o x.json")
        .refuses(&["not private at all"]);
}

#[test]
fn private_columns_keep_their_budget_by_the_mechanism_that_is_asked_for() {
    let place = with_people();
    let fit = |options: &str| {
        place.assay(&format!(
            "synth fit people.csv --generator independent {options} -o model.json"
        ))
    };
    for (options, mechanism, delta) in [
        ("--epsilon 0.9", "analytic-gaussian", 1e-9),
        ("--mechanism laplace", "laplace", 0.0),
        (
            "--epsilon 0.9 --mechanism gaussian --delta 0.001",
            "gaussian",
            1e-3,
        ),
        (
            "--epsilon 2 --mechanism discrete-gaussian",
            "discrete-gaussian",
            1e-9,
        ),
    ] {
        fit(options)
            .exits(0)
            .says("in 1 measurement\n")
            .says("public knowledge")
            .says("independent of 400 rows");
        let model = place.read("model.json");
        assert!(model.starts_with("{\"schema\":4,"), "{model}");
        assert!(
            !model.contains("\"rows\"") && !model.contains("digest"),
            "{options}"
        );
        place
            .assay("synth sample model.json --rows 50 -o rows.csv")
            .exits(0);
        let card: serde_json::Value =
            serde_json::from_str(&place.read("rows.csv.card.json")).unwrap();
        assert_eq!(card["generator"], "independent");
        let privacy = &card["privacy"];
        assert_eq!(privacy["delta"], delta, "{options}");
        let entry = &privacy["ledger"][0];
        let words = entry["mechanism"].as_str().unwrap();
        assert!(
            words.contains(&format!("mechanism `{mechanism}`")),
            "{words}"
        );
        assert_eq!(card["parameters"]["mechanism"], mechanism);
        assert_eq!(entry["rho"].is_null(), mechanism != "discrete-gaussian");
    }
    for (options, words) in [
        (
            "--epsilon 1 --mechanism gaussian",
            "`analytic-gaussian` is for all",
        ),
        (
            "--epsilon 1 --delta 1e-6 --mechanism laplace",
            "no probability of more",
        ),
        ("--epsilon 1e-9", "more epsilon takes less noise"),
        ("--noise-seed 3", "without --epsilon or --mechanism"),
        ("--epsilon 1 --mechanism geometric", "geometric"),
    ] {
        fit(options).refuses(&[words]);
    }
    for generator in ["mst", "copula"] {
        place
            .assay(&format!(
                "synth fit people.csv --generator {generator} --mechanism laplace -o x.json"
            ))
            .refuses(&["--mechanism", "`laplace` is of independent"]);
    }
}

#[test]
fn budgets_that_promise_nothing_or_leave_nothing_are_told_of_and_in_no_file() {
    let place = with_people();
    for (options, words) in [
        ("mst --epsilon 1e9", "which promises nothing"),
        ("independent --epsilon 1e9", "which promises nothing"),
        (
            "mst --epsilon 0.001",
            "and the table 400 rows: next to nothing",
        ),
        (
            "independent --epsilon 0.001 --mechanism laplace",
            "and the table 400 rows",
        ),
    ] {
        let fit = format!("synth fit people.csv --generator {options} -o model.json");
        place.assay(&fit).exits(0).says(words);
        place
            .assay("synth sample model.json --rows 50 -o rows.csv")
            .exits(0);
        for file in ["model.json", "rows.csv.card.json"] {
            let text = place.read(file);
            assert!(
                !text.contains("promises") && !text.contains("next to"),
                "{options}: {text}"
            );
        }
    }
    place
        .assay("synth fit people.csv --generator mst --epsilon 10 -o model.json")
        .exits(0)
        .lacks("promises")
        .lacks("next to nothing");
}

#[test]
fn a_private_model_tells_nothing_exact_of_its_table_and_damaged_ones_are_refused() {
    let place = with_people();
    place
        .assay("synth fit people.csv --generator mst --epsilon 1 --noise-seed 5 -o private.json")
        .exits(0)
        .says("the noise comes of a seed");
    let model = place.read("private.json");
    for fact in ["digest", "\"rows\""] {
        assert!(!model.contains(fact), "{fact}");
    }
    place
        .assay("synth sample private.json --rows 5 -o made.csv")
        .exits(0);
    let card: serde_json::Value = serde_json::from_str(&place.read("made.csv.card.json")).unwrap();
    let privacy = card["privacy"].to_string();
    assert!(
        privacy.contains("a row more") && privacy.contains("of a seed"),
        "{privacy}"
    );
    place.write(
        "private.json",
        model.replacen("\"column\":1,", "\"column\":99,", 1),
    );
    place
        .assay("synth sample private.json --rows 5 -o x.csv")
        .refuses(&["private.json: a damaged model", "column"]);
    assert!(!place.path("x.csv").exists());
}

#[test]
fn what_is_private_keeps_the_number_of_rows_to_itself() {
    let place = Place::new();
    // A prime above 256: no place of a cell, and no number of pairs of levels.
    place.write("people.csv", people(401));
    place
        .assay("synth fit people.csv --generator mst --epsilon 1 --delta 0.1 --noise-seed 5 -o private.json")
        .exits(0)
        .says("delta 0.1 is above one over the number of rows");
    place
        .assay("synth sample private.json --rows 50 -o made.csv")
        .exits(0);
    place
        .assay("synth score people.csv made.csv --card")
        .exits(0);
    for file in ["private.json", "made.csv.card.json"] {
        let text = place.read(file);
        // Whether it is above depends on how many rows there are.
        assert!(!text.contains("above one over"), "{file}");
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '.' || letter == '-';
        let mut words = text.split(|letter| !is_part(letter));
        assert!(
            words.all(|word| word != "401" && word != "2.49e-3"),
            "{file}: {text}"
        );
        assert!(!text.contains("real_rows"), "{file}");
    }
}
