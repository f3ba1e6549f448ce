//! What changes from step to step, in a small buffer that optimizer steps read: so a program is run many times as it is.
//!
//! | place        | what                                          | who writes it                         |
//! |--------------|-----------------------------------------------|---------------------------------------|
//! | [`RATE`]     | learning rate                                 | [`Clock`], or whoever fills the buffer |
//! | [`FIRST`]    | `1 - b1^t`, the correction of a first moment  | the same                              |
//! | [`SECOND`]   | `1 - b2^t`, that of a second moment           | the same                              |
//! | [`UNSCALE`]  | what gradients are multiplied by: 1 / loss scale | loss scaling                       |
//! | [`CLIP`]     | what gradients are multiplied by as well      | clipping by norm                      |
//! | [`PROCEED`]  | 0 where the step is to be skipped             | loss scaling                          |
//! | [`STEP`]     | number of the step, of those that are not skipped, from 1 on | [`Clock`], or whoever fills the buffer |

use super::schedule::Shape;
use crate::buffer::Buffer;
use crate::element::DType;
use crate::program::{Arg, Fill, Launch, Program, Source, cuda_source};
use crate::running::Running;

/// Place of the learning rate.
pub const RATE: usize = 0;
/// Place of the correction of first moments.
pub const FIRST: usize = 1;
/// Place of the correction of second moments.
pub const SECOND: usize = 2;
/// Place of one over the loss scale.
pub const UNSCALE: usize = 3;
/// Place of the factor of clipping by norm.
pub const CLIP: usize = 4;
/// Place of what says whether a step is taken.
pub const PROCEED: usize = 5;
/// Place of the step's number.
pub const STEP: usize = 6;
/// Numbers of the buffer.
pub const LEN: usize = 8;

pub(super) static SOURCE: Source = cuda_source!("ml/optimizer.cu");

/// Fills a buffer with what makes every factor 1, in the first step.
pub fn fill() -> Fill {
    Fill::Host(Box::new(|buffer, _| buffer.get_mut::<f32>().fill(1.0)))
}

/// Adds the buffer to a program, every factor 1 at first; gives its number.
pub fn add(program: &mut Program) -> usize {
    program.add(
        "pace",
        DType::F32,
        LEN,
        crate::program::Role::Scratch,
        fill(),
    )
}

/// What a step reads of it, with corrections to multiply by.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The learning rate.
    pub rate: f32,
    /// `1 / (1 - b1^t)`
    pub first: f32,
    /// `1 / (1 - b2^t)`
    pub second: f32,
    /// What gradients are multiplied by.
    pub factor: f32,
    /// Whether the step is taken.
    pub proceeds: bool,
    /// Whether it is the first: states hold nothing yet.
    pub is_first: bool,
}

impl Pace {
    /// Reads it.
    pub fn of(buffer: &Buffer) -> Self {
        let at = buffer.get::<f32>();
        Self {
            rate: at[RATE],
            first: 1.0 / at[FIRST],
            second: 1.0 / at[SECOND],
            factor: at[UNSCALE] * at[CLIP],
            proceeds: at[PROCEED] != 0.0,
            is_first: at[STEP] <= 1.0,
        }
    }
}

/// The same for the reference.
#[derive(Clone, Copy, Debug)]
pub struct RunningPace {
    /// As [`Pace::rate`].
    pub rate: Running,
    /// As [`Pace::first`].
    pub first: Running,
    /// As [`Pace::second`].
    pub second: Running,
    /// As [`Pace::factor`].
    pub factor: Running,
    /// As [`Pace::is_first`].
    pub is_first: bool,
}

impl RunningPace {
    /// Of what the buffer holds.
    pub fn of(at: &[f32]) -> Self {
        let one = Running::exact(1.0);
        let running = |place: usize| Running::from(at[place]);
        Self {
            rate: running(RATE),
            first: one / running(FIRST),
            second: one / running(SECOND),
            factor: running(UNSCALE) * running(CLIP),
            is_first: at[STEP] <= 1.0,
        }
    }
}

