//! Products of matrices as bricks need them, computed in `f32`: of matrices that lie turned, that are columns of wider ones, that are
//! added to what is there, several at once, and of as few rows as a device has counted. The right operand may be [codes](codes) of 8
//! bits with scales.
//!
//! On the host they are products of [views](crate::matrix); here is what CUDA devices launch (`ml/product.cu`, and of 16 bits, on tensor
//! cores, `ml/product_tensor.cu`), and the brick
//! of one product, which models call for what is no linear layer: `x E^T` with the table of an embedding, say.

mod codes;

use assay_protocol::ArithmeticUnit;
use half::{bf16, f16};

use super::expect;
use crate::buffer::granule;
use crate::device::Team;
use crate::element::DType;
use crate::lane::{self, Lane};
use crate::matrix::{Matrix, MatrixMut, Part, Store, multiply_by};
use crate::ops::gemm::Multiplication;
use crate::program::{Arg, Launch, Program, Source, Step, cuda_source};

static SOURCE: Source = cuda_source!("ml/product.cu");
static TENSOR: Source = cuda_source!("ml/product_tensor.cu");
/// Rows and columns of the product that a block computes, and its threads.
const SIDE: usize = 128;
const THREADS: u32 = 256;
/// Bytes of shared memory of a block that multiplies on tensor cores: four stages of two tiles, 32 deep.
const TENSOR_BYTES: usize = 4 * 2 * SIDE * 32 * 2;

/// How operands lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `A B`: A of `m` by `k`, B of `k` by `n`.
    Plain,
    /// `A B^T`: B of `n` by `k`.
    RightTurned,
    /// `A^T B`: A of `k` by `m`.
    LeftTurned,
}

/// Who multiplies on a CUDA device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Our kernel: tiles in shared memory, then in registers; of 16 bits, on tensor cores.
    Ours,
    /// cuBLASLt.
    Library,
}

/// `C = A B`, or one of its [forms](Form): C has `m` rows of `n`, sums are over `k`.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// How A and B lie.
    pub form: Form,
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Products of an element.
    pub k: usize,
    /// Whether it replaces C or is added to it.
    pub store: Store,
    /// Who multiplies on a CUDA device.
    pub engine: Engine,
}

impl Product {
    /// Appends the product of `a` and `b` into `c`; `bias`, one for each column, is added where C is replaced. A and B are of one
    /// type, `f32` or one of 16 bits, C is of that or `f32`, and the bias is `f32`.
    ///
    /// # Panics
    /// If a buffer has another type or length; with a bias and [`Store::Add`]; of 16 bits with the library.
    pub fn append(&self, program: &mut Program, a: usize, b: usize, bias: Option<usize>, c: usize) {
        let Self { form, m, n, k, .. } = *self;
        let dtype = half_or_f32(program, a);
        let result = match program.buffers[c].dtype {
            DType::F32 => DType::F32,
            _ => dtype,
        };
        expect(
            program,
            "product",
            &[
                ("a", a, dtype, m * k),
                ("b", b, dtype, k * n),
                ("c", c, result, m * n),
            ],
        );
        if let Some(bias) = bias {
            assert_eq!(self.store, Store::Set, "a bias begins a product");
            expect(program, "product", &[("bias", bias, DType::F32, n)]);
        }
        match (dtype, result) {
            (DType::Bf16, DType::Bf16) => widened::<bf16, bf16>(program, *self, [a, b, c], bias),
            (DType::Bf16, _) => widened::<bf16, f32>(program, *self, [a, b, c], bias),
            (DType::F16, DType::F16) => widened::<f16, f16>(program, *self, [a, b, c], bias),
            (DType::F16, _) => widened::<f16, f32>(program, *self, [a, b, c], bias),
            _ => self.on_host(program, a, b, bias, c),
        }
        assert!(
            self.engine == Engine::Ours || dtype == DType::F32,
            "the library multiplies `f32` here"
        );
        if self.engine == Engine::Library && m * n * k > 0 {
            let call = Multiplication::of(self, [a, b, c], bias);
            program.cuda.push(Step::Library(Box::new(call)));
            return;
        }
        let operand = |buffer, stride| Operand::whole(buffer, stride);
        let [of_a, of_b] = match form {
            Form::Plain => [k, n],
            Form::RightTurned => [k, k],
            Form::LeftTurned => [m, n],
        };
        program.launch(
            Multiply {
                form,
                sides: [m, n, k],
                a: operand(a, of_a),
                b: operand(b, of_b),
                c: operand(c, n),
                begin: Begin::of(self.store, bias),
                count: 1,
                inner: 1,
                counts: None,
                scales: None,
            }
            .launch_of(dtype, result),
        );
    }

