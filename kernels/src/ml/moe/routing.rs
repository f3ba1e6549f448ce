//! The way of tokens to their experts and back.
//!
//! **Dispatch** gives each choice a slot of its expert, in the order of tokens and of a token's choices, as long as there are slots, and
//! copies the token's row there; an empty slot is a row of zeros. **Combine** adds up the rows of a token's slots times their weights.
//! Of both, backward goes the other way: a token's gradient is the sum over its slots, a slot's that of its token, times the
//! weight, and a weight's the product of both rows.
//!
//! Work of `N` slots, `M` of which are taken, and `T` tokens, `K` of which have a slot, of rows of `d`: each row that is needed is read
//! once, and each result is written once. Dispatch `4 d (K + N)` bytes, and its backward pass `4 d (M + T)`; combine `4 d (M + T)`, and its
//! backward pass `4 d (K + M + N)`. Flops: of sums `M d`, of weighted sums `2 M d`, of the backward pass of combine `3 M d`. Which choices find a
//! slot the case's seed decides, so it does of the work, too. Places, 4 bytes a choice and a slot, are beneath notice and not counted.
//!
//! Errors: slots are exact, copies too. Sums of `k` have the error of so many roundings, products of rows `gamma_d`.

mod op;

pub use op::RoutingOp;

use super::gate::SOURCE;
use super::{Mixture, NOWHERE};
use crate::element::DType;
use crate::ml::expect;
use crate::ml::host::{Each, Sink, pointwise};
use crate::program::{Arg, Launch, Program, blocks};
use crate::simd::wide;

/// Rows of a task of the host.
const ROWS: usize = 64;
/// Rows that are asked for before their turn: what comes from memory and what leaves for it go on together.
const AHEAD: usize = 3;
/// Blocks that stride over rows.
const MOST_BLOCKS: u32 = 1 << 16;

/// Where tokens are, by the numbers of buffers of `u32`.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// The slot of each choice, or [`NOWHERE`].
    pub slots: usize,
    /// The choice in each slot, or [`NOWHERE`].
    pub sources: usize,
    /// How many slots of each expert are taken: the first ones.
    pub kept: usize,
}

/// Slots of all choices, choices of all slots, and slots taken.
fn assign(
    shape: &Mixture,
    choices: &[u32],
    slots: &mut [u32],
    sources: &mut [u32],
    kept: &mut [u32],
) {
    let capacity = shape.capacity;
    sources.fill(NOWHERE);
    kept.fill(0);
    for (index, (slot, expert)) in slots.iter_mut().zip(choices).enumerate() {
        let kept = &mut kept[*expert as usize];
        *slot = NOWHERE;
        if (*kept as usize) < capacity {
            *slot = expert * capacity as u32 + *kept;
            sources[*slot as usize] = index as u32;
            *kept += 1;
        }
    }
}

impl Mixture {
    fn expect_places(&self, program: &Program, places: &Places) {
        expect(
            program,
            "routing",
            &[
                ("slots", places.slots, DType::U32, self.choices()),
                ("sources", places.sources, DType::U32, self.slots()),
                ("kept", places.kept, DType::U32, self.experts),
            ],
        );
    }

    fn expect_rows(&self, program: &Program, tokens: usize, slots: usize, weights: &[usize]) {
        let width = self.width;
        let mut all = vec![
            ("rows of tokens", tokens, DType::F32, self.tokens * width),
            ("rows of slots", slots, DType::F32, self.slots() * width),
        ];
        all.extend(
            weights
                .iter()
                .map(|weights| ("weights", *weights, DType::F32, self.choices())),
        );
        expect(program, "routing", &all);
    }

    /// Computes `places` of the choices, and copies the rows of `x` to slots.
    pub fn dispatch(
        &self,
        program: &mut Program,
        choices: usize,
        places: &Places,
        x: usize,
        routed: usize,
    ) {
        let (shape, places) = (*self, *places);
        self.expect_places(program, &places);
        expect(
            program,
            "routing",
            &[("choices", choices, DType::U32, self.choices())],
        );
        program.step_on_cpu(move |_, buffers| {
            let [choices, slots, sources, kept] =
                buffers.many([choices, places.slots, places.sources, places.kept]);
            assign(
                &shape,
                choices.get(),
                slots.get_mut(),
                sources.get_mut(),
                kept.get_mut(),
            );
        });
        let sizes = [self.choices(), self.capacity].map(|size| Arg::U32(size as u32));
        program.launch(
            Launch::new(&SOURCE, "moe_places", self.experts as u32, 256)
                .args([places.slots, places.sources, places.kept, choices].map(Arg::Buffer))
                .args(sizes),
        );
        self.carry(program, (Way::ToSlots, &places), x, None, routed);
    }

    /// Computes the gradient of `x`, given that of the rows of slots.
    pub fn dispatch_backward(
        &self,
        program: &mut Program,
        places: &Places,
        d_routed: usize,
        dx: usize,
    ) {
        self.expect_places(program, places);
        self.carry(program, (Way::ToTokens, places), d_routed, None, dx);
    }

