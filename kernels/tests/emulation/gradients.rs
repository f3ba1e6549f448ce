//! Gradients that the CUDA sources wrote, beside central differences in `f64` of the forward passes, which are written down here once
//! more, as their papers have them ([`rows`], [`products`], [`attention`]).
//!
//! An element of a gradient is `sum_j dy_j dy_j/dx`, and differences of all outputs give its terms one by one. What an element may be off by is
//! relative to the size of these terms: sums in `f32` to that of their magnitudes, what is rounded to a type of 16 bits on the way to the root
//! of the sum of their squares, since it is rounded up as often as down; or to what these are on average where they are less, since what is
//! rounded before it cancels is. Besides, there is what the difference is off by itself. That this is no more than it need be, each gradient shows: a little smaller, of the other sign, or with one element left out, it fails.

mod attention;
mod products;
mod rows;

use assay_kernels::bound::{TENSOR_ROUNDOFF, gamma};
use assay_kernels::buffer::{Buffer, Buffers};
use assay_kernels::device::Team;
use assay_kernels::element::{DType, Real};
use assay_kernels::ops;
use assay_kernels::program::Program;
use assay_protocol::{CaseSpec, DeviceKind, ParamValue, Philox};
use half::{bf16, f16};

use super::cases;
use super::job::{Order, Session};

/// Step of the differences, which balances what they leave out, `O(h^4)`, against rounding, `O(2^-53 / h)`.
const STEP: f64 = 1e-3;
/// What the difference of fourth order is off by, at most, beside its distance from that of second order: `O(h^2)`.
const OF_SECOND_ORDER: f64 = 0.01;
/// Elements of a gradient that are differenced, of those that have more.
const MOST: usize = 40;
/// Roundings in `f32` beside those of sums: of exponentials, what magnifies their arguments, and all that is done to an element.
const BESIDE_SUMS: u64 = 64;
/// Half of the smallest number of `f16`: what is nearer to 0 is lost, some times on the way.
const LEAST_OF_F16: f64 = 4.0 / (1 << 25) as f64;

/// How a backward pass is differentiated.
pub struct Differentiable {
    /// What is differentiated by: the buffer that its gradient is in, and its values.
    pub operands: Vec<(&'static str, Vec<f64>)>,
    /// The outputs of the forward pass, as a function of all operands.
    pub forward: Forward,
    /// The gradient of each output.
    pub weights: Vec<f64>,
    /// What the forward pass leaves to the backward one, by the names of buffers.
    pub kept: Vec<(&'static str, Vec<f64>)>,
    /// Roundings to the type of the case between the operands and a gradient.
    pub roundings: u64,
    /// Terms of the longest sums.
    pub terms: usize,
}

/// Outputs of operands.
pub type Forward = Box<dyn Fn(&[Vec<f64>]) -> Vec<f64> + Send + Sync>;

/// A case, and what its buffers hold before it runs.
pub struct Given<'a> {
    case: &'a CaseSpec,
    program: &'a Program,
    buffers: &'a Buffers,
}

impl Given<'_> {
    fn place(&self, name: &str) -> usize {
        place(self.program, name)
    }

    /// The numbers of a buffer.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        let buffer = &self.buffers.0[self.place(name)];
        (0..buffer.len()).map(|i| buffer.value(i)).collect()
    }

    /// The integers of a buffer.
    pub fn integers(&self, name: &str) -> Vec<usize> {
        let words = self.buffers.get::<u32>(self.place(name));
        words.iter().map(|word| *word as usize).collect()
    }

    /// A number that counts turns.
    pub fn count(&self, name: &str) -> u64 {
        self.buffers.get::<u64>(self.place(name))[0]
    }

    /// A parameter that is a size.
    pub fn size(&self, name: &str) -> usize {
        self.case.params[name].as_u64().expect("a size") as usize
    }

    /// Whether a parameter has a value.
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.case.params[name].as_str() == Some(value)
    }

    /// The seed of the case.
    pub fn seed(&self) -> u64 {
        self.case.seed.0
    }

    /// Numbers uniform on [-scale, scale).
    pub fn random(&self, len: usize, scale: f64) -> Vec<f64> {
        let random = Philox::new(self.seed(), 0xD1FF);
        let numbers = 0..len as u64;
        numbers
            .map(|i| scale * f64::from(random.signed_f32(i)))
            .collect()
    }
}

fn place(program: &Program, name: &str) -> usize {
    let mut specs = program.buffers.iter();
    specs
        .position(|spec| spec.name == name)
        .unwrap_or_else(|| panic!("no buffer is called `{name}`"))
}

/// How cases of an op are differentiated.
type Differentiate = fn(&Given) -> Differentiable;

