//! The CUDA sources themselves, run on the CPU: every program without waits between blocks
//! that no library does alone, against its own check, under sanitizers, with the threads of a block in several orders, and watched for races.
//!
//! Each source is compiled by `c++` with all kernels that some op launches, once for each content of everything that
//! went in; the programs are kept in the target folder.

mod emulation {
    pub mod compiled;
    pub mod job;
    pub mod mutants;
    pub mod transform;
}

use std::collections::{BTreeMap, BTreeSet};

use assay_kernels::device::Team;
use assay_kernels::element::DType;
use assay_kernels::ops;
use assay_kernels::program::{BufferSpec, Fill, Program, Role, Step};
use assay_protocol::{CaseSpec, DeviceKind, ParamValue};
use rayon::prelude::*;

use emulation::compiled::{Compiled, Kernels, Watch, has_compiler};
use emulation::job::{Order, Session};
use emulation::mutants;
use emulation::transform::{self, transform};

/// Nothing, one, less than a warp and a bit more than two, and several blocks of nothing in particular.
const SIZES: &[i64] = &[0, 1, 67, 300];
/// More for ops whose blocks have something to do with each other: several tiles, and levels above them.
const LARGER: &[(&str, &[i64])] = &[
    ("sum", &[70_001]),
    ("stream-dot", &[70_001]),
    ("scan", &[20_000]),
    ("radix-sort", &[20_000]),
    ("histogram", &[20_000]),
    ("top-k", &[20_000]),
    // Rows longer than what the threads of a block keep of them.
    ("softmax", &[4_201]),
    ("softmax-backward", &[4_201]),
    ("layernorm", &[4_201]),
];
/// Once more, in one order: as many tiles as it takes to look back over more than a warp can see at once, and more groups
/// of blocks or of chunks than one.
const LARGEST: &[(&str, i64)] = &[
    ("scan", 340_001),
    ("radix-sort", 100_003),
    ("top-k", 8_500_001),
];
/// How each case is run: under sanitizers in every order of threads, and once watched for races.
const WAYS: &[(Watch, &[Order])] = &[
    (
        Watch::Memory,
        &[Order::Forward, Order::Reverse, Order::Shuffled],
    ),
    (Watch::Races, &[Order::Forward]),
];

/// Cases that one session runs, so that the last program keeps no processor waiting.
const PORTION: usize = 16;

/// Paths of the sources that a program launches kernels of.
fn sources(program: &Program) -> Vec<&'static str> {
    let mut paths: Vec<_> = program
        .launches()
        .map(|launch| launch.source.path)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Whether the emulation can run all of a program.
fn is_emulated(program: &Program) -> bool {
    let is_around_transform = sources(program) == [transform::PATH];
    let is_step = |step: &Step| !matches!(step, Step::Library(_)) || is_around_transform;
    !program.cuda.is_empty()
        && program.cuda.iter().all(is_step)
        && program.launches().all(|launch| launch.source.emulated)
}

/// Every case that the emulation can run, by the sources that it needs.
fn emulated_cases(sizes: &[i64]) -> BTreeMap<Vec<&'static str>, Vec<CaseSpec>> {
    let mut cases: BTreeMap<_, Vec<CaseSpec>> = BTreeMap::new();
    let larger = LARGER.iter().flat_map(|(_, sizes)| *sizes);
    let all: BTreeSet<i64> = sizes.iter().chain(larger).copied().collect();
    for size in &all {
        for case in ops::cases(DeviceKind::Cuda, *size) {
            let is_larger =
                |(op, larger): &(&str, &[i64])| *op == case.workload && larger.contains(size);
            if !sizes.contains(size) && !LARGER.iter().any(is_larger) {
                continue;
            }
            // What divides by a size says that it cannot be 0.
            let Ok(program) = ops::program(&case) else {
                assert_eq!(*size, 0, "{case:?}");
                continue;
            };
            if is_emulated(&program) {
                cases.entry(sources(&program)).or_default().push(case);
            }
        }
    }
    cases
}

/// Runs a case in one order; says what is wrong.
fn run(session: &mut Session, case: &CaseSpec, order: Order) -> Result<(), String> {
    let team = Team::new(1).map_err(|failure| failure.to_string())?;
    let program = ops::program(case).map_err(|failure| failure.to_string())?;
    let mut buffers = program
        .host_buffers(&team, case.seed.0)
        .map_err(|failure| failure.to_string())?;
    let changed = program
        .buffers
        .iter()
        .enumerate()
        .filter(|(_, spec)| spec.role == Role::InOut);
    let initial = changed
        .map(|(index, _)| (index, buffers.0[index].duplicate(&team).unwrap()))
        .collect();
    session.run(&program, &mut buffers, order, |buffers| {
        transform(case, &program, buffers);
    })?;
    let verdict = program.judge(&buffers, &initial, 1);
    if verdict.passed {
        Ok(())
    } else {
        Err(format!("{verdict:?}"))
    }
}

