//! Sides that measured the same commits: compared commit by commit; and cases that failed at some of them.

use assay_record::{BlockStatus, Record};
use assay_store::Store;
use assay_store::synthetic::Recipe;
use assay_verdicts::comparison::{Loaded, Options, Question};
use assay_verdicts::{Basis, CaseComparison, Comparison, History, RunView, TroubleKind, Verdict};

use crate::summaries::store;

/// How much slower the second machine is.
const SLOWER: f64 = 1.02;

/// What commits do to the project: up to 15 % either way.
fn of_commit(night: u32) -> f64 {
    1.0 + 0.15 * f64::from(night * 37 % 21).mul_add(0.1, -1.0)
}

fn night(machine: &str, night: u32, slower: f64) -> Recipe {
    Recipe {
        machine: machine.into(),
        night,
        seed: u64::from(night) + if machine == "one" { 100 } else { 200 },
        rounds: 6,
        cases: 4,
        slowdown: of_commit(night) * slower,
        ..Recipe::default()
    }
}

fn nights(machine: &str, nights: std::ops::Range<u32>, slower: f64) -> Vec<Record> {
    nights
        .map(|at| night(machine, at, slower).record())
        .collect()
}

fn views(store: &Store) -> Vec<RunView> {
    RunView::load_all(store, store.runs().unwrap().to_vec()).unwrap()
}

fn compare(one: &[Record], two: &[Record], by_commit: bool) -> Comparison {
    let (one_store, _one) = store(one);
    let (two_store, _two) = store(two);
    compare_views(&views(&one_store), &views(&two_store), by_commit)
}

fn compare_views(one: &[RunView], two: &[RunView], by_commit: bool) -> Comparison {
    let [before, after] = [("one", one), ("two", two)].map(|(label, runs)| Loaded {
        label: label.into(),
        arm: "main".into(),
        runs: runs.iter().collect(),
    });
    let options = Options {
        by_commit,
        ..Options::new(Question::Difference)
    };
    Comparison::of(&before, &after, &History::default(), options)
}

fn time<'a>(found: &'a Comparison, case: &str) -> &'a CaseComparison {
    let mut cases = found.cases.iter();
    cases
        .find(|have| have.case == case && have.metric.name == "time")
        .unwrap()
}

/// Whether an estimate is as good as that of so few nights is.
fn is_slower(estimate: f64) -> bool {
    (estimate / SLOWER - 1.0).abs() < 0.004
}

/// Makes a case of a record fail.
fn fail(record: &mut Record, case: &str) {
    for block in record.blocks.iter_mut().filter(|block| block.case == case) {
        block.status = BlockStatus::Failed("signal 11".into());
    }
}

#[test]
fn verdicts_by_commit_what_commits_do_to_both_is_in_no_ratio() {
    let (one, two) = (nights("one", 0..20, 1.0), nights("two", 0..20, SLOWER));
    let paired = compare(&one, &two, true);
    assert_eq!(paired.basis, Basis::ByCommit { commits: 20 });
    let pooled = compare(&one, &two, false);
    for case in night("one", 0, 1.0).case_ids() {
        let [by_commit, by_runs] =
            [&paired, &pooled].map(|found| time(found, &case).ratio.unwrap());
        assert!(is_slower(by_commit.estimate), "{by_commit:?}");
        assert!(by_commit.half_width() < 0.004, "{by_commit:?}");
        assert!(by_runs.half_width() > 0.03, "{by_runs:?}");
        assert_eq!(time(&paired, &case).verdict, Verdict::Regressed);
        assert_eq!(time(&pooled, &case).verdict, Verdict::Inconclusive);
    }
    let mean = paired.suite.geometric_mean.unwrap();
    assert!(
        mean.cases == 4 && is_slower(mean.ratio.estimate),
        "{mean:?}"
    );
    assert!(mean.ratio.half_width() < 0.004, "{mean:?}");
    // The machines are what is asked about, and no shift that all cases share.
    assert!(paired.suite.common_shift.is_none());
    // Swapped, it is the same the other way.
    let turned = compare(&two, &one, true);
    let case = &night("one", 0, 1.0).case_ids()[0];
    let [there, back] = [&paired, &turned].map(|found| time(found, case).ratio.unwrap());
    assert!((there.estimate * back.estimate - 1.0).abs() < 1e-12);
}

