//! Optimizers over many steps, on a quadratic: the same path as a plain `f64` loop of the paper's algorithm, and downhill.

use super::pace::{self, Clock, RunningPace};
use super::rules::{AdamW, Adan, Lion, Rule, Sgd, SophiaG};
use super::schedule::Shape;
use super::{Curvature, Optimizer, OptimizerStep, Tensors};
use crate::device::Team;
use crate::element::DType;
use crate::program::{Fill, Program, Role};
use crate::running::Running;
use assay_protocol::Work;

const N: usize = 300;
const STEPS: usize = 120;
const BATCH: f32 = 8.0;
const EVERY: usize = 10;
const CLOCK: Clock = Clock {
    beta1: 0.9,
    beta2: 0.999,
    peak: 0.03125,
    floor: 0.001,
    warmup: 10,
    steps: 100,
    shape: Shape::Cosine,
};

/// The slope of `sum a (x - b)^2 / 2` in a place.
fn slope(i: usize, x: f64) -> f64 {
    let (a, b) = (0.5 + (i % 7) as f64 / 4.0, (i % 5) as f64 / 4.0 - 0.5);
    a * (x - b)
}

/// Where it begins.
fn begin(i: usize) -> f64 {
    1.0 + (i % 11) as f64 / 8.0
}

/// Parameters after many steps of a program that is run as often, by a team; a step is skipped if it is `skipped`.
fn walk(optimizer: Optimizer, threads: usize, skipped: Option<usize>) -> Vec<f32> {
    let team = Team::new(threads).unwrap();
    let mut program = Program::new(Work::default());
    let fill = Fill::Host(Box::new(|x, _| {
        let x = x.get_mut::<f32>().iter_mut().enumerate();
        x.for_each(|(i, x)| *x = begin(i) as f32);
    }));
    let parameters = program.in_out("x", DType::F32, N, fill);
    let gradients = program.output("g", DType::F32, N);
    let states: Vec<_> = optimizer
        .states()
        .iter()
        .map(|(name, _)| program.in_out(name, DType::F32, N, Fill::Zero))
        .collect();
    let pace = pace::add(&mut program);
    let clock = Clock::add_buffer(&mut program);
    CLOCK.add(&mut program, clock, pace);
    program.step_on_cpu(move |_, buffers| {
        let [x, g] = buffers.many([parameters, gradients]);
        let pairs = x.get::<f32>().iter().zip(g.get_mut::<f32>());
        pairs
            .enumerate()
            .for_each(|(i, (x, g))| *g = slope(i, (*x).into()) as f32);
    });
    let (elements, dtype) = (N, DType::F32);
    if matches!(optimizer, Optimizer::SophiaG(_)) {
        let curvature = Curvature {
            elements,
            gradients: dtype,
            beta2: 0.99,
            batch: BATCH,
        };
        // With the same numbers of buffers.
        let mut every = Program::new(Work::default());
        for spec in &program.buffers {
            every.add(
                spec.name.clone(),
                spec.dtype,
                spec.len,
                Role::Scratch,
                Fill::Zero,
            );
        }
        curvature.add(&mut every, states[1], gradients, pace);
        let mut step = every.take_cpu().unwrap();
        let mut turn = 0;
        program.step_on_cpu(move |team, buffers| {
            if turn % EVERY == 0 {
                step(team, buffers, 1);
            }
            turn += 1;
        });
    }
    let step = OptimizerStep {
        elements,
        gradients: dtype,
        optimizer,
    };
    let tensors = Tensors {
        parameters,
        gradients,
        states: &states,
        pace,
    };
    step.add(&mut program, tensors);
    let mut buffers = program.host_buffers(&team, 1).unwrap();
    let mut run = program.take_cpu().unwrap();
    for turn in 0..STEPS {
        buffers.0[pace].get_mut::<f32>()[pace::PROCEED] = f32::from(skipped != Some(turn));
        run(&team, &mut buffers, 1);
    }
    buffers.get::<f32>(parameters).to_vec()
}

/// The largest distance of a walk from a plain loop, `step(t, eta, theta, g, state)` with `t` from 1.
fn farthest(optimizer: Optimizer, step: impl Fn(i32, f64, f64, f64, &mut [f64; 4]) -> f64) -> f64 {
    let found = walk(optimizer, 1, None);
    let path = |i: usize| {
        let (mut x, mut state) = (begin(i), [0.0; 4]);
        for t in 1..=STEPS as i32 {
            let eta = f64::from(CLOCK.rate(t.into()));
            x = step(t, eta, x, slope(i, x), &mut state);
        }
        x
    };
    // Downhill, if slowly.
    let steepness = |x: &dyn Fn(usize) -> f64| (0..N).map(|i| slope(i, x(i)).powi(2)).sum::<f64>();
    let [first, last] = [steepness(&begin), steepness(&path)];
    assert!(last < first / 2.0, "{optimizer:?}: {first} to {last}");
    let distance = |(i, x): (usize, &f32)| (f64::from(*x) - path(i)).abs();
    found.iter().enumerate().map(distance).fold(0.0, f64::max)
}

#[test]
fn gradient_descent_goes_its_papers_way() {
    let rule = Sgd::default();
    let [mu, lambda] = [rule.momentum, rule.decay].map(f64::from);
    let far = farthest(Optimizer::Sgd(rule), |_, eta, x, g, [v, ..]| {
        *v = mu * *v - eta * g;
        x + *v - eta * lambda * x
    });
    assert!(far < 1e-5, "{far}");
}

