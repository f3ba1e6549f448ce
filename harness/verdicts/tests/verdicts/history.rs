//! Histories of made-up machines: where they changed, and what is said of it.

use assay_protocol::Direction;
use assay_record::{Day, Record};
use assay_store::synthetic::{Recipe, TRUE_TIME_NS};
use assay_verdicts::{CaseHistory, Marks, Verdict};

use crate::summaries::store;

const NIGHTS: u32 = 40;
const CHANGE: u32 = 24;

fn night(night: u32, slowdown: f64) -> Recipe {
    Recipe {
        night,
        slowdown: if night < CHANGE { 1.0 } else { slowdown },
        kernel: if night < CHANGE { "6.1.0" } else { "6.2.0" }.into(),
        ..Recipe::default()
    }
}

fn today() -> Day {
    "2026-06-01".parse().unwrap()
}

/// Histories of the case without metrics of its own, of nights with a step.
fn histories(slowdown: f64, marks: &str) -> Vec<CaseHistory> {
    let records: Vec<Record> = (0..NIGHTS).map(|at| night(at, slowdown).record()).collect();
    let (store, _folder) = store(&records);
    let marks = Marks::parse(&format!("schema = 1\n{marks}")).unwrap();
    let case = &Recipe::default().case_ids()[1];
    CaseHistory::of_case(&store, case, &marks, today()).unwrap()
}

fn history(slowdown: f64, marks: &str) -> CaseHistory {
    let mut all = histories(slowdown, marks);
    assert_eq!(all.len(), 1);
    all.pop().unwrap()
}

#[test]
fn history_finds_a_step_in_both_directions_with_its_commits() {
    for (slowdown, verdict) in [(1.06, Verdict::Regressed), (0.94, Verdict::Improved)] {
        let history = history(slowdown, "");
        assert_eq!(
            history.changes.len(),
            1,
            "{slowdown}: {:#?}",
            history.changes
        );
        let change = &history.changes[0];
        assert_eq!(change.verdict, Some(verdict));
        let ratio = change.ratio.unwrap();
        assert!(
            (ratio.estimate / slowdown - 1.0).abs() < 0.01,
            "{change:#?}"
        );
        // Of a whole history the level is known far better than one run of it.
        assert!(ratio.low <= slowdown && slowdown <= ratio.high && ratio.high < 1.02 * ratio.low);
        assert!(
            (change.before.estimate / TRUE_TIME_NS - 1.0).abs() < 0.01,
            "{change:#?}"
        );
        assert_eq!(change.index, CHANGE as usize);
        let (before, after) = (&change.last_before, &change.first_after);
        assert!(before.index < change.index && change.index <= after.index);
        assert!(after.index - before.index <= 3, "{change:#?}");
        for spot in [before, after] {
            let recipe = night(spot.index as u32, slowdown);
            assert_eq!(
                (&spot.run, spot.commit.as_deref()),
                (&recipe.run(), Some(recipe.commit().as_str()))
            );
        }
        assert_eq!(change.machine.len(), 1);
        assert_eq!(change.machine[0].field, "software.kernel.release");
    }
}

#[test]
fn history_of_nothing_but_noise_has_no_change() {
    assert!(history(1.0, "").changes.is_empty());
}

#[test]
fn history_calls_nothing_that_is_too_small_to_matter() {
    let mut series = history(1.06, "").series;
    for point in &mut series.points {
        // Six percent become six in a thousand, and the noise with them.
        point.estimate.estimate = 900.0 + point.estimate.estimate / 10.0;
    }
    let history = CaseHistory::of(series, &Marks::default(), today());
    assert_eq!(history.changes.len(), 1);
    let ratio = history.changes[0].ratio.unwrap().estimate;
    assert!((1.004..1.008).contains(&ratio), "{ratio}");
    assert_eq!(history.changes[0].verdict, None);
}

#[test]
fn history_ties_a_mark_to_the_change_that_it_names() {
    let commit = night(CHANGE, 1.06).commit();
    let other = night(CHANGE - 9, 1.06).commit();
    let mark = |at: &str| {
        format!(
            "[[mark]]\nkind = \"expected\"\ncase = \"made-up*\"\nat = \"{at}\"\nreason = \"more work\"\n"
        )
    };
    let marked = history(1.06, &mark(&commit[..9]));
    assert_eq!(marked.marks.len(), 1);
    assert_eq!(marked.changes[0].mark, Some(marked.marks[0].clone()));
    let elsewhere = history(1.06, &mark(&other));
    assert_eq!(
        (elsewhere.marks.len(), &elsewhere.changes[0].mark),
        (1, &None)
    );
    let nowhere = history(1.06, &mark(&commit).replace("made-up", "real"));
    assert!(nowhere.marks.is_empty());
}

#[test]
fn history_judges_by_the_direction_of_the_metric() {
    let series = history(1.06, "").series;
    for (direction, verdict) in [
        (Direction::Higher, Some(Verdict::Improved)),
        (Direction::Lower, Some(Verdict::Regressed)),
        (Direction::Neutral, None),
    ] {
        let mut series = series.clone();
        series.metric.direction = direction;
        let history = CaseHistory::of(series, &Marks::default(), today());
        assert_eq!(history.changes[0].verdict, verdict);
    }
}

#[test]
fn history_takes_values_that_have_no_logarithm() {
    let mut series = history(1.06, "").series;
    for point in &mut series.points {
        point.estimate.estimate -= TRUE_TIME_NS * 1.03;
    }
    let history = CaseHistory::of(series, &Marks::default(), today());
    assert_eq!(history.changes.len(), 1);
    let change = &history.changes[0];
    assert_eq!(
        (change.ratio, change.verdict),
        (None, Some(Verdict::Regressed))
    );
    assert!(change.before.high < 0.0 && change.after.low > 0.0);
    let empty = CaseHistory::of(
        assay_verdicts::Series {
            points: Vec::new(),
            ..history.series
        },
        &Marks::default(),
        today(),
    );
    assert!(empty.changes.is_empty());
}

#[test]
fn history_leaves_out_what_is_no_night_of_its_own() {
    let recipes: Vec<Recipe> = (0..4).map(|at| night(at, 1.0)).collect();
    let mut records: Vec<Record> = recipes.iter().map(Recipe::record).collect();
    records[2].header.reproduces = Some(recipes[0].run());
    let (store, _folder) = store(&records);
    let all = CaseHistory::all(&store, &Marks::default(), today()).unwrap();
    assert_eq!(all.len(), 5);
    for history in &all {
        let runs: Vec<_> = history
            .series
            .points
            .iter()
            .map(|point| point.run.clone())
            .collect();
        assert_eq!(runs, [recipes[0].run(), recipes[1].run(), recipes[3].run()]);
    }
    // With nothing but reproductions there is no history.
    records.truncate(1);
    records[0].header.reproduces = Some(recipes[3].run());
    let (store, _folder) = crate::summaries::store(&records);
    assert!(
        CaseHistory::all(&store, &Marks::default(), today())
            .unwrap()
            .is_empty()
    );
}
