//! Summaries and series, from records to values.

use std::path::Path;
use std::time::Duration;

use assay_protocol::Metric;
use assay_record::{BlockStatus, Record};
use assay_store::synthetic::{Recipe, TRUE_TIME_NS};
use assay_store::{Access, Patience, Store};
use assay_verdicts::{CaseState, RunSummary, Series};

/// A store of some records, in a folder that goes away with it.
pub fn store(records: &[Record]) -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("assay.duckdb");
    let mut patience = Patience::silent(Duration::from_secs(5));
    let mut store = Store::open(&path, Access::Write, &mut patience).unwrap();
    for record in records {
        store
            .ingest_record(record, Path::new("/made/up.jsonl"))
            .unwrap();
    }
    (store, folder)
}

#[test]
fn verdicts_summary_of_a_good_run() {
    let recipe = Recipe {
        rounds: 6,
        ..Recipe::default()
    };
    let (store, _folder) = store(&[recipe.record()]);
    let summary = RunSummary::of(&store, &recipe.run()).unwrap();
    assert_eq!(summary.cases.len(), 3);
    assert_eq!(summary.events.len(), 1);
    for case in &summary.cases {
        assert_eq!(case.state, CaseState::Ok);
        let time = &case.metrics[0];
        assert_eq!(
            (time.metric.name.as_str(), time.rounds.len()),
            (Metric::TIME, 6)
        );
        let estimate = time.estimate.unwrap();
        assert!(
            (estimate.estimate / TRUE_TIME_NS - 1.0).abs() < 0.01,
            "{estimate:?}"
        );
        let units: Vec<&str> = time.rates.iter().map(|(unit, _)| unit.as_str()).collect();
        assert_eq!(units, ["B/s", "FLOP/s"]);
        assert!((time.rates[0].1.estimate / 3e9 - 1.0).abs() < 0.01);
    }
    assert_eq!(summary.cases[0].metrics.len(), 3);
    assert!(summary.cases[0].metrics[1].rates.is_empty());
}

#[test]
fn verdicts_states_of_cases() {
    let recipe = Recipe {
        cases: 6,
        rounds: 2,
        ..Recipe::default()
    };
    let mut record = recipe.record();
    let mut set = |block: usize, status: BlockStatus| record.blocks[block].status = status;
    set(0, BlockStatus::Wrong("off by one".into()));
    for block in [1, 7] {
        set(block, BlockStatus::Skipped("no GPU".into()));
    }
    set(2, BlockStatus::Failed("crash".into()));
    set(3, BlockStatus::Failed("crash".into()));
    let mut again = record.blocks[3].clone();
    (again.attempt, again.status) = (1, BlockStatus::Ok);
    record.blocks.push(again);
    record
        .blocks
        .retain(|block| block.case != recipe.case_ids()[5]);
    let (store, _folder) = store(&[record]);
    let summary = RunSummary::of(&store, &recipe.run()).unwrap();
    let states: Vec<&CaseState> = summary.cases.iter().map(|case| &case.state).collect();
    assert_eq!(*states[0], CaseState::Wrong("off by one".into()));
    assert_eq!(*states[1], CaseState::Skipped("no GPU".into()));
    assert_eq!(*states[2], CaseState::Failed("crash".into()));
    assert_eq!([states[3], states[4]], [&CaseState::Ok, &CaseState::Ok]);
    assert!(matches!(states[5], CaseState::Skipped(why) if why.contains("ended before")));
    // The wrong round has no part in the estimate, and one round alone no confidence.
    assert_eq!(summary.cases[0].metrics[0].rounds.len(), 1);
    assert!(summary.cases[1].metrics[0].estimate.is_none());
}

#[test]
fn verdicts_series_carry_what_changed_on_the_machine() {
    let records: Vec<Record> = (0..4)
        .map(|night| {
            let kernel = if night < 2 { "6.1.0" } else { "6.2.0" };
            Recipe {
                night,
                kernel: kernel.into(),
                ..Recipe::default()
            }
            .record()
        })
        .collect();
    let (store, _folder) = store(&records);
    let all = Series::all(&store).unwrap();
    assert_eq!(all.len(), 5);
    for series in &all {
        let changes: Vec<usize> = series
            .points
            .iter()
            .map(|point| point.changes.len())
            .collect();
        assert_eq!(changes, [0, 0, 1, 0]);
        let change = &series.points[2].changes[0];
        assert_eq!(change.field, "software.kernel.release");
        assert_eq!(
            (change.before.as_str(), change.after.as_str()),
            ("6.1.0", "6.2.0")
        );
        assert_eq!(series.points[3].rounds, 4);
    }
    let case = &Recipe::default().case_ids()[1];
    let of_case = Series::of_case(&store, case).unwrap();
    assert_eq!(of_case.len(), 1);
    assert!(all.contains(&of_case[0]));
    assert_eq!(of_case[0].rates(&of_case[0].points[0]).len(), 2);
}
