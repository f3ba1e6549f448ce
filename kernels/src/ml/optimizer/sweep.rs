//! Optimizer steps on the host: every thread takes its parameters in blocks that stay in the first cache.

use half::bf16;

use super::Curvature;
use super::pace::Pace;
use super::rules::{MOST_STATES, Rule};
use crate::buffer::{Buffer, Buffers, granule};
use crate::device::Team;
use crate::element::DType;
use crate::lane::Lane;
use crate::simd::wide;

/// Parameters of a block. What is read and written meets in arrays of their own, so that the compiler knows them apart; with blocks
/// of 256 copying them took half of the time.
const BLOCK: usize = 64;

/// Gradients of either type.
#[derive(Clone, Copy)]
pub enum Gradients<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl<'a> Gradients<'a> {
    /// The part of each member.
    fn split(team: &Team, buffer: &'a Buffer) -> Vec<Self> {
        // All buffers are cut at the same elements.
        let granule = granule::<f32>();
        if buffer.dtype() == DType::Bf16 {
            let parts = team.split(buffer.get(), granule);
            return parts.into_iter().map(Self::Bf16).collect();
        }
        let parts = team.split(buffer.get(), granule);
        parts.into_iter().map(Self::F32).collect()
    }

    /// Those from `first` on, as many as there is room for, times a factor.
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn scaled(self, first: usize, factor: f32, out: &mut [f32]) {
        match self {
            Self::F32(from) => {
                let from = &from[first..][..out.len()];
                for (out, from) in out.iter_mut().zip(from) {
                    *out = factor * *from;
                }
            }
            Self::Bf16(from) => {
                let from = &from[first..][..out.len()];
                for (out, from) in out.iter_mut().zip(from) {
                    *out = factor * from.widen();
                }
            }
        }
    }
}

/// One member's part of a step.
struct Part<'a> {
    parameters: &'a mut [f32],
    gradients: Gradients<'a>,
    /// Those that the rule has, the others empty.
    states: [&'a mut [f32]; MOST_STATES],
}

/// One step of all parameters, unless it is to be skipped.
pub fn step<R: Rule>(
    team: &Team,
    buffers: &mut Buffers,
    rule: R,
    (parameters, gradients, states, pace): (usize, usize, &[usize], usize),
) {
    let pace = Pace::of(&buffers.0[pace]);
    if !pace.proceeds {
        return;
    }
    let numbers: Vec<_> = [parameters, gradients]
        .iter()
        .chain(states)
        .copied()
        .collect();
    let mut all = buffers.several(&numbers).into_iter();
    let granule = granule::<f32>();
    let mut next = || all.next().expect("a buffer of each number");
    let parameters = team.split_mut(next().get_mut::<f32>(), granule);
    let gradients = Gradients::split(team, next());
    let mut parts: Vec<_> = parameters
        .into_iter()
        .zip(gradients)
        .map(|(parameters, gradients)| Part {
            parameters,
            gradients,
            states: Default::default(),
        })
        .collect();
    for state in 0..R::STATES.len() {
        let of_members = team.split_mut(next().get_mut::<f32>(), granule);
        for (part, of_member) in parts.iter_mut().zip(of_members) {
            part.states[state] = of_member;
        }
    }
    team.each(parts, |part| sweep(rule, pace, part));
}

wide! {
    fn sweep<R: Rule>(rule: R, pace: Pace, part: &mut Part) {
        let len = part.parameters.len();
        let whole = len / BLOCK * BLOCK;
        for first in (0..whole).step_by(BLOCK) {
            update::<R>(rule, &pace, part, first, BLOCK);
        }
        if whole < len {
            update::<R>(rule, &pace, part, whole, len - whole);
        }
    }
}

/// Updates `count` parameters, at most a block. Of those that are behind the last, whatever is found is computed and left.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn update<R: Rule>(rule: R, pace: &Pace, part: &mut Part, first: usize, count: usize) {
    let mut g = [0.0_f32; BLOCK];
    let mut parameters = [0.0_f32; BLOCK];
    let mut states = [[0.0_f32; BLOCK]; MOST_STATES];
    part.gradients.scaled(first, pace.factor, &mut g[..count]);
    parameters[..count].copy_from_slice(&part.parameters[first..][..count]);
    for (own, all) in states.iter_mut().zip(&part.states).take(R::STATES.len()) {
        own[..count].copy_from_slice(&all[first..][..count]);
    }
    let [s0, s1, s2, s3] = &mut states;
    for i in 0..BLOCK {
        let mut of_one = [s0[i], s1[i], s2[i], s3[i]];
        parameters[i] = rule.update(pace, parameters[i], g[i], &mut of_one);
        [s0[i], s1[i], s2[i], s3[i]] = of_one;
    }
    part.parameters[first..][..count].copy_from_slice(&parameters[..count]);
    for (own, all) in states.iter().zip(&mut part.states).take(R::STATES.len()) {
        all[first..][..count].copy_from_slice(&own[..count]);
    }
}

/// One update of the curvature.
pub fn curvature(
    team: &Team,
    buffers: &mut Buffers,
    brick: Curvature,
    [h, gradients, pace]: [usize; 3],
) {
    let pace = Pace::of(&buffers.0[pace]);
    if !pace.proceeds {
        return;
    }
    let [h, gradients] = buffers.many([h, gradients]);
    let parts = team.split_mut(h.get_mut::<f32>(), granule::<f32>());
    let parts = parts
        .into_iter()
        .zip(Gradients::split(team, gradients))
        .collect();
    team.each(parts, |(h, gradients): &mut (&mut [f32], Gradients)| {
        accumulate(h, *gradients, pace.factor, brick);
    });
}

wide! {
    fn accumulate(h: &mut [f32], gradients: Gradients, factor: f32, brick: Curvature) {
        let mut g = [0.0_f32; BLOCK];
        for (block, h) in h.chunks_mut(BLOCK).enumerate() {
            let g = &mut g[..h.len()];
            gradients.scaled(block * BLOCK, factor, g);
            for (h, g) in h.iter_mut().zip(g) {
                *h = brick.beta2 * *h + (1.0 - brick.beta2) * (brick.batch * (*g * *g));
            }
        }
    }
}
