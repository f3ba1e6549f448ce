//! The rules by which parameters follow gradients, each in the convention of its paper: on the host in `f32`, and as the
//! reference in exact arithmetic with its bound. `ml/optimizer.cu` has the same for CUDA devices.
//!
//! All share what changes from step to step ([`Pace`]): `eta` is its rate, `g` the gradient times its factor.

use super::pace::{Pace, RunningPace};
use crate::running::Running;

/// Most states of a rule.
pub const MOST_STATES: usize = 4;
/// The states of one parameter; those that a rule has not are not looked at.
pub type States<T> = [T; MOST_STATES];

/// A rule of one paper.
pub trait Rule: Copy + Send + Sync + 'static {
    /// Its name in the CUDA source.
    const CUDA: &'static str;
    /// Names of its states, and whether one is never negative.
    const STATES: &'static [(&'static str, bool)];
    /// Operations of one parameter, counted in [`Self::update`].
    const FLOPS: u64;

    /// Its constants, in the order in which the CUDA source takes them.
    fn constants(self) -> [f32; 5];

    /// One step of one parameter, whose states it changes.
    fn update(self, pace: &Pace, parameter: f32, g: f32, states: &mut States<f32>) -> f32;

    /// The same as the paper has it.
    fn reference(
        self,
        pace: &RunningPace,
        parameter: Running,
        g: Running,
        states: &mut States<Running>,
    ) -> Running;
}

const ONE: Running = Running::exact(1.0);

/// Stochastic gradient descent with momentum: `v = mu v - eta g`, `theta += v` (I. Sutskever, J. Martens, G. Dahl, G.
/// Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013), with the
/// decoupled decay `- eta lambda theta` of SGDW (I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR
/// 2019). State: `v`, 0 at first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// mu
    pub momentum: f32,
    /// lambda
    pub decay: f32,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            momentum: 0.9,
            decay: 0.01,
        }
    }
}

impl Rule for Sgd {
    const CUDA: &'static str = "Sgd";
    const STATES: &'static [(&'static str, bool)] = &[("velocity", false)];
    const FLOPS: u64 = 7;

    fn constants(self) -> [f32; 5] {
        [self.momentum, self.decay, 0.0, 0.0, 0.0]
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn update(self, pace: &Pace, parameter: f32, g: f32, states: &mut States<f32>) -> f32 {
        states[0] = self.momentum * states[0] - pace.rate * g;
        parameter + (states[0] - pace.rate * self.decay * parameter)
    }

    fn reference(
        self,
        pace: &RunningPace,
        parameter: Running,
        g: Running,
        states: &mut States<Running>,
    ) -> Running {
        states[0] = Running::from(self.momentum) * states[0] - pace.rate * g;
        parameter + (states[0] - pace.rate * Running::from(self.decay) * parameter)
    }
}

/// `AdamW`: `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, both divided by `1 - b^t`, and
/// `theta -= eta (alpha m / (sqrt v + eps) + lambda theta)` (I. Loshchilov, F. Hutter, "Decoupled weight decay
/// regularization", ICLR 2019). There `eta` is the schedule's multiplier; with `alpha`
/// 1, the default, it is the rate of D. P. Kingma, J. Ba, "Adam", ICLR 2015, and the decay is `eta lambda`, as in
/// `PyTorch`. States: `m` and `v`, 0 at first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// alpha
    pub alpha: f32,
    /// b1
    pub beta1: f32,
    /// b2
    pub beta2: f32,
    /// eps
    pub epsilon: f32,
    /// lambda
    pub decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            decay: 0.01,
        }
    }
}

