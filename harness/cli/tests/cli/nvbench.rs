//! `assay import nvbench`: results of every age become runs like any other, and hostile ones nothing at all.

mod hostile;
mod results;

use std::fs::{File, FileTimes};
use std::time::{Duration, SystemTime};

use assay_protocol::{DeviceKind, TimingMode};
use assay_record::{Block, BlockStatus, Record, Scalar, Source};
use serde_json::Value;

use self::results::{SAMPLES, bytes, mean, result, times, write, written_in};
use crate::helpers::{Place, case, metric_on, state, time_on};

/// A place with one result, in the folder `r`.
fn place() -> Place {
    let place = Place::new();
    write(&place, "r", 1e-3, &result(1e-3));
    place
}

fn shown(place: &Place) -> Value {
    place.assay("show --json").exits(0).json()
}

fn block<'a>(record: &'a Record, case: &str) -> &'a Block {
    record.blocks.iter().find(|b| b.case == case).unwrap()
}

#[test]
fn results_of_every_age_are_read() {
    let sort = "cub::DeviceRadixSort::SortKeys - Overview[Elements=2^16,Input=Rand,Key=U32,Pattern=Ascend]@cuda+cold";
    let huge = "cub::DeviceRadixSort::SortKeys - Overview[Elements=2^30,Input=Rand,Key=U16,Pattern=Ascend]@cuda+cold";
    let scan =
        "cub::DeviceScan::ExclusiveSum (mixed types)[Elements=2^20,In=I32,Out=F32]@cuda+cold";
    let copy = "copy_type_conversion_sweep[In=I8,Out=F32]@cuda:0+cold";
    let same = "copy_type_conversion_sweep[In=I8,Out=I8]@cuda:0+cold";
    // Case, nanoseconds as the file has them, bytes of an iteration.
    let found = |month: &str, case: &str, ns: f64, moved: u64, skipped: (&str, &str)| {
        let place = Place::new();
        place.write("out.json", written_in(month));
        place
            .assay(&format!("import nvbench out.json --date {month}-01"))
            .exits(0)
            .says("imported as");
        let run = shown(&place);
        let is = time_on(&run, case, "main");
        assert!((is / ns - 1.0).abs() < 1e-6, "{month}: {is}");
        assert_eq!(self::case(&run, case)["case"]["work"]["bytes"], moved);
        assert_eq!(state(&run, skipped.0), format!("skipped {}", skipped.1));
    };
    let ended = "Unexpected error: bad allocation: cudaErrorMemoryAllocation: out of memory";
    let twin = "Not a conversion: InputType == OutputType.";
    found(
        "2021-03",
        scan,
        203_983.910_251,
        8 << 20,
        ("In=I32,Out=I32", "Types are not mixed."),
    );
    found("2021-06", sort, 89_074.983_780, 8 << 16, (huge, ended));
    found("2021-07", copy, 736_944.342_078, 5 << 26, (same, twin));
    found("2022-01", copy, 736_291.951_292, 5 << 26, (same, twin));
}

