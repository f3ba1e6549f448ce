//! Whether a training can fit, worked out from its parameters alone: before its data are made, and before its program is put together, which
//! of a model that fits nowhere would take longer than anybody waits, or more memory than there is.
//!
//! What is counted is the least: parameters, what is kept of each that is trained, and the largest activations. What passes is counted to the
//! byte later, buffer by buffer.

use assay_kernels::device::memory;
use assay_kernels::parameters::wrong;
use assay_protocol::{CaseSpec, Failure};

use super::plan::Plan;

/// Bytes that no GPU has.
const MOST_OF_GPU: u64 = 1 << 40;
/// Layers that a step goes through in all of its turns, at most: its program has each by itself, and a step of so many is put together in
/// some seconds.
const MOST_LAYERS: usize = 1 << 13;

/// What a training holds at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Least {
    /// Numbers of parameters that are trained.
    pub trained: u128,
    /// Bytes of others.
    pub still: u128,
    /// Numbers of activations.
    pub activations: u128,
    /// Bytes of data, of which there is more than one copy.
    pub data: u128,
}

/// A product that does not overflow, whatever a case asks for.
pub fn product(sizes: &[usize]) -> u128 {
    let sizes = sizes.iter().map(|size| *size as u128);
    sizes.fold(1, u128::saturating_mul)
}

impl Least {
    /// Bytes of all, by an optimizer with so many states.
    pub fn bytes(&self, states: usize) -> u64 {
        // A parameter has its gradient, too.
        let of_trained = self.trained.saturating_mul(4 * (2 + states as u128));
        let of_activations = self.activations.saturating_mul(4);
        let all = [self.still, of_activations, self.data];
        let bytes = all.into_iter().fold(of_trained, u128::saturating_add);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Fails with [`Failure::Skipped`] if a training holds more than there is.
///
/// # Errors
/// How much is missing.
pub fn ensure(plan: &Plan, least: &Least) -> Result<(), Failure> {
    let bytes = least.bytes(plan.recipe.optimizer.states().len());
    if plan.device.is_cuda() {
        return memory::ensure_within(" on any device", bytes, MOST_OF_GPU, 100);
    }
    // Ranks of the host share its memory.
    let others = if plan.peer.is_some() { 1 } else { plan.ranks };
    memory::ensure_fits(bytes.saturating_mul(others as u64))
}

/// Fails if a step goes through more layers than a program should have.
///
/// # Errors
/// Which parameter to lower, and to what.
pub fn ensure_turns(case: &CaseSpec, plan: &Plan, layers: usize) -> Result<(), Failure> {
    let turns = plan.recipe.accumulation / plan.ranks;
    if turns.saturating_mul(layers) <= MOST_LAYERS {
        return Ok(());
    }
    let most = (MOST_LAYERS / layers).max(1) * plan.ranks;
    let expected =
        format!("at most {most} turns of {layers} layers; give a larger `batch` instead");
    let found = case.params.get("accumulation");
    Err(wrong("accumulation", &expected, found))
}

#[cfg(test)]
mod tests {
    use super::{Least, product};

    #[test]
    fn what_cannot_be_counted_is_the_most() {
        assert_eq!(product(&[usize::MAX; 3]), u128::MAX);
        let huge = Least {
            trained: u128::MAX,
            ..Least::default()
        };
        assert_eq!(huge.bytes(2), u64::MAX);
        let small = Least {
            trained: 10,
            still: 3,
            activations: 5,
            data: 7,
        };
        assert_eq!(small.bytes(2), 10 * 16 + 3 + 20 + 7);
    }
}
