//! What holds for every brick: nothing hides what is no number, bad input is named, and bricks go together.

use assay_protocol::{CaseSpec, DeviceKind};

use super::activation::{Form, Gelu};
use super::norm::{Kind, Norm};
use super::softmax::Softmax;
use crate::buffer::{Buffer, Buffers};
use crate::device::Team;
use crate::element::DType;
use crate::ops;
use crate::program::{Fill, Program, Role};

const OPS: &[&str] = &[
    "softmax",
    "softmax-backward",
    "layernorm",
    "layernorm-backward",
    "rmsnorm",
    "rmsnorm-backward",
    "gelu",
    "gelu-backward",
    "swiglu",
    "swiglu-backward",
    "bias-gelu",
    "bias-gelu-backward",
    "cross-entropy",
    "cross-entropy-backward",
    "embedding",
    "embedding-backward",
    "dropout",
    "column-sum",
];

fn cases() -> Vec<CaseSpec> {
    let mut cases = ops::cases(DeviceKind::Cpu, 67);
    cases.retain(|case| OPS.contains(&case.workload.as_str()));
    assert!(
        OPS.iter()
            .all(|op| cases.iter().any(|case| case.workload == *op))
    );
    cases
}

/// What a program leaves in its buffers after `change` was made to them.
fn run(program: &mut Program, team: &Team, change: impl Fn(&mut Buffers)) -> Buffers {
    let mut buffers = program.host_buffers(team, 5).unwrap();
    change(&mut buffers);
    let mut on_host = program.take_cpu().unwrap();
    on_host(team, &mut buffers, 1);
    buffers
}

fn is_real(buffer: &Buffer) -> bool {
    matches!(buffer.dtype(), DType::F32 | DType::F16 | DType::Bf16)
}

fn set_all(buffer: &mut Buffer, value: f32) {
    match buffer.dtype() {
        DType::F32 => buffer.get_mut::<f32>().fill(value),
        DType::F16 => buffer
            .get_mut::<half::f16>()
            .fill(half::f16::from_f32(value)),
        DType::Bf16 => buffer
            .get_mut::<half::bf16>()
            .fill(half::bf16::from_f32(value)),
        other => panic!("{other}"),
    }
}

fn numbers_of(program: &Program, role: Role) -> Vec<usize> {
    let specs = program.buffers.iter().enumerate();
    specs
        .filter(|(_, spec)| spec.role == role)
        .map(|(index, _)| index)
        .collect()
}

#[test]
fn what_is_no_number_shows() {
    let team = Team::new(2).unwrap();
    for case in cases() {
        let inputs = numbers_of(&ops::program(&case).unwrap(), Role::Input);
        for input in inputs {
            for value in [f32::NAN, f32::INFINITY] {
                let mut program = ops::program(&case).unwrap();
                let is_real = is_real(&program.host_buffers(&team, 5).unwrap().0[input]);
                // Gradients may well be finite at infinity.
                if !is_real || (value.is_infinite() && case.workload.ends_with("backward")) {
                    continue;
                }
                let buffers = run(&mut program, &team, |buffers| {
                    set_all(&mut buffers.0[input], value);
                });
                let outputs = numbers_of(&program, Role::Output);
                let shows = |output: &usize| {
                    let buffer = &buffers.0[*output];
                    (0..buffer.len()).any(|i| !buffer.value(i).is_finite())
                };
                let name = &program.buffers[input].name;
                assert!(
                    outputs.iter().any(shows),
                    "{} {:?}: {value} in `{name}`",
                    case.workload,
                    case.params
                );
            }
        }
    }
}

#[test]
fn labels_and_tokens_out_of_range_are_named() {
    let team = Team::new(2).unwrap();
    for (op, buffer, words) in [
        (
            "cross-entropy",
            "labels",
            "label 67 of row 1: expected less than the 67 classes",
        ),
        (
            "cross-entropy-backward",
            "labels",
            "label 67 of row 1: expected less than the 67 classes",
        ),
        (
            "embedding",
            "ids",
            "token 67 at place 1: expected less than the vocabulary of 20",
        ),
        (
            "embedding-backward",
            "ids",
            "token 67 at place 1: expected less than the vocabulary of 20",
        ),
    ] {
        for case in cases().into_iter().filter(|case| case.workload == op) {
            let mut program = ops::program(&case).unwrap();
            let place = program
                .buffers
                .iter()
                .position(|spec| spec.name == buffer)
                .unwrap();
            let buffers = run(&mut program, &team, |buffers| {
                buffers.0[place].get_mut::<u32>()[1] = 67;
            });
            let verdict = program.judge(&buffers, &std::collections::BTreeMap::new(), 1);
            assert!(
                !verdict.passed && verdict.detail.starts_with(words),
                "{op}: {verdict:?}"
            );
        }
    }
}

/// As a model has them: one after the other, twice, on buffers that lie anywhere.
#[test]
fn bricks_go_together() {
    let (rows, cols, dtype) = (9, 40, DType::F32);
    let mut program = Program::new(assay_protocol::Work::default());
    let len = rows * cols;
    let [out, x, first, second] = ["out", "x", "first", "second"]
        .map(|name| program.add(name, dtype, len, Role::InOut, Fill::signed(0)));
    let norm = Norm {
        kind: Kind::Layer,
        rows,
        cols,
        dtype,
    };
    let parameters = program.input("parameters", dtype, norm.parameters(), Fill::signed(1));
    let statistics = program.scratch("statistics", dtype, norm.statistics());
    let dparameters = program.output("dparameters", dtype, norm.parameters());
    for _ in 0..2 {
        norm.forward(&mut program, x, parameters, first, statistics);
        Gelu {
            elements: len,
            form: Form::Erf,
            dtype,
        }
        .forward(&mut program, first, second);
        Softmax { rows, cols, dtype }.forward(&mut program, second, out);
        norm.backward(
            &mut program,
            [x, parameters, statistics, out],
            first,
            dparameters,
        );
    }
    let mut names: Vec<_> = program
        .buffers
        .iter()
        .map(|spec| spec.name.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), program.buffers.len());
    let buffers = run(&mut program, &Team::new(2).unwrap(), |_| {});
    for row in buffers.get::<f32>(out).chunks_exact(cols) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[test]
#[should_panic(expected = "softmax: `out` is to be 12 elements of f32; buffer `out` has 11 of f32")]
fn shapes_that_do_not_match_are_refused() {
    let mut program = Program::new(assay_protocol::Work::default());
    let x = program.input("x", DType::F32, 12, Fill::signed(0));
    let out = program.output("out", DType::F32, 11);
    Softmax {
        rows: 3,
        cols: 4,
        dtype: DType::F32,
    }
    .forward(&mut program, x, out);
}
