//! Synthetic data on their own: learned tables, items of recipes, tables of schemas, and what is refused.

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
    let card: serde_json::Value = serde_json::from_str(&place.read("all.card.json")).unwrap();
    assert_eq!(
        (&card["rows"], &card["generator"]),
        (&300.into(), &"copula".into())
    );
    assert_eq!(card["learned"]["table"], "people.csv");
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
fn a_private_model_says_what_it_spent_and_what_it_does_not_cover() {
    let place = with_people();
    place
        .assay("synth fit people.csv --generator mst --epsilon 2 --delta 0.01 -o model.json")
        .exits(0)
        .says("spent epsilon 1.9")
        .says("public knowledge")
        // More than one over the number of rows.
        .says("delta");
    place
        .assay("synth sample model.json --rows 50 -o rows.jsonl")
        .exits(0);
    let card: serde_json::Value = serde_json::from_str(&place.read("rows.card.json")).unwrap();
    assert_eq!(
        card["privacy"]["ledger"].as_array().unwrap().len(),
        3 + 2 + 2
    );
    assert_eq!(card["privacy"]["caveats"].as_array().unwrap().len(), 2);
    for budget in [
        "--epsilon 0",
        "--epsilon=-1",
        "--epsilon 1 --delta 0",
        "--epsilon 1 --delta 1",
    ] {
        place
            .assay(&format!(
                "synth fit people.csv --generator mst {budget} -o x.json"
            ))
            .refuses(&[if budget.contains("delta") {
                "delta"
            } else {
                "epsilon"
            }]);
    }
    place
        .assay("synth fit people.csv --generator copula --epsilon 1 -o x.json")
        .refuses(&["not private at all"]);
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

#[test]
fn items_come_in_parts_with_labels_and_a_card() {
    let place = Place::new();
    for (generator, ending) in [
        ("grammar", "txt"),
        ("markov", "txt"),
        ("instructions", "jsonl"),
    ] {
        let make = |more: &str, output: &str| {
            place
                .assay(&format!(
                    "synth make {generator} --items 30 --seed 4 {more} -o {output}.{ending}"
                ))
                .exits(0);
            place.read(&format!("{output}.{ending}"))
        };
        let all = make("", "all");
        assert_eq!(all.lines().count(), 30);
        assert_eq!(
            make("--shard 1/2", "a") + &make("--shard 2/2", "b"),
            all,
            "{generator}"
        );
    }
    place
        .assay("synth make spectra --items 6 --set points=256 -o s.npy --labels s.csv")
        .exits(0)
        .says("6 items");
    let bytes = std::fs::read(place.path("s.npy")).unwrap();
    assert_eq!(bytes.len(), 128 + 6 * 2 * 256 * 4);
    assert!(String::from_utf8_lossy(&bytes[..128]).contains("'shape': (6, 2, 256)"));
    let labels = place.read("s.csv");
    assert!(
        labels.starts_with("kind,redshift,") && labels.lines().count() == 7,
        "{labels}"
    );
    let card: serde_json::Value = serde_json::from_str(&place.read("s.card.json")).unwrap();
    assert_eq!(card["recipe"]["spectra"]["points"], 256);
    assert_eq!(card["labels"]["file"], "s.csv");
    place
        .assay("synth make pictures --items 3 --set size=72 -o p.npy --labels p.jsonl")
        .exits(0);
    assert!(place.read("p.jsonl").contains("\"caption\":\"a "));
    place
        .assay("synth make grammar --items 5 -o g.parquet")
        .exits(0)
        .says("entropy: ");
}

#[test]
fn own_texts_and_grammars_are_learned_and_what_is_wrong_with_them_is_said() {
    let place = Place::new();
    place.write("corpus.txt", "the cat sat\nthe dog sat\n");
    place
        .assay("synth make markov --items 20 --corpus corpus.txt --set order=1 -o t.txt")
        .exits(0);
    let words = ["the", "cat", "dog", "sat"];
    assert!(
        place
            .read("t.txt")
            .split_whitespace()
            .all(|word| words.contains(&word))
    );
    place.write(
        "grammar.json",
        r#"{"start": "s", "symbols": {"s": ["{n} runs", ["{n} walks", 3]], "n": ["Ada", "Alan"]}}"#,
    );
    place
        .assay("synth make grammar --recipe grammar.json --items 9 -o g.txt")
        .exits(0)
        // One bit of who, and 0.8113 of what.
        .says("entropy: 1.8113 bits a text");
    place.write("bad.txt", b"fine\n\xff\xfe\n");
    let make = |arguments: &str| place.assay(&format!("synth make {arguments} -o x.txt"));
    make("markov --items 1 --corpus bad.txt").refuses(&["bad.txt", "line 2", "UTF-8"]);
    make("grammar --items 1 --corpus corpus.txt").refuses(&["learns nothing"]);
    make("grammar --items 1 --set start=nobody").refuses(&["`nobody`"]);
    make("grammar --items 1 --set colour=red").refuses(&["colour"]);
    make("grammar --items 1 --set start").refuses(&["KEY=VALUE"]);
    make("grammar --items 1 --labels l.csv").refuses(&["--labels"]);
    make("grammar --items 0").refuses(&["--items"]);
    make("spectra --items 1").refuses(&[".npy"]);
    make("instructions --items 1").refuses(&[".jsonl"]);
    make("novels --items 1").refuses(&["novels", "spectra"]);
    assert!(!place.path("x.txt").exists());
}

const SHOP: &str = r#"
schema = 1
[[table]]
name = "orders"
rows = 200
column = [
  { type = "key", name = "id" },
  { type = "foreign", name = "customer", table = "customers", column = "number" },
  { type = "number", name = "opened", low = 0, high = 100 },
  { type = "number", name = "closed", low = 0, high = 100, missing = 0.1 },
]
constraint = [{ less = ["opened", "closed"] }]
[[table]]
name = "customers"
rows = 50
column = [
  { type = "number", name = "number", low = 1000, high = 1999 },
  { type = "category", name = "plan", labels = ["free", "paid"], weights = [3, 1] },
]
constraint = [{ unique = "number" }]
"#;

#[test]
fn tables_of_a_schema_keep_to_it_and_changed_ones_are_found_out() {
    let place = Place::new();
    place.write("shop.toml", SHOP);
    place
        .assay("synth tables shop.toml -o shop")
        .exits(0)
        .says("200 rows")
        .says("50 rows");
    let check = "synth check shop.toml shop/orders.csv shop/customers.csv";
    place
        .assay(check)
        .exits(0)
        .says("2 tables keep to shop.toml");
    for part in [1, 2] {
        place
            .assay(&format!(
                "synth tables shop.toml --shard {part}/2 -o part{part}"
            ))
            .exits(0);
    }
    let second = place.read("part2/orders.csv");
    let (_, rows) = second.split_once('\n').unwrap();
    assert_eq!(
        place.read("part1/orders.csv") + rows,
        place.read("shop/orders.csv")
    );
    let spoiled = place.read("shop/customers.csv").replacen("paid", "gold", 1);
    place.write("shop/customers.csv", spoiled);
    let first = place
        .read("shop/orders.csv")
        .lines()
        .nth(1)
        .unwrap()
        .to_owned();
    let orders = place.read("shop/orders.csv") + &first + "\n";
    place.write("shop/orders.csv", orders);
    place
        .assay(check)
        .exits(1)
        .says("table orders: `id` unique does not hold in 1 rows, the first of them row 201")
        .says("table customers: `plan` one of its labels does not hold in 1 rows");
    let json = place.assay(&format!("{check} --json")).exits(1).json();
    assert_eq!(json.as_array().unwrap().len(), 2);
    place
        .assay("synth check shop.toml shop.toml")
        .refuses(&["declares no table `shop`"]);
}

#[test]
fn a_schema_that_cannot_hold_is_refused_by_name() {
    let place = Place::new();
    let refused = |from: &str, to: &str, words: &[&str]| {
        assert!(SHOP.contains(from), "{from}");
        place.write("shop.toml", SHOP.replacen(from, to, 1));
        place.assay("synth tables shop.toml -o shop").refuses(words);
        assert!(!place.path("shop").exists());
    };
    refused(
        "name = \"opened\", low = 0",
        "name = \"opened\", low = 100",
        &["table `orders`", "`opened` < `closed` cannot hold"],
    );
    refused(
        "rows = 50",
        "rows = 1001",
        &[
            "table `customers`",
            "`number` unique cannot hold: 1001 rows, and 1000 values",
        ],
    );
    refused(
        "unique = \"number\"",
        "unique = \"plan\"",
        &["`plan` unique cannot hold"],
    );
    refused(
        "column = \"number\" }",
        "column = \"name\" }",
        &["`customer`", "no column `name`"],
    );
    refused("rows = 200", "rows = -1", &["shop.toml"]);
    refused("low = 1000", "lowest = 1000", &["shop.toml", "lowest"]);
    refused("schema = 1", "schema = 7", &["version 7"]);
}
