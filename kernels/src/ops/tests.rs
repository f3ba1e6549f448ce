//! What holds for every op: right at any shape, the same bits from any team, and judged by a
//! verification that can fail.

use assay_protocol::{
    CaseSpec, DeviceKind, DeviceSelector, Failure, ParamValue, ParameterInfo, Params, Prepared,
    TimingMode, Verification, Workload,
};
use proptest::prelude::*;

use super::{OPS, Op, catalog};
use crate::device::{Beside, CpuCase, Team};
use crate::parameters::Arguments;

fn op(name: &str) -> &'static dyn Op {
    *OPS.iter()
        .find(|op| op.info().name == name)
        .expect("an op of that name")
}

fn case_of(name: &str, params: Params, seed: u64) -> CaseSpec {
    CaseSpec {
        workload: name.into(),
        params,
        seed: seed.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    }
}

/// Prepares a case on a team of any size, whether or not the machine has as many CPUs. `None` where a variant is for GPUs, or where choices
/// do not go together.
fn prepare_any(name: &str, params: &Params, seed: u64, threads: usize) -> Option<CpuCase> {
    let case = case_of(name, params.clone(), seed);
    let program = match op(name).program(&Arguments(&case)) {
        Err(Failure::Skipped(_)) => return None,
        program => program.unwrap(),
    };
    program.runs_on_cpu().then_some(())?;
    Some(CpuCase::new(&case, program, Team::new(threads).unwrap()).unwrap())
}

fn prepare(name: &str, params: &Params, seed: u64, threads: usize) -> CpuCase {
    prepare_any(name, params, seed, threads).expect("an implementation for the host")
}

/// The parameters that an op has on the host, without `threads`.
fn host_parameters(op: &dyn Op) -> Vec<ParameterInfo> {
    let mut parameters = op.info().parameters;
    parameters.retain(|p| p.devices.is_empty() || p.devices.contains(&DeviceKind::Cpu));
    parameters
}

/// Ops that run on the host.
fn host_ops() -> impl Iterator<Item = &'static dyn Op> {
    OPS.iter()
        .copied()
        .filter(|op| op.info().devices.contains(&DeviceKind::Cpu))
}

fn run(name: &str, params: &Params, seed: u64, threads: usize) -> (Prepared, Verification) {
    let mut case = prepare(name, params, seed, threads);
    case.restore().unwrap();
    case.run(3).unwrap();
    (case.prepared().clone(), case.verify().unwrap())
}

/// Any op, with sizes that are multiples of nothing, and now and then of something.
fn any_case() -> impl Strategy<Value = (String, Params)> {
    let names: Vec<_> = host_ops().map(|op| op.info().name.to_owned()).collect();
    (prop::sample::select(names), any::<[u16; 4]>()).prop_map(|(name, random)| {
        let parameters = host_parameters(op(&name));
        let mut random = random
            .into_iter()
            .cycle()
            .enumerate()
            .map(|(i, r)| usize::from(r) / (i + 1));
        let params = parameters.into_iter().map(|p| {
            let random = random.next().unwrap_or(0);
            let value = match p.name.as_str() {
                _ if !p.choices.is_empty() => p.choices[random % p.choices.len()].clone(),
                // Windows fit into images, and there are several.
                "kernel" | "batch" => size(random, 4),
                "padding" => ParamValue::Int((random % 5) as i64),
                "height" => ParamValue::Int((5 + random % 16) as i64),
                "width" if name.starts_with("conv2d") => ParamValue::Int((5 + random % 16) as i64),
                "channels" => size(random, 12),
                "stride" if name.starts_with("conv2d") => size(random, 3),
                // No more is asked for than there is.
                "vectors" | "points" => ParamValue::Int((40 + random % 600).try_into().unwrap()),
                "k" if name == "knn" || name == "ivf-flat" => size(random, 20),
                "centroids" | "queries" => size(random, 40),
                "lists" => ParamValue::Int((6 + random % 30).try_into().unwrap()),
                "nprobe" => size(random, 6),
                // Heads divide the width, into pairs.
                "heads" => ParamValue::Int((1 + random % 3).try_into().unwrap()),
                "width" if name.starts_with("attention") || name == "rope" => {
                    ParamValue::Int((12 * (1 + random % 9)).try_into().unwrap())
                }
                "length" => size(random, 150),
                "chosen" => ParamValue::Int((1 + random % 2).try_into().unwrap()),
                "experts" => ParamValue::Int((2 + random % 9).try_into().unwrap()),
                // As many words as a first cache has.
                "elements" if name == "peak-bandwidth" => size(random, 4_000),
                "elements" => size(random, 40_000),
                // Of one bin all values are 0, whatever the seed.
                "bins" => ParamValue::Int((2 + random % 600).try_into().unwrap()),
                "k" | "lines" => size(random, 600),
                "steps" => size(random, 4_000),
                "stride" => size(random, 20),
                "offset" => ParamValue::Int((random % 32) as i64),
                _ => size(random, 90),
            };
            (p.name, value)
        });
        let mut params: Params = params.collect();
        if name == "top-k" {
            let least = params["k"].as_u64().min(params["elements"].as_u64());
            params.insert("k".into(), ParamValue::Int(least.unwrap().cast_signed()));
        }
        (name, params)
    })
}

