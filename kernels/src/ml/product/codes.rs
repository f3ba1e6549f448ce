//! Products whose right operand is kept as integers of 8 bits, with a scale for each of its rows as it is stored: the weights of a
//! layer that is not trained.
//!
//! A number is `code scale`, rounded in `f32`, as [`Dequantise`](crate::ml::quantise::Dequantise) gives it, so that products have the
//! bits that they have with those numbers. On the host a thread has the numbers of the columns that its tile needs, 512 at most; on
//! CUDA devices a block those of a tile, in shared memory.

use half::{bf16, f16};

use super::{Begin, Engine, Form, Multiply, Operand, Product, add_bias, half_or_f32, widen_by};
use crate::device::Team;
use crate::element::DType;
use crate::lane::Lane;
use crate::matrix::{Matrix, MatrixMut, Part, Store};
use crate::ml::expect;
use crate::program::Program;
use crate::simd::wide;

/// Codes, and their scales.
type Codes<'a> = (&'a [i8], &'a [f32]);

impl Product {
    /// Appends the product of `a` and what codes stand for into `c`, of `f32`: B is `codes` of `i8` and `scales`, one for each row of B
    /// as it is stored. `a` is of `f32` or 16 bits; a bias is as in [`Self::append`].
    ///
    /// # Panics
    /// If a buffer has another type or length; with a bias and [`Store::Add`]; if A is turned; with the library.
    pub fn append_codes(
        &self,
        program: &mut Program,
        a: usize,
        [codes, scales]: [usize; 2],
        bias: Option<usize>,
        c: usize,
    ) {
        let Self { form, m, n, k, .. } = *self;
        let dtype = half_or_f32(program, a);
        let [lines, line] = match form {
            Form::Plain => [k, n],
            Form::RightTurned => [n, k],
            Form::LeftTurned => panic!("what codes are multiplied with is not turned"),
        };
        assert_eq!(self.engine, Engine::Ours, "the library multiplies no codes");
        let buffers = [
            ("a", a, dtype, m * k),
            ("codes", codes, DType::I8, k * n),
            ("scales", scales, DType::F32, lines),
            ("c", c, DType::F32, m * n),
        ];
        expect(program, "product of codes", &buffers);
        if let Some(bias) = bias {
            assert_eq!(self.store, Store::Set, "a bias begins a product");
            expect(
                program,
                "product of codes",
                &[("bias", bias, DType::F32, n)],
            );
        }
        let given = ([a, codes, scales, c], bias);
        match dtype {
            DType::Bf16 => on_host::<bf16>(program, *self, given),
            DType::F16 => on_host::<f16>(program, *self, given),
            _ => on_host::<f32>(program, *self, given),
        }
        program.launch(
            Multiply {
                form,
                sides: [m, n, k],
                a: Operand::whole(a, k),
                b: Operand::whole(codes, line),
                c: Operand::whole(c, n),
                begin: Begin::of(self.store, bias),
                count: 1,
                inner: 1,
                counts: None,
                scales: Some(scales),
            }
            .launch_of(dtype, DType::F32),
        );
    }
}

fn on_host<T: Lane>(
    program: &mut Program,
    product: Product,
    ([a, codes, scales, c], bias): ([usize; 4], Option<usize>),
) {
    let is_stored = T::DTYPE != DType::F32;
    let mut room = vec![0.0_f32; if is_stored { product.m * product.k } else { 0 }];
    program.step_on_cpu(move |team, buffers| {
        let bias = bias.map(|bias| buffers.0[bias].get::<f32>().to_vec());
        let [a, codes, scales, c] = buffers.many([a, codes, scales, c]);
        let a = if is_stored {
            widen_by(team, &mut room, a.get::<T>());
            &room
        } else {
            a.get::<f32>()
        };
        let codes = (codes.get::<i8>(), scales.get::<f32>());
        multiply(team, &product, (a, codes, bias.as_deref()), c.get_mut());
    });
}

fn multiply(
    team: &Team,
    product: &Product,
    (a, (codes, scales), bias): (&[f32], Codes, Option<&[f32]>),
    c: &mut [f32],
) {
    let Product { m, n, k, store, .. } = *product;
    let is_turned = product.form == Form::RightTurned;
    let b = if is_turned {
        Matrix::whole(codes, n, k).transposed()
    } else {
        Matrix::whole(codes, k, n)
    };
    let parts = Part::all(MatrixMut::whole(c, m, n), Matrix::whole(a, m, k), b);
    team.deal_with(parts, Vec::new, |room, mut part| {
        // Rows as they are stored, and their scales.
        let (stored, scales) = if is_turned {
            (part.b.transposed(), &scales[part.first_col..])
        } else {
            (part.b, scales)
        };
        let (rows, cols) = (stored.rows(), stored.cols());
        room.resize(rows * cols, 0.0);
        for (row, out) in room.chunks_exact_mut(cols.max(1)).enumerate() {
            numbers(stored.row(row), scales[row], out);
        }
        let numbers = Matrix::whole(room, rows, cols);
        let numbers = if is_turned {
            numbers.transposed()
        } else {
            numbers
        };
        part.multiply_by(numbers, store);
        if let Some(bias) = bias {
            add_bias(&mut part, bias);
        }
    });
}

wide! {
    /// What codes of a scale stand for.
    fn numbers(codes: &[i8], scale: f32, out: &mut [f32]) {
        out.iter_mut().zip(codes).for_each(|(out, code)| *out = f32::from(*code) * scale);
    }
}
