//! Calibrations from made-up runs, and what of them and of the nights counts.

use assay_record::{Arm, Block, BlockStatus, Purpose, Record, RunStatus, canonical};
use assay_store::synthetic::Recipe;
use assay_verdicts::Window;
use assay_verdicts::calibration::{ARMS, Calibration, RunBasis};
use assay_verdicts::window::newest_nights;

use crate::comparison::night;
use crate::summaries::store;

/// A run of two arms that are the same, under these names.
fn of_two_arms(recipe: &Recipe, names: [&str; 2]) -> Record {
    let mut record = recipe.record();
    let arm = record.header.manifest.arms[0].clone();
    let with_name = |name: &str| Arm {
        name: name.into(),
        ..arm.clone()
    };
    record.header.manifest.arms = names.map(with_name).into();
    record.header.manifest_digest = canonical::digest(&record.header.manifest).unwrap();
    record.workers[0].arm = names[0].into();
    let visit = |block: Block| {
        let on = |name: &str| Block {
            arm: name.into(),
            ..block.clone()
        };
        names.map(on)
    };
    record.blocks = record.blocks.into_iter().flat_map(visit).collect();
    record
}

fn calibration(night: u32, cases: u32) -> Record {
    let recipe = Recipe {
        cases,
        ..self::night(night)
    };
    let mut record = of_two_arms(&recipe, ARMS);
    record.header.purpose = Purpose::Calibration;
    record
}

fn calibrated(records: &[Record]) -> Option<Calibration> {
    let (store, _folder) = store(records);
    Calibration::of(&store, "synthetic", "bench-1").unwrap()
}

#[test]
fn verdicts_a_calibration_of_some_cases_leaves_that_of_the_others() {
    let runs = [calibration(0, 3), calibration(1, 3), calibration(2, 1)];
    let found = calibrated(&runs).unwrap();
    let runs: Vec<usize> = found.cases.iter().map(|case| case.levels.runs).collect();
    assert_eq!(runs, [3, 2, 2]);
    let basis = |case: &assay_verdicts::calibration::CaseCalibration| case.basis;
    assert_eq!(
        found.cases.iter().map(basis).collect::<Vec<_>>()[0],
        RunBasis::Calibration { runs: 3 }
    );
}

#[test]
fn verdicts_a_calibration_pairs_rounds_by_number() {
    // Both arms are the same in every round: whatever is left of the noise floor is misaligned.
    let mut runs = [calibration(0, 2), calibration(1, 2)];
    for run in &mut runs {
        let lost = |block: &&mut Block| {
            block.round == 1 && block.arm == ARMS[0] || block.round == 4 && block.arm == ARMS[1]
        };
        for block in run.blocks.iter_mut().filter(lost) {
            block.status = BlockStatus::Failed("lost".into());
        }
    }
    let found = calibrated(&runs).unwrap();
    assert_eq!(found.cases.len(), 2);
    for case in &found.cases {
        assert!(case.noise_floor < 1e-12, "{case:?}");
        assert_eq!(case.levels.rounds, 8);
    }
}

#[test]
fn verdicts_a_margin_is_of_noise_and_not_of_a_change() {
    let mut records = vec![calibration(0, 2), calibration(1, 2)];
    let nights = |step: f64| {
        (2..22).map(move |n| {
            let slowdown = if n < 12 { 1.0 } else { step };
            let cases = 2;
            Recipe {
                slowdown,
                cases,
                ..night(n)
            }
            .record()
        })
    };
    let quiet = [records.clone(), nights(1.0).collect()].concat();
    let quiet = calibrated(&quiet).unwrap();
    // Neither a run that was stopped nor one of other arms is a night.
    let mut cut_short = Recipe {
        slowdown: 9.0,
        ..night(22)
    }
    .record();
    cut_short.footer.as_mut().unwrap().status = RunStatus::Interrupted;
    records.extend(nights(1.1));
    records.extend([cut_short, of_two_arms(&night(23), ["x", "y"])]);
    let stepped = calibrated(&records).unwrap();
    for (quiet, stepped) in quiet.cases.iter().zip(&stepped.cases) {
        assert_eq!(stepped.basis, RunBasis::Nights { runs: 20 });
        let [quiet, stepped] = [quiet, stepped].map(|case| case.margin.unwrap());
        assert!(quiet < 0.02, "{quiet}");
        assert!(stepped < 1.5 * quiet, "{quiet} {stepped}");
    }
}

#[test]
fn verdicts_runs_without_the_arm_main_are_no_nights() {
    let mut records: Vec<Record> = (0..6).map(|n| night(n).record()).collect();
    records.extend((6..9).map(|n| of_two_arms(&night(n), ["old", "new"])));
    records.push(night(10).record());
    let (store, _folder) = store(&records);
    let of = store.run(&night(10).run()).unwrap();
    let found = Window::Last(20).baseline(&store, &of).unwrap();
    assert_eq!((found.runs.len(), found.later.len()), (5, 1));
    let newest = newest_nights(&store, 2, |_| true).unwrap();
    let newest: Vec<_> = newest.into_iter().map(|row| row.run).collect();
    assert_eq!(newest, [night(10).run(), night(5).run()]);
}