/// Every op that has a gradient.
const OPS: &[(&str, Differentiate)] = &[
    ("softmax-backward", rows::softmax),
    ("layernorm-backward", rows::layer_norm),
    ("rmsnorm-backward", rows::rms_norm),
    ("gelu-backward", rows::gelu),
    ("swiglu-backward", rows::swiglu),
    ("bias-gelu-backward", rows::bias_gelu),
    ("cross-entropy-backward", rows::cross_entropy),
    ("soft-cross-entropy", rows::soft_cross_entropy),
    ("squares", rows::squares),
    ("codes", rows::codes),
    ("embedding-backward", rows::embedding),
    ("dropout", rows::dropout),
    ("stochastic-depth", rows::depth),
    ("mean-pool", rows::mean_pool),
    ("column-sum", rows::bias),
    ("linear", products::linear),
    ("linear-half", products::linear),
    ("linear-mixed", products::linear),
    ("linear-i8", products::linear),
    ("conv2d-backward", products::convolution),
    ("moe-gate", products::gate),
    ("moe-dispatch", products::dispatch),
    ("moe-combine", products::combine),
    ("moe-experts", products::experts),
    ("moe-experts-mixed", products::experts),
    ("rope", attention::rope),
    ("attention", attention::attention),
    ("attention-half", attention::attention),
];

/// Every op that has none, or whose gradient is another op or that of what it is given, as it is.
const OTHERS: &[&str] = &[
    "stream-copy",
    "stream-mul",
    "stream-add",
    "stream-triad",
    "stream-nstream",
    "stream-dot",
    "sum",
    "scan",
    "radix-sort",
    "histogram",
    "top-k",
    "strided",
    "gather",
    "scatter",
    "pointer-chase",
    "memset",
    "bank-conflict",
    "transpose",
    "gemv",
    "gemm-skinny",
    "gemm",
    "gemm-batched",
    "conv2d",
    "softmax",
    "layernorm",
    "rmsnorm",
    "gelu",
    "swiglu",
    "bias-gelu",
    "cross-entropy",
    "embedding",
    "residual-add",
    "accumulate",
    "windows",
    "draw-rows",
    "draw-labels",
    "mix-pictures",
    "cast",
    "scale",
    "spmv",
    "stencil",
    "peak-bandwidth",
    "peak-arithmetic",
    "launch-empty",
    "launch-graph",
    "fusion-chain",
    "occupancy-sweep",
    "peak-tensor",
    "nbody",
    "fft",
    "power-spectrum",
    "gradient-norm",
    "clip-norm",
    "clip-adaptive",
    "centralise",
    "clip-columns",
    "centralise-columns",
    "loss-scale",
    "sgd",
    "adamw",
    "lion",
    "adan",
    "sophia-g",
    "sophia-curvature",
    "learning-rate",
    "quantise",
    "dequantise",
    "gemm-i8",
    "knn",
    "kmeans-step",
    "ivf-flat",
    "closest-rows",
    "alibi",
];

/// Sizes of cases: of single elements, and of whole vectors.
const SIZES: [i64; 2] = [7, 16];

/// Parameters that are other sizes than an op takes for tests. Attention has more keys than a tile of any kernel.
fn sizes_of(op: &str, size: i64) -> &'static [(&'static str, i64)] {
    match (op, size) {
        ("attention" | "attention-half", 7) => {
            &[("batch", 1), ("length", 67), ("heads", 2), ("width", 36)]
        }
        ("attention" | "attention-half", _) => {
            &[("batch", 2), ("length", 33), ("heads", 1), ("width", 24)]
        }
        ("moe-experts" | "moe-experts-mixed", 7) => {
            &[("width", 13), ("hidden", 9), ("capacity", 5)]
        }
        ("linear" | "linear-half" | "linear-mixed" | "linear-i8", 7) => {
            &[("inputs", 13), ("outputs", 9)]
        }
        _ => &[],
    }
}

/// Whether a case is a forward pass of an op that has both.
fn is_forward(case: &CaseSpec) -> bool {
    case.params.get("pass").and_then(ParamValue::as_str) == Some("forward")
}

/// Every backward case, with how it is differentiated.
fn all() -> Vec<(CaseSpec, Differentiate)> {
    let mut all = vec![];
    for size in SIZES {
        for mut case in ops::cases(DeviceKind::Cuda, size) {
            let known = OPS.iter().find(|(op, _)| *op == case.workload);
            let Some((op, differentiate)) = known.filter(|_| !is_forward(&case)) else {
                continue;
            };
            for (name, size) in sizes_of(op, size) {
                case.params.insert((*name).into(), ParamValue::Int(*size));
            }
            if cases::is_emulated(&ops::program(&case).expect("a program")) {
                case.seed = (all.len() as u64).into();
                all.push((case, *differentiate));
            }
        }
    }
    all
}