#[test]
fn every_op_is_right_in_every_order_of_threads() {
    if !has_compiler() {
        return;
    }
    let cases = emulated_cases(SIZES);
    let failures: Vec<String> = cases
        .par_iter()
        .flat_map(|(_, cases)| failures_of(cases))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!(
        "{} cases of {} programs",
        cases.values().map(Vec::len).sum::<usize>(),
        cases.len()
    );
}

#[test]
fn programs_of_many_tiles_are_right() {
    if !has_compiler() {
        return;
    }
    let all = LARGEST.iter().map(|(op, size)| {
        let mut cases = ops::cases(DeviceKind::Cuda, *size);
        cases.retain(|case| case.workload == *op);
        cases
    });
    for cases in all {
        let compiled = Compiled::with(&launched(&cases), Watch::Memory).unwrap();
        let failures = failures_in(&compiled, &cases, &[Order::Shuffled]);
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}

/// Where there are more blocks than one group of the tree over them.
#[test]
fn fixed_sums_have_the_bits_of_the_host() {
    if !has_compiler() {
        return;
    }
    let compiled = Compiled::of_ops(&["order/sum.cu"], Watch::Memory).unwrap();
    let team = Team::new(2).unwrap();
    let mut session = Session::start(&compiled);
    for (op, dtype, size) in [("sum", "f32", 8_400_001), ("stream-dot", "f64", 300_007)] {
        let is_wanted = |case: &CaseSpec| {
            let is = |name: &str, text: &str| {
                let value = case.params.get(name).and_then(ParamValue::as_str);
                value.is_none_or(|value| value == text)
            };
            case.workload == op && is("dtype", dtype) && is("variant", "fixed")
        };
        let mut cases = ops::cases(DeviceKind::Cuda, size);
        cases.retain(is_wanted);
        let [case] = cases.as_slice() else {
            panic!("{op}: {cases:?}")
        };
        let mut program = ops::program(case).unwrap();
        let mut buffers = program.host_buffers(&team, 3).unwrap();
        let place = |spec: &BufferSpec| spec.role == Role::Output;
        let out = program.buffers.iter().position(place).unwrap();
        session
            .run(&program, &mut buffers, Order::Shuffled, |_| {})
            .unwrap();
        let found = buffers.0[out].bytes().to_vec();
        let mut on_host = program.take_cpu().expect("the same sum on the host");
        on_host(&team, &mut buffers, 1);
        assert_eq!(found, buffers.0[out].bytes(), "{op}");
    }
}

/// Odd ones, whole vectors and tiles, and one more than those; of one token, and about as many as tiles have.
#[test]
fn attention_has_heads_of_any_width() {
    const WIDTHS: &[i64] = &[1, 7, 32, 33, 64, 66, 128];
    const LENGTHS: &[i64] = &[1, 63, 64, 65, 129];
    if !has_compiler() {
        return;
    }
    let mut cases = ops::cases(DeviceKind::Cuda, 67);
    cases.retain(|case| case.workload == "attention-half");
    for (turn, case) in cases.iter_mut().enumerate() {
        let is_rotated = case.params["position"] == ParamValue::Text("rope".into());
        let width = WIDTHS[turn % WIDTHS.len()];
        for (name, size) in [
            ("batch", 2),
            ("heads", 1),
            ("width", width + if is_rotated { width % 2 } else { 0 }),
            ("length", LENGTHS[turn % LENGTHS.len()]),
        ] {
            case.params.insert(name.into(), ParamValue::Int(size));
        }
    }
    let compiled = Compiled::with(&launched(&cases), Watch::Memory).unwrap();
    let failures = failures_in(&compiled, &cases, &[Order::Shuffled]);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn failures_of(cases: &[CaseSpec]) -> Vec<String> {
    let kernels = launched(cases);
    WAYS.par_iter()
        .flat_map(|(watch, orders)| match Compiled::with(&kernels, *watch) {
            Ok(compiled) => failures_in(&compiled, cases, orders),
            Err(reason) => vec![reason],
        })
        .collect()
}

fn failures_in(compiled: &Compiled, cases: &[CaseSpec], orders: &[Order]) -> Vec<String> {
    let portions = cases.par_chunks(PORTION).enumerate();
    portions
        .flat_map(|(portion, cases)| {
            let first = (portion * PORTION) as u64;
            failures_in_turn(compiled, cases, orders, first)
        })
        .collect()
}

/// The seed of a case is its turn, of which the first is given.
fn failures_in_turn(
    compiled: &Compiled,
    cases: &[CaseSpec],
    orders: &[Order],
    first: u64,
) -> Vec<String> {
    let mut session = Session::start(compiled);
    let mut failures = vec![];
    for (turn, case) in (first..).zip(cases) {
        for order in orders {
            let case = CaseSpec {
                seed: turn.into(),
                ..case.clone()
            };
            if let Err(reason) = run(&mut session, &case, *order) {
                failures.push(format!(
                    "{} {:?} {order:?}: {reason}",
                    case.workload, case.params
                ));
                // Whatever it died of, the next case starts with a living one.
                session = Session::start(compiled);
            }
        }
    }
    failures
}

#[test]
fn devices_fill_buffers_with_the_bits_of_the_host() {
    if !has_compiler() {
        return;
    }
    let compiled = Compiled::of_ops(&["fill.cu"], Watch::Memory).unwrap();
    let mut session = Session::start(&compiled);
    let team = Team::new(1).unwrap();
    let reals = [DType::F64, DType::F32, DType::F16, DType::Bf16];
    let integers = [
        DType::U64,
        DType::U32,
        DType::I32,
        DType::I8,
        DType::U8,
        DType::F8,
    ];
    for len in [0, 1, 5, 4099] {
        let mut specs = vec![(
            DType::U32,
            Fill::Below {
                stream: 3,
                bound: 1000,
            },
        )];
        for dtype in reals {
            specs.push((
                dtype,
                Fill::Signed {
                    stream: 1,
                    scale: 8.0,
                },
            ));
            specs.push((dtype, Fill::Unit { stream: 2 }));
        }
        specs.extend(integers.map(|dtype| (dtype, Fill::Words { stream: 1 << 40 })));
        for (dtype, fill) in specs {
            session.check_fill(
                &team,
                BufferSpec {
                    name: "x".into(),
                    dtype,
                    len,
                    role: Role::Input,
                    fill,
                },
                0x1234_5678_9abc,
            );
        }
    }
}

#[test]
fn mutants_are_caught() {
    if !has_compiler() {
        return;
    }
    let all: Vec<_> = mutants::all().collect();
    let cases = emulated_cases(&[67, 300]);
    let survivors: Vec<&str> = all
        .into_par_iter()
        .filter(|mutant| match caught(mutant, &cases) {
            Some(reason) => {
                println!("{}: {reason}", mutant.what);
                // That is for want of room in the emulation, and no mistake that it saw.
                reason.contains("stack-overflow")
            }
            None => true,
        })
        .map(|mutant| mutant.what)
        .collect();
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}

/// How some case of a mutant's op fails, of those that pass with the source as it is. It is compiled for cases of
/// the same sources and type at a time: most are caught by the first ones.
fn caught(
    mutant: &mutants::Mutant,
    cases: &BTreeMap<Vec<&'static str>, Vec<CaseSpec>>,
) -> Option<String> {
    let kind = std::path::Path::new(mutant.path).extension();
    let is_header = kind.is_some_and(|kind| kind == "cuh");
    let mut groups: BTreeMap<_, Vec<&CaseSpec>> = BTreeMap::new();
    for (paths, cases) in cases {
        if !is_header && !paths.contains(&mutant.path) {
            continue;
        }
        for case in cases.iter().filter(|case| case.workload == mutant.op) {
            let dtype = case.params.get("dtype").and_then(ParamValue::as_str);
            // Those of the fewest sources first.
            let of = (paths.len(), paths, dtype);
            groups.entry(of).or_default().push(case);
        }
    }
    assert!(
        !groups.is_empty(),
        "no case of {} uses {}",
        mutant.op,
        mutant.path
    );
    WAYS.iter().find_map(|(watch, orders)| {
        groups
            .values()
            .find_map(|cases| caught_by(mutant, cases, *watch, orders))
    })
}

/// The kernels that cases launch.
fn launched<'a>(cases: impl IntoIterator<Item = &'a CaseSpec>) -> Kernels {
    let mut kernels = Kernels::new();
    for case in cases {
        let program = ops::program(case).expect("a program, as before");
        for launch in program.launches() {
            let names = kernels.entry(launch.source.path).or_default();
            names.insert(launch.kernel.clone());
        }
    }
    kernels
}

fn caught_by(
    mutant: &mutants::Mutant,
    cases: &[&CaseSpec],
    watch: Watch,
    orders: &[Order],
) -> Option<String> {
    let compiled = Compiled::of_mutant(&launched(cases.iter().copied()), mutant, watch)
        .unwrap_or_else(|reason| panic!("{}: {reason}", mutant.what));
    let mut session = Session::start(&compiled);
    let mut failure = |case: &CaseSpec, order: &Order| run(&mut session, case, *order).err();
    cases
        .iter()
        .find_map(|case| orders.iter().find_map(|order| failure(case, order)))
}
