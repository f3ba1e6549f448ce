//! Tables that are hardly any, through every generator and every score.

use super::generators::Model;
use super::privacy::Budget;
use super::privacy::mechanism::{MECHANISMS, Mechanism};
use super::progress::Progress;
use super::quality::figures::FIGURES;
use super::quality::report::report;
use super::table::{Column, Table, Values, categories, schema};
use super::workload::{GENERATORS, Noise, Privacy, fit, fit_declared};

fn numbers(values: Vec<f64>, decimals: Option<u8>) -> Values {
    Values::Number { values, decimals }
}

fn texts(texts: impl Iterator<Item = String>) -> Values {
    categories(texts)
}

/// Texts that all differ, as a file has them.
fn ids(rows: u32) -> Values {
    schema::learn((0..rows).map(|row| format!("k{row}")).collect())
}

fn table(columns: Vec<Values>) -> Table {
    let columns = columns
        .into_iter()
        .enumerate()
        .map(|(place, values)| Column {
            name: format!("c{place}"),
            values,
        });
    Table::new(columns.collect()).unwrap()
}

/// What each is called, and the table.
fn odd() -> Vec<(&'static str, Table)> {
    let some = |rows: u32| numbers((0..rows).map(f64::from).collect(), Some(0));
    let labels = |rows: u32, of: u32| texts((0..rows).map(|row| format!("l{}", row % of)));
    vec![
        ("one row", table(vec![some(1), labels(1, 1)])),
        ("two rows", table(vec![some(2), labels(2, 2)])),
        ("one column of numbers", table(vec![some(60)])),
        ("one column of labels", table(vec![labels(60, 3)])),
        (
            "constant columns",
            table(vec![
                numbers(vec![7.0; 60], Some(0)),
                labels(60, 1),
                some(60),
            ]),
        ),
        (
            "nothing but constants",
            table(vec![numbers(vec![7.0; 60], None), labels(60, 1)]),
        ),
        (
            "columns without a value",
            table(vec![
                numbers(vec![f64::NAN; 60], Some(0)),
                texts((0..60).map(|_| String::new())),
                Values::Key {
                    values: vec![None; 60],
                },
                some(60),
            ]),
        ),
        ("keys alone", table(vec![ids(60)])),
        (
            "as many labels as one may have, twice",
            table(vec![labels(20_000, 10_000), labels(20_000, 9_999)]),
        ),
        ("the same column twice", table(vec![some(60), some(60)])),
        (
            "the largest numbers",
            table(vec![
                numbers(
                    (0..60).map(|row| [1e300, -1e300, 0.0][row % 3]).collect(),
                    None,
                ),
                some(60),
            ]),
        ),
        (
            "the least numbers",
            table(vec![
                numbers(
                    (0..60)
                        .map(|row| f64::from(row) * f64::MIN_POSITIVE)
                        .collect(),
                    None,
                ),
                some(60),
            ]),
        ),
    ]
}

/// Numbers lie where those that were learned do, labels are such as were learned.
fn expect_like(name: &str, real: &Table, made: &Table) {
    for (real, made) in real.columns.iter().zip(&made.columns) {
        match (&real.values, &made.values) {
            (Values::Number { values: real, .. }, Values::Number { values: made, .. }) => {
                let present = || real.iter().copied().filter(|x| !x.is_nan());
                let low = present().fold(f64::INFINITY, f64::min);
                let high = present().fold(f64::NEG_INFINITY, f64::max);
                let is_within = |x: &f64| x.is_nan() || (low..=high).contains(x);
                assert!(made.iter().all(is_within), "{name}: {made:?}");
            }
            (Values::Category { labels: real, .. }, Values::Category { labels: made, .. }) => {
                assert!(made.iter().all(|label| real.contains(label)), "{name}");
            }
            (Values::Key { .. }, Values::Key { .. }) => {}
            (real, made) => panic!("{name}: {} became {}", real.kind(), made.kind()),
        }
    }
}

/// Every generator, and what is private both with noise that drowns such tables and with hardly any.
fn fits() -> Vec<(&'static str, Option<Mechanism>, f64)> {
    let open = GENERATORS.map(|generator| (generator, None, 0.9));
    let by_name = |name| Mechanism::of_name(name).unwrap();
    let private = MECHANISMS.map(|name| ("independent", Some(by_name(name)), 0.9));
    let exact = [
        ("mst", None, 1e4),
        ("independent", Some(Mechanism::Laplace), 1e4),
        ("independent", Some(Mechanism::AnalyticGaussian), 1e4),
    ];
    [&open[..], &private, &exact].concat()
}

