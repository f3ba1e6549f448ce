//! Declared tables: learned by their types, made to keep to their constraints, and scored by what they break.

use std::fmt::Write as _;

use crate::helpers::Place;

/// A schema of two tables: what `orders` has, and a table that its customers are of.
const SHOP: &str = r#"
schema = 1
[[table]]
name = "orders"
rows = 300
column = [
  { type = "key", name = "id" },
  { type = "foreign", name = "customer", table = "customers", column = "number", missing = 0.1 },
  { type = "number", name = "opened", low = 0, high = 100 },
  { type = "number", name = "closed", low = 0, high = 120, missing = 0.1 },
  { type = "category", name = "rating", labels = ["1", "2", "3", "none"] },
]
constraint = [{ less = ["opened", "closed"] }]
[[table]]
name = "customers"
column = [
  { type = "number", name = "number", low = 1000, high = 1999 },
  { type = "category", name = "plan", labels = ["free", "paid"] },
]
constraint = [{ unique = "number" }]
"#;

/// Orders as nobody but a schema could read them: ids, customers and ratings are digits.
fn orders(rows: u32) -> String {
    let mut text = String::from("id,customer,opened,closed,rating,remark\n");
    for row in 0..rows {
        let mixed = row.wrapping_mul(2_654_435_761) >> 16;
        let opened = mixed % 100;
        let closed = opened + 1 + mixed / 100 % 9;
        let customer = match row % 9 {
            4 => String::new(),
            _ => (1000 + mixed / 3 % 40).to_string(),
        };
        let rating = 1 + mixed / 7 % 3;
        writeln!(
            text,
            "{},{customer},{opened},{closed},{rating},r{}",
            7 * row,
            row % 2
        )
        .unwrap();
    }
    text
}

fn shop() -> Place {
    let place = Place::new();
    place.write("shop.toml", SHOP);
    place.write("orders.csv", orders(300));
    let mut customers = String::from("number,plan\n");
    for number in 1000..1040 {
        writeln!(customers, "{number},{}", ["free", "paid"][number % 2]).unwrap();
    }
    place.write("customers.csv", customers);
    place
}

fn json(place: &Place, file: &str) -> serde_json::Value {
    serde_json::from_str(&place.read(file)).unwrap()
}

#[test]
fn a_declared_table_is_learned_by_its_types_and_its_rows_keep_to_it() {
    let place = shop();
    for generator in ["copula", "independent", "mst --epsilon 20 --noise-seed 3"] {
        place
            .assay(&format!(
                "synth fit orders.csv --schema shop.toml --generator {generator} -o model.json"
            ))
            .exits(0)
            .says("keys of column `id` are made anew")
            .says("not declared in shop.toml, and learned as they are: `remark`")
            .says("not looked at whether `customer` is a key of `number` in `customers`")
            .says("broke what is declared and were drawn again, 0 in vain");
        place
            .assay("synth sample model.json --rows 400 -o all.csv")
            .exits(0)
            .says("of 400 rows broke what is declared of table `orders`, and were drawn again");
        let mut parts = String::new();
        for part in 1..=3 {
            place
                .assay(&format!(
                    "synth sample model.json --rows 400 --shard {part}/3 -o part.csv"
                ))
                .exits(0);
            let text = place.read("part.csv");
            let (_, rows) = text.split_once('\n').unwrap();
            parts += if part == 1 { &text } else { rows };
        }
        assert_eq!(
            parts,
            place.read("all.csv"),
            "{generator}: parts are the whole"
        );
        let nobody = |row: &&str| row.split(',').nth(1) == Some("");
        assert!(
            parts.lines().filter(nobody).count() > 5,
            "{generator}: missing keys are kept"
        );
        // Of one table: what is looked at holds, and what is not is said.
        place
            .assay("synth check shop.toml all.csv")
            .refuses(&["no table `all`", "orders, customers"]);
        std::fs::create_dir_all(place.path("made")).unwrap();
        std::fs::copy(place.path("all.csv"), place.path("made/orders.csv")).unwrap();
        place
            .assay("synth check shop.toml made/orders.csv")
            .exits(4)
            .says("not looked at whether `customer` is a key of `number` in `customers`")
            .says("1 of 2 tables keeps to shop.toml, as far as that was looked at");
        place
            .assay("synth check shop.toml made/orders.csv customers.csv")
            .exits(0)
            .says("2 of 2 tables keep to shop.toml\n")
            .lacks("not looked at whether");
        let card = json(&place, "all.csv.card.json");
        let declared = &card["declared"];
        assert_eq!(declared["table"]["name"], "orders");
        assert!(declared["table"].get("rows").is_none(), "{declared}");
        assert!(
            declared["drawn"]["drawn_again"].as_u64().unwrap() > 0,
            "{declared}"
        );
        assert_eq!(declared["drawn"]["in_vain"], 0);
        place
            .assay("synth score orders.csv all.csv --schema shop.toml --with customers.csv --require constraints<=0 --card")
            .exits(0);
        let scores = &json(&place, "all.csv.card.json")["quality"]["scores"];
        assert_eq!(scores["constraints"]["value"], 0.0);
        assert_eq!(scores["constraints"]["bootstrap"], 0.0);
        assert!(scores["constraints"]["independent"].as_f64().unwrap() > 0.2);
    }
    let private = place.read("model.json");
    assert!(
        private.contains("texts of categories, of `customer`, `remark`, were taken"),
        "what is declared was not taken from the table"
    );
}

