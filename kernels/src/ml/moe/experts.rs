//! Experts with `SwiGLU`: `rows' = (silu(rows W1) * (rows W3)) W2`, each expert for the slots that it has.
//!
//! `W1` and `W3` are `[experts, width, hidden]`, `W2` is `[experts, hidden, width]`. Only slots that are taken are multiplied; the
//! results of others are 0. The forward pass keeps both products, `gate` and `up`; backward, with `dh = drows' W2^T` and `h` their
//! activated product, `dW2 = h^T drows'`, `dgate = dh up silu'(gate)`, `dup = dh silu(gate)`, `dW1 = rows^T dgate`,
//! `dW3 = rows^T dup` and `drows = dgate W1^T + dup W3^T`. Source of the activation: N. Shazeer, "GLU variants improve
//! transformer", 2020, equation 5.
//!
//! Work: `6 M d f` flops forward, twice as much backward, of the `M` choices that found a slot (`T k` of them where all did), with
//! `d` and `f` the widths. Bytes: all weights and the rows that are taken, read and written once; backward the gradients too.
//!
//! Errors: a product is off by `gamma_d` times its magnitudes. What enters the next has an error of at most that times
//! `1.1 |up| Cgate + |silu(gate)| Cup` (1.1 is more than the largest slope of `silu`), and some roundings of the activation; so relative
//! to the sum of `|W2|` times that and `|h|`, results are off by `gamma_d + gamma_f` and those roundings. Gradients likewise.

mod check;

use assay_protocol::{ArithmeticUnit, Failure, Work};

use super::gate::SOURCE;
use super::routing::kept_of;
use super::{Mixture, mixture};
use crate::buffer::Buffers;
use crate::device::Team;
use crate::device::host::usable_cpus;
use crate::element::DType;
use crate::math;
use crate::matrix::{Matrix, MatrixMut, Part, Store};
use crate::ml::product::{Begin, Form, Multiply, Operand};
use crate::ml::{expect, workspace};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Fill, Launch, Program, Role, Step, blocks};
use crate::simd::wide;

/// Blocks that stride over rows.
const MOST_BLOCKS: u32 = 1 << 16;

/// The experts' buffers, by their numbers.
#[derive(Clone, Copy, Debug)]
pub struct Experts {
    /// Rows of slots: `[experts, capacity, width]`.
    pub rows: usize,
    /// Slots of each that are taken: `u32`, `[experts]`.
    pub kept: usize,
    /// Weights.
    pub w1: usize,
    /// Weights.
    pub w3: usize,
    /// Weights.
    pub w2: usize,
    /// What the forward pass keeps: `[experts, capacity, hidden]`.
    pub gate: usize,
    /// The same.
    pub up: usize,
}

/// Where gradients go.
#[derive(Clone, Copy, Debug)]
pub struct ExpertGradients {
    /// Of the rows of slots.
    pub rows: usize,
    /// Of weights.
    pub w1: usize,
    /// Of weights.
    pub w3: usize,
    /// Of weights.
    pub w2: usize,
}

/// A product of every expert: rows of slots, or weights, with as many rows as the expert has, or sums over those.
#[derive(Clone, Copy, Debug)]
struct Grouped {
    form: Form,
    a: usize,
    b: usize,
    c: usize,
    store: Store,
}

impl Mixture {
    fn expect_experts(&self, program: &Program, given: &Experts, out: usize) {
        let (rows, hidden) = (self.slots() * self.width, self.slots() * self.hidden);
        let weights = self.experts * self.width * self.hidden;
        expect(
            program,
            "experts",
            &[
                ("rows", given.rows, DType::F32, rows),
                ("kept", given.kept, DType::U32, self.experts),
                ("w1", given.w1, DType::F32, weights),
                ("w3", given.w3, DType::F32, weights),
                ("w2", given.w2, DType::F32, weights),
                ("gate", given.gate, DType::F32, hidden),
                ("up", given.up, DType::F32, hidden),
                ("rows of results", out, DType::F32, rows),
            ],
        );
    }

