//! Means over squares of pixels, side by side, and their gradient: `y[n, p, q, c] = mean of x[n, p window + r, q window + s, c]`.
//!
//! In `f32`, images as `[batch, side, side, channels]`; the pixels of a square are added up line by line, the same bits on every device.
//! Work, with `n` numbers of all pixels and `m` of all means: `4 (n + m)` bytes of either pass, and `n` flops.

use assay_protocol::{Failure, Work};

use super::expect;
use crate::check;
use crate::device::{Team, chunk};
use crate::element::DType;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("ml/pool.cu");
const THREADS: u32 = 256;

/// Parts of a buffer of rows, one for each thread, with the number of each part's first row.
pub(super) fn parts<'a, T>(
    team: &Team,
    out: &'a mut [T],
    cols: usize,
) -> Vec<(usize, &'a mut [T])> {
    let rows = out.len() / cols.max(1);
    let first = |index| chunk(rows, 1, team.threads(), index).start;
    let parts = team.split_mut(out, cols.max(1)).into_iter();
    parts
        .enumerate()
        .map(|(index, part)| (first(index), part))
        .collect()
}

/// The brick: means over squares.
#[derive(Clone, Copy, Debug)]
pub struct MeanPool {
    /// Pictures.
    pub batch: usize,
    /// Side of a picture, a multiple of `window`.
    pub side: usize,
    /// Side of a square, at least 1.
    pub window: usize,
    /// Numbers of a pixel.
    pub channels: usize,
}

impl MeanPool {
    /// Side of a picture of means.
    pub fn out_side(&self) -> usize {
        self.side / self.window
    }

    /// Numbers of all means.
    pub fn len(&self) -> usize {
        self.batch * self.out_side().pow(2) * self.channels
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers of all pixels.
    pub fn inputs(&self) -> usize {
        self.batch * self.side.pow(2) * self.channels
    }

    /// Where the pixels of a square begin in `x`, line by line.
    fn pixels(self, square: usize) -> impl Iterator<Item = usize> {
        let out = self.out_side();
        let (image, p, q) = (square / out / out, square / out % out, square % out);
        let places = (0..self.window).flat_map(move |r| (0..self.window).map(move |s| (r, s)));
        places.map(move |(r, s)| {
            let line = image * self.side + p * self.window + r;
            (line * self.side + q * self.window + s) * self.channels
        })
    }

    fn scale(&self) -> f32 {
        1.0 / (self.window * self.window) as f32
    }

    fn expect(&self, program: &Program, [x, y]: [usize; 2]) {
        let buffers = [
            ("x", x, DType::F32, self.inputs()),
            ("y", y, DType::F32, self.len()),
        ];
        expect(program, "pooling", &buffers);
    }

    /// Adds `y` to a program.
    pub fn forward(self, program: &mut Program, x: usize, y: usize) {
        self.expect(program, [x, y]);
        let channels = self.channels.max(1);
        program.step_on_cpu(move |team, buffers| {
            let [x, y] = buffers.many([x, y]);
            let x = x.get::<f32>();
            team.each(parts(team, y.get_mut::<f32>(), channels), |(first, out)| {
                for (square, out) in (*first..).zip(out.chunks_exact_mut(channels)) {
                    self.mean(x, square, out);
                }
            });
        });
        program.launch(self.launch("mean_pool", self.len(), [y, x]));
    }

    /// The mean of a square, of each channel.
    fn mean(self, x: &[f32], square: usize, out: &mut [f32]) {
        out.fill(0.0);
        for pixel in self.pixels(square) {
            let pixel = &x[pixel..pixel + out.len()];
            out.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += x);
        }
        for sum in out.iter_mut() {
            *sum *= self.scale();
        }
    }

