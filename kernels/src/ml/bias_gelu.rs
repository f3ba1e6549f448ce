//! A bias added to each row, then gelu: fused into one pass, or in two with the sum stored between.
//!
//! `out[r][c] = gelu(x[r][c] + bias[c])`; `x` and `out` of any type, `bias` in `f32`. Work, with `s` bytes an element: what the fused
//! form moves, whichever variant is measured: `2 rows cols s` bytes, so that a rate shows what fusing saves; the separate form moves
//! twice as many. Its sum is rounded to the type in between. Backward: `dx = dy gelu'(x + bias)` and `dbias`, the sum of `dx` over
//! rows in the order of [`super::column_sum`]; `3 rows cols s` bytes, though `dx` is read once more for the sum. Flops as in
//! [`super::activation`], and one for each addition.

use assay_protocol::{Failure, Work};

use super::activation::{Curve, Form, Gelu, SOURCE};
use super::bound::{self, EXP};
use super::column_sum::{self, ColumnSum, Order};
use super::host::{Each, Kernel, compute, pointwise};
use super::{DTYPES, cuda, expect, with_lane, workspace};
use crate::buffer::Buffers;
use crate::device::Team;
use crate::element::DType;
use crate::lane::{Lane, WIDTH};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Outcome, Program};

/// Inputs are this many times a number on [-1, 1).
const SPREAD: f32 = 4.0;
const FORM: Form = Form::Tanh;

/// The brick: `gelu(x + bias)`.
#[derive(Clone, Copy, Debug)]
pub struct BiasGelu {
    /// Rows, each of which gets the same bias.
    pub rows: usize,
    /// Elements of a row and of the bias, at least 1.
    pub cols: usize,
    /// Form of gelu.
    pub form: Form,
    /// Type of activations.
    pub dtype: DType,
}

impl BiasGelu {
    fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Adds `out = gelu(x + bias)` in one pass.
    pub fn forward(&self, program: &mut Program, x: usize, bias: usize, out: usize) {
        let gelu = self.form.on_host(Curve::Below, self.dtype);
        self.biased(program, self.form.functor(), [x, bias, out], gelu);
    }

    /// Adds the same in two passes, with the sum in `between`.
    pub fn forward_separately(
        &self,
        program: &mut Program,
        [x, bias]: [usize; 2],
        between: usize,
        out: usize,
    ) {
        self.biased(program, "Same", [x, bias, between], Each(Same));
        Gelu {
            elements: self.len(),
            form: self.form,
            dtype: self.dtype,
        }
        .forward(program, between, out);
    }

    /// Adds `dx` and `dbias`, given `x` and `bias` of [`Self::forward`] and `dy`.
    pub fn backward(
        &self,
        program: &mut Program,
        [x, bias, dy]: [usize; 3],
        dx: usize,
        dbias: usize,
    ) {
        let (dtype, cols, len) = (self.dtype, self.cols, self.len());
        expect(
            program,
            "bias and gelu",
            &[
                ("x", x, dtype, len),
                ("bias", bias, DType::F32, cols),
                ("dy", dy, dtype, len),
                ("dx", dx, dtype, len),
            ],
        );
        with_lane!(
            dtype,
            on_cpu<_>(program, bias, [x, dy], dx, self.form.on_host(Curve::Slope, dtype))
        );
        let launch = cuda::by_elements(
            &SOURCE,
            "bias_backward",
            &format!("{}, ", self.form.functor()),
            dtype,
            (len, cols),
        );
        program.launch(
            launch
                .args([dx, x, bias, dy].map(Arg::Buffer))
                .args([Arg::size(cols)]),
        );
        ColumnSum {
            rows: self.rows,
            cols,
            dtype,
            order: Order::Fixed,
        }
        .forward(program, dx, dbias);
    }