/// 1 to `most`: mostly odd, sometimes a power of two or 1.
fn size(random: usize, most: usize) -> ParamValue {
    let size = random % most + 1;
    let size = match random % 7 {
        0 => size.next_power_of_two().min(most),
        1 => 1,
        _ => (size | 1).min(most),
    };
    ParamValue::Int(size.try_into().unwrap())
}

/// What a wrong element has to be large beside.
fn beside(name: &str, params: &Params) -> Beside {
    // The columns of a short row may all be alike: of an input and a mean of up to 2 each, over the least deviation that there is, nothing
    // is left then.
    const MOST_OF_NORM: f64 = 4.0 / 0.003;
    let is_short = || params["cols"].as_u64() <= Some(4);
    match name {
        // Of products of products the magnitudes that errors are relative to are hundreds of times what is left of them.
        name if name.starts_with("moe-experts") => Beside {
            part: 0.5,
            ..Beside::default()
        },
        "layernorm" if is_short() => Beside {
            magnitude: MOST_OF_NORM,
            ..Beside::default()
        },
        _ => Beside::default(),
    }
}

/// As many examples as `PROPTEST_CASES` says, or few.
fn examples() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig::with_cases(asked.and_then(|text| text.parse().ok()).unwrap_or(128))
}

proptest! {
    #![proptest_config(examples())]

    #[test]
    fn right_at_any_shape_and_the_same_bits_from_any_team((name, params) in any_case(), seed: u64) {
        prop_assume!(prepare_any(&name, &params, seed, 1).is_some());
        let (prepared, first) = run(&name, &params, seed, 1);
        prop_assert!(first.passed, "{name} {params:?}: {first:?}");
        prop_assert!(first.error.unwrap() <= first.tolerance.unwrap());
        for threads in [2, 3, 5] {
            let (again, verdict) = run(&name, &params, seed, threads);
            prop_assert!(verdict.passed, "{name} {params:?} threads={threads}: {verdict:?}");
            prop_assert_eq!(&again, &prepared);
            if prepared.deterministic {
                prop_assert_eq!(verdict.output, first.output, "{} {:?} threads={}", name, params, threads);
            }
        }
    }

    #[test]
    fn one_wrong_element_fails((name, params) in any_case(), seed: u64, index: usize) {
        let Some(mut case) = prepare_any(&name, &params, seed, 2) else {
            return Ok(());
        };
        case.run(1).unwrap();
        let right = case.verify().unwrap();
        case.corrupt(index, beside(&name, &params));
        let wrong = case.verify().unwrap();
        prop_assert!(right.passed && !wrong.passed, "{name} {params:?}: {right:?} {wrong:?}");
        prop_assert_ne!(right.output, wrong.output);
    }

    #[test]
    fn an_output_of_zeros_or_of_nine_tenths_fails((name, params) in any_case(), seed: u64) {
        let Some(mut case) = prepare_any(&name, &params, seed, 2) else {
            return Ok(());
        };
        case.run(1).unwrap();
        prop_assert!(case.verify().unwrap().passed);
        for factor in [0.0, 0.9] {
            // Of the bits of an output of numbers some change; one of zeros, or of integers that stand for something else, has none.
            let Some(mut case) = prepare_any(&name, &params, seed, 2) else {
                return Ok(());
            };
            case.run(1).unwrap();
            if case.scale_outputs(factor) {
                let wrong = case.verify().unwrap();
                prop_assert!(!wrong.passed, "{name} {params:?} times {factor}: {wrong:?}");
            }
        }
    }

    #[test]
    fn an_input_that_was_changed_fails((name, params) in any_case(), seed: u64, index: usize) {
        let Some(mut case) = prepare_any(&name, &params, seed, 1) else {
            return Ok(());
        };
        case.run(1).unwrap();
        prop_assume!(case.change_input(index));
        let verdict = case.verify().unwrap();
        prop_assert!(!verdict.passed && verdict.detail.contains("was changed"), "{name} {params:?}: {verdict:?}");
    }

    #[test]
    fn an_output_that_was_never_written_fails((name, params) in any_case(), seed: u64) {
        let Some(mut case) = prepare_any(&name, &params, seed, 2) else {
            return Ok(());
        };
        prop_assert!(!case.verify().unwrap().passed);
        case.pretend();
        let verdict = case.verify().unwrap();
        prop_assert!(!verdict.passed && verdict.error.is_none_or(|error| error > 0.0));
    }

    #[test]
    fn seeds_change_inputs((name, params) in any_case(), seed: u64) {
        prop_assume!(prepare_any(&name, &params, seed, 1).is_some());
        let inputs = |seed| prepare(&name, &params, seed, 1).prepared().inputs.clone();
        prop_assume!(!inputs(seed).is_empty());
        prop_assert_eq!(inputs(seed), inputs(seed));
        // One small number may well be the same: not for every seed.
        let others = (1..30).map(|i| inputs(seed.wrapping_add(i)));
        prop_assert!({ others }.any(|others| others != inputs(seed)), "{name} {params:?}");
    }
}