    /// Adds `dx` to a program.
    pub fn backward(self, program: &mut Program, dy: usize, dx: usize) {
        self.expect(program, [dx, dy]);
        let image = (self.side * self.side * self.channels).max(1);
        let squares = self.out_side().pow(2);
        program.step_on_cpu(move |team, buffers| {
            let [dy, dx] = buffers.many([dy, dx]);
            let dy = dy.get::<f32>();
            team.each(parts(team, dx.get_mut::<f32>(), image), |(first, dx)| {
                for square in 0..dx.len() / image * squares {
                    let from = (*first * squares + square) * self.channels;
                    let dy = &dy[from..from + self.channels];
                    for pixel in self.pixels(square) {
                        let pixel = &mut dx[pixel..pixel + self.channels];
                        let pairs = pixel.iter_mut().zip(dy);
                        pairs.for_each(|(dx, dy)| *dx = dy * self.scale());
                    }
                }
            });
        });
        program.launch(self.launch("mean_pool_backward", self.inputs(), [dx, dy]));
    }

    fn launch(self, kernel: &str, len: usize, buffers: [usize; 2]) -> Launch {
        let grid = blocks(len, THREADS as usize, u32::MAX >> 1);
        let sizes = [len, self.side, self.window, self.channels].map(Arg::size);
        Launch::new(&SOURCE, kernel, grid, THREADS)
            .args(buffers.map(Arg::Buffer))
            .args(sizes)
            .args([Arg::F32(self.scale())])
    }
}

/// The op: [`MeanPool::forward`] or [`MeanPool::backward`].
#[derive(Clone, Copy, Debug)]
pub struct MeanPoolOp;

const PASSES: [(&str, bool); 2] = [("forward", false), ("backward", true)];

impl Op for MeanPoolOp {
    fn info(&self) -> OpInfo {
        let mut parameters: Vec<_> = ["batch", "squares", "window", "channels"]
            .map(parameters::integer)
            .into();
        parameters.push(parameters::choice("pass", &PASSES.map(|(name, _)| name)));
        OpInfo {
            name: "mean-pool",
            summary: "means over squares of pixels, and their gradient, f32",
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (squares, window) = (arguments.size("squares")?, arguments.count("window")?);
        let pool = MeanPool {
            batch: arguments.size("batch")?,
            side: parameters::size_product("`squares` and `window`", &[squares, window])?,
            window,
            channels: arguments.size("channels")?,
        };
        let sides = [pool.batch, pool.side, pool.side, pool.channels];
        let n = parameters::size_product("`batch`, `squares`, `window` and `channels`", &sides)?;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product("`batch`, `squares`, `window` and `channels`", &[4, (n + pool.len()) as u64])?),
            flops: Some(n as u64),
            items: Some(n as u64),
            formula: "bytes = 4 (n + n / window^2), flops = n, items = n; n = batch (squares window)^2 channels"
                .into(),
        });
        let is_backward = arguments.choice("pass", &PASSES)?;
        let (given, len) = if is_backward {
            (pool.len(), n)
        } else {
            (n, pool.len())
        };
        let given = program.input("given", DType::F32, given, Fill::signed(0));
        let out = program.output("out", DType::F32, len);
        if is_backward {
            pool.backward(&mut program, given, out);
        } else {
            pool.forward(&mut program, given, out);
        }
        program.check(move |outcome| check(outcome, pool, is_backward, [given, out]));
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match parameter {
            "batch" | "squares" => size.min(3),
            "window" => size.min(5),
            _ => size,
        }
    }
}

fn check(
    outcome: &Outcome,
    pool: MeanPool,
    is_backward: bool,
    [given, out]: [usize; 2],
) -> Checked {
    let (given, found) = (outcome.get::<f32>(given), outcome.get::<f32>(out));
    let channels = pool.channels.max(1);
    let differs = |i: usize| {
        let (pixel, channel) = (i / channels, i % channels);
        let expected = if is_backward {
            let [q, p] =
                [pixel % pool.side, pixel / pool.side % pool.side].map(|at| at / pool.window);
            let image = pixel / pool.side / pool.side;
            let square = (image * pool.out_side() + p) * pool.out_side() + q;
            given[square * channels + channel] * pool.scale()
        } else {
            let pixels = pool.pixels(pixel).map(|pixel| given[pixel + channel]);
            pixels.fold(0.0, |sum, x| sum + x) * pool.scale()
        };
        found[i].to_bits() != expected.to_bits()
    };
    Checked::exact(
        check::count(found.len(), differs),
        "elements that are not the mean, added up line by line",
    )
}
