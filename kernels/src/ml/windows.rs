//! Windows of a corpus: what a language model is given in a step, and what it is to predict.
//!
//! Window `b` of turn `t` begins at token `word(t batch + b) * (len - length) >> 32` of the corpus, with the words of a Philox stream;
//! its labels are the tokens that follow each of its own. The turn is counted in a buffer, so that a program that is run again
//! takes the next windows, the same on every device. Work: `12 batch length` bytes, for tokens are read once and written twice.

use assay_protocol::{Failure, Philox, Work};

use super::expect;
use crate::check;
use crate::element::DType;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("ml/windows.cu");
const THREADS: u32 = 256;

/// The brick: the windows of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Tokens of the corpus: more than `length`, and fewer than 2^32.
    pub corpus: usize,
    /// Windows of a turn.
    pub batch: usize,
    /// Tokens of a window.
    pub length: usize,
    /// Seed of the places.
    pub seed: u64,
    /// Stream of the places.
    pub stream: u64,
}

impl Windows {
    /// Adds the step to a program: `ids` and `labels`, `batch` by `length` each, are written, and `turn`, one `u64`, is counted on.
    /// `corpus` is of `u32`, too.
    ///
    /// # Panics
    /// If no window has a token behind it.
    pub fn forward(
        &self,
        program: &mut Program,
        corpus: usize,
        turn: usize,
        [ids, labels]: [usize; 2],
    ) {
        let len = self.batch * self.length;
        assert!(self.corpus > self.length, "a corpus longer than a window");
        expect(
            program,
            "windows",
            &[
                ("corpus", corpus, DType::U32, self.corpus),
                ("turn", turn, DType::U64, 1),
                ("ids", ids, DType::U32, len),
                ("labels", labels, DType::U32, len),
            ],
        );
        let windows = *self;
        program.step_on_cpu(move |_, buffers| {
            let [corpus, turn, ids, labels] = buffers.many([corpus, turn, ids, labels]);
            let turn = &mut turn.get_mut::<u64>()[0];
            windows.copy(corpus.get(), *turn, ids.get_mut(), labels.get_mut());
            *turn = turn.wrapping_add(1);
        });
        let grid = blocks(len, THREADS as usize, u32::MAX >> 1);
        program.launch(
            Launch::new(&SOURCE, "windows", grid, THREADS)
                .args([ids, labels, corpus, turn].map(Arg::Buffer))
                .args([self.batch, self.length].map(Arg::size))
                .args([
                    Arg::U32(self.places()),
                    Arg::U64(self.seed),
                    Arg::U64(self.stream),
                ]),
        );
        program.launch(Launch::new(&SOURCE, "next_turn", 1, 1).args([Arg::Buffer(turn)]));
    }

    /// How many places a window may begin at.
    fn places(&self) -> u32 {
        (self.corpus - self.length) as u32
    }

    /// Where window `b` of a turn begins.
    fn begin(&self, turn: u64, b: usize) -> usize {
        let index = turn.wrapping_mul(self.batch as u64).wrapping_add(b as u64);
        let word = Philox::new(self.seed, self.stream).word(index);
        ((u64::from(word) * u64::from(self.places())) >> 32) as usize
    }

    fn copy(&self, corpus: &[u32], turn: u64, ids: &mut [u32], labels: &mut [u32]) {
        let length = self.length.max(1);
        let windows = ids
            .chunks_exact_mut(length)
            .zip(labels.chunks_exact_mut(length));
        for (b, (ids, labels)) in windows.enumerate() {
            let begin = self.begin(turn, b);
            ids.copy_from_slice(&corpus[begin..begin + length]);
            labels.copy_from_slice(&corpus[begin + 1..][..length]);
        }
    }
}

/// The op: [`Windows::forward`].
#[derive(Clone, Copy, Debug)]
pub struct WindowsOp;

impl Op for WindowsOp {
    fn info(&self) -> OpInfo {
        let names = ["windows", "batch", "length"];
        OpInfo {
            name: "windows",
            summary: "windows of a corpus at random places, and the tokens that follow",
            parameters: names.map(parameters::integer).into(),
            devices: EVERYWHERE,
        }
    }

    /// The corpus is as long as so many windows, and one token more.
    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (count, length) = (arguments.size("windows")?, arguments.size("length")?);
        let corpus = parameters::size_product("`windows` and `length`", &[count, length])? + 1;
        if corpus <= length || u32::try_from(corpus).is_err() {
            let expected = "at least 1, and fewer than 2^32 tokens together";
            let found = arguments.0.params.get("windows");
            return Err(parameters::wrong("windows", expected, found));
        }
        let windows = Windows {
            corpus,
            batch: arguments.size("batch")?,
            length,
            seed: arguments.0.seed.0,
            stream: 1,
        };
        let len =
            parameters::size_product("`batch` and `length`", &[windows.batch, windows.length])?;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`batch` and `length`",
                &[12, len as u64],
            )?),
            flops: Some(0),
            items: Some(len as u64),
            formula: "bytes = 12 batch length, flops = 0, items = batch length".into(),
        });
        let corpus = program.input(
            "corpus",
            DType::U32,
            windows.corpus,
            Fill::Words { stream: 0 },
        );
        let turn = program.in_out("turn", DType::U64, 1, Fill::Words { stream: 2 });
        let [ids, labels] = ["ids", "labels"].map(|name| program.output(name, DType::U32, len));
        windows.forward(&mut program, corpus, turn, [ids, labels]);
        program.check(move |outcome| check(outcome, windows, [corpus, turn, ids, labels]));
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match parameter {
            "windows" | "batch" => size.min(7),
            _ => size,
        }
    }
}

fn check(outcome: &Outcome, windows: Windows, [corpus, turn, ids, labels]: [usize; 4]) -> Checked {
    let before = outcome.initial::<u64>(turn)[0];
    let last = before.wrapping_add(outcome.iterations.wrapping_sub(1));
    let (corpus, found) = (outcome.get::<u32>(corpus), outcome.get::<u64>(turn)[0]);
    let differs = |out: &[u32], i: usize, behind: usize| {
        let begin = windows.begin(last, i / windows.length);
        out[i] != corpus[begin + i % windows.length + behind]
    };
    let (ids, labels) = (outcome.get::<u32>(ids), outcome.get::<u32>(labels));
    let wrong = check::count(ids.len(), |i| differs(ids, i, 0))
        + check::count(labels.len(), |i| differs(labels, i, 1))
        + usize::from(found != last.wrapping_add(1));
    Checked::exact(wrong, "tokens that are not those of the turn's windows")
}
