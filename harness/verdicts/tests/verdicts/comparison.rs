//! Comparisons, from records to verdicts: every basis, and everything that cannot be compared.

use std::collections::BTreeSet;

use assay_protocol::{Digest, Metric};
use assay_record::{BlockStatus, Record, canonical};
use assay_store::Store;
use assay_store::synthetic::Recipe;
use assay_verdicts::comparison::{Loaded, Options, Question, Reason};
use assay_verdicts::{Basis, CaseComparison, Comparison, History, RunView, Verdict};

use crate::summaries::store;

/// A quiet night: rounds differ by 0.4 %, nights no more than that explains.
pub fn night(night: u32) -> Recipe {
    Recipe {
        night,
        seed: u64::from(night) + 1,
        rounds: 6,
        cases: 10,
        ..Recipe::default()
    }
}

/// Every run of a store, oldest first.
fn views(store: &Store) -> Vec<RunView> {
    let rows = store.runs().unwrap();
    let view = |row: &assay_store::RunRow| RunView::load(store, &row.run).unwrap();
    rows.iter().map(view).collect()
}

fn side<'a>(label: &str, runs: &'a [RunView]) -> Loaded<'a> {
    Loaded {
        label: label.into(),
        arm: "main".into(),
        runs: runs.iter().collect(),
    }
}

/// The last records against those before.
fn compare(before: &[Record], after: &[Record], options: Options) -> Comparison {
    let (before_store, _before) = store(before);
    let (after_store, _after) = store(after);
    let (before, after) = (views(&before_store), views(&after_store));
    let history = History::default();
    Comparison::of(
        &side("before", &before),
        &side("after", &after),
        &history,
        options,
    )
}

fn nights(count: u32) -> Vec<Record> {
    (0..count).map(|n| night(n).record()).collect()
}

fn difference() -> Options {
    Options::new(Question::Difference)
}

fn time<'a>(comparison: &'a Comparison, case: &str) -> &'a CaseComparison {
    let mut cases = comparison.cases.iter();
    let found = cases.find(|have| have.case == case && have.metric.name == Metric::TIME);
    found.unwrap_or_else(|| panic!("no {case}"))
}

/// Makes one case of a record slower, in truth.
fn slow_down(record: &mut Record, case: &str, factor: f64) {
    for block in record.blocks.iter_mut().filter(|block| block.case == case) {
        for ns in &mut block.samples.host_ns {
            *ns = (*ns as f64 * factor) as u64;
        }
    }
}

#[test]
fn verdicts_across_runs_equal_nights_are_unchanged() {
    let found = compare(&nights(8), &[night(20).record()], difference());
    assert_eq!(
        found.basis,
        Basis::AcrossRuns {
            baseline_runs: 8,
            candidate_runs: 1
        }
    );
    assert_eq!(found.suite.counts.regressed, 0, "{:#?}", found.suite);
    // Ten times, and the metrics loss and peak memory of the first case.
    assert_eq!(found.cases.len(), 12);
    assert_eq!(found.suite.counts.unchanged, 12, "{:#?}", found.cases);
    let mean = found.suite.geometric_mean.unwrap();
    assert_eq!(mean.cases, 10);
    assert!(mean.ratio.low < 1.0 && 1.0 < mean.ratio.high, "{mean:?}");
    assert!(found.suite.common_shift.is_none());
    assert!(!found.is_worse() && found.left_out.is_empty());
}

#[test]
fn verdicts_across_runs_one_slower_case_is_found_and_no_other() {
    let mut slow = night(20).record();
    let case = night(0).case_ids()[3].clone();
    slow_down(&mut slow, &case, 1.05);
    let found = compare(&nights(8), &[slow], difference());
    assert_eq!(time(&found, &case).verdict, Verdict::Regressed);
    assert_eq!(found.suite.counts.regressed, 1);
    assert!(found.is_worse());
    assert!(time(&found, &case).note.starts_with("slower: p = "));
    let ratio = time(&found, &case).ratio.unwrap();
    assert!(ratio.low < 1.05 && 1.05 < ratio.high, "{ratio:?}");
    // The other way round it is as much faster.
    let mut slow = night(20).record();
    slow_down(&mut slow, &case, 1.05);
    let turned = compare(&[slow], &nights(8), difference());
    assert_eq!(time(&turned, &case).verdict, Verdict::Improved);
    let back = time(&turned, &case).ratio.unwrap();
    assert!((back.estimate * ratio.estimate - 1.0).abs() < 1e-9);
}