    /// Computes the rows of tokens: the sums of their slots' rows, times weights.
    pub fn combine(
        &self,
        program: &mut Program,
        places: &Places,
        rows: usize,
        weights: usize,
        y: usize,
    ) {
        self.expect_places(program, places);
        self.carry(program, (Way::ToTokens, places), rows, Some(weights), y);
    }

    /// Computes the gradients of the rows of slots and of the weights, given that of the rows of tokens.
    pub fn combine_backward(
        &self,
        program: &mut Program,
        places: &Places,
        [dy, rows, weights]: [usize; 3],
        [d_rows, d_weights]: [usize; 2],
    ) {
        self.expect_places(program, places);
        self.carry(program, (Way::ToSlots, places), dy, Some(weights), d_rows);
        self.expect_rows(program, dy, rows, &[d_weights]);
        let (shape, slots) = (*self, places.slots);
        program.step_on_cpu(move |team, buffers| {
            let [dy, rows, slots, d_weights] = buffers.many([dy, rows, slots, d_weights]);
            let (dy, rows, slots) = (dy.get::<f32>(), rows.get::<f32>(), slots.get::<u32>());
            let tasks = d_weights.get_mut::<f32>().chunks_mut(ROWS * shape.chosen);
            team.deal(
                tasks.enumerate().collect(),
                |(index, out): (usize, &mut [f32])| {
                    let first = index * ROWS * shape.chosen;
                    for (i, out) in out.iter_mut().enumerate() {
                        let dy = shape.row(dy, (first + i) / shape.chosen);
                        *out = match slots[first + i] {
                            NOWHERE => 0.0,
                            slot => dot(dy, shape.row(rows, slot as usize)),
                        };
                    }
                },
            );
        });
        let sizes = [self.choices(), self.chosen, self.width].map(|size| Arg::U32(size as u32));
        program.launch(
            Launch::new(
                &SOURCE,
                "moe_weight_gradients",
                self.choices().div_ceil(8) as u32,
                256,
            )
            .args([d_weights, dy, rows, slots].map(Arg::Buffer))
            .args(sizes),
        );
    }

    fn row<'a>(&self, matrix: &'a [f32], row: usize) -> &'a [f32] {
        &matrix[row * self.width..][..self.width]
    }

    /// Rows of slots of those of tokens, or of tokens of those of slots: the sums of rows at the other end, times weights.
    fn carry(
        &self,
        program: &mut Program,
        (way, places): (Way, &Places),
        from: usize,
        weights: Option<usize>,
        out: usize,
    ) {
        let (index, kernel, rows) = match way {
            Way::ToSlots => (places.sources, "moe_spread", self.slots()),
            Way::ToTokens => (places.slots, "moe_gather", self.tokens),
        };
        let [tokens, slots] = match way {
            Way::ToSlots => [from, out],
            Way::ToTokens => [out, from],
        };
        let all_weights: Vec<_> = weights.into_iter().collect();
        self.expect_rows(program, tokens, slots, &all_weights);
        let shape = *self;
        program.step_on_cpu(move |team, buffers| {
            let weights = weights.map(|weights| buffers.0[weights].get::<f32>().to_vec());
            let [from, index, out] = buffers.many([from, index, out]);
            let (from, index) = (from.get::<f32>(), index.get::<u32>());
            let traffic = 4 * (from.len() + out.len());
            let tasks = out.get_mut::<f32>().chunks_mut((ROWS * shape.width).max(1));
            let width = shape.width;
            let terms = |row: usize| way.terms(&shape, index, row);
            let weight = |choice: usize| weights.as_ref().map_or(1.0, |weights| weights[choice]);
            team.deal_with(
                tasks.enumerate().collect(),
                || vec![0.0; width],
                |room, (task, part): (usize, &mut [f32])| {
                    let rows = task * ROWS..task * ROWS + part.len() / width.max(1);
                    let mut sink = Sink::new(part, traffic);
                    for row in rows.clone() {
                        let mut own = terms(row)
                            .map(|(there, choice)| (shape.row(from, there), weight(choice)));
                        // Rows that come next are anywhere.
                        let mut next = terms((row + AHEAD).min(rows.end - 1))
                            .map(|(there, _)| shape.row(from, there));
                        let place = (row - rows.start) * width;
                        match [own.next(), own.next(), own.next()] {
                            [Some((x, factor)), None, _] => {
                                let next = next.next().unwrap_or(x);
                                sink.row(place, &Each(Multiple([factor])), [x], [next]);
                            }
                            [Some((x, first)), Some((y, second)), None] => {
                                let next = [next.next().unwrap_or(x), next.next().unwrap_or(y)];
                                sink.row(place, &Each(Multiple([first, second])), [x, y], next);
                            }
                            _ => {
                                room.fill(0.0);
                                for (there, choice) in terms(row) {
                                    add_multiple(room, weight(choice), shape.row(from, there));
                                }
                                sink.row(place, &Each(Multiple([1.0])), [room], []);
                            }
                        }
                    }
                },
            );
        });
        let sizes = [
            usize::from(weights.is_some()),
            rows,
            self.chosen,
            self.width,
        ];
        program.launch(
            Launch::new(&SOURCE, kernel, blocks(rows, 1, MOST_BLOCKS), 256)
                .args([out, from, index, weights.unwrap_or(from)].map(Arg::Buffer))
                .args(sizes.map(|size| Arg::U32(size as u32))),
        );
    }
}

