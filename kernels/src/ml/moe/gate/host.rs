//! The gate on the host: tiles of tokens, of which each lane is one.
//!
//! Sums of probabilities, for the loss, are made meanwhile: of a block's tokens in lanes, then of lanes, then of blocks, whatever the
//! number of threads.

use super::Mixture;
use super::tile::{self, Lanes, TOKENS};
use crate::device::Team;
use crate::math::exp_beneath;
use crate::ml::moe::MOST_CHOSEN;
use crate::simd::wide;
use crate::store::{Around, goes_around};

/// Tokens of a block, a multiple of those of a tile.
const BLOCK: usize = 4096;

/// What the forward pass makes, of all tokens or of a thread's.
pub struct Made<'a> {
    pub p: &'a mut [f32],
    pub choices: &'a mut [u32],
    pub weights: &'a mut [f32],
}

/// A thread's part of the forward pass.
struct Share<'a> {
    logits: &'a [f32],
    made: Made<'a>,
    /// Of each block, of each expert.
    sums: &'a mut [f32],
    counts: Vec<u32>,
}

/// Computes probabilities, choices and weights, how often each expert was chosen, and the sums of the probabilities.
pub fn forward(
    team: &Team,
    shape: &Mixture,
    logits: &[f32],
    made: Made,
    counts: &mut [u32],
    sums: &mut [f32],
) {
    let (experts, chosen) = (shape.experts, shape.chosen);
    let Made {
        p,
        choices,
        weights,
    } = made;
    let mut of_blocks = vec![0.0; shape.tokens.div_ceil(BLOCK) * experts];
    let choices = team.split_mut(choices, BLOCK * chosen).into_iter();
    let choices = choices.zip(team.split_mut(weights, BLOCK * chosen));
    let shares = team.split_mut(p, BLOCK * experts).into_iter().zip(choices);
    let shares = shares.zip(team.split(logits, BLOCK * experts));
    let mut shares: Vec<_> = shares
        .zip(team.split_mut(&mut of_blocks, experts))
        .map(|(((p, (choices, weights)), logits), sums)| Share {
            logits,
            made: Made {
                p,
                choices,
                weights,
            },
            sums,
            counts: vec![0; experts],
        })
        .collect();
    let is_large = goes_around(8 * (shape.tokens * (experts + chosen)) as u64);
    team.each(shares.iter_mut().collect(), |share| match chosen {
        1 => share.run::<1>(shape, is_large),
        2 => share.run::<2>(shape, is_large),
        3..=8 => share.run::<8>(shape, is_large),
        _ => share.run::<MOST_CHOSEN>(shape, is_large),
    });
    counts.fill(0);
    for share in &shares {
        counts
            .iter_mut()
            .zip(&share.counts)
            .for_each(|(sum, count)| *sum += count);
    }
    sums.fill(0.0);
    for of_block in of_blocks.chunks_exact(experts) {
        sums.iter_mut()
            .zip(of_block)
            .for_each(|(sum, of_block)| *sum += of_block);
    }
}

impl Share<'_> {
    fn run<const MOST: usize>(&mut self, shape: &Mixture, is_large: bool) {
        let Made {
            p,
            choices,
            weights,
        } = &mut self.made;
        let (experts, chosen) = (shape.experts, shape.chosen);
        let mut sinks = Sinks {
            p: Target::new(p, is_large),
            choices: Target::new(choices, is_large),
            weights: Target::new(weights, is_large),
        };
        let mut room = Room {
            tile: vec![[0.0; TOKENS]; experts],
            sums: vec![[0.0; TOKENS]; experts],
            p: vec![0.0; TOKENS * experts],
            choices: vec![0; TOKENS * chosen],
            weights: vec![0.0; TOKENS * chosen],
        };
        let blocks = self.logits.chunks(BLOCK * experts);
        for (block, (logits, sums)) in blocks.zip(self.sums.chunks_exact_mut(experts)).enumerate() {
            room.sums.fill([0.0; TOKENS]);
            let renormalizes = shape.is_renormalized;
            gate_block::<MOST>(
                logits,
                renormalizes,
                &mut room,
                &mut self.counts,
                (block * BLOCK, &mut sinks),
            );
            for (sum, lanes) in sums.iter_mut().zip(&room.sums) {
                *sum = lanes.iter().sum();
            }
        }
    }
}

