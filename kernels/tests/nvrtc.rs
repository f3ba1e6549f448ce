//! Every kernel of every op compiles for every architecture, without a word from the compiler.

use assay_kernels::device::cuda::compiler::{self, Unit};
use assay_kernels::ops;
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

#[test]
fn every_kernel_compiles_for_every_architecture() {
    if !has_nvrtc() {
        return;
    }
    let kernels = ops::kernels();
    assert!(!kernels.is_empty());
    // Some sources take most of the time: each is compiled for several architectures at once.
    for (source, kernels) in kernels.values() {
        let architectures = ARCHITECTURES.par_iter();
        architectures
            .filter(|architecture| source.supports(architecture))
            .for_each(|architecture| {
                let unit = Unit {
                    name: source.path,
                    text: source.text,
                    kernels,
                };
                let cubin = compiler::compile(&unit, architecture)
                    .unwrap_or_else(|failure| panic!("{failure}"));
                assert_eq!(cubin.log, "", "{} for sm_{architecture}", source.path);
                assert!(cubin.image.starts_with(b"\x7fELF") && cubin.names.len() == kernels.len());
            });
    }
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
