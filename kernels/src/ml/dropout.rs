//! Dropout: elements multiplied by 0, or by what keeps their mean.
//!
//! `out[i] = x[i] f`, with `f = 1 / (1 - p)`, or 0 where word `i` of a Philox stream is below `p 2^32`. The mask is not stored: it is a
//! function of seed, stream, counter and `i`, and so the gradient is the same operation on `dy`. The same bits on every device. NaN and
//! infinities times 0 are no numbers, and show. Source: N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
//! Overfitting", JMLR 15, 2014, section 10, scaled in training. Work with `n` elements of `s` bytes: `2 n s` bytes, `n` flops.

mod vectors;

use assay_protocol::{Failure, Philox, Work};

use self::vectors::Vectors;
use super::host::{ABREAST, Kernel, compute};
use super::{DTYPES, expect, with_lane};
use crate::buffer::Buffers;
use crate::check;
use crate::device::Team;
use crate::element::DType;
use crate::lane::{Lane, WIDTH};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("ml/dropout.cu");
const THREADS: u32 = 256;

/// The brick: dropout of each element.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// How many there are.
    pub elements: usize,
    /// Probability that one is dropped, in units of 2^-32.
    pub threshold: u32,
    /// Seed of the masks.
    pub seed: u64,
    /// First of their streams; what `counter` holds is added.
    pub stream: u64,
    /// Type of all of it.
    pub dtype: DType,
}

impl Dropout {
    /// What elements that are kept are multiplied by.
    pub fn factor(&self) -> f32 {
        (1.0 / (1.0 - f64::from(self.threshold) / 2_f64.powi(32))) as f32
    }

    /// Adds `out = mask x`; `counter` is one `u64`, by which a model has another mask in every step.
    pub fn forward(&self, program: &mut Program, x: usize, counter: usize, out: usize) {
        let Self {
            elements, dtype, ..
        } = *self;
        expect(
            program,
            "dropout",
            &[
                ("x", x, dtype, elements),
                ("out", out, dtype, elements),
                ("counter", counter, DType::U64, 1),
            ],
        );
        with_lane!(dtype, on_cpu(program, *self, [x, counter, out]));
        let grid = blocks(elements, 4 * THREADS as usize, u32::MAX >> 1);
        let launch = Launch::new(&SOURCE, format!("dropout<{}>", dtype.cuda()), grid, THREADS);
        let launch = launch.args([out, x, counter].map(Arg::Buffer));
        program.launch(launch.args([
            Arg::size(elements),
            Arg::U64(self.seed),
            Arg::U64(self.stream),
            Arg::U32(self.threshold),
            Arg::F32(self.factor()),
        ]));
    }

    /// Adds `dx = mask dy`, with the mask of [`Self::forward`] at the same counter.
    pub fn backward(&self, program: &mut Program, dy: usize, counter: usize, dx: usize) {
        self.forward(program, dy, counter, dx);
    }
}

fn on_cpu<T: Lane>(program: &mut Program, brick: Dropout, [x, counter, out]: [usize; 3]) {
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let stream = brick.stream.wrapping_add(all.0[counter].get::<u64>()[0]);
        let random = Philox::new(brick.seed, stream);
        let mask = Mask {
            random,
            vectors: Vectors::new(random),
            threshold: brick.threshold,
            factor: brick.factor(),
        };
        compute::<T, 1, 1>(team, all, [x], [out], &mask);
    });
}

/// Multiplies by 0 where a word is below the threshold, else by the factor.
struct Mask {
    random: Philox,
    vectors: Option<Vectors>,
    threshold: u32,
    factor: f32,
}

impl Kernel<1, 1> for Mask {
    const KEEPS_SOME: bool = true;

    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn kept(&self, first: usize) -> Option<[u32; ABREAST]> {
        let vectors = self.vectors.as_ref()?;
        vectors.kept(first as u64 / 4, self.threshold)
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn lanes_kept(&self, first: usize, kept: u32, [x]: [[f32; WIDTH]; 1]) -> [[f32; WIDTH]; 1] {
        match &self.vectors {
            Some(vectors) => [vectors.masked(&x, kept, self.factor)],
            None => self.lanes(first, [x]),
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn lanes(&self, first: usize, [x]: [[f32; WIDTH]; 1]) -> [[f32; WIDTH]; 1] {
        let block = first as u64 / 4;
        if let Some(vectors) = &self.vectors
            && let Some([kept]) = vectors.kept(block, self.threshold)
        {
            return [vectors.masked(&x, kept, self.factor)];
        }
        let words = self.random.blocks::<{ WIDTH / 4 }>(block);
        let mut out = [0.0; WIDTH];
        for ((out, x), word) in out.iter_mut().zip(&x).zip(words.as_flattened()) {
            *out = *x
                * if *word < self.threshold {
                    0.0
                } else {
                    self.factor
                };
        }
        [out]
    }
}

/// The op: [`Dropout::forward`], of which the gradient is the same.
#[derive(Clone, Copy, Debug)]
pub struct DropoutOp;

impl Op for DropoutOp {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "dropout",
            summary: "elements dropped by a mask that is a function of their place",
            parameters: vec![
                parameters::integer("elements"),
                parameters::dtype(DTYPES),
                parameters::integer_or("percent", 10),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (elements, dtype) = (arguments.size("elements")?, arguments.dtype(DTYPES)?);
        let percent = arguments.at_most("percent", 99)?;
        let threshold = ((percent as u64) << 32) / 100;
        let brick = Dropout {
            elements,
            threshold: threshold as u32,
            seed: arguments.0.seed.0,
            stream: 1,
            dtype,
        };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`elements`",
                &[elements as u64, 2, dtype.bytes() as u64],
            )?),
            flops: Some(elements as u64),
            items: Some(elements as u64),
            formula: "bytes = 2 n sizeof(T), flops = n, items = n; n = elements".into(),
        });
        let x = program.input("x", dtype, elements, Fill::signed(0));
        let counter = program.input("counter", DType::U64, 1, Fill::Words { stream: 3 });
        let out = program.output("out", dtype, elements);
        brick.forward(&mut program, x, counter, out);
        program.check(move |outcome| with_lane!(dtype, check(outcome, brick, [x, counter, out])));
        Ok(program)
    }

    fn test_size(&self, _: &str, size: i64) -> i64 {
        super::test_size(size)
    }
}

fn check<T: Lane>(outcome: &Outcome, brick: Dropout, [x, counter, out]: [usize; 3]) -> Checked {
    let (x, out) = (outcome.get::<T>(x), outcome.get::<T>(out));
    let random = Philox::new(
        brick.seed,
        brick.stream.wrapping_add(outcome.get::<u64>(counter)[0]),
    );
    let factor = f64::from(brick.factor());
    let differs = |i: usize| {
        let factor = if random.word(i as u64) < brick.threshold {
            0.0
        } else {
            factor
        };
        // Exact in f64, then rounded to f32 and to the type.
        let exact = Into::<f64>::into(x[i]) * factor;
        out[i].to_word() != T::from_f64(f64::from(exact as f32)).to_word()
    };
    Checked::exact(
        check::count(out.len(), differs),
        "elements that differ from x times the mask's factor",
    )
}
