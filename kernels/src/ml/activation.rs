//! Activations, element by element, and their gradients: gelu in two forms, and swiglu.
//!
//! | op                     | definition                                                           | bytes of an element of `s` | flops |
//! | gelu (erf)             | `x P(x)`, `P` the normal distribution: `(1 + erf(x / sqrt 2)) / 2`   | `2 s` | 20 |
//! | gelu (tanh)            | `x (1 + tanh z) / 2`, `z = sqrt(2/pi) (x + 0.044715 x^3)`            | `2 s` | 20 |
//! | gelu-backward          | `dx = dy (P + x p)`, `p` the density; of the other form its derivative | `3 s` | 30 |
//! | swiglu                 | `silu(gate) up`, `silu(g) = g / (1 + e^-g)`                          | `3 s` | 12 |
//! | swiglu-backward        | `dgate = dout up silu'(gate)`, `dup = dout silu(gate)`               | `5 s` | 20 |
//!
//! Sources: D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415, 2016, section 2, with both forms; N. Shazeer,
//! "GLU Variants Improve Transformer", arXiv:2002.05202, 2020, equation (6). `(1 + tanh z) / 2` is the logistic function of `2 z`,
//! as which it is computed, without cancellation. Where the processor looks sixteen numbers up at once, gelu is [looked up](curve) instead,
//! and for results of 16 bits that, and the logistic function, are less precise, by a sixth at most of what `f16` rounds off. Flops
//! count an exponential as 8, so that a compute bound shows; on any device they are beneath the memory's time.

mod check;
mod curve;

use assay_protocol::{Failure, Work};

pub use self::curve::Curve;
use self::curve::{Lookup, ROUGHLY};
use super::bound::{EXP, NORMAL};
use super::host::{Each, Kernel, elementwise, pointwise};
use super::{DTYPES, cuda, expect, with_lane};
use crate::element::DType;
use crate::lane::{Lane, WIDTH};
use crate::math;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Fill, Program, Source, cuda_source};

pub(super) static SOURCE: Source = cuda_source!("ml/activation.cu");
/// `sqrt(2 / pi)` and the coefficient of the cube.
const SLOPE: f32 = 0.797_884_6;
const CUBE: f32 = 0.044_715;
/// Beyond it the derivatives' second terms are 0 in `f32`; so they are computed there, rather than from infinities.
const FLAT: f32 = 20.0;
/// Inputs are this many times a number on [-1, 1).
const SPREAD: f32 = 4.0;

/// A form of gelu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With the error function: exact.
    Erf,
    /// With the hyperbolic tangent: the approximation that GPT-2 made common.
    Tanh,
}

impl Form {
    /// By their names as parameters of ops.
    pub const NAMED: &[(&str, Self)] = &[("erf", Self::Erf), ("tanh", Self::Tanh)];

    /// The functor in CUDA sources.
    pub(super) const fn functor(self) -> &'static str {
        match self {
            Self::Erf => "GeluErf",
            Self::Tanh => "GeluTanh",
        }
    }

    /// In `f64`: gelu, its derivative, and the magnitudes that went into that.
    pub(super) fn exact(self, x: f64) -> [f64; 3] {
        match self {
            Self::Erf => {
                let below = 0.5 * libm::erfc(-x / 2_f64.sqrt());
                let slope = x * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
                [x * below, below + slope, 1.0 + slope.abs()]
            }
            Self::Tanh => {
                let (a, b) = ((2.0 / std::f64::consts::PI).sqrt(), 0.044_715);
                let below = 1.0 / (1.0 + (-2.0 * a * (x + b * x * x * x)).exp());
                let slope = x * below * (1.0 - below) * 2.0 * a * (1.0 + 3.0 * b * x * x);
                [x * below, below + slope, 1.0 + slope.abs()]
            }
        }
    }

    /// Roundings of gelu of type `T` relative to `|x|`: the argument rounds three times, which the distribution, whose
    /// logarithmic slope times its value is below 1/2, halves at least; the function, sum, half and product come after. Six times, and
    /// again through an exponential, in the other form. Of 16 bits it is looked up [roughly](curve).
    pub(super) fn roundings<T: Lane>(self) -> u64 {
        let computed = match self {
            Self::Erf => NORMAL + 6,
            Self::Tanh => EXP + 8,
        };
        computed + roughly::<T>(ROUGHLY)
    }

    /// How the host computes gelu, or its derivative, of a type.
    pub(super) fn on_host(self, curve: Curve, dtype: DType) -> OnHost {
        OnHost {
            form: self,
            lookup: Lookup::new(self, curve, dtype),
        }
    }
}