#[test]
fn a_result_with_its_samples_becomes_a_run() {
    let place = place();
    place
        .assay("import nvbench r/out.json --date 2026-08-01")
        .exits(0)
        .says("r/out.json: imported as 20260801-000000-");
    let record = place.record();
    let manifest = &record.header.manifest;
    assert_eq!(
        (
            manifest.suite.name.as_str(),
            record.header.machine.name.as_str()
        ),
        ("my_bench", "nvidia-h200")
    );
    assert!(
        matches!(&manifest.suite.source, Source::Imported(origin) if origin.file == "out.json")
    );
    assert_eq!(manifest.workers["nvbench"][0], "/home/me/bin/my_bench");
    let hardware = &record.header.fingerprint.hardware;
    assert_eq!(
        hardware["gpu.0.compute_capability"].value(),
        Some(&Scalar::Text("9.0".into()))
    );
    assert_eq!(
        hardware["gpu.0.memory_gib"].value(),
        Some(&Scalar::Int(140))
    );

    let cold = block(&record, "Copy a buffer[Elements=2^20,T=I32]@cuda+cold");
    assert_eq!(
        (
            cold.samples.len(),
            cold.samples.iterations.iter().sum::<u64>()
        ),
        (SAMPLES, 40)
    );
    let expected: Vec<u64> = times(1e-3)
        .iter()
        .map(|s| (f64::from(*s) * 1e9).round() as u64)
        .collect();
    assert_eq!(cold.samples.device_ns, expected);
    assert_eq!(cold.samples.values["sm_clock"], vec![1980.0; SAMPLES]);
    assert!(cold.steady && cold.stop.is_none() && cold.verification.is_none());
    let work = &cold.prepared.as_ref().unwrap().work;
    assert_eq!((work.bytes, work.items), (Some(8 << 20), Some(1 << 20)));

    // A batch is one sample; there is nothing else to be had of it.
    let hot = block(&record, "Copy a buffer[Elements=2^20,T=I32]@cuda");
    assert_eq!(
        (&hot.samples.iterations, &hot.samples.device_ns),
        (
            &vec![500],
            &vec![(f64::from(1e-3_f32) * 0.9 * 5e11).round() as u64]
        )
    );
    assert!(hot.stop.is_none());

    let sorted = block(&record, "sort@cpu+host");
    assert_eq!(sorted.samples.len(), SAMPLES);
    assert!(sorted.samples.device_ns.is_empty() && sorted.samples.values.is_empty());
    let of_sort = manifest
        .cases
        .iter()
        .find(|case| case.id == "sort@cpu+host")
        .unwrap();
    assert_eq!(
        (of_sort.device.kind, of_sort.timing),
        (DeviceKind::Cpu, TimingMode::Host)
    );

    // What was skipped is skipped in each way in which the others were measured.
    for id in [
        "Copy a buffer[Elements=2^20,T=F64]@cuda+cold",
        "Copy a buffer[Elements=2^20,T=F64]@cuda",
    ] {
        assert_eq!(
            block(&record, id).status,
            BlockStatus::Skipped("no doubles today".into())
        );
    }
    let run = shown(&place);
    assert!((metric_on(&run, "T=I32]@cuda+cold", "main", 1) - 1980.0).abs() < 1e-9);
    place
        .assay("show")
        .exits(0)
        .says("imported from out.json, which nvbench 0.2.0 wrote; no output was verified")
        .says("3 ok, 0 failed, 0 wrong, 2 skipped")
        .lacks("mean alone")
        .lacks("the time is that of the file");
}

#[test]
fn means_alone_are_marked_as_such() {
    let place = place();
    std::fs::remove_dir_all(place.path("r/out.json-bin")).unwrap();
    place.assay("import nvbench r/out.json").refuses(&[
        "r/out.json",
        "out.json-bin/0.bin",
        "--without-samples",
    ]);
    place
        .assay("import nvbench r/out.json --without-samples")
        .exits(0);
    let record = place.record();
    let cold = block(&record, "Copy a buffer[Elements=2^20,T=I32]@cuda+cold");
    let total = (mean(&times(1e-3)) * SAMPLES as f64 * 1e9).round() as u64;
    assert_eq!(
        (&cold.samples.iterations, &cold.samples.device_ns),
        (&vec![40], &vec![total])
    );
    // The host's own mean is a hundredth longer.
    assert!(cold.samples.host_ns[0].abs_diff(total + 400_000) < 10);
    assert_eq!(cold.stop.as_deref(), Some("summary"));
    place
        .assay("show")
        .exits(0)
        .says("2 of 5 cases are known by their mean alone")
        .says("a summary alone in 1 of 1")
        .says("the time is that of the file")
        .lacks("never settled");
    place.assay("report").exits(0);
    let page = format!("assay-data/site/runs/{}.html", place.runs()[0]);
    let page = place.read(&page);
    assert!(page.contains("1, a summary alone") && page.contains("no output was verified"));
    assert!(
        !page.contains("assay reproduce"),
        "what cannot be done is not offered"
    );
}

#[test]
fn clocks_that_mean_nothing_are_left_out_and_said() {
    let place = place();
    let mut clocks = [1.98e9_f32; SAMPLES];
    // The timer of short samples may not have moved.
    clocks[3] = f32::INFINITY;
    place.write("r/out.json-freqs-bin/0.bin", bytes(&clocks));
    place.assay("import nvbench r/out.json").exits(0);
    place
        .assay("show")
        .exits(0)
        .says("the SM clock of 1 cases could not be read")
        .says("3 ok");
    assert!(
        place
            .record()
            .blocks
            .iter()
            .all(|block| block.samples.values.is_empty())
    );
}

