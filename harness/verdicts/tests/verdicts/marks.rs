//! Marks: what a file may say, and what that does to verdicts.

use assay_record::Day;
use assay_store::synthetic::Recipe;
use assay_verdicts::{Mark, MarkKind, Marks, Verdict};

use crate::summaries::store;

const GOOD: &str = r#"
schema = 1

[[mark]]
kind = "acknowledge"
case = "memory/triad*"
metric = "time"
at = "A1b2c3d"
reason = "the new allocator"

[[mark]]
kind = "expected"
case = "dense/gemm@cpu"
at = "20261120-224213-739da9b7"
reason = "twice the work"

[[mark]]
kind = "ignore"
case = "*"
until = 2026-12-31
reason = "the fan is broken"
"#;

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn marks(text: &str) -> Marks {
    Marks::parse(text).unwrap()
}

fn one(lines: &str) -> Marks {
    marks(&format!(
        "schema = 1\n[[mark]]\nreason = \"because\"\n{lines}"
    ))
}

#[test]
fn marks_hold_for_their_cases_metrics_and_days() {
    let marks = marks(GOOD);
    let reasons = |case: &str, metric: &str, today: &str| {
        let found = marks.for_case(case, metric, day(today)).0;
        found
            .iter()
            .map(|mark| mark.reason.clone())
            .collect::<Vec<_>>()
    };
    let (allocator, work, fan) = ("the new allocator", "twice the work", "the fan is broken");
    assert_eq!(
        reasons("memory/triad[n=1]@cpu", "time", "2026-12-31"),
        [allocator, fan]
    );
    assert_eq!(
        reasons("memory/triad[n=1]@cpu", "loss", "2027-01-01"),
        [""; 0]
    );
    assert_eq!(reasons("dense/gemm@cpu", "loss", "2027-01-01"), [work]);
    assert_eq!(reasons("dense/gemm@cpu2", "time", "2026-01-01"), [fan]);
}

#[test]
fn marks_are_values_that_come_back_from_json() {
    let marks = marks(GOOD);
    for mark in marks
        .for_case("memory/triad@cpu", "time", day("2026-12-01"))
        .0
    {
        let json = serde_json::to_string(mark).unwrap();
        assert_eq!(
            *mark,
            serde_json::from_str::<Mark>(&json).unwrap(),
            "{json}"
        );
    }
    let found = marks
        .for_case("memory/triad@cpu", "time", day("2026-12-01"))
        .0;
    assert_eq!(
        found[0].kind,
        MarkKind::Acknowledge {
            at: "a1b2c3d".into()
        }
    );
}

#[test]
fn marks_that_are_wrong_are_refused_with_entry_and_field() {
    let wrong = |text: &str, words: &[&str]| {
        let said = Marks::parse(text).unwrap_err().to_string();
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    };
    wrong("", &["schema"]);
    wrong("schema = ", &["line 1"]);
    wrong(
        &GOOD.replace("schema = 1", "schema = 2\nnew = 1"),
        &["field `schema`", "expected 1, found 2", "newer"],
    );
    wrong(
        &GOOD.replace("schema = 1", "schema = 0"),
        &["field `schema`", "found 0"],
    );
    wrong(
        &GOOD.replace("metric =", "metrik ="),
        &["line 7", "`metrik`"],
    );
    wrong(
        &GOOD.replace("schema = 1", "schema = 1\ncolour = 1"),
        &["`colour`"],
    );
    wrong(
        &GOOD.replace("\"expected\"", "\"expect\""),
        &["line 12", "`expect`", "`expected`"],
    );
    wrong(
        &GOOD.replace("reason = \"twice the work\"", ""),
        &["line 11", "`reason`"],
    );
    wrong(
        &GOOD.replace("\"twice the work\"", "\" \""),
        &["mark 2", "field `reason` is empty"],
    );
    wrong(
        &GOOD.replace("\"*\"", "\"\""),
        &["mark 3", "field `case` is empty"],
    );
    for (at, words) in [
        ("a1b2c3", "7 or more"),
        ("main", "id of a run"),
        ("20261120-224213", "id of a run"),
    ] {
        wrong(
            &GOOD.replace("A1b2c3d", at),
            &["mark 1", "field `at`", words],
        );
    }
    wrong(
        &GOOD.replace("at = \"A1b2c3d\"", ""),
        &["mark 1", "field `at` is missing"],
    );
    wrong(
        &GOOD.replace("until =", "at = \"a1b2c3d\"\nuntil ="),
        &["mark 3", "field `at` goes with"],
    );
    wrong(
        &GOOD.replace("until = 2026-12-31", ""),
        &["mark 3", "field `until` is missing"],
    );
    wrong(
        &GOOD.replace(
            "at = \"A1b2c3d\"",
            "at = \"a1b2c3d\"\nuntil = \"2026-01-01\"",
        ),
        &["mark 1", "field `until` goes with"],
    );
    for until in [
        "\"soon\"",
        "\"2026-02-30\"",
        "\"2026-2-3\"",
        "2026-12-31T00:00:00",
        "7",
    ] {
        wrong(
            &GOOD.replace("2026-12-31", until),
            &["mark 3", "field `until`", "expected a day such as"],
        );
    }
}

