//! Dense linear layers: `y = x W + b` with `x` of `rows` by `inputs` and `W` of `inputs` by `outputs`, row-major `f32`.
//!
//! | pass               | what it computes                                  | flops                   |
//! |--------------------|---------------------------------------------------|-------------------------|
//! | `forward`          | `y = x W`, plus `b`                               | `2 rows inputs outputs` |
//! | `backward-input`   | `dx = dy W^T`                                     | `2 rows inputs outputs` |
//! | `backward-weights` | `dW = x^T dy`, and `db`, the column sums of `dy`  | `2 rows inputs outputs` |
//!
//! On the host the products are the `gemm` crate's, in [tiles](crate::matrix) of fixed size that threads take in turn; on
//! CUDA devices those of `ml/product.cu`, or cuBLASLt's. The tolerance is that of a [product](crate::ops): the smaller of `gamma_k`
//! and its probabilistic counterpart, relative to the sum of magnitudes; a bias is one more product, by 1.

use assay_protocol::{ArithmeticUnit, Failure, Work};

use super::expect;
use super::product::{Engine, Form, Product, column_sums_launch};
use crate::device::Team;
use crate::element::DType;
use crate::matrix::Store;
use crate::ops::{EVERYWHERE, Op, OpInfo, gemm};
use crate::parameters::{self, Arguments};
use crate::program::{Checked, Fill, Program};
use crate::simd::wide;

/// Columns that a thread of the host adds up at a time: some lines of cache of each row.
const COLUMNS: usize = 64;

/// A linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// Rows of activations: tokens.
    pub rows: usize,
    /// Columns of `x`.
    pub inputs: usize,
    /// Columns of `y`.
    pub outputs: usize,
    /// Who multiplies on a CUDA device.
    pub engine: Engine,
}

impl Linear {
    /// A layer that our own kernel computes on CUDA devices.
    pub fn new(rows: usize, inputs: usize, outputs: usize) -> Self {
        Self {
            rows,
            inputs,
            outputs,
            engine: Engine::Ours,
        }
    }

    fn product(&self, form: Form, store: Store) -> Product {
        let Self {
            rows,
            inputs,
            outputs,
            engine,
        } = *self;
        let [m, n, k] = match form {
            Form::Plain => [rows, outputs, inputs],
            Form::RightTurned => [rows, inputs, outputs],
            Form::LeftTurned => [inputs, outputs, rows],
        };
        Product {
            form,
            m,
            n,
            k,
            store,
            engine,
        }
    }

    /// `y = x W`, plus the bias, if there is one.
    pub fn forward(
        &self,
        program: &mut Program,
        x: usize,
        weights: usize,
        bias: Option<usize>,
        y: usize,
    ) {
        let product = self.product(Form::Plain, Store::Set);
        product.append(program, x, weights, bias, y);
    }

    /// `dx = dy W^T`, or added to `dx`, where `x` goes elsewhere too.
    pub fn backward_input(
        &self,
        program: &mut Program,
        dy: usize,
        weights: usize,
        dx: usize,
        store: Store,
    ) {
        let product = self.product(Form::RightTurned, store);
        product.append(program, dy, weights, None, dx);
    }

    /// `dW = x^T dy`, or added to `dW`, where gradients are accumulated.
    pub fn backward_weights(
        &self,
        program: &mut Program,
        x: usize,
        dy: usize,
        dw: usize,
        store: Store,
    ) {
        let product = self.product(Form::LeftTurned, store);
        product.append(program, x, dy, None, dw);
    }

    /// `db`: the sums of the columns of `dy`, or added to `db`.
    pub fn backward_bias(&self, program: &mut Program, dy: usize, db: usize, store: Store) {
        let Self { rows, outputs, .. } = *self;
        expect(
            program,
            "linear",
            &[
                ("dy", dy, DType::F32, rows * outputs),
                ("db", db, DType::F32, outputs),
            ],
        );
        program.step_on_cpu(move |team, buffers| {
            let [dy, db] = buffers.many([dy, db]);
            column_sums(team, db.get_mut(), dy.get(), store);
        });
        program.launch(column_sums_launch([db, dy], [rows, outputs], store));
    }
}

/// The sums of columns, each in the order of rows.
pub(super) fn column_sums(team: &Team, out: &mut [f32], rows: &[f32], store: Store) {
    let width = out.len();
    let parts = out.chunks_mut(COLUMNS).enumerate().collect();
    team.deal(parts, |(index, out): (usize, &mut [f32])| {
        if store == Store::Set {
            out.fill(0.0);
        }
        let first = index * COLUMNS;
        for row in rows.chunks_exact(width) {
            add(out, &row[first..first + out.len()]);
        }
    });
}

wide! {
    /// Adds numbers one by one.
    fn add(sums: &mut [f32], numbers: &[f32]) {
        for (sum, x) in sums.iter_mut().zip(numbers) {
            *sum += x;
        }
    }
}

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Forward,
    Input,
    Weights,
}

