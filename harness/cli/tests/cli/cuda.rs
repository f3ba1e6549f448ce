//! CUDA devices through the whole program, on an emulated driver: every kernel is compiled by NVRTC, launched, timed and verified,
//! and what runs is its twin on the host.

use assay_record::BlockStatus;

use crate::emulated;
use crate::helpers::{Outcome, Place};

const POLICY: &str = "[policy]\nrounds = 2\nmax_rounds = 2\nmin_samples = 3\nmax_samples = 5\nwarmup_ms = 1\nround_ms = 10\n";

const MINE: &str = r#"
[[benchmark]]
name = "mine/axpy"
devices = ["cuda"]
timing = ["hot", "cold", "graph", "host"]
axes = { n = [1000, 4096] }

[benchmark.kernel]
file = "{dir}/mine.cu"
name = "axpy<float>"
grid = ["ceil(n / 128)"]
block = [128]
buffers = [
    { name = "x", dtype = "f32", len = "n" },
    { name = "y", dtype = "f32", len = "n", role = "in_out" },
]
args = ["y", "x", "f32: 2.5", "u64: n"]
work = { bytes = "12 * n", flops = "2 * n", unit = "f32" }
check = { expression = "y = EXPRESSION", tolerance = 1e-6 }
"#;

/// A place with the emulated GPU's suite, and a way to run `assay` there; `None` where a tool is missing.
fn place(benchmarks: &str) -> Option<Place> {
    emulated::driver()?;
    let place = Place::new();
    let toolkit = std::env::var("ASSAY_CUDA").unwrap_or_default();
    place.write("assay.toml", format!("[env]\nASSAY_CUDA = \"{toolkit}\"\n"));
    place.write("mine.cu", emulated::USER_SOURCE);
    let head = "schema = 1\nname = \"tiny\"\ndescription = \"of a test\"\n";
    place.write("tiny.toml", format!("{head}{POLICY}{benchmarks}"));
    Some(place)
}

fn assay(place: &Place, arguments: &str) -> Outcome {
    let mut command = place.program(crate::helpers::ASSAY);
    command.args(arguments.split(' '));
    if let Some(folder) = emulated::driver() {
        command.env("LD_LIBRARY_PATH", folder);
    }
    Outcome::of(arguments, &command.output().unwrap())
}

#[test]
fn a_kernel_of_ones_own_is_timed_in_all_modes_and_checked() {
    let Some(place) = place(&MINE.replace("EXPRESSION", "y + 2.5 * x")) else {
        return;
    };
    assay(&place, "run ./tiny.toml").exits(0).says("8 ok");
    let blocks = place.record().blocks;
    assert_eq!(blocks.len(), 16);
    for block in blocks {
        assert_eq!(block.status, BlockStatus::Ok);
        assert!(block.device.is_some_and(|uuid| uuid.starts_with("GPU-")));
    }
    // Its launch is in the manifest, and its registers are in the record.
    assay(&place, "show latest --json").says("registers");
}

#[test]
fn a_kernel_that_computes_something_else_is_wrong() {
    let Some(place) = place(&MINE.replace("EXPRESSION", "y - 2.5 * x")) else {
        return;
    };
    assay(&place, "run ./tiny.toml").exits(1).says("8 wrong");
}

#[test]
fn a_kernel_of_which_nothing_is_checked_is_refused_when_it_is_planned() {
    let only_read = MINE.replace(", role = \"in_out\"", "");
    let Some(place) = place(&only_read.replace("EXPRESSION", "y")) else {
        return;
    };
    assay(&place, "run ./tiny.toml").refuses(&["no buffer has the role `output` or `in_out`"]);
}

#[test]
fn auto_is_the_gpu_where_there_is_one() {
    let benchmark = "[[benchmark]]\nname = \"memory/triad\"\nworkload = \"stream-triad\"\ndevices = [\"auto\"]\nparams = { elements = 1000 }\n";
    let Some(place) = place(benchmark) else {
        return;
    };
    assay(&place, "run ./tiny.toml").exits(0).says("@cuda");
    place.assay("run ./tiny.toml").exits(0).says("@cpu");
}