    fn biased(
        &self,
        program: &mut Program,
        functor: &str,
        [x, bias, out]: [usize; 3],
        then: impl Kernel<1, 1> + Copy + 'static,
    ) {
        let (dtype, cols, len) = (self.dtype, self.cols, self.len());
        expect(
            program,
            "bias and gelu",
            &[
                ("x", x, dtype, len),
                ("bias", bias, DType::F32, cols),
                ("out", out, dtype, len),
            ],
        );
        with_lane!(dtype, on_cpu<_>(program, bias, [x], out, then));
        let launch = cuda::by_elements(
            &SOURCE,
            "bias_forward",
            &format!("{functor}, "),
            dtype,
            (len, cols),
        );
        program.launch(
            launch
                .args([out, x, bias].map(Arg::Buffer))
                .args([Arg::size(cols)]),
        );
    }
}

/// The first input, as it is.
#[derive(Clone, Copy)]
struct Same;

pointwise!(Same, |_, [x], 1 => 1| [x]);

/// A kernel, of the first input with a bias.
struct Biased<K> {
    /// The bias again and again, so that it goes on behind the last column.
    bias: Vec<f32>,
    cols: usize,
    then: K,
}

impl<K> Biased<K> {
    fn new(bias: &[f32], then: K) -> Self {
        let cols = bias.len();
        let bias = bias.iter().copied().cycle().take(cols + WIDTH).collect();
        Self { bias, cols, then }
    }
}

impl<K: Kernel<N, 1>, const N: usize> Kernel<N, 1> for Biased<K> {
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn lanes(&self, first: usize, mut inputs: [[f32; WIDTH]; N]) -> [[f32; WIDTH]; 1] {
        let bias = self.bias[first % self.cols..].first_chunk::<WIDTH>();
        for (x, bias) in inputs[0].iter_mut().zip(bias.expect("a line of biases")) {
            *x += *bias;
        }
        self.then.lanes(first, inputs)
    }
}

/// Adds a step: `out` as a kernel makes it of inputs, with a bias to the first.
fn on_cpu<T: Lane, const N: usize>(
    program: &mut Program,
    bias: usize,
    inputs: [usize; N],
    out: usize,
    then: impl Kernel<N, 1> + Copy + 'static,
) {
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let kernel = Biased::new(all.0[bias].get(), then);
        compute::<T, N, 1>(team, all, inputs, [out], &kernel);
    });
}

/// The ops: [`BiasGelu::forward`] or [`BiasGelu::forward_separately`], and [`BiasGelu::backward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiasGeluOp {
    /// `bias-gelu`
    Forward,
    /// `bias-gelu-backward`
    Backward,
}

impl Op for BiasGeluOp {
    fn info(&self) -> OpInfo {
        let mut parameters = vec![
            parameters::integer("rows"),
            parameters::integer("cols"),
            parameters::dtype(DTYPES),
        ];
        let (name, summary) = match self {
            Self::Forward => (
                "bias-gelu",
                "bias and gelu (tanh form), fused into one pass or in two",
            ),
            Self::Backward => (
                "bias-gelu-backward",
                "gradients of bias and gelu: of input and bias",
            ),
        };
        if *self == Self::Forward {
            parameters.push(parameters::choice("variant", &["fused", "separate"]));
        }
        OpInfo {
            name,
            summary,
            parameters,
            devices: EVERYWHERE,
        }
    }

