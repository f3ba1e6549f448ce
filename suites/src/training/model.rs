//! A model that is being put together: one program, its parameters with their gradients, and the memory in between.
//!
//! A layer is a value that knows its parameters. Its `forward` appends bricks of `assay-kernels` to the program; so does its
//! `backward`, which is called in the reverse order, with the buffers that the forward pass filled. There is no tape: what is to be
//! known is in these buffers, and the order is that of the calls. The buffers live as long as the program, so that it is run once
//! for each step.
//!
//! Numbers are `f32`; weights that are not trained may be codes of 8 bits with a scale for each row. Bits depend on nothing but the
//! seed, the shape and the order of calls, on the host for any number of
//! threads.

use std::collections::BTreeMap;

use assay_kernels::buffer::Buffer;
use assay_kernels::element::DType;
use assay_kernels::ml::quantise::code::Code;
use assay_kernels::ml::quantise::{Per, Quantised};
use assay_kernels::ml::scale::Scale;
use assay_kernels::program::{Fill, Program, Role};
use assay_protocol::{Philox, Work};

/// Streams of parameters begin here, in the order in which these are added.
pub const PARAMETER_STREAMS: u64 = 1 << 41;

/// How parameters begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// All of one value.
    Constant(f32),
    /// So many of 1, the others of 0: gains and shifts.
    OnesThenZeros(usize),
    /// Uniform, about 0, with this deviation.
    Uniform(f32),
}

/// What of a parameter belongs together, where gradients are clipped or centralised by units: the weights of one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// Each row: what a token is looked up as; all of a bias, or of gains and shifts.
    Rows,
    /// Each column of so many rows: weights as products have them, of one layer or of several below each other.
    Columns(usize),
}

/// A parameter of a model, by its place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor(usize);

/// What is known of a parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name, as `layers.0.attention.q.weight`.
    pub name: String,
    /// Rows and columns; one row, where it is no matrix.
    pub shape: [usize; 2],
    /// What of it belongs together.
    pub units: Units,
    /// The buffer that holds it.
    pub buffer: usize,
    /// The buffer of the scales of its rows, where the other one holds codes of 8 bits.
    pub scales: Option<usize>,
    /// The buffer of its gradient, where it is trained.
    pub gradient: Option<usize>,
}

impl Parameter {
    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its sides as tensors have them: of a row one.
    pub fn sides(&self) -> Vec<usize> {
        match self.shape {
            [1, cols] => vec![cols],
            sides => sides.to_vec(),
        }
    }

    /// The buffers that hold it: of numbers, or of codes and scales.
    pub fn buffers(&self) -> impl Iterator<Item = usize> {
        [self.buffer].into_iter().chain(self.scales)
    }

    /// What its codes are, if it has such.
    pub fn quantised(&self) -> Quantised {
        quantised(self.shape)
    }

    /// Whether it is a matrix, which decays; biases, gains and shifts do not.
    pub fn is_matrix(&self) -> bool {
        self.shape[0] > 1
    }
}

/// Weights as codes: a scale for each row.
fn quantised([rows, cols]: [usize; 2]) -> Quantised {
    Quantised {
        rows,
        cols,
        code: Code::I8,
        per: Per::Row,
    }
}

/// Where weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// A buffer of numbers.
    Numbers(usize),
    /// Buffers of codes and of scales.
    Codes([usize; 2]),
}

/// A model that is being put together.
pub struct Model {
    /// What it has come to.
    pub program: Program,
    /// All parameters, in the order in which they were added.
    pub parameters: Vec<Parameter>,
    /// Whether parameters that are added are trained.
    pub trains: bool,
    /// Whether [weights](Self::weight) that are added are kept as codes of 8 bits.
    pub quantises: bool,
    /// Whether activations within [segments](Self::enter) are computed again for the backward pass, rather than kept.
    pub recomputes: bool,
    /// Type of what linear layers, attention and experts multiply: parameters, activations and their gradients are rounded to it.
    pub stored: DType,
    /// The buffer of what losses are multiplied by for the backward pass, if they are.
    pub loss_scale: Option<usize>,
    /// What names of activations begin with that share their memory with others'.
    segment: Option<String>,
    seed: u64,
    kept: BTreeMap<String, usize>,
    free: BTreeMap<(DType, usize), Vec<usize>>,
}

impl Model {
    /// A model without layers, whose parameters follow from the seed, and have gradients where it trains.
    pub fn new(seed: u64, trains: bool) -> Self {
        Self {
            program: Program::new(Work::default()),
            parameters: vec![],
            trains,
            quantises: false,
            recomputes: false,
            stored: DType::F32,
            loss_scale: None,
            segment: None,
            seed,
            kept: BTreeMap::new(),
            free: BTreeMap::new(),
        }
    }

