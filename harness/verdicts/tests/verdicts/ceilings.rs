//! Ceilings from made-up runs, and results beside them.

use assay_protocol::{ArithmeticUnit, Bound, MemoryLevel, Prepared};
use assay_record::{Purpose, Record};
use assay_store::synthetic::Recipe;
use assay_verdicts::ceilings::{Ceilings, Limit};
use assay_verdicts::{CaseState, RunSummary};

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
