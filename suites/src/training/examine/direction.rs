//! Gradients against differences of a loss in `f64`, of all tensors at once.
//!
//! Each tensor is moved by its gradient and by signs that are drawn, as much as changes the loss by about 1: a gradient of the wrong sign or
//! size is seen by the former, and what lacks some part of itself by the latter. Differences in `f64` have no roundings to speak of, so
//! that moves are small, and what lies apart is what is wrong with gradients.

use assay_protocol::{Failure, Philox};

use crate::training::beside::LEAST_SHARE;
use crate::training::run::Training;

/// How much more a tensor is moved by its gradient than by signs, so that these do not hide what is wrong with it.
const OF_GRADIENT: f64 = 3.0;
/// Moves, as a share of the norm of the smallest gradient that counts: what is behind the first order is beneath notice, and roundings
/// of the reference are.
const STEP: f64 = 1e-4;
/// Streams of signs begin here.
const STREAMS: u64 = 1 << 43;

/// A direction, of all parameters that are trained.
pub struct Direction {
    /// Of each parameter, in their order.
    moves: Vec<Option<Vec<f32>>>,
    /// How the loss changes along it, by gradients.
    expected: f64,
    /// Moves of a difference.
    step: f64,
}

fn norm(numbers: &[f32]) -> f64 {
    let squares = numbers.iter().map(|x| f64::from(*x) * f64::from(*x));
    squares.sum::<f64>().sqrt()
}

impl Direction {
    /// By the gradients of the last step of a training.
    ///
    /// # Errors
    /// If a device fails.
    pub fn of(training: &Training) -> Result<Self, Failure> {
        let parameters = training.parameters.iter();
        let gradients = parameters.map(|p| {
            let gradient = p.gradient.map(|gradient| training.session().read(gradient));
            let gradient = gradient.transpose()?;
            Ok(gradient.map(|gradient| gradient.get::<f32>().to_vec()))
        });
        Ok(Self::along(&gradients.collect::<Result<Vec<_>, _>>()?))
    }

    fn along(gradients: &[Option<Vec<f32>>]) -> Self {
        let norms = gradients.iter().flatten().map(|gradient| norm(gradient));
        let least = LEAST_SHARE * norms.map(|norm| norm * norm).sum::<f64>().sqrt();
        let mut expected = 0.0;
        let of_tensor = |(number, gradient): (usize, &Option<Vec<f32>>)| {
            let gradient = gradient.as_ref()?;
            let (own, random) = (norm(gradient), Philox::new(0, STREAMS + number as u64));
            let scale = own.max(least);
            let of = |(place, g): (usize, &f32)| {
                let sign = f64::from(random.word(place as u64) & 1) * 2.0 - 1.0;
                // Of a gradient of nothing there is nothing to go by.
                let along = OF_GRADIENT * f64::from(*g) / own.max(f64::MIN_POSITIVE);
                ((along + sign) / scale) as f32
            };
            let moves: Vec<f32> = gradient.iter().enumerate().map(of).collect();
            let pairs = moves.iter().zip(gradient);
            expected += pairs
                .map(|(step, g)| f64::from(*step) * f64::from(*g))
                .sum::<f64>();
            Some(moves)
        };
        let moves = gradients.iter().enumerate().map(of_tensor).collect();
        Self {
            moves,
            expected,
            step: STEP * least,
        }
    }

    /// How far the change of a loss along it is from that by gradients.
    pub fn error(&self, parameters: &[Vec<f64>], loss: impl Fn(&[Vec<f64>]) -> f64) -> f64 {
        let at = |step: f64| {
            let moved = parameters.iter().zip(&self.moves);
            let moved = moved.map(|(parameter, steps)| match steps {
                None => parameter.clone(),
                Some(steps) => {
                    let pairs = parameter.iter().zip(steps);
                    pairs.map(|(x, by)| x + step * f64::from(*by)).collect()
                }
            });
            loss(&moved.collect::<Vec<_>>())
        };
        let change = (at(self.step) - at(-self.step)) / (2.0 * self.step);
        (change - self.expected).abs()
    }

    /// How far it may be, where gradients may be off by a share: of as many tensors as there are, which do not all err alike.
    pub fn tolerance(&self, share: f64) -> f64 {
        let tensors = self.moves.iter().flatten().count() as f64;
        share * (1.0 + OF_GRADIENT) * tensors.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::Direction;

    /// What makes gradients wrong.
    type Wrong<'a> = &'a dyn Fn(&mut Vec<Vec<f32>>);

    /// Half the squares of two tensors, whose gradients are themselves.
    fn error(change: impl Fn(&mut Vec<Vec<f32>>)) -> f64 {
        let parameters: Vec<Vec<f64>> = vec![
            (0..200).map(|i| f64::from(i % 7) - 3.0).collect(),
            (0..50).map(|i| f64::from(i % 5) * 0.01).collect(),
        ];
        let exact = parameters.iter();
        let exact = exact.map(|tensor| tensor.iter().map(|x| *x as f32).collect());
        let mut gradients: Vec<Vec<f32>> = exact.collect();
        change(&mut gradients);
        let gradients: Vec<_> = gradients.into_iter().map(Some).collect();
        Direction::along(&gradients).error(&parameters, |tensors| {
            let all = tensors.iter().flatten();
            all.map(|x| x * x).sum::<f64>() / 2.0
        })
    }

    #[test]
    fn gradients_that_are_wrong_in_one_tensor_are_seen() {
        assert!(error(|_| {}) < 1e-4, "{}", error(|_| {}));
        let wrongs: [Wrong; 4] = [
            &|all| all[1].iter_mut().for_each(|g| *g = -*g),
            &|all| all[0].iter_mut().for_each(|g| *g *= 1.1),
            &|all| all[1].truncate(0),
            // What lacks a part of itself is along itself as it should be.
            &|all| all[0][100..].fill(0.0),
        ];
        for (number, wrong) in wrongs.into_iter().enumerate() {
            let found = error(|all| {
                let sides: Vec<_> = all.iter().map(Vec::len).collect();
                wrong(all);
                all.iter_mut()
                    .zip(sides)
                    .for_each(|(tensor, len)| tensor.resize(len, 0.0));
            });
            assert!(found > 0.05, "{number}: {found}");
        }
    }
}