#[test]
fn odd_tables_are_learned_made_and_scored_without_a_number_that_is_none() {
    for (what, real) in odd() {
        for (generator, mechanism, epsilon) in fits() {
            let name = format!("{what}, {generator}, {mechanism:?}, epsilon {epsilon}");
            let privacy = Privacy {
                budget: Budget::new(epsilon, 1e-9).unwrap(),
                mechanism,
                noise: Noise::Seeded(1),
            };
            let progress = Progress::default();
            let model = fit_declared(generator, &real, &[], &privacy, &progress).unwrap();
            let kept = serde_json::to_string(&model).unwrap();
            let back: Model = serde_json::from_str(&kept).unwrap_or_else(|error| {
                panic!("{name}: {error}");
            });
            back.check()
                .unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
            assert_eq!(back, model, "{name}");
            let made = model.rows(3, 0, 40);
            assert_eq!(made.rows(), 40, "{name}");
            expect_like(&name, &real, &made);
            let report = report(&real, None, &made, 1).unwrap();
            for figure in &FIGURES {
                for value in figure.values(&report).into_iter().flatten() {
                    assert!(
                        (0.0..1e9).contains(&value),
                        "{name}: {} {value}",
                        figure.name
                    );
                }
            }
        }
    }
}

#[test]
fn keys_are_scored_as_keys_however_short_a_table_is() {
    let with_ids = |rows: u32| {
        let values = (0..rows).map(|row| f64::from(row % 7)).collect();
        table(vec![ids(rows), numbers(values, Some(0))])
    };
    for (real, held_out, made) in [(300, 8, 40), (300, 40, 8), (8, 8, 300)] {
        let held_out = with_ids(held_out);
        let report = report(&with_ids(real), Some(&held_out), &with_ids(made), 1).unwrap();
        assert_eq!(report.columns[0].shape, None, "{real} {made}");
        assert!(report.columns[1].shape.is_some(), "{real} {made}");
    }
}

#[test]
fn texts_that_all_differ_are_given_out_by_no_generator() {
    let values = (0..40).map(|row| f64::from(row % 7)).collect();
    let real = table(vec![ids(40), numbers(values, Some(0))]);
    for generator in GENERATORS {
        let model = fit(generator, &real, None, Noise::Seeded(1)).unwrap();
        let kept = serde_json::to_string(&model).unwrap();
        assert!(!kept.contains("\"k7\""), "{generator}: {kept}");
        let made = model.rows(1, 0, 100);
        let ids = (0..100).map(|row| made.columns[0].values.text(row));
        let mut ids = ids.filter(|id| !id.is_empty());
        assert!(ids.all(|id| id.starts_with("key-")), "{generator}");
    }
}

#[test]
fn tables_without_rows_are_refused_by_every_generator_and_by_scores() {
    let some = table(vec![numbers(vec![1.0, 2.0], Some(0))]);
    let none = some.select(&[]);
    for generator in GENERATORS {
        let error = fit(generator, &none, None, Noise::Seeded(1)).unwrap_err();
        assert!(
            error.to_string().contains("no rows"),
            "{generator}: {error}"
        );
    }
    // Keys too, which a table without rows does not hold.
    let keys = table(vec![ids(60)]);
    let empty = table(vec![schema::learn(vec![])]);
    for (real, held_out, made, which) in [
        (&none, None, &some, "real"),
        (&some, None, &none, "synthetic"),
        (&some, Some(&none), &some, "held-out"),
        (&keys, None, &empty, "synthetic"),
    ] {
        let error = report(real, held_out, made, 1).unwrap_err().to_string();
        let words = format!("the {which} table has no rows");
        assert!(error.contains(&words), "{error}");
    }
    // Nor is there anything to be learned of no column at all.
    let nothing = Table::new(vec![]).unwrap();
    for generator in GENERATORS {
        assert!(
            fit(generator, &nothing, None, Noise::Seeded(1)).is_err(),
            "{generator}"
        );
    }
}

#[test]
fn budgets_that_are_none_are_refused_before_anything_is_measured() {
    for (epsilon, delta, name) in [
        (0.0, 1e-6, "epsilon"),
        (-1.0, 1e-6, "epsilon"),
        (1.0, 0.0, "delta"),
        (1.0, 1.0, "delta"),
        // So small that noise of its size has no sampler.
        (1e-12, 1e-9, "noise"),
    ] {
        let real = table(vec![numbers(vec![1.0; 9], Some(0))]);
        let error = match Budget::new(epsilon, delta) {
            Err(error) => error.to_string(),
            Ok(budget) => fit("mst", &real, Some(budget), Noise::Seeded(1))
                .unwrap_err()
                .to_string(),
        };
        assert!(error.contains(name), "{epsilon} {delta}: {error}");
    }
}

#[test]
fn numbers_that_are_written_as_text_are_numbers_and_what_only_looks_so_is_not() {
    let learn =
        |texts: &[&str]| schema::learn(texts.iter().map(|text| (*text).to_owned()).collect());
    assert_eq!(learn(&["1", "2.5", "-3e2"]).kind(), "numbers");
    for words in [
        ["1,000", "2", "3"],
        ["$5", "6", "7"],
        ["1 2", "3", "4"],
        ["0x1F", "1", "2"],
    ] {
        assert_eq!(learn(&words).kind(), "categories", "{words:?}");
    }
}
