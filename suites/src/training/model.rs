//! A model that is being put together: one program, its parameters with their gradients, and the memory in between.
//!
//! A layer is a value that knows its parameters. Its `forward` appends bricks of `assay-kernels` to the program; so does its
//! `backward`, which is called in the reverse order, with the buffers that the forward pass filled. There is no tape: what is to be
//! known is in these buffers, and the order is that of the calls. The buffers live as long as the program, so that it is run once
//! for each step.
//!
//! Numbers are `f32`. Bits depend on nothing but the seed, the shape and the order of calls, on the host for any number of
//! threads.

use std::collections::BTreeMap;

use assay_kernels::element::DType;
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
    /// The buffer that holds it.
    pub buffer: usize,
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

    /// Whether it is a matrix, which decays; biases, gains and shifts do not.
    pub fn is_matrix(&self) -> bool {
        self.shape[0] > 1
    }
}

/// A model that is being put together.
pub struct Model {
    /// What it has come to.
    pub program: Program,
    /// All parameters, in the order in which they were added.
    pub parameters: Vec<Parameter>,
    /// Whether parameters that are added are trained.
    pub trains: bool,
    seed: u64,
    kept: BTreeMap<String, usize>,
    free: BTreeMap<usize, Vec<usize>>,
}

impl Model {
    /// A model without layers, whose parameters follow from the seed, and have gradients where it trains.
    pub fn new(seed: u64, trains: bool) -> Self {
        Self {
            program: Program::new(Work::default()),
            parameters: vec![],
            trains,
            seed,
            kept: BTreeMap::new(),
            free: BTreeMap::new(),
        }
    }

    /// Adds a parameter.
    pub fn parameter(&mut self, name: &str, shape: [usize; 2], start: Start) -> Tensor {
        let random = Philox::new(self.seed, PARAMETER_STREAMS + self.parameters.len() as u64);
        let fill = Fill::Host(Box::new(move |buffer, _| {
            fill(buffer.get_mut(), start, random);
        }));
        let len = shape[0] * shape[1];
        let buffer = self
            .program
            .add(name.to_owned(), DType::F32, len, Role::Scratch, fill);
        let gradient = self
            .trains
            .then(|| self.add(format!("{name}.gradient"), DType::F32, len));
        self.parameters.push(Parameter {
            name: name.to_owned(),
            shape,
            buffer,
            gradient,
        });
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
        if let Some(buffer) = self.kept.get(name) {
            return *buffer;
        }
        let buffer = self.add(name.to_owned(), dtype, len);
        self.kept.insert(name.to_owned(), buffer);
        buffer
    }

    /// Memory for a while, until it is [given back](Self::give).
    pub fn take(&mut self, len: usize) -> usize {
        if let Some(buffer) = self.free.get_mut(&len).and_then(Vec::pop) {
            return buffer;
        }
        let name = format!("scratch-{}", self.program.buffers.len());
        self.add(name, DType::F32, len)
    }

    /// Gives memory back, for what comes later in the program.
    pub fn give(&mut self, buffer: usize) {
        let len = self.program.buffers[buffer].len;
        self.free.entry(len).or_default().push(buffer);
    }

    /// Whether a buffer holds something of its own after a step: no scratch memory.
    pub fn is_named(name: &str) -> bool {
        !name.starts_with("scratch-")
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
    fn parameters_deviate_as_they_should() {
        let mut numbers = vec![0.0; 10_000];
        fill(&mut numbers, Start::Uniform(0.02), Philox::new(1, 2));
        let mean = numbers.iter().sum::<f32>() / 1e4;
        let squares = numbers.iter().map(|x| x * x).sum::<f32>() / 1e4;
        assert!(mean.abs() < 1e-3 && (squares.sqrt() - 0.02).abs() < 5e-4);
    }
}
