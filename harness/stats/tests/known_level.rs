//! Baselines that begin after a known change of level: what they find, and what that costs in false alarms. Run with `--nocapture` for the rates.

mod noise;

use assay_stats::{Position, RatioInterval, Rules, known_level, ratio_of_values, screen};

use noise::Noise;

const WINDOW: usize = 20;
/// Runs that the window leaves out before the one that is judged.
const GAP: usize = 2;
const TRIES: usize = 20_000;

/// What a gate says of one case: called, suspected, equal.
#[derive(Clone, Copy, Default)]
struct Rates {
    called: f64,
    suspected: f64,
    equal: f64,
    /// How often the baseline was shortened.
    shortened: f64,
}

fn judge(values: &[f64], is_known: bool, rates: &mut Rates) {
    let rules = Rules::default();
    let first = if is_known {
        known_level(&values[..WINDOW], rules.least_effect)
    } else {
        None
    };
    let baseline = &values[first.unwrap_or(0)..WINDOW];
    let effect: Option<RatioInterval> =
        ratio_of_values(baseline, &values[WINDOW + GAP..], GAP, rules.confidence);
    let judged = screen(&[effect], &rules)[0].unwrap();
    let each = 1.0 / TRIES as f64;
    rates.called += f64::from(judged.position.is_called()) * each;
    rates.suspected += f64::from(judged.suspect) * each;
    rates.equal += f64::from(judged.position == Position::Within) * each;
    rates.shortened += f64::from(first.is_some()) * each;
}

/// Rates with the whole window, and with what is known of its level.
fn rates(mut series: impl FnMut(&mut Noise) -> Vec<f64>) -> [Rates; 2] {
    let mut noise = Noise::seeded(17);
    let mut found = [Rates::default(); 2];
    for _ in 0..TRIES {
        let values = series(&mut noise);
        assert_eq!(values.len(), WINDOW + GAP + 1);
        judge(&values, false, &mut found[0]);
        judge(&values, true, &mut found[1]);
    }
    found
}

fn told(name: &str, [whole, known]: &[Rates; 2]) {
    println!(
        "{name}: called {:.2} % and {:.2} %, suspected {:.2} % and {:.2} %, equal {:.1} % and {:.1} %; shortened {:.2} %",
        100.0 * whole.called,
        100.0 * known.called,
        100.0 * whole.suspected,
        100.0 * known.suspected,
        100.0 * whole.equal,
        100.0 * known.equal,
        100.0 * known.shortened
    );
}

const LENGTH: usize = WINDOW + GAP + 1;

/// Values of nights that flip between two modes, each of which lasts for so many nights on average.
fn modes(noise: &mut Noise, nights: f64, apart: f64, sd: f64) -> Vec<f64> {
    let mut slow = noise.uniform() < 0.5;
    (0..LENGTH)
        .map(|_| {
            slow ^= noise.uniform() < 1.0 / nights;
            f64::from(slow) * apart + sd * noise.normal()
        })
        .collect()
}

/// Nothing changed but what nights do by themselves, in seven ways.
#[test]
fn a_known_level_costs_no_false_alarms() {
    type Series = fn(&mut Noise) -> Vec<f64>;
    let models: [(&str, Series); 7] = [
        ("independent nights of 0.5 %", |n| {
            (0..LENGTH).map(|_| 0.005 * n.normal()).collect()
        }),
        ("independent nights of 2 %", |n| {
            (0..LENGTH).map(|_| 0.02 * n.normal()).collect()
        }),
        ("heavy tails of 1 %", |n| {
            n.heavy_tailed(LENGTH, 3)
                .iter()
                .map(|v| 0.006 * v)
                .collect()
        }),
        ("correlated nights of 1 %", |n| {
            n.autoregressive(LENGTH, 0.7)
                .iter()
                .map(|v| 0.01 * v)
                .collect()
        }),
        ("a drift of 0.05 % a night", |n| {
            (0..LENGTH)
                .map(|night| 0.0005 * night as f64 + 0.005 * n.normal())
                .collect()
        }),
        ("one night in five 5 % slower", |n| {
            (0..LENGTH)
                .map(|_| 0.049 * f64::from(n.uniform() < 0.2) + 0.005 * n.normal())
                .collect()
        }),
        ("modes 5 % apart of three nights", |n| {
            modes(n, 3.0, 0.049, 0.005)
        }),
    ];
    for (name, series) in models {
        let found = rates(series);
        told(name, &found);
        let [whole, known] = found;
        assert!(known.called <= whole.called + 0.003, "{name}");
        assert!(known.suspected <= whole.suspected + 0.005, "{name}");
    }
}

/// The level changed within the window, and nothing since.
#[test]
fn a_window_with_a_known_step_says_what_the_new_level_says() {
    let stepped = |since: usize, now: f64| {
        move |n: &mut Noise| -> Vec<f64> {
            let level = |night: usize| match night {
                _ if night == LENGTH - 1 => 0.1 + now,
                _ if night + since >= WINDOW => 0.1,
                _ => 0.0,
            };
            (0..LENGTH)
                .map(|night| level(night) + 0.005 * n.normal())
                .collect()
        }
    };
    for since in [3, 6, 8, 12] {
        let same = rates(stepped(since, 0.0));
        told(
            &format!("10 % {since} runs before the end, nothing since"),
            &same,
        );
        let slower = rates(stepped(since, 0.05));
        told(
            &format!("10 % {since} runs before the end, and 5 % now"),
            &slower,
        );
        let [[whole, known], [_, finds]] = [same, slower];
        if since < 5 {
            // Too few runs to be a baseline: what is said is as it was.
            assert!(known.shortened < 0.1);
            continue;
        }
        assert!(known.shortened > 0.8, "{since}");
        // As of a window without a change: see the independent nights above.
        assert!(known.called <= 0.03, "{since}: {}", known.called);
        assert!(known.equal > whole.equal + 0.3, "{since}");
        assert!(finds.suspected > 0.8, "{since}: {}", finds.suspected);
    }
}
