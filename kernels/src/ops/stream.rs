//! The element-wise kernels of STREAM and `BabelStream`, which measure sustained memory bandwidth.
//!
//! Source: J. D. `McCalpin`, "Memory Bandwidth and Machine Balance in Current High Performance
//! Computers", IEEE TCCA Newsletter, December 1995, and T. Deakin et al., "Evaluating attainable
//! memory bandwidth of parallel programming models via `BabelStream`", IJCSE 17(3), 2018, whose names
//! and scalar (0.4) these are. With `n` elements of type `T`, counting each input read once and each
//! output written once (no write-allocate traffic):
//!
//! | op    | definition          | bytes          | flops |
//! |-------|---------------------|----------------|-------|
//! | copy  | `c = a`             | `2 n sizeof T` | 0     |
//! | mul   | `b = scalar c`      | `2 n sizeof T` | `n`   |
//! | add   | `c = a + b`         | `3 n sizeof T` | `n`   |
//! | triad | `a = b + scalar c`  | `3 n sizeof T` | `2 n` |

use std::collections::BTreeMap;

use assay_protocol::{
    CaseSpec, Failure, Measured, Prepared, Verification, Work, Workload, WorkloadInfo,
};

use super::{Op, OpCase};
use crate::bound::tolerance;
use crate::buffer::Buffer;
use crate::check;
use crate::device::{Device, Team, memory};
use crate::element::{Element, digest};
use crate::parameters;
use crate::simd::wide;

/// `startScalar` of `BabelStream`.
const SCALAR: f64 = 0.4;

/// An element-wise kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elementwise {
    /// `out = first`
    Copy,
    /// `out = scalar first`
    Mul,
    /// `out = first + second`
    Add,
    /// `out = first + scalar second`
    Triad,
}

impl Elementwise {
    fn name(self) -> &'static str {
        match self {
            Self::Copy => "stream-copy",
            Self::Mul => "stream-mul",
            Self::Add => "stream-add",
            Self::Triad => "stream-triad",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Self::Copy => "STREAM copy: c = a",
            Self::Mul => "STREAM mul: b = scalar c",
            Self::Add => "STREAM add: c = a + b",
            Self::Triad => "STREAM triad: a = b + scalar c",
        }
    }

    /// Names of the inputs, in the order of their random streams.
    fn inputs(self) -> &'static [&'static str] {
        match self {
            Self::Copy => &["a"],
            Self::Mul => &["c"],
            Self::Add => &["a", "b"],
            Self::Triad => &["b", "c"],
        }
    }

    /// Floating-point operations per element, each of which rounds once.
    fn operations(self) -> u64 {
        match self {
            Self::Copy => 0,
            Self::Mul | Self::Add => 1,
            Self::Triad => 2,
        }
    }

    fn work<T: Element>(self, elements: u64) -> Result<Work, Failure> {
        let arrays = self.inputs().len() as u64 + 1;
        let bytes = parameters::product("`elements`", &[arrays, elements, size_of::<T>() as u64])?;
        let flops = match self.operations() {
            0 => "0".into(),
            1 => "n".into(),
            k => format!("{k} n"),
        };
        Ok(Work {
            bytes: Some(bytes),
            flops: Some(elements * self.operations()),
            items: Some(elements),
            formula: format!(
                "bytes = {arrays} n sizeof(T), flops = {flops}, items = n; n = elements"
            ),
        })
    }

    /// One element in `f64`, and the sum of the magnitudes that went into it.
    fn reference<T: Element>(self, first: f64, second: f64) -> (f64, f64) {
        // As the kernel has it: rounded to its type.
        let scalar: f64 = T::from_f64(SCALAR).into();
        let (left, right) = match self {
            Self::Copy => (first, 0.0),
            Self::Mul => (scalar * first, 0.0),
            Self::Add => (first, second),
            Self::Triad => (first, scalar * second),
        };
        (left + right, left.abs() + right.abs())
    }

    fn prepare_typed<T: Element>(
        self,
        team: Team,
        case: &CaseSpec,
    ) -> Result<Box<dyn OpCase>, Failure> {
        let elements = parameters::count(case, "elements")?;
        let work = self.work::<T>(elements as u64)?;
        memory::ensure_fits(work.bytes.unwrap_or(0))?;
        let inputs = (0..self.inputs().len() as u64)
            .map(|stream| Buffer::<T>::random(&team, elements, case.seed.0, stream, |x| x))
            .collect::<Result<Vec<_>, _>>()?;
        let prepared = Prepared {
            work,
            inputs: digests(self.inputs(), &inputs),
            deterministic: true,
            ..Prepared::default()
        };
        let output = Buffer::poisoned(&team, elements)?;
        Ok(Box::new(Case {
            kernel: self,
            prepared,
            team,
            inputs,
            output,
        }))
    }
}