    /// Columns of the left side, of the result, and of the weights, of a product with rows of `from` and `to` columns.
    fn grouped(
        &self,
        program: &mut Program,
        product: Grouped,
        kept: usize,
        [from, to]: [usize; 2],
    ) {
        let Grouped {
            form,
            a,
            b,
            c,
            store,
        } = product;
        let (capacity, experts) = (self.capacity, self.experts);
        let of_slots = |columns: usize| capacity * columns;
        let operand = |buffer, stride, outer_step| Operand {
            buffer,
            stride,
            outer_step,
            inner_step: 0,
        };
        // The weights of an expert lie as they are multiplied, or turned; their gradients are sums over rows.
        let (sides, b, c) = match form {
            Form::Plain => (
                [capacity, to, from],
                operand(b, to, from * to),
                operand(c, to, of_slots(to)),
            ),
            Form::RightTurned => (
                [capacity, to, from],
                operand(b, from, from * to),
                operand(c, to, of_slots(to)),
            ),
            Form::LeftTurned => (
                [from, to, capacity],
                operand(b, to, of_slots(to)),
                operand(c, to, from * to),
            ),
        };
        let a = operand(a, from, of_slots(from));
        let multiply = Multiply {
            form,
            sides,
            a,
            b,
            c,
            begin: if store == Store::Add {
                Begin::Old
            } else {
                Begin::Nothing
            },
            count: experts,
            inner: 1,
            counts: Some(kept),
            scales: None,
        };
        let host = Host {
            form,
            sides,
            experts,
            store,
            steps: [a, b, c].map(|operand| operand.outer_step),
        };
        let places = [a.buffer, b.buffer, c.buffer, kept];
        program.step_on_cpu(move |team, buffers| host.multiply(team, buffers, places));
        program.launch(multiply.launch());
    }

    /// Sets rows to 0 that no expert writes; on CUDA devices all, before they are written.
    fn clear(&self, program: &mut Program, buffer: usize, kept: usize) {
        let (capacity, width) = (self.capacity, self.width);
        program.step_on_cpu(move |team, buffers| {
            let [rows, kept] = buffers.many([buffer, kept]);
            let kept = kept.get::<u32>();
            // Those that are written are not touched before.
            let of_experts = rows.get_mut::<f32>().chunks_mut((capacity * width).max(1));
            team.deal(of_experts.zip(kept).collect(), |(rows, kept)| {
                rows[*kept as usize * width..].fill(0.0);
            });
        });
        program.cuda.push(Step::Set { buffer, byte: 0 });
    }

    /// What experts make of the rows of their slots.
    pub fn experts(&self, program: &mut Program, given: &Experts, out: usize) {
        self.expect_experts(program, given, out);
        let (shape, given) = (*self, *given);
        let Self { width, hidden, .. } = shape;
        let Experts {
            rows,
            kept,
            gate,
            up,
            ..
        } = given;
        for (weights, c) in [(given.w1, gate), (given.w3, up)] {
            let product = Grouped {
                form: Form::Plain,
                a: rows,
                b: weights,
                c,
                store: Store::Set,
            };
            self.grouped(program, product, kept, [width, hidden]);
        }
        let activated = workspace(program, "experts-hidden", DType::F32, self.slots() * hidden);
        program.step_on_cpu(move |team, buffers| {
            let [gate, up, kept, activated] = buffers.many([gate, up, kept, activated]);
            let (gate, up, kept) = (gate.get::<f32>(), up.get::<f32>(), kept.get::<u32>());
            let rows = shape.taken(kept, activated.get_mut());
            team.deal(rows, |(first, out): (usize, &mut [f32])| {
                swiglu(out, &gate[first..][..out.len()], &up[first..][..out.len()]);
            });
        });
        program.launch(self.pointwise("moe_swiglu", &[activated, gate, up, kept]));
        self.clear(program, out, kept);
        let product = Grouped {
            form: Form::Plain,
            a: activated,
            b: given.w2,
            c: out,
            store: Store::Set,
        };
        self.grouped(program, product, kept, [hidden, width]);
    }

