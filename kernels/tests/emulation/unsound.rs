//! What is no number, and infinity, in what the ops of machine learning are given: the CUDA sources are to leave the same where the host's
//! implementations do, which hide nothing (`src/ml/tests.rs`). What is no number there is none here. Of infinities either may come, an
//! infinity or what is no number, since that depends on the order of sums; but nothing that is finite on the one is not on the other.

use std::collections::BTreeMap;

use assay_kernels::buffer::{Buffer, Buffers};
use assay_kernels::device::Team;
use assay_kernels::element::DType;
use assay_kernels::ops;
use assay_kernels::program::{Program, Role};
use assay_protocol::{CaseSpec, DeviceKind, DeviceSelector, ParamValue};
use half::{bf16, f16};

use super::cases;
use super::job::{Order, Session};

/// Sizes of cases: of single elements, and of whole vectors.
const SIZES: [i64; 2] = [7, 16];
/// A block for each kernel.
const ATTENTION: &[(&str, i64)] = &[("batch", 1), ("length", 5), ("heads", 1), ("width", 8)];
/// Sizes of ops that have more of them than shows anything.
const SMALL: &[(&str, &[(&str, i64)])] = &[
    ("attention", ATTENTION),
    ("attention-half", ATTENTION),
    ("linear", &[("inputs", 9), ("outputs", 8)]),
    ("linear-half", &[("inputs", 9), ("outputs", 8)]),
    ("linear-mixed", &[("inputs", 9), ("outputs", 8)]),
    ("linear-i8", &[("inputs", 9), ("outputs", 8)]),
    ("moe-experts", &[("width", 9), ("hidden", 8)]),
    ("moe-experts-mixed", &[("width", 9), ("hidden", 8)]),
];

/// Ops of these sources: all of machine learning, and the selection of the largest.
fn is_tried(sources: &[&str]) -> bool {
    let is_of_learning = |path: &&str| path.starts_with("ml/") || **path == *"order/top_k.cu";
    sources.iter().any(is_of_learning)
}

/// Every case that is tried.
pub fn cases() -> Vec<CaseSpec> {
    let mut all: Vec<CaseSpec> = vec![];
    for size in SIZES {
        for mut case in ops::cases(DeviceKind::Cuda, size) {
            let small = SMALL.iter().find(|(op, _)| *op == case.workload);
            for (name, size) in small.into_iter().flat_map(|(_, sizes)| *sizes) {
                case.params.insert((*name).into(), ParamValue::Int(*size));
            }
            let program = ops::program(&case).expect("a program");
            let is_tried = is_tried(&cases::sources(&program));
            if is_tried && cases::is_emulated(&program) && !all.contains(&case) {
                all.push(case);
            }
        }
    }
    all
}

/// What is put into an element in the middle.
const VALUES: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

fn put(buffer: &mut Buffer, value: f32) {
    let middle = buffer.len() / 2;
    match buffer.dtype() {
        DType::F32 => buffer.get_mut()[middle] = value,
        DType::F16 => buffer.get_mut()[middle] = f16::from_f32(value),
        DType::Bf16 => buffer.get_mut()[middle] = bf16::from_f32(value),
        other => panic!("{other}"),
    }
}

/// Ops that multiply what a mask hides, by 0, where the host leaves it out: what is no number spreads to some of the gradients of a tile
/// that do not depend on it. It is never hidden.
const SPREADING: &[(&str, &str)] = &[
    ("attention-half", "dq"),
    ("attention-half", "dk"),
    ("attention-half", "dv"),
];

/// The first place where two buffers differ: of real numbers in what is finite and, of what is no number, in that; of others in their bits.
fn different([on_host, on_cuda]: [&Buffer; 2], value: f32, may_spread: bool) -> Option<String> {
    if !is_real(on_host.dtype()) {
        let mut bytes = on_host.bytes().iter().zip(on_cuda.bytes()).enumerate();
        return bytes
            .find(|(_, (a, b))| a != b)
            .map(|(i, (a, b))| format!("byte {i}: {a} on the host, {b} on CUDA devices"));
    }
    let is_same = |i: usize| {
        let [host, cuda] = [on_host, on_cuda].map(|buffer| buffer.value(i));
        let is_spread = may_spread && host.is_finite() && cuda.is_nan();
        let is_alike = if value.is_nan() {
            host.is_nan() == cuda.is_nan()
        } else {
            host.is_finite() == cuda.is_finite()
        };
        is_alike || is_spread
    };
    let place = (0..on_host.len()).find(|i| !is_same(*i))?;
    Some(format!(
        "element {place}: {} on the host, {} on CUDA devices",
        on_host.value(place),
        on_cuda.value(place)
    ))
}

fn is_real(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::Bf16)
}

/// The same case for the host.
fn on_host(case: &CaseSpec) -> Program {
    let program = ops::program(case).expect("a program");
    if program.runs_on_cpu() {
        return program;
    }
    let case = CaseSpec {
        device: DeviceSelector::CPU,
        ..case.clone()
    };
    ops::program(&case).expect("a program for the host")
}

/// Buffers with what others hold, by their names.
fn copy(from: &Buffers, of_from: &Program, to: &mut Buffers, of_to: &Program) {
    for (spec, to) in of_to.buffers.iter().zip(&mut to.0) {
        let mut names = of_from.buffers.iter().map(|spec| &spec.name);
        if let Some(place) = names.position(|name| *name == spec.name) {
            to.bytes_mut().copy_from_slice(from.0[place].bytes());
        }
    }
}

/// Puts each into each buffer of real numbers, and compares what comes of it; says what is wrong.
pub fn check(session: &mut Session, case: &CaseSpec) -> Result<(), String> {
    let team = Team::new(1).map_err(|failure| failure.to_string())?;
    let program = ops::program(case).map_err(|failure| failure.to_string())?;
    let mut twin = on_host(case);
    let filled = |program: &Program| {
        let buffers = program.host_buffers(&team, case.seed.0);
        buffers.map_err(|failure| failure.to_string())
    };
    let (initial, mut on_cuda, mut on_host) =
        (filled(&program)?, filled(&program)?, filled(&twin)?);
    let mut run = twin.take_cpu().ok_or("nothing for the host")?;
    let places: BTreeMap<_, _> = twin
        .buffers
        .iter()
        .enumerate()
        .map(|(place, spec)| (&*spec.name, place))
        .collect();
    let mut wrong = vec![];
    for (input, spec) in program.buffers.iter().enumerate() {
        let is_given = matches!(spec.role, Role::Input | Role::InOut);
        if !is_given || !is_real(spec.dtype) || spec.len == 0 {
            continue;
        }
        for value in VALUES {
            copy(&initial, &program, &mut on_cuda, &program);
            put(&mut on_cuda.0[input], value);
            copy(&on_cuda, &program, &mut on_host, &twin);
            run(&team, &mut on_host, 1);
            session.run(&program, &mut on_cuda, Order::Forward, |_| {})?;
            for (place, output) in program.buffers.iter().enumerate() {
                let is_output = matches!(output.role, Role::Output | Role::InOut);
                let Some(found) = places.get(&*output.name).filter(|_| is_output) else {
                    continue;
                };
                let both = [&on_host.0[*found], &on_cuda.0[place]];
                let may_spread = SPREADING.contains(&(&case.workload, &output.name));
                if let Some(what) = different(both, value, may_spread) {
                    wrong.push(format!(
                        "{value} in `{}`: `{}`, {what}",
                        spec.name, output.name
                    ));
                }
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}
