//! How often the speed verdict is wrong, on made-up runs whose truth is known. Run with `--nocapture` for the rates.

use assay_protocol::Philox;
use assay_verdicts::few_runs::Times;
use assay_verdicts::speed::{Speed, judge};
use assay_verdicts::{DEFAULT_MARGIN, Verdict};

/// Cases of a suite, tries of a session, sessions of a simulation.
const CASES: usize = 12;
const TRIES: usize = 10;
const SESSIONS: usize = 400;

/// A machine: standard deviations of the logarithm between runs and between rounds, chance and size of a
/// disturbed round.
#[derive(Clone, Copy)]
struct Machine {
    name: &'static str,
    run_sd: f64,
    round_sd: f64,
    disturbed: f64,
    disturbance: f64,
}

const QUIET: Machine = Machine {
    name: "quiet",
    run_sd: 0.004,
    round_sd: 0.008,
    disturbed: 0.0,
    disturbance: 0.0,
};
const QUIET_DISTURBED: Machine = Machine {
    name: "quiet, 1 round in 20 disturbed by 20 %",
    disturbed: 0.05,
    disturbance: 0.2,
    ..QUIET
};
const SHARED: Machine = Machine {
    name: "shared",
    run_sd: 0.02,
    round_sd: 0.02,
    disturbed: 0.1,
    disturbance: 0.15,
};
const DECEPTIVE: Machine = Machine {
    name: "quiet rounds, restless runs",
    run_sd: 0.02,
    round_sd: 0.004,
    disturbed: 0.0,
    disturbance: 0.0,
};

struct Dice {
    random: Philox,
    next: u64,
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self {
            random: Philox::new(seed, 0),
            next: 0,
        }
    }

    fn unit(&mut self) -> f64 {
        self.next += 1;
        (f64::from(self.random.word(self.next)) + 0.5) / 4_294_967_296.0
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Round medians of one run of a case.
    fn run(&mut self, machine: Machine, truth: f64, rounds: usize) -> Vec<f64> {
        let level = truth * (machine.run_sd * self.normal()).exp();
        let round = |_| {
            let disturbed = if self.unit() < machine.disturbed {
                machine.disturbance * self.unit()
            } else {
                0.0
            };
            level * (machine.round_sd * self.normal() + disturbed).exp()
        };
        (0..rounds).map(round).collect()
    }
}

fn count(speeds: &[Speed], verdict: Verdict) -> usize {
    speeds
        .iter()
        .filter(|speed| speed.verdict == verdict)
        .count()
}

/// One original and its reproductions, each with a second one for confirmation: how often "regressed" was
/// said, at first and confirmed, and how often "improved".
fn unchanged(machine: Machine, history: usize, dice: &mut Dice) -> [usize; 3] {
    let cases: Vec<Times> = (0..CASES)
        .map(|_| Times {
            baseline: vec![dice.run(machine, 1000.0, 6)],
            candidate: Vec::new(),
            history: (0..history)
                .map(|_| dice.run(machine, 1000.0, 1)[0])
                .collect(),
        })
        .collect();
    let again = |dice: &mut Dice| {
        let cases: Vec<Times> = cases
            .iter()
            .map(|case| Times {
                candidate: vec![dice.run(machine, 1000.0, 6)],
                ..case.clone()
            })
            .collect();
        judge(&cases, DEFAULT_MARGIN)
    };
    let mut said = [0; 3];
    for _ in 0..TRIES {
        let (first, second) = (again(dice), again(dice));
        said[0] += count(&first, Verdict::Regressed);
        said[1] += first
            .iter()
            .zip(&second)
            .filter(|(a, b)| a.verdict == Verdict::Regressed && b.verdict == Verdict::Regressed)
            .count();
        said[2] += count(&first, Verdict::Improved);
    }
    said
}

#[test]
fn verdicts_simulated_unchanged_code_is_not_called_regressed() {
    for (machine, history, allowed) in [
        (QUIET, 0, 0.001),
        (QUIET_DISTURBED, 0, 0.002),
        (SHARED, 0, 0.02),
        (DECEPTIVE, 0, 0.05),
        (DECEPTIVE, 8, 0.02),
    ] {
        let mut dice = Dice::new(11);
        let (mut sessions, mut confirmed, mut improved) = (0, 0, 0);
        for _ in 0..SESSIONS {
            let said = unchanged(machine, history, &mut dice);
            sessions += usize::from(said[0] > 0);
            confirmed += usize::from(said[1] > 0);
            improved += usize::from(said[2] > 0);
        }
        let share = |count: usize| count as f64 / SESSIONS as f64;
        println!(
            "A/A {}, {history} earlier runs: of {SESSIONS} sessions of {TRIES} tries x {CASES} cases, {:.2} % said regressed, {:.2} % after confirmation ({:.2} % improved)",
            machine.name,
            100.0 * share(sessions),
            100.0 * share(confirmed),
            100.0 * share(improved)
        );
        assert!(share(confirmed) <= allowed, "{}", machine.name);
    }
}

#[test]
fn verdicts_simulated_ten_percent_of_a_quiet_case_is_found() {
    for (machine, cases) in [
        (QUIET, 1),
        (QUIET, 12),
        (QUIET_DISTURBED, 1),
        (QUIET_DISTURBED, 12),
    ] {
        let mut dice = Dice::new(12);
        let (mut found, mut confirmed) = (0, 0);
        for _ in 0..SESSIONS * TRIES {
            // The others are as noisy as a shared machine makes memory.
            let mut suite: Vec<Times> = (1..cases)
                .map(|_| Times {
                    baseline: vec![dice.run(SHARED, 1000.0, 6)],
                    candidate: vec![dice.run(SHARED, 1000.0, 6)],
                    history: Vec::new(),
                })
                .collect();
            let original = dice.run(machine, 1000.0, 6);
            suite.push(Times {
                candidate: vec![dice.run(machine, 1100.0, 6)],
                baseline: vec![original],
                history: Vec::new(),
            });
            let last = |suite: &[Times]| judge(suite, DEFAULT_MARGIN).pop().unwrap().verdict;
            let first = last(&suite) == Verdict::Regressed;
            suite.last_mut().unwrap().candidate = vec![dice.run(machine, 1100.0, 6)];
            let second = last(&suite) == Verdict::Regressed;
            found += usize::from(first);
            confirmed += usize::from(first && second);
        }
        let share = |count: usize| count as f64 / (SESSIONS * TRIES) as f64;
        println!(
            "+10 % {}, among {cases} cases: found {:.2} %, confirmed {:.2} %",
            machine.name,
            100.0 * share(found),
            100.0 * share(confirmed)
        );
        assert!(
            share(confirmed) > if machine.disturbed > 0.0 { 0.9 } else { 0.95 },
            "{} among {cases}",
            machine.name
        );
    }
}