impl Rule for AdamW {
    const CUDA: &'static str = "AdamW";
    const STATES: &'static [(&'static str, bool)] = &[("m", false), ("v", true)];
    const FLOPS: u64 = 17;

    fn constants(self) -> [f32; 5] {
        [self.alpha, self.beta1, self.beta2, self.epsilon, self.decay]
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn update(self, pace: &Pace, parameter: f32, g: f32, states: &mut States<f32>) -> f32 {
        let [m, v, ..] = states;
        *m = self.beta1 * *m + (1.0 - self.beta1) * g;
        *v = self.beta2 * *v + (1.0 - self.beta2) * (g * g);
        let direction = *m * pace.first / ((*v * pace.second).sqrt() + self.epsilon);
        parameter - pace.rate * (self.alpha * direction + self.decay * parameter)
    }

    fn reference(
        self,
        pace: &RunningPace,
        parameter: Running,
        g: Running,
        states: &mut States<Running>,
    ) -> Running {
        let [alpha, beta1, beta2, epsilon, decay] = self.constants().map(Running::from);
        states[0] = beta1 * states[0] + (ONE - beta1) * g;
        states[1] = beta2 * states[1] + (ONE - beta2) * (g * g);
        let direction = states[0] * pace.first / ((states[1] * pace.second).sqrt() + epsilon);
        parameter - pace.rate * (alpha * direction + decay * parameter)
    }
}

/// Lion: `c = b1 m + (1 - b1) g`, `theta -= eta (sign c + lambda theta)`, `m = b2 m + (1 - b2) g` (X. Chen et al.,
/// "Symbolic discovery of optimization algorithms", `NeurIPS` 2023). The sign of 0 is 0. State: `m`, 0 at first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// b1
    pub beta1: f32,
    /// b2
    pub beta2: f32,
    /// lambda
    pub decay: f32,
}

impl Default for Lion {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.99,
            decay: 0.1,
        }
    }
}

impl Rule for Lion {
    const CUDA: &'static str = "Lion";
    const STATES: &'static [(&'static str, bool)] = &[("m", false)];
    const FLOPS: u64 = 12;

    fn constants(self) -> [f32; 5] {
        [self.beta1, self.beta2, self.decay, 0.0, 0.0]
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn update(self, pace: &Pace, parameter: f32, g: f32, states: &mut States<f32>) -> f32 {
        let m = states[0];
        let c = self.beta1 * m + (1.0 - self.beta1) * g;
        states[0] = self.beta2 * m + (1.0 - self.beta2) * g;
        // What is neither above nor below stays: 0, or no number.
        let sign = if c > 0.0 { 1.0 } else { c };
        let sign = if c < 0.0 { -1.0 } else { sign };
        parameter - pace.rate * (sign + self.decay * parameter)
    }

    fn reference(
        self,
        pace: &RunningPace,
        parameter: Running,
        g: Running,
        states: &mut States<Running>,
    ) -> Running {
        let [beta1, beta2, decay, ..] = self.constants().map(Running::from);
        let c = beta1 * states[0] + (ONE - beta1) * g;
        states[0] = beta2 * states[0] + (ONE - beta2) * g;
        parameter - pace.rate * (c.signum() + decay * parameter)
    }
}

/// Adan, whose betas are one minus the usual: `m = (1 - b1) m + b1 g`, `v = (1 - b2) v + b2 (g - g')`,
/// `n = (1 - b3) n + b3 (g + (1 - b2) (g - g'))^2`, `theta = (theta - eta / (sqrt n + eps) (m + (1 - b2) v)) /
/// (1 + lambda eta)` with the gradient `g'` of the step before (X. Xie et al., "Adan: adaptive Nesterov momentum algorithm for
/// faster optimizing deep models", IEEE TPAMI 46(12), 2024 (arXiv:2208.06677, 2022), without restarts; its program begins with 0 and divides `m`, `v` and `n` by one minus powers of the usual betas instead). States: `m`,
/// `v`, `n`, and `g'`; the first step has `m = g`, `v = 0` and `n = g^2` (algorithm 1), whatever they held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adan {
    /// b1
    pub beta1: f32,
    /// b2
    pub beta2: f32,
    /// b3
    pub beta3: f32,
    /// eps
    pub epsilon: f32,
    /// lambda
    pub decay: f32,
}

impl Default for Adan {
    fn default() -> Self {
        Self {
            beta1: 0.02,
            beta2: 0.08,
            beta3: 0.01,
            epsilon: 1e-8,
            decay: 0.02,
        }
    }
}