#[test]
fn verdicts_one_run_per_side_says_so_and_dwarfing_effects_are_called() {
    let found = compare(&[night(0).record()], &[night(1).record()], difference());
    assert_eq!(
        found.basis,
        Basis::FewRuns {
            baseline_runs: 1,
            candidate_runs: 1
        }
    );
    assert_eq!(found.suite.counts.inconclusive, 10);
    let note = &found.cases[0].note;
    for words in [
        "one run per side",
        "for want of 5 earlier ones",
        "runs per side of 6 rounds",
    ] {
        assert!(note.contains(words), "{note}");
    }
    // What no round of either side ever gave differently needs no more runs.
    let peak = found
        .cases
        .iter()
        .find(|case| case.metric.name == "peak_memory")
        .unwrap();
    assert_eq!(peak.verdict, Verdict::Unchanged);
    let twice = Recipe {
        slowdown: 2.0,
        ..night(1)
    };
    let found = compare(&[night(0).record()], &[twice.record()], difference());
    assert_eq!(found.suite.counts.regressed, 10);
}

#[test]
fn verdicts_one_round_is_inconclusive_and_says_how_many_more() {
    let one = |n| {
        Recipe {
            rounds: 1,
            ..night(n)
        }
        .record()
    };
    let found = compare(&[one(0)], &[one(1)], difference());
    let case = &found.cases[0];
    assert_eq!((case.verdict, case.ratio), (Verdict::Inconclusive, None));
    for words in [
        "1 round in the baseline and 1 in the candidate",
        "runs per side of 6 rounds would show it within 3.0 %, four times in five",
    ] {
        assert!(case.note.contains(words), "{}", case.note);
    }
    assert!(found.suite.geometric_mean.is_none());
    assert_eq!(found.suite.counts.regressed, 0);
}

#[test]
fn verdicts_a_baseline_begins_after_the_last_known_change_of_level() {
    // One case has been slower for the last eight of twenty nights.
    let case = night(0).case_ids()[3].clone();
    let mut before = nights(20);
    for record in &mut before[12..] {
        slow_down(record, &case, 1.10);
    }
    let mut tonight = night(22).record();
    slow_down(&mut tonight, &case, 1.10);
    let gate = |at_known_level, tonight: &Record| {
        let options = Options {
            at_known_level,
            gap: 2,
            ..Options::new(Question::Gate)
        };
        compare(&before, std::slice::from_ref(tonight), options)
    };
    let whole = gate(false, &tonight);
    assert_eq!(time(&whole, &case).verdict, Verdict::Inconclusive);
    let known = gate(true, &tonight);
    let own = time(&known, &case);
    assert_eq!(own.verdict, Verdict::Unchanged, "{}", own.note);
    let since = before[12].header.run.clone();
    assert_eq!(own.since.as_ref(), Some(&since));
    let said = format!(
        "its baseline begins with run {since}, after the last change of its level: 8 of its 20 runs"
    );
    assert!(own.note.contains(&said), "{}", own.note);
    let rests_on = |case| match known.basis_of(case) {
        Basis::AcrossRuns { baseline_runs, .. } => baseline_runs,
        other => panic!("{other:?}"),
    };
    assert_eq!((own.baseline_runs, rests_on(own)), (Some(8), 8));
    assert_eq!(known.baseline_of(own), &known.baseline.runs[12..]);
    assert_eq!(known.baseline_of(own).first(), Some(&since));
    // The others are compared with all of it, and all are in the mean.
    let others = known.cases.iter().filter(|other| other.case != case);
    assert!(others.clone().count() > 0 && others.clone().all(|other| other.since.is_none()));
    assert!(others.clone().all(|other| rests_on(other) == 20));
    assert!(
        others
            .clone()
            .all(|other| known.baseline_of(other).len() == 20)
    );
    assert_eq!(known.suite.geometric_mean.unwrap().cases, 10);
    // A further change shows, beside the new level.
    slow_down(&mut tonight, &case, 1.10);
    let found = gate(true, &tonight);
    let ratio = time(&found, &case).ratio.unwrap();
    assert!((ratio.estimate - 1.10).abs() < 0.02, "{ratio:?}");
    assert!(time(&found, &case).suspect);
}