/// Where results of a thread go.
struct Sinks<'a> {
    p: Target<'a, f32>,
    choices: Target<'a, u32>,
    weights: Target<'a, f32>,
}

/// Output, past the caches or not.
enum Target<'a, T> {
    Cached(&'a mut [T]),
    Around(Around<'a, T>),
}

impl<'a, T: crate::element::Element> Target<'a, T> {
    fn new(out: &'a mut [T], is_large: bool) -> Self {
        if is_large {
            Self::Around(Around::new(out))
        } else {
            Self::Cached(out)
        }
    }

    fn send(&mut self, first: usize, from: &[T]) {
        match self {
            Self::Cached(out) => out[first..][..from.len()].copy_from_slice(from),
            Self::Around(out) => out.send(first, from),
        }
    }
}

/// What a thread keeps near.
struct Room {
    /// Logits of a tile, then their probabilities.
    tile: Vec<Lanes<f32>>,
    /// Of a block.
    sums: Vec<Lanes<f32>>,
    /// Results of a tile.
    p: Vec<f32>,
    choices: Vec<u32>,
    weights: Vec<f32>,
}

wide! {
    /// The tokens of a block, of which the first is `token` of the sinks, and at most `MOST` experts of each, or as many as there is
    /// room for choices.
    fn gate_block<; MOST>(
        logits: &[f32],
        renormalizes: bool,
        room: &mut Room,
        counts: &mut [u32],
        place: (usize, &mut Sinks),
    ) {
        let (first, sinks) = place;
        let Room { tile, sums, p, choices, weights } = room;
        // One or two are known to the compiler.
        let (experts, chosen) = (tile.len(), if MOST <= 2 { MOST } else { choices.len() / TOKENS });
        for (index, logits) in logits.chunks(TOKENS * experts).enumerate() {
            let count = logits.len() / experts;
            let (mut of_choices, mut of_weights) = ([[0; TOKENS]; MOST], [[0.0; TOKENS]; MOST]);
            let of_choices = &mut of_choices[..chosen];
            let of_weights = &mut of_weights[..chosen];
            tile::load(tile, logits);
            let top = tile::choose::<MOST>(tile, of_choices);
            let mut factor = exponentials(tile, &top);
            // Tokens that are none have no probability.
            factor[count..].fill(0.0);
            tile::finish::<MOST>(tile, &factor, sums, of_choices, of_weights);
            if renormalizes {
                renormalize(of_weights);
            }
            for (lane, row) in choices.chunks_exact_mut(chosen).enumerate() {
                row.iter_mut().zip(&*of_choices).for_each(|(choice, lanes)| *choice = lanes[lane]);
            }
            for (lane, row) in weights.chunks_exact_mut(chosen).enumerate() {
                row.iter_mut().zip(&*of_weights).for_each(|(weight, lanes)| *weight = lanes[lane]);
            }
            let (p, choices) = (&mut p[..count * experts], &choices[..count * chosen]);
            tile::store(p, tile);
            for expert in choices {
                counts[*expert as usize] += 1;
            }
            let token = first + index * TOKENS;
            sinks.p.send(token * experts, p);
            sinks.choices.send(token * chosen, choices);
            sinks.weights.send(token * chosen, &weights[..count * chosen]);
        }
    }
}

/// Makes exponentials beneath the largest of each token; gives one over their sums.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn exponentials(tile: &mut [Lanes<f32>], top: &Lanes<f32>) -> Lanes<f32> {
    let mut sum = [0.0; TOKENS];
    for lanes in tile {
        for ((x, top), sum) in lanes.iter_mut().zip(top).zip(&mut sum) {
            *x = exp_beneath(*x - top);
            *sum += *x;
        }
    }
    sum.map(|sum| 1.0 / sum)
}

/// Divides what was chosen by its sum.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
fn renormalize(weights: &mut [Lanes<f32>]) {
    let mut sum = [0.0; TOKENS];
    for weights in weights.iter() {
        for (sum, p) in sum.iter_mut().zip(weights) {
            *sum += p;
        }
    }
    for weights in weights {
        for (p, sum) in weights.iter_mut().zip(&sum) {
            *p /= sum;
        }
    }
}