impl Rule for Adan {
    const CUDA: &'static str = "Adan";
    const STATES: &'static [(&'static str, bool)] =
        &[("m", false), ("v", false), ("n", true), ("previous", false)];
    const FLOPS: u64 = 24;

    fn constants(self) -> [f32; 5] {
        [self.beta1, self.beta2, self.beta3, self.epsilon, self.decay]
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn update(self, pace: &Pace, parameter: f32, g: f32, states: &mut States<f32>) -> f32 {
        if pace.is_first {
            // So that the step leaves them as they are, but for rounding.
            *states = [g, 0.0, g * g, g];
        }
        let [m, v, n, previous] = states;
        let change = g - *previous;
        let ahead = g + (1.0 - self.beta2) * change;
        *m = (1.0 - self.beta1) * *m + self.beta1 * g;
        *v = (1.0 - self.beta2) * *v + self.beta2 * change;
        *n = (1.0 - self.beta3) * *n + self.beta3 * (ahead * ahead);
        *previous = g;
        let rate = pace.rate / (n.sqrt() + self.epsilon);
        let shrunk = 1.0 / (1.0 + self.decay * pace.rate);
        (parameter - rate * (*m + (1.0 - self.beta2) * *v)) * shrunk
    }

    fn reference(
        self,
        pace: &RunningPace,
        parameter: Running,
        g: Running,
        states: &mut States<Running>,
    ) -> Running {
        let [beta1, beta2, beta3, epsilon, decay] = self.constants().map(Running::from);
        if pace.is_first {
            *states = [g, Running::exact(0.0), g * g, g];
        }
        let change = g - states[3];
        let ahead = g + (ONE - beta2) * change;
        states[0] = (ONE - beta1) * states[0] + beta1 * g;
        states[1] = (ONE - beta2) * states[1] + beta2 * change;
        states[2] = (ONE - beta3) * states[2] + beta3 * (ahead * ahead);
        states[3] = g;
        let rate = pace.rate / (states[2].sqrt() + epsilon);
        let shrunk = ONE / (ONE + decay * pace.rate);
        (parameter - rate * (states[0] + (ONE - beta2) * states[1])) * shrunk
    }
}

/// Sophia with the Gauss-Newton-Bartlett estimator: `m = b1 m + (1 - b1) g`, `theta -= eta lambda theta`,
/// `theta -= eta clip(m / max(gamma h, eps), 1)` (H. Liu et al., "Sophia: a scalable stochastic second-order optimizer for
/// language model pre-training", ICLR 2024). Every k-th step [`super::Curvature`] updates
/// `h`. The authors' program writes `rho bs h + 1e-15` for the divisor: its `rho bs` is this `gamma`, where `h` holds squared
/// means without the batch's size, and its small number is added. States: `m` and `h`, 0 at first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SophiaG {
    /// b1
    pub beta1: f32,
    /// gamma
    pub gamma: f32,
    /// eps
    pub epsilon: f32,
    /// lambda
    pub decay: f32,
}

impl Default for SophiaG {
    fn default() -> Self {
        Self {
            beta1: 0.96,
            gamma: 0.05,
            epsilon: 1e-12,
            decay: 0.2,
        }
    }
}

impl Rule for SophiaG {
    const CUDA: &'static str = "SophiaG";
    const STATES: &'static [(&'static str, bool)] = &[("m", false), ("h", true)];
    const FLOPS: u64 = 13;

    fn constants(self) -> [f32; 5] {
        [self.beta1, self.gamma, self.epsilon, self.decay, 0.0]
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn update(self, pace: &Pace, parameter: f32, g: f32, states: &mut States<f32>) -> f32 {
        let [m, h, ..] = states;
        *m = self.beta1 * *m + (1.0 - self.beta1) * g;
        // In this order of comparisons no NaN is lost.
        let scaled = self.gamma * *h;
        let divisor = if scaled < self.epsilon {
            self.epsilon
        } else {
            scaled
        };
        let ratio = *m / divisor;
        let ratio = if ratio > 1.0 { 1.0 } else { ratio };
        let ratio = if ratio < -1.0 { -1.0 } else { ratio };
        parameter - pace.rate * self.decay * parameter - pace.rate * ratio
    }

    fn reference(
        self,
        pace: &RunningPace,
        parameter: Running,
        g: Running,
        states: &mut States<Running>,
    ) -> Running {
        let [beta1, gamma, epsilon, decay, _] = self.constants().map(Running::from);
        states[0] = beta1 * states[0] + (ONE - beta1) * g;
        let ratio = states[0] / (gamma * states[1]).max(epsilon);
        parameter - pace.rate * decay * parameter - pace.rate * ratio.clip()
    }
}