/// The backward cases of an op.
pub fn of_op(op: &str) -> Vec<CaseSpec> {
    let all = all().into_iter().map(|(case, _)| case);
    all.filter(|case| case.workload == op).collect()
}

/// All backward cases.
pub fn cases() -> Vec<CaseSpec> {
    all().into_iter().map(|(case, _)| case).collect()
}

/// An element of a gradient, by differences.
struct Expected {
    exact: f64,
    /// Sum of the magnitudes of its terms.
    size: f64,
    /// Sum of their squares.
    squares: f64,
    /// What that is off by itself.
    own: f64,
}

/// Element `i` of the gradient of an operand.
fn by_differences(
    of: &Differentiable,
    moved: &mut [Vec<f64>],
    operand: usize,
    i: usize,
) -> Expected {
    let before = moved[operand][i];
    let [one, less_one, two, less_two] = [1.0, -1.0, 2.0, -2.0].map(|steps| {
        moved[operand][i] = before + steps * STEP;
        (of.forward)(moved)
    });
    moved[operand][i] = before;
    let mut expected = Expected {
        exact: 0.0,
        size: 0.0,
        squares: 0.0,
        own: 0.0,
    };
    for (j, weight) in of.weights.iter().enumerate() {
        let second = (one[j] - less_one[j]) / (2.0 * STEP);
        let fourth = (8.0 * (one[j] - less_one[j]) - (two[j] - less_two[j])) / (12.0 * STEP);
        let term = weight * fourth;
        expected.exact += term;
        expected.size += term.abs();
        expected.squares += term * term;
        let of_rounding = 4.0 * f64::EPSILON * (one[j].abs() + two[j].abs()) / STEP;
        let left_out = OF_SECOND_ORDER * (fourth - second).abs();
        expected.own += weight.abs() * (left_out + of_rounding);
    }
    expected
}

/// Some places of a gradient: all, or one of each of as many parts.
fn places(len: usize, seed: u64) -> Vec<usize> {
    let random = Philox::new(seed, 0x9_1ACE);
    let count = len.min(MOST);
    let within = |part: usize| {
        let (first, end) = (part * len / count, (part + 1) * len / count);
        first + random.word(part as u64) as usize % (end - first)
    };
    (0..count).map(within).collect()
}

/// What is allowed of elements.
struct Tolerance {
    /// Of the size of their terms.
    of_sums: f64,
    /// Of the root of the sum of the squares of those, or of the element itself, which is rounded too.
    of_type: f64,
    /// Of any.
    lost: f64,
}

impl Tolerance {
    fn new(case: &CaseSpec, of: &Differentiable) -> Self {
        let (of_type, unit, lost) = match cases::dtype(case) {
            Some("bf16") => (bf16::UNIT_ROUNDOFF, TENSOR_ROUNDOFF, 0.0),
            Some("f16") => (f16::UNIT_ROUNDOFF, TENSOR_ROUNDOFF, LEAST_OF_F16),
            _ => (0.0, f32::UNIT_ROUNDOFF, 0.0),
        };
        Self {
            of_sums: gamma(BESIDE_SUMS + 2 * of.terms as u64, unit),
            of_type: gamma(of.roundings, of_type),
            lost,
        }
    }

    /// What each element may be off by.
    fn each(&self, elements: &[Expected]) -> Vec<f64> {
        let mean = |of: &dyn Fn(&Expected) -> f64| {
            elements.iter().map(of).sum::<f64>() / elements.len().max(1) as f64
        };
        let size = mean(&|element| element.size);
        let root = mean(&|element| element.squares.sqrt());
        let of = |element: &Expected| {
            let squares = element.squares.sqrt().max(element.exact.abs());
            let of_type = self.of_type * squares.max(root);
            let of_sums = self.of_sums * element.size.max(size);
            of_type + of_sums + self.lost + element.own
        };
        elements.iter().map(of).collect()
    }
}

/// What is made of an element, given its number.
type Change<'a> = &'a dyn Fn(usize, f64) -> f64;

/// A gradient as it was found, and as it should be.
struct Compared {
    name: &'static str,
    found: Vec<f64>,
    expected: Vec<Expected>,
    tolerances: Vec<f64>,
}

impl Compared {
    fn new(
        case: &CaseSpec,
        of: &Differentiable,
        operand: usize,
        found: impl Fn(&str, usize) -> f64,
    ) -> Self {
        let (name, values) = &of.operands[operand];
        let places = places(values.len(), case.seed.0);
        let mut moved: Vec<_> = of.operands.iter().map(|(_, x)| x.clone()).collect();
        let expected: Vec<_> = places
            .iter()
            .map(|i| by_differences(of, &mut moved, operand, *i))
            .collect();
        Self {
            name,
            found: places.iter().map(|i| found(name, *i)).collect(),
            tolerances: Tolerance::new(case, of).each(&expected),
            expected,
        }
    }

