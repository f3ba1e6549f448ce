//! What a gate is said to find, it finds: seeded simulations of nights and of confirmations. `--nocapture` prints the shares.

mod noise;

use assay_stats::gate::CONFIRMATION_PAIRS;
use assay_stats::planning;
use assay_stats::{
    Position, Rules, confirm, paired_log_ratio, ratio_of_values, run_value, screen, value_sd,
};
use noise::Noise;

const TRIALS: u32 = 4_000;
const SUSPECTS: usize = 15;
const NIGHTS: usize = 20;
const GAP: usize = 2;
const ROUNDS: usize = 10;

/// Nights of 10 rounds, and what they leave.
struct Truth {
    round_sd: f64,
    run_sd: f64,
}

impl Truth {
    fn night(&self, noise: &mut Noise, effect: f64) -> f64 {
        run_value(&noise.run(ROUNDS, 100.0 * effect, self.round_sd, self.run_sd)).unwrap()
    }

    /// What is planned with, had one seen very many nights.
    fn known(&self) -> planning::Noise {
        let mut noise = Noise::seeded(3);
        let nights: Vec<f64> = (0..20_000).map(|_| self.night(&mut noise, 1.0)).collect();
        planning::Noise {
            value_sd: value_sd(&nights).unwrap(),
            paired_sd: self.round_sd,
            power: 0.9,
        }
    }

    /// Tonight against a window, with so much of a change.
    fn screened(&self, noise: &mut Noise, effect: f64) -> assay_stats::Judged {
        let window: Vec<f64> = (0..NIGHTS).map(|_| self.night(noise, 1.0)).collect();
        let tonight = [self.night(noise, effect)];
        let found = ratio_of_values(&window, &tonight, GAP, 0.95);
        screen(&[found], &Rules::default())[0].unwrap()
    }

    /// Whether a changed case is called among suspects that did not change.
    fn is_confirmed(&self, noise: &mut Noise, effect: f64) -> bool {
        let effects: Vec<_> = (0..SUSPECTS)
            .map(|case| {
                let level = if case == 0 { effect } else { 1.0 };
                let mut arm =
                    |level| noise.run(CONFIRMATION_PAIRS as usize, level, self.round_sd, 0.0);
                paired_log_ratio(&arm(1.0), &arm(level), 0.95)
            })
            .collect();
        confirm(&effects, &Rules::default())[0].unwrap().position == Position::Above
    }
}

fn share(seed: u64, mut trial: impl FnMut(&mut Noise) -> bool) -> f64 {
    let mut noise = Noise::seeded(seed);
    f64::from((0..TRIALS).filter(|_| trial(&mut noise)).count() as u32) / f64::from(TRIALS)
}

/// From nights alone, from rounds alone, from both, and where only the least effect counts.
const TRUTHS: [Truth; 5] = [
    Truth {
        round_sd: 0.002,
        run_sd: 0.015,
    },
    Truth {
        round_sd: 0.02,
        run_sd: 0.0,
    },
    Truth {
        round_sd: 0.01,
        run_sd: 0.01,
    },
    Truth {
        round_sd: 0.004,
        run_sd: 0.002,
    },
    Truth {
        round_sd: 0.001,
        run_sd: 0.000_5,
    },
];

#[test]
fn what_is_said_to_be_detectable_is_suspected_and_confirmed() {
    for truth in TRUTHS {
        let known = truth.known();
        let claimed = known
            .detectable(&Rules::default(), SUSPECTS as f64)
            .unwrap();
        let found = share(5, |noise| {
            truth.screened(noise, 1.0 + claimed).suspect && truth.is_confirmed(noise, 1.0 + claimed)
        });
        println!(
            "{} {}: {claimed:.4} found {found:.3}",
            truth.round_sd, truth.run_sd
        );
        assert!((0.87..=0.965).contains(&found), "{claimed}: {found}");
    }
}

#[test]
fn within_the_margin_that_is_said_to_be_possible_an_unchanged_case_is_called_so() {
    for truth in TRUTHS {
        let margin = truth.known().margin(0.95).unwrap();
        let rules = Rules {
            margin,
            least_effect: 1.0,
            ..Rules::default()
        };
        let within = share(7, |noise| {
            let window: Vec<f64> = (0..NIGHTS).map(|_| truth.night(noise, 1.0)).collect();
            let tonight = [truth.night(noise, 1.0)];
            let found = ratio_of_values(&window, &tonight, GAP, 0.95);
            screen(&[found], &rules)[0].unwrap().position == Position::Within
        });
        println!(
            "{} {}: margin {margin:.4} within {within:.3}",
            truth.round_sd, truth.run_sd
        );
        assert!((0.87..=0.95).contains(&within), "{margin}: {within}");
    }
}

#[test]
fn the_deviation_of_nights_is_not_that_of_a_change() {
    let mut noise = Noise::seeded(11);
    let (mut quiet, mut stepped) = (0.0, 0.0);
    for _ in 0..TRIALS {
        let mut nights: Vec<f64> = (0..NIGHTS).map(|_| 0.01 * noise.normal()).collect();
        quiet += value_sd(&nights).unwrap() / f64::from(TRIALS);
        for night in &mut nights[NIGHTS / 2..] {
            *night += 0.10;
        }
        stepped += value_sd(&nights).unwrap() / f64::from(TRIALS);
    }
    println!("0.01 is {quiet:.4}, and {stepped:.4} beside a step of 0.10");
    assert!((0.0095..0.0105).contains(&quiet), "{quiet}");
    assert!((0.0095..0.0125).contains(&stepped), "{stepped}");
}

#[test]
fn more_noise_hides_more_and_nonsense_finds_nothing() {
    let noise = |value_sd, paired_sd| planning::Noise {
        value_sd,
        paired_sd,
        power: 0.9,
    };
    let detectable =
        |value_sd, paired_sd| noise(value_sd, paired_sd).detectable(&Rules::default(), 15.0);
    let floor = detectable(0.0, 0.0).unwrap();
    assert!((floor - 0.01).abs() < 1e-12, "{floor}");
    assert!(detectable(0.01, 0.0) < detectable(0.02, 0.0));
    assert!(detectable(0.0, 0.01) < detectable(0.0, 0.02));
    assert_eq!(detectable(f64::NAN, 0.0), None);
    assert_eq!(detectable(0.0, -1.0), None);
    assert_eq!(noise(f64::INFINITY, 0.0).margin(0.95), None);
    assert!(value_sd(&[0.1]).is_none() && value_sd(&[0.1, f64::NAN]).is_none());
}