#[test]
fn marks_that_fit_nothing_or_have_expired_are_named() {
    let recipe = Recipe::default();
    let (store, _folder) = store(&[recipe.record()]);
    let (keys, runs) = (store.series_keys().unwrap(), store.runs().unwrap());
    let complaints = |lines: &str| one(lines).complaints(&keys, &runs, day("2026-06-01"));
    let at = format!("at = \"{}\"", &recipe.commit()[..7]);
    let case = "case = \"made-up[n=0]@cpu\"\nkind = \"acknowledge\"";
    for (lines, words) in [
        (
            format!("{case}\n{at}\nmetric = \"los\""),
            "no metric `los`; it has loss, peak_memory, time",
        ),
        (
            format!("{case}\nat = \"abcdef0\""),
            "no run is at `abcdef0`",
        ),
        (
            format!("{}\n{at}", case.replace("made-up", "made*up")),
            "no such case",
        ),
        (
            "case = \"*\"\nkind = \"ignore\"\nuntil = \"2026-05-31\"".into(),
            "expired on 2026-05-31",
        ),
    ] {
        let said = complaints(&lines);
        assert_eq!(said.len(), 1, "{lines}: {said:?}");
        assert!(
            said[0].starts_with("mark 1 (`") && said[0].contains(words),
            "{said:?}"
        );
    }
    for good in [
        format!("{case}\n{at}\nmetric = \"loss\""),
        format!("{case}\nat = \"{}\"", recipe.run()),
        "case = \"made-up*\"\nkind = \"ignore\"\nuntil = \"2026-06-01\"".into(),
    ] {
        assert_eq!(complaints(&good), [""; 0], "{good}");
    }
}

#[test]
fn marks_excuse_known_regressions_and_start_baselines() {
    let nights: Vec<Recipe> = (0..8)
        .map(|night| Recipe {
            night,
            ..Recipe::default()
        })
        .collect();
    let records: Vec<_> = nights.iter().map(Recipe::record).collect();
    let (store, _folder) = store(&records);
    let runs = store.runs().unwrap();
    let at = |kind: &str, night: usize| {
        let commit = nights[night].commit();
        one(&format!(
            "kind = \"{kind}\"\ncase = \"*\"\nat = \"{commit}\""
        ))
    };
    let today = day("2026-06-01");
    let known = at("acknowledge", 3);
    let known = known.for_case("any", "time", today);
    assert_eq!(
        known.excuse(Verdict::Regressed, &runs).unwrap().reason,
        "because"
    );
    assert!(known.excuse(Verdict::Regressed, &runs[2..]).is_some());
    // A baseline of runs that all have the change: what is worse than they is news.
    assert!(known.excuse(Verdict::Regressed, &runs[3..]).is_none());
    // Before it came there was nothing to know.
    assert!(known.excuse(Verdict::Regressed, &runs[..3]).is_none());
    for verdict in [Verdict::Improved, Verdict::Unchanged, Verdict::Inconclusive] {
        assert!(known.excuse(verdict, &runs).is_none());
    }
    assert_eq!(known.baseline(&runs).len(), 8);

    let expected = at("expected", 5);
    let expected = expected.for_case("any", "time", today);
    assert_eq!(expected.baseline(&runs), &runs[5..]);
    assert!(expected.excuse(Verdict::Regressed, &runs).is_none());

    let ignored = one("kind = \"ignore\"\ncase = \"*\"\nuntil = \"2026-06-01\"");
    let in_force = ignored.for_case("any", "time", today);
    let excuse = in_force.excuse(Verdict::Regressed, &runs[..2]).unwrap();
    assert_eq!(excuse.to_string(), "ignored until 2026-06-01: because");
    let later = ignored.for_case("any", "time", day("2026-06-02"));
    assert!(later.excuse(Verdict::Regressed, &runs).is_none());
}