/// The parameters of an op, with small sizes.
fn small(name: &str) -> Params {
    let parameters = host_parameters(op(name)).into_iter();
    parameters
        .map(|p| {
            // Of nine heads, each a pair.
            let least = if p.name == "width" { 18 } else { 9 };
            let default = match p.default {
                Some(ParamValue::Int(value)) => {
                    Some(ParamValue::Int(op(name).test_default(&p.name, value, 8)))
                }
                other => other,
            };
            (p.name, default.unwrap_or(ParamValue::Int(least)))
        })
        .collect()
}

#[test]
fn only_the_free_sum_makes_no_promise() {
    for op in host_ops() {
        let name = op.info().name;
        let case = prepare_any(name, &small(name), 1, 1);
        assert!(
            case.is_none_or(|case| case.prepared().deterministic),
            "{name}"
        );
    }
    let mut params = small("sum");
    params.insert("variant".into(), ParamValue::Text("free".into()));
    assert!(!prepare("sum", &params, 1, 2).prepared().deterministic);
}

/// Entries of ops that run on the host.
fn host_entries() -> impl Iterator<Item = &'static dyn assay_protocol::Catalog> {
    catalog()
        .iter()
        .copied()
        .filter(|entry| entry.info().devices.contains(&DeviceKind::Cpu))
}