/// What the backward pass reads, of all tokens or of some.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub p: &'a [f32],
    pub choices: &'a [u32],
    pub weights: &'a [f32],
    pub d_weights: &'a [f32],
}

/// Computes the gradient of the logits. `load` is that of each expert's probability for the loss.
pub fn backward(team: &Team, shape: &Mixture, given: Given, load: &[f32], d_logits: &mut [f32]) {
    let (experts, chosen) = (shape.experts, shape.chosen);
    let is_large = goes_around(4 * (shape.tokens * (2 * experts + 3 * chosen)) as u64);
    let choices = team.split(given.choices, BLOCK * chosen).into_iter();
    let choices = choices.zip(team.split(given.weights, BLOCK * chosen));
    let choices = choices.zip(team.split(given.d_weights, BLOCK * chosen));
    let p = team
        .split(given.p, BLOCK * experts)
        .into_iter()
        .zip(choices);
    let shares = team.split_mut(d_logits, BLOCK * experts).into_iter().zip(p);
    let shares = shares.map(|(out, (p, ((choices, weights), d_weights)))| {
        let given = Given {
            p,
            choices,
            weights,
            d_weights,
        };
        (out, given)
    });
    team.each(shares.collect(), |(out, given)| {
        let mut out = Target::new(out, is_large);
        gradients(
            *given,
            load,
            [chosen, usize::from(shape.is_renormalized)],
            &mut out,
        );
    });
}

wide! {
    /// The gradients of some tokens' logits, of so many choices each, whose weights were renormalised or not.
    fn gradients(given: Given, load: &[f32], kind: [usize; 2], out: &mut Target<f32>) {
        let [chosen, renormalizes] = kind;
        let experts = load.len();
        let mut tiles = [0; 2].map(|_| vec![[0.0; TOKENS]; experts]);
        let [p, dp] = &mut tiles;
        let mut room = vec![0.0; TOKENS * experts];
        for (index, rows) in given.p.chunks(TOKENS * experts).enumerate() {
            let count = rows.len() / experts;
            let first = index * TOKENS * chosen;
            let own = first..first + count * chosen;
            let of_tile = Given {
                p: rows,
                choices: &given.choices[own.clone()],
                weights: &given.weights[own.clone()],
                d_weights: &given.d_weights[own],
            };
            tile::load(p, rows);
            for (dp, load) in dp.iter_mut().zip(load) {
                *dp = [*load; TOKENS];
            }
            add_choices(dp, p, of_tile, chosen, renormalizes > 0);
            tile::times_difference(dp, p);
            let room = &mut room[..rows.len()];
            tile::store(room, dp);
            out.send(index * TOKENS * experts, room);
        }
    }
}

