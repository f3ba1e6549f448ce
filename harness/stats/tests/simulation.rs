//! Seeded simulations: the rules keep what their documentation promises. `--nocapture` prints the numbers.

mod noise;

use assay_stats::{
    Position, RatioInterval, effective_sample_size, median_interval, paired_log_ratio, position,
    ratio_across_runs, rounds_needed, steady_from,
};
use noise::Noise;

const TRIALS: u32 = 4_000;
const ROUNDS: usize = 6;
const ROUND_SD: f64 = 0.01;
const RUN_SD: f64 = 0.015;
const MARGIN: f64 = 0.03;

/// The share of trials for which something holds.
fn share(seed: u64, mut trial: impl FnMut(&mut Noise) -> bool) -> f64 {
    let mut noise = Noise::seeded(seed);
    f64::from((0..TRIALS).filter(|_| trial(&mut noise)).count() as u32) / f64::from(TRIALS)
}

/// One comparison of two simulated runs, `effect` apart, analysed with `assumed` as the deviation between runs.
fn across(noise: &mut Noise, effect: f64, assumed: f64, confidence: f64) -> RatioInterval {
    let baseline = noise.run(ROUNDS, 100.0, ROUND_SD, RUN_SD);
    let candidate = noise.run(ROUNDS, 100.0 * effect, ROUND_SD, RUN_SD);
    ratio_across_runs(&baseline, &candidate, assumed, confidence).unwrap()
}

/// The rule that was not taken, for comparison: the whole interval beyond the margin.
fn is_strictly_above(found: &RatioInterval) -> bool {
    found.low > 1.0 + MARGIN
}

#[test]
fn across_runs_false_alarms_are_few_and_ten_percent_is_found() {
    println!(
        "confidence | A/A above: rule, strict | A/A within | +10 % above: rule, strict | A/A above if run sd is assumed half"
    );
    for (confidence, false_alarms, found) in [
        (0.95, 0.03, 0.97),
        (0.99, 0.008, 0.92),
        (0.999, 0.002, 0.75),
    ] {
        let above = |effect, assumed| {
            share(1, |noise| {
                position(&across(noise, effect, assumed, confidence), MARGIN) == Position::Above
            })
        };
        let strict = |effect| {
            share(1, |noise| {
                is_strictly_above(&across(noise, effect, RUN_SD, confidence))
            })
        };
        let within = share(1, |noise| {
            position(&across(noise, 1.0, RUN_SD, confidence), MARGIN) == Position::Within
        });
        let (alarm, hit) = (above(1.0, RUN_SD), above(1.1, RUN_SD));
        println!(
            "{confidence} | {alarm:.4}, {:.4} | {within:.3} | {hit:.4}, {:.4} | {:.4}",
            strict(1.0),
            strict(1.1),
            above(1.0, RUN_SD / 2.0)
        );
        assert!(
            alarm <= false_alarms && hit >= found,
            "{confidence}: {alarm} {hit}"
        );
    }
}

#[test]
fn intervals_cover_the_truth() {
    for effect in [1.0, 1.1] {
        let coverage = share(2, |noise| {
            across(noise, effect, RUN_SD, 0.95).contains(effect)
        });
        let ignored = share(2, |noise| across(noise, effect, 0.0, 0.95).contains(effect));
        println!(
            "across runs, effect {effect}: covers {coverage:.4}; with the variance between runs ignored {ignored:.4}"
        );
        assert!((0.93..=0.97).contains(&coverage) && ignored < 0.6);
    }
    for pairs in [2, 3, 6, 10, 20] {
        let coverage = share(3, |noise| {
            let (a, b) = (
                noise.run(pairs, 100.0, ROUND_SD, 0.0),
                noise.run(pairs, 105.0, ROUND_SD, 0.0),
            );
            paired_log_ratio(&a, &b, 0.95).unwrap().contains(1.05)
        });
        let welch = share(4, |noise| {
            let (a, b) = (
                noise.run(pairs, 100.0, ROUND_SD, 0.0),
                noise.run(pairs, 105.0, ROUND_SD, 0.0),
            );
            ratio_across_runs(&a, &b, 0.0, 0.95).unwrap().contains(1.05)
        });
        println!("{pairs} rounds within a run: paired covers {coverage:.4}, Welch {welch:.4}");
        assert!((0.93..=0.98).contains(&coverage) && (0.93..=0.985).contains(&welch));
    }
}

