//! Power spectra of frames: `out_k = |sum over j of w_j in_j exp(-2 pi i j k / n)|^2`, `frames` of them.
//!
//! Frames are `real` or `complex` numbers; of a real frame's spectrum only the first `n / 2 + 1` values are kept, since the
//! others mirror them. The window `w` is 1 (`none`) or periodic von Hann (`hann`): `w_j = (1 - cos(2 pi j / n)) / 2`. On
//! CUDA devices it is a pipeline: a kernel for the window, cuFFT, a kernel for the power. On the host `rustfft`
//! transforms two real frames at once, as real and imaginary part of one (W. H. Press et al., "Numerical Recipes",
//! 3rd edition, section 12.3.1), each piece while it is in the cache.
//!
//! Work of a frame of `n` points of type `T` with `b` values kept: `5 n log2 n` flops of the transform, half of that where the
//! frame is real ([`super::spectral::flops`]), one per number for a window, 3 per value for the power. Bytes: each
//! number of a frame read once, each value written once, the window read once.

use std::f64::consts::TAU;
use std::sync::Arc;

use assay_protocol::{DeviceKind, Failure, Work};
use rustfft::Fft;
use rustfft::num_complex::Complex;

use super::fft::unit;
use super::spectral::{self, Sample, Signal, Signals, Transforms, complex_mut};
use super::{EVERYWHERE, Op, OpInfo};
use crate::bound::tolerance;
use crate::buffer::Buffers;
use crate::device::Team;
use crate::element::{DType, Real, with_real};
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Step, blocks, cuda_source,
};
use crate::simd::wide;

const DTYPES: &[DType] = &[DType::F32, DType::F64];
static SOURCE: Source = cuda_source!("spectral/spectrum.cu");
const THREADS: u32 = 256;

/// Power spectra.
pub struct PowerSpectrum;

impl Op for PowerSpectrum {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "power-spectrum",
            summary: "power spectra of batches of frames: window, transform, squared magnitude",
            parameters: vec![
                parameters::integer("points"),
                parameters::integer("frames"),
                parameters::choice("signal", &["real", "complex"]),
                parameters::choice("window", &["hann", "none"]),
                parameters::dtype(DTYPES),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        with_real!(
            arguments.dtype(DTYPES)?,
            [F32 = f32, F64 = f64],
            program(arguments)
        )
    }
}

/// The frames of a case, and the numbers of its buffers.
#[derive(Clone, Copy, Debug)]
struct Frames {
    points: usize,
    count: usize,
    signal: Signal,
    input: usize,
    window: Option<usize>,
    out: usize,
}

impl Frames {
    /// Numbers of a point.
    fn components(self) -> usize {
        match self.signal {
            Signal::Real => 1,
            Signal::Complex => 2,
        }
    }

    /// Numbers of a frame.
    fn width(self) -> usize {
        self.points * self.components()
    }

    /// Values of a spectrum that are kept.
    fn bins(self) -> usize {
        match self.signal {
            Signal::Real if self.points > 0 => self.points / 2 + 1,
            _ => self.points,
        }
    }

    fn work<T: Real>(self) -> Result<Work, Failure> {
        const NAMES: &str = "`points` and `frames`";
        let (size, frames) = (size_of::<T>() as u64, self.count as u64);
        let windowed = if self.window.is_some() {
            self.points as u64
        } else {
            0
        };
        let numbers =
            parameters::product(NAMES, &[(self.width() + self.bins()) as u64, frames, size])?;
        let share = self.components() as f64 / 2.0;
        let around = 3 * self.bins() as u64 + windowed * self.components() as u64;
        let transform = (share * spectral::flops(self.points) * self.count as f64).round();
        let formula = match self.signal {
            Signal::Real => "b = n / 2 + 1, bytes = (n + b) frames sizeof(T)",
            Signal::Complex => "b = n, bytes = (2 n + b) frames sizeof(T)",
        };
        let (each, weights) = match (self.signal, self.window) {
            (Signal::Real, Some(_)) => ("2.5 n log2(n) + n + 3 b", " + n sizeof(T)"),
            (Signal::Real, None) => ("2.5 n log2(n) + 3 b", ""),
            (Signal::Complex, Some(_)) => ("5 n log2(n) + 2 n + 3 b", " + n sizeof(T)"),
            (Signal::Complex, None) => ("5 n log2(n) + 3 b", ""),
        };
        Ok(Work {
            bytes: Some(numbers + windowed * size),
            flops: Some(transform as u64 + around * frames),
            items: Some(self.points as u64 * frames),
            formula: format!(
                "{formula}{weights}, flops = ({each}) frames, items = n frames; n = points"
            ),
        })
    }

    /// One iteration on a CUDA device.
    fn steps<T: Real>(self, windowed: Option<usize>, spectrum: usize) -> Vec<Step> {
        let apply = self.window.zip(windowed);
        let apply = apply.map(|(window, windowed)| Step::Launch(self.apply::<T>(window, windowed)));
        let transforms = Transforms::new(
            self.signal,
            T::DTYPE,
            [self.points, self.count],
            [windowed.unwrap_or(self.input), spectrum],
        );
        let transforms = Step::Library(Box::new(transforms));
        let power = Step::Launch(self.power::<T>(spectrum));
        apply.into_iter().chain([transforms, power]).collect()
    }

