//! Dispatch and combine as ops, and what they are compared with.

use assay_protocol::{Failure, Work};

use super::{Moved, Places, assign, places_of};
use crate::bound::{gamma, likely_gamma};
use crate::check;
use crate::element::{DType, Real};
use crate::ml::moe::{Mixture, NOWHERE, choices_of, mixture};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Checked, Fill, Outcome, Program, Role};

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

    /// The first counted choices without a slot.
    fn definition(&self) -> u32 {
        2
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let shape = mixture(arguments, NAMES)?;
        let is_backward = arguments.choice("pass", &PASSES)?;
        let moved = Moved::of(&shape, arguments.0.seed.0);
        let mut program = Program::new(self.work(&shape, moved, is_backward));
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
            ("capacity", 2..) => (size / 3).max(1),
            ("width", 100..) => 33,
            _ => size,
        }
    }
}

impl RoutingOp {
    fn work(self, shape: &Mixture, moved: Moved, is_backward: bool) -> Work {
        let (tokens, slots) = (shape.tokens as u64, shape.slots() as u64);
        let width = shape.width as u64;
        let (rows, operations, formula) = match (self, is_backward) {
            (Self::Dispatch, false) => (moved.tokens + slots, 0, "bytes = 4 d (K + N), flops = 0"),
            (Self::Dispatch, true) => (moved.slots + tokens, 1, "bytes = 4 d (M + T), flops = M d"),
            (Self::Combine, false) => (
                moved.slots + tokens,
                2,
                "bytes = 4 d (M + T), flops = 2 M d",
            ),
            (Self::Combine, true) => (
                moved.tokens + moved.slots + slots,
                3,
                "bytes = 4 d (K + M + N), flops = 3 M d",
            ),
        };
        Work {
            bytes: Some(4 * width * rows),
            flops: Some(operations * moved.slots * width),
            items: Some(tokens),
            formula: format!(
                "{formula}, items = T; T = tokens, M = choices with a slot, K = tokens with one, N = experts capacity, d = width"
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
    use super::{Mixture, Moved, RoutingOp};

    /// 8192 tokens for 8 slots, and as many slots as choices.
    const FEW: Mixture = Mixture {
        tokens: 8192,
        width: 768,
        hidden: 1,
        experts: 8,
        chosen: 2,
        capacity: 1,
        is_renormalized: true,
        balance: 0.0,
    };

    fn bytes_and_flops(op: RoutingOp, shape: &Mixture, is_backward: bool) -> [u64; 2] {
        let work = op.work(shape, Moved::of(shape, 1), is_backward);
        [work.bytes, work.flops].map(Option::unwrap)
    }

    #[test]
    fn what_finds_no_slot_is_not_counted() {
        let Moved { slots, tokens } = Moved::of(&FEW, 1);
        assert!(slots == 8 && (4..=8).contains(&tokens), "{slots} {tokens}");
        let row = 4 * 768;
        let of = |op, is_backward| bytes_and_flops(op, &FEW, is_backward);
        assert_eq!(of(RoutingOp::Dispatch, false), [(tokens + 8) * row, 0]);
        assert_eq!(of(RoutingOp::Dispatch, true), [8200 * row, 8 * 768]);
        assert_eq!(of(RoutingOp::Combine, false), [8200 * row, 8 * 768 * 2]);
        assert_eq!(
            of(RoutingOp::Combine, true),
            [(tokens + 16) * row, 8 * 768 * 3]
        );
    }

    /// The case of `ml-ops`: T 8192, M 16384, N 20480; a token's row is read once, and so is its gradient.
    #[test]
    fn a_row_is_counted_once() {
        let shape = Mixture {
            capacity: 2560,
            ..FEW
        };
        let row = 4 * 768;
        let of = |op, is_backward| bytes_and_flops(op, &shape, is_backward)[0] / row;
        assert_eq!(of(RoutingOp::Dispatch, false), 8192 + 20480);
        assert_eq!(of(RoutingOp::Dispatch, true), 16384 + 8192);
        assert_eq!(of(RoutingOp::Combine, false), 16384 + 8192);
        assert_eq!(of(RoutingOp::Combine, true), 8192 + 16384 + 20480);
    }
}
