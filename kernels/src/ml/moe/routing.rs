//! The way of tokens to their experts and back.
//!
//! **Dispatch** gives each choice a slot of its expert, in the order of tokens and of a token's choices, as long as there are slots, and
//! copies the token's row there; an empty slot is a row of zeros. **Combine** adds up the rows of a token's slots times their weights.
//! Of both, backward goes the other way: a token's gradient is the sum over its slots, a slot's that of its token, times the
//! weight, and a weight's the product of both rows.
//!
//! Work of `N` slots and `M = tokens chosen` choices, of rows of `d`: dispatch `4 d (M + N)` bytes; combine `4 d (M + T)`, and in the
//! backward pass `4 d (2 M + N + T)`; where each row of a slot or of a choice is moved once. Flops: `2 M d` where there are weights or sums,
//! twice that for the backward pass of combine.
//!
//! Errors: slots are exact, copies too. Sums of `k` have the error of so many roundings, products of rows `gamma_d`.

use assay_protocol::{Failure, Work};

use super::gate::SOURCE;
use super::{Mixture, NOWHERE, choices_of, mixture};
use crate::bound::{gamma, likely_gamma};
use crate::check;
use crate::element::{DType, Real};
use crate::ml::expect;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Role, blocks};
use crate::simd::wide;