    /// Adds a parameter: one row, or weights as products have them.
    pub fn parameter(&mut self, name: &str, shape: [usize; 2], start: Start) -> Tensor {
        let units = match shape {
            [1, _] => Units::Rows,
            [rows, _] => Units::Columns(rows),
        };
        self.parameter_of_units(name, shape, units, start)
    }

    /// Adds a parameter whose units are others.
    pub fn parameter_of_units(
        &mut self,
        name: &str,
        shape: [usize; 2],
        units: Units,
        start: Start,
    ) -> Tensor {
        let random = self.random();
        let fill = Fill::Host(Box::new(move |buffer, _| {
            fill(buffer.get_mut(), start, random);
        }));
        let len = shape[0] * shape[1];
        let buffer = self.hold(name.to_owned(), DType::F32, len, fill);
        let gradient = self
            .trains
            .then(|| self.add(format!("{name}.gradient"), DType::F32, len));
        self.push(Parameter {
            name: name.to_owned(),
            shape,
            units,
            buffer,
            scales: None,
            gradient,
        })
    }

    /// Adds the weights of a linear layer: a parameter, of codes where the model [quantises](Self::quantises) such.
    ///
    /// # Panics
    /// If codes are to be trained.
    pub fn weight(&mut self, name: &str, shape: [usize; 2], start: Start) -> Tensor {
        if !self.quantises {
            return self.parameter(name, shape, start);
        }
        assert!(!self.trains, "`{name}`: codes are not trained");
        let (random, len, code) = (self.random(), shape[0] * shape[1], quantised(shape));
        let encoded = move || {
            let mut numbers = vec![0.0; len];
            fill(&mut numbers, start, random);
            code.encode(&numbers)
        };
        let codes = Fill::Host(Box::new(move |buffer: &mut Buffer, _| {
            buffer.bytes_mut().copy_from_slice(&encoded().0);
        }));
        let scales = Fill::Host(Box::new(move |buffer: &mut Buffer, _| {
            buffer.get_mut::<f32>().copy_from_slice(&encoded().1);
        }));
        let buffer = self.hold(name.to_owned(), DType::I8, len, codes);
        let scales = self.hold(format!("{name}.scales"), DType::F32, shape[0], scales);
        self.push(Parameter {
            name: name.to_owned(),
            shape,
            units: Units::Columns(shape[0]),
            buffer,
            scales: Some(scales),
            gradient: None,
        })
    }

    /// What the next parameter begins with.
    fn random(&self) -> Philox {
        Philox::new(self.seed, PARAMETER_STREAMS + self.parameters.len() as u64)
    }

    fn hold(&mut self, name: String, dtype: DType, len: usize, fill: Fill) -> usize {
        self.program.add(name, dtype, len, Role::Scratch, fill)
    }

    fn push(&mut self, parameter: Parameter) -> Tensor {
        self.parameters.push(parameter);
        Tensor(self.parameters.len() - 1)
    }

    /// What is known of a parameter.
    pub fn parameter_of(&self, tensor: Tensor) -> &Parameter {
        &self.parameters[tensor.0]
    }

    /// The buffer of a parameter.
    pub fn buffer(&self, tensor: Tensor) -> usize {
        self.parameters[tensor.0].buffer
    }

    /// Where [weights](Self::weight) are.
    pub fn weights(&self, tensor: Tensor) -> Weights {
        let parameter = self.parameter_of(tensor);
        match parameter.scales {
            Some(scales) => Weights::Codes([parameter.buffer, scales]),
            None => Weights::Numbers(parameter.buffer),
        }
    }

    /// The buffer that the gradient of a parameter goes to, if it is trained.
    pub fn gradient(&self, tensor: Tensor) -> Option<usize> {
        self.parameters[tensor.0].gradient
    }

    /// How many numbers all parameters have.
    pub fn size(&self) -> usize {
        self.parameters.iter().map(Parameter::len).sum()
    }

    fn add(&mut self, name: String, dtype: DType, len: usize) -> usize {
        self.program
            .add(name, dtype, len, Role::Scratch, Fill::Poison)
    }

    /// An activation that the backward pass will read; that of the same name, where it was added before.
    pub fn kept(&mut self, name: &str, len: usize) -> usize {
        self.kept_as(name, DType::F32, len)
    }

    /// As [`Self::kept`], of any type.
    pub fn kept_as(&mut self, name: &str, dtype: DType, len: usize) -> usize {
        let name = self.shared_name(name, len);
        if let Some(buffer) = self.kept.get(&name) {
            return *buffer;
        }
        let buffer = self.add(name.clone(), dtype, len);
        self.kept.insert(name, buffer);
        buffer
    }

    /// Appends the scaling of the gradient of logits, where losses are scaled; what comes of that is linear in it.
    pub fn scale_loss(&mut self, gradient: usize) {
        if let Some(scale) = self.loss_scale {
            let elements = self.program.buffers[gradient].len;
            Scale { elements }.forward(&mut self.program, gradient, scale);
        }
    }

