//! Which runs the newest night of a place is made of, and what is said of each.

use std::collections::BTreeSet;

use assay_record::{Record, RunId, Timestamp};
use assay_store::synthetic::Recipe;
use assay_store::{RunRow, Store};
use assay_verdicts::gate::State;
use assay_verdicts::nights::{NEWS_DAYS, Place, newest_start};
use assay_verdicts::{Gate, Nights, Share};

use crate::gate::judged;
use crate::summaries::store;

const CASES: u32 = 6;

/// A run of all cases.
fn whole(night: u32) -> Recipe {
    Recipe {
        night,
        seed: u64::from(night) + 1,
        rounds: 6,
        cases: CASES,
        ..Recipe::default()
    }
}

/// A run of so many cases from one on.
fn part(night: u32, first: u32, cases: u32) -> Recipe {
    Recipe {
        first,
        cases,
        ..whole(night)
    }
}

fn place(arm: &str) -> Place {
    Place {
        suite: "synthetic".into(),
        machine: "bench-1".into(),
        arm: arm.into(),
    }
}

/// The runs of the newest night of `main`, each with how many cases it stands for; 0 where it is the whole night.
fn newest(recipes: &[Recipe]) -> Vec<(RunId, usize)> {
    let records: Vec<Record> = recipes.iter().map(Recipe::record).collect();
    let (store, _folder) = store(&records);
    parts(&store, "main")
}

fn newest_of(runs: &[RunRow]) -> Option<Timestamp> {
    runs.iter().map(|row| row.started).max()
}

#[test]
fn a_run_of_a_time_to_come_makes_no_other_old() {
    let records: Vec<Record> = [1, 2, 400].map(|night| whole(night).record()).into();
    let (store, _folder) = store(&records);
    let runs = store.runs().unwrap();
    let started = |at: usize| Some(runs[at].started);
    assert_eq!(newest_start(&runs, runs[1].started), started(1));
    assert_eq!(newest_start(&runs, runs[2].started), started(2));
    // Where no time is right, none is wrong.
    let long_ago = Timestamp::from_unix_ns(0).unwrap();
    assert_eq!(newest_start(&runs, long_ago), started(2));
    assert_eq!(newest_start(&[], long_ago), None);
}

fn parts(store: &Store, arm: &str) -> Vec<(RunId, usize)> {
    let runs = store.runs().unwrap();
    let nights = Nights::among(store, &runs, newest_of(&runs)).unwrap();
    let parts = nights.newest(store, &place(arm)).unwrap().into_iter();
    let size = |share: Option<Share>| share.map_or(0, |share| share.cases.len());
    parts
        .map(|part| (part.run.run.clone(), size(part.share)))
        .collect()
}

#[test]
fn verdicts_a_filtered_run_leaves_the_rest_of_the_night_as_it_was() {
    let recipes = [whole(0), whole(1), part(2, 2, 2)];
    assert_eq!(
        newest(&recipes),
        [(recipes[2].run(), 2), (recipes[1].run(), 4)]
    );
    // Whatever is run again and again: the rest was last measured in the whole night.
    let recipes = [whole(1), part(2, 2, 2), part(3, 2, 1), part(4, 0, 3)];
    assert_eq!(
        newest(&recipes),
        [
            (recipes[3].run(), 3),
            (recipes[1].run(), 1),
            (recipes[0].run(), 2)
        ]
    );
    // The same part twice, or a larger one after it, is no whole night.
    let recipes = [whole(1), part(2, 2, 1), part(3, 2, 1)];
    assert_eq!(
        newest(&recipes),
        [(recipes[2].run(), 1), (recipes[0].run(), 5)]
    );
    let recipes = [whole(1), part(2, 2, 2), part(3, 2, 1)];
    assert_eq!(
        newest(&recipes),
        [
            (recipes[2].run(), 1),
            (recipes[1].run(), 1),
            (recipes[0].run(), 4)
        ]
    );
    // A whole run after it is all that counts.
    assert_eq!(
        newest(&[whole(1), part(2, 2, 2), whole(3)]),
        [(whole(3).run(), 0)]
    );
}

#[test]
fn verdicts_a_suite_that_runs_in_parts_has_a_night_of_them() {
    let shards = |night: u32| {
        [0, 2, 4].map(|first| Recipe {
            seed: u64::from(night * 10 + first),
            ..part(night, first, 2)
        })
    };
    let nights: Vec<Recipe> = (0..4).flat_map(shards).collect();
    let last: BTreeSet<RunId> = shards(3).iter().map(Recipe::run).collect();
    let found = newest(&nights);
    assert_eq!(
        found
            .iter()
            .map(|(run, _)| run.clone())
            .collect::<BTreeSet<_>>(),
        last
    );
    assert!(found.iter().all(|(_, cases)| *cases == 2), "{found:?}");
}

