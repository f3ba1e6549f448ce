//! Simulated machines: what a sample, a round, a run and a suite share, and how it varies.
//!
//! All noise is additive in the logarithm of time, so that a true change by a factor shifts it and the same draws serve
//! every effect size.

use crate::random::Random;

/// Samples of a round, rounds of a run. "At equal samples": every rule sees the same ones.
pub const SAMPLES: usize = 100;
/// Rounds of a run.
pub const ROUNDS: usize = 6;

/// Shape of a noise, scaled to the standard deviation that a model states.
#[derive(Clone, Copy, PartialEq)]
pub enum Tail {
    /// Normal.
    Normal,
    /// Student's t with 3 degrees of freedom.
    Heavy,
}

/// A machine. Deviations are of logarithms.
#[derive(Clone, Copy)]
pub struct Model {
    pub name: &'static str,
    pub what: &'static str,
    /// Of one sample within a round.
    pub sample_sd: f64,
    /// Correlation of neighbouring samples.
    pub autocorrelation: f64,
    pub sample_tail: Tail,
    pub round_sd: f64,
    pub round_tail: Tail,
    /// Share of rounds in the second mode, and how much slower that is.
    pub round_modes: (f64, f64),
    pub night_sd: f64,
    pub night_tail: Tail,
    /// Share of nights in the second mode, and how much slower that is.
    pub night_modes: (f64, f64),
    /// Correlation of neighbouring nights.
    pub night_autocorrelation: f64,
    /// Deviation of the slope over one run, common to all its cases.
    pub run_drift_sd: f64,
    /// Slope from night to night, common to all cases.
    pub night_drift: f64,
    /// Chance that a night moves all cases together, and by how much.
    pub common_shifts: (f64, f64),
    /// Share of the cases that are quiet in spite of the rest.
    pub quiet_share: f64,
}

/// The GPU that nobody else uses.
pub const QUIET: Model = Model {
    name: "quiet",
    what: "within a round 0.5 %, between rounds 0.5 %, between nights 0.5 %; normal",
    sample_sd: 0.005,
    autocorrelation: 0.0,
    sample_tail: Tail::Normal,
    round_sd: 0.005,
    round_tail: Tail::Normal,
    round_modes: (0.0, 0.0),
    night_sd: 0.005,
    night_tail: Tail::Normal,
    night_modes: (0.0, 0.0),
    night_autocorrelation: 0.0,
    run_drift_sd: 0.0,
    night_drift: 0.0,
    common_shifts: (0.0, 0.0),
    quiet_share: 0.0,
};

/// The machine that others use too: everything at once.
pub const SHARED: Model = Model {
    name: "shared",
    what: "within 5 % (AR(1) 0.7, t3), rounds 2 % (t3; one in ten is 5 % slower), nights 2 %, a run drifts by 1 %",
    sample_sd: 0.05,
    autocorrelation: 0.7,
    sample_tail: Tail::Heavy,
    round_sd: 0.02,
    round_tail: Tail::Heavy,
    round_modes: (0.1, 0.05),
    night_sd: 0.02,
    run_drift_sd: 0.01,
    ..QUIET
};

/// Every model, the two of the requirements first.
pub const MODELS: [Model; 9] = [
    QUIET,
    SHARED,
    Model {
        name: "mixture",
        what: "half of the cases quiet, half shared",
        quiet_share: 0.5,
        ..SHARED
    },
    Model {
        name: "common shifts",
        what: "quiet, and one night in ten moves all cases together by 5 %, up or down",
        common_shifts: (0.1, 0.05),
        ..QUIET
    },
    Model {
        name: "drift",
        what: "quiet, and all cases slow down by 0.05 % a night",
        night_drift: 0.0005,
        ..QUIET
    },
    Model {
        name: "heavy nights",
        what: "quiet, but nights 1 % with t3",
        night_sd: 0.01,
        night_tail: Tail::Heavy,
        ..QUIET
    },
    Model {
        name: "two-mode nights",
        what: "quiet, but one night in five is 5 % slower, each case for itself",
        night_modes: (0.2, 0.05),
        ..QUIET
    },
    Model {
        name: "two-mode rounds",
        what: "quiet, but three rounds in ten are 5 % slower",
        round_modes: (0.3, 0.05),
        ..QUIET
    },
    Model {
        name: "correlated nights",
        what: "quiet, but nights 1 % with AR(1) 0.7",
        night_sd: 0.01,
        night_autocorrelation: 0.7,
        ..QUIET
    },
];

