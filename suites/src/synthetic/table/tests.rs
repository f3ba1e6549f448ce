//! Tables as they are put together, aligned and written.

use super::{Column, Table, Values, categories, number_text};

fn column(name: &str, values: Values) -> Column {
    Column {
        name: name.into(),
        values,
    }
}

fn texts(texts: &[&str]) -> Values {
    categories(texts.iter().map(|text| (*text).to_owned()))
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let error = Table::new(vec![column("a", texts(&["x"])), column("b", texts(&[]))]);
    assert!(error.unwrap_err().to_string().contains("`b` has 0 rows"));
    let error = Table::new(vec![column("a", texts(&["x"])), column("a", texts(&["y"]))]);
    assert!(error.unwrap_err().to_string().contains("columns 1 and 2"));
}

#[test]
fn pairs_of_columns_that_memory_does_not_hold_are_refused_in_words() {
    assert!(super::ensure_pairs_fit(10, 1000).is_ok());
    let error = super::ensure_pairs_fit(1_000_000, 1 << 60).unwrap_err();
    let words = error.to_string();
    for part in ["not enough memory", "1000000 columns", "`independent`"] {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn bytes_are_those_of_the_file() {
    let table = super::census::rows(1, 0, 50);
    let mut written = Vec::new();
    super::csv::write_to(&mut written, &table).unwrap();
    assert_eq!(table.csv_bytes(), written.len() as u64);
}

#[test]
fn categories_are_aligned_by_their_text() {
    let ours = Table::new(vec![column("c", texts(&["x", "y", ""]))]).unwrap();
    let theirs = Table::new(vec![column("c", texts(&["y", "z", "", "x"]))]).unwrap();
    let aligned = ours.align(&theirs).unwrap();
    let Values::Category { codes, labels } = &aligned.columns[0].values else {
        panic!("categories")
    };
    assert_eq!(codes, &[1, 2, super::MISSING, 0]);
    assert_eq!(labels.as_slice(), ["x", "y", "z"]);
    let numbers = Values::Number {
        values: vec![1.0],
        decimals: Some(0),
    };
    let numbers = Table::new(vec![column("c", numbers)]).unwrap();
    assert!(
        numbers
            .align(&ours)
            .unwrap_err()
            .to_string()
            .contains("numbers")
    );
}

#[test]
fn a_key_is_one_in_a_table_too_short_to_show_it() {
    let ids = |rows: u32| {
        let ids = (0..rows).map(|row| format!("id {row}"));
        Table::new(vec![column("id", super::schema::learn(ids.collect()))]).unwrap()
    };
    let (long, short) = (ids(300), ids(5));
    assert_eq!(short.columns[0].values.kind(), "categories");
    let aligned = long.align(&short).unwrap();
    assert_eq!(aligned, long.select(&[0, 1, 2, 3, 4]));
    // The other way about, and only where nothing occurs twice.
    assert_eq!(*short.with_keys_of(&long), aligned);
    assert_eq!(*short.with_keys_of(&short), short);
    let repeated = short.select(&[0, 0, 1]);
    assert_eq!(*repeated.with_keys_of(&long), repeated);
}

#[test]
fn numbers_have_their_columns_digits() {
    assert_eq!(number_text(2.5, Some(2)), "2.50");
    assert_eq!(number_text(-0.001, Some(2)), "0.00");
    assert_eq!(number_text(-1.0, Some(0)), "-1");
    assert_eq!(number_text(0.1, None), "0.1");
    assert_eq!(number_text(f64::NAN, Some(1)), "");
}
