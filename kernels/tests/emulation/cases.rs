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

/// Runs a case in one order; says what is wrong.
pub fn run(session: &mut Session, case: &CaseSpec, order: Order) -> Result<(), String> {
    let team = Team::new(1).map_err(|failure| failure.to_string())?;
    let program = ops::program(case).map_err(|failure| failure.to_string())?;
    let mut buffers = program
        .host_buffers(&team, case.seed.0)
        .map_err(|failure| failure.to_string())?;
    let initial = changed(&program, &buffers, &team);
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

/// Compiles the programs of all cases, and runs these with memory watched.
pub fn failures_of_all(all: &BySources, run: Run) -> Vec<String> {
    let of_program = |cases: &Vec<CaseSpec>| match Compiled::with(&launched(cases), Watch::Memory) {
        Ok(compiled) => failures(&compiled, cases, run),
        Err(reason) => vec![reason],
    };
    all.par_iter()
        .flat_map(|(_, cases)| of_program(cases))
        .collect()
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
