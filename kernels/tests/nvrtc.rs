//! Every kernel of every op compiles for every architecture, without a word from the compiler, keeps what it computes with in registers,
//! and takes the arguments that it is given.

use std::collections::{BTreeMap, BTreeSet};

use assay_kernels::device::cuda::compiler::{self, Unit};
use assay_kernels::device::cuda::cubin::{self, Resources};
use assay_kernels::ops;
use assay_kernels::program::Source;
use assay_protocol::DeviceKind;
use rayon::prelude::*;

/// From the oldest that is supported to the newest.
const ARCHITECTURES: &[&str] = &["80", "86", "89", "90a", "100a", "120a"];

/// Whether NVRTC is there; where it is not, says so, or fails if `ASSAY_REQUIRE` names it.
fn has_nvrtc() -> bool {
    match compiler::version() {
        Ok(version) => {
            println!("NVRTC {version}");
            true
        }
        Err(failure) => {
            let required = std::env::var("ASSAY_REQUIRE").unwrap_or_default();
            assert!(
                !required.split(',').any(|name| name == "nvrtc"),
                "{failure}"
            );
            println!("skipped: {failure}");
            false
        }
    }
}

/// Most bytes of local memory that a thread of a kernel has on some architecture, by the kernel's name without its types: registers that do
/// not suffice for all of its variants, as NVRTC 13.5 spreads them. More than that, or of another kernel, is a failure.
const FRAMES: &[(&str, u32)] = &[
    ("columns_times", 24),
    ("conv2d_implicit", 40),
    ("flash_backward", 8),
    ("flash_forward", 24),
    ("gemm_register", 56),
    ("ivf_scan", 8),
    ("multiply", 80),
    ("multiply_matrices", 24),
    ("multiply_tensor", 168),
    ("read_shared", 8),
    ("rows_times", 24),
    ("sort_move", 96),
    ("sort_sweep", 40),
    ("top_k_collect", 16),
];

/// What each kernel of a source takes on an architecture.
type All = BTreeMap<(&'static str, String, &'static str), Resources>;

fn compiled((source, kernels): &(&'static Source, Vec<String>), architecture: &'static str) -> All {
    let unit = Unit {
        name: source.path,
        text: source.text,
        kernels,
    };
    let cubin =
        compiler::compile(&unit, architecture).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(cubin.log, "", "{} for sm_{architecture}", source.path);
    assert!(cubin.names.len() == kernels.len());
    let resources = cubin::kernels(&cubin.image).unwrap();
    let names = cubin.names.into_iter();
    names
        .map(|(kernel, lowered)| {
            (
                (source.path, kernel, architecture),
                resources[&lowered].clone(),
            )
        })
        .collect()
}

/// Prints registers and frames, and gives the kernels with frames that are not expected.
fn listed(all: &All) -> Vec<String> {
    let mut unexpected = vec![];
    for ((_, kernel, architecture), resources) in all {
        let Resources {
            registers,
            frame_bytes,
            ..
        } = resources;
        println!(
            "{kernel} sm_{architecture}: {registers} registers, {frame_bytes} B local memory a thread"
        );
        assert!((1..=255).contains(registers), "{kernel}: {resources:?}");
        let name = kernel.split('<').next();
        let known = FRAMES.iter().find(|(known, _)| Some(*known) == name);
        if *frame_bytes > known.map_or(0, |(_, most)| *most) {
            unexpected.push(format!("{kernel} sm_{architecture}: {frame_bytes} B"));
        }
    }
    unexpected
}

/// Launches whose arguments are not what their kernels take.
fn wrong_arguments(all: &All) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    let cases = [67, 257].map(|size| ops::cases(DeviceKind::Cuda, size));
    for case in cases.into_iter().flatten() {
        let Ok(program) = ops::program(&case) else {
            continue;
        };
        for launch in program.launches() {
            let given: Vec<_> = launch.args.iter().map(|arg| arg.bytes()).collect();
            let kernels = ARCHITECTURES.iter().filter_map(|architecture| {
                all.get(&(launch.source.path, launch.kernel.clone(), *architecture))
            });
            for kernel in kernels {
                if kernel.parameters != given {
                    wrong.insert(format!(
                        "{}: {:?}, given {given:?}",
                        launch.kernel, kernel.parameters
                    ));
                }
            }
        }
    }
    wrong
}

#[test]
fn every_kernel_compiles_for_every_architecture() {
    if !has_nvrtc() {
        return;
    }
    let kernels = ops::kernels();
    assert!(!kernels.is_empty());
    let mut all = All::new();
    // Some sources take most of the time: each is compiled for several architectures at once.
    for unit in kernels.values() {
        let architectures = ARCHITECTURES.par_iter();
        let of_unit: Vec<_> = architectures
            .filter(|architecture| unit.0.supports(architecture))
            .map(|architecture| compiled(unit, architecture))
            .collect();
        all.extend(of_unit.into_iter().flatten());
    }
    let unexpected = listed(&all);
    assert!(
        unexpected.is_empty(),
        "local memory:\n{}",
        unexpected.join("\n")
    );
    let wrong = wrong_arguments(&all);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_error_is_told_with_its_line() {
    if !has_nvrtc() {
        return;
    }
    let kernels = ["broken".to_owned()];
    let unit = Unit {
        name: "mine.cu",
        text: "__global__ void broken() { int x = ; }",
        kernels: &kernels,
    };
    let failure = compiler::compile(&unit, "80").unwrap_err().to_string();
    assert!(failure.contains("mine.cu(1): error"), "{failure}");
    let unit = Unit {
        name: "mine.cu",
        text: "__global__ void other() {}",
        kernels: &kernels,
    };
    let failure = compiler::compile(&unit, "80").unwrap_err().to_string();
    assert!(failure.contains("mine.cu"), "{failure}");
}
