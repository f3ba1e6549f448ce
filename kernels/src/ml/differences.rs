//! Backward passes of bricks, as the host computes them, beside central differences of their forward passes: of the bricks whose references
//! in `f64` are no functions that could be differentiated. (Those of others are, beside them.)

use assay_protocol::Work;

use super::activation::Form;
use super::bias_gelu::BiasGelu;
use super::column_sum::Order;
use super::depth::Depth;
use super::dropout::Dropout;
use super::embedding::Embedding;
use super::latent::{Coded, Codes};
use super::linear::Linear;
use super::pool::MeanPool;
use super::position::Rope;
use super::soft_cross_entropy::SoftCrossEntropy;
use super::squares::{Compared, Squares};
use crate::buffer::Buffers;
use crate::device::Team;
use crate::element::DType;
use crate::matrix::Store;
use crate::program::{Fill, Program};

/// Step of the differences: what they leave out, `O(h^4)`, and roundings of `f32`, `O(2^-24 / h)`, are both some 1e-6 then.
const STEP: f32 = 1.0 / 16.0;
/// Largest error, relative to the largest element of a gradient.
const MOST: f64 = 1e-4;

/// What of a program is what.
struct Wired {
    /// Buffers that are differentiated by, each with that of its gradient.
    gradients: Vec<[usize; 2]>,
    /// Buffers whose elements are added up, each times what it is weighted by.
    outputs: Vec<(usize, Weight)>,
}

/// What the gradient of an output is.
enum Weight {
    /// Numbers of a buffer.
    Given(usize),
    /// The same number of all.
    Same(f32),
}

fn random(program: &mut Program, name: &'static str, len: usize) -> usize {
    let stream = program.buffers.len() as u64;
    program.input(name, DType::F32, len, Fill::signed(stream))
}

fn out(program: &mut Program, name: &'static str, len: usize) -> usize {
    program.output(name, DType::F32, len)
}

/// The sum of all outputs, as they are weighted.
fn sum(buffers: &Buffers, outputs: &[(usize, Weight)]) -> f64 {
    let of_output = |(output, weight): &(usize, Weight)| -> f64 {
        let numbers = buffers.get::<f32>(*output).iter().enumerate();
        let weight = |i: usize| match weight {
            Weight::Given(buffer) => buffers.get::<f32>(*buffer)[i],
            Weight::Same(weight) => *weight,
        };
        numbers
            .map(|(i, x)| f64::from(*x) * f64::from(weight(i)))
            .sum()
    };
    outputs.iter().map(of_output).sum()
}

#[track_caller]
fn check(what: &str, wire: impl Fn(&mut Program) -> Wired) {
    let mut program = Program::new(Work::default());
    let wired = wire(&mut program);
    let team = Team::new(2).unwrap();
    let mut buffers = program.host_buffers(&team, 5).unwrap();
    let mut steps = program.take_steps().host;
    let mut run = |buffers: &mut Buffers| {
        for (_, step) in &mut steps {
            step(&team, buffers);
        }
    };
    run(&mut buffers);
    let read = |[_, gradient]: &[usize; 2]| buffers.get::<f32>(*gradient).to_vec();
    let gradients: Vec<_> = wired.gradients.iter().map(read).collect();
    for ([input, _], gradient) in wired.gradients.iter().zip(gradients) {
        let name = &program.buffers[*input].name;
        let largest = gradient.iter().fold(0.0, |most: f32, x| x.abs().max(most));
        assert!(largest > 1e-2, "{what}, {name}: a gradient of nothing");
        for (i, found) in gradient.iter().enumerate() {
            let before = buffers.get::<f32>(*input)[i];
            let mut at = |steps: f32| {
                buffers.0[*input].get_mut::<f32>()[i] = before + steps * STEP;
                run(&mut buffers);
                sum(&buffers, &wired.outputs)
            };
            let [one, two] = [1.0, 2.0].map(|steps| at(steps) - at(-steps));
            let exact = (8.0 * one - two) / (12.0 * f64::from(STEP));
            buffers.0[*input].get_mut::<f32>()[i] = before;
            let apart = (f64::from(*found) - exact).abs() / f64::from(largest);
            assert!(
                apart <= MOST,
                "{what}, {name}[{i}]: {found}, by differences {exact}"
            );
        }
    }
}

