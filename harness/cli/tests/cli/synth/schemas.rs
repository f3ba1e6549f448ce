//! `assay synth tables` and `check`: tables of a declared schema.

use crate::helpers::Place;

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
        .says("2 of 2 tables keep to shop.toml");
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
        .says("table orders: `id` unique does not hold in 1 row, the first of them row 201")
        .says("table customers: `plan` one of its labels does not hold in 1 row,");
    let json = place.assay(&format!("{check} --json")).exits(1).json();
    assert_eq!(json["violations"].as_array().unwrap().len(), 2);
    assert!(json["unchecked"].as_array().unwrap().is_empty(), "{json}");
    place
        .assay("synth check shop.toml shop.toml")
        .refuses(&["declares no table `shop`"]);
}

#[test]
fn files_of_any_name_and_form_are_checked_as_the_tables_that_they_are_said_to_be() {
    let place = Place::new();
    place.write("shop.toml", SHOP);
    for form in ["csv", "jsonl", "parquet"] {
        place
            .assay(&format!("synth tables shop.toml --form {form} -o {form}"))
            .exits(0);
        for (table, file) in [("orders", "may"), ("customers", "people")] {
            let [from, to] = [table, file].map(|name| place.path(&format!("{form}/{name}.{form}")));
            std::fs::rename(from, to).unwrap();
        }
        let named = |tables: [&str; 2]| {
            let [a, b] = tables;
            place.assay(&format!(
                "synth check shop.toml {form}/may.{form} {form}/people.{form} --table {a} --table {b}"
            ))
        };
        named(["orders", "customers"])
            .exits(0)
            .says("2 of 2 tables keep to shop.toml");
        named(["orders", "orders"]).refuses(&["`orders` is given twice"]);
        place
            .assay(&format!(
                "synth check shop.toml {form}/may.{form} --table orders"
            ))
            .exits(4)
            .says("not looked at whether `customer` is a key of `number` in `customers`");
        place
            .assay(&format!("synth check shop.toml {form}/may.{form}"))
            .refuses(&["declares no table `may`", "--table"]);
    }
    // A key that no customer has.
    let orders = place.read("csv/may.csv");
    let (head, rows) = orders.split_once('\n').unwrap();
    let rest = rows.split_once(',').unwrap().1.split_once(',').unwrap().1;
    place.write("csv/may.csv", format!("{head}\nkey-x,7,{rest}"));
    place
        .assay("synth check shop.toml csv/may.csv csv/people.csv --table orders --table customers")
        .exits(1)
        .says("table orders: `customer` is a key of `number` in `customers` does not hold in 1 row, the first of them row 1");
    place
        .assay("synth check shop.toml csv/may.csv csv/people.csv --table orders")
        .refuses(&["--table: 1 of them for 2 files"]);
    place
        .assay("synth check shop.toml csv/may.csv --table order")
        .refuses(&["declares no table `order`: there are orders, customers"]);
}

#[test]
fn the_only_table_of_a_schema_may_have_any_name_and_what_is_not_declared_is_said() {
    let place = Place::new();
    place.write("one.toml", "schema = 1\n[[table]]\nname = \"t\"\nrows = 9\ncolumn = [{ type = \"number\", name = \"a\", low = 0, high = 9 }]\n");
    place.write("x.csv", "a,b\n1,2\n9,3\n");
    place
        .assay("synth check one.toml x.csv")
        .exits(0)
        .says("table t: not declared, and not looked at: `b`")
        .says("1 of 1 table keeps to one.toml");
    place.write("x.csv", "a,b\n1,2\n10,3\n");
    place
        .assay("synth check one.toml x.csv")
        .exits(1)
        .says("table t: `a` from 0 to 9 does not hold in 1 row, the first of them row 2");
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
    refused("rows = 200", "", &["`rows` is 0"]);
    refused("low = 1000", "lowest = 1000", &["shop.toml", "lowest"]);
    refused("schema = 1", "schema = 7", &["version 7"]);
}
