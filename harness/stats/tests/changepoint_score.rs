//! The scoring of labelled series: hand-computed answers, and clear words for bad files.

#[path = "../examples/changepoint_score/score.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod score;
#[path = "../examples/changepoint_score/series.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod series;

use score::{Score, mean, score};
use series::{parse, read_folder};

fn close(found: Option<Score>, f1: f64, cover: f64) {
    let found = found.unwrap();
    let error = (found.f1 - f1).abs().max((found.cover - cover).abs());
    assert!(error < 1e-12, "{found:?} is not {f1} {cover}");
}

#[test]
fn perfect_and_silent() {
    close(score(&[vec![50]], &[50], 100), 1.0, 1.0);
    close(score(&[vec![]], &[], 100), 1.0, 1.0);
    // Precision 1 of 1, recall 1 of 2; each half overlaps the whole by half.
    close(score(&[vec![50]], &[], 100), 2.0 / 3.0, 0.5);
}

#[test]
fn within_the_margin_counts_fully_for_f1_but_not_for_cover() {
    // Segments 0..50 and 50..100 against 0..55 and 55..100: Jaccard 50/55 and 45/50.
    close(
        score(&[vec![50]], &[55], 100),
        1.0,
        f64::midpoint(50.0 / 55.0, 45.0 / 50.0),
    );
    // One further: precision and recall 1 of 2; Jaccard 50/56 and 44/50.
    close(
        score(&[vec![50]], &[56], 100),
        0.5,
        f64::midpoint(50.0 / 56.0, 44.0 / 50.0),
    );
}

#[test]
fn a_point_matches_once() {
    // Two detected near one label: precision 2 of 3, recall 2 of 2.
    let found = score(&[vec![50]], &[49, 51], 100).unwrap();
    assert!((found.f1 - 0.8).abs() < 1e-12);
    // Two labels near one detected: precision 2 of 2, recall 2 of 3.
    let found = score(&[vec![49, 51]], &[50], 100).unwrap();
    assert!((found.f1 - 0.8).abs() < 1e-12);
}

#[test]
fn annotators_join_for_precision_and_average_for_recall() {
    // Detected 0 and 20: both in the union. Recall 1/1, 2/2 and 1/2: 5/6. F1 = 2 (5/6) / (11/6) = 10/11.
    // Cover: first 0..40 best 20/40 = 1/2; second 1; third 0..30 best 20/30, 30..40 best 10/20, weighted 20 + 5 of 40.
    close(
        score(&[vec![], vec![20], vec![30]], &[20], 40),
        10.0 / 11.0,
        (0.5 + 1.0 + 25.0 / 40.0) / 3.0,
    );
}

#[test]
fn order_repetition_and_index_zero_change_nothing() {
    let plain = score(&[vec![10, 70]], &[12, 60], 100);
    assert_eq!(plain, score(&[vec![70, 0, 10, 10]], &[60, 12, 0, 60], 100));
}

#[test]
fn nobody_asked_is_no_score() {
    assert_eq!(score(&[], &[3], 100), None);
    assert_eq!(mean(&[]), None);
    let (one, other) = (
        Score {
            f1: 0.5,
            cover: 1.0,
        },
        Score {
            f1: 1.0,
            cover: 0.5,
        },
    );
    close(mean(&[one, other]), 0.75, 0.75);
}

#[test]
fn a_good_file_is_read() {
    let text =
        r#"{"name":"x","source":"y","values":[1,2.5,-3e2],"annotations":{"6":[1,2],"7":[]}}"#;
    let found = parse("file", text).unwrap();
    assert_eq!(found.name, "file");
    assert_eq!(found.values, [1.0, 2.5, -300.0]);
    assert_eq!(found.annotators, [vec![1, 2], vec![]]);
}

#[test]
fn a_bad_file_is_refused_by_its_field() {
    for (text, said) in [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        (
            r#"{"values":[1],"annotations":{},"extra":1}"#,
            "unknown field `extra`",
        ),
        (
            r#"{"name":3,"values":[1],"annotations":{}}"#,
            "`name` must be a text",
        ),
        (r#"{"annotations":{}}"#, "`values` must be there"),
        (r#"{"values":[],"annotations":{}}"#, "`values` is empty"),
        (
            r#"{"values":[1,null],"annotations":{}}"#,
            "`values`[1] must be a finite number, is null",
        ),
        (r#"{"values":[1,NaN],"annotations":{}}"#, "not JSON"),
        (r#"{"values":[1,"2"],"annotations":{}}"#, "`values`[1]"),
        (r#"{"values":[1]}"#, "`annotations` must be there"),
        (
            r#"{"values":[1],"annotations":{"6":1}}"#,
            "`annotations`.`6` must be a list",
        ),
        (
            r#"{"values":[1],"annotations":{"6":[1]}}"#,
            "`annotations`.`6`: 1 is no index into 1 values",
        ),
        (
            r#"{"values":[1],"annotations":{"6":[-1]}}"#,
            "-1 is no index",
        ),
        (
            r#"{"values":[1],"annotations":{"6":[0.5]}}"#,
            "0.5 is no index",
        ),
    ] {
        let error = parse("file", text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_missing_or_empty_folder_is_named() {
    let missing = std::env::temp_dir().join("assay-no-such-folder");
    let error = read_folder(&missing).unwrap_err();
    assert!(error.contains("assay-no-such-folder"), "{error}");
    let error = read_folder(std::path::Path::new("src")).unwrap_err();
    assert!(error.contains("no *.json"), "{error}");
}