/// What is less precise in results of 16 bits.
fn roughly<T: Lane>(roundings: u64) -> u64 {
    if T::DTYPE == DType::F32 { 0 } else { roundings }
}

/// A form of gelu on the host: by a table, or else as it is defined.
#[derive(Clone, Copy, Debug)]
pub struct OnHost {
    form: Form,
    lookup: Lookup,
}

/// Gelu, one form each, and their derivatives times `dy`, the second input.
struct GeluErf;
struct GeluTanh;
struct GeluErfBackward;
struct GeluTanhBackward;

pointwise!(GeluErf, |_, [x], 1 => 1| [x * math::normal_below(x)]);

pointwise!(GeluErfBackward, |_, [x, dy], 2 => 1| {
    const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)
    let near = clamped(x);
    let slope = near * DENSITY * math::exp_beneath(-0.5 * near * near);
    [dy * (math::normal_below(x) + slope)]
});

pointwise!(GeluTanh, |_, [x], 1 => 1| [x / (1.0 + math::exp(-tanh_argument(x)))]);

pointwise!(GeluTanhBackward, |_, [x, dy], 2 => 1| {
    let below = math::sigmoid(tanh_argument(x));
    let near = clamped(x);
    let inner = (near * near).mul_add(6.0 * SLOPE * CUBE, 2.0 * SLOPE);
    let slope = near * below * (1.0 - below);
    [dy * slope.mul_add(inner, below)]
});

/// `silu(gate) up`, of both.
struct SiluTimes {
    is_rough: bool,
}
/// The gradients of `gate` and `up`, of both and that of the result.
struct SiluTimesBackward {
    is_rough: bool,
}

/// The logistic function of a line.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn below(gate: &[f32; WIDTH], is_rough: bool) -> [f32; WIDTH] {
    if is_rough {
        math::sigmoid_roughly(gate)
    } else {
        math::sigmoid_of(gate)
    }
}

impl Kernel<2, 1> for SiluTimes {
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn lanes(&self, _: usize, [gate, up]: [[f32; WIDTH]; 2]) -> [[f32; WIDTH]; 1] {
        let mut out = below(&gate, self.is_rough);
        for ((out, gate), up) in out.iter_mut().zip(&gate).zip(&up) {
            *out = gate * *out * up;
        }
        [out]
    }
}

impl Kernel<3, 2> for SiluTimesBackward {
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn lanes(&self, _: usize, [gate, up, dout]: [[f32; WIDTH]; 3]) -> [[f32; WIDTH]; 2] {
        let below = below(&gate, self.is_rough);
        let [mut dgate, mut dup] = [[0.0; WIDTH]; 2];
        for lane in 0..WIDTH {
            let silu = gate[lane] * below[lane];
            let slope = silu.mul_add(1.0 - below[lane], below[lane]);
            dgate[lane] = dout[lane] * up[lane] * slope;
            dup[lane] = dout[lane] * silu;
        }
        [dgate, dup]
    }
}

/// Gelu.
impl Kernel<1, 1> for OnHost {
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn lanes(&self, first: usize, inputs: [[f32; WIDTH]; 1]) -> [[f32; WIDTH]; 1] {
        match (self.lookup.at(&inputs[0]), self.form) {
            (Some(below), _) => [product(&inputs[0], below)],
            (None, Form::Erf) => Each(GeluErf).lanes(first, inputs),
            (None, Form::Tanh) => Each(GeluTanh).lanes(first, inputs),
        }
    }
}