#[test]
fn nothing_is_a_size_too() {
    for op in host_ops() {
        for size in host_parameters(op)
            .into_iter()
            .filter(|p| p.choices.is_empty() && p.minimum == Some(1))
        {
            for threads in [1, 3] {
                let mut params = small(op.info().name);
                params.insert(size.name.clone(), ParamValue::Int(0));
                let case = case_of(op.info().name, params.clone(), 1);
                // An op that divides by a count says that it cannot be 0.
                let Ok(program) = op.program(&Arguments(&case)) else {
                    continue;
                };
                if !program.runs_on_cpu() {
                    continue;
                }
                let mut case = CpuCase::new(&case, program, Team::new(threads).unwrap()).unwrap();
                case.restore().unwrap();
                case.run(2).unwrap();
                let verdict = case.verify().unwrap();
                assert!(verdict.passed, "{} {params:?}: {verdict:?}", op.info().name);
            }
        }
    }
}

/// Counted by hand: each input is read once and each output written once, whatever is gone over again.
#[test]
fn work_is_what_is_counted_by_hand() {
    type Sizes<'a> = &'a [(&'a str, i64)];
    let cases: [(&str, Sizes, u64, u64); 5] = [
        // Gradients in and out.
        ("clip-norm", &[("elements", 1000)], 8 * 1000, 3 * 1000),
        // `x` and `dy` in, `dx` out.
        (
            "bias-gelu-backward",
            &[("rows", 5), ("cols", 8)],
            3 * 40 * 4,
            32 * 40,
        ),
        // Numbers in, codes and scales by row out.
        (
            "quantise",
            &[("rows", 3), ("cols", 8)],
            5 * 24 + 3 * 4,
            2 * 24,
        ),
        // Gradients in, parameters and two states in and out.
        ("adamw", &[("elements", 10)], 28 * 10, 17 * 10),
        // Both rows of the table in, 300 of them out, and numbers in.
        (
            "embedding",
            &[("tokens", 300), ("vocabulary", 2), ("width", 7)],
            302 * 7 * 4 + 300 * 4,
            0,
        ),
    ];
    let mut wrong = vec![];
    for (name, sizes, bytes, flops) in cases {
        let mut params = small(name);
        let sizes = sizes.iter();
        params.extend(sizes.map(|(size, value)| ((*size).into(), ParamValue::Int(*value))));
        let work = prepare(name, &params, 1, 1).prepared().work.clone();
        if [work.bytes, work.flops] != [Some(bytes), Some(flops)] {
            wrong.push(format!("{name}: {work:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_bound_that_is_infinite_proves_nothing() {
    let mut program = crate::program::Program::new(assay_protocol::Work::default());
    let judge = |program: &crate::program::Program| {
        let nothing = crate::buffer::Buffers(vec![]);
        program.judge(&nothing, &std::collections::BTreeMap::new(), 1)
    };
    for (tolerance, passes) in [(0.5, true), (f64::INFINITY, false), (f64::NAN, false)] {
        program.check(move |_| crate::program::Checked {
            error: 0.25,
            tolerance,
            detail: "something".into(),
        });
        let verdict = judge(&program);
        assert_eq!(verdict.passed, passes, "{verdict:?}");
        assert_eq!(verdict.detail.contains("no bound"), !passes, "{verdict:?}");
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = OPS.iter().map(|op| op.info().name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), OPS.len());
    for case in super::cases(DeviceKind::Cpu, 9)
        .into_iter()
        .chain(super::cases(DeviceKind::Cuda, 9))
    {
        let program = super::program(&case).unwrap_or_else(|failure| panic!("{case:?}: {failure}"));
        let mut names: Vec<_> = program.buffers.iter().map(|buffer| &*buffer.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), program.buffers.len(), "{case:?}");
    }
}

#[test]
fn bad_parameters_are_named() {
    for entry in host_entries() {
        let name = entry.info().name;
        for parameter in entry.info().parameters {
            if !parameter.devices.is_empty() && !parameter.devices.contains(&DeviceKind::Cpu) {
                continue;
            }
            let least = parameter.minimum.unwrap_or(1);
            let bad = [
                Some(ParamValue::Int(least - 1)),
                Some(ParamValue::Int(-1)),
                Some(ParamValue::Float(1.5)),
                Some(ParamValue::Text("nonsense".into())),
                Some(ParamValue::Bool(true)),
                None,
            ];
            for value in bad {
                let mut params = small(&name);
                params.remove(&parameter.name);
                params.extend(value.map(|value| (parameter.name.clone(), value)));
                let failure = entry.prepare(&case_of(&name, params, 1)).err();
                let named = |reason: &str| reason.contains(&format!("`{}`", parameter.name));
                assert!(
                    matches!(&failure, Some(Failure::Failed(reason)) if named(reason)),
                    "{name} {}: {failure:?}",
                    parameter.name
                );
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_skipped_or_refused() {
    for entry in host_entries() {
        let name = entry.info().name;
        for huge in [1_i64 << 40, ParamValue::MAX_INT] {
            let mut params = small(&name);
            let sizes = params
                .values_mut()
                .filter(|value| **value == ParamValue::Int(9));
            sizes.for_each(|value| *value = ParamValue::Int(huge));
            let failure = entry.prepare(&case_of(&name, params, 1)).err();
            assert!(failure.is_some(), "{name}");
        }
        let mut params = small(&name);
        params.insert("threads".into(), ParamValue::Int(100_000));
        let failure = entry.prepare(&case_of(&name, params, 1)).err();
        assert!(
            matches!(failure, Some(Failure::Skipped(_))),
            "{name}: {failure:?}"
        );
    }
}

/// The size where more blocks than one are in flight, and the free sum is really free.
#[test]
fn sums_of_many_blocks() {
    let many = [
        ("elements", ParamValue::Int(300_001)),
        ("dtype", ParamValue::Text("f32".into())),
    ];
    for variant in ["tree", "free"] {
        let mut params: Params = many.iter().map(|(k, v)| ((*k).into(), v.clone())).collect();
        params.insert("variant".into(), ParamValue::Text(variant.into()));
        let verdicts = [1, 2, 3, 4].map(|threads| run("sum", &params, 1, threads).1);
        assert!(
            verdicts.iter().all(|verdict| verdict.passed),
            "{verdicts:?}"
        );
        if variant == "tree" {
            assert!(
                verdicts
                    .iter()
                    .all(|verdict| verdict.output == verdicts[0].output)
            );
        }
    }
}

/// The sizes where sums are divided into pieces and results into tiles, with something left over of each.
#[test]
fn products_of_many_pieces() {
    let cases = [
        ("gemv", "transposed", "no", [11, 33_001], 1),
        ("gemv", "transposed", "yes", [701, 4500], 1),
        ("gemm-skinny", "skinny", "columns", [21, 17_001], 16),
        ("gemm-skinny", "skinny", "columns", [21, 2501], 4),
        ("gemm-skinny", "skinny", "rows", [1101, 1101], 16),
        ("gemm-skinny", "skinny", "rows", [301, 4127], 4),
    ];
    for (op, parameter, choice, sizes, few) in cases {
        for dtype in ["f32", "bf16"] {
            let mut params = small(op);
            params.insert(parameter.into(), ParamValue::Text(choice.into()));
            params.insert("dtype".into(), ParamValue::Text(dtype.into()));
            for (name, size) in ["rows", "cols"].into_iter().zip(sizes) {
                params.insert(name.into(), ParamValue::Int(size));
            }
            if few > 1 {
                params.insert("few".into(), ParamValue::Int(few));
            }
            let verdicts = [1, 2, 5].map(|threads| run(op, &params, 1, threads).1);
            for verdict in &verdicts {
                assert!(verdict.passed, "{op} {params:?}: {verdict:?}");
                assert_eq!(verdict.output, verdicts[0].output, "{op} {params:?}");
            }
        }
    }
}