#[test]
fn a_disturbed_round_neither_makes_nor_hides_a_change() {
    let alarm = |effect: f64| {
        share(5, |noise| {
            let baseline = noise.run(ROUNDS, 100.0, ROUND_SD, 0.0);
            let mut candidate = noise.run(ROUNDS, 100.0 * effect, ROUND_SD, 0.0);
            candidate[3] *= 1.5;
            position(
                &ratio_across_runs(&baseline, &candidate, 0.0, 0.95).unwrap(),
                MARGIN,
            ) == Position::Above
        })
    };
    let (alarms, hits) = (alarm(1.0), alarm(1.1));
    println!("one of 6 rounds 50 % slow: A/A above {alarms:.4}, +10 % above {hits:.4}");
    assert!(alarms < 0.01 && hits > 0.98);
}

#[test]
fn median_interval_covers_skewed_noise() {
    for count in [6, 20, 101] {
        let mut noise = Noise::seeded(6);
        let attained = median_interval(&vec![1.0; count], 0.95).unwrap().confidence;
        let covered = (0..TRIALS).filter(|_| {
            let samples: Vec<f64> = (0..count).map(|_| -noise.uniform().ln()).collect();
            median_interval(&samples, 0.95)
                .unwrap()
                .contains(std::f64::consts::LN_2)
        });
        let coverage = f64::from(covered.count() as u32) / f64::from(TRIALS);
        println!(
            "median of {count} exponential samples: covers {coverage:.4}, stated {attained:.4}"
        );
        assert!((coverage - attained).abs() < 0.012);
    }
}

#[test]
fn planned_rounds_do_settle_it() {
    let needed = rounds_needed(0.03, 0.0, MARGIN, 0.95).unwrap();
    let settled = share(7, |noise| {
        let sides = [(); 2].map(|()| noise.run(needed as usize, 100.0, 0.03, 0.0));
        position(
            &ratio_across_runs(&sides[0], &sides[1], 0.0, 0.95).unwrap(),
            MARGIN,
        ) == Position::Within
    });
    println!("{needed} rounds planned for 80 % power settle {settled:.3}");
    assert!((0.7..=0.9).contains(&settled));
}

#[test]
fn steady_noise_is_seldom_called_unsettled() {
    println!(
        "never settled, by noise: count, white 1 %, white 5 %, AR(1) 0.7 5 %; mean start when settled, white 1 %"
    );
    for count in [8, 12, 20, 50, 200] {
        let unsettled = |sd: f64, correlation: f64| {
            share(8, |noise| {
                let times: Vec<f64> = noise
                    .autoregressive(count, correlation)
                    .iter()
                    .map(|x| 100.0 * (sd * x).exp())
                    .collect();
                steady_from(&times).is_none()
            })
        };
        let late = share(8, |noise| {
            let times: Vec<f64> = noise
                .autoregressive(count, 0.0)
                .iter()
                .map(|x| 100.0 * (0.01 * x).exp())
                .collect();
            steady_from(&times).is_some_and(|start| start > 0)
        });
        let (quiet, loud, shared) = (
            unsettled(0.01, 0.0),
            unsettled(0.05, 0.0),
            unsettled(0.05, 0.7),
        );
        println!("{count}: {quiet:.4} {loud:.4} {shared:.4}; start above 0: {late:.4}");
        assert!(quiet < 0.02 && loud < 0.08);
    }
}

#[test]
fn effective_size_of_a_known_process() {
    for correlation in [0.0, 0.5, 0.7, 0.9] {
        let mut noise = Noise::seeded(9);
        let share = |noise: &mut Noise| {
            effective_sample_size(&noise.autoregressive(2_000, correlation)).unwrap() / 2_000.0
        };
        let found = (0..50).map(|_| share(&mut noise)).sum::<f64>() / 50.0;
        let expected = (1.0 - correlation) / (1.0 + correlation);
        println!("AR(1) {correlation}: effective share {found:.3}, theory {expected:.3}");
        assert!((found / expected - 1.0).abs() < 0.25);
    }
}
