//! The stopping policies at their edges.

use assay_stats::{AcrossRounds, Decision, StopReason, WithinRound};

const WITHIN: WithinRound = WithinRound {
    target_relative_half_width: 0.01,
    min_samples: 10,
    max_samples: 100,
    budget_ns: 1_000,
};

fn noisy(count: u32) -> Vec<f64> {
    (0..count)
        .map(|index| if index % 2 == 0 { 100.0 } else { 150.0 })
        .collect()
}

#[test]
fn precise_after_the_minimum_and_not_before() {
    assert_eq!(WITHIN.decide(&[100.0; 9], 0), Decision::Continue);
    assert_eq!(
        WITHIN.decide(&[100.0; 10], 0),
        Decision::Stop(StopReason::Precise)
    );
    assert_eq!(
        WITHIN.decide(&[100.0; 10], 5_000),
        Decision::Stop(StopReason::Precise)
    );
}

#[test]
fn a_small_minimum_still_needs_the_samples_that_95_percent_takes() {
    let eager = WithinRound {
        min_samples: 1,
        ..WITHIN
    };
    assert_eq!(eager.decide(&[100.0; 5], 0), Decision::Continue);
    assert_eq!(
        eager.decide(&[100.0; 6], 0),
        Decision::Stop(StopReason::Precise)
    );
}

#[test]
fn noise_goes_on_to_the_largest_count_or_the_budget() {
    assert_eq!(WITHIN.decide(&noisy(99), 999), Decision::Continue);
    assert_eq!(
        WITHIN.decide(&noisy(99), 1_000),
        Decision::Stop(StopReason::Budget)
    );
    assert_eq!(
        WITHIN.decide(&noisy(100), 1_000),
        Decision::Stop(StopReason::MaxSamples)
    );
    assert_eq!(
        WITHIN.decide(&[], 1_000),
        Decision::Stop(StopReason::Budget)
    );
    assert_eq!(WITHIN.decide(&[], 0), Decision::Continue);
    assert_eq!(WITHIN.decide(&[f64::NAN; 50], 0), Decision::Continue);
}

#[test]
fn rounds_come_in_whole_blocks() {
    let policy = AcrossRounds::default();
    assert_eq!(policy.decide(&[]), Decision::Continue);
    assert_eq!(policy.decide(&[100.0; 5]), Decision::Continue);
    assert_eq!(
        policy.decide(&[100.0; 6]),
        Decision::Stop(StopReason::Precise)
    );
    assert_eq!(policy.decide(&[100.0; 7]), Decision::Continue);
    assert_eq!(policy.decide(&noisy(18)), Decision::Continue);
    assert_eq!(
        policy.decide(&noisy(20)),
        Decision::Stop(StopReason::MaxRounds)
    );
    assert_eq!(
        policy.decide(&[f64::NAN; 20]),
        Decision::Stop(StopReason::MaxRounds)
    );
}

#[test]
fn the_maximum_is_never_passed() {
    for (min_rounds, max_rounds, block) in [
        (6, 7, 2),
        (6, 4, 2),
        (1, 1, 2),
        (3, 10, 0),
        (6, 0, 2),
        (4, 9, 4),
    ] {
        let policy = AcrossRounds {
            target_relative_half_width: 0.01,
            min_rounds,
            max_rounds,
            block,
        };
        let mut rounds = Vec::new();
        while policy.decide(&rounds) == Decision::Continue {
            rounds.push(100.0 + 50.0 * (rounds.len() % 2) as f64);
            assert!(rounds.len() <= max_rounds);
        }
        assert_eq!(
            policy.decide(&rounds),
            Decision::Stop(StopReason::MaxRounds)
        );
    }
}