    /// The first of the backward pass counted `dx` twice.
    fn definition(&self) -> u32 {
        match self {
            Self::Forward => 1,
            Self::Backward => 2,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let dtype = arguments.dtype(DTYPES)?;
        let brick = BiasGelu {
            rows: arguments.size("rows")?,
            cols: arguments.count("cols")?,
            form: FORM,
            dtype,
        };
        let len = parameters::size_product("`rows` and `cols`", &[brick.rows, brick.cols])?;
        let (arrays, flops) = if *self == Self::Forward {
            (2, 21)
        } else {
            (3, 32)
        };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`rows` and `cols`",
                &[len as u64, arrays, dtype.bytes() as u64],
            )?),
            flops: Some(parameters::product(
                "`rows` and `cols`",
                &[len as u64, flops],
            )?),
            items: Some(len as u64),
            formula: format!(
                "bytes = {arrays} rows cols sizeof(T), flops = {flops} rows cols, items = rows cols"
            ),
        });
        let x = program.input(
            "x",
            dtype,
            len,
            Fill::Signed {
                stream: 0,
                scale: SPREAD,
            },
        );
        let bias = program.input("bias", DType::F32, brick.cols, Fill::signed(1));
        if *self == Self::Backward {
            let dy = program.input("dy", dtype, len, Fill::signed(2));
            let dx = program.output("dx", dtype, len);
            let dbias = program.output("dbias", DType::F32, brick.cols);
            brick.backward(&mut program, [x, bias, dy], dx, dbias);
            program.check(move |outcome| {
                with_lane!(
                    dtype,
                    check_backward(outcome, brick, [x, bias, dy, dx, dbias])
                )
            });
            return Ok(program);
        }
        let is_separate = arguments.choice("variant", &[("fused", false), ("separate", true)])?;
        let out = program.output("out", dtype, len);
        if is_separate {
            let between = workspace(&mut program, "sum", dtype, len);
            brick.forward_separately(&mut program, [x, bias], between, out);
        } else {
            brick.forward(&mut program, x, bias, out);
        }
        program.check(move |outcome| {
            with_lane!(dtype, check(outcome, (brick, is_separate), [x, bias, out]))
        });
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        if parameter == "rows" {
            size.min(5)
        } else {
            super::test_size(size)
        }
    }
}

/// A rounding of the sum moves gelu, whose slope is below 1.13, by as much of `|x| + |bias|`.
fn check<T: Lane>(
    outcome: &Outcome,
    (brick, is_separate): (BiasGelu, bool),
    [x, bias, out]: [usize; 3],
) -> Checked {
    let (x, bias) = (outcome.get::<T>(x), outcome.get::<f32>(bias));
    let mut checked = bound::compare(
        outcome.get::<T>(out),
        brick.form.roundings::<T>() + 2,
        "|out - exact| / (|x| + |bias|)",
        |i| {
            let (x, bias) = (x[i].into(), f64::from(bias[i % brick.cols]));
            (brick.form.exact(x + bias)[0], f64::abs(x) + bias.abs())
        },
    );
    if is_separate {
        checked.tolerance += 1.13 * T::UNIT_ROUNDOFF;
    }
    checked
}

/// As in [`super::activation`]; the second derivative is below 0.8 in magnitude, which a rounding of the sum passes through.
fn check_backward<T: Lane>(
    outcome: &Outcome,
    brick: BiasGelu,
    [x, bias, dy, dx, dbias]: [usize; 5],
) -> Checked {
    let (x, bias, dy) = (
        outcome.get::<T>(x),
        outcome.get::<f32>(bias),
        outcome.get::<T>(dy),
    );
    let roundings = brick.form.roundings::<T>() + 2 * EXP + 11;
    let found = outcome.get::<T>(dx);
    let of_x = bound::compare(
        found,
        roundings,
        "|dx - exact| / |dy| (1 + |x p| + |x| + |bias|)",
        |i| {
            let (x, bias) = (x[i].into(), f64::from(bias[i % brick.cols]));
            let (dy, [_, slope, magnitude]) = (dy[i].into(), brick.form.exact(x + bias));
            (
                dy * slope,
                f64::abs(dy) * (magnitude + f64::abs(x) + bias.abs()),
            )
        },
    );
    // Sums of what was stored.
    let of_bias = column_sum::compare_sums(outcome.get::<f32>(dbias), brick.rows, 0, |r, c| {
        found[r * brick.cols + c].into()
    });
    bound::worst([of_x, of_bias])
}