#[test]
fn of_linear_layers() {
    let [rows, inputs, outputs] = [3, 5, 4];
    let layer = Linear::new(rows, inputs, outputs);
    check("linear", |program| {
        let [x, w, b, dy] = [
            ("x", rows * inputs),
            ("w", inputs * outputs),
            ("b", outputs),
            ("dy", rows * outputs),
        ]
        .map(|(name, len)| random(program, name, len));
        let [y, dx, dw, db] = [
            ("y", rows * outputs),
            ("dx", rows * inputs),
            ("dw", inputs * outputs),
            ("db", outputs),
        ]
        .map(|(name, len)| out(program, name, len));
        layer.forward(program, x, w, Some(b), y);
        layer.backward_input(program, dy, w, dx, Store::Set);
        layer.backward_weights(program, x, dy, dw, Store::Set);
        layer.backward_bias(program, dy, db, Store::Set);
        Wired {
            gradients: vec![[x, dx], [w, dw], [b, db]],
            outputs: vec![(y, Weight::Given(dy))],
        }
    });
    check("linear, of codes", |program| {
        let codes = Fill::Words { stream: 0 };
        let codes = program.input("codes", DType::I8, inputs * outputs, codes);
        let [scales, x, dy] = [
            ("scales", inputs),
            ("x", rows * inputs),
            ("dy", rows * outputs),
        ]
        .map(|(name, len)| random(program, name, len));
        let y = out(program, "y", rows * outputs);
        let dx = out(program, "dx", rows * inputs);
        layer.forward_codes(program, x, [codes, scales], None, y);
        layer.backward_input_codes(program, dy, [codes, scales], dx, Store::Set);
        Wired {
            gradients: vec![[x, dx]],
            outputs: vec![(y, Weight::Given(dy))],
        }
    });
}

#[test]
fn of_biases_and_activations() {
    for form in [Form::Tanh, Form::Erf] {
        check("bias and gelu", |program| {
            let (rows, cols) = (5, 3);
            let brick = BiasGelu {
                rows,
                cols,
                form,
                dtype: DType::F32,
            };
            let x = random(program, "x", rows * cols);
            let bias = random(program, "bias", cols);
            let dy = random(program, "dy", rows * cols);
            let [y, dx] = ["y", "dx"].map(|name| out(program, name, rows * cols));
            let dbias = out(program, "dbias", cols);
            brick.forward(program, x, bias, y);
            brick.backward(program, [x, bias, dy], dx, dbias);
            Wired {
                gradients: vec![[x, dx], [bias, dbias]],
                outputs: vec![(y, Weight::Given(dy))],
            }
        });
    }
}

#[test]
fn of_tables_and_rotations() {
    check("embedding", |program| {
        let brick = Embedding {
            tokens: 6,
            vocabulary: 4,
            width: 3,
            dtype: DType::F32,
        };
        let ids = Fill::Below {
            stream: 9,
            bound: 4,
        };
        let ids = program.input("ids", DType::U32, 6, ids);
        let [table, dy] = [("table", 12), ("dy", 18)].map(|(name, len)| random(program, name, len));
        let [y, dtable] = [("y", 18), ("dtable", 12)].map(|(name, len)| out(program, name, len));
        brick.forward(program, table, ids, y);
        brick.backward(program, Order::Fixed, ids, dy, dtable);
        Wired {
            gradients: vec![[table, dtable]],
            outputs: vec![(y, Weight::Given(dy))],
        }
    });
    check("rope", |program| {
        let brick = Rope {
            batch: 2,
            length: 3,
            heads: 2,
            width: 8,
        };
        let table = brick.table(program);
        let [x, dy] = ["x", "dy"].map(|name| random(program, name, 48));
        let [y, dx] = ["y", "dx"].map(|name| out(program, name, 48));
        brick.forward(program, x, table, y);
        brick.backward(program, dy, table, dx);
        Wired {
            gradients: vec![[x, dx]],
            outputs: vec![(y, Weight::Given(dy))],
        }
    });
}

