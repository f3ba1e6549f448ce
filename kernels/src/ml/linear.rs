//! Dense linear layers: `y = x W + b` with `x` of `rows` by `inputs` and `W` of `inputs` by `outputs`, row-major.
//!
//! | pass               | what it computes                                  | flops                   |
//! |--------------------|---------------------------------------------------|-------------------------|
//! | `forward`          | `y = x W`, plus `b`                               | `2 rows inputs outputs` |
//! | `backward-input`   | `dx = dy W^T`                                     | `2 rows inputs outputs` |
//! | `backward-weights` | `dW = x^T dy`, and `db`, the column sums of `dy`  | `2 rows inputs outputs` |
//!
//! Stored in 16 bits, where that is asked for, are `x`, `y`, their gradients and the `W` that is multiplied; products are added up in `f32`, and biases and gradients of
//! weights and biases are `f32`. Weights that are not trained may be kept in [8 bits](codes).
//!
//! On the host the products are the `gemm` crate's, in [tiles](crate::matrix) of fixed size that threads take in turn; on
//! CUDA devices those of `ml/product.cu`, of 16 bits those of `ml/product_tensor.cu`, or cuBLASLt's. The tolerance is that of a [product](crate::ops): the smaller of `gamma_k`
//! and its probabilistic counterpart, relative to the sum of magnitudes; a bias is one more product, by 1.

pub mod codes;

use assay_protocol::{ArithmeticUnit, Failure, Work};
use half::{bf16, f16};

use super::column_sum::{ColumnSum, Order};
use super::product::{self, Engine, Form, Product};
use crate::element::DType;
use crate::lane::Lane;
use crate::matrix::Store;
use crate::ops::{EVERYWHERE, Op, OpInfo, gemm};
use crate::parameters::{self, Arguments};
use crate::program::{Checked, Fill, Outcome, Program};

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
        let sums = ColumnSum {
            rows: self.rows,
            cols: self.outputs,
            dtype: program.buffers[dy].dtype,
            order: Order::Fixed,
        };
        sums.append(program, dy, db, store);
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

/// Types of the half op.
const HALVES: &[DType] = &[DType::Bf16, DType::F16];

/// A linear layer as an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearOp {
    /// `linear`: in `f32`.
    Full,
    /// `linear-half`: stored in 16 bits.
    Half,
    /// `linear-mixed`: what is multiplied is, results are `f32`: as trainings have it.
    Mixed,
}

impl Op for LinearOp {
    fn info(&self) -> OpInfo {
        let mut parameters: Vec<_> = NAMES.map(parameters::integer).into();
        parameters.push(parameters::choice("pass", &PASSES.map(|(name, _)| name)));
        parameters.push(parameters::choice("bias", &["no", "yes"]));
        let (name, summary) = match self {
            Self::Full => {
                parameters.push(parameters::on_cuda(parameters::choice(
                    "variant",
                    &ENGINES.map(|(name, _)| name),
                )));
                ("linear", "y = x W + b, and its backward products, f32")
            }
            Self::Half => {
                parameters.push(parameters::dtype(HALVES));
                (
                    "linear-half",
                    "y = x W + b, and its backward products, stored in 16 bits and computed in f32",
                )
            }
            Self::Mixed => {
                parameters.push(parameters::dtype(HALVES));
                (
                    "linear-mixed",
                    "y = x W + b, and its backward products, of numbers of 16 bits to f32",
                )
            }
        };
        OpInfo {
            name,
            summary,
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let [rows, inputs, outputs] = NAMES.map(|name| arguments.size(name));
        let layer = Linear {
            rows: rows?,
            inputs: inputs?,
            outputs: outputs?,
            engine: match self {
                Self::Full => arguments.cuda_choice("variant", &ENGINES)?,
                Self::Half | Self::Mixed => Engine::Ours,
            },
        };
        let dtype = match self {
            Self::Full => DType::F32,
            Self::Half | Self::Mixed => arguments.dtype(HALVES)?,
        };
        for name in NAMES {
            arguments.check_most(name, i32::MAX as usize)?;
        }
        let pass = arguments.choice("pass", &PASSES)?;
        let has_bias = arguments.choice("bias", &[("no", false), ("yes", true)])?;
        let has_bias = has_bias && pass != Pass::Input;
        let result = if *self == Self::Half {
            dtype
        } else {
            DType::F32
        };
        let mut program = Program::new(work(&layer, pass, has_bias, [dtype, result])?);
        let unit = product::unit(dtype, arguments.is_cuda());
        program.unit = Some(unit);
        let case = (layer, pass, has_bias, (unit, arguments.0.seed.0));
        match (dtype, result) {
            (DType::Bf16, DType::F32) => add_pass::<bf16, f32>(&mut program, case),
            (DType::F16, DType::F32) => add_pass::<f16, f32>(&mut program, case),
            (DType::Bf16, _) => add_pass::<bf16, bf16>(&mut program, case),
            (DType::F16, _) => add_pass::<f16, f16>(&mut program, case),
            _ => add_pass::<f32, f32>(&mut program, case),
        }
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        // Tiles and a bit more on every side, once in lines of whole vectors.
        match (parameter, size) {
            ("inputs", 2..100) => 72,
            ("outputs", 2..100) => 136,
            ("rows", 100..) => 261,
            ("inputs", 100..) => 69,
            ("outputs", 100..) => 137,
            _ => size,
        }
    }
}

/// Names of the sizes.
const NAMES: [&str; 3] = ["rows", "inputs", "outputs"];

fn work(
    layer: &Linear,
    pass: Pass,
    has_bias: bool,
    [dtype, result]: [DType; 2],
) -> Result<Work, Failure> {
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
    // Gradients of weights and biases, and biases, are `f32`.
    let [of_x, of_w, of_y] = match pass {
        Pass::Forward => [dtype, dtype, result],
        Pass::Input => [result, dtype, dtype],
        Pass::Weights => [dtype, DType::F32, dtype],
    };
    let bias = if has_bias { outputs } else { 0 };
    let [x, w, y] = elements;
    let bytes = x * of_x.bytes() + w * of_w.bytes() + y * of_y.bytes() + 4 * bias;
    let with_bias = if has_bias {
        " + outputs sizeof(f32)"
    } else {
        ""
    };
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
            "bytes = rows inputs sizeof({of_x}) + rows outputs sizeof({of_y}) + inputs outputs sizeof({of_w}){with_bias}, \
             flops = 2 rows inputs outputs, items = {}",
            of_result.0
        ),
    })
}