/// What all cases of one night share.
#[derive(Clone, Copy, Default)]
pub struct Night {
    shift: f64,
    drift: f64,
}

impl Night {
    /// The night of that number; the number matters for slow drift alone.
    pub fn draw(model: &Model, number: usize, random: &mut Random) -> Self {
        let (chance, size) = model.common_shifts;
        let jump = if random.chance(chance) {
            size.ln_1p() * random.sign()
        } else {
            0.0
        };
        Self {
            shift: jump + model.night_drift * number as f64,
            drift: model.run_drift_sd * random.normal(),
        }
    }

    /// The same night without its own shift: both arms of an interleaved run share that.
    pub fn draw_within(model: &Model, random: &mut Random) -> Self {
        Self {
            shift: 0.0,
            drift: model.run_drift_sd * random.normal(),
        }
    }
}

/// One case through the nights.
pub struct Case {
    model: Model,
    night: f64,
}

/// One run of one case: logarithms of its samples, round after round, and of the rounds' medians.
#[derive(Clone, Default)]
pub struct Run {
    pub samples: Vec<f64>,
    pub medians: Vec<f64>,
}

impl Case {
    /// The case of that number: models with quiet cases have them first.
    pub fn new(model: &Model, share: f64, random: &mut Random) -> Self {
        let model = if share < model.quiet_share {
            QUIET
        } else {
            *model
        };
        Self {
            model,
            night: random.normal(),
        }
    }

    /// A run on a night.
    pub fn run(&mut self, night: &Night, random: &mut Random) -> Run {
        let model = self.model;
        let own = self.own_night(random);
        let mut run = Run::default();
        for round in 0..ROUNDS {
            let along = round as f64 / (ROUNDS - 1) as f64 - 0.5;
            let center = own + night.shift + night.drift * along + round_noise(&model, random);
            run.medians
                .push(center + median_of_samples(&model, random, center, Some(&mut run.samples)));
        }
        run
    }

    /// Paired rounds of two arms that differ by nothing: logarithms of medians, in ABBA order over one run.
    pub fn pairs(&self, pairs: usize, night: &Night, random: &mut Random) -> [Vec<f64>; 2] {
        let mut arms = [Vec::new(), Vec::new()];
        for visit in 0..2 * pairs {
            let arm = usize::from(matches!(visit % 4, 1 | 2));
            let along = visit as f64 / (2 * pairs - 1) as f64 - 0.5;
            let center = night.drift * along + round_noise(&self.model, random);
            arms[arm].push(center + median_of_samples(&self.model, random, center, None));
        }
        arms
    }

    fn own_night(&mut self, random: &mut Random) -> f64 {
        let model = &self.model;
        let rho = model.night_autocorrelation;
        let fresh = random.shaped(model.night_tail);
        self.night = if rho == 0.0 {
            fresh
        } else {
            rho * self.night + (1.0 - rho * rho).sqrt() * fresh
        };
        model.night_sd * self.night + mode(model.night_modes, random)
    }
}

fn round_noise(model: &Model, random: &mut Random) -> f64 {
    model.round_sd * random.shaped(model.round_tail) + mode(model.round_modes, random)
}

fn mode((share, slower): (f64, f64), random: &mut Random) -> f64 {
    if random.chance(share) {
        slower.ln_1p()
    } else {
        0.0
    }
}

/// Draws a round's samples around 0 and gives their median; keeps them, around `center`, where somebody wants them.
fn median_of_samples(
    model: &Model,
    random: &mut Random,
    center: f64,
    keep: Option<&mut Vec<f64>>,
) -> f64 {
    let rho = model.autocorrelation;
    let innovation = (1.0 - rho * rho).sqrt();
    let mut state = random.shaped(model.sample_tail);
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let fresh = random.shaped(model.sample_tail);
            state = if rho == 0.0 {
                fresh
            } else {
                rho * state + innovation * fresh
            };
            model.sample_sd * state
        })
        .collect();
    if let Some(kept) = keep {
        kept.extend(samples.iter().map(|sample| center + sample));
    }
    let (below, upper, _) = samples.select_nth_unstable_by(SAMPLES / 2, f64::total_cmp);
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    f64::midpoint(lower, *upper)
}
