//! Fast Fourier transforms of complex numbers: `out_k = sum over j of in_j exp(-2 pi i j k / n)`, `batch` of them.
//!
//! On CUDA devices cuFFT does it, on the host `rustfft`, each transform by one thread. Work of a transform of `n` points of
//! type `T` (two numbers each): `5 n log2 n` flops, as FFTW's benchmarks count them for any algorithm
//! ([`super::spectral::flops`]), and `4 n sizeof T` bytes, each point read once and written once.

use assay_protocol::{ArithmeticUnit, Failure, Work};
use rustfft::num_complex::Complex;

use super::spectral::{self, Sample, Signal, Signals, Transforms, complex, complex_mut};
use super::{EVERYWHERE, Op, OpInfo};
use crate::element::{DType, with_real};
use crate::parameters::{self, Arguments};
use crate::program::{Checked, Fill, Outcome, Program, Step};

const DTYPES: &[DType] = &[DType::F32, DType::F64];

/// Fast Fourier transforms.
pub struct FastFourier;

impl Op for FastFourier {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "fft",
            summary: "batches of fast Fourier transforms of complex numbers (cuFFT, rustfft)",
            parameters: vec![
                parameters::integer("points"),
                parameters::integer("batch"),
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

/// The unit that computes in a type.
pub fn unit(dtype: DType) -> ArithmeticUnit {
    if dtype == DType::F64 {
        ArithmeticUnit::F64
    } else {
        ArithmeticUnit::F32
    }
}

fn program<T: Sample>(arguments: &Arguments) -> Result<Program, Failure> {
    let (points, batch) = (arguments.size("points")?, arguments.size("batch")?);
    let numbers = parameters::size_product("`points` and `batch`", &[points, batch, 2])?;
    let mut program = Program::new(Work {
        bytes: Some(parameters::product(
            "`points` and `batch`",
            &[numbers as u64, 2, size_of::<T>() as u64],
        )?),
        flops: Some((spectral::flops(points) * batch as f64).round() as u64),
        items: Some(numbers as u64 / 2),
        formula:
            "bytes = 4 n batch sizeof(T), flops = 5 n log2(n) batch, items = n batch; n = points"
                .into(),
    });
    program.unit = Some(unit(T::DTYPE));
    let input = program.input("in", T::DTYPE, numbers, Fill::signed(0));
    let out = program.output("out", T::DTYPE, numbers);
    let mut plan = None;
    program.on_cpu(move |team, buffers, iterations| {
        let plan = plan.get_or_insert_with(|| spectral::plan::<T>(points));
        let (inputs, out) = buffers.split_last_mut(out);
        let granule = (2 * points).max(1);
        let parts = team.split(inputs[input].get::<T>(), granule).into_iter();
        let parts = parts.zip(team.split_mut(out.get_mut::<T>(), granule));
        let scratch = vec![Complex::default(); plan.get_immutable_scratch_len()];
        let parts = parts.map(|(input, out)| (complex(input), complex_mut(out), scratch.clone()));
        team.time(iterations, parts.collect(), |_, (input, out, scratch)| {
            if !input.is_empty() {
                plan.process_immutable_with_scratch(input, out, scratch);
            }
        })
    });
    let transforms = Transforms::new(Signal::Complex, T::DTYPE, [points, batch], [input, out]);
    program.cuda.push(Step::Library(Box::new(transforms)));
    program.check(move |outcome| check::<T>(outcome, points, batch, [input, out]));
    Ok(program)
}

fn check<T: Sample>(
    outcome: &Outcome,
    points: usize,
    batch: usize,
    [input, out]: [usize; 2],
) -> Checked {
    let (input, out) = (
        complex(outcome.get::<T>(input)),
        complex(outcome.get::<T>(out)),
    );
    let wide = |z: &Complex<T>| Complex::<f64>::new(z.re.into(), z.im.into());
    let signal =
        |index: usize| -> Vec<_> { input[index * points..][..points].iter().map(wide).collect() };
    let lengths = spectral::lengths(batch, signal);
    let error = |index: usize, bin: usize, exact: Complex<f64>| {
        let found = wide(&out[index * points + bin]);
        spectral::relative((found - exact).norm(), lengths[index], exact)
    };
    let signals = Signals {
        points,
        count: batch,
        bins: points,
        signal: &signal,
        error: &error,
    };
    Checked {
        error: signals.worst(),
        tolerance: spectral::tolerance::<T>(points),
        detail:
            "largest |out - exact| / (|in|_2 + |exact|); probabilistic bound 10 eta sqrt(stages)"
                .into(),
    }
}
