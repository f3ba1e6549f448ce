//! Updates of an optimizer against its rule, of some elements of each tensor: the first, the last, and others between them.

use assay_kernels::ml::optimizer::Optimizer;
use assay_kernels::ml::optimizer::pace::{PROCEED, RunningPace};
use assay_kernels::ml::optimizer::rules::{MOST_STATES, Rule, States};
use assay_kernels::running::Running;
use assay_protocol::Failure;

use super::named;
use crate::training::model::Parameter;
use crate::training::run::Training;

/// Elements of a tensor that are looked at.
const LOOKED_AT: usize = 257;

/// Some elements of a tensor that is trained.
struct Tensor {
    parameter: Parameter,
    optimizer: Optimizer,
    /// Buffers of its states.
    states: Vec<usize>,
    places: Vec<usize>,
    /// What they were: parameters first, then each state.
    were: Vec<Vec<f32>>,
}

/// What some parameters and states were before a step.
pub struct Before {
    tensors: Vec<Tensor>,
    pace: usize,
}

/// Some places of so many, with both ends.
fn places(len: usize) -> Vec<usize> {
    let count = len.min(LOOKED_AT);
    let place = |i: usize| i * (len - 1) / (count - 1).max(1);
    (0..count).map(place).collect()
}

fn some(training: &Training, buffer: usize, places: &[usize]) -> Result<Vec<f32>, Failure> {
    let found = training.session().read(buffer)?;
    let all = found.get::<f32>();
    Ok(places.iter().map(|place| all[*place]).collect())
}

/// The rule in exact arithmetic, with what a right result may be off by.
fn updated(
    optimizer: Optimizer,
    pace: &RunningPace,
    [parameter, g]: [Running; 2],
    states: &mut States<Running>,
) -> Running {
    match optimizer {
        Optimizer::Sgd(rule) => rule.reference(pace, parameter, g, states),
        Optimizer::AdamW(rule) => rule.reference(pace, parameter, g, states),
        Optimizer::Lion(rule) => rule.reference(pace, parameter, g, states),
        Optimizer::Adan(rule) => rule.reference(pace, parameter, g, states),
        Optimizer::SophiaG(rule) => rule.reference(pace, parameter, g, states),
    }
}

impl Tensor {
    fn of(training: &Training, parameter: &Parameter) -> Result<Self, Failure> {
        let whole = training.optimizer;
        let optimizer = if parameter.is_matrix() {
            whole
        } else {
            whole.without_decay()
        };
        let states = optimizer.states().iter();
        let states = states.map(|(name, _)| named(training, &format!("{}.{name}", parameter.name)));
        let states = states.collect::<Result<Vec<_>, _>>()?;
        let places = places(parameter.len());
        let buffers = [parameter.buffer].into_iter().chain(states.iter().copied());
        let were = buffers.map(|buffer| some(training, buffer, &places));
        Ok(Self {
            were: were.collect::<Result<_, _>>()?,
            parameter: parameter.clone(),
            optimizer,
            states,
            places,
        })
    }

    /// The largest distance of an element from what it should be, in units of what is allowed, and its place.
    fn worst(&self, training: &Training, pace: &RunningPace) -> Result<(f64, usize), Failure> {
        let gradient = self.parameter.gradient.unwrap_or(self.parameter.buffer);
        let gradients = some(training, gradient, &self.places)?;
        let buffers = [self.parameter.buffer].into_iter();
        let buffers = buffers.chain(self.states.iter().copied());
        let are = buffers.map(|buffer| some(training, buffer, &self.places));
        let are = are.collect::<Result<Vec<_>, _>>()?;
        let is_curvature = |state: usize| {
            let is_last = state + 1 == self.states.len();
            is_last && matches!(self.optimizer, Optimizer::SophiaG(_))
        };
        let mut worst = (0.0, 0);
        for (i, place) in self.places.iter().enumerate() {
            let mut states = [Running::default(); MOST_STATES];
            for (number, state) in states.iter_mut().take(self.states.len()).enumerate() {
                // A curvature is estimated before the step, and only read by it.
                let known = if is_curvature(number) {
                    &are
                } else {
                    &self.were
                };
                *state = known[1 + number][i].into();
            }
            let g = Running::from(gradients[i]) * pace.factor;
            let parameter = self.were[0][i].into();
            let expected = updated(self.optimizer, pace, [parameter, g], &mut states);
            let all = [expected].into_iter().chain(states);
            for (expected, found) in all.zip(&are) {
                let apart = expected.distance(found[i].into());
                if apart > worst.0 || apart.is_nan() {
                    worst = (apart, *place);
                }
            }
        }
        Ok(worst)
    }
}

impl Before {
    /// Of a training, as it is.
    ///
    /// # Errors
    /// If a device fails.
    pub fn of(training: &Training) -> Result<Self, Failure> {
        let trained = training.parameters.iter().filter(|p| p.gradient.is_some());
        let tensors = trained.map(|parameter| Tensor::of(training, parameter));
        Ok(Self {
            tensors: tensors.collect::<Result<_, _>>()?,
            pace: named(training, "pace")?,
        })
    }

    /// Whether the step since then was taken.
    ///
    /// # Errors
    /// If a device fails.
    pub fn is_taken(&self, training: &Training) -> Result<bool, Failure> {
        let pace = training.session().read(self.pace)?;
        Ok(pace.get::<f32>()[PROCEED] != 0.0)
    }

    /// What a step since then has changed otherwise than the rule has it, in words.
    ///
    /// # Errors
    /// If a device fails.
    pub fn strays(&self, training: &Training) -> Result<Option<String>, Failure> {
        let pace = training.session().read(self.pace)?;
        let pace = RunningPace::of(pace.get());
        for tensor in &self.tensors {
            let (apart, element) = tensor.worst(training, &pace)?;
            // A distance that is no number is none.
            if apart <= 1.0 {
                continue;
            }
            let name = &tensor.parameter.name;
            return Ok(Some(format!(
                "the update of element {element} of `{name}` is not that of its optimizer: it lies {apart:.1} times what roundings come to \
                 from it"
            )));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn both_ends_are_looked_at() {
        assert_eq!(places(1), [0]);
        assert_eq!(places(3), [0, 1, 2]);
        let many = places(1_000_003);
        assert_eq!([many[0], many[256]], [0, 1_000_002]);
        assert!(many.is_sorted() && many.len() == 257);
    }
}
