//! The end of warm-up on made-up rounds.

mod noise;

use assay_stats::steady_from;
use noise::Noise;
use proptest::prelude::*;

/// A round of 100 times `shape`, with a little seeded noise of the given relative size.
fn round(count: usize, seed: u64, noise: f64, shape: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut source = Noise::seeded(seed);
    (0..count)
        .map(|index| 100.0 * shape(index as f64) * (noise * source.normal()).exp())
        .collect()
}

#[test]
fn one_slow_first_sample_is_warm_up() {
    let mut times = vec![100.0; 8];
    times[0] = 300.0;
    assert_eq!(steady_from(&times), Some(1));
}

#[test]
fn too_few_samples_show_nothing() {
    assert_eq!(steady_from(&[100.0; 7]), None);
    assert_eq!(steady_from(&[]), None);
    assert_eq!(steady_from(&[f64::NAN; 20]), None);
}

/// A start that is too fast, then too slow, crosses the level on its way: the crossing is no end of warm-up.
#[test]
fn a_crossing_is_not_the_end() {
    let times: Vec<f64> = (0..100)
        .map(|i| {
            100.0
                + if i < 20 {
                    4.0 * f64::from(i) - 38.0
                } else {
                    0.0
                }
        })
        .collect();
    assert_eq!(steady_from(&times), Some(20));
}

proptest! {
    #[test]
    fn flat_is_steady_from_the_start(count in 8usize..300, level in 1e-3..1e9) {
        prop_assert_eq!(steady_from(&vec![level; count]), Some(0));
    }

    #[test]
    fn a_step_is_found_exactly(count in 20usize..300, share in 0.0..0.45, height in 1.2..10.0, seed: u64) {
        let step = (share * count as f64) as usize;
        for factor in [height, 1.0 / height] {
            let times = round(count, seed, 0.001, |i| if i < step as f64 { factor } else { 1.0 });
            prop_assert_eq!(steady_from(&times), Some(step));
        }
    }

    #[test]
    fn a_decay_ends_where_its_excess_is_small(time_constant in 1.0_f64..12.0, height in 0.2_f64..5.0, seed: u64) {
        let times = round(200, seed, 0.002, |i: f64| 1.0 + height * (-i / time_constant).exp());
        let found = steady_from(&times).unwrap() as f64;
        let excess = height * (-found / time_constant).exp();
        prop_assert!(excess < 0.04, "{} left at {}", excess, found);
        prop_assert!(excess > 1e-4, "{} waited too long, to {}", excess, found);
    }

    #[test]
    fn a_trend_never_settles(count in 40usize..300, rise in 0.5_f64..1.5, seed: u64) {
        for sign in [1.0_f64, -0.5] {
            let times = round(count, seed, 0.01, |i| 1.0 + sign * rise * i / count as f64);
            prop_assert_eq!(steady_from(&times), None);
        }
    }

    #[test]
    fn a_step_in_the_last_half_never_settles(count in 20usize..300, seed: u64) {
        let times = round(count, seed, 0.01, |i| if i < 0.75 * count as f64 { 1.0 } else { 1.3 });
        prop_assert_eq!(steady_from(&times), None);
    }

    #[test]
    fn outliers_change_nothing(seed: u64, at in prop::collection::vec(1usize..200, 0..10), height in 2.0..50.0) {
        let mut times = round(200, seed, 0.005, |_| 1.0);
        let clean = steady_from(&times);
        for index in at {
            times[index] = 100.0 * height;
        }
        prop_assert!(steady_from(&times).is_some_and(|found| found <= 20), "{:?} was {:?}", steady_from(&times), clean);
    }

    #[test]
    fn scale_changes_nothing(seed: u64, power in -20i32..20) {
        let times = round(100, seed, 0.02, |i: f64| 1.0 + (-i / 5.0).exp());
        let scaled: Vec<f64> = times.iter().map(|time| time * 2.0_f64.powi(power)).collect();
        prop_assert_eq!(steady_from(&times), steady_from(&scaled));
    }
}
