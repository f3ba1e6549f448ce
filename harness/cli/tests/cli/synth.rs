//! Synthetic data on their own: learned tables, tables of schemas, and what is refused.

mod budgets;
mod declared;
mod demands;
mod forms;
mod items;
mod peers;
mod private;
mod refused;
mod schemas;
mod scores;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::helpers::Place;

/// A table whose columns hang together: numbers, categories and a gap here and there.
fn people(rows: u32) -> String {
    let mut text = String::from("age,job,pay\n");
    for row in 0..rows {
        // No generator of random numbers is needed for values that look like some.
        let mixed = row.wrapping_mul(2_654_435_761) >> 16;
        let age = 18 + mixed % 60;
        let job = ["clerk", "nurse", "pilot"][(mixed / 7 % 3) as usize];
        let pay = 1000 + 40 * age + 500 * (mixed / 7 % 3) + mixed % 97;
        let pay = if row % 11 == 0 {
            String::new()
        } else {
            pay.to_string()
        };
        writeln!(text, "{age},{job},{pay}").unwrap();
    }
    text
}

fn with_people() -> Place {
    let place = Place::new();
    place.write("people.csv", people(400));
    place
}

#[test]
fn a_table_is_learned_made_in_parts_and_scored() {
    let place = with_people();
    place
        .assay("synth fit people.csv -o model.json")
        .exits(0)
        .says("copula of 400 rows, 3 columns");
    place
        .assay("synth sample model.json --rows 300 -o all.csv")
        .exits(0);
    place
        .assay("synth sample model.json --rows 1 -o one.csv")
        .exits(0)
        .says("one.csv: 1 row, ");
    let mut parts = String::new();
    for part in 1..=3 {
        place
            .assay(&format!(
                "synth sample model.json --rows 300 --shard {part}/3 -o part.csv"
            ))
            .exits(0)
            .says("100 rows");
        let text = place.read("part.csv");
        let (head, rows) = text.split_once('\n').unwrap();
        parts += if part == 1 { &text } else { rows };
        assert_eq!(head, "age,job,pay");
    }
    assert_eq!(parts, place.read("all.csv"), "parts are the whole");
    let card: serde_json::Value = serde_json::from_str(&place.read("all.csv.card.json")).unwrap();
    assert_eq!(
        (&card["rows"], &card["generator"]),
        (&300.into(), &"copula".into())
    );
    assert_eq!(card["learned"]["table"], "people.csv");
    let [age, job, pay] = [0, 1, 2].map(|column| &card["columns"][column]);
    let range = [0, 1].map(|end| age["range"][end].as_f64().unwrap());
    assert!(18.0 <= range[0] && range[0] < 25.0 && 70.0 < range[1] && range[1] <= 77.0);
    assert_eq!((&age["missing"], &job["labels"]), (&0.into(), &3.into()));
    let text = place.read("all.csv");
    let missing = text.lines().filter(|row| row.ends_with(',')).count();
    assert!(missing > 0 && pay["missing"] == missing && job.get("range").is_none());
    insta::assert_snapshot!(
        place
            .assay("synth score people.csv all.csv")
            .exits(0)
            .stdout
    );
    let json = place
        .assay("synth score people.csv all.csv --json")
        .exits(0)
        .json();
    assert!(json["scores"]["quality"].as_f64().unwrap() > 0.8);
    place
        .assay("synth score people.csv all.csv --require quality=0.99999 --require three_way<0.9")
        .exits(1)
        .says("quality: 0.")
        .says("required at least 0.99999")
        .lacks("three_way: ");
}

