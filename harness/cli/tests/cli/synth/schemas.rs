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
    refused("rows = 200", "", &["`rows` is 0"]);
    refused("low = 1000", "lowest = 1000", &["shop.toml", "lowest"]);
    refused("schema = 1", "schema = 7", &["version 7"]);
}
