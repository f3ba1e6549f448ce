//! Cases that the emulation can run, by the sources that they need, and how one is run.

use std::collections::BTreeMap;
use std::path::Path;

use assay_kernels::buffer::{Buffer, Buffers};
use assay_kernels::device::Team;
use assay_kernels::ops;
use assay_kernels::program::{Program, Role, Step};
use assay_protocol::{CaseSpec, DeviceKind, ParamValue};
use rayon::prelude::*;

use super::compiled::{Compiled, Kernels, Watch};
use super::job::{Order, Session};
use super::transform::{self, transform};

/// Cases by the paths of the sources that they need.
pub type BySources = BTreeMap<Vec<&'static str>, Vec<CaseSpec>>;

/// Paths of the sources that a program launches kernels of.
pub fn sources(program: &Program) -> Vec<&'static str> {
    let mut paths: Vec<_> = program
        .launches()
        .map(|launch| launch.source.path)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Whether the emulation can run all of a program.
pub fn is_emulated(program: &Program) -> bool {
    let is_around_transform = sources(program) == [transform::PATH];
    let is_step = |step: &Step| !matches!(step, Step::Library(_)) || is_around_transform;
    !program.cuda.is_empty()
        && program.cuda.iter().all(is_step)
        && program.launches().all(|launch| launch.source.emulated)
}

/// Every case of these sizes that the emulation can run, and of ops with sizes of their own those too.
pub fn of_sizes(sizes: &[i64], own: &[(&str, &[i64])]) -> BySources {
    let mut cases = BySources::new();
    let mut all: Vec<i64> = own.iter().flat_map(|(_, sizes)| *sizes).copied().collect();
    all.extend(sizes);
    all.sort_unstable();
    all.dedup();
    for size in all {
        let is_own = |case: &CaseSpec| {
            let mut own = own.iter();
            own.any(|(op, sizes)| *op == case.workload && sizes.contains(&size))
        };
        for case in ops::cases(DeviceKind::Cuda, size) {
            if !sizes.contains(&size) && !is_own(&case) {
                continue;
            }
            // What divides by a size says that it cannot be 0.
            let Ok(program) = ops::program(&case) else {
                assert_eq!(size, 0, "{case:?}");
                continue;
            };
            if is_emulated(&program) {
                cases.entry(sources(&program)).or_default().push(case);
            }
        }
    }
    cases
}

/// About how much there is to do for cases, beside others.
pub fn operations(cases: &[CaseSpec]) -> u64 {
    let of = |case: &CaseSpec| {
        let work = ops::program(case).expect("a program, as before").work;
        work.flops.unwrap_or(0) + work.bytes.unwrap_or(0)
    };
    cases.iter().map(of).sum()
}

/// The kernels that cases launch.
pub fn launched<'a>(cases: impl IntoIterator<Item = &'a CaseSpec>) -> Kernels {
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

/// Whether a source is included by others, and has no kernels of its own.
pub fn is_header(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|kind| kind == "cuh")
}

/// The type of a case, as it is named.
pub fn dtype(case: &CaseSpec) -> Option<&str> {
    case.params.get("dtype").and_then(ParamValue::as_str)
}

/// What a case is called in messages.
pub fn name(case: &CaseSpec) -> String {
    format!("{} {:?}", case.workload, case.params)
}

/// Copies of what iterations of a program change, by their numbers.
fn changed(program: &Program, buffers: &Buffers, team: &Team) -> BTreeMap<usize, Buffer> {
    let specs = program.buffers.iter().enumerate();
    specs
        .filter(|(_, spec)| spec.role == Role::InOut)
        .map(|(index, _)| (index, buffers.0[index].duplicate(team).unwrap()))
        .collect()
}

/// Runs a case in some orders of threads, one after the other; says what is wrong. Results that have the bits of right ones are not judged
/// again.
pub fn run(session: &mut Session, case: &CaseSpec, orders: &[Order]) -> Result<(), String> {
    let team = Team::new(1).map_err(|failure| failure.to_string())?;
    let program = ops::program(case).map_err(|failure| failure.to_string())?;
    let filled = program.host_buffers(&team, case.seed.0);
    let filled = filled.map_err(|failure| failure.to_string())?;
    let mut buffers = Buffers(
        filled
            .0
            .iter()
            .map(|buffer| buffer.duplicate(&team).unwrap())
            .collect(),
    );
    let initial = changed(&program, &filled, &team);
    let mut right: Option<Vec<Vec<u8>>> = None;
    for order in orders {
        for (buffer, filled) in buffers.0.iter_mut().zip(&filled.0) {
            buffer.bytes_mut().copy_from_slice(filled.bytes());
        }
        let found = session.run(&program, &mut buffers, *order, |buffers| {
            transform(case, &program, buffers);
        });
        found.map_err(|reason| format!("{order:?}: {reason}"))?;
        let left = buffers.0.iter().zip(&program.buffers);
        let left = left.filter(|(_, spec)| spec.role != Role::Scratch);
        let left: Vec<_> = left.map(|(buffer, _)| buffer.bytes().to_vec()).collect();
        if right.as_ref() == Some(&left) {
            continue;
        }
        let verdict = program.judge(&buffers, &initial, 1);
        if !verdict.passed {
            return Err(format!("{order:?}: {verdict:?}"));
        }
        right = Some(left);
    }
    Ok(())
}

/// Cases that one session runs, so that the last program keeps no processor waiting.
const PORTION: usize = 16;

/// What is wrong with a case that a session runs.
pub type Run<'a> = &'a (dyn Fn(&mut Session, &CaseSpec) -> Result<(), String> + Sync);

/// Runs cases by a program, portion by portion; says what is wrong with which.
pub fn failures(compiled: &Compiled, cases: &[CaseSpec], run: Run) -> Vec<String> {
    let portions = cases.par_chunks(PORTION);
    portions
        .flat_map(|cases| {
            let mut session = Session::start(compiled);
            let mut failures = vec![];
            for case in cases {
                if let Err(reason) = run(&mut session, case) {
                    failures.push(format!("{}: {reason}", name(case)));
                    // Whatever it died of, the next case starts with a living one.
                    session = Session::start(compiled);
                }
            }
            failures
        })
        .collect()
}

/// Runs cases with memory watched, by programs that have the kernels of these and of others with the same sources.
pub fn failures_of_all(all: &BySources, others: &BySources, run: Run) -> Vec<String> {
    let of_program = |(paths, cases): (&Vec<&'static str>, &Vec<CaseSpec>)| {
        let others = others.get(paths).into_iter().flatten();
        match Compiled::with(&launched(others.chain(cases)), Watch::Memory) {
            Ok(compiled) => failures(&compiled, cases, run),
            Err(reason) => vec![reason],
        }
    };
    all.par_iter().flat_map(of_program).collect()
}

/// Cases by the sources of their programs.
pub fn by_sources(cases: impl IntoIterator<Item = CaseSpec>) -> BySources {
    let mut all = BySources::new();
    for case in cases {
        let program = ops::program(&case).expect("a program");
        all.entry(sources(&program)).or_default().push(case);
    }
    all
}