#[test]
fn violations_are_a_score_with_both_floors() {
    let place = shop();
    place.assay("synth fit orders.csv -o model.json").exits(0);
    place
        .assay("synth sample model.json --rows 300 -o free.csv")
        .exits(0);
    let score = "synth score orders.csv free.csv --schema shop.toml";
    let found = place
        .assay(&format!("{score} --html page.html"))
        .exits(0)
        .says("constraint `opened` < `closed`: broken by 0.")
        .says("not looked at, for the other table was not given with --with: `customer` is a key");
    assert!(found.stdout.contains("\nconstraints "), "{found}");
    // Nobody is told that something is reached that was not looked at.
    let demand = format!("{score} --require constraints<=0.01");
    place
        .assay(&demand)
        .refuses(&["`customer` is a key of `number` in `customers`", "--with"]);
    place
        .assay(&format!("{demand} --with customers.csv"))
        .exits(1)
        .says("constraints: 0.")
        .says("required at most 0.01");
    let page = place.read("page.html");
    assert!(page.contains("h-constraints") && page.contains("opened &lt; closed"));
    assert!(page.contains("others that are declared hold in every row"));
    let report = place.assay(&format!("{score} --json")).exits(0).json();
    let constraints = &report["constraints"];
    let of = |value: &serde_json::Value| value.as_f64().unwrap();
    assert!(of(&constraints["broken"]) > 0.01, "{constraints}");
    assert_eq!(constraints["floors"][0], 0.0);
    assert!(of(&constraints["floors"][1]) > 0.2);
    assert_eq!(constraints["unchecked"].as_array().unwrap().len(), 1);
    // The real rows against themselves break nothing: ids are as often in a bootstrap as they are drawn.
    place
        .assay("synth score orders.csv orders.csv --schema shop.toml --with customers.csv --require constraints<=0")
        .exits(0)
        .says("constraints: 11 of the 11 that are declared hold in every synthetic row");
    place
        .assay("synth score orders.csv free.csv --require constraints<=0.01")
        .refuses(&["`constraints`", "--schema"]);
}

#[test]
fn what_is_unique_is_made_as_a_permutation_and_too_many_rows_are_refused() {
    let place = shop();
    place
        .assay("synth fit customers.csv --schema shop.toml -o model.json")
        .exits(0)
        .says("column `number` is unique: it will be a permutation of its range");
    place
        .assay("synth sample model.json --rows 1000 -o made.csv")
        .exits(0);
    let made = place.read("made.csv");
    let numbers = made.lines().skip(1).map(|row| &row[..4]);
    let numbers: std::collections::BTreeSet<&str> = numbers.collect();
    assert_eq!((numbers.len(), numbers.first()), (1000, Some(&"1000")));
    place
        .assay("synth sample model.json --rows 1001 -o made.csv")
        .refuses(&["`number` unique cannot hold: 1001 rows, and 1000 values"]);
}