#[test]
fn every_card_says_what_made_the_file_and_what_is_promised() {
    let place = with_people();
    place.write("corpus.txt", "the cat sat\nthe dog sat\n");
    place.write("t.toml", "schema = 1\n[[table]]\nname = \"t\"\nrows = 5\ncolumn = [{ type = \"key\", name = \"id\" }]\n");
    place.assay("synth fit people.csv -o copula.json").exits(0);
    place
        .assay("synth fit people.csv --generator mst --epsilon 2 -o mst.json")
        .exits(0);
    for (command, file, generator, parameters, promise) in [
        (
            "sample copula.json --rows 5 -o c.csv",
            "c.csv",
            "copula",
            "{}",
            "without differential privacy",
        ),
        (
            "sample mst.json --rows 5 -o m.csv",
            "m.csv",
            "mst",
            "epsilon",
            "neighbours",
        ),
        (
            "tables t.toml -o .",
            "t.csv",
            "tables",
            "{}",
            "nothing was learned",
        ),
        (
            "census --rows 5 -o n.csv",
            "n.csv",
            "census",
            "{}",
            "nothing was learned",
        ),
        (
            "make series --items 2 --set points=64 -o s.npy",
            "s.npy",
            "series",
            "\"points\":64",
            "nothing was learned",
        ),
        (
            "make markov --items 2 -o b.txt",
            "b.txt",
            "markov",
            "order",
            "nothing was learned",
        ),
        (
            "make markov --items 2 --corpus corpus.txt -o o.txt",
            "o.txt",
            "markov",
            "order",
            "come out as they are",
        ),
    ] {
        place.assay(&format!("synth {command}")).exits(0);
        let card: serde_json::Value =
            serde_json::from_str(&place.read(&format!("{file}.card.json"))).unwrap();
        assert_eq!(card["schema"], 2, "{command}");
        assert_eq!(
            (&card["file"], &card["generator"]),
            (&file.into(), &generator.into())
        );
        assert!(
            card["seed"].is_u64() && card.get("quality").is_some(),
            "{card:#}"
        );
        assert!(
            card["parameters"].to_string().contains(parameters),
            "{card:#}"
        );
        let privacy = card["privacy"].to_string();
        let is_private = card["privacy"]["guarantee"] == "differential";
        assert!(
            privacy.contains(promise) && is_private == (generator == "mst"),
            "{privacy}"
        );
    }
}

#[test]
fn files_of_two_forms_have_two_cards() {
    let place = with_people();
    place.assay("synth fit people.csv -o model.json").exits(0);
    for (ending, rows) in [("csv", 20), ("parquet", 30)] {
        place
            .assay(&format!(
                "synth sample model.json --rows {rows} -o rows.{ending}"
            ))
            .exits(0);
    }
    for (ending, rows) in [("csv", 20), ("parquet", 30)] {
        let card = place.read(&format!("rows.{ending}.card.json"));
        let card: serde_json::Value = serde_json::from_str(&card).unwrap();
        assert_eq!(
            (&card["file"], &card["rows"]),
            (&format!("rows.{ending}").into(), &rows.into())
        );
    }
}

#[test]
fn the_census_has_the_rows_of_its_seed() {
    let place = Place::new();
    place
        .assay("synth census --rows 70000 -o long.csv")
        .exits(0)
        .says("70000 rows");
    place.assay("synth census --rows 100 -o short.csv").exits(0);
    let (long, short) = (place.read("long.csv"), place.read("short.csv"));
    assert!(long.starts_with(&short) && long.lines().count() == 70_001);
    assert_eq!(short.lines().next().unwrap().split(',').count(), 15);
    place
        .assay("synth census --rows 0 -o x.csv")
        .refuses(&["--rows"]);
    place
        .assay("synth census --rows 5 -o x.txt")
        .refuses(&[".csv, .jsonl or .parquet"]);
}

#[test]
fn a_million_categories_are_keys_and_that_is_said() {
    let place = Place::new();
    let mut many = String::from("user,group\n");
    for row in 0..1_200_000_u32 {
        writeln!(many, "user {},{}", row % 1_000_000, row % 3).unwrap();
    }
    place.write("many.csv", many);
    for generator in ["independent", "copula", "mst"] {
        place
            .assay(&format!(
                "synth fit many.csv --generator {generator} -o model.json"
            ))
            .exits(0)
            .says("column `user`")
            .says("made anew");
        place
            .assay("synth sample model.json --rows 1000 -o made.csv")
            .exits(0);
        let made = place.read("made.csv");
        let users: BTreeSet<&str> = made
            .lines()
            .skip(1)
            .filter_map(|row| row.split(',').next())
            .collect();
        assert!(users.len() > 900, "{generator}: {} users", users.len());
        assert!(
            users.iter().all(|user| user.starts_with("key-")),
            "{generator}: nothing of a user is in it"
        );
    }
}
