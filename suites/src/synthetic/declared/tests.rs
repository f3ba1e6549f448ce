use std::collections::BTreeMap;

use serde_json::json;

use super::{Schema, violations};
use crate::synthetic::table::{Table, Values};

fn shop() -> serde_json::Value {
    json!({
        "schema": 1,
        "table": [
            {
                "name": "orders",
                "rows": 4000,
                "column": [
                    {"type": "key", "name": "id"},
                    {"type": "foreign", "name": "customer", "table": "customers", "column": "number"},
                    {"type": "number", "name": "closed", "low": 0, "high": 100, "decimals": 1, "missing": 0.1},
                    {"type": "number", "name": "opened", "low": 0, "high": 100, "decimals": 1},
                    {"type": "number", "name": "paid", "low": 0, "high": 60, "decimals": 1},
                ],
                "constraint": [{"less": ["opened", "closed"]}, {"at_most": ["closed", "paid"]}],
            },
            {
                "name": "customers",
                "rows": 500,
                "column": [
                    {"type": "number", "name": "number", "low": 1000, "high": 1999},
                    {"type": "number", "name": "age", "low": 18, "high": 90, "normal": [40, 15]},
                    {"type": "category", "name": "plan", "labels": ["free", "paid"], "weights": [3, 1], "missing": 0.2},
                ],
                "constraint": [{"unique": "number"}],
            },
        ],
    })
}

fn schema(value: serde_json::Value) -> Schema {
    serde_json::from_value(value).unwrap()
}

fn made(schema: &Schema) -> BTreeMap<String, Table> {
    let maker = schema.build().unwrap();
    let table = |place: usize| {
        let table = &schema.table[place];
        (
            table.name.clone(),
            maker.rows(place, 5, 0, table.rows as usize),
        )
    };
    (0..schema.table.len()).map(table).collect()
}

fn refused(change: impl Fn(&mut serde_json::Value)) -> String {
    let mut value = shop();
    change(&mut value);
    schema(value).build().err().unwrap().to_string()
}

#[test]
fn rows_keep_to_their_schema_and_changed_ones_do_not() {
    let schema = schema(shop());
    let mut tables = made(&schema);
    assert_eq!(violations(&schema, &tables).unwrap(), []);
    let orders = tables.get_mut("orders").unwrap();
    for (column, value) in [(2, 90.0), (3, -1.0)] {
        let Values::Number { values, .. } = &mut orders.columns[column].values else {
            panic!()
        };
        values[7] = value;
    }
    let Values::Number { values, .. } = &mut orders.columns[1].values else {
        panic!()
    };
    values[9] = 5.0;
    let found = violations(&schema, &tables).unwrap();
    let words: Vec<(&str, usize, usize)> = found
        .iter()
        .map(|v| (v.what.as_str(), v.rows, v.first_row))
        .collect();
    let expected = [
        ("`customer` is a key of `number` in `customers`", 1, 10),
        ("`opened` from 0 to 100", 1, 8),
        ("`closed` <= `paid`", 1, 8),
    ];
    assert_eq!(words, expected);
}

#[test]
fn distributions_and_shares_are_as_declared() {
    let tables = made(&schema(shop()));
    let Values::Number { values, .. } = &tables["customers"].columns[1].values else {
        panic!()
    };
    let mean = values.iter().sum::<f64>() / 500.0;
    // The cut-off at 18 raises it from 40.
    assert!((41.0..45.0).contains(&mean), "{mean}");
    let Values::Category { codes, .. } = &tables["customers"].columns[2].values else {
        panic!()
    };
    let share = |code| codes.iter().filter(|c| **c == code).count() as f64 / 500.0;
    assert!((share(0) - 0.6).abs() < 0.08 && (share(1) - 0.2).abs() < 0.06);
    assert!((tables["orders"].columns[2].values.missing() as f64 / 4000.0 - 0.1).abs() < 0.02);
}

#[test]
fn rows_do_not_depend_on_who_makes_them() {
    let schema = schema(shop());
    let maker = schema.build().unwrap();
    let places: Vec<usize> = (100..150).collect();
    assert_eq!(
        maker.rows(0, 5, 0, 300).select(&places),
        maker.rows(0, 5, 100, 50)
    );
    assert_ne!(maker.rows(0, 6, 100, 50), maker.rows(0, 5, 100, 50));
}

#[test]
fn what_cannot_hold_is_named() {
    let paid = |value: &mut serde_json::Value, low: f64| {
        value["table"][0]["column"][4]["low"] = low.into();
    };
    // `paid` ends at 60, so `closed` does and `opened` must be below.
    assert_eq!(
        refused(|value| value["table"][0]["column"][3]["low"] = 70.into()),
        "table `orders`: `opened` < `closed` cannot hold: `opened` would have to be at least 70 and at most 59.9"
    );
    assert!(refused(|value| paid(value, 61.0)).contains("`paid`: no number of 1 digits"));
    let circle =
        refused(|value| value["table"][0]["constraint"][1] = json!({"less": ["closed", "opened"]}));
    assert!(
        circle.contains("round in a circle: `closed`, `opened`"),
        "{circle}"
    );
    let few = refused(|value| value["table"][1]["column"][0]["high"] = 1100.into());
    assert_eq!(
        few,
        "table `customers`: `number` unique cannot hold: 500 rows, and 101 values"
    );
    let both = refused(|value| value["table"][0]["constraint"][1] = json!({"unique": "opened"}));
    assert!(both.contains("unique and in an inequality"), "{both}");
    let repeated = refused(|value| value["table"][1]["constraint"] = json!([]));
    assert!(
        repeated.contains("`number` of table `customers`, which is not unique"),
        "{repeated}"
    );
    let one_each =
        refused(|value| value["table"][0]["constraint"][0] = json!({"unique": "customer"}));
    assert_eq!(
        one_each,
        "table `orders`: `customer` unique cannot hold: 4000 rows, and 500 keys"
    );
}

#[test]
fn what_names_nothing_is_named() {
    assert!(
        refused(|value| value["table"][0]["column"][1]["table"] = "clients".into())
            .contains("no table `clients`")
    );
    assert!(
        refused(|value| value["table"][0]["column"][1]["column"] = "name".into())
            .contains("has no column `name`")
    );
    assert!(
        refused(|value| value["table"][0]["constraint"][0] = json!({"less": ["opened", "x"]}))
            .contains("names `x`")
    );
    assert!(
        refused(|value| value["table"][0]["name"] = "../x".into())
            .contains("becomes that of a file")
    );
    assert!(refused(|value| value["table"][1]["rows"] = 0.into()).contains("`rows` is 0"));
    assert!(
        refused(|value| value["table"][1]["column"][2]["weights"] = json!([1]))
            .contains("1 `weights` of 2 `labels`")
    );
    assert!(refused(|value| value["schema"] = 2.into()).contains("version 2"));
    assert!(
        refused(|value| value["table"][1]["column"][1]["missing"] = 1.5.into())
            .contains("`missing` is 1.5")
    );
    assert!(
        serde_json::from_value::<Schema>(json!({"schema": 1, "table": [], "more": 1})).is_err()
    );
    let unknown = json!({"type": "number", "name": "x", "low": 0, "high": 1, "digits": 2});
    assert!(serde_json::from_value::<super::ColumnSchema>(unknown).is_err());
}
