//! What holds for every brick: nothing hides what is no number, bad input is named, and bricks go together.

use assay_protocol::{CaseSpec, DeviceKind, ParamValue};

use super::activation::{Form, Gelu};
use super::attention::{Attention, Given, Position, Variant};
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
    "linear",
    "linear-half",
    "linear-mixed",
    "linear-i8",
    "rope",
    "alibi",
    "attention",
    "attention-half",
    "moe-gate",
    "moe-experts",
    "moe-experts-mixed",
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

fn is_backward(case: &CaseSpec) -> bool {
    let pass = case.params.get("pass").and_then(ParamValue::as_str);
    case.workload.ends_with("backward") || pass.is_some_and(|pass| pass.starts_with("backward"))
}

/// What an op says to parameters of which some are changed.
fn refusal(
    op: &str,
    device: DeviceKind,
    changes: &[(&str, i64)],
    choices: &[(&str, &str)],
) -> String {
    let mut cases = ops::cases(device, 67);
    cases.retain(|case| {
        let is = |(name, value): &(&str, &str)| {
            case.params.get(*name).and_then(ParamValue::as_str) == Some(*value)
        };
        case.workload == op && choices.iter().all(is)
    });
    let mut case = cases.swap_remove(0);
    for (name, value) in changes {
        assert!(case.params.contains_key(*name), "{op} has no `{name}`");
        case.params.insert((*name).into(), ParamValue::Int(*value));
    }
    match ops::program(&case) {
        Err(failure) => failure.to_string(),
        Ok(_) => panic!("{op} {changes:?} on {device:?}: not refused"),
    }
}

#[test]
fn bad_parameters_are_refused_in_the_same_words_on_both_devices() {
    type Choices<'a> = &'a [(&'a str, &'a str)];
    type Changes<'a> = &'a [(&'a str, i64)];
    let fused: Choices = &[("variant", "fused"), ("position", "none")];
    let rotated: Choices = &[("position", "rope")];
    let cases: [(&str, Changes, Choices, &str); 10] = [
        (
            "attention",
            &[("heads", 5), ("width", 64)],
            &[],
            "parameter `width`: expected a multiple of `heads`, 5; found 64",
        ),
        (
            "attention",
            &[("heads", 0)],
            &[],
            "parameter `heads`: expected an integer of at least 1",
        ),
        (
            "attention",
            &[("heads", 3), ("width", 9)],
            rotated,
            "parameter `width`: expected a multiple of twice `heads`, 6, since `rope` rotates pairs of a head; found 9",
        ),
        (
            "attention",
            &[("heads", 2), ("width", 258)],
            fused,
            "parameter `width`: expected at most 128 columns for each of 2 heads",
        ),
        (
            "attention-half",
            &[("heads", 1), ("width", 129)],
            &[("position", "none")],
            "parameter `width`: expected at most 128 columns for each of 1 heads",
        ),
        (
            "attention",
            &[("length", 1 << 40)],
            &[],
            "parameters `batch`, `length`, `heads` and `width`",
        ),
        (
            "moe-gate",
            &[("experts", 3), ("chosen", 4)],
            &[],
            "parameter `chosen`: expected at most `experts`, 3, and at most",
        ),
        // Only what the op has is named.
        (
            "moe-dispatch",
            &[("tokens", 1 << 60)],
            &[],
            "parameters `tokens`, `width`, `experts`, `capacity` and `chosen`: their product is too large to count",
        ),
        (
            "moe-experts",
            &[("experts", 0)],
            &[],
            "parameter `experts`: expected an integer of at least 1",
        ),
        (
            "moe-experts",
            &[("chosen", 0)],
            &[],
            "parameter `chosen`: expected an integer of at least 1",
        ),
    ];
    for (op, changes, choices, words) in cases {
        let [host, cuda] =
            [DeviceKind::Cpu, DeviceKind::Cuda].map(|device| refusal(op, device, changes, choices));
        assert!(host.contains(words), "{op} {changes:?}: {host}");
        assert_eq!(host, cuda, "{op} {changes:?}");
    }
}

/// Sizes of nothing are computed: nothing comes of them, and nobody divides by them.
#[test]
fn attention_and_experts_of_nothing_are_nothing() {
    let team = Team::new(2).unwrap();
    for (op, size) in [
        ("attention", "batch"),
        ("attention", "length"),
        ("attention", "width"),
        ("attention-half", "length"),
        ("linear-half", "inputs"),
        ("moe-experts", "tokens"),
        ("moe-experts", "width"),
        ("moe-experts", "hidden"),
        ("moe-experts", "capacity"),
        ("moe-experts-mixed", "hidden"),
        ("moe-experts-mixed", "tokens"),
        ("moe-gate", "tokens"),
    ] {
        let mut cases = ops::cases(DeviceKind::Cpu, 67);
        cases.retain(|case| case.workload == op);
        for mut case in cases {
            case.params.insert(size.into(), ParamValue::Int(0));
            let mut program = ops::program(&case).unwrap();
            let buffers = run(&mut program, &team, |_| {});
            let verdict = program.judge(&buffers, &std::collections::BTreeMap::new(), 1);
            assert!(verdict.passed, "{op} {:?}: {verdict:?}", case.params);
        }
    }
}

#[test]
#[should_panic(expected = "attention: `v` is to be 12 elements of bf16; buffer `v` has 12 of f32")]
fn attention_of_two_types_is_refused() {
    let mut program = Program::new(assay_protocol::Work::default());
    let [q, k, out] = ["q", "k", "out"].map(|name| program.output(name, DType::Bf16, 12));
    let v = program.output("v", DType::F32, 12);
    let kept = program.output("kept", DType::F32, 3);
    let shape = Attention {
        batch: 1,
        length: 3,
        heads: 1,
        width: 4,
        is_causal: true,
        position: Position::None,
        variant: Variant::Fused,
    };
    let given = Given {
        q,
        k,
        v,
        table: None,
        out,
        kept,
    };
    shape.forward(&mut program, &given);
}

/// Whether a backward pass rightly never reads an input of its own: gradients of given probabilities know no biases, and those of
/// weights that nothing divides need no weights.
fn is_unread(case: &CaseSpec, input: &str) -> bool {
    let is_plain = case.params.get("weights").and_then(ParamValue::as_str) == Some("plain");
    is_backward(case) && (input == "alibi-slopes" || (input == "weights" && is_plain))
}

#[test]
fn what_is_no_number_shows() {
    let team = Team::new(2).unwrap();
    let mut hidden = vec![];
    for case in cases() {
        let inputs = numbers_of(&ops::program(&case).unwrap(), Role::Input);
        for input in inputs {
            for value in [f32::NAN, f32::INFINITY] {
                let mut program = ops::program(&case).unwrap();
                let is_real = is_real(&program.host_buffers(&team, 5).unwrap().0[input]);
                // Gradients may well be finite at infinity.
                if !is_real || (value.is_infinite() && is_backward(&case)) {
                    continue;
                }
                let name = program.buffers[input].name.to_string();
                if is_unread(&case, &name) {
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
                if !outputs.iter().any(shows) {
                    hidden.push(format!(
                        "{} {:?}: {value} in `{name}`",
                        case.workload, case.params
                    ));
                }
            }
        }
    }
    assert!(hidden.is_empty(), "{}", hidden.join("\n"));
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
