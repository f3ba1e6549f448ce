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
//! Rows, weights and gradients of results may be stored in 16 bits, with what is between an expert's products and its gradients, which are multiplied
//! too; sums are of `f32`, and so are all results.
//!
//! Errors: a product is off by `gamma_d` times its magnitudes. What enters the next has an error of at most that times
//! `1.1 |up| Cgate + |silu(gate)| Cup` (1.1 is more than the largest slope of `silu`), and some roundings of the activation; so relative
//! to the sum of `|W2|` times that and `|h|`, results are off by `gamma_d + gamma_f` and those roundings. Gradients likewise. What is rounded to 16
//! bits in between adds a rounding of the type.

mod check;
mod op;

use super::Mixture;
use super::gate::SOURCE;
use crate::buffer::Buffers;
use crate::device::Team;
use crate::element::DType;
use crate::lane::{self, Lane};
use crate::math;
use crate::matrix::{Matrix, MatrixMut, Part, Store};
use crate::ml::product::{Begin, Form, Multiply, Operand};
use crate::ml::{expect, with_lane, workspace};
use crate::program::{Arg, Launch, Program, Step, blocks};
use crate::simd::wide;

pub use op::ExpertsOp;

/// Blocks that stride over rows.
const MOST_BLOCKS: u32 = 1 << 16;

/// The experts' buffers, by their numbers. Rows and weights are of one type, `f32` or one of 16 bits.
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
    /// Makes sure of the buffers, and gives the type of what is multiplied.
    fn expect_experts(&self, program: &Program, given: &Experts) -> DType {
        let dtype = program.buffers[given.rows].dtype;
        let (rows, hidden) = (self.slots() * self.width, self.slots() * self.hidden);
        let weights = self.experts * self.width * self.hidden;
        expect(
            program,
            "experts",
            &[
                ("rows", given.rows, dtype, rows),
                ("kept", given.kept, DType::U32, self.experts),
                ("w1", given.w1, dtype, weights),
                ("w3", given.w3, dtype, weights),
                ("w2", given.w2, dtype, weights),
                ("gate", given.gate, DType::F32, hidden),
                ("up", given.up, DType::F32, hidden),
            ],
        );
        dtype
    }

    /// Makes sure of a buffer as long as the rows of all slots.
    fn expect_of_slots(&self, program: &Program, name: &str, buffer: usize, dtype: DType) {
        let len = self.slots() * self.width;
        expect(program, "experts", &[(name, buffer, dtype, len)]);
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
        let dtype = program.buffers[a.buffer].dtype;
        match dtype {
            DType::F32 => {
                program.step_on_cpu(move |team, buffers| host.multiply(team, buffers, places));
            }
            _ => with_lane!(dtype, multiply_widened(program, host, places)),
        }
        program.launch(multiply.launch_of(dtype, DType::F32));
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
        let dtype = self.expect_experts(program, given);
        self.expect_of_slots(program, "rows of results", out, DType::F32);
        let Self { width, hidden, .. } = *self;
        let Experts {
            rows,
            kept,
            gate,
            up,
            ..
        } = *given;
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
        let activated = workspace(program, "experts-hidden", dtype, self.slots() * hidden);
        let places = [gate, up, kept, activated];
        with_lane!(dtype, activate(program, *self, places));
        let kernel = format!("moe_swiglu<{}>", dtype.cuda());
        program.launch(self.pointwise(&kernel, &[activated, gate, up, kept]));
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

    /// Gradients of rows and weights, in `f32`, given those of the results, which are of the type of rows and weights.
    pub fn experts_backward(
        &self,
        program: &mut Program,
        given: &Experts,
        d_out: usize,
        gradients: &ExpertGradients,
    ) {
        let dtype = self.expect_experts(program, given);
        self.expect_of_slots(program, "gradients of results", d_out, dtype);
        let (given, d) = (*given, *gradients);
        let Self { width, hidden, .. } = *self;
        let Experts {
            rows,
            kept,
            gate,
            up,
            ..
        } = given;
        let between = self.slots() * hidden;
        let [d_gate, d_up, activated] = ["experts-dgate", "experts-dup", "experts-hidden"]
            .map(|name| workspace(program, name, dtype, between));
        // The gradient of what is between the products, where that of one factor will be, if that is of the same type.
        let d_hidden = match dtype {
            DType::F32 => d_gate,
            _ => workspace(program, "experts-dhidden", DType::F32, between),
        };
        let product = |form, a, b, c, store| Grouped {
            form,
            a,
            b,
            c,
            store,
        };
        let of_hidden = product(Form::RightTurned, d_out, given.w2, d_hidden, Store::Set);
        self.grouped(program, of_hidden, kept, [width, hidden]);
        let places = [gate, up, kept, d_gate, d_up, activated];
        match dtype {
            DType::F32 => activate_backward(program, *self, places),
            _ => with_lane!(
                dtype,
                activate_backward_stored(program, *self, places, d_hidden)
            ),
        }
        let kernel = format!("moe_swiglu_backward<{}>", dtype.cuda());
        let places = [d_gate, d_up, activated, d_hidden, gate, up, kept];
        program.launch(self.pointwise(&kernel, &places));
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
    fn taken<'a, T>(&self, kept: &[u32], rows: &'a mut [T]) -> Vec<(usize, &'a mut [T])> {
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

/// Parts of `dgate`, `dup` and what is between the products, each with the place of its first element.
type Task<'a, T> = (
    (usize, &'a mut [T]),
    ((usize, &'a mut [T]), (usize, &'a mut [T])),
);

impl Mixture {
    /// The same rows of three buffers.
    fn tasks<'a, T>(&self, kept: &[u32], buffers: [&'a mut [T]; 3]) -> Vec<Task<'a, T>> {
        let [a, b, c] = buffers.map(|buffer| self.taken(kept, buffer).into_iter());
        a.zip(b.zip(c)).collect()
    }
}