#[test]
fn verdicts_by_commit_only_common_commits_count_and_two_are_too_few() {
    // Ten commits in common, each measured twice on the second machine.
    let mut two = nights("two", 10..30, SLOWER);
    two.extend((10..20).map(|at| {
        let again = Recipe {
            seed: 999,
            ..night("two", at, SLOWER)
        };
        again.record()
    }));
    let found = compare(&nights("one", 0..20, 1.0), &two, true);
    assert_eq!(found.basis, Basis::ByCommit { commits: 10 });
    assert!(is_slower(found.cases[0].ratio.unwrap().estimate));
    let found = compare(
        &nights("one", 0..20, 1.0),
        &nights("two", 18..30, SLOWER),
        true,
    );
    assert!(
        matches!(found.basis, Basis::AcrossRuns { .. }),
        "{:?}",
        found.basis
    );
    // What was changed in the tree is no commit.
    let (store, _folder) = store(&nights("two", 0..20, SLOWER));
    let mut dirty = views(&store);
    for view in &mut dirty {
        view.run.dirty = true;
    }
    let (store, _folder) = crate::summaries::store(&nights("one", 0..20, 1.0));
    let found = compare_views(&views(&store), &dirty, true);
    assert!(
        matches!(found.basis, Basis::AcrossRuns { .. }),
        "{:?}",
        found.basis
    );
}

#[test]
fn verdicts_by_commit_one_failure_of_twenty_is_told_and_the_rest_is_compared() {
    let case = night("one", 0, 1.0).case_ids()[1].clone();
    let one = nights("one", 0..20, 1.0);
    let mut two = nights("two", 0..20, SLOWER);
    fail(&mut two[7], &case);
    let found = compare(&one, &two, true);
    let own = time(&found, &case);
    assert_eq!((&own.trouble, own.verdict), (&None, Verdict::Regressed));
    assert!(is_slower(own.ratio.unwrap().estimate));
    let said = "it gave no right result at 1 of 20 commits of two; the others are compared";
    assert_eq!(own.remark.as_deref(), Some(said));
    assert!(own.note.starts_with(said), "{}", own.note);
    assert!(
        own.note.contains("by the ratios at 19 commits"),
        "{}",
        own.note
    );
    assert_eq!(found.suite.counts.troubled, 0);
    assert_eq!(found.suite.geometric_mean.unwrap().cases, 4);
    // Runs that are not paired are counted as runs.
    let pooled = compare(&one, &two, false);
    let remark = time(&pooled, &case).remark.clone().unwrap();
    assert!(remark.contains("in 1 of 20 runs of two"), "{remark}");
    // Of the baseline as well, which the first side is.
    let turned = compare(&two, &one, true);
    let remark = time(&turned, &case).remark.clone().unwrap();
    assert!(remark.contains("at 1 of 20 commits of one"), "{remark}");
}

#[test]
fn verdicts_by_commit_a_failure_in_the_last_run_is_named() {
    let case = night("one", 0, 1.0).case_ids()[1].clone();
    let one = nights("one", 0..20, 1.0);
    let mut two = nights("two", 0..20, SLOWER);
    fail(&mut two[3], &case);
    fail(&mut two[19], &case);
    let last = two[19].header.run.clone();
    let found = compare(&one, &two, true);
    // What failed comes first, and the rest is compared all the same.
    let own = &found.cases[0];
    assert_eq!(own.case, case);
    let trouble = own.trouble.as_ref().unwrap();
    assert_eq!(trouble.kind, TroubleKind::Failed);
    assert_eq!(
        trouble.why,
        format!("signal 11 (in run {last}, its last of two; at 2 of 20 commits there)")
    );
    assert!(is_slower(own.ratio.unwrap().estimate));
    assert!(found.suite.counts.troubled == 1 && found.is_worse());
    // The baseline's last run is named, and makes the candidate no worse.
    let turned = compare(&two, &one, true);
    let own = time(&turned, &case);
    assert!(own.trouble.is_none() && !own.note.is_empty());
    let remark = own.remark.clone().unwrap();
    assert!(
        remark.contains(&format!(
            "in its last run there, {last} (failed: signal 11)"
        )),
        "{remark}"
    );
    // What never worked has no ratio.
    for record in &mut two {
        fail(record, &case);
    }
    let never = compare(&one, &two, true);
    let own = time(&never, &case);
    assert!(own.trouble.is_some() && own.ratio.is_none());
}