#[test]
fn verdicts_what_a_suite_no_longer_has_is_in_no_night() {
    let edited = |recipe: Recipe| Recipe {
        file: "edited".into(),
        ..recipe
    };
    // One case less, and another file: it is gone.
    let removed = edited(part(2, 0, 5));
    assert_eq!(newest(&[whole(1), removed.clone()]), [(removed.run(), 0)]);
    // The same file: it was left out.
    let filtered = part(2, 0, 5);
    assert_eq!(
        newest(&[whole(1), filtered.clone()]),
        [(filtered.run(), 5), (whole(1).run(), 1)]
    );
    // Another file, and few of the cases: so many do not go at once.
    let few = edited(part(2, 0, 2));
    assert_eq!(
        newest(&[whole(1), few.clone()]),
        [(few.run(), 2), (whole(1).run(), 4)]
    );
    // What nobody measured for long is no news.
    let late = part(2 + u32::try_from(NEWS_DAYS).unwrap(), 0, 2);
    assert_eq!(newest(&[whole(1), late.clone()]), [(late.run(), 0)]);
}

#[test]
fn verdicts_each_arm_has_nights_of_its_own() {
    let two = |night| Recipe {
        arm: "two".into(),
        seed: 77,
        ..whole(night)
    };
    let recipes = [whole(0), two(0), whole(1), two(1)];
    let records: Vec<Record> = recipes.iter().map(Recipe::record).collect();
    let (store, _folder) = store(&records);
    assert_eq!(parts(&store, "main"), [(recipes[2].run(), 0)]);
    assert_eq!(parts(&store, "two"), [(recipes[3].run(), 0)]);
    let runs = store.runs().unwrap();
    let nights = Nights::among(&store, &runs, newest_of(&runs)).unwrap();
    let last = store.run(&recipes[3].run()).unwrap();
    assert_eq!(
        nights.before(&place("two"), &last).unwrap().run,
        recipes[1].run()
    );
}

fn of(gate: Gate, cases: &[u32], others: &[u32], is_newest: bool) -> Gate {
    let names = |numbers: &[u32]| {
        let all = whole(0).case_ids();
        numbers.iter().map(|at| all[*at as usize].clone()).collect()
    };
    gate.of_share(&Share {
        cases: names(cases),
        others: names(others),
        is_newest,
    })
}

#[test]
fn verdicts_a_run_of_a_night_says_only_what_it_stands_for() {
    // A part alone: what it left out is missing, and not all can be told.
    let mut recipes: Vec<Recipe> = (0..8).map(whole).collect();
    recipes.push(part(30, 0, 3));
    let records: Vec<Record> = recipes.iter().map(Recipe::record).collect();
    let filtered = judged(&records);
    assert_eq!(
        (filtered.missing(), filtered.state),
        (3, State::Inconclusive)
    );
    // As one of two runs of a night: it has all that it is asked for.
    let filtered = of(filtered, &[0, 1, 2], &[3, 4, 5], true);
    assert_eq!((filtered.missing(), filtered.state), (0, State::Unchanged));
    assert!(filtered.comparison.suite.expected_false_alarms > 0.0);
    // The one before it says the rest, and nothing twice.
    *recipes.last_mut().unwrap() = Recipe {
        slowdown: 1.3,
        ..whole(30)
    };
    let records: Vec<Record> = recipes.iter().map(Recipe::record).collect();
    let slow = judged(&records);
    let regressed = slow.comparison.suite.counts.regressed;
    let rest = of(slow.clone(), &[3, 4], &[0, 1, 2, 5], false);
    let time = |gate: &Gate| {
        let cases = gate.comparison.cases.iter();
        cases.filter(|case| case.metric.name == "time").count()
    };
    assert_eq!((time(&slow), time(&rest)), (6, 2));
    assert!(rest.comparison.suite.counts.regressed <= regressed);
    // Nothing of it is left: no alarm can be false.
    let none = of(slow, &[], &[0, 1, 2, 3, 4, 5], false);
    let expected = none.comparison.suite.expected_false_alarms;
    assert!(expected.abs() < f64::EPSILON, "{expected}");
}