    fn apply<T: Real>(self, window: usize, windowed: usize) -> Launch {
        const MOST: u32 = 65_535;
        let kernel = format!("apply_window<{}, {}>", T::DTYPE.cuda(), self.components());
        let columns = blocks(self.width(), THREADS as usize, u32::MAX);
        let mut launch = Launch::new(&SOURCE, kernel, columns, THREADS);
        launch.grid[1] = blocks(self.count, 1, MOST);
        launch
            .args([windowed, self.input, window].map(Arg::Buffer))
            .args([self.points, self.count].map(Arg::size))
    }

    fn power<T: Real>(self, spectrum: usize) -> Launch {
        const AT_ONCE: usize = 4;
        let values = self.count * self.bins();
        let count = blocks(values, THREADS as usize * AT_ONCE, u32::MAX);
        Launch::new(
            &SOURCE,
            format!("power<{}>", T::DTYPE.cuda()),
            count,
            THREADS,
        )
        .args([self.out, spectrum].map(Arg::Buffer))
        .args([Arg::size(values)])
    }
}

fn program<T: Sample>(arguments: &Arguments) -> Result<Program, Failure> {
    let (points, count) = (arguments.size("points")?, arguments.size("frames")?);
    let signal = arguments.choice(
        "signal",
        &[("real", Signal::Real), ("complex", Signal::Complex)],
    )?;
    let is_windowed = arguments.choice("window", &[("hann", true), ("none", false)])?;
    let mut frames = Frames {
        points,
        count,
        signal,
        input: 0,
        window: is_windowed.then_some(1),
        out: 0,
    };
    let numbers = parameters::size_product("`points` and `frames`", &[count, frames.width()])?;
    let mut program = Program::new(frames.work::<T>()?);
    program.unit = Some(unit(T::DTYPE));
    frames.input = program.input("in", T::DTYPE, numbers, Fill::signed(0));
    if is_windowed {
        let hann = Fill::Host(Box::new(|window, _| hann(window.get_mut::<T>())));
        program.input("window", T::DTYPE, points, hann);
    }
    // What lies between the steps on a CUDA device stays in the cache on the host.
    let is_cuda = arguments.0.device.kind == DeviceKind::Cuda;
    let windowed = (is_cuda && is_windowed).then(|| program.scratch("windowed", T::DTYPE, numbers));
    let values = count * frames.bins();
    let spectrum = is_cuda.then(|| program.scratch("spectrum", T::DTYPE, 2 * values));
    frames.out = program.output("out", T::DTYPE, values);
    if let Some(spectrum) = spectrum {
        program.cuda = frames.steps::<T>(windowed, spectrum);
    }
    let mut plan = None;
    program.on_cpu(move |team, buffers, iterations| {
        let plan = plan.get_or_insert_with(|| spectral::plan::<T>(points));
        run(frames, plan, team, buffers, iterations)
    });
    program.check(move |outcome| check::<T>(frames, outcome));
    Ok(program)
}

/// The periodic von Hann window.
fn hann<T: Real>(window: &mut [T]) {
    let points = window.len() as f64;
    for (j, weight) in window.iter_mut().enumerate() {
        *weight = T::from_f64(f64::midpoint(1.0, -(TAU * j as f64 / points).cos()));
    }
}

/// What a member transforms, and where it keeps what it is working on: a frame, or two real ones, and their spectrum.
struct Part<'a, T> {
    frames: &'a [T],
    out: &'a mut [T],
    values: Vec<T>,
    spectrum: Vec<T>,
    scratch: Vec<Complex<T>>,
}

fn run<T: Sample>(
    frames: Frames,
    plan: &Arc<dyn Fft<T>>,
    team: &Team,
    buffers: &mut Buffers,
    iterations: u64,
) -> u64 {
    let (inputs, out) = buffers.split_last_mut(frames.out);
    let window = frames.window.map(|window| inputs[window].get::<T>());
    let (width, bins) = (frames.width(), frames.bins());
    // Frames that are transformed at once, so that it does not depend on the team which are.
    let at_once = 2 / frames.components();
    let granules = [width, bins].map(|numbers| (at_once * numbers).max(1));
    let parts = team
        .split(inputs[frames.input].get::<T>(), granules[0])
        .into_iter();
    let parts = parts.zip(team.split_mut(out.get_mut::<T>(), granules[1]));
    let parts = parts.map(|(frames_of_part, out)| Part {
        frames: frames_of_part,
        out,
        values: vec![T::default(); 2 * frames.points],
        spectrum: vec![T::default(); 2 * frames.points],
        scratch: vec![Complex::default(); plan.get_outofplace_scratch_len()],
    });
    team.time(iterations, parts.collect(), |_, part| {
        let pieces = part.out.chunks_mut(granules[1]);
        for (out, frames_of_piece) in pieces.zip(part.frames.chunks(granules[0])) {
            let (first, second) = frames_of_piece.split_at(width);
            match frames.signal {
                Signal::Complex => copy_complex(&mut part.values, first, window),
                Signal::Real => join(&mut part.values, first, second, window),
            }
            let (values, spectrum) = (
                complex_mut(&mut part.values),
                complex_mut(&mut part.spectrum),
            );
            plan.process_outofplace_with_scratch(values, spectrum, &mut part.scratch);
            let (first, second) = out.split_at_mut(bins);
            match frames.signal {
                Signal::Complex => power(first, &part.spectrum),
                Signal::Real => power_of_both(first, second, &part.spectrum),
            }
        }
    })
}

