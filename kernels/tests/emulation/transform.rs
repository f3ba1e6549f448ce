//! What cuFFT does in the program of a power spectrum, on the host, so that the kernels before and behind it can be emulated.

use assay_kernels::buffer::Buffers;
use assay_kernels::element::{DType, Real};
use assay_kernels::program::Program;
use assay_protocol::{CaseSpec, ParamValue};
use rustfft::num_complex::Complex;
use rustfft::{FftNum, FftPlanner};

/// The source of the kernels around it.
pub const PATH: &str = "spectral/spectrum.cu";

/// Transforms the frames of a case, after the window if there is one.
pub fn transform(case: &CaseSpec, program: &Program, buffers: &mut Buffers) {
    let number = |name: &str| {
        program
            .buffers
            .iter()
            .position(|buffer| buffer.name == name)
    };
    let from = number("windowed").or(number("in")).unwrap();
    let to = number("spectrum").unwrap();
    let points = case.params["points"].as_u64().unwrap() as usize;
    let is_real = case.params["signal"] == ParamValue::Text("real".into());
    match program.buffers[to].dtype {
        DType::F64 => transform_numbers::<f64>(buffers, [from, to], points, is_real),
        _ => transform_numbers::<f32>(buffers, [from, to], points, is_real),
    }
}

fn transform_numbers<T: Real + FftNum>(
    buffers: &mut Buffers,
    [from, to]: [usize; 2],
    points: usize,
    is_real: bool,
) {
    if points == 0 {
        return;
    }
    let [from, to] = buffers.many([from, to]);
    let plan = FftPlanner::<T>::new().plan_fft_forward(points);
    let (width, bins) = if is_real {
        (points, points / 2 + 1)
    } else {
        (2 * points, points)
    };
    let frames = from.get::<T>().chunks(width);
    for (frame, spectrum) in frames.zip(to.get_mut::<T>().chunks_mut(2 * bins)) {
        let mut values: Vec<Complex<T>> = if is_real {
            frame.iter().map(|x| Complex::new(*x, T::zero())).collect()
        } else {
            frame.chunks(2).map(|z| Complex::new(z[0], z[1])).collect()
        };
        plan.process(&mut values);
        for (out, value) in spectrum.chunks_mut(2).zip(values) {
            out.copy_from_slice(&[value.re, value.im]);
        }
    }
}
