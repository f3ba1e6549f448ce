//! Synthetic data on a device: to the bit what the host makes and finds.

use std::process::Command;

use assay_kernels::device;
use assay_protocol::{DeviceSelector, ParamValue, Reply, Request, TimingMode};
use assay_suites::synthetic::generators::copula::Copula;
use assay_suites::synthetic::items::Recipe;
use assay_suites::synthetic::quality::closeness::{distances, distances_on};
use assay_suites::synthetic::quality::report::{report, report_on};
use assay_suites::synthetic::table::census;
use serde_json::json;

use super::emulated;
use super::worker::Worker;
use crate::{MODES, SIZE, cuda_case, run_right, text};

#[test]
fn spectra_are_made_in_every_timing_mode_and_other_items_are_not() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let mut worker = Worker::start(folder, &[]);
    for timing in MODES {
        let params = [
            ("items", ParamValue::Int(SIZE)),
            ("generator", text("spectra")),
        ];
        let case = cuda_case("synth-items", &params, timing);
        let ran = run_right(&mut worker, case).unwrap_or_else(|reply| panic!("{timing}: {reply}"));
        assert!(ran.verification.output.is_some() && ran.prepared.device.is_some());
        assert_eq!(ran.prepared.inputs.len(), 3, "{timing}");
    }
    let params = [
        ("items", ParamValue::Int(3)),
        ("generator", text("pictures")),
    ];
    let case = cuda_case("synth-items", &params, TimingMode::Hot);
    let (_, end) = worker.ask(&Request::Prepare { case });
    assert!(
        matches!(&end, Reply::Skipped { reason } if reason.contains("by the host alone")),
        "{end:?}"
    );
    let (status, words) = worker.end();
    assert!(status.success() && words.is_empty(), "{status} {words}");
}

/// A process finds the driver when it starts: this test starts its own program again.
#[test]
fn what_is_made_and_found_by_a_device_has_the_bits_of_the_host() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("driver::synthetic::on_the_driver_of_this_process")
        .env("LD_LIBRARY_PATH", folder)
        .env(
            "XDG_CACHE_HOME",
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("driver/cache"),
        )
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && words.contains("all were compared"),
        "{words}{errors}"
    );
}

#[test]
#[ignore = "for a process that was started with a driver, by another test"]
fn on_the_driver_of_this_process() {
    if device::cuda::list().is_empty() {
        println!("skipped: no CUDA device");
        return;
    }
    let cuda: DeviceSelector = "cuda".parse().unwrap();
    // Pixels that fill no vector, no tile; lines that lie beyond both ends, and between pixels; many masks, and none.
    for (parameters, items) in [
        (json!({"points": 301, "masks": 4.5}), 70),
        (
            json!({"points": 64, "masks": 0.0, "most_redshift": 20.0}),
            33,
        ),
        (
            json!({"points": 130, "from_angstrom": 100.0, "to_angstrom": 1e7, "masks": 2.0}),
            31,
        ),
        (
            json!({"points": 4096, "from_angstrom": 6000.0, "to_angstrom": 7000.0, "masks": 64.0}),
            5,
        ),
    ] {
        let recipe = Recipe::of("spectra", parameters.as_object().unwrap().clone());
        let maker = recipe.unwrap().build(None).unwrap();
        for seed in [1, u64::MAX] {
            let case = cuda_case("synth-items", &[], TimingMode::Host);
            let mut made = device::prepare(&case, maker.program(seed, items).unwrap()).unwrap();
            made.run(1).unwrap();
            let verification = made.verify().unwrap();
            assert!(verification.passed, "{parameters} {seed}: {verification:?}");
        }
    }
    let (real, held_out) = (census::rows(1, 0, 230), census::rows(1, 230, 101));
    let made = Copula::fit(&real).unwrap().rows(1, 0, 197);
    let made = real.align(&made).unwrap();
    let bits = |values: Option<Vec<f64>>| -> Vec<u64> {
        values.unwrap().into_iter().map(f64::to_bits).collect()
    };
    for (from, to) in [(&made, &real), (&real, &made)] {
        let found = distances_on(&cuda, from, to).unwrap();
        assert_eq!(bits(found), bits(distances(from, to)));
    }
    let on_host = report(&real, Some(&held_out), &made, 3).unwrap();
    assert_eq!(
        report_on(&cuda, &real, Some(&held_out), &made, None, 3).unwrap(),
        on_host
    );
    let absent = "cuda:no such device".parse().unwrap();
    let error = report_on(&absent, &real, None, &made, None, 3).unwrap_err();
    assert!(error.to_string().contains("no such CUDA device"), "{error}");
    println!("all were compared");
}
