//! The CUDA sources themselves, run on the CPU: every program without waits between blocks
//! that no library does alone, against its own check, under sanitizers, with the threads of a block in several orders, and watched for races.
//!
//! Each source is compiled by `c++` with all kernels that some op launches, once for each content of everything that
//! went in; the programs are kept in the target folder.

mod emulation {
    pub mod cases;
    pub mod compiled;
    pub mod gradients;
    pub mod job;
    pub mod mutants;
    pub mod transform;
    pub mod unsound;
}

use std::cmp::Reverse;
use std::collections::BTreeMap;

use assay_kernels::device::Team;
use assay_kernels::element::DType;
use assay_kernels::ops;
use assay_kernels::program::{BufferSpec, Fill, Role};
use assay_protocol::{CaseSpec, DeviceKind, ParamValue};
use rayon::prelude::*;

use emulation::cases::{self, BySources, launched};
use emulation::compiled::{Compiled, Watch, has_compiler};
use emulation::job::{Order, Session};
use emulation::mutants::{self, Mutant};
use emulation::{gradients, unsound};

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
const ORDERS: &[Order] = &[Order::Reverse, Order::Shuffled, Order::Forward];
/// How each case is run: under sanitizers in two orders of threads, and in the third one watched for races. Results are judged in each.
const WAYS: &[(Watch, &[Order])] = &[
    (Watch::Memory, &[Order::Reverse, Order::Shuffled]),
    (Watch::Races, &[Order::Forward]),
];

/// Every case of every op.
fn every_case() -> BySources {
    cases::of_sizes(SIZES, LARGER)
}

/// Runs a case in some orders of threads; says what is wrong.
fn in_orders(orders: &[Order]) -> impl Fn(&mut Session, &CaseSpec) -> Result<(), String> + Sync {
    |session, case| cases::run(session, case, orders)
}

#[test]
fn every_op_is_right_in_every_order_of_threads() {
    if !has_compiler() {
        return;
    }
    let cases = every_case();
    let mut programs: Vec<_> = cases
        .values()
        .flat_map(|cases| WAYS.iter().map(move |way| (cases, way)))
        .collect();
    // The longest first, so that no processor waits for another at the end.
    programs.sort_by_cached_key(|(cases, _)| Reverse(cases::operations(cases)));
    let failures: Vec<String> = programs
        .into_iter()
        .par_bridge()
        .flat_map(|(cases, (watch, orders))| failures_of(cases, *watch, orders))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!(
        "{} cases of {} programs",
        cases.values().map(Vec::len).sum::<usize>(),
        cases.len()
    );
}

fn failures_of(cases: &[CaseSpec], watch: Watch, orders: &[Order]) -> Vec<String> {
    match Compiled::with(&launched(cases), watch) {
        Ok(compiled) => cases::failures(&compiled, cases, &in_orders(orders)),
        Err(reason) => vec![reason],
    }
}

/// Runs cases in one order, in a program of their own.
fn assert_right(cases: &[CaseSpec]) {
    let compiled = Compiled::with(&launched(cases), Watch::Memory).unwrap();
    let failures = cases::failures(&compiled, cases, &in_orders(&[Order::Shuffled]));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn programs_of_many_tiles_are_right() {
    if !has_compiler() {
        return;
    }
    for (op, size) in LARGEST {
        let mut cases = ops::cases(DeviceKind::Cuda, *size);
        cases.retain(|case| case.workload == *op);
        assert_right(&cases);
    }
}

#[test]
fn gradients_are_those_by_differences() {
    if !has_compiler() {
        return;
    }
    let cases = cases::by_sources(gradients::cases());
    let failures = cases::failures_of_all(&cases, &every_case(), &gradients::check);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_is_no_number_shows_where_it_does_on_the_host() {
    if !has_compiler() {
        return;
    }
    let cases = cases::by_sources(unsound::cases());
    let failures = cases::failures_of_all(&cases, &every_case(), &unsound::check);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
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
    assert_right(&cases);
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

/// Mistakes that nobody notices, each in the cases of its op, by what is run of them.
fn survivors<'a>(
    mutants: impl Iterator<Item = &'a Mutant>,
    caught: impl Fn(&Mutant) -> Option<String> + Sync,
) -> Vec<&'static str> {
    let mutants: Vec<_> = mutants.collect();
    let survive = |mutant: &&&Mutant| match caught(mutant) {
        Some(reason) => {
            println!("{}: {reason}", mutant.what);
            // That is for want of room in the emulation, and no mistake that it saw.
            reason.contains("stack-overflow")
        }
        None => true,
    };
    let survivors = mutants.par_iter().filter(survive);
    survivors.map(|mutant| mutant.what).collect()
}

#[test]
fn mutants_are_caught() {
    if !has_compiler() {
        return;
    }
    let cases = cases::of_sizes(&[67, 300], LARGER);
    let survivors = survivors(mutants::all(), |mutant| {
        let groups = groups(mutant, &cases);
        mutant.ways().into_iter().find_map(|watch| {
            let orders = match watch {
                Watch::Races => &[Order::Forward],
                _ => ORDERS,
            };
            let mut groups = groups.iter();
            groups.find_map(|cases| caught_by(mutant, cases, watch, &in_orders(orders)))
        })
    });
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}

/// By differences alone.
#[test]
fn wrong_gradients_are_caught() {
    if !has_compiler() {
        return;
    }
    let survivors = survivors(mutants::GRADIENTS.iter(), |mutant| {
        let cases = cases::by_sources(gradients::of_op(mutant.op));
        let groups = groups(mutant, &cases);
        caught_by(mutant, &groups[0], Watch::Nothing, &gradients::check)
    });
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}

/// By what is no number alone.
#[test]
fn what_hides_that_it_is_no_number_is_caught() {
    if !has_compiler() {
        return;
    }
    let cases = cases::by_sources(unsound::cases());
    let survivors = survivors(mutants::UNSOUND.iter(), |mutant| {
        let groups = groups(mutant, &cases);
        caught_by(mutant, &groups[0], Watch::Nothing, &unsound::check)
    });
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}

/// The cases of a mutant's op, of the same sources and type together, those of the fewest sources first. It is compiled for these at a
/// time: most mutants are caught by the first ones.
fn groups<'a>(mutant: &Mutant, cases: &'a BySources) -> Vec<Vec<&'a CaseSpec>> {
    let mut groups: BTreeMap<_, Vec<&CaseSpec>> = BTreeMap::new();
    for (paths, cases) in cases {
        if !cases::is_header(mutant.path) && !paths.contains(&mutant.path) {
            continue;
        }
        for case in cases.iter().filter(|case| case.workload == mutant.op) {
            let of = (paths.len(), paths, cases::dtype(case));
            groups.entry(of).or_default().push(case);
        }
    }
    assert!(
        !groups.is_empty(),
        "no case of {} uses {}",
        mutant.op,
        mutant.path
    );
    groups.into_values().collect()
}

/// How some case fails, of those that pass with the source as it is.
fn caught_by(
    mutant: &Mutant,
    cases: &[&CaseSpec],
    watch: Watch,
    run: cases::Run,
) -> Option<String> {
    let compiled = Compiled::of_mutant(&launched(cases.iter().copied()), mutant, watch)
        .unwrap_or_else(|reason| panic!("{}: {reason}", mutant.what));
    let mut session = Session::start(&compiled);
    cases.iter().find_map(|case| run(&mut session, case).err())
}