#[test]
fn several_imports_are_a_history() {
    let place = Place::new();
    let commit = |night: u32| format!("{night:02x}").repeat(20);
    for night in 1..=24_u32 {
        let noise = 1.0 + 1e-3 * (night % 3) as f32 + 1e-5 * night as f32;
        let level = noise * if night < 15 { 1e-3 } else { 1.2e-3 };
        let folder = format!("{night}");
        write(&place, &folder, level, &result(level));
        let given = format!(
            "--date 2026-08-{night:02} --commit {} --machine gpu-1",
            commit(night)
        );
        place
            .assay(&format!("import nvbench {folder}/out.json {given}"))
            .exits(0);
    }
    let history = || {
        let shown = place
            .assay("history T=I32]@cuda+cold --metric time")
            .exits(0);
        shown
            .says("time (less is better), suite my_bench on gpu-1")
            .says("REGRESSED +20.")
            .says(&format!("{}..{}", &commit(14)[..10], &commit(15)[..10]))
            .says("2026-08-14 to 2026-08-15")
    };
    let before = history().stdout;
    // Imported nights are a baseline for each other, but suspects cannot be run again.
    place
        .assay("check 20260815")
        .exits(1)
        .says("run        20260815-000000-")
        .says("T=I32]@cuda+cold");
    place
        .assay("confirm 20260815")
        .refuses(&["imported from out.json", "cannot be run again"]);
    place.assay("db rebuild").exits(0).says("24 runs");
    place.assay("db verify").exits(0).says("24 runs agree");
    assert_eq!(history().stdout, before);
}

#[test]
fn a_file_is_imported_once() {
    let place = place();
    let import = "import nvbench r/out.json";
    place.assay(import).exits(0).says("imported as");
    let run = place.runs().pop().unwrap();
    let content = || std::fs::read(place.records().pop().unwrap()).unwrap();
    let before = content();
    place
        .assay(import)
        .exits(0)
        .says(&format!("unchanged, imported before as {run}"));
    // Another time of the file is no other measurement.
    let times =
        FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000));
    File::options()
        .write(true)
        .open(place.path("r/out.json"))
        .unwrap()
        .set_times(times)
        .unwrap();
    place.assay(import).exits(0).says("unchanged");
    place.assay(&format!("{import} --machine other")).refuses(&[
        "r/out.json",
        &run,
        "another --machine",
        "assay db rebuild",
    ]);
    place
        .assay(&format!("{import} --date 2026-08-01"))
        .refuses(&["another --date"]);
    assert_eq!((place.records().len(), content()), (1, before));
    place.assay("list --runs").exits(0).says(&run);
}

#[test]
fn a_record_that_the_database_lost_is_found_again() {
    let place = place();
    let import = "import nvbench r/out.json --date 2026-08-01";
    place.assay(import).exits(0);
    std::fs::remove_file(place.path("assay-data/assay.duckdb")).unwrap();
    place
        .assay(&format!("{import} --machine other"))
        .refuses(&["another --machine"]);
    place.assay(import).exits(0).says("unchanged");
    place.assay("show").exits(0).says("3 ok");
    assert_eq!(place.records().len(), 1);
}

#[test]
fn what_was_imported_is_not_run_again() {
    let place = place();
    place
        .assay("import nvbench r/out.json --date 2026-08-01")
        .exits(0);
    place.assay("reproduce latest").refuses(&[
        "imported from out.json",
        "nvbench",
        "cannot be run again",
    ]);
    assert_eq!(place.records().len(), 1);
}

#[test]
fn one_bad_file_keeps_no_other_from_it() {
    let place = place();
    place.write("bad.json", "{");
    place
        .assay("import nvbench bad.json r/out.json none.json")
        .exits(2)
        .says("r/out.json: imported as")
        .says("error: bad.json: not a result that NVBench wrote")
        .says("none.json");
    assert_eq!(place.records().len(), 1);
    place
        .assay("import nvbench bad.json r/out.json --date 2026-08-01")
        .refuses(&["one file at a time"]);
    place
        .assay("import nvbnech r/out.json")
        .refuses(&["nvbench"]);
    for (option, words) in [
        ("--date yesterday", "2026-11-20T21:15:33Z"),
        ("--date 1899-01-01", "1970 to 2262"),
        ("--commit main", "--commit"),
        ("--suite Big!", "--suite"),
    ] {
        let other = self::place();
        other
            .assay(&format!("import nvbench r/out.json {option}"))
            .refuses(&[words]);
        assert!(other.records().is_empty());
    }
}

#[test]
fn text_of_a_result_reaches_terminal_and_pages_as_text() {
    let place = Place::new();
    let mut text = result(1e-3);
    text["benchmarks"][0]["name"] = "<script>alert(1)</script>".into();
    text["benchmarks"][0]["states"][1]["skip_reason"] = "\u{1b}[31m<b>".repeat(5000).into();
    text["devices"][0]["name"] = "../../<i>GPU</i>".into();
    write(&place, "r", 1e-3, &text);
    place.assay("import nvbench r/out.json").exits(0);
    place
        .assay("show")
        .exits(0)
        .lacks("\u{1b}")
        .says("<script>alert(1)</script>[Elements");
    place.assay("report").exits(0);
    let page = place.read(&format!("assay-data/site/runs/{}.html", place.runs()[0]));
    // One script, and it is ours.
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("<script defer src=\"../assay.js\">") && !page.contains("<i>GPU"));
}
