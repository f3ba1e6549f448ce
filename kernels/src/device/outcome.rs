//! What is the same on every device: inputs described, changed inputs put back, outputs judged.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::{
    Digest, Direction, Failure, Metric, MetricKind, Prepared, Unit, Verification,
};

use super::Team;
use crate::buffer::{Buffer, Buffers};
use crate::program::{Outcome, Program, Role};

/// Name of the metric that counts different outputs.
const DISTINCT: &str = "distinct_outputs";
/// Outputs that are remembered at most: more make no difference to what is said.
const MOST_DISTINCT: usize = 100_000;

/// What a program's preparation says, less what depends on the device.
pub fn prepared(program: &Program) -> Prepared {
    Prepared {
        work: program.work.clone(),
        deterministic: program.deterministic,
        metrics: program
            .distinct
            .map(|_| distinct_metric())
            .into_iter()
            .collect(),
        ..Prepared::default()
    }
}

/// Digests of all inputs.
pub fn digests(program: &Program, buffers: &Buffers) -> BTreeMap<String, Digest> {
    let specs = program.buffers.iter().zip(&buffers.0);
    specs
        .filter(|(spec, _)| matches!(spec.role, Role::Input | Role::InOut))
        .map(|(spec, buffer)| (spec.name.clone().into_owned(), buffer.digest()))
        .collect()
}

/// Copies of the inputs that iterations change.
#[derive(Debug, Default)]
pub struct Pristine(BTreeMap<usize, Buffer>);