    /// A and B, as they are multiplied.
    fn operands<'a>(&self, a: &'a [f32], b: &'a [f32]) -> (Matrix<'a>, Matrix<'a>) {
        let Self { form, m, n, k, .. } = *self;
        let (plain_a, plain_b) = (|| Matrix::whole(a, m, k), || Matrix::whole(b, k, n));
        match form {
            Form::Plain => (plain_a(), plain_b()),
            Form::RightTurned => (plain_a(), Matrix::whole(b, n, k).transposed()),
            Form::LeftTurned => (Matrix::whole(a, k, m).transposed(), plain_b()),
        }
    }

    fn on_host(&self, program: &mut Program, a: usize, b: usize, bias: Option<usize>, c: usize) {
        let product = *self;
        let Self { m, n, store, .. } = product;
        program.step_on_cpu(move |team, buffers| {
            let Some(bias) = bias else {
                let [a, b, c] = buffers.many([a, b, c]);
                let (a, b) = product.operands(a.get(), b.get());
                return multiply_by(team, MatrixMut::whole(c.get_mut(), m, n), a, b, store);
            };
            let [a, b, bias, c] = buffers.many([a, b, bias, c]);
            product.with_bias(team, [a.get(), b.get(), bias.get()], c.get_mut());
        });
    }

    /// `C = A B` plus a bias for each column.
    fn with_bias(&self, team: &Team, [a, b, bias]: [&[f32]; 3], c: &mut [f32]) {
        let (a, b) = self.operands(a, b);
        let parts = Part::all(MatrixMut::whole(c, self.m, self.n), a, b);
        team.deal(parts, |mut part| {
            part.multiply(Store::Set);
            add_bias(&mut part, bias);
        });
    }
}

/// Adds to each column of a part what all of them have.
fn add_bias<B>(part: &mut Part<B>, bias: &[f32]) {
    let bias = &bias[part.first_col..][..part.c.cols()];
    for row in 0..part.c.rows() {
        let row = part.c.row(row).iter_mut();
        row.zip(bias).for_each(|(y, bias)| *y += bias);
    }
}

/// What multiplies operands of a type: lanes, or, of 16 bits, tensor cores where a device has some.
pub fn unit(dtype: DType, is_cuda: bool) -> ArithmeticUnit {
    match dtype {
        DType::Bf16 if is_cuda => ArithmeticUnit::Bf16Tensor,
        DType::F16 if is_cuda => ArithmeticUnit::F16Tensor,
        _ => ArithmeticUnit::F32,
    }
}

/// The type of a product's operands.
fn half_or_f32(program: &Program, a: usize) -> DType {
    match program.buffers[a].dtype {
        dtype @ (DType::Bf16 | DType::F16) => dtype,
        _ => DType::F32,
    }
}

/// A product of operands of 16 bits on the host: they are widened, which costs little beside multiplying them.
fn widened<T: Lane, R: Lane>(
    program: &mut Program,
    product: Product,
    [a, b, c]: [usize; 3],
    bias: Option<usize>,
) {
    let Product { m, n, k, store, .. } = product;
    let mut rooms = [m * k, k * n, m * n].map(|len| vec![0.0_f32; len]);
    program.step_on_cpu(move |team, buffers| {
        let bias = bias.map(|bias| buffers.0[bias].get::<f32>().to_vec());
        let [a, b, c] = buffers.many([a, b, c]);
        let [wide_a, wide_b, wide_c] = &mut rooms;
        widen_by(team, wide_a, a.get::<T>());
        widen_by(team, wide_b, b.get::<T>());
        if store == Store::Add {
            widen_by(team, wide_c, c.get::<R>());
        }
        if let Some(bias) = bias {
            product.with_bias(team, [wide_a, wide_b, &bias], wide_c);
        } else {
            let (a, b) = product.operands(wide_a, wide_b);
            multiply_by(team, MatrixMut::whole(wide_c, m, n), a, b, store);
        }
        let parts = team
            .split_mut(c.get_mut::<R>(), granule::<f32>())
            .into_iter();
        let parts = parts.zip(team.split(wide_c, granule::<f32>())).collect();
        team.each(parts, |(to, from): &mut (&mut [R], &[f32])| {
            lane::narrow(to, from);
        });
    });
}

fn widen_by<T: Lane>(team: &Team, to: &mut [f32], from: &[T]) {
    let parts = team.split_mut(to, granule::<f32>()).into_iter();
    let parts = parts.zip(team.split(from, granule::<f32>())).collect();
    team.each(parts, |(to, from): &mut (&mut [f32], &[T])| {
        lane::widen(to, from);
    });
}

/// What a product on a CUDA device begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    Nothing,
    /// What is there.
    Old,
    /// A number for each column.
    Bias(usize),
}

impl Begin {
    fn of(store: Store, bias: Option<usize>) -> Self {
        match (store, bias) {
            (Store::Add, _) => Self::Old,
            (Store::Set, Some(bias)) => Self::Bias(bias),
            (Store::Set, None) => Self::Nothing,
        }
    }
}