#[test]
fn verdicts_most_cases_moving_together_is_one_event_of_the_gate() {
    let shifted = Recipe {
        slowdown: 1.10,
        ..night(20)
    };
    let mut record = shifted.record();
    let case = night(0).case_ids()[5].clone();
    slow_down(&mut record, &case, 1.20);
    let found = compare(&nights(8), &[record.clone()], Options::new(Question::Gate));
    let shift = found.suite.common_shift.unwrap();
    assert!((shift.ratio.estimate - 1.10).abs() < 0.02, "{shift:?}");
    assert_eq!(found.suite.counts.regressed, 1, "{:#?}", found.cases);
    let own = time(&found, &case);
    assert_eq!(own.verdict, Verdict::Regressed);
    assert!((own.relative.unwrap().estimate - 1.20).abs() < 0.03);
    assert!((own.ratio.unwrap().estimate - 1.32).abs() < 0.03);
    // Who asks how two sides differ is told that all of them do.
    let asked = compare(&nights(8), &[record], difference());
    assert_eq!(asked.suite.counts.regressed, 10);
}

#[test]
fn verdicts_what_is_wrong_or_failed_comes_first_and_is_worse_than_slow() {
    let mut broken = night(20).record();
    let ids = night(0).case_ids();
    for block in &mut broken.blocks {
        if block.case == ids[7] {
            block.status = BlockStatus::Wrong("error 1.0 over tolerance 1e-5".into());
        } else if block.case == ids[4] {
            block.status = BlockStatus::Failed("signal 11".into());
        } else if block.case == ids[2] {
            block.status = BlockStatus::Skipped("no memory".into());
        }
    }
    let found = compare(&nights(6), &[broken], difference());
    let troubles: Vec<_> = found
        .cases
        .iter()
        .take(2)
        .map(|case| case.trouble.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(
        troubles,
        [
            "failed: signal 11",
            "wrong output: error 1.0 over tolerance 1e-5"
        ]
    );
    assert_eq!(found.suite.counts.troubled, 2);
    assert!(found.is_worse());
    let left = &found.left_out[0];
    assert_eq!(
        (left.reason, left.case.as_str()),
        (Reason::NotMeasured, ids[2].as_str())
    );
    assert_eq!(
        left.note,
        "not measured in the candidate: skipped: no memory"
    );
}

#[test]
fn verdicts_other_definitions_are_left_out_unless_forced() {
    let mut other = night(20).record();
    for case in &mut other.header.manifest.cases {
        case.definition = Digest::of(format!("other {}", case.id));
        case.seed.0 += 1;
    }
    other.header.manifest_digest = assay_record::canonical::digest(&other.header.manifest).unwrap();
    let found = compare(&nights(6), &[other.clone()], difference());
    assert!(found.is_empty() && found.left_out.len() == 10);
    assert!(
        found
            .left_out
            .iter()
            .all(|left| left.reason == Reason::Different)
    );
    assert_eq!(
        found.left_out[0].note,
        "the two time different things: seed differs"
    );
    let forced = Options {
        force: true,
        ..difference()
    };
    let found = compare(&nights(6), &[other], forced);
    assert_eq!(found.cases.len(), 12);
    assert!(
        found.cases[0]
            .note
            .starts_with("compared by force, though they time different things: seed differs")
    );
    assert!(
        found
            .caveats
            .iter()
            .any(|caveat| caveat.contains("by force"))
    );
}

#[test]
fn verdicts_cases_of_one_side_only_and_nothing_in_common() {
    let few = Recipe {
        cases: 8,
        ..night(20)
    };
    let found = compare(&nights(6), &[few.record()], difference());
    let left: BTreeSet<_> = found.left_out.iter().map(|left| left.reason).collect();
    assert_eq!(left, BTreeSet::from([Reason::OnlyBaseline]));
    assert_eq!(found.left_out.len(), 2);
    let found = compare(&[], &[few.record()], Options::new(Question::Gate));
    assert!(found.is_empty());
    assert!(
        found
            .left_out
            .iter()
            .all(|left| left.reason == Reason::OnlyCandidate)
    );
}

#[test]
fn verdicts_values_without_a_ratio_are_inconclusive_and_never_nan() {
    let zero = |n, loss: f64| {
        let mut record = night(n).record();
        for block in &mut record.blocks {
            for (at, value) in block.samples.values.values_mut().flatten().enumerate() {
                *value = loss * (1.0 + at as f64 / 100.0 + f64::from(n) / 1000.0);
            }
        }
        record
    };
    let before: Vec<Record> = (0..6).map(|n| zero(n, 0.5)).collect();
    let found = compare(&before, &[zero(20, -1.0)], difference());
    let loss = found
        .cases
        .iter()
        .find(|case| case.metric.name == "loss")
        .unwrap();
    assert_eq!(
        (loss.verdict, loss.ratio, loss.p_value),
        (Verdict::Inconclusive, None, None)
    );
    assert!(loss.note.contains("zero, negative"), "{}", loss.note);
    let text = serde_json::to_string(&found).unwrap();
    assert!(!text.contains("NaN"));
    let back: Comparison = serde_json::from_str(&text).unwrap();
    assert_eq!(back.cases.len(), found.cases.len());
    // Zero on both sides is no change, though it has no ratio.
    let before: Vec<Record> = (0..6).map(|n| zero(n, 0.0)).collect();
    let found = compare(&before, &[zero(20, 0.0)], difference());
    let loss = found
        .cases
        .iter()
        .find(|case| case.metric.name == "loss")
        .unwrap();
    assert_eq!(loss.verdict, Verdict::Unchanged, "{}", loss.note);
}

#[test]
fn verdicts_equal_samples_give_p_one_or_zero() {
    let constant = |n, factor: u64| {
        let mut record = night(n).record();
        for block in &mut record.blocks {
            block
                .samples
                .host_ns
                .iter_mut()
                .for_each(|ns| *ns = 1000 * factor);
        }
        record
    };
    let before: Vec<Record> = (0..6).map(|n| constant(n, 100)).collect();
    let found = compare(&before, &[constant(20, 100)], difference());
    let case = &found.cases[0];
    assert_eq!(
        (case.verdict, case.p_value),
        (Verdict::Unchanged, Some(1.0))
    );
    let found = compare(&before, &[constant(20, 110)], difference());
    let case = &found.cases[0];
    assert_eq!(
        (case.verdict, case.p_value),
        (Verdict::Regressed, Some(0.0))
    );
}

#[test]
fn verdicts_only_the_metrics_that_are_asked_for() {
    let options = Options {
        metrics: Some(BTreeSet::from(["peak_memory".to_owned()])),
        ..difference()
    };
    let found = compare(&nights(6), &[night(20).record()], options);
    assert_eq!(found.cases.len(), 1);
    assert_eq!(found.cases[0].metric.name, "peak_memory");
}

#[test]
fn verdicts_another_machine_is_said_to_be_one() {
    let other = Recipe {
        machine: "bench-2".into(),
        ..night(20)
    };
    let found = compare(&nights(6), &[other.record()], difference());
    assert!(
        found.caveats[0].contains("different machines (bench-1 and bench-2)"),
        "{:?}",
        found.caveats
    );
}

/// A run of two arms, `main` and `b`, of which the second is slower in truth. Both share what a round is like.
fn two_arms(mut record: Record, factor: f64) -> Record {
    let mut arm = record.header.manifest.arms[0].clone();
    arm.name = "b".into();
    record.header.manifest.arms.push(arm);
    record.header.manifest_digest = canonical::digest(&record.header.manifest).unwrap();
    let mut other = record.blocks.clone();
    for block in &mut other {
        block.arm = "b".into();
        for (at, ns) in block.samples.host_ns.iter_mut().enumerate() {
            *ns = (*ns as f64 * factor) as u64 + (at as u64 % 3) * 50;
        }
    }
    record.blocks.extend(other);
    record
}

#[test]
fn verdicts_interleaved_arms_find_what_nights_hide() {
    // Rounds differ by a tenth, and both arms of a round alike.
    let noisy = Recipe {
        round_sd: 0.1,
        rounds: 10,
        ..night(0)
    };
    let mut record = two_arms(noisy.record(), 1.03);
    // The slower arm's rounds are longer, and so more of them are marked: that takes nothing from what the pairs show.
    for block in record.blocks.iter_mut().filter(|block| block.arm == "b") {
        block.disturbed = vec!["others used 1.0 of 2 CPUs".into()];
    }
    let (store, _folder) = store(&[record]);
    let runs = views(&store);
    let arm = |name: &str| Loaded {
        arm: name.into(),
        ..side(name, &runs)
    };
    let found = Comparison::of(&arm("main"), &arm("b"), &History::default(), difference());
    assert_eq!(found.basis, Basis::Interleaved);
    assert_eq!(found.suite.counts.regressed, 10, "{:#?}", found.cases[0]);
    let ratio = found.suite.geometric_mean.unwrap().ratio;
    assert!((ratio.estimate - 1.03).abs() < 0.005, "{ratio:?}");
    // All arms' cases moved together, and that is no event of a machine that both shared.
    assert!(found.suite.common_shift.is_none());
}

#[test]
fn verdicts_a_side_that_was_disturbed_cannot_be_told() {
    let mut slow = night(20).record();
    let case = night(0).case_ids()[3].clone();
    slow_down(&mut slow, &case, 1.05);
    let of_case = slow.blocks.iter_mut().filter(|block| block.case == case);
    for block in of_case.take(3) {
        block.disturbed = vec!["another process took the CPU".into()];
    }
    let found = compare(&nights(8), &[slow], difference());
    let case = time(&found, &case);
    assert_eq!(case.verdict, Verdict::Inconclusive);
    assert!(case.suspect, "it is worth running again");
    assert!(
        case.note
            .contains("50 % of the candidate's rounds were disturbed"),
        "{}",
        case.note
    );
}

#[test]
fn verdicts_a_large_suite_is_judged_relative_to_its_middle() {
    let many = |n, slowdown| {
        Recipe {
            cases: 24,
            slowdown,
            ..night(n)
        }
        .record()
    };
    // The machine wanders by a few percent from night to night, and all cases with it.
    let wander = |n: u32| 1.0 + 0.03 * f64::from(n % 3);
    let before: Vec<Record> = (0..8).map(|n| many(n, wander(n))).collect();
    let mut tonight = many(20, 1.06);
    let case = night(0).case_ids()[3].clone();
    slow_down(&mut tonight, &case, 1.05);
    let found = compare(&before, &[tonight], Options::new(Question::Gate));
    assert!(found.suite.common_shift.is_none());
    assert_eq!(found.suite.counts.regressed, 1, "{:#?}", found.suite);
    let relative = time(&found, &case).relative.unwrap();
    assert!(relative.low < 1.05 && 1.05 < relative.high, "{relative:?}");
    assert!(
        time(&found, &case)
            .note
            .starts_with("slower, relative to what the suite did")
    );
}

#[test]
fn verdicts_calibrated_margins_widen_what_is_equal() {
    let restless = |n: u32| {
        Recipe {
            round_sd: 0.03,
            cases: 5,
            ..night(n)
        }
        .record()
    };
    let before: Vec<Record> = (0..8).map(restless).collect();
    let strict = compare(&before, &[restless(20)], Options::new(Question::Gate));
    let ids = night(0).case_ids();
    let wide = Options {
        margins: ids.iter().map(|id| (id.clone(), 0.5)).collect(),
        ..Options::new(Question::Gate)
    };
    let wide = compare(&before, &[restless(20)], wide);
    let unchanged = |found: &Comparison| found.suite.counts.unchanged;
    assert!(unchanged(&wide) > unchanged(&strict));
    assert!((time(&wide, &ids[0]).margin - 0.5).abs() < 1e-12);
}
