//! Attention on CUDA devices: of `f32` on lanes (`ml/flash.cu`, `ml/scores.cu`), of 16 bits on tensor cores
//! (`ml/flash_tensor.cu`).

use super::{Attention, Given, Position};
use crate::element::DType;
use crate::ml::product::{Begin, Form, Multiply, Operand};
use crate::ml::workspace;
use crate::program::{Arg, Launch, Program, Source, cuda_source};

static FLASH: Source = cuda_source!("ml/flash.cu");
static TENSOR: Source = cuda_source!("ml/flash_tensor.cu");
static SCORES: Source = cuda_source!("ml/scores.cu");

/// What a block of a fused kernel is made of.
struct Block {
    source: &'static Source,
    /// Queries, or where gradients are of keys, keys.
    rows: usize,
    threads: u32,
    shared_bytes: usize,
}

/// Elements between the lines of a tile of `f32`, beyond those they have.
const PADDING: usize = 4;

impl Block {
    /// Of the forward pass. On lanes keys and then values of a tile are in the same place, beside queries and probabilities; on tensor
    /// cores two tiles of both are there.
    fn forward(dtype: DType, depth: usize) -> Self {
        let side = 64;
        if dtype == DType::F32 {
            return Self {
                source: &FLASH,
                rows: side,
                threads: 256,
                shared_bytes: (2 * depth + side) * (side + PADDING) * 4,
            };
        }
        Self {
            source: &TENSOR,
            rows: 128,
            threads: if depth == 64 { 128 } else { 256 },
            shared_bytes: 2 * 2 * side * depth * 2,
        }
    }

    /// Of the backward pass. Two tiles of each side are there, and on lanes scores and their gradients; on tensor cores there is
    /// another of the other side, whose rows have two numbers of `f32` more.
    fn backward(dtype: DType, depth: usize) -> Self {
        if dtype == DType::F32 {
            let side = 32;
            return Self {
                source: &FLASH,
                rows: side,
                threads: 64,
                shared_bytes: (4 * depth + 2 * side) * (side + PADDING) * 4,
            };
        }
        let (side, others) = (64, if depth == 64 { 64 } else { 32 });
        Self {
            source: &TENSOR,
            rows: side,
            threads: 128,
            shared_bytes: 2 * side * depth * 2 + 2 * (2 * others * depth * 2 + 2 * others * 4),
        }
    }

    /// A launch of `flash_{pass}`, of all rows of all heads.
    fn launch(&self, shape: &Attention, pass: &str, dtype: DType, more: &str) -> Launch {
        let depth = shape.depth();
        let kernel = if dtype == DType::F32 {
            format!("flash_{pass}<{depth}{more}>")
        } else {
            format!("flash_{pass}_tensor<{}, {depth}{more}>", dtype.cuda())
        };
        Launch {
            shared_bytes: self.shared_bytes as u32,
            ..Launch::new(self.source, kernel, shape.tiles(self.rows), self.threads)
        }
    }
}

/// What every kernel is told of a shape.
impl Attention {
    /// Columns of a tile: those of the head, and zeros.
    fn depth(&self) -> usize {
        if self.head_width() <= 64 { 64 } else { 128 }
    }

    fn scale(&self) -> Arg {
        Arg::F32(1.0 / (self.head_width() as f32).sqrt())
    }

    /// Tiles of so many rows of all heads.
    fn tiles(&self, side: usize) -> u32 {
        if self.is_empty() {
            return 0;
        }
        (self.batch * self.heads * self.length.div_ceil(side)) as u32
    }

    /// The matrices of all heads in a buffer, as operands of products.
    fn operand(&self, buffer: usize) -> Operand {
        Operand {
            buffer,
            stride: self.width,
            outer_step: self.length * self.width,
            inner_step: self.head_width(),
        }
    }

    /// The same of scores.
    fn scores(&self, buffer: usize) -> Operand {
        let of_head = self.length * self.length;
        Operand {
            buffer,
            stride: self.length,
            outer_step: self.heads * of_head,
            inner_step: of_head,
        }
    }

    /// A product of every head.
    fn product(&self, form: Form, sides: [usize; 3], [a, b, c]: [Operand; 3]) -> Launch {
        let multiply = Multiply {
            form,
            sides,
            a,
            b,
            c,
            begin: Begin::Nothing,
            count: if self.is_empty() {
                0
            } else {
                self.batch * self.heads
            },
            inner: self.heads,
            counts: None,
            scales: None,
        };
        multiply.launch()
    }

    /// Where tokens are, whether there is a mask, and sizes.
    fn told(&self) -> [Arg; 6] {
        let position = match self.position {
            Position::None => 0,
            Position::Rope => 1,
            Position::Alibi => 2,
        };
        let [length, heads, width] =
            [self.length, self.heads, self.head_width()].map(|size| Arg::U32(size as u32));
        let causal = Arg::U32(self.is_causal.into());
        [
            Arg::U32(position),
            causal,
            length,
            heads,
            width,
            self.scale(),
        ]
    }
}