    /// Gradients of rows and weights, given those of the results.
    pub fn experts_backward(
        &self,
        program: &mut Program,
        given: &Experts,
        d_out: usize,
        gradients: &ExpertGradients,
    ) {
        self.expect_experts(program, given, d_out);
        let (shape, given, d) = (*self, *given, *gradients);
        let Self { width, hidden, .. } = shape;
        let Experts {
            rows,
            kept,
            gate,
            up,
            ..
        } = given;
        let [d_gate, d_up, activated] = ["experts-dgate", "experts-dup", "experts-hidden"]
            .map(|name| workspace(program, name, DType::F32, shape.slots() * hidden));
        let product = |form, a, b, c, store| Grouped {
            form,
            a,
            b,
            c,
            store,
        };
        let of_hidden = product(Form::RightTurned, d_out, given.w2, d_gate, Store::Set);
        self.grouped(program, of_hidden, kept, [width, hidden]);
        program.step_on_cpu(move |team, buffers| {
            let [gate, up, kept, d_gate, d_up, activated] =
                buffers.many([gate, up, kept, d_gate, d_up, activated]);
            let (gate, up, kept) = (gate.get::<f32>(), up.get::<f32>(), kept.get::<u32>());
            let tasks = shape.taken(kept, d_gate.get_mut()).into_iter();
            let tasks = tasks.zip(
                shape
                    .taken(kept, d_up.get_mut())
                    .into_iter()
                    .zip(shape.taken(kept, activated.get_mut())),
            );
            team.deal(
                tasks.collect(),
                |((first, d_gate), ((_, d_up), (_, activated))): Task| {
                    let (gate, up) = (&gate[first..][..d_up.len()], &up[first..][..d_up.len()]);
                    swiglu(activated, gate, up);
                    swiglu_backward(d_gate, d_up, gate, up);
                },
            );
        });
        program.launch(self.pointwise(
            "moe_swiglu_backward",
            &[d_gate, d_up, activated, gate, up, kept],
        ));
        let of_w2 = product(Form::LeftTurned, activated, d_out, d.w2, Store::Set);
        self.grouped(program, of_w2, kept, [hidden, width]);
        for (from, to) in [(d_gate, d.w1), (d_up, d.w3)] {
            let of_weights = product(Form::LeftTurned, rows, from, to, Store::Set);
            self.grouped(program, of_weights, kept, [width, hidden]);
        }
        self.clear(program, d.rows, kept);
        for (from, weights, store) in [(d_gate, given.w1, Store::Set), (d_up, given.w3, Store::Add)]
        {
            let of_rows = product(Form::RightTurned, from, weights, d.rows, store);
            self.grouped(program, of_rows, kept, [hidden, width]);
        }
    }

    /// Rows between layers that are taken, an expert's sixteen at a time, with the place of their first element.
    fn taken<'a>(&self, kept: &[u32], rows: &'a mut [f32]) -> Vec<(usize, &'a mut [f32])> {
        let of_expert = self.capacity * self.hidden;
        let mut tasks = vec![];
        for (expert, rows) in rows.chunks_mut(of_expert.max(1)).enumerate() {
            let (rows, _) = rows.split_at_mut(kept[expert] as usize * self.hidden);
            for (index, rows) in rows.chunks_mut(16 * self.hidden).enumerate() {
                tasks.push((expert * of_expert + index * 16 * self.hidden, rows));
            }
        }
        tasks
    }

    fn pointwise(&self, kernel: &str, buffers: &[usize]) -> Launch {
        let sizes = [self.slots(), self.capacity, self.hidden].map(|size| Arg::U32(size as u32));
        Launch::new(&SOURCE, kernel, blocks(self.slots(), 1, MOST_BLOCKS), 256)
            .args(buffers.iter().copied().map(Arg::Buffer))
            .args(sizes)
    }
}

/// Parts of gradients, each with the place of its first element.
type Task<'a> = (
    (usize, &'a mut [f32]),
    ((usize, &'a mut [f32]), (usize, &'a mut [f32])),
);