#[test]
fn of_what_is_left_out() {
    check("dropout", |program| {
        let brick = Dropout {
            elements: 40,
            threshold: 1 << 31,
            seed: 1,
            stream: 2,
            dtype: DType::F32,
        };
        let counter = program.input("counter", DType::U64, 1, Fill::Zero);
        let [x, dy] = ["x", "dy"].map(|name| random(program, name, 40));
        let [y, dx] = ["y", "dx"].map(|name| out(program, name, 40));
        brick.forward(program, x, counter, y);
        brick.backward(program, dy, counter, dx);
        Wired {
            gradients: vec![[x, dx]],
            outputs: vec![(y, Weight::Given(dy))],
        }
    });
    check("stochastic depth", |program| {
        let brick = Depth {
            threshold: 1 << 31,
            batch: 6,
            seed: 1,
            stream: 2,
        };
        let turn = program.input("turn", DType::U64, 1, Fill::Zero);
        let [x, dy] = ["x", "dy"].map(|name| random(program, name, 30));
        let [y, dx] = ["y", "dx"].map(|name| out(program, name, 30));
        brick.forward(program, turn, x, y);
        brick.forward(program, turn, dy, dx);
        Wired {
            gradients: vec![[x, dx]],
            outputs: vec![(y, Weight::Given(dy))],
        }
    });
}

#[test]
fn of_pools() {
    check("mean pool", |program| {
        let brick = MeanPool {
            batch: 2,
            side: 4,
            window: 2,
            channels: 3,
        };
        let [x, dy] = [("x", brick.inputs()), ("dy", brick.len())]
            .map(|(name, len)| random(program, name, len));
        let [y, dx] =
            [("y", brick.len()), ("dx", brick.inputs())].map(|(name, len)| out(program, name, len));
        brick.forward(program, x, y);
        brick.backward(program, dy, dx);
        Wired {
            gradients: vec![[x, dx]],
            outputs: vec![(y, Weight::Given(dy))],
        }
    });
}

#[test]
fn of_losses_and_codes() {
    const SCALE: f32 = 0.25;
    check("soft cross-entropy", |program| {
        let brick = SoftCrossEntropy {
            rows: 3,
            classes: 5,
        };
        let logits = random(program, "logits", 15);
        // They add up to 1, as labels do.
        let shares = Fill::Host(Box::new(|buffer, _| {
            let targets = buffer.get_mut::<f32>().iter_mut().enumerate();
            targets.for_each(|(i, target)| *target = (i % 5 + 1) as f32 / 15.0);
        }));
        let targets = program.input("targets", DType::F32, 15, shares);
        let [losses, d_logits] =
            [("losses", 3), ("d_logits", 15)].map(|(name, len)| out(program, name, len));
        brick.forward(program, [logits, targets], losses);
        brick.backward(program, [logits, targets], SCALE, d_logits);
        Wired {
            gradients: vec![[logits, d_logits]],
            outputs: vec![(losses, Weight::Same(SCALE))],
        }
    });
    check("squares", |program| {
        let brick = Squares {
            rows: 3,
            cols: 5,
            beta: 0.5,
        };
        let [x, y] = ["x", "y"].map(|name| random(program, name, 15));
        let w = program.input("w", DType::F32, 15, Fill::Unit { stream: 7 });
        let divergences = random(program, "divergences", 3);
        let [losses, dy] = [("losses", 3), ("dy", 15)].map(|(name, len)| out(program, name, len));
        let compared = Compared { x, w, y };
        brick.forward(program, compared, divergences, losses);
        brick.backward(program, compared, SCALE, dy);
        Wired {
            gradients: vec![[y, dy]],
            outputs: vec![(losses, Weight::Same(SCALE))],
        }
    });
    check("codes", |program| {
        let brick = Codes {
            batch: 4,
            code: 3,
            seed: 1,
            stream: 2,
        };
        let turn = program.input("turn", DType::U64, 1, Fill::Zero);
        let [heads, dz] = [("heads", 24), ("dz", 12)].map(|(name, len)| random(program, name, len));
        let [noise, z] = ["noise", "z"].map(|name| out(program, name, 12));
        let [divergences, d_heads] =
            [("divergences", 4), ("d_heads", 24)].map(|(name, len)| out(program, name, len));
        let coded = Coded {
            heads,
            noise,
            z,
            divergences,
        };
        brick.forward(program, turn, coded);
        brick.backward(program, coded, dz, SCALE, d_heads);
        Wired {
            gradients: vec![[heads, d_heads]],
            outputs: vec![(z, Weight::Given(dz)), (divergences, Weight::Same(SCALE))],
        }
    });
}
