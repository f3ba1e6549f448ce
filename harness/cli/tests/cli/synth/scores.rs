//! Scores: of tables beside each other, on a page, on a card.

use std::fmt::Write as _;

use serde_json::Value;

use super::with_people;
use crate::helpers::Place;

#[test]
fn scores_are_a_page_that_needs_no_other_file() {
    let place = with_people();
    place.assay("synth fit people.csv -o model.json").exits(0);
    place
        .assay("synth sample model.json --rows 300 -o all.parquet")
        .exits(0);
    place
        .assay("synth score people.csv all.parquet --require quality=0.99999 --html scores.html")
        .exits(1);
    let page = place.read("scores.html");
    assert!(page.contains("all.parquet beside people.csv") && page.contains("required at least"));
    assert_eq!(page.matches("class=\"chart bars\"").count(), 3);
    assert_eq!(page.matches("class=\"chart heat\"").count(), 3);
    for outside in ["<script", "http:", "https:", "src=", "href=\"assay"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn copies_are_told_of_wherever_they_lie_and_can_be_required_away() {
    let place = Place::new();
    // As many rows before the copied ones as are compared one by one, all different.
    let rows = |from: u32, to: u32| {
        let mut text = String::from("number,kind\n");
        for row in from..to {
            writeln!(text, "{}.5,{}", row, ["a", "b", "c"][row as usize % 3]).unwrap();
        }
        text
    };
    place.write("real.csv", rows(0, 5200));
    place.write("copied.csv", rows(5100, 5200));
    place.write("fresh.csv", rows(10_000, 10_100));
    place
        .assay("synth score real.csv copied.csv --require exact_copies<=0.01 --html page.html")
        .exits(1)
        .says("copies: 100 of the synthetic rows are a row of the real table, 0 occurred before")
        .says("100 synthetic rows drawn at random beside 5000 real ones")
        .says("exact_copies: 1, required at most 0.01");
    let page = place.read("page.html");
    assert!(page.contains("exact_copies") && page.contains("h-utility") && page.contains("Kept"));
    place
        .assay("synth score real.csv fresh.csv --require exact_copies<=0 --require duplicates<=0 --require auc<=1")
        .exits(0);
    for (require, words) in [
        ("exact_copies=0", "exact_copies<=VALUE"),
        ("overfit_protection=0.9", "--held-out"),
        ("quality=nan", "no number"),
        ("quality>=2", "between 0 and 1"),
        ("constraints<=-1", "between 0 and 1"),
    ] {
        place
            .assay(&format!(
                "synth score real.csv fresh.csv --require {require}"
            ))
            .refuses(&[words]);
    }
    place
        .assay(
            "synth score real.csv copied.csv --held-out fresh.csv --require overfit_protection=0.9",
        )
        .exits(1)
        .says("overfit_protection: 0, required at least 0.9");
}

#[test]
fn scores_come_on_the_card_of_the_file_that_they_are_of() {
    let place = with_people();
    place.assay("synth fit people.csv -o model.json").exits(0);
    place
        .assay("synth sample model.json --rows 300 -o all.csv")
        .exits(0);
    let card = |name: &str| -> serde_json::Value {
        serde_json::from_str(&place.read(&format!("{name}.card.json"))).unwrap()
    };
    assert!(card("all.csv")["quality"].is_null());
    place
        .assay("synth score people.csv all.csv --card --json")
        .exits(0);
    let found = card("all.csv");
    assert_eq!(
        (&found["rows"], &found["quality"]["real_rows"]),
        (&300.into(), &400.into())
    );
    assert_eq!(found["quality"]["real"], "people.csv");
    let scores = &found["quality"]["scores"];
    assert_eq!(scores.as_object().unwrap().len(), 14);
    assert_eq!(scores["exact_copies"]["bootstrap"], 1.0);
    assert!(scores["utility"]["independent"].is_number());
    assert!(scores["overfit_protection"]["value"].is_null());
    assert_eq!(found["privacy"]["guarantee"], "none");
    // What was changed since, or has no card, gets none.
    place.write("all.csv", place.read("all.csv") + "20,clerk,1000\n");
    place
        .assay("synth score people.csv all.csv --card")
        .refuses(&["all.csv.card.json", "changed since"]);
    place
        .assay("synth score people.csv people.csv --card")
        .refuses(&["people.csv.card.json", "assay synth sample"]);
    // Of a private model they are outside of what it paid for, which is said once.
    place
        .assay("synth fit people.csv --generator mst --epsilon 1 -o private.json")
        .exits(0);
    place
        .assay("synth sample private.json --rows 300 -o private.csv")
        .exits(0);
    for _ in 0..2 {
        place
            .assay("synth score people.csv private.csv --card")
            .exits(0)
            .says("the guarantee does not cover these scores");
    }
    assert!(found["privacy"].get("caveats").is_none());
    let caveats = card("private.csv")["privacy"]["caveats"].to_string();
    assert_eq!(caveats.matches("does not cover these scores").count(), 1);
}

#[test]
fn columns_and_pairs_stand_beside_both_floors_in_text_json_and_page() {
    let place = with_people();
    place.assay("synth fit people.csv -o model.json").exits(0);
    place
        .assay("synth sample model.json --rows 300 -o all.csv")
        .exits(0);
    let score = "synth score people.csv all.csv --html page.html";
    let text = place.assay(score).exits(0).stdout;
    let page = place.read("page.html");
    let found = place.assay(&format!("{score} --json")).exits(0).json();
    let four = |value: &Value| format!("{:.4}", value.as_f64().unwrap());
    let cells = |values: [&Value; 3]| {
        let cells = values.map(|value| format!("<td class=\"num\">{}</td>", four(value)));
        cells.concat()
    };
    let three = |of: &Value, name: &str| {
        let floors = &of[format!("{name}_floors")];
        let values = [&of[name], &floors[0], &floors[1]];
        let [value, again, apart] = values.map(four);
        let words =
            format!("{name} {value}, of a bootstrap {again}, of independent columns {apart}");
        assert!(text.contains(&words), "{words}: {text}");
        assert!(page.contains(&cells(values)), "{words}");
    };
    assert_eq!(found["columns"].as_array().unwrap().len(), 3);
    for column in found["columns"].as_array().unwrap() {
        three(column, "shape");
        three(column, "coverage");
        let shape = four(&column["shape"]);
        assert!(page.contains(&format!("shape {shape}, beside ")), "{shape}");
    }
    assert_eq!(found["pairs"].as_array().unwrap().len(), 3);
    for pair in found["pairs"].as_array().unwrap() {
        three(pair, "trend");
    }
    let utility = &found["utility"][0];
    let learned = ["synthetic", "bootstrap", "independent"].map(|from| &utility[from]);
    assert!(page.contains(&cells(learned)), "{utility}");
    // Where a floor says nothing by itself, that is said.
    for shown in [&text, &page] {
        assert!(shown.contains("floors that say nothing by themselves: a bootstrap has real rows"));
        assert!(shown.contains("of a bootstrap, whose rows are real ones"));
    }
}

#[test]
fn keys_and_scores_that_are_none_are_told_of_with_the_reason() {
    let place = Place::new();
    let rows = |from: u32, rows: u32| {
        let mut text = String::from("id,kind\n");
        for row in from..from + rows {
            writeln!(text, "p-{row},{}", ["a", "b", "c"][row as usize % 3]).unwrap();
        }
        text
    };
    place.write("real.csv", rows(0, 60));
    place.write("made.csv", rows(1000, 20));
    place
        .assay("synth score real.csv made.csv")
        .exits(0)
        .says("columns of keys have no part in any score but constraints, and rows that differ by nothing else are taken for the same: `id` (0 of its synthetic keys are real ones)")
        .says("auc and pmse_ratio are none: they take at least 30 rows")
        .says("utility is none: it takes at least 30 rows");
    place.write("made.csv", rows(30, 60));
    place
        .assay("synth score real.csv made.csv")
        .exits(0)
        .says("`id` (30 of its synthetic keys are real ones)")
        .lacks("auc and pmse_ratio are none");
    place.write("other.csv", "id\np-1\np-2\n");
    place
        .assay("synth score real.csv made.csv --held-out other.csv")
        .refuses(&["the held-out table: column `kind`"]);
}