/// What is between the products, on the host.
fn activate<T: Lane>(program: &mut Program, shape: Mixture, places: [usize; 4]) {
    program.step_on_cpu(move |team, buffers| {
        let [gate, up, kept, activated] = buffers.many(places);
        let (gate, up, kept) = (gate.get::<f32>(), up.get::<f32>(), kept.get::<u32>());
        let rows = shape.taken(kept, activated.get_mut::<T>());
        team.deal_with(rows, Vec::new, |room: &mut Vec<f32>, (first, out)| {
            let (gate, up) = (&gate[first..][..out.len()], &up[first..][..out.len()]);
            room.resize(out.len(), 0.0);
            swiglu(room, gate, up);
            lane::narrow(out, room);
        });
    });
}

/// Gradients of both factors, of which one is where that of their product was, and that product.
fn activate_backward(program: &mut Program, shape: Mixture, places: [usize; 6]) {
    program.step_on_cpu(move |team, buffers| {
        let [gate, up, kept, d_gate, d_up, activated] = buffers.many(places);
        let (gate, up, kept) = (gate.get::<f32>(), up.get::<f32>(), kept.get::<u32>());
        let made = [d_gate.get_mut(), d_up.get_mut(), activated.get_mut()];
        let tasks = shape.tasks(kept, made);
        team.deal(
            tasks,
            |((first, d_gate), ((_, d_up), (_, activated))): Task<f32>| {
                let (gate, up) = (&gate[first..][..d_up.len()], &up[first..][..d_up.len()]);
                swiglu(activated, gate, up);
                swiglu_backward(d_gate, d_up, gate, up);
            },
        );
    });
}

/// The same, rounded, given the gradient of their product.
fn activate_backward_stored<T: Lane>(
    program: &mut Program,
    shape: Mixture,
    places: [usize; 6],
    d_hidden: usize,
) {
    program.step_on_cpu(move |team, buffers| {
        let [gate, up, kept, d_gate, d_up, activated] = places;
        let [gate, up, kept, d_gate, d_up, activated, d_hidden] =
            buffers.many([gate, up, kept, d_gate, d_up, activated, d_hidden]);
        let (gate, up, kept) = (gate.get::<f32>(), up.get::<f32>(), kept.get::<u32>());
        let d_hidden = d_hidden.get::<f32>();
        let made = [d_gate.get_mut(), d_up.get_mut(), activated.get_mut()];
        let tasks = shape.tasks::<T>(kept, made);
        team.deal_with(
            tasks,
            Default::default,
            |rooms: &mut [Vec<f32>; 2], task| {
                let ((first, d_gate), ((_, d_up), (_, activated))) = task;
                let part = |x| -> &[f32] { &<[f32]>::split_at(x, first).1[..d_up.len()] };
                let (gate, up) = (part(gate), part(up));
                for room in rooms.iter_mut() {
                    room.resize(gate.len(), 0.0);
                }
                let [one, other] = rooms;
                swiglu(one, gate, up);
                lane::narrow(activated, one);
                one.copy_from_slice(part(d_hidden));
                swiglu_backward(one, other, gate, up);
                lane::narrow(d_gate, one);
                lane::narrow(d_up, other);
            },
        );
    });
}

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

/// A product of every expert of numbers of 16 bits on the host, by threads that widen what they multiply.
fn multiply_widened<T: Lane>(program: &mut Program, host: Host, places: [usize; 4]) {
    program.step_on_cpu(move |team, buffers| {
        let [left, right, results, kept] = buffers.many(places);
        let parts = host.parts::<T>(left.get(), right.get(), results.get_mut(), kept.get());
        team.deal_with(parts, Default::default, |rooms, mut part| {
            part.multiply_widened(rooms, host.store);
        });
    });
}

impl Host {
    fn multiply(&self, team: &Team, buffers: &mut Buffers, places: [usize; 4]) {
        let [left, right, results, kept] = buffers.many(places);
        let parts = self.parts(left.get(), right.get(), results.get_mut(), kept.get());
        team.deal(parts, |mut part| part.multiply(self.store));
    }

    fn parts<'a, T: Copy>(
        &self,
        left: &'a [T],
        right: &'a [T],
        results: &'a mut [f32],
        kept: &[u32],
    ) -> Vec<Part<'a, T, T>> {
        let [m, n, k] = self.sides;
        let [step_a, step_b, step_c] = self.steps;
        let results = results.chunks_mut(step_c.max(1));
        results
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
            })
            .collect()
    }
}