const PASSES: [(&str, Pass); 3] = [
    ("forward", Pass::Forward),
    ("backward-input", Pass::Input),
    ("backward-weights", Pass::Weights),
];
const ENGINES: [(&str, Engine); 2] = [("register", Engine::Ours), ("cublaslt", Engine::Library)];

/// A linear layer as an op.
pub struct LinearOp;

impl Op for LinearOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "linear",
            summary: "y = x W + b, and its backward products, f32",
            parameters: vec![
                parameters::integer("rows"),
                parameters::integer("inputs"),
                parameters::integer("outputs"),
                parameters::choice("pass", &PASSES.map(|(name, _)| name)),
                parameters::choice("bias", &["no", "yes"]),
                parameters::on_cuda(parameters::choice(
                    "variant",
                    &ENGINES.map(|(name, _)| name),
                )),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let [rows, inputs, outputs] = NAMES.map(|name| arguments.size(name));
        let layer = Linear {
            rows: rows?,
            inputs: inputs?,
            outputs: outputs?,
            engine: arguments.cuda_choice("variant", &ENGINES)?,
        };
        for name in NAMES {
            arguments.check_most(name, i32::MAX as usize)?;
        }
        let pass = arguments.choice("pass", &PASSES)?;
        let has_bias = arguments.choice("bias", &[("no", false), ("yes", true)])?;
        let mut program = Program::new(work(&layer, pass, has_bias)?);
        program.unit = Some(ArithmeticUnit::F32);
        let seed = arguments.0.seed.0;
        match pass {
            Pass::Forward => forward(&mut program, layer, has_bias, seed),
            Pass::Input => backward_input(&mut program, layer, seed),
            Pass::Weights => backward_weights(&mut program, layer, has_bias, seed),
        }
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        // Tiles and a bit more on every side, once in lines of whole vectors.
        match (parameter, size) {
            ("inputs", 2..100) => 72,
            ("outputs", 2..100) => 132,
            ("rows", 100..) => 261,
            ("inputs", 100..) => 69,
            ("outputs", 100..) => 137,
            _ => size,
        }
    }
}

/// Names of the sizes.
const NAMES: [&str; 3] = ["rows", "inputs", "outputs"];

fn work(layer: &Linear, pass: Pass, has_bias: bool) -> Result<Work, Failure> {
    const ALL: &str = "`rows`, `inputs` and `outputs`";
    let Linear {
        rows,
        inputs,
        outputs,
        ..
    } = *layer;
    let sides = [[rows, inputs], [inputs, outputs], [rows, outputs]];
    let mut elements = [0; 3];
    for (count, [a, b]) in elements.iter_mut().zip(sides) {
        *count = parameters::size_product(ALL, &[a, b, 16])? / 16;
    }
    let has_bias = has_bias && pass != Pass::Input;
    let bias = if has_bias { outputs } else { 0 };
    let bytes = 4 * (elements.iter().sum::<usize>() + bias);
    let with_bias = if has_bias { " + outputs" } else { "" };
    let of_result = match pass {
        Pass::Forward => ("rows outputs", elements[2]),
        Pass::Input => ("rows inputs", elements[0]),
        Pass::Weights => ("inputs outputs", elements[1]),
    };
    let factors = [2, rows, inputs, outputs].map(|factor| factor as u64);
    Ok(Work {
        bytes: Some(bytes as u64),
        flops: Some(parameters::product(ALL, &factors)?),
        items: Some(of_result.1 as u64),
        formula: format!(
            "bytes = (rows inputs + inputs outputs + rows outputs{with_bias}) sizeof(f32), \
             flops = 2 rows inputs outputs, items = {}",
            of_result.0
        ),
    })
}

fn input(program: &mut Program, name: &'static str, stream: u64, len: usize) -> usize {
    program.input(name, DType::F32, len, Fill::signed(stream))
}

fn forward(program: &mut Program, layer: Linear, has_bias: bool, seed: u64) {
    let Linear {
        rows,
        inputs,
        outputs,
        ..
    } = layer;
    let x = input(program, "x", 0, rows * inputs);
    let w = input(program, "w", 1, inputs * outputs);
    let b = has_bias.then(|| input(program, "b", 2, outputs));
    let y = program.output("y", DType::F32, rows * outputs);
    layer.forward(program, x, w, b, y);
    program.check(move |outcome| {
        let (x, w, y) = (outcome.get::<f32>(x), outcome.get(w), outcome.get::<f32>(y));
        let Some(b) = b else {
            return gemm::compare([rows, outputs, inputs], x, w, y, seed);
        };
        // A column of ones, and a row that they are multiplied by.
        let row = |row| (0..inputs).map(move |i| x[row * inputs + i]).chain([1.0]);
        let x: Vec<f32> = (0..rows).flat_map(row).collect();
        let w = [w, outcome.get(b)].concat();
        gemm::compare([rows, outputs, inputs + 1], &x, &w, y, seed)
    });
}