/// Advances the step's number and with it the learning rate and the corrections. A step that is skipped does not count.
///
/// The rate rises to `peak` over `warmup` steps, then falls to `floor` until step `steps`, as its [`Shape`] has it, and stays
/// there. With `steps` 0 it stays at `peak`. (Half a cosine: I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm
/// restarts", ICLR 2017, one period.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// b1 of the corrections.
    pub beta1: f32,
    /// b2 of the corrections.
    pub beta2: f32,
    /// Largest learning rate.
    pub peak: f32,
    /// Last learning rate.
    pub floor: f32,
    /// Steps until the largest.
    pub warmup: u32,
    /// Steps until the last.
    pub steps: u32,
    /// How it rises and falls.
    pub shape: Shape,
}

impl Clock {
    /// Numbers of its buffer, of `f64`: the steps so far, `b1^t` and `b2^t`.
    pub const LEN: usize = 3;

    /// What its buffer holds before the first step.
    pub fn fill() -> Fill {
        Fill::Host(Box::new(|buffer, _| {
            buffer.get_mut::<f64>().copy_from_slice(&[0.0, 1.0, 1.0]);
        }))
    }

    /// Adds its buffer to a program; gives its number.
    pub fn add_buffer(program: &mut Program) -> usize {
        program.add(
            "clock",
            DType::F64,
            Self::LEN,
            crate::program::Role::Scratch,
            Self::fill(),
        )
    }

    /// Adds the step to a program: `clock` counts, `pace` is written.
    pub fn add(self, program: &mut Program, clock: usize, pace: usize) {
        let buffers = [
            ("clock", clock, DType::F64, Self::LEN),
            ("pace", pace, DType::F32, LEN),
        ];
        crate::ml::expect(program, "Clock", &buffers);
        program.step_on_cpu(move |_, buffers| {
            let [clock, pace] = buffers.many([clock, pace]);
            self.advance(clock.get_mut(), pace.get_mut());
        });
        let arguments = [
            Arg::Buffer(clock),
            Arg::Buffer(pace),
            Arg::F64(self.beta1.into()),
            Arg::F64(self.beta2.into()),
            Arg::F32(self.peak),
            Arg::F32(self.floor),
            Arg::U32(self.warmup),
            Arg::U32(self.steps),
            Arg::U32(self.shape.number()),
            Arg::F64(self.shape.power()),
        ];
        program.launch(Launch::new(&SOURCE, "clock_advance", 1, 1).args(arguments));
    }

    fn advance(self, clock: &mut [f64], pace: &mut [f32]) {
        if pace[PROCEED] == 0.0 {
            return;
        }
        clock[0] += 1.0;
        clock[1] *= f64::from(self.beta1);
        clock[2] *= f64::from(self.beta2);
        pace[RATE] = self.rate(clock[0]);
        pace[FIRST] = (1.0 - clock[1]) as f32;
        pace[SECOND] = (1.0 - clock[2]) as f32;
        pace[STEP] = clock[0] as f32;
    }

    /// The learning rate of a step, counted from 1.
    pub fn rate(self, step: f64) -> f32 {
        let [peak, floor, warmup, steps] = [
            self.peak.into(),
            self.floor.into(),
            f64::from(self.warmup),
            f64::from(self.steps),
        ];
        let rate = if step < warmup {
            peak * self.shape.rise(step / warmup)
        } else if self.steps == 0 {
            peak
        } else if step >= steps {
            floor
        } else {
            floor + (peak - floor) * self.shape.fall((step - warmup) / (steps - warmup))
        };
        rate as f32
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, FIRST, LEN, PROCEED, RATE, STEP, Shape};

    #[test]
    fn the_rate_rises_and_falls_and_skipped_steps_do_not_count() {
        let clock = Clock {
            beta1: 0.5,
            beta2: 0.75,
            peak: 1.0,
            floor: 0.25,
            warmup: 4,
            steps: 8,
            shape: Shape::Cosine,
        };
        let (mut state, mut pace) = ([0.0, 1.0, 1.0], [1.0; LEN]);
        let mut rates = vec![];
        for turn in 0..10 {
            // The third is skipped.
            pace[PROCEED] = if turn == 2 { 0.0 } else { 1.0 };
            clock.advance(&mut state, &mut pace);
            rates.push(pace[RATE]);
        }
        let expected = [
            0.25, 0.5, 0.5, 0.75, 1.0, 0.890_165, 0.625, 0.359_835, 0.25, 0.25,
        ];
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(rates.iter().zip(&expected).all(is_near), "{rates:?}");
        assert!((pace[FIRST] - (1.0 - 0.5_f32.powi(9))).abs() < 1e-9);
        assert!((pace[STEP] - 9.0).abs() < 1e-9);
    }
}
