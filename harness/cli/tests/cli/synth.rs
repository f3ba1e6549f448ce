//! Synthetic data on their own: learned tables, tables of schemas, and what is refused.

mod declared;
mod demands;
mod forms;
mod items;
mod peers;
mod schemas;

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
fn tables_that_cannot_be_learned_are_refused_and_odd_ones_are_not() {
    let place = with_people();
    let refused = |name: &str, content: &[u8], words: &[&str]| {
        place.write(name, content);
        place
            .assay(&format!("synth fit {name} -o x.json"))
            .refuses(words);
        assert!(!place.path("x.json").exists(), "{name}");
    };
    refused("nothing.csv", b"", &["nothing.csv"]);
    refused("head.csv", b"a,b\n", &["head.csv", "no rows"]);
    refused("ragged.csv", b"a,b\n1,2\n3\n", &["ragged.csv", "line 3"]);
    refused("broken.csv", b"a,b\n1,\xff\xfe\n", &["broken.csv", "UTF-8"]);
    refused("wide.csv", b"\0a\0\n\0" as &[u8], &["wide.csv", "UTF-16"]);
    refused(
        "latin.jsonl",
        b"{\"a\": \"caf\xe9\"}\n",
        &["latin.jsonl", "line 1"],
    );
    refused("list.jsonl", b"[1]\n", &["list.jsonl", "line 1", "object"]);
    refused("t.xlsx", b"", &[".csv, .jsonl or .parquet"]);
    place.assay("synth fit people.csv -o model.json").exits(0);
    place
        .assay("synth sample model.json --rows 50 -o whole.parquet")
        .exits(0);
    let whole = std::fs::read(place.path("whole.parquet")).unwrap();
    refused(
        "half.parquet",
        &whole[..whole.len() / 2],
        &["half.parquet", "no whole Parquet file"],
    );
    place
        .assay("synth fit absent.csv -o x.json")
        .refuses(&["absent.csv"]);
    let mut odd = String::from("constant,none,one_of_many,digits\n");
    for row in 0..300 {
        writeln!(odd, "7,,name {row},00{}", row % 5).unwrap();
    }
    place.write("odd.csv", odd);
    place.write("one.csv", "a,b\n1,x\n");
    for (table, generator) in [
        ("odd", "independent"),
        ("odd", "copula"),
        ("odd", "mst"),
        ("one", "copula"),
        ("one", "mst"),
    ] {
        place
            .assay(&format!(
                "synth fit {table}.csv --generator {generator} -o {table}.json"
            ))
            .exits(0);
        place
            .assay(&format!("synth sample {table}.json --rows 20 -o made.csv"))
            .exits(0);
        let made = place.read("made.csv");
        assert_eq!(made.lines().count(), 21, "{generator}");
        let expected = match (table, generator) {
            // Noise may make anything of so few rows.
            (_, "mst") => "",
            ("odd", _) => "7,,key-000000000,00",
            _ => "1,x",
        };
        let row = made.lines().nth(1).unwrap();
        assert!(row.starts_with(expected), "{generator}: {row}");
    }
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

#[test]
fn what_the_machine_lacks_is_told_apart_from_bad_input() {
    let place = with_people();
    place
        .assay("synth score people.csv people.csv --device cuda:99")
        .exits(3)
        .says("--device cuda:99");
    std::os::unix::fs::symlink("/dev/full", place.path("rows.csv.unfinished")).unwrap();
    place
        .assay("synth census --rows 100 -o rows.csv")
        .exits(3)
        .says("rows.csv: ")
        .says("No space left");
    for name in ["rows.csv", "rows.csv.unfinished"] {
        assert!(place.path(name).symlink_metadata().is_err(), "{name}");
    }
}

#[test]
fn what_has_no_room_on_the_disk_is_refused_with_how_much_is_missing() {
    let place = with_people();
    place.assay("synth fit people.csv -o model.json").exits(0);
    place.write("t.toml", "schema = 1\n[[table]]\nname = \"t\"\nrows = 9999999999999\ncolumn = [{ type = \"key\", name = \"id\" }]\n");
    let many = 9_999_999_999_999_u64;
    for (command, file, words) in [
        // Known before the first is made.
        (
            format!("make spectra --items {many} -o x.npy"),
            "x.npy",
            "9999999999999 items take ",
        ),
        (
            format!("make pictures --items {many} -o x.npy --labels x.csv"),
            "x.npy",
            "items take ",
        ),
        // Known by the first ones.
        (
            format!("make grammar --items {many} -o x.txt"),
            "x.txt",
            " take about ",
        ),
        (
            format!("make grammar --items {many} -o x.jsonl"),
            "x.jsonl",
            " take about ",
        ),
        (
            format!("census --rows {many} -o x.csv"),
            "x.csv",
            " take about ",
        ),
        (
            format!("sample model.json --rows {many} -o x.parquet"),
            "x.parquet",
            " take about ",
        ),
        ("tables t.toml -o .".into(), "t.csv", " take about "),
    ] {
        place
            .assay(&format!("synth {command}"))
            .exits(3)
            .says(file)
            .says(words)
            .says("are missing");
        for left in [
            file.to_owned(),
            format!("{file}.unfinished"),
            "x.csv".into(),
        ] {
            assert!(!place.path(&left).exists(), "{command}: {left}");
        }
    }
    // More bytes than there are numbers for.
    place
        .assay(&format!(
            "synth make spectra --items {many} --set points=1048576 -o x.npy"
        ))
        .refuses(&["x.npy", "more than a file can hold"]);
}

#[test]
fn outputs_that_do_not_do_are_refused_before_the_work() {
    let place = with_people();
    let before = place.read("people.csv");
    place
        .assay("synth fit people.csv -o people.csv")
        .refuses(&["people.csv", "would be overwritten"]);
    place
        .assay("synth fit people.csv -o absent/model.json")
        .refuses(&["absent/model.json"]);
    place
        .assay("synth score people.csv people.csv --html absent/x.html")
        .refuses(&["absent/x.html"])
        .lacks("copies:");
    place
        .assay("synth score people.csv people.csv --html people.csv")
        .refuses(&["would be overwritten"]);
    place
        .assay("synth make spectra --items 2 -o s.npy --labels s.xlsx")
        .refuses(&["s.xlsx", ".csv, .jsonl or .parquet"]);
    assert!(!place.path("s.npy").exists());
    assert_eq!(place.read("people.csv"), before);
}

#[test]
fn models_and_sizes_that_do_not_do_are_refused() {
    let place = with_people();
    place.assay("synth fit people.csv -o model.json").exits(0);
    place
        .assay("synth sample people.csv --rows 5 -o x.csv")
        .refuses(&["people.csv", "no model"]);
    let newer = place
        .read("model.json")
        .replacen("\"schema\":1", "\"schema\":9", 1);
    place.write("newer.json", newer);
    place
        .assay("synth sample newer.json --rows 5 -o x.csv")
        .refuses(&["schema 9", "newer assay"]);
    for (rows, words) in [
        ("0", "at least 1"),
        ("99999999999999999", "2^44"),
        ("-3", "unexpected argument"),
    ] {
        place
            .assay(&format!("synth sample model.json --rows {rows} -o x.csv"))
            .refuses(&[words]);
    }
    for shard in ["0/3", "4/3", "half"] {
        place
            .assay(&format!(
                "synth sample model.json --rows 5 --shard {shard} -o x.csv"
            ))
            .refuses(&["K/N"]);
    }
    place
        .assay("synth sample model.json --rows 5 -o x.txt")
        .refuses(&[".csv, .jsonl or .parquet"]);
    place.write("other.csv", "age,job\n1,x\n");
    place
        .assay("synth score people.csv other.csv")
        .refuses(&["`pay`", "missing"]);
    place
        .assay("synth score people.csv people.csv --require fame=1")
        .refuses(&["fame", "quality"]);
    assert!(!place.path("x.csv").exists());
}