wide! {
    /// A complex frame, times the window.
    fn copy_complex<T: Real>(out: &mut [T], frame: &[T], window: Option<&[T]>) {
        let Some(window) = window else {
            return out.copy_from_slice(frame);
        };
        for ((out, z), weight) in out.chunks_exact_mut(2).zip(frame.chunks_exact(2)).zip(window) {
            out[0] = z[0] * *weight;
            out[1] = z[1] * *weight;
        }
    }

    /// Two real frames, the second of which may be missing, as real and imaginary parts, times the window.
    fn join<T: Real>(out: &mut [T], first: &[T], second: &[T], window: Option<&[T]>) {
        for (out, x) in out.chunks_exact_mut(2).zip(first) {
            out[0] = *x;
            out[1] = T::default();
        }
        for (out, x) in out.chunks_exact_mut(2).zip(second) {
            out[1] = *x;
        }
        for (out, weight) in out.chunks_exact_mut(2).zip(window.unwrap_or_default()) {
            out[0] = out[0] * *weight;
            out[1] = out[1] * *weight;
        }
    }

    fn power<T: Real>(out: &mut [T], spectrum: &[T]) {
        for (out, z) in out.iter_mut().zip(spectrum.chunks_exact(2)) {
            *out = z[0] * z[0] + z[1] * z[1];
        }
    }

    /// Of the frames that [`join`] joined. With `m = -k` modulo the number of points, the first has the spectrum
    /// `(z_k + conj z_m) / 2`, the second `(z_k - conj z_m) / 2i`.
    fn power_of_both<T: Real>(first: &mut [T], second: &mut [T], spectrum: &[T]) {
        let (quarter, minus) = (T::from_f64(0.25), T::from_f64(-1.0));
        let square = |re: T, im: T| quarter * (re * re + im * im);
        let bins = first.len();
        // From the first on, and from the last back; the first mirrors itself.
        let z = |k: usize| [spectrum[2 * k], spectrum[2 * k + 1]];
        let mirrored = |k: usize| z(if k == 0 { 0 } else { spectrum.len() / 2 - k });
        for (k, out) in first.iter_mut().enumerate() {
            let ([re, im], [other_re, other_im]) = (z(k), mirrored(k));
            *out = square(re + other_re, im + minus * other_im);
        }
        for (k, out) in second.iter_mut().enumerate().take(bins) {
            let ([re, im], [other_re, other_im]) = (z(k), mirrored(k));
            *out = square(re + minus * other_re, im + other_im);
        }
    }
}

fn check<T: Sample>(frames: Frames, outcome: &Outcome) -> Checked {
    let (input, out) = (outcome.get::<T>(frames.input), outcome.get::<T>(frames.out));
    let window = frames.window.map(|window| outcome.get::<T>(window));
    let (width, bins) = (frames.width(), frames.bins());
    let signal = |index: usize| -> Vec<Complex<f64>> {
        let frame = &input[index * width..][..width];
        let weight = |j: usize| window.map_or(1.0, |window| window[j].into());
        let point = |j: usize| match frames.signal {
            Signal::Real => Complex::new(frame[j].into(), 0.0),
            Signal::Complex => Complex::new(frame[2 * j].into(), frame[2 * j + 1].into()),
        };
        (0..frames.points).map(|j| point(j) * weight(j)).collect()
    };
    let lengths = spectral::lengths(frames.count, signal);
    // Of two real frames that are transformed at once, each has the errors of both.
    let length = |index: usize| match frames.signal {
        Signal::Real => lengths[index].hypot(lengths.get(index ^ 1).copied().unwrap_or_default()),
        Signal::Complex => lengths[index],
    };
    let error = |index: usize, bin: usize, exact: Complex<f64>| {
        let found: f64 = out[index * bins + bin].into();
        spectral::relative((found.sqrt() - exact.norm()).abs(), length(index), exact)
    };
    let signals = Signals {
        points: frames.points,
        count: frames.count,
        bins,
        signal: &signal,
        error: &error,
    };
    Checked {
        error: signals.worst(),
        // A product with the window, two squares and their sum, each rounded: their root is off by half as much.
        tolerance: spectral::tolerance::<T>(frames.points) + tolerance::<T>(3, 3),
        detail: "largest |sqrt(out) - |exact|| / (|in|_2 + |exact|); probabilistic bound 10 eta sqrt(stages) + gamma_3".into(),
    }
}