wide! {
    /// `silu(gate) up`.
    fn swiglu(out: &mut [f32], gate: &[f32], up: &[f32]) {
        for (out, (gate, up)) in out.iter_mut().zip(gate.iter().zip(up)) {
            *out = gate / (1.0 + math::exp(-*gate)) * up;
        }
    }

    /// Gradients of both factors; `d_gate` holds that of their product.
    fn swiglu_backward(d_gate: &mut [f32], d_up: &mut [f32], gate: &[f32], up: &[f32]) {
        let gradients = d_gate.iter_mut().zip(d_up);
        for ((d_gate, d_up), (gate, up)) in gradients.zip(gate.iter().zip(up)) {
            let sigmoid = math::sigmoid(*gate);
            let (silu, d) = (gate * sigmoid, *d_gate);
            *d_up = d * silu;
            *d_gate = d * up * (sigmoid + silu * (1.0 - sigmoid));
        }
    }
}

/// A product of every expert on the host.
#[derive(Clone, Copy)]
struct Host {
    form: Form,
    sides: [usize; 3],
    experts: usize,
    store: Store,
    steps: [usize; 3],
}

impl Host {
    fn multiply(&self, team: &Team, buffers: &mut Buffers, places: [usize; 4]) {
        let [left, right, results, kept] = buffers.many(places);
        let (left, right) = (left.get::<f32>(), right.get::<f32>());
        let kept = kept.get::<u32>();
        let [m, n, k] = self.sides;
        let [step_a, step_b, step_c] = self.steps;
        let results = results.get_mut::<f32>().chunks_mut(step_c.max(1));
        let parts = results
            .enumerate()
            .take(self.experts)
            .flat_map(|(expert, c)| {
                let count = kept[expert] as usize;
                let left = &left[expert * step_a..];
                let right = &right[expert * step_b..];
                match self.form {
                    Form::Plain => Part::all(
                        MatrixMut::whole(c, count, n),
                        Matrix::whole(left, count, k),
                        Matrix::whole(right, k, n),
                    ),
                    Form::RightTurned => Part::all(
                        MatrixMut::whole(c, count, n),
                        Matrix::whole(left, count, k),
                        Matrix::whole(right, n, k).transposed(),
                    ),
                    Form::LeftTurned => Part::all(
                        MatrixMut::whole(c, m, n),
                        Matrix::whole(left, count, m).transposed(),
                        Matrix::whole(right, count, n),
                    ),
                }
            });
        team.deal(parts.collect(), |mut part| part.multiply(self.store));
    }
}

const PASSES: [(&str, bool); 2] = [("forward", false), ("backward", true)];
/// Sizes beside experts and choices.
const NAMES: &[&str] = &["width", "hidden", "capacity"];

/// Experts as an op.
pub struct ExpertsOp;

impl Op for ExpertsOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "moe-experts",
            summary: "grouped products of experts with SwiGLU, f32",
            parameters: vec![
                parameters::integer("tokens"),
                parameters::integer("width"),
                parameters::integer("hidden"),
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
        let seed = arguments.0.seed.0;
        let mut program = Program::new(work(&shape, is_backward, seed)?);
        program.unit = Some(ArithmeticUnit::F32);
        let given = add_inputs(&mut program, shape);
        if is_backward {
            add_backward(&mut program, shape, given, seed);
            return Ok(program);
        }
        let out = program.output("out", DType::F32, shape.slots() * shape.width);
        shape.experts(&mut program, &given, out);
        program.check(move |outcome| check::forward(outcome, &shape, &given, out, seed));
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match (parameter, size) {
            ("experts", 0..100) => size.clamp(2, 3),
            ("experts", 100..) => 2,
            ("capacity", 2..100) => size / 2 + 3,
            ("capacity", 100..) => 131,
            ("tokens", 100..) => 130,
            ("width", 2..100) => 20,
            ("width", 100..) => 33,
            ("hidden", 2..100) => 132,
            ("hidden", 100..) => 21,
            _ => size,
        }
    }
}

