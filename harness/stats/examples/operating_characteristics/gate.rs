//! Assay's rule on simulated nights: the window, the suite's movement, suspects, confirmation.

use assay_stats::gate::CONFIRMATION_PAIRS;
use assay_stats::{
    Movement, Position, RatioInterval, Rules, confirm, movement, paired_log_ratio, ratio_of_values,
    run_value, screen,
};

use crate::noise::{Case, Model, Night, Run};
use crate::random::Random;

/// Runs of the baseline, and the newest ones that are left out of it.
pub const WINDOW: usize = 20;
pub const GAP: usize = 2;

/// Values of all cases, night by night.
pub struct Values(pub Vec<Vec<f64>>);

impl Values {
    pub fn push(&mut self, runs: &[Run]) {
        let value = |run: &Run| {
            let times: Vec<f64> = run.medians.iter().map(|log| log.exp()).collect();
            run_value(&times).unwrap_or(f64::NAN)
        };
        self.0.push(runs.iter().map(value).collect());
    }
}

/// One night against its baseline.
pub struct Judgement {
    movement: Option<Movement>,
    baselines: Vec<Vec<f64>>,
    tonight: Vec<f64>,
    /// As shown: raw.
    pub shown: Vec<Option<RatioInterval>>,
    /// As judged: relative to what the suite did.
    pub judged: Vec<Option<RatioInterval>>,
    rules: Rules,
}

impl Judgement {
    /// Of `night`, an index into the values.
    pub fn of(values: &Values, night: usize) -> Self {
        let rules = Rules::default();
        let end = night - GAP;
        let window = &values.0[end - WINDOW..end];
        let some = |row: &Vec<f64>| row.iter().copied().map(Some).collect::<Vec<_>>();
        let tonight = values.0[night].clone();
        let rows: Vec<_> = window.iter().map(some).collect();
        let movement = movement(&rows, &some(&tonight), GAP, rules.least_effect);
        let baselines: Vec<Vec<f64>> = (0..tonight.len())
            .map(|case| window.iter().map(|run| run[case]).collect())
            .collect();
        let mut found = Self {
            movement,
            baselines,
            tonight,
            shown: Vec::new(),
            judged: Vec::new(),
            rules,
        };
        let cases = 0..found.tonight.len();
        found.shown = cases.clone().map(|case| found.raw(case, 0.0)).collect();
        found.judged = cases.map(|case| found.relative(case, 0.0)).collect();
        found
    }

    /// A case with a true change added tonight.
    pub fn raw(&self, case: usize, change: f64) -> Option<RatioInterval> {
        ratio_of_values(
            &self.baselines[case],
            &[self.tonight[case] + change],
            GAP,
            self.rules.confidence,
        )
    }

    /// The same relative to the suite. One case of 300 does not move its middle.
    pub fn relative(&self, case: usize, change: f64) -> Option<RatioInterval> {
        let raw = self.raw(case, change)?;
        let Some(moved) = &self.movement else {
            return Some(raw);
        };
        let baseline: Vec<(usize, f64)> =
            self.baselines[case].iter().copied().enumerate().collect();
        Some(moved.relative(&baseline, self.tonight[case] + change, GAP, &raw))
    }

    /// Whether the machine as a whole is said to have moved.
    pub fn has_event(&self) -> bool {
        self.movement
            .as_ref()
            .is_some_and(|moved| moved.event.is_some())
    }

    /// Indices of suspects, and how many cases the screening calls by itself.
    pub fn screen(&self) -> (Vec<usize>, usize) {
        let judged = screen(&self.judged, &self.rules);
        let is_suspect = |case: &usize| judged[*case].is_some_and(|found| found.suspect);
        let suspects = (0..judged.len()).filter(is_suspect).collect();
        let called = judged
            .iter()
            .flatten()
            .filter(|found| found.position.is_called());
        (suspects, called.count())
    }

    /// Whether a case becomes a suspect when it alone has changed.
    pub fn suspects(&self, case: usize, change: f64) -> bool {
        let alone = screen(&[self.relative(case, change)], &self.rules);
        alone[0].is_some_and(|found| found.suspect)
    }

    /// How many cases are called unchanged.
    pub fn unchanged(&self) -> usize {
        let within = |effect: &&RatioInterval| {
            assay_stats::position(effect, self.rules.margin) == Position::Within
        };
        self.shown.iter().flatten().filter(within).count()
    }
}

/// Runs suspects again, interleaved; `changes` are their true effects. Whether each is confirmed.
pub fn confirmed(model: &Model, suspects: &[(&Case, f64)], random: &mut Random) -> Vec<bool> {
    let night = Night::draw_within(model, random);
    let effects: Vec<Option<RatioInterval>> = suspects
        .iter()
        .map(|(case, change)| {
            interleaved(case, *change, CONFIRMATION_PAIRS as usize, &night, random)
        })
        .collect();
    confirm(&effects, &Rules::default())
        .iter()
        .map(|found| found.is_some_and(|found| found.position.is_called()))
        .collect()
}

/// The ratio of two arms of which the second is slower by `change` in the logarithm.
pub fn interleaved(
    case: &Case,
    change: f64,
    pairs: usize,
    night: &Night,
    random: &mut Random,
) -> Option<RatioInterval> {
    let [a, b] = case.pairs(pairs, night, random);
    let a: Vec<f64> = a.iter().map(|log| log.exp()).collect();
    let b: Vec<f64> = b.iter().map(|log| (log + change).exp()).collect();
    paired_log_ratio(&a, &b, Rules::default().confidence)
}