#[test]
fn schemas_that_do_not_do_are_refused() {
    let place = shop();
    place.write("other.csv", "id,opened\n1,2\n");
    let fit = |schema: &str, words: &[&str]| {
        place
            .assay(&format!("synth fit orders.csv --schema {schema} -o x.json"))
            .refuses(words);
        place
            .assay(&format!(
                "synth score orders.csv orders.csv --schema {schema}"
            ))
            .refuses(words);
        assert!(!place.path("x.json").exists(), "{schema}");
    };
    fit("absent.toml", &["absent.toml"]);
    place.write("broken.toml", "schema = [");
    fit("broken.toml", &["broken.toml"]);
    place.write("newer.toml", SHOP.replace("schema = 1", "schema = 9"));
    fit("newer.toml", &["newer.toml", "version 9"]);
    place.write(
        "names.toml",
        SHOP.replace("less = [\"opened\"", "less = [\"begun\""),
    );
    fit("names.toml", &["names.toml", "`begun`, which is no column"]);
    place.write(
        "more.toml",
        SHOP.replace("name = \"opened\", low", "name = \"begun\", low")
            .replace("\"opened\", \"closed\"", "\"begun\", \"closed\""),
    );
    fit(
        "more.toml",
        &["orders.csv: it lacks `begun`", "more.toml declares"],
    );
    // Another table of the schema, by its name.
    fit(
        "shop.toml --table customers",
        &["orders.csv", "`number`", "`plan`"],
    );
    fit(
        "shop.toml --table sales",
        &["no table `sales`", "orders, customers"],
    );
    place.write(
        "words.toml",
        SHOP.replace(
            "{ type = \"category\", name = \"rating\", labels = [\"1\", \"2\", \"3\", \"none\"] }",
            "{ type = \"number\", name = \"remark\", low = 0, high = 9 }",
        ),
    );
    fit(
        "words.toml",
        &["orders.csv", "row 1 of column `remark` has \"r0\""],
    );
    std::fs::copy(place.path("orders.csv"), place.path("sales.csv")).unwrap();
    place
        .assay("synth fit sales.csv --schema shop.toml -o x.json")
        .refuses(&["no table `sales`", "--table"]);
    place
        .assay("synth fit sales.csv --schema shop.toml --table orders -o x.json")
        .exits(0);
    place
        .assay("synth score orders.csv other.csv --schema shop.toml")
        .refuses(&["other.csv: it lacks `customer`"]);
    place
        .assay("synth score orders.csv orders.csv --schema shop.toml --with other.csv")
        .refuses(&["declares no table `other`"]);
    place
        .assay("synth score orders.csv orders.csv --with customers.csv")
        .refuses(&["--schema"]);
    place
        .assay("synth fit orders.csv --schema shop.toml -o shop.toml")
        .refuses(&["would be overwritten"]);
    // A model whose declaration was changed by hand.
    let model = place
        .read("x.json")
        .replace("\"less\":[\"opened\"", "\"less\":[\"begun\"");
    place.write("x.json", model);
    place
        .assay("synth sample x.json --rows 5 -o y.csv")
        .refuses(&["x.json: a damaged model", "`begun`"]);
}

#[test]
fn rows_that_break_what_is_declared_are_told_of_and_come_out_if_nothing_else_does() {
    let place = shop();
    let narrow = SHOP.replace("\"1\", \"2\", \"3\", \"none\"", "\"4\", \"none\"");
    place.write("narrow.toml", narrow);
    // No row keeps to it: one of both is wrong.
    for generator in ["copula", "mst --epsilon 20"] {
        place
            .assay(&format!("synth fit orders.csv --schema narrow.toml --generator {generator} -o model.json"))
            .refuses(&[
                "orders.csv: each of its 300 rows breaks what narrow.toml declares of table `orders`",
                "`rating` one of its labels does not hold in 300",
                "mend the schema or the table",
            ]);
        assert!(!place.path("model.json").exists());
    }
    // One row keeps to it: few of those that are made.
    let one = place.read("orders.csv");
    let (before, last) = one.trim_end().rsplit_once('\n').unwrap();
    let mut fields: Vec<&str> = last.split(',').collect();
    fields[4] = "4";
    place.write("orders.csv", format!("{before}\n{}\n", fields.join(",")));
    place
        .assay("synth fit orders.csv --schema narrow.toml --generator independent -o model.json")
        .exits(0)
        .says("`rating` one of its labels does not hold in 299 rows of the table, the first of them row 1")
        .lacks("none of them keeps");
    // Rows that are not what was declared are none that can be relied on.
    place
        .assay("synth sample model.json --rows 50 -o made.csv")
        .exits(1)
        .says("of 50 rows break it still, after 100 draws")
        .says("or declare less");
    let card = json(&place, "made.csv.card.json");
    assert!(card["declared"]["drawn"]["in_vain"].as_u64().unwrap() > 5);
    assert_eq!(place.read("made.csv").lines().count(), 51);
}