/// Adds to the gradient of the probabilities what comes from each token's choices.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn add_choices(
    dp: &mut [Lanes<f32>],
    p: &[Lanes<f32>],
    given: Given,
    chosen: usize,
    renormalizes: bool,
) {
    let rows = given.choices.chunks_exact(chosen);
    let weights = given.weights.chunks_exact(chosen);
    let rows = rows.zip(weights.zip(given.d_weights.chunks_exact(chosen)));
    for (lane, (choices, (weights, d_weights))) in rows.enumerate() {
        let (mut mean, mut of_chosen) = (0.0, 1.0);
        if renormalizes {
            let products = weights.iter().zip(d_weights);
            mean = products.map(|(w, dw)| w * dw).sum();
            of_chosen = choices.iter().map(|expert| p[*expert as usize][lane]).sum();
        }
        for (expert, dw) in choices.iter().zip(d_weights) {
            dp[*expert as usize][lane] += (dw - mean) / of_chosen;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::mixture;
    use super::super::check::choose;
    use super::{BLOCK, Made, Mixture, TOKENS, exponentials, forward};
    use crate::device::Team;
    use crate::ml::moe::gate::tile::{choose as choose_lanes, finish, key};

    #[test]
    fn keys_rise_with_logits() {
        let rising = [
            f32::NEG_INFINITY,
            -2.0,
            -1e-40,
            -0.0,
            0.0,
            1e-40,
            3.0,
            f32::INFINITY,
        ];
        assert!(rising.is_sorted_by(|a, b| key(*a) < key(*b)));
    }

    /// Equal ones, and numbers that are none, of either sign.
    #[test]
    fn the_largest_are_chosen_as_one_by_one() {
        let some = [
            0.5,
            0.5,
            -0.0,
            0.0,
            f32::NAN,
            f32::from_bits(u32::MAX),
            f32::NEG_INFINITY,
            2.0,
        ];
        for experts in [2, 5, 8, 11] {
            let logit = |token: usize, expert: usize| {
                some[(token * 7 + expert * (token % 3 + 1)) % some.len()]
            };
            let mut tile: Vec<[f32; TOKENS]> = (0..experts)
                .map(|expert| std::array::from_fn(|token| logit(token, expert)))
                .collect();
            let (mut best, mut weights) = ([[9; TOKENS]; 2], [[-1.0; TOKENS]; 2]);
            let top = choose_lanes::<2>(&tile, &mut best);
            let factor = exponentials(&mut tile, &top);
            let mut sums = vec![[1.0; TOKENS]; experts];
            finish::<2>(&mut tile, &factor, &mut sums, &best, &mut weights);
            for token in 0..TOKENS {
                let logits: Vec<f32> = (0..experts).map(|expert| logit(token, expert)).collect();
                let mut right = [9; 2];
                choose(&mut right, &logits);
                assert_eq!(best.map(|lanes| lanes[token]), right, "{logits:?}");
                for (expert, weight) in right.into_iter().zip(weights) {
                    let p = tile[expert as usize][token];
                    assert_eq!(weight[token].to_bits(), p.to_bits(), "{logits:?}");
                }
                for (lanes, sums) in tile.iter().zip(&sums) {
                    assert_eq!(sums[token].to_bits(), (1.0 + lanes[token]).to_bits());
                }
            }
        }
    }

    /// More blocks than one, and tiles that are not full, of any number of threads.
    #[test]
    fn sums_and_counts_are_those_of_all_tokens() {
        for (experts, chosen) in [(8, 2), (5, 1), (16, 3), (9, 9)] {
            let shape = Mixture {
                tokens: 2 * BLOCK + 21,
                experts,
                chosen,
                ..mixture()
            };
            let mut logits = vec![0.0; shape.tokens * experts];
            assay_protocol::Philox::new(1, 2).fill_signed_f32(0, &mut logits);
            let run = |threads: usize| {
                let team = Team::new(threads).unwrap();
                let mut p = vec![-1.0; shape.tokens * experts];
                let (mut choices, mut weights) =
                    (vec![99; shape.choices()], vec![-1.0; shape.choices()]);
                let (mut counts, mut sums) = (vec![9; experts], vec![-1.0; experts]);
                let made = Made {
                    p: &mut p,
                    choices: &mut choices,
                    weights: &mut weights,
                };
                forward(&team, &shape, &logits, made, &mut counts, &mut sums);
                (p, choices, weights, counts, sums)
            };
            let first = run(1);
            assert!(
                [2, 3, 5].iter().all(|threads| run(*threads) == first),
                "{experts} {chosen}"
            );
            let (p, choices, weights, counts, sums) = first;
            assert_eq!(counts.iter().sum::<u32>() as usize, shape.choices());
            for expert in 0..experts {
                let times = choices
                    .iter()
                    .filter(|choice| **choice as usize == expert)
                    .count();
                assert_eq!(counts[expert] as usize, times);
                let exact: f64 = p
                    .iter()
                    .skip(expert)
                    .step_by(experts)
                    .map(|p| f64::from(*p))
                    .sum();
                assert!(
                    (f64::from(sums[expert]) - exact).abs() < 1e-4 * exact,
                    "{} {exact}",
                    sums[expert]
                );
            }
            for weights in weights.chunks_exact(chosen) {
                assert!(
                    (weights.iter().sum::<f32>() - 1.0).abs() < 1e-6,
                    "{weights:?}"
                );
            }
        }
    }
}
