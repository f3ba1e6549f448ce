//! Schedules of learning rates: how a rate rises to its peak and falls from it.
//!
//! | shape        | rises, at share `u` of the warm-up          | falls, at share `u` of the rest | source                                  |
//! |--------------|---------------------------------------------|---------------------------------|-----------------------------------------|
//! | cosine       | `u`                                         | `(1 + cos pi u) / 2`            | Loshchilov, Hutter, "SGDR", ICLR 2017, equation 5, one period |
//! | linear       | `u`                                         | `1 - u`                         | a polynomial of power 1                 |
//! | polynomial   | `u`                                         | `(1 - u)^p`                     | Liu, Rabinovich, Berg, "`ParseNet`", 2015, "poly" |
//! | one-cycle    | `1/25 + 24/25 (1 - cos pi u) / 2`           | `(1 + cos pi u) / 2`            | Smith, Topin, "Super-convergence", 2018, with the cosines and the 25 of fastai and `PyTorch` |
//!
//! Rises are shares of the peak, falls of what is between peak and floor. One-cycle leaves momentum alone.

use assay_protocol::{Failure, Work};

use super::pace::{self, Clock};
use crate::element::DType;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Checked, Fill, Outcome, Program};

/// What a rate of one cycle begins with, as a share of its peak.
const LEAST: f64 = 1.0 / 25.0;

/// How a learning rate rises and falls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Up a line, down half a cosine.
    Cosine,
    /// Up a line, down a polynomial of that power.
    Polynomial(f32),
    /// Up and down half a cosine each.
    OneCycle,
}

impl Shape {
    /// By their names as parameters of workloads; the polynomial is of power 2.
    pub const NAMED: &[(&str, Self)] = &[
        ("cosine", Self::Cosine),
        ("linear", Self::Polynomial(1.0)),
        ("polynomial", Self::Polynomial(2.0)),
        ("one-cycle", Self::OneCycle),
    ];

    /// The number that `ml/optimizer.cu` knows it by.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Cosine => 0,
            Self::Polynomial(_) => 1,
            Self::OneCycle => 2,
        }
    }

    /// The power of a polynomial; of others, which do not look at it, 1.
    pub(super) fn power(self) -> f64 {
        match self {
            Self::Polynomial(power) => power.into(),
            Self::Cosine | Self::OneCycle => 1.0,
        }
    }

    /// The rate at a share of the warm-up, as a share of its peak.
    pub fn rise(self, share: f64) -> f64 {
        match self {
            Self::OneCycle => LEAST + (1.0 - LEAST) * (1.0 - half_cosine(share)),
            Self::Cosine | Self::Polynomial(_) => share,
        }
    }

    /// The rate at a share of the rest, as a share of what is between peak and floor.
    pub fn fall(self, share: f64) -> f64 {
        match self {
            Self::Polynomial(power) => (1.0 - share).powf(power.into()),
            Self::Cosine | Self::OneCycle => half_cosine(share),
        }
    }
}

/// From 1 to 0.
fn half_cosine(share: f64) -> f64 {
    0.5 + 0.5 * (std::f64::consts::PI * share).cos()
}

/// The op: one step of a [`Clock`], to have every schedule checked on every device.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleOp;

impl Op for ScheduleOp {
    fn info(&self) -> OpInfo {
        let names: Vec<_> = Shape::NAMED.iter().map(|(name, _)| *name).collect();
        OpInfo {
            name: "learning-rate",
            summary: "the learning rate and corrections of a step, on the device",
            parameters: vec![
                parameters::integer("steps"),
                parameters::choice("schedule", &names),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        arguments.check_most("steps", u32::MAX as usize)?;
        let steps = arguments.size("steps")? as u32;
        let clocked = Clock {
            beta1: 0.9,
            beta2: 0.999,
            peak: 1e-3,
            floor: 1e-4,
            warmup: steps / 4,
            steps,
            shape: arguments.choice("schedule", Shape::NAMED)?,
        };
        let mut program = Program::new(Work {
            items: Some(1),
            formula: "items = 1".into(),
            ..Work::default()
        });
        // Anywhere before the end, and a little behind it.
        let fill = Fill::Host(Box::new(move |buffer, seed| {
            let before = (seed % (u64::from(steps) + 3)) as f64;
            buffer
                .get_mut::<f64>()
                .copy_from_slice(&[before, 0.5, 0.75]);
        }));
        let clock = program.in_out("clock", DType::F64, Clock::LEN, fill);
        let pace = program.in_out("pace", DType::F32, pace::LEN, pace::fill());
        clocked.add(&mut program, clock, pace);
        program.check(move |outcome| check(outcome, clocked, [clock, pace]));
        Ok(program)
    }
}

/// Exponentials and cosines of devices differ in their last bits, of `f64`; then all is rounded to `f32`.
fn check(outcome: &Outcome, clocked: Clock, [clock, pace]: [usize; 2]) -> Checked {
    let (state, found) = (outcome.get::<f64>(clock), outcome.get::<f32>(pace));
    let before = outcome.initial::<f64>(clock);
    let mut expected = before.to_vec();
    for _ in 0..outcome.iterations {
        expected[0] += 1.0;
        expected[1] *= f64::from(clocked.beta1);
        expected[2] *= f64::from(clocked.beta2);
    }
    let rate = f64::from(clocked.rate(expected[0]));
    let pairs = [
        (f64::from(found[pace::RATE]), rate),
        (f64::from(found[pace::FIRST]), 1.0 - expected[1]),
        (f64::from(found[pace::SECOND]), 1.0 - expected[2]),
        (state[0], expected[0]),
        (state[1], expected[1]),
        (state[2], expected[2]),
    ];
    let error = pairs
        .iter()
        .map(|(found, exact)| (found - exact).abs() / exact.abs())
        .fold(0.0, |most, error: f64| {
            if error > most || error.is_nan() {
                error
            } else {
                most
            }
        });
    Checked {
        error: if error.is_nan() { f64::INFINITY } else { error },
        tolerance: 2_f64.powi(-23),
        detail: "largest relative error of rate, corrections and step".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn shapes_begin_and_end_where_they_should() {
        for (name, shape) in Shape::NAMED {
            assert!((shape.rise(1.0) - 1.0).abs() < 1e-12, "{name}");
            assert!((shape.fall(0.0) - 1.0).abs() < 1e-12, "{name}");
            assert!(shape.fall(1.0).abs() < 1e-12, "{name}");
            let falls = (0..10)
                .all(|i| shape.fall(f64::from(i) / 10.0) > shape.fall(f64::from(i + 1) / 10.0));
            let rises = (0..10)
                .all(|i| shape.rise(f64::from(i) / 10.0) < shape.rise(f64::from(i + 1) / 10.0));
            assert!(falls && rises, "{name}");
        }
        assert!((Shape::OneCycle.rise(0.0) - 0.04).abs() < 1e-12);
        assert!((Shape::Polynomial(2.0).fall(0.25) - 0.5625).abs() < 1e-12);
        assert!((Shape::Cosine.fall(0.5) - 0.5).abs() < 1e-12);
    }
}