/// The fused forward pass.
pub fn fused(shape: &Attention, given: Given, program: &mut Program) {
    let Given {
        q,
        k,
        v,
        table,
        out,
        kept,
    } = given;
    let dtype = program.buffers[q].dtype;
    // Without a table, any buffer stands in for it.
    let buffers = [out, kept, q, k, v, table.unwrap_or(q)].map(Arg::Buffer);
    let launch = Block::forward(dtype, shape.depth()).launch(shape, "forward", dtype, "");
    program.launch(launch.args(buffers).args(shape.told()));
}

/// The fused backward pass; `dots` has room for a number of each row of each head.
pub fn fused_backward(
    shape: &Attention,
    given: Given,
    d_out: usize,
    [dq, dk, dv]: [usize; 3],
    dots: usize,
    program: &mut Program,
) {
    let Given {
        q,
        k,
        v,
        table,
        out,
        kept,
    } = given;
    let rows = if shape.is_empty() {
        0
    } else {
        shape.batch * shape.length * shape.heads
    };
    let dtype = program.buffers[q].dtype;
    let of_rows = format!("flash_dots<{}>", dtype.cuda());
    program.launch(
        Launch::new(&FLASH, of_rows, rows.div_ceil(8) as u32, 256)
            .args([dots, out, d_out].map(Arg::Buffer))
            .args([rows, shape.head_width()].map(|size| Arg::U32(size as u32))),
    );
    let block = Block::backward(dtype, shape.depth());
    for (of_keys, first, second) in [(", true", dk, dv), (", false", dq, dq)] {
        let table = table.unwrap_or(q);
        let buffers = [first, second, q, k, v, table, d_out, kept, dots];
        program.launch(
            block
                .launch(shape, "backward", dtype, of_keys)
                .args(buffers.map(Arg::Buffer))
                .args(shape.told()),
        );
    }
}

/// Queries and keys, rotated where they are.
fn rotated(shape: &Attention, given: Given, program: &mut Program) -> [usize; 2] {
    let inputs = [given.q, given.k];
    let Some(table) = given.table.filter(|_| shape.position == Position::Rope) else {
        return inputs;
    };
    inputs.map(|x| {
        let out = workspace(program, "attention-rotated", DType::F32, shape.len());
        shape.rope().launch(program, [x, table, out], 1.0);
        out
    })
}

/// A block a row of scores.
fn rows(
    shape: &Attention,
    kernel: String,
    program: &mut Program,
    args: impl IntoIterator<Item = Arg>,
) {
    let rows = if shape.is_empty() { 0 } else { shape.tiles(1) };
    program.launch(Launch::new(&SCORES, kernel, rows, 128).args(args));
}

/// The forward pass with all scores in memory.
pub fn naive(shape: &Attention, given: Given, program: &mut Program) {
    let (length, width) = (shape.length, shape.head_width());
    let [q, k] = rotated(shape, given, program).map(|buffer| shape.operand(buffer));
    let scores = shape.scores(given.kept);
    program.launch(shape.product(Form::RightTurned, [length, length, width], [q, k, scores]));
    let slopes = given.table.filter(|_| shape.position == Position::Alibi);
    let kernel = format!("probabilities<{}>", shape.is_causal);
    let buffers = [given.kept, slopes.unwrap_or(given.kept)].map(Arg::Buffer);
    let sizes =
        [usize::from(slopes.is_some()), length, shape.heads].map(|size| Arg::U32(size as u32));
    let args = buffers.into_iter().chain(sizes).chain([shape.scale()]);
    rows(shape, kernel, program, args);
    let [v, out] = [given.v, given.out].map(|buffer| shape.operand(buffer));
    program.launch(shape.product(Form::Plain, [length, width, length], [scores, v, out]));
}

/// The backward pass with all gradients of scores in memory, in `work`.
pub fn naive_backward(
    shape: &Attention,
    given: Given,
    d_out: usize,
    [dq, dk, dv]: [usize; 3],
    work: usize,
    program: &mut Program,
) {
    let (length, width) = (shape.length, shape.head_width());
    let [q, k] = rotated(shape, given, program).map(|buffer| shape.operand(buffer));
    let [v, d_out, of_values] = [given.v, d_out, dv].map(|buffer| shape.operand(buffer));
    let [p, ds] = [given.kept, work].map(|buffer| shape.scores(buffer));
    program.launch(shape.product(Form::RightTurned, [length, length, width], [d_out, v, ds]));
    program.launch(shape.product(
        Form::LeftTurned,
        [length, width, length],
        [p, d_out, of_values],
    ));
    let buffers = [work, given.kept].map(Arg::Buffer);
    let args = [Arg::U32(length as u32), shape.scale()];
    rows(
        shape,
        "score_gradients".into(),
        program,
        buffers.into_iter().chain(args),
    );
    let table = given.table.filter(|_| shape.position == Position::Rope);
    for (form, other, gradient) in [(Form::Plain, k, dq), (Form::LeftTurned, q, dk)] {
        let turned = table.map(|table| {
            let turned = workspace(program, "attention-turned", DType::F32, shape.len());
            (table, turned)
        });
        let target = shape.operand(turned.map_or(gradient, |(_, turned)| turned));
        program.launch(shape.product(form, [length, width, length], [ds, other, target]));
        if let Some((table, turned)) = turned {
            shape
                .rope()
                .launch(program, [turned, table, gradient], -1.0);
        }
    }
}