/// Its derivative, times the second input.
impl Kernel<2, 1> for OnHost {
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn lanes(&self, first: usize, inputs: [[f32; WIDTH]; 2]) -> [[f32; WIDTH]; 1] {
        match (self.lookup.at(&inputs[0]), self.form) {
            (Some(slope), _) => [product(&inputs[1], slope)],
            (None, Form::Erf) => Each(GeluErfBackward).lanes(first, inputs),
            (None, Form::Tanh) => Each(GeluTanhBackward).lanes(first, inputs),
        }
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // as above
fn product(x: &[f32; WIDTH], factors: [f32; WIDTH]) -> [f32; WIDTH] {
    let mut out = factors;
    for (out, x) in out.iter_mut().zip(x) {
        *out *= x;
    }
    out
}

/// What the tanh form has a logistic function of: `2 sqrt(2/pi) (x + 0.044715 x^3)`.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn tanh_argument(x: f32) -> f32 {
    x * (x * x).mul_add(2.0 * SLOPE * CUBE, 2.0 * SLOPE)
}

/// What is no number stays none.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
fn clamped(x: f32) -> f32 {
    let below = if x > FLAT { FLAT } else { x };
    if below < -FLAT { -FLAT } else { below }
}

/// The brick: gelu of each element.
#[derive(Clone, Copy, Debug)]
pub struct Gelu {
    /// How many there are.
    pub elements: usize,
    /// Its form.
    pub form: Form,
    /// Type of all of it.
    pub dtype: DType,
}

impl Gelu {
    /// Adds `out = gelu(x)`.
    pub fn forward(&self, program: &mut Program, x: usize, out: usize) {
        let Self {
            elements,
            form,
            dtype,
        } = *self;
        expect(
            program,
            "gelu",
            &[("x", x, dtype, elements), ("out", out, dtype, elements)],
        );
        let kernel = form.on_host(Curve::Below, dtype);
        with_lane!(dtype, elementwise < _, _ > (program, [x], [out], kernel));
        launch(program, form.functor(), dtype, elements, [out, x, x]);
    }

    /// Adds `dx = dy gelu'(x)`.
    pub fn backward(&self, program: &mut Program, x: usize, dy: usize, dx: usize) {
        let Self {
            elements,
            form,
            dtype,
        } = *self;
        expect(
            program,
            "gelu",
            &[
                ("x", x, dtype, elements),
                ("dy", dy, dtype, elements),
                ("dx", dx, dtype, elements),
            ],
        );
        let kernel = form.on_host(Curve::Slope, dtype);
        with_lane!(dtype, elementwise < _, _ > (program, [x, dy], [dx], kernel));
        launch_backward(program, form.functor(), dtype, elements, [dx, dx, x, x, dy]);
    }
}

/// The brick: `silu(gate) up`, element by element.
#[derive(Clone, Copy, Debug)]
pub struct SwiGlu {
    /// How many there are.
    pub elements: usize,
    /// Type of all of it.
    pub dtype: DType,
}

impl SwiGlu {
    /// Adds `out = silu(gate) up`.
    pub fn forward(&self, program: &mut Program, gate: usize, up: usize, out: usize) {
        let Self { elements, dtype } = *self;
        expect(
            program,
            "swiglu",
            &[
                ("gate", gate, dtype, elements),
                ("up", up, dtype, elements),
                ("out", out, dtype, elements),
            ],
        );
        let is_rough = dtype != DType::F32;
        with_lane!(
            dtype,
            elementwise < _,
            _ > (program, [gate, up], [out], SiluTimes { is_rough })
        );
        launch(program, "SwiGlu", dtype, elements, [out, gate, up]);
    }

    /// Adds the gradients of both inputs.
    pub fn backward(
        &self,
        program: &mut Program,
        [gate, up, dout]: [usize; 3],
        dgate: usize,
        dup: usize,
    ) {
        let Self { elements, dtype } = *self;
        let buffers = [
            ("gate", gate),
            ("up", up),
            ("dout", dout),
            ("dgate", dgate),
            ("dup", dup),
        ];
        expect(
            program,
            "swiglu",
            &buffers.map(|(role, buffer)| (role, buffer, dtype, elements)),
        );
        let is_rough = dtype != DType::F32;
        with_lane!(
            dtype,
            elementwise < _,
            _ > (
                program,
                [gate, up, dout],
                [dgate, dup],
                SiluTimesBackward { is_rough }
            )
        );
        launch_backward(
            program,
            "SwiGlu",
            dtype,
            elements,
            [dgate, dup, gate, up, dout],
        );
    }
}

fn launch(program: &mut Program, functor: &str, dtype: DType, n: usize, buffers: [usize; 3]) {
    let launch = cuda::by_elements(
        &SOURCE,
        "activation",
        &format!("{functor}, "),
        dtype,
        (n, n),
    );
    program.launch(launch.args(buffers.map(Arg::Buffer)));
}

fn launch_backward(
    program: &mut Program,
    functor: &str,
    dtype: DType,
    n: usize,
    buffers: [usize; 5],
) {
    let launch = cuda::by_elements(
        &SOURCE,
        "activation_backward",
        &format!("{functor}, "),
        dtype,
        (n, n),
    );
    program.launch(launch.args(buffers.map(Arg::Buffer)));
}

/// The ops, one for each direction of each brick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationOp {
    /// `gelu`
    Gelu,
    /// `gelu-backward`
    GeluBackward,
    /// `swiglu`
    SwiGlu,
    /// `swiglu-backward`
    SwiGluBackward,
}

