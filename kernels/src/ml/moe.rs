//! Mixtures of experts: each token goes to a few of many networks, and comes back as the weighted sum of what they make of it.
//!
//! | op             | forward                                               | backward                                   |
//! |----------------|-------------------------------------------------------|--------------------------------------------|
//! | `moe-gate`     | [softmax over experts, the `k` largest](gate)         | of weights and of load balancing, to logits |
//! | `moe-dispatch` | [tokens to slots of experts](routing), in their order | sums of slots, to tokens                   |
//! | `moe-experts`  | [`silu(x W1) * (x W3)` times `W2`](experts)           | to rows and weights                        |
//! | `moe-combine`  | [slots to tokens](routing), times weights             | to slots and weights                       |
//!
//! Every expert has `capacity` slots: what comes when they are full goes nowhere, and adds nothing. Choices are taken in the order
//! of tokens, and of a token's choices, so that the same tokens always find a place.
//!
//! Sources: N. Shazeer et al., "Outrageously large neural networks", 2017; W. Fedus, B. Zoph, N. Shazeer, "Switch
//! transformers", 2022, equations 2 to 6, for capacity and load balancing; A. Jiang et al., "Mixtral of experts", 2024, section 2,
//! for weights that add up to 1 and `SwiGLU`.

pub mod experts;
pub mod gate;
pub mod routing;

use assay_protocol::{Failure, Philox};

use crate::buffer::Buffer;
use crate::parameters::{self, Arguments};

/// What a slot holds that no token has, and what a choice gets for which there is no slot.
pub const NOWHERE: u32 = u32::MAX;
/// Experts that a token chooses at most.
const MOST_CHOSEN: usize = 64;
/// Random stream of choices.
const CHOICES: u64 = 0x0E;

/// A mixture of experts.
#[derive(Clone, Copy, Debug)]
pub struct Mixture {
    /// Tokens.
    pub tokens: usize,
    /// Columns of a token.
    pub width: usize,
    /// Columns between an expert's layers.
    pub hidden: usize,
    /// Experts, at least one.
    pub experts: usize,
    /// Experts of a token, at least one and at most all.
    pub chosen: usize,
    /// Slots of each expert.
    pub capacity: usize,
    /// Whether the weights of a token's experts add up to 1, or are their probabilities.
    pub is_renormalized: bool,
    /// Factor of the loss of load balancing.
    pub balance: f32,
}

impl Mixture {
    /// Choices of all tokens.
    pub fn choices(&self) -> usize {
        self.tokens * self.chosen
    }

    /// Slots of all experts.
    pub fn slots(&self) -> usize {
        self.experts * self.capacity
    }

    /// As many slots as choices, for each expert, times a factor: what Switch calls the capacity factor.
    #[must_use]
    pub fn with_capacity_factor(self, factor: f64) -> Self {
        let even = self.choices() as f64 / self.experts as f64;
        Self {
            capacity: (even * factor).ceil() as usize,
            ..self
        }
    }
}

/// The mixture of a case. Parameters that an op has not are as little as they can be.
fn mixture(arguments: &Arguments, names: &[&str]) -> Result<Mixture, Failure> {
    let size = |name: &str| {
        if names.contains(&name) {
            arguments.size(name)
        } else {
            Ok(1)
        }
    };
    let experts = arguments.count("experts")?;
    let mixture = Mixture {
        tokens: arguments.size("tokens")?,
        width: size("width")?,
        hidden: size("hidden")?,
        experts,
        chosen: arguments.count("chosen")?,
        capacity: size("capacity")?,
        is_renormalized: true,
        balance: 0.01,
    };
    if mixture.chosen > experts.min(MOST_CHOSEN) {
        return Err(Failure::Failed(format!(
            "parameter `chosen`: expected at most `experts`, {experts}, and at most {MOST_CHOSEN}; found {}",
            mixture.chosen
        )));
    }
    let Mixture {
        tokens,
        width,
        hidden,
        experts,
        chosen,
        capacity,
        ..
    } = mixture;
    // Those that the op has, and the user may have given.
    let own = ["tokens", "width", "hidden", "experts", "capacity"];
    let is_own = |name: &&str| ["tokens", "experts"].contains(name) || names.contains(name);
    let own: Vec<_> = own.into_iter().filter(is_own).collect();
    let all = &format!("`{}` and `chosen`", own.join("`, `"));
    for sizes in [
        [tokens, chosen, experts, 1],
        [experts, capacity, width.max(hidden), 1],
        [experts, width, hidden, 1],
        [tokens, width, chosen, 1],
    ] {
        let elements = parameters::size_product(all, &sizes)?;
        parameters::size_product(all, &[elements, 16])?;
    }
    if [tokens * chosen, experts * capacity, width, hidden]
        .iter()
        .any(|count| *count > i32::MAX as usize)
    {
        return Err(Failure::Failed(format!(
            "parameters {all}: expected fewer than 2^31 choices, slots and columns"
        )));
    }
    Ok(mixture)
}

/// Which experts every token of a case goes to: as many as it chooses, all different, at random.
fn fill_choices(mixture: &Mixture, choices: &mut [u32], seed: u64) {
    let Mixture {
        experts, chosen, ..
    } = *mixture;
    let random = Philox::new(seed, CHOICES);
    for (token, choices) in choices.chunks_exact_mut(chosen).enumerate() {
        let word = |turn: usize| random.word((token * chosen + turn) as u64);
        for turn in 0..chosen {
            // The number of one that is left, counted over those that are.
            let mut expert = ((u64::from(word(turn)) * (experts - turn) as u64) >> 32) as u32;
            let (taken, rest) = choices.split_at_mut(turn);
            let mut taken = taken.to_vec();
            taken.sort_unstable();
            for other in taken {
                expert += u32::from(other <= expert);
            }
            rest[0] = expert;
        }
    }
}

/// The choices of a case, as what fills a buffer.
fn choices_of(mixture: Mixture) -> crate::program::Fill {
    crate::program::Fill::Host(Box::new(move |buffer: &mut Buffer, seed| {
        fill_choices(&mixture, buffer.get_mut(), seed);
    }))
}

#[cfg(test)]
mod tests {
    use super::{Mixture, fill_choices};

    pub fn mixture() -> Mixture {
        Mixture {
            tokens: 200,
            width: 3,
            hidden: 2,
            experts: 7,
            chosen: 3,
            capacity: 4,
            is_renormalized: true,
            balance: 1.0,
        }
    }

    #[test]
    fn a_token_chooses_different_experts() {
        let mut choices = vec![0; 600];
        fill_choices(&mixture(), &mut choices, 5);
        let mut counts = [0; 7];
        for of_token in choices.chunks_exact(3) {
            let mut sorted = of_token.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert!(sorted.len() == 3 && sorted[2] < 7);
            for expert in of_token {
                counts[*expert as usize] += 1;
            }
        }
        assert!(
            counts.iter().all(|count| (50..130).contains(count)),
            "{counts:?}"
        );
        assert_eq!(mixture().with_capacity_factor(1.25).capacity, 108);
    }
}
