//! Ceilings from made-up runs, and results beside them.

use assay_protocol::{ArithmeticUnit, Bound, MemoryLevel, Metric, Prepared};
use assay_record::{Purpose, Record};
use assay_store::synthetic::Recipe;
use assay_verdicts::ceilings::{Ceilings, Limit};
use assay_verdicts::comparison::{Loaded, Options, Question};
use assay_verdicts::gate::State;
use assay_verdicts::{
    CaseState, Comparison, Gate, History, Point, RunSummary, RunView, Series, TroubleKind,
};

use crate::summaries::store;

/// What every made-up case says of itself.
fn edit(record: &mut Record, change: impl Fn(&mut Prepared)) {
    let prepared = record
        .blocks
        .iter_mut()
        .filter_map(|block| block.prepared.as_mut());
    prepared.for_each(change);
}

/// A run of a night, `slowdown` times as slow as the usual one.
fn night(night: u32, slowdown: f64) -> Record {
    let recipe = Recipe {
        night,
        slowdown,
        ..Recipe::default()
    };
    let mut record = recipe.record();
    edit(&mut record, |prepared| {
        prepared.bound = Bound {
            level: Some(MemoryLevel::Dram),
            unit: Some(ArithmeticUnit::F32),
        };
    });
    record
        .blocks
        .iter_mut()
        .for_each(|block| block.disturbed.clear());
    record
}

#[test]
fn verdicts_a_result_beyond_its_ceiling_is_impossible() {
    let mut ceilings = night(0, 1.0);
    ceilings.header.purpose = Purpose::Ceilings;
    let (store, _folder) = store(&[ceilings.clone(), night(1, 2.0), night(2, 0.25)]);
    let machine = ceilings.header.machine.name.clone();
    let found = Ceilings::of(&store, &machine).unwrap();
    assert_eq!(found.all.len(), 2, "one of each limit: {found:?}");
    assert!(Ceilings::of(&store, "another").unwrap().all.is_empty());
    let summary = |number: usize| {
        let run = store.runs().unwrap()[number].run.clone();
        RunSummary::of(&store, &run).unwrap()
    };
    let slow = &summary(1).cases[0];
    assert_eq!(slow.state, CaseState::Ok);
    let dram = slow
        .fractions
        .iter()
        .find(|fraction| fraction.limit == Limit::Level(MemoryLevel::Dram))
        .unwrap();
    assert!((0.3..0.7).contains(&dram.of_ceiling.estimate), "{dram:?}");
    let fast = &summary(2).cases[0];
    assert!(
        matches!(&fast.state, CaseState::Impossible(why) if why.contains("dram")),
        "{:?}",
        fast.state
    );
}

/// The last run against those before it, beside ceilings or without them.
fn gate(records: &[Record], has_ceilings: bool) -> Gate {
    let (store, _folder) = store(records);
    let views: Vec<RunView> = store
        .runs()
        .unwrap()
        .iter()
        .filter(|row| row.purpose.is_measurement())
        .map(|row| RunView::load(&store, &row.run).unwrap())
        .collect();
    let (tonight, before) = views.split_last().unwrap();
    let machine = tonight.run.machine.as_str();
    let mut options = Options::new(Question::Gate);
    if has_ceilings {
        options.ceilings = Ceilings::of_all(&store, [machine]).unwrap();
    }
    let comparison = Comparison::of(
        &Loaded {
            label: "window".into(),
            arm: "main".into(),
            runs: before.iter().collect(),
        },
        &Loaded {
            label: "tonight".into(),
            arm: "main".into(),
            runs: vec![tonight],
        },
        &History::default(),
        options,
    );
    Gate::new("last:20".into(), tonight.run.run.clone(), comparison)
}

/// Ceilings, then nights that reach half of them, of which every second and the last may be others.
fn nights(odd: f64, last: f64) -> Vec<Record> {
    let mut ceilings = night(0, 1.0);
    ceilings.header.purpose = Purpose::Ceilings;
    let usual = (1..13).map(|n| night(n, if n % 2 == 0 { odd } else { 2.0 }));
    let mut records: Vec<Record> = usual.collect();
    records.push(night(20, last));
    records.push(ceilings);
    records
}

#[test]
fn verdicts_a_gate_calls_the_impossible_by_its_name_and_never_an_improvement() {
    let records = nights(2.0, 0.25);
    let unaware = gate(&records, false).comparison.suite;
    assert!(unaware.counts.improved > 0 || unaware.common_shift.is_some());
    let found = gate(&records, true);
    assert_eq!((found.state, found.is_worse()), (State::Impossible, true));
    let counts = found.comparison.suite.counts;
    assert_eq!((counts.troubled, counts.improved), (0, 0));
    assert_eq!(counts.impossible, found.comparison.cases.len());
    assert!(found.suspects().is_empty(), "nobody runs it again");
    let trouble = found.comparison.cases[0].trouble.as_ref().unwrap();
    assert_eq!(trouble.kind, TroubleKind::Impossible);
    assert!(trouble.to_string().starts_with("impossible: "), "{trouble}");
    assert!(trouble.why.contains("dram"), "{trouble}");
}

#[test]
fn verdicts_impossible_nights_are_no_baseline() {
    let found = gate(&nights(0.25, 2.0), true);
    assert!(!found.is_worse(), "{:?}", found.comparison.suite);
    assert_eq!(found.comparison.suite.counts.impossible, 0);
    let with_it = gate(&nights(0.25, 2.0), false);
    let ratio = |gate: &Gate| gate.comparison.cases[0].ratio.unwrap().estimate;
    assert!((ratio(&found) - 1.0).abs() < 0.05, "{}", ratio(&found));
    assert!(ratio(&with_it) > 1.1, "{}", ratio(&with_it));
}

#[test]
fn verdicts_impossible_results_are_no_points_of_a_history() {
    let times = |records: &[Record]| {
        let (store, _folder) = store(records);
        let all = Series::all(&store).unwrap().into_iter();
        let mut times = all.filter(|series| series.key.metric == Metric::TIME);
        times.next().unwrap()
    };
    // Twelve nights and the last, of which the even ones are four times as fast as the ceiling.
    let found = times(&nights(0.25, 2.0));
    assert_eq!((found.points.len(), found.impossible.len()), (7, 6));
    for beyond in &found.impossible {
        assert!(beyond.why.contains("dram"), "{}", beyond.why);
        let is_less = |point: &Point| beyond.estimate.estimate < point.estimate.estimate / 2.0;
        assert!(found.points.iter().all(is_less));
    }
    let mut without = nights(0.25, 2.0);
    without.pop();
    let unaware = times(&without);
    assert_eq!((unaware.points.len(), unaware.impossible.len()), (13, 0));
    // What nobody measured possibly is a series all the same.
    let mut few = nights(0.25, 2.0);
    few.drain(2..few.len() - 1);
    few.remove(0);
    let none = times(&few);
    assert_eq!((none.points.len(), none.impossible.len()), (0, 1));
}

#[test]
fn verdicts_nothing_is_impossible_beside_a_disturbed_ceiling() {
    let mut ceilings = night(0, 1.0);
    ceilings.header.purpose = Purpose::Ceilings;
    ceilings
        .blocks
        .iter_mut()
        .for_each(|block| block.disturbed = vec!["others".into()]);
    let (store, _folder) = store(&[ceilings, night(2, 0.25)]);
    let run = store.runs().unwrap()[1].run.clone();
    assert_eq!(
        RunSummary::of(&store, &run).unwrap().cases[0].state,
        CaseState::Ok
    );
}