#[test]
fn a_model_that_never_keeps_to_its_schema_is_told_and_digits_are_no_contradiction() {
    let place = Place::new();
    let schema = |decimals: u32, constraint: &str| {
        format!(
            "schema = 1\n[[table]]\nname = \"t\"\ncolumn = [\n\
             {{ type = \"number\", name = \"a\", low = 0, high = 999, decimals = {decimals} }},\n\
             {{ type = \"number\", name = \"b\", low = 0, high = 999, decimals = {decimals} }},\n]\n{constraint}\n"
        )
    };
    let mut rows = String::from("a,b\n");
    for row in 0..300 {
        writeln!(rows, "{}.25,{}.75", 10 + row % 7, row % 5).unwrap();
    }
    place.write("t.csv", format!("{rows}1.25,900.75\n"));
    place.write("t.toml", schema(0, ""));
    place
        .assay("synth fit t.csv --schema t.toml -o model.json")
        .exits(0)
        .says("does not hold in 301 rows");
    place
        .assay("synth sample model.json --rows 20 -o made.csv")
        .exits(0);
    // One row of 300 keeps to it, by three columns that have nothing to do with each other: one of 27 million that are made.
    let column =
        |name: &str| format!("{{ type = \"category\", name = \"{name}\", labels = [\"k\"] }},");
    let columns = ["a", "b", "c"].map(column).concat();
    place.write(
        "t.toml",
        format!("schema = 1\n[[table]]\nname = \"t\"\ncolumn = [{columns}]\n"),
    );
    place.write("t.csv", format!("a,b,c\n{}k,k,k\n", "x,x,x\n".repeat(299)));
    place
        .assay("synth fit t.csv --schema t.toml --generator independent -o model.json")
        .exits(1)
        .says("2048 in vain")
        .says("warning: none of them keeps to it")
        .says("independent of 300 rows");
    place
        .assay("synth sample model.json --rows 20 -o made.csv")
        .exits(1)
        .says("20 of 20 rows break it still");
}

/// A flag and a truth value that only a declaration tells from numbers and words.
const FLAGS: &str = r#"
schema = 1
[[table]]
name = "flags"
rows = 200
column = [
  { type = "category", name = "flag", labels = ["0", "1"], weights = [3, 1] },
  { type = "category", name = "is", labels = ["true", "false"] },
  { type = "number", name = "x", low = 0, high = 99 },
]
"#;

#[test]
fn labels_that_look_like_numbers_are_labels_where_they_are_declared() {
    let place = Place::new();
    place.write("flags.toml", FLAGS);
    for form in ["csv", "jsonl", "parquet"] {
        place
            .assay(&format!("synth tables flags.toml --form {form} -o made"))
            .exits(0);
        let real = format!("made/flags.{form}");
        place
            .assay(&format!("synth check flags.toml {real}"))
            .exits(0);
        for generator in ["copula", "mst --epsilon 20 --noise-seed 3"] {
            place
                .assay(&format!(
                    "synth fit {real} --schema flags.toml --generator {generator} -o model.json"
                ))
                .exits(0)
                .lacks("does not hold");
            for other in ["csv", "jsonl", "parquet"] {
                place
                    .assay(&format!(
                        "synth sample model.json --rows 60 -o rows.{other}"
                    ))
                    .exits(0);
                place
                    .assay(&format!(
                        "synth score {real} rows.{other} --schema flags.toml --require constraints<=0 --json"
                    ))
                    .exits(0);
            }
        }
    }
    let rows = place.read("rows.csv");
    let flags = rows.lines().skip(1).map(|row| &row[..2]);
    assert!(flags.clone().all(|flag| flag == "0," || flag == "1,"));
    assert!(flags.clone().any(|flag| flag == "0,"), "{rows}");
}

#[test]
fn declared_labels_are_written_as_the_numbers_and_truth_values_that_they_were() {
    let place = Place::new();
    place.write("flags.toml", FLAGS);
    let mut rows = String::new();
    for row in 0..60 {
        let line = serde_json::json!({"flag": row % 3 % 2, "is": row % 2 == 0, "x": row});
        writeln!(rows, "{line}").unwrap();
    }
    place.write("flags.jsonl", rows);
    // The same as Parquet, whose columns are integers and truth values.
    place.assay("synth fit flags.jsonl -o plain.json").exits(0);
    place
        .assay("synth sample plain.json --rows 60 -o flags.parquet")
        .exits(0);
    for form in ["jsonl", "parquet"] {
        place
            .assay(&format!(
                "synth fit flags.{form} --schema flags.toml -o model.json"
            ))
            .exits(0);
        place
            .assay("synth sample model.json --rows 40 -o rows.jsonl")
            .exits(0);
        for line in place.read("rows.jsonl").lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(
                row["flag"].is_u64() && row["is"].is_boolean() && row["x"].is_u64(),
                "{form}: {line}"
            );
        }
        place
            .assay(&format!(
                "synth score flags.{form} rows.jsonl --schema flags.toml --require constraints<=0"
            ))
            .exits(0);
    }
}