fn work(shape: &Mixture, is_backward: bool, seed: u64) -> Result<Work, Failure> {
    const ALL: &str = "`tokens`, `width` and `hidden`";
    // What is too large to count is refused before it is counted.
    let most = shape.choices() as u64;
    let (width, hidden) = (shape.width as u64, shape.hidden as u64);
    parameters::product(ALL, &[12, most, width, hidden])?;
    let taken = if most < 1 << 28 {
        kept_of(shape, seed)
            .iter()
            .map(|count| u64::from(*count))
            .sum()
    } else {
        most
    };
    let times = if is_backward { 2 } else { 1 };
    let weights = 3 * shape.experts as u64 * width * hidden;
    let formula = if is_backward {
        "bytes = (6 E d f + 3 M d + 2 M f) sizeof(f32), flops = 12 M d f"
    } else {
        "bytes = (3 E d f + 2 M d + 2 M f) sizeof(f32), flops = 6 M d f"
    };
    let rows = taken * ((1 + times) * width + 2 * hidden);
    Ok(Work {
        bytes: Some(4 * (times * weights + rows)),
        flops: Some(6 * times * taken * width * hidden),
        items: Some(taken),
        formula: format!(
            "{formula}, items = M; M = tokens chosen, but for those without a slot, E = experts, d = width, f = hidden"
        ),
    })
}

/// Adds inputs, and `gate` and `up`, which nobody compares: what is made of them is.
fn add_inputs(program: &mut Program, shape: Mixture) -> Experts {
    let weights = shape.experts * shape.width * shape.hidden;
    let kept = Fill::Host(Box::new(move |buffer, seed| {
        buffer
            .get_mut::<u32>()
            .copy_from_slice(&kept_of(&shape, seed));
    }));
    let input = |program: &mut Program, name, stream, len| {
        program.input(name, DType::F32, len, Fill::signed(stream))
    };
    let rows = input(program, "rows", 0, shape.slots() * shape.width);
    let [w1, w3, w2] = [("w1", 1), ("w3", 2), ("w2", 3)]
        .map(|(name, stream)| input(program, name, stream, weights));
    Experts {
        rows,
        kept: program.input("kept", DType::U32, shape.experts, kept),
        w1,
        w3,
        w2,
        gate: program.scratch("gate", DType::F32, shape.slots() * shape.hidden),
        up: program.scratch("up", DType::F32, shape.slots() * shape.hidden),
    }
}

/// Adds the backward pass. What the forward one keeps, the host has computed before.
fn add_backward(program: &mut Program, shape: Mixture, given: Experts, seed: u64) {
    for (place, is_up) in [(given.gate, false), (given.up, true)] {
        program.buffers[place].fill = Fill::Host(Box::new(move |buffer, seed| {
            buffer
                .get_mut::<f32>()
                .copy_from_slice(&kept_on_host(shape, seed, is_up));
        }));
        program.buffers[place].role = Role::Scratch;
    }
    let d_out = program.input(
        "dout",
        DType::F32,
        shape.slots() * shape.width,
        Fill::signed(4),
    );
    let weights = shape.experts * shape.width * shape.hidden;
    let gradients = ExpertGradients {
        rows: program.output("drows", DType::F32, shape.slots() * shape.width),
        w1: program.output("dw1", DType::F32, weights),
        w3: program.output("dw3", DType::F32, weights),
        w2: program.output("dw2", DType::F32, weights),
    };
    shape.experts_backward(program, &given, d_out, &gradients);
    program.check(move |outcome| check::backward(outcome, &shape, &given, d_out, &gradients, seed));
}

/// `gate` or `up` of a case.
fn kept_on_host(shape: Mixture, seed: u64, is_up: bool) -> Vec<f32> {
    let mut program = Program::new(Work::default());
    let given = add_inputs(&mut program, shape);
    let out = program.output("out", DType::F32, shape.slots() * shape.width);
    shape.experts(&mut program, &given, out);
    let team = Team::new(usable_cpus()).expect("threads");
    let mut buffers = program.host_buffers(&team, seed).expect("memory");
    let mut run = program.take_cpu().expect("steps for the host");
    run(&team, &mut buffers, 1);
    buffers
        .get::<f32>(if is_up { given.up } else { given.gate })
        .to_vec()
}