impl Pristine {
    /// Of buffers that were just filled.
    pub fn of(team: &Team, program: &Program, buffers: &Buffers) -> Result<Self, Failure> {
        let specs = program.buffers.iter().enumerate();
        let changed = specs.filter(|(_, spec)| spec.role == Role::InOut);
        changed
            .map(|(index, _)| Ok((index, buffers.0[index].duplicate(team)?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Puts them back.
    pub fn restore(&self, buffers: &mut Buffers) {
        for (index, copy) in &self.0 {
            buffers.0[*index].bytes_mut().copy_from_slice(copy.bytes());
        }
    }

    /// By the number of the buffer.
    pub fn buffers(&self) -> &BTreeMap<usize, Buffer> {
        &self.0
    }
}

/// Judges what a program left in its buffers, on the host, `iterations` after its inputs were last as `initial`. What it only reads must
/// be as it was when `inputs`, their digests by name, were taken: references are computed from it.
pub fn verify(
    program: &Program,
    buffers: &Buffers,
    initial: &BTreeMap<usize, Buffer>,
    inputs: &BTreeMap<String, Digest>,
    iterations: u64,
) -> Verification {
    let failed = |detail: String| Verification {
        passed: false,
        error: None,
        tolerance: None,
        output: None,
        detail,
    };
    if iterations == 0 {
        return failed("nothing was sampled yet".into());
    }
    if let Some(name) = changed_input(program, buffers, inputs) {
        return failed(format!(
            "input `{name}` was changed, which is only to be read"
        ));
    }
    let checked = (program.check)(&Outcome {
        buffers,
        initial,
        iterations,
    });
    // Of more roundings than a type has bits for, nothing can be said, and so nothing is shown.
    let tolerance = checked.tolerance.is_finite().then_some(checked.tolerance);
    Verification {
        passed: tolerance.is_some_and(|tolerance| checked.error <= tolerance),
        error: checked.error.is_finite().then_some(checked.error),
        tolerance,
        output: digest_of(buffers, &outputs(program)),
        detail: match tolerance {
            Some(_) => checked.detail,
            None => format!("no bound is known for so large a case: {}", checked.detail),
        },
    }
}

/// The first input that is only read and has another digest than it had.
fn changed_input<'a>(
    program: &'a Program,
    buffers: &Buffers,
    inputs: &BTreeMap<String, Digest>,
) -> Option<&'a str> {
    let mut specs = program.buffers.iter().zip(&buffers.0);
    let changed = specs.find(|(spec, buffer)| {
        let before = inputs.get(&*spec.name);
        spec.role == Role::Input && before.is_some_and(|before| *before != buffer.digest())
    });
    changed.map(|(spec, _)| &*spec.name)
}

/// Numbers of the buffers that iterations write.
pub fn outputs(program: &Program) -> Vec<usize> {
    let specs = program.buffers.iter().enumerate();
    let outputs = specs.filter(|(_, spec)| matches!(spec.role, Role::Output | Role::InOut));
    outputs.map(|(index, _)| index).collect()
}

/// Digest of the only output, or of the digests of several.
pub fn digest_of(buffers: &Buffers, outputs: &[usize]) -> Option<Digest> {
    let digests: Vec<_> = outputs
        .iter()
        .map(|output| buffers.0[*output].digest())
        .collect();
    match digests.as_slice() {
        [] => None,
        [only] => Some(*only),
        several => {
            let texts: Vec<_> = several.iter().map(ToString::to_string).collect();
            Some(Digest::of(texts.concat()))
        }
    }
}

/// The different bits that an output had.
#[derive(Debug, Default)]
pub struct Distinct(BTreeSet<String>);

impl Distinct {
    /// Remembers what an output holds, by its digest.
    pub fn note(&mut self, output: &Buffer) {
        if self.0.len() < MOST_DISTINCT {
            self.0.insert(output.digest().to_string());
        }
    }

    /// The case's metrics.
    pub fn values(&self, program: &Program) -> BTreeMap<String, f64> {
        let metric = program
            .distinct
            .map(|_| (DISTINCT.into(), self.0.len() as f64));
        metric.into_iter().collect()
    }
}

fn distinct_metric() -> Metric {
    Metric::new(DISTINCT, Unit::One, Direction::Neutral, MetricKind::Case)
}

/// What a change has to be large beside, for errors are judged relative to more than what is left in an output.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// Least change, as a part of the largest number.
    pub part: f64,
    /// A magnitude that came before, and of which nothing may be left.
    pub magnitude: f64,
}

/// The change that a verification must notice.
#[cfg(test)]
pub fn corrupt(buffer: &mut Buffer, index: usize, beside: Beside) {
    use crate::element::{DType, Real};

    fn real<T: Real>(buffer: &mut Buffer, index: usize, beside: Beside) {
        let values = buffer.get_mut::<T>();
        let index = index % values.len();
        let value: f64 = values[index].into();
        let of = |most: f64, x: &T| most.max((*x).into().abs());
        let least = beside.part * values.iter().fold(0.0, of);
        // Away from zero, so that the two parts never cancel; more in a type that rounds more.
        let change = (64.0 * T::UNIT_ROUNDOFF).max(1e-3);
        let least = least.max(change * beside.magnitude.max(10.0));
        let moved = value * (1.0 + change) + least.copysign(value);
        // An infinity, which stands for nothing that was found, has nowhere to go.
        let changed = if value.is_finite() { moved } else { 0.0 };
        values[index] = T::from_f64(changed);
    }
    match buffer.dtype() {
        DType::F64 => real::<f64>(buffer, index, beside),
        DType::F32 => real::<f32>(buffer, index, beside),
        DType::F16 => real::<half::f16>(buffer, index, beside),
        DType::Bf16 => real::<half::bf16>(buffer, index, beside),
        _ => {
            let len = buffer.bytes().len();
            buffer.bytes_mut()[index % len] ^= 0x55;
        }
    }
}

/// Multiplies real numbers, and says whether one of them is another by that.
#[cfg(test)]
pub fn scale(buffer: &mut Buffer, factor: f64) -> bool {
    use crate::element::{DType, Real};

    fn real<T: Real>(buffer: &mut Buffer, factor: f64) -> bool {
        let mut is_changed = false;
        for value in buffer.get_mut::<T>() {
            let before: f64 = (*value).into();
            *value = T::from_f64(factor * before);
            let after: f64 = (*value).into();
            is_changed |= after.to_bits() != before.to_bits();
        }
        is_changed
    }
    match buffer.dtype() {
        DType::F64 => real::<f64>(buffer, factor),
        DType::F32 => real::<f32>(buffer, factor),
        DType::F16 => real::<half::f16>(buffer, factor),
        DType::Bf16 => real::<half::bf16>(buffer, factor),
        _ => false,
    }
}