/// Rows of a task of the host.
const ROWS: usize = 16;
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
            let tasks = out.get_mut::<f32>().chunks_mut((ROWS * shape.width).max(1));
            team.deal(
                tasks.enumerate().collect(),
                |(task, rows): (usize, &mut [f32])| {
                    for (i, out) in rows.chunks_exact_mut(shape.width).enumerate() {
                        out.fill(0.0);
                        for (row, choice) in way.terms(&shape, index, task * ROWS + i) {
                            let weight = weights.as_ref().map_or(1.0, |weights| weights[choice]);
                            add_multiple(out, weight, shape.row(from, row));
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

const PASSES: [(&str, bool); 2] = [("forward", false), ("backward", true)];
/// Sizes beside experts and choices.
const NAMES: &[&str] = &["width", "capacity"];

/// Tokens on their way, as ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutingOp {
    /// To experts.
    Dispatch,
    /// Back.
    Combine,
}

impl Op for RoutingOp {
    fn info(&self) -> OpInfo {
        let (name, summary) = match self {
            Self::Dispatch => ("moe-dispatch", "tokens to the slots of their experts, f32"),
            Self::Combine => ("moe-combine", "weighted sums of the slots of tokens, f32"),
        };
        OpInfo {
            name,
            summary,
            parameters: vec![
                parameters::integer("tokens"),
                parameters::integer("width"),
                parameters::integer("experts"),
                parameters::integer("capacity"),
                parameters::integer_or("chosen", 2),
                parameters::choice("pass", &PASSES.map(|(name, _)| name)),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let shape = mixture(arguments, NAMES)?;
        let is_backward = arguments.choice("pass", &PASSES)?;
        let mut program = Program::new(self.work(&shape, is_backward));
        match (self, is_backward) {
            (Self::Dispatch, false) => dispatch(&mut program, shape),
            (Self::Dispatch, true) => dispatch_backward(&mut program, shape),
            (Self::Combine, false) => combine(&mut program, shape),
            (Self::Combine, true) => combine_backward(&mut program, shape),
        }
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match (parameter, size) {
            ("experts", 0..100) => size.clamp(2, 7),
            ("experts", 100..) => 3,
            // Some find no place.
            ("capacity", 2..) => size / 3,
            ("width", 100..) => 33,
            _ => size,
        }
    }
}

impl RoutingOp {
    fn work(self, shape: &Mixture, is_backward: bool) -> Work {
        let (tokens, slots) = (shape.tokens as u64, shape.slots() as u64);
        let (choices, width) = (shape.choices() as u64, shape.width as u64);
        let (rows, products, formula) = match (self, is_backward) {
            (Self::Dispatch, false) => (choices + slots, 0, "bytes = 4 d (M + N), flops = 0"),
            (Self::Dispatch, true) | (Self::Combine, false) => {
                (choices + tokens, 2, "bytes = 4 d (M + T), flops = 2 M d")
            }
            (Self::Combine, true) => (
                2 * choices + slots + tokens,
                4,
                "bytes = 4 d (2 M + N + T), flops = 4 M d",
            ),
        };
        Work {
            bytes: Some(4 * width * rows),
            flops: Some(products * choices * width),
            items: Some(tokens),
            formula: format!(
                "{formula}, items = T; T = tokens, M = tokens chosen, N = experts capacity, d = width"
            ),
        }
    }
}

/// Adds places as outputs, or as what the host has computed before.
fn add_places(program: &mut Program, shape: Mixture, are_given: bool) -> Places {
    let mut add = |name: &'static str, len, which: usize| {
        if !are_given {
            return program.output(name, DType::U32, len);
        }
        let fill = Fill::Host(Box::new(move |buffer, seed| {
            buffer
                .get_mut::<u32>()
                .copy_from_slice(&places_of(&shape, seed)[which]);
        }));
        program.add(name, DType::U32, len, Role::Input, fill)
    };
    Places {
        slots: add("slots", shape.choices(), 0),
        sources: add("sources", shape.slots(), 1),
        kept: add("kept", shape.experts, 2),
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

fn dispatch(program: &mut Program, shape: Mixture) {
    let choices = program.input("choices", DType::U32, shape.choices(), choices_of(shape));
    let x = program.input("x", DType::F32, shape.tokens * shape.width, Fill::signed(0));
    let places = add_places(program, shape, false);
    let routed = program.output("routed", DType::F32, shape.slots() * shape.width);
    shape.dispatch(program, choices, &places, x, routed);
    program.check(move |outcome| {
        let [mut slots, mut sources, mut kept] =
            [shape.choices(), shape.slots(), shape.experts].map(|len| vec![0; len]);
        let choices = outcome.get(choices);
        assign(&shape, choices, &mut slots, &mut sources, &mut kept);
        let of_slots = different(&slots, outcome.get(places.slots));
        let of_sources = different(&sources, outcome.get(places.sources));
        let of_kept = different(&kept, outcome.get(places.kept));
        let (x, routed) = (outcome.get::<f32>(x), outcome.get::<f32>(routed));
        let of_rows = check::count(routed.len(), |i| {
            let right = match sources[i / shape.width] {
                NOWHERE => 0.0,
                source => x[source as usize / shape.chosen * shape.width + i % shape.width],
            };
            routed[i].to_bits() != right.to_bits()
        });
        Checked::exact(
            of_slots + of_sources + of_kept + of_rows,
            "places and elements that differ",
        )
    });
}

fn different(a: &[u32], b: &[u32]) -> usize {
    check::count(a.len(), |i| a[i] != b[i])
}

/// Compares rows of tokens with sums over their slots.
fn check_gathered(
    outcome: &Outcome,
    shape: &Mixture,
    slots: usize,
    [from, out]: [usize; 2],
    weights: Option<usize>,
) -> Checked {
    let slots = outcome.get::<u32>(slots);
    let (from, out) = (outcome.get::<f32>(from), outcome.get::<f32>(out));
    let weights = weights.map(|weights| outcome.get::<f32>(weights));
    let error = check::worst(out.len(), |i| {
        let (token, column) = (i / shape.width, i % shape.width);
        let first = token * shape.chosen;
        let (mut sum, mut size) = (0.0, 0.0);
        for choice in (first..first + shape.chosen).filter(|choice| slots[*choice] != NOWHERE) {
            let weight = weights.map_or(1.0, |weights| f64::from(weights[choice]));
            let term = weight * f64::from(from[slots[choice] as usize * shape.width + column]);
            sum += term;
            size += term.abs();
        }
        check::relative(out[i].into(), sum, size)
    });
    let roundings = shape.chosen as u64 + 1;
    Checked {
        error,
        tolerance: gamma(roundings, f32::UNIT_ROUNDOFF) + gamma(roundings, f64::UNIT_ROUNDOFF),
        detail: "largest |sum - exact| / sum of magnitudes; bound gamma_(chosen + 1)".into(),
    }
}

fn dispatch_backward(program: &mut Program, shape: Mixture) {
    let places = add_places(program, shape, true);
    let d_routed = program.input(
        "drouted",
        DType::F32,
        shape.slots() * shape.width,
        Fill::signed(0),
    );
    let dx = program.output("dx", DType::F32, shape.tokens * shape.width);
    shape.dispatch_backward(program, &places, d_routed, dx);
    program
        .check(move |outcome| check_gathered(outcome, &shape, places.slots, [d_routed, dx], None));
}

fn combine(program: &mut Program, shape: Mixture) {
    let places = add_places(program, shape, true);
    let rows = program.input(
        "rows",
        DType::F32,
        shape.slots() * shape.width,
        Fill::signed(0),
    );
    let weights = program.input(
        "weights",
        DType::F32,
        shape.choices(),
        Fill::Unit { stream: 1 },
    );
    let y = program.output("y", DType::F32, shape.tokens * shape.width);
    shape.combine(program, &places, rows, weights, y);
    program.check(move |outcome| {
        check_gathered(outcome, &shape, places.slots, [rows, y], Some(weights))
    });
}

fn combine_backward(program: &mut Program, shape: Mixture) {
    let places = add_places(program, shape, true);
    let (of_slots, of_tokens) = (shape.slots() * shape.width, shape.tokens * shape.width);
    let rows = program.input("rows", DType::F32, of_slots, Fill::signed(0));
    let weights = program.input(
        "weights",
        DType::F32,
        shape.choices(),
        Fill::Unit { stream: 1 },
    );
    let dy = program.input("dy", DType::F32, of_tokens, Fill::signed(2));
    let d_rows = program.output("drows", DType::F32, of_slots);
    let d_weights = program.output("dweights", DType::F32, shape.choices());
    shape.combine_backward(program, &places, [dy, rows, weights], [d_rows, d_weights]);
    program.check(move |outcome| {
        let (dy, weights) = (outcome.get::<f32>(dy), outcome.get::<f32>(weights));
        let (found, sources) = (outcome.get::<f32>(d_rows), outcome.get::<u32>(places.sources));
        let of_rows = check::worst(found.len(), |i| {
            let exact = match sources[i / shape.width] {
                NOWHERE => 0.0,
                source => {
                    let token = source as usize / shape.chosen;
                    f64::from(weights[source as usize]) * f64::from(dy[token * shape.width + i % shape.width])
                }
            };
            check::relative(found[i].into(), exact, exact.abs())
        });
        let (rows, slots) = (outcome.get::<f32>(rows), outcome.get::<u32>(places.slots));
        let found = outcome.get::<f32>(d_weights);
        let of_weights = check::worst(found.len(), |i| {
            let (mut sum, mut size) = (0.0, 0.0);
            if slots[i] != NOWHERE {
                let pairs = shape.row(dy, i / shape.chosen).iter().zip(shape.row(rows, slots[i] as usize));
                for (a, b) in pairs {
                    let term = f64::from(*a) * f64::from(*b);
                    sum += term;
                    size += term.abs();
                }
            }
            check::relative(found[i].into(), sum, size)
        });
        let width = shape.width as u64;
        Checked {
            error: of_rows.max(of_weights),
            tolerance: likely_gamma(width + 1, f32::UNIT_ROUNDOFF) + gamma(width + 1, f64::UNIT_ROUNDOFF),
            detail: "largest |found - exact| / sum of magnitudes; bound: the smaller of gamma_d and 10 sqrt(d) u".into(),
        }
    });
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