    /// Begins a segment: where activations are [recomputed](Self::recomputes), those whose names begin with that of the segment lie where
    /// those of all other segments lie, but for its output, `out`, and the `slots` of mixtures, which somebody counts. Gives whether
    /// the forward pass of the segment has to come once more before its backward pass, to the same bits (T. Chen et al.,
    /// "Training deep nets with sublinear memory cost", 2016, section 4).
    pub fn enter(&mut self, segment: &str) -> bool {
        self.segment = self.recomputes.then(|| segment.to_owned());
        self.recomputes
    }

    /// Ends a segment.
    pub fn leave(&mut self) {
        self.segment = None;
    }

    /// The name of an activation, that of what it shares its memory with.
    fn shared_name(&self, name: &str, len: usize) -> String {
        let segment = self.segment.as_deref();
        let rest = segment.and_then(|segment| name.strip_prefix(segment)?.strip_prefix('.'));
        match rest {
            Some(rest) if rest != "out" && !rest.ends_with("slots") => {
                format!("recomputed.{rest}.{len}")
            }
            _ => name.to_owned(),
        }
    }

    /// Memory for a while, until it is [given back](Self::give).
    pub fn take(&mut self, len: usize) -> usize {
        self.take_as(DType::F32, len)
    }

    /// As [`Self::take`], of any type.
    pub fn take_as(&mut self, dtype: DType, len: usize) -> usize {
        if let Some(buffer) = self.free.get_mut(&(dtype, len)).and_then(Vec::pop) {
            return buffer;
        }
        let name = format!("scratch-{}", self.program.buffers.len());
        self.add(name, dtype, len)
    }

    /// Gives memory back, for what comes later in the program.
    pub fn give(&mut self, buffer: usize) {
        let spec = &self.program.buffers[buffer];
        let place = (spec.dtype, spec.len);
        self.free.entry(place).or_default().push(buffer);
    }

    /// Whether a buffer holds something of its own after a step: memory for a while, that of a brick or ours, is called by its number.
    pub fn is_named(buffer: usize, name: &str) -> bool {
        let number = name.rsplit_once('-').map(|(_, number)| number);
        number != Some(buffer.to_string().as_str())
    }
}

fn fill(out: &mut [f32], start: Start, random: Philox) {
    match start {
        Start::Constant(value) => out.fill(value),
        Start::OnesThenZeros(ones) => {
            out[..ones].fill(1.0);
            out[ones..].fill(0.0);
        }
        Start::Uniform(deviation) => {
            random.fill_signed_f32(0, out);
            // A number uniform on [-1, 1) deviates by 1 / sqrt 3.
            let scale = deviation * 3_f32.sqrt();
            for x in out {
                *x *= scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Model, Start, fill};
    use assay_kernels::element::DType;
    use assay_kernels::ml::workspace;
    use assay_protocol::Philox;

    #[test]
    fn memory_is_used_again_and_kept_activations_are_not() {
        let mut model = Model::new(0, true);
        let first = model.take(8);
        let second = model.take(8);
        assert_ne!(first, second);
        model.give(first);
        assert_ne!(model.take(9), first);
        assert_eq!(model.take(8), first);
        let kept = model.kept("x", 8);
        assert_eq!(model.kept("x", 8), kept);
        assert_ne!(model.kept("y", 8), kept);
    }

    #[test]
    fn memory_for_a_while_has_no_name_of_its_own() {
        let mut model = Model::new(0, true);
        let taken = model.take(8);
        let of_brick = workspace(&mut model.program, "partial-sums", DType::F32, 8);
        let kept = model.kept("gradient-norm", 8);
        let is_named = |buffer: usize| Model::is_named(buffer, &model.program.buffers[buffer].name);
        assert_eq!([taken, of_brick, kept].map(is_named), [false, false, true]);
    }

    #[test]
    fn segments_share_what_is_computed_again() {
        let mut model = Model::new(0, true);
        model.recomputes = true;
        let mut of_segment = |name: &str| {
            assert!(model.enter(name));
            let buffers =
                ["x", "out", "moe.slots"].map(|part| model.kept(&format!("{name}.{part}"), 8));
            model.leave();
            buffers
        };
        // One name may begin with another.
        let [one, ten] = ["layers.1", "layers.10"].map(&mut of_segment);
        assert_eq!(one[0], ten[0]);
        assert!(one[1] != ten[1] && one[2] != ten[2]);
        assert_ne!(model.kept("layers.1.x", 8), one[0]);
    }

    #[test]
    fn parameters_deviate_as_they_should() {
        let mut numbers = vec![0.0; 10_000];
        fill(&mut numbers, Start::Uniform(0.02), Philox::new(1, 2));
        let mean = numbers.iter().sum::<f32>() / 1e4;
        let squares = numbers.iter().map(|x| x * x).sum::<f32>() / 1e4;
        assert!(mean.abs() < 1e-3 && (squares.sqrt() - 0.02).abs() < 5e-4);
    }
}