/// Matrices of a batch in a buffer: number `i` begins at `i / inner * outer_step + i % inner * inner_step`, with `inner` of
/// [`Multiply`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub buffer: usize,
    /// Elements from a line to the next.
    pub stride: usize,
    pub outer_step: usize,
    pub inner_step: usize,
}

impl Operand {
    /// One matrix, or one that all products share.
    pub fn whole(buffer: usize, stride: usize) -> Self {
        Self {
            buffer,
            stride,
            outer_step: 0,
            inner_step: 0,
        }
    }

    /// Whether all its lines begin at a multiple of so many elements.
    fn is_aligned(&self, elements: usize) -> bool {
        [self.stride, self.outer_step, self.inner_step]
            .iter()
            .all(|step| step.is_multiple_of(elements))
    }
}

/// Some products on a CUDA device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Multiply {
    pub form: Form,
    /// `m`, `n` and `k`.
    pub sides: [usize; 3],
    pub a: Operand,
    pub b: Operand,
    pub c: Operand,
    pub begin: Begin,
    /// How many products, and how many of them are next to each other.
    pub count: usize,
    pub inner: usize,
    /// How many rows of A and C each product has, or, where A is turned, how much of `k`.
    pub counts: Option<usize>,
    /// Scales of the lines of B, where that is codes of 8 bits.
    pub scales: Option<usize>,
}

impl Multiply {
    /// The launch, of `f32`.
    ///
    /// # Panics
    /// If a side or the number of tiles has more than 31 bits.
    pub fn launch(&self) -> Launch {
        self.launch_of(DType::F32, DType::F32)
    }

    /// The launch, of operands of `dtype`, but for codes, and results of another.
    pub fn launch_of(&self, dtype: DType, result: DType) -> Launch {
        let [m, n, k] = self.sides;
        let Self { a, b, c, .. } = *self;
        let small = |size: usize| {
            Arg::U32(
                i32::try_from(size)
                    .expect("a side of a product below 2^31")
                    .cast_unsigned(),
            )
        };
        let blocks = self.count * m.div_ceil(SIDE) * n.div_ceil(SIDE);
        let blocks = i32::try_from(blocks)
            .expect("fewer tiles than 2^31")
            .cast_unsigned();
        let is_tensor = self.scales.is_none() && unit(dtype, true) != ArithmeticUnit::F32;
        // What lies along a line is read four at a time, or 16 bytes.
        let along = match self.form {
            Form::Plain | Form::RightTurned => [k, n],
            Form::LeftTurned => [m, n],
        };
        let at_once = if is_tensor { 8 } else { 4 };
        let is_vector = along.iter().all(|side| side.is_multiple_of(at_once))
            && [a, b, c].iter().all(|operand| operand.is_aligned(at_once));
        let how = format!(
            "{}, {}, {}, {is_vector}",
            self.form == Form::LeftTurned,
            self.form == Form::RightTurned,
            self.counts.is_some()
        );
        let (begin, bias) = match self.begin {
            Begin::Nothing => (0, c.buffer),
            Begin::Old => (1, c.buffer),
            Begin::Bias(bias) => (2, bias),
        };
        // Without scales, a bias or counts, any buffer stands in for them: nobody reads it.
        let counts = self.counts.unwrap_or(c.buffer);
        let [of_a, of_c] = [dtype, result].map(DType::cuda);
        let (launch, buffers) = if is_tensor {
            let kind = if dtype == DType::F16 {
                "F16Tensor"
            } else {
                "Bf16Tensor"
            };
            let kernel = format!("multiply_tensor<{kind}, {of_a}, {of_c}, {how}>");
            let launch = Launch {
                shared_bytes: TENSOR_BYTES as u32,
                ..Launch::new(&TENSOR, kernel, blocks, THREADS)
            };
            (launch, vec![c.buffer, a.buffer, b.buffer, bias, counts])
        } else {
            let of_b = self.scales.map_or(of_a, |_| DType::I8.cuda());
            let kernel = format!("multiply<{of_a}, {of_b}, {of_c}, {how}>");
            let scales = self.scales.unwrap_or(c.buffer);
            let buffers = vec![c.buffer, a.buffer, b.buffer, scales, bias, counts];
            (Launch::new(&SOURCE, kernel, blocks, THREADS), buffers)
        };
        let steps = [a, b, c].map(|operand| [operand.outer_step, operand.inner_step]);
        launch
            .args(buffers.into_iter().map(Arg::Buffer))
            .args([Arg::U32(begin)])
            .args([m, n, k, a.stride, b.stride, c.stride, self.inner].map(small))
            .args(steps.concat().into_iter().map(Arg::size))
    }
}