/// Adds the operands, the result and the check of a pass.
fn add_pass<T: Lane, R: Lane>(
    program: &mut Program,
    (layer, pass, has_bias, (unit, seed)): (Linear, Pass, bool, (ArithmeticUnit, u64)),
) {
    let Linear {
        rows,
        inputs,
        outputs,
        ..
    } = layer;
    let [of_x, of_w, of_y] = [rows * inputs, inputs * outputs, rows * outputs];
    let mut input =
        |name: &'static str, stream, len| program.input(name, T::DTYPE, len, Fill::signed(stream));
    let [left, right] = match pass {
        Pass::Forward => [input("x", 0, of_x), input("w", 1, of_w)],
        Pass::Input => [input("dy", 3, of_y), input("w", 1, of_w)],
        Pass::Weights => [input("x", 0, of_x), input("dy", 3, of_y)],
    };
    match pass {
        Pass::Forward => {
            let bias = has_bias.then(|| program.input("b", DType::F32, outputs, Fill::signed(2)));
            let y = program.output("y", R::DTYPE, of_y);
            layer.forward(program, left, right, bias, y);
            program.check(move |outcome| {
                let bias = bias.map(|bias| outcome.get::<f32>(bias));
                let [x, w] = [left, right].map(|buffer| wide::<T>(outcome, buffer));
                let (sides, x, w) = with_bias([rows, outputs, inputs], x, w, bias);
                gemm::compare(unit, sides, &x, &w, outcome.get::<R>(y), seed)
            });
        }
        Pass::Input => {
            let dx = program.output("dx", R::DTYPE, of_x);
            layer.backward_input(program, left, right, dx, Store::Set);
            program.check(move |outcome| {
                let [dy, w] = [left, right].map(|buffer| wide::<T>(outcome, buffer));
                let w = turned(&w, outputs);
                gemm::compare(
                    unit,
                    [rows, inputs, outputs],
                    &dy,
                    &w,
                    outcome.get::<R>(dx),
                    seed,
                )
            });
        }
        Pass::Weights => {
            let dw = program.output("dw", DType::F32, of_w);
            layer.backward_weights(program, left, right, dw, Store::Set);
            let db = has_bias.then(|| program.output("db", DType::F32, outputs));
            if let Some(db) = db {
                layer.backward_bias(program, right, db, Store::Set);
            }
            program.check(move |outcome| {
                let [x, dy] = [left, right].map(|buffer| wide::<T>(outcome, buffer));
                let compare = |unit, sides, x: &[f32], buffer| {
                    gemm::compare(unit, sides, x, &dy, outcome.get::<f32>(buffer), seed)
                };
                let of_weights = compare(unit, [inputs, outputs, rows], &turned(&x, inputs), dw);
                let of_bias = db.map(|db| {
                    compare(
                        ArithmeticUnit::F32,
                        [1, outputs, rows],
                        &vec![1.0; rows],
                        db,
                    )
                });
                Checked {
                    error: of_bias.map_or(0.0, |bias| bias.error).max(of_weights.error),
                    ..of_weights
                }
            });
        }
    }
}

fn wide<T: Lane>(outcome: &Outcome, buffer: usize) -> Vec<f32> {
    outcome.get::<T>(buffer).iter().map(|x| x.widen()).collect()
}

/// The sides and operands of `x W`, with a column of ones and the row that they are multiplied by, if there is one.
fn with_bias(
    [rows, outputs, inputs]: [usize; 3],
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Option<&[f32]>,
) -> ([usize; 3], Vec<f32>, Vec<f32>) {
    let Some(bias) = bias else {
        return ([rows, outputs, inputs], x, w);
    };
    let row = |row| (0..inputs).map(move |i| row * inputs + i);
    let x = (0..rows)
        .flat_map(|r| row(r).map(|i| x[i]).chain([1.0]).collect::<Vec<_>>())
        .collect();
    ([rows, outputs, inputs + 1], x, [&w, bias].concat())
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