/// Digests of some buffers, by name.
fn digests<T: Element>(
    names: &[&str],
    buffers: &[Buffer<T>],
) -> BTreeMap<String, assay_protocol::Digest> {
    let pairs = names.iter().zip(buffers);
    pairs
        .map(|(name, buffer)| ((*name).into(), digest(buffer)))
        .collect()
}

impl Op for Elementwise {
    fn info(&self) -> WorkloadInfo {
        let parameters = [
            parameters::integer("elements"),
            parameters::choice("dtype", &["f32", "f64"]),
        ];
        super::info(self.name(), self.summary(), parameters)
    }

    fn prepare(&self, device: Device, case: &CaseSpec) -> Result<Box<dyn OpCase>, Failure> {
        let Device::Cpu(team) = device;
        match parameters::text(case, "dtype")? {
            "f32" => self.prepare_typed::<f32>(team, case),
            "f64" => self.prepare_typed::<f64>(team, case),
            _ => Err(parameters::wrong(
                "dtype",
                "f32 or f64",
                case.params.get("dtype"),
            )),
        }
    }
}

struct Case<T: Element> {
    kernel: Elementwise,
    prepared: Prepared,
    team: Team,
    /// One or two.
    inputs: Vec<Buffer<T>>,
    output: Buffer<T>,
}

/// One member's part of the buffers.
struct Part<'a, T> {
    out: &'a mut [T],
    first: &'a [T],
    second: &'a [T],
}

impl<T: Element> Case<T> {
    fn second(&self) -> &[T] {
        self.inputs.last().map_or(&[], |buffer| buffer)
    }
}

impl<T: Element> OpCase for Case<T> {
    #[cfg(test)]
    fn corrupt(&mut self, index: usize) {
        super::corrupt(&mut self.output, index);
    }
}

impl<T: Element> Workload for Case<T> {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let team = &self.team;
        let granule = Buffer::<T>::GRANULE;
        // A kernel with one input gets it twice, and does not look at the second.
        let (first, second) = (&self.inputs[0], &self.inputs[self.inputs.len() - 1]);
        let inputs = team
            .split(first, granule)
            .into_iter()
            .zip(team.split(second, granule));
        let outputs = team.split_mut(&mut self.output, granule);
        let parts = outputs.into_iter().zip(inputs);
        let parts = parts
            .map(|(out, (first, second))| Part { out, first, second })
            .collect();
        let scalar = T::from_f64(SCALAR);
        let host_ns = match self.kernel {
            Elementwise::Copy => {
                team.time(iterations, parts, |_, p: &mut Part<T>| copy(p.out, p.first))
            }
            Elementwise::Mul => team.time(iterations, parts, |_, p: &mut Part<T>| {
                mul(p.out, p.first, scalar);
            }),
            Elementwise::Add => team.time(iterations, parts, |_, p: &mut Part<T>| {
                add(p.out, p.first, p.second);
            }),
            Elementwise::Triad => team.time(iterations, parts, |_, p: &mut Part<T>| {
                triad(p.out, p.first, p.second, scalar);
            }),
        };
        Ok(Measured {
            host_ns: Some(host_ns),
            ..Measured::default()
        })
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        let (first, second) = (&self.inputs[0], self.second());
        let error = check::worst(self.output.len(), |i| {
            let (exact, condition) = self
                .kernel
                .reference::<T>(first[i].into(), second[i].into());
            check::relative(self.output[i].into(), exact, condition)
        });
        let roundings = self.kernel.operations();
        let detail =
            "largest |out - exact| / sum of magnitudes; bound gamma_k, k roundings per element";
        Ok(check::judge(
            &self.output,
            error,
            tolerance::<T>(roundings, roundings),
            detail,
        ))
    }
}

/// Bytes of an array beyond which three of them have left a usual L1 cache.
const SMALL: usize = 16 << 10;

/// Whether a kernel is bound by a cache beyond L1, which serves vectors of 256 bits at least as fast as
/// longer ones: on the Xeons where it was measured, 8 % faster from L2, while L1 prefers 512 bits by 20 %.
fn is_large<T>(array: &[T]) -> bool {
    size_of_val(array) > SMALL
}

/// The system's own copy, which chooses its instructions itself.
fn copy<T: Element>(out: &mut [T], first: &[T]) {
    out.copy_from_slice(first);
}

wide! {
    fn mul<T: Element>(out: &mut [T], first: &[T], scalar: T) [is_large(out)] {
        for (out, first) in out.iter_mut().zip(first) {
            *out = scalar * *first;
        }
    }

    fn add<T: Element>(out: &mut [T], first: &[T], second: &[T]) [is_large(out)] {
        for (out, (first, second)) in out.iter_mut().zip(first.iter().zip(second)) {
            *out = *first + *second;
        }
    }

    fn triad<T: Element>(out: &mut [T], first: &[T], second: &[T], scalar: T) [is_large(out)] {
        for (out, (first, second)) in out.iter_mut().zip(first.iter().zip(second)) {
            *out = *first + scalar * *second;
        }
    }
}