impl ActivationOp {
    /// Arrays that it moves and flops of an element.
    const fn per_element(self) -> (u64, u64) {
        match self {
            Self::Gelu => (2, 20),
            Self::GeluBackward => (3, 30),
            Self::SwiGlu => (3, 12),
            Self::SwiGluBackward => (5, 20),
        }
    }

    const fn is_gelu(self) -> bool {
        matches!(self, Self::Gelu | Self::GeluBackward)
    }
}

impl Op for ActivationOp {
    fn info(&self) -> OpInfo {
        let (name, summary) = match self {
            Self::Gelu => ("gelu", "gelu of each element, exact or by its tanh form"),
            Self::GeluBackward => ("gelu-backward", "gradient of gelu"),
            Self::SwiGlu => ("swiglu", "silu(gate) up, element by element"),
            Self::SwiGluBackward => ("swiglu-backward", "gradients of swiglu: of gate and up"),
        };
        let mut parameters = vec![parameters::integer("elements"), parameters::dtype(DTYPES)];
        if self.is_gelu() {
            parameters.push(parameters::choice(
                "form",
                &Form::NAMED
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>(),
            ));
        }
        OpInfo {
            name,
            summary,
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (elements, dtype) = (arguments.size("elements")?, arguments.dtype(DTYPES)?);
        let (arrays, flops) = self.per_element();
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`elements`",
                &[elements as u64, arrays, dtype.bytes() as u64],
            )?),
            flops: Some(parameters::product(
                "`elements`",
                &[elements as u64, flops],
            )?),
            items: Some(elements as u64),
            formula: format!(
                "bytes = {arrays} n sizeof(T), flops = {flops} n, items = n; n = elements"
            ),
        });
        if self.is_gelu() {
            let form = arguments.choice("form", Form::NAMED)?;
            gelu_program(
                &mut program,
                Gelu {
                    elements,
                    form,
                    dtype,
                },
                *self == Self::GeluBackward,
            );
        } else {
            swiglu_program(
                &mut program,
                SwiGlu { elements, dtype },
                *self == Self::SwiGluBackward,
            );
        }
        Ok(program)
    }

    fn test_size(&self, _: &str, size: i64) -> i64 {
        super::test_size(size)
    }
}

const fn spread(stream: u64) -> Fill {
    Fill::Signed {
        stream,
        scale: SPREAD,
    }
}

fn gelu_program(program: &mut Program, brick: Gelu, is_backward: bool) {
    let Gelu {
        elements,
        form,
        dtype,
    } = brick;
    let x = program.input("x", dtype, elements, spread(0));
    if is_backward {
        let dy = program.input("dy", dtype, elements, Fill::signed(1));
        let dx = program.output("dx", dtype, elements);
        brick.backward(program, x, dy, dx);
        program.check(move |outcome| {
            with_lane!(dtype, check::gelu_backward(outcome, form, [x, dy, dx]))
        });
    } else {
        let out = program.output("out", dtype, elements);
        brick.forward(program, x, out);
        program.check(move |outcome| with_lane!(dtype, check::gelu(outcome, form, [x, out])));
    }
}

fn swiglu_program(program: &mut Program, brick: SwiGlu, is_backward: bool) {
    let SwiGlu { elements, dtype } = brick;
    let gate = program.input("gate", dtype, elements, spread(0));
    let up = program.input("up", dtype, elements, spread(1));
    if is_backward {
        let dout = program.input("dout", dtype, elements, Fill::signed(2));
        let dgate = program.output("dgate", dtype, elements);
        let dup = program.output("dup", dtype, elements);
        brick.backward(program, [gate, up, dout], dgate, dup);
        program.check(move |outcome| {
            with_lane!(
                dtype,
                check::swiglu_backward(outcome, [gate, up, dout, dgate, dup])
            )
        });
    } else {
        let out = program.output("out", dtype, elements);
        brick.forward(program, gate, up, out);
        program.check(move |outcome| with_lane!(dtype, check::swiglu(outcome, [gate, up, out])));
    }
}