#[test]
fn adamw_goes_its_papers_way() {
    let rule = AdamW::default();
    let [b1, b2, eps, lambda] = [rule.beta1, rule.beta2, rule.epsilon, rule.decay].map(f64::from);
    let far = farthest(Optimizer::AdamW(rule), |t, eta, x, g, [m, v, ..]| {
        *m = b1 * *m + (1.0 - b1) * g;
        *v = b2 * *v + (1.0 - b2) * g * g;
        let (m, v) = (*m / (1.0 - b1.powi(t)), *v / (1.0 - b2.powi(t)));
        x - eta * (m / (v.sqrt() + eps) + lambda * x)
    });
    assert!(far < 1e-4, "{far}");
}

#[test]
fn lion_goes_its_papers_way() {
    let rule = Lion::default();
    let [b1, b2, lambda] = [rule.beta1, rule.beta2, rule.decay].map(f64::from);
    let far = farthest(Optimizer::Lion(rule), |_, eta, x, g, [m, ..]| {
        let c = b1 * *m + (1.0 - b1) * g;
        *m = b2 * *m + (1.0 - b2) * g;
        x - eta * (c.signum() + lambda * x)
    });
    // A sign that is open may be another: one step more or less.
    assert!(far < 2.0 * f64::from(CLOCK.peak), "{far}");
}

#[test]
fn adan_goes_its_papers_way() {
    let rule = Adan::default();
    let [b1, b2, b3, eps, lambda] =
        [rule.beta1, rule.beta2, rule.beta3, rule.epsilon, rule.decay].map(f64::from);
    let far = farthest(Optimizer::Adan(rule), |t, eta, x, g, [m, v, n, before]| {
        // Algorithm 1: "set m_0 = g_0", "set v_0 = 0", "n_0 = g_0^2".
        if t == 1 {
            (*m, *v, *n) = (g, 0.0, g * g);
        } else {
            let change = g - *before;
            *m = (1.0 - b1) * *m + b1 * g;
            *v = (1.0 - b2) * *v + b2 * change;
            *n = (1.0 - b3) * *n + b3 * (g + (1.0 - b2) * change).powi(2);
        }
        *before = g;
        let eta_n = eta / (n.sqrt() + eps);
        (x - eta_n * (*m + (1.0 - b2) * *v)) / (1.0 + lambda * eta)
    });
    assert!(far < 1e-4, "{far}");
}

/// Of any gradient the first step of Adan goes as far as the rate says, whatever is in its states.
#[test]
fn adan_begins_with_a_whole_step() {
    let rule = Adan {
        decay: 0.0,
        ..Adan::default()
    };
    let mut at = [1.0; pace::LEN];
    at[pace::RATE] = 0.125;
    let pace = RunningPace::of(&at);
    for g in [-3.0_f32, 1e-3, 7.0] {
        let mut states = [1e9_f32; 4].map(Running::from);
        let x = rule.reference(&pace, Running::exact(1.0), g.into(), &mut states);
        let expected = 1.0 - 0.125 * f64::from(g.signum());
        assert!((x.value - expected).abs() < 1e-4, "{g}: {x:?}");
    }
}

#[test]
fn sophia_goes_its_papers_way() {
    let rule = SophiaG::default();
    let [b1, gamma, eps, lambda] =
        [rule.beta1, rule.gamma, rule.epsilon, rule.decay].map(f64::from);
    let b2 = f64::from(0.99_f32);
    let far = farthest(Optimizer::SophiaG(rule), |t, eta, x, g, [m, h, ..]| {
        *m = b1 * *m + (1.0 - b1) * g;
        // In the first of every k steps.
        if t as usize % EVERY == 1 {
            *h = b2 * *h + (1.0 - b2) * f64::from(BATCH) * g * g;
        }
        let x = x - eta * lambda * x;
        x - eta * (*m / (gamma * *h).max(eps)).clamp(-1.0, 1.0)
    });
    assert!(far < 1e-3, "{far}");
}

#[test]
fn a_walk_has_the_same_bits_from_any_team_and_skipped_steps_change_nothing() {
    for optimizer in [
        Optimizer::Sgd(Sgd::default()),
        Optimizer::AdamW(AdamW::default()),
        Optimizer::Lion(Lion::default()),
        Optimizer::Adan(Adan::default()),
        Optimizer::SophiaG(SophiaG::default()),
    ] {
        let bits = |threads, skipped| {
            let path = walk(optimizer, threads, skipped).into_iter();
            path.map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(1, None), bits(3, None), "{optimizer:?}");
        assert_ne!(bits(1, None), bits(1, Some(5)), "{optimizer:?}");
    }
}

/// NaN and infinity in a gradient reach the parameter, and no other.
#[test]
fn what_is_no_number_is_not_hidden() {
    for optimizer in [
        Optimizer::Sgd(Sgd::default()),
        Optimizer::AdamW(AdamW::default()),
        Optimizer::Lion(Lion::default()),
        Optimizer::Adan(Adan::default()),
        Optimizer::SophiaG(SophiaG::default()),
    ] {
        let mut program = Program::new(Work::default());
        super::add_step(&mut program, 5, DType::F32, optimizer);
        let team = Team::new(1).unwrap();
        let mut buffers = program.host_buffers(&team, 1).unwrap();
        buffers.0[1].get_mut::<f32>()[3] = f32::NAN;
        program.take_cpu().unwrap()(&team, &mut buffers, 1);
        let is_nan: Vec<_> = buffers.get::<f32>(0).iter().map(|x| x.is_nan()).collect();
        assert_eq!(is_nan, [false, false, false, true, false], "{optimizer:?}");
    }
}