fn backward_input(program: &mut Program, layer: Linear, seed: u64) {
    let Linear {
        rows,
        inputs,
        outputs,
        ..
    } = layer;
    let w = input(program, "w", 1, inputs * outputs);
    let dy = input(program, "dy", 3, rows * outputs);
    let dx = program.output("dx", DType::F32, rows * inputs);
    layer.backward_input(program, dy, w, dx, Store::Set);
    program.check(move |outcome| {
        let turned = turned(outcome.get(w), outputs);
        let (dy, dx) = (outcome.get(dy), outcome.get(dx));
        gemm::compare([rows, inputs, outputs], dy, &turned, dx, seed)
    });
}

fn backward_weights(program: &mut Program, layer: Linear, has_bias: bool, seed: u64) {
    let Linear {
        rows,
        inputs,
        outputs,
        ..
    } = layer;
    let x = input(program, "x", 0, rows * inputs);
    let dy = input(program, "dy", 3, rows * outputs);
    let dw = program.output("dw", DType::F32, inputs * outputs);
    layer.backward_weights(program, x, dy, dw, Store::Set);
    let db = has_bias.then(|| program.output("db", DType::F32, outputs));
    if let Some(db) = db {
        layer.backward_bias(program, dy, db, Store::Set);
    }
    program.check(move |outcome| {
        let (x, dy) = (turned(outcome.get(x), inputs), outcome.get(dy));
        let of_weights = gemm::compare([inputs, outputs, rows], &x, dy, outcome.get(dw), seed);
        let Some(db) = db else {
            return of_weights;
        };
        let ones = vec![1.0; rows];
        let of_bias = gemm::compare([1, outputs, rows], &ones, dy, outcome.get(db), seed);
        Checked {
            error: of_weights.error.max(of_bias.error),
            ..of_weights
        }
    });
}

/// A matrix of so many columns, transposed.
fn turned(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns.max(1);
    let at = |i: usize| matrix[i % rows * columns + i / rows];
    (0..matrix.len()).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::{Linear, Store};
    use crate::device::Team;
    use crate::element::DType;
    use crate::program::{Fill, Program, Role};

    /// What is added to what was there, on shapes of several tiles, by any number of threads.
    #[test]
    fn gradients_are_added_with_the_same_bits_from_any_team() {
        let layer = Linear::new(300, 270, 530);
        let run = |store, threads| {
            let mut program = Program::new(assay_protocol::Work::default());
            let mut add = |name: &'static str, stream, len| {
                program.add(name, DType::F32, len, Role::InOut, Fill::signed(stream))
            };
            // Outputs first: nothing rests on where buffers lie.
            let (dx, dw, db) = (
                add("dx", 5, 300 * 270),
                add("dw", 6, 270 * 530),
                add("db", 7, 530),
            );
            let (x, w, dy) = (
                add("x", 0, 300 * 270),
                add("w", 1, 270 * 530),
                add("dy", 2, 300 * 530),
            );
            layer.backward_input(&mut program, dy, w, dx, store);
            layer.backward_weights(&mut program, x, dy, dw, store);
            layer.backward_bias(&mut program, dy, db, store);
            let team = Team::new(threads).unwrap();
            let mut buffers = program.host_buffers(&team, 3).unwrap();
            program.take_cpu().unwrap()(&team, &mut buffers, 1);
            [dx, dw, db].map(|index| buffers.get::<f32>(index).to_vec())
        };
        let added = [1, 2, 5].map(|threads| run(Store::Add, threads));
        assert!(added.iter().all(|found| *found == added[0]));
        let mut old = Program::new(assay_protocol::Work::default());
        for (name, stream, len) in [("dx", 5, 300 * 270), ("dw", 6, 270 * 530), ("db", 7, 530)] {
            old.input(name, DType::F32, len, Fill::signed(stream));
        }
        let old = old.host_buffers(&Team::new(1).unwrap(), 3).unwrap();
        let set = run(Store::Set, 2);
        for (place, (set, added)) in set.iter().zip(&added[0]).enumerate() {
            let sums = set
                .iter()
                .zip(old.get::<f32>(place))
                .map(|(new, old)| new + old);
            let error = sums
                .zip(added)
                .map(|(sum, found)| (sum - found).abs())
                .fold(0.0, f32::max);
            assert!(error < 1e-4, "{place}: {error}");
        }
    }

    #[test]
    #[should_panic(expected = "product: `a` is to be 6 elements of f32; buffer `x` has 5 of f32")]
    fn a_buffer_of_another_size_is_refused() {
        let mut program = Program::new(assay_protocol::Work::default());
        let [x, w, y] = [("x", 5), ("w", 12), ("y", 8)]
            .map(|(name, len)| program.input(name, DType::F32, len, Fill::signed(0)));
        Linear::new(2, 3, 4).forward(&mut program, x, w, None, y);
    }
}