/// Where rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToSlots,
    ToTokens,
}

impl Way {
    /// The rows at the other end that row `row` is the sum of, and the choices whose weights they have. `index` has the choice in
    /// each slot, or the slot of each choice.
    fn terms<'a>(
        self,
        shape: &Mixture,
        index: &'a [u32],
        row: usize,
    ) -> impl Iterator<Item = (usize, usize)> + use<'a> {
        let chosen = shape.chosen;
        let places = match self {
            Self::ToSlots => row..row + 1,
            Self::ToTokens => row * chosen..(row + 1) * chosen,
        };
        let term = move |place: usize| {
            let there = index[place] as usize;
            match self {
                Self::ToSlots => (there / chosen, there),
                Self::ToTokens => (there, place),
            }
        };
        let is_somewhere = move |place: &usize| index[*place] != NOWHERE;
        places.filter(is_somewhere).map(term)
    }
}

/// The sum of a number times its factor, and of another times its own if there is one.
struct Multiple<const N: usize>([f32; N]);

pointwise!(Multiple<1>, |Multiple([factor]), [x], 1 => 1| [factor * x]);
pointwise!(Multiple<2>, |Multiple([first, second]), [x, y], 2 => 1| [first * x + second * y]);

wide! {
    fn add_multiple(out: &mut [f32], factor: f32, x: &[f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out += factor * x;
        }
    }

    /// The sum of products, in independent parts.
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0.0_f32; 16];
        let (mut a, mut b) = (a.chunks_exact(16), b.chunks_exact(16));
        for (a, b) in (&mut a).zip(&mut b) {
            for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *lane += a * b;
            }
        }
        let rest = a.remainder().iter().zip(b.remainder());
        for (lane, (a, b)) in lanes.iter_mut().zip(rest) {
            *lane += a * b;
        }
        lanes.iter().sum()
    }
}

/// Slots, sources and counts of a case.
fn places_of(shape: &Mixture, seed: u64) -> [Vec<u32>; 3] {
    let [mut choices, mut slots, mut sources, mut kept] = [
        shape.choices(),
        shape.choices(),
        shape.slots(),
        shape.experts,
    ]
    .map(|len| vec![0; len]);
    super::fill_choices(shape, &mut choices, seed);
    assign(shape, &choices, &mut slots, &mut sources, &mut kept);
    [slots, sources, kept]
}

/// How many slots of each expert are taken in a case.
pub(super) fn kept_of(shape: &Mixture, seed: u64) -> Vec<u32> {
    let [_, _, kept] = places_of(shape, seed);
    kept
}

/// What of a case goes anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// Slots that are taken: choices that found one.
    pub slots: u64,
    /// Tokens that have at least one.
    pub tokens: u64,
}

impl Moved {
    /// Of a case; of one with more choices than are worth counting all that could.
    pub fn of(shape: &Mixture, seed: u64) -> Self {
        const MOST: usize = 1 << 28;
        let choices = shape.choices();
        if choices >= MOST {
            let slots = choices.min(shape.slots());
            return Self {
                slots: slots as u64,
                tokens: slots.min(shape.tokens) as u64,
            };
        }
        let [slots, ..] = places_of(shape, seed);
        let is_taken = |slot: &&u32| **slot != NOWHERE;
        let of_tokens = slots.chunks_exact(shape.chosen);
        Self {
            slots: slots.iter().filter(is_taken).count() as u64,
            tokens: of_tokens
                .filter(|own| own.iter().any(|slot| *slot != NOWHERE))
                .count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::mixture;
    use super::{Mixture, NOWHERE, assign};

    #[test]
    fn slots_are_given_in_the_order_of_tokens() {
        let shape = Mixture {
            tokens: 3,
            experts: 2,
            chosen: 2,
            capacity: 2,
            ..mixture()
        };
        let (mut slots, mut sources, mut kept) = ([9; 6], [9; 4], [9; 2]);
        assign(
            &shape,
            &[1, 0, 1, 0, 1, 0],
            &mut slots,
            &mut sources,
            &mut kept,
        );
        assert_eq!(slots, [2, 0, 3, 1, NOWHERE, NOWHERE]);
        assert_eq!((sources, kept), ([1, 3, 0, 2], [2, 2]));
    }
}