    /// The largest error in units of its tolerance, of what was found and changed.
    fn error(&self, change: impl Fn(usize, f64) -> f64) -> f64 {
        let errors = self.found.iter().enumerate().map(|(i, found)| {
            let distance = (change(i, *found) - self.expected[i].exact).abs();
            let error = distance / self.tolerances[i];
            // Nothing may be said to be right that is no number.
            if distance == 0.0 {
                0.0
            } else if error.is_nan() {
                f64::INFINITY
            } else {
                error
            }
        });
        errors.fold(0.0, f64::max)
    }

    /// What is wrong with it, or with the tolerance.
    fn failure(&self) -> Option<String> {
        let error = self.error(|_, x| x);
        if error > 1.0 {
            return Some(format!("`{}`: {error} times the tolerance", self.name));
        }
        let largest = (0..self.found.len())
            .max_by(|a, b| self.found[*a].abs().total_cmp(&self.found[*b].abs()))?;
        let wrong: [(&str, Change); 5] = [
            ("nine tenths", &|_, x| 0.9 * x),
            ("seven tenths", &|_, x| 0.7 * x),
            ("of the other sign", &|_, x| -x),
            ("nothing", &|_, _| 0.0),
            ("without one", &|i, x| if i == largest { 0.0 } else { x }),
        ];
        let passed = wrong.iter().find(|(_, change)| self.error(change) <= 1.0);
        passed.map(|(what, _)| format!("`{}`: {what} of it passes", self.name))
    }
}

/// Runs a backward case, and compares its gradients with differences; says what is wrong.
pub fn check(session: &mut Session, case: &CaseSpec) -> Result<(), String> {
    let (_, differentiate) = OPS
        .iter()
        .find(|(op, _)| *op == case.workload)
        .expect("an op with a gradient");
    let team = Team::new(1).map_err(|failure| failure.to_string())?;
    let program = ops::program(case).map_err(|failure| failure.to_string())?;
    let mut buffers = program
        .host_buffers(&team, case.seed.0)
        .map_err(|failure| failure.to_string())?;
    let of = differentiate(&Given {
        case,
        program: &program,
        buffers: &buffers,
    });
    for (name, values) in &of.kept {
        set(&mut buffers.0[place(&program, name)], values);
    }
    session.run(&program, &mut buffers, Order::Shuffled, |_| {})?;
    let found = |name: &str, i: usize| buffers.0[place(&program, name)].value(i);
    let failures = (0..of.operands.len())
        .filter_map(|operand| Compared::new(case, &of, operand, found).failure());
    match failures.reduce(|all, one| format!("{all}; {one}")) {
        None => Ok(()),
        Some(failures) => Err(failures),
    }
}

/// Puts numbers into a buffer, each the nearest of its type.
fn set(buffer: &mut Buffer, values: &[f64]) {
    fn put<T: Real>(buffer: &mut Buffer, values: &[f64]) {
        assert_eq!(buffer.len(), values.len());
        let numbers = buffer.get_mut::<T>().iter_mut();
        numbers
            .zip(values)
            .for_each(|(out, x)| *out = T::from_f64(*x));
    }
    match buffer.dtype() {
        DType::F32 => put::<f32>(buffer, values),
        DType::F16 => put::<f16>(buffer, values),
        DType::Bf16 => put::<bf16>(buffer, values),
        DType::U32 => {
            let words = buffer.get_mut::<u32>().iter_mut();
            words.zip(values).for_each(|(out, x)| *out = *x as u32);
        }
        other => panic!("a forward pass leaves no {other}"),
    }
}

/// A new op is in one of the lists, so that nobody forgets its gradient.
#[test]
fn every_op_is_differentiated_or_has_no_gradient() {
    let mut wrong = vec![];
    for case in ops::cases(DeviceKind::Cuda, SIZES[0]) {
        let op = case.workload.as_str();
        let is_known = OPS.iter().any(|(known, _)| *known == op);
        if is_known == OTHERS.contains(&op) {
            wrong.push(format!("{op}: in none of the lists, or in both"));
        }
        let program = ops::program(&case).expect("a program");
        let is_backward = |name: &str| name.contains("backward");
        let mut kernels = program.launches().map(|launch| launch.kernel.as_str());
        if !is_known && (is_backward(op) || kernels.any(is_backward)) {
            wrong.push(format!("{op}: has a gradient"));
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let cases = cases();
    for (op, _) in OPS {
        assert!(
            cases.iter().any(|case| case.workload == *op),
            "{op}: no backward case"
        );
    }
}
