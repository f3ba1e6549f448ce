//! `assay import nvbench`: results of every age become runs like any other, and hostile ones nothing at all.

use std::fs::{File, FileTimes};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use assay_protocol::{DeviceKind, TimingMode};
use assay_record::{Block, BlockStatus, Record, Scalar, Source};
use serde_json::{Value, json};

use crate::helpers::{Outcome, Place, case, metric_on, state, time_on};

/// How many samples each measurement of [`result`] has.
const SAMPLES: usize = 40;

/// Text of a result as NVBench wrote it in a month.
fn written_in(month: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nvbench");
    std::fs::read_to_string(format!("{folder}/{month}.json")).unwrap()
}

fn value(name: &str, kind: &str, value: &str) -> Value {
    json!({ "name": name, "type": kind, "value": value })
}

fn summary(tag: &str, kind: &str, text: &str) -> Value {
    json!({ "tag": tag, "name": "x", "description": "x", "data": [value("value", kind, text)] })
}

fn number(tag: &str, number: f64) -> Value {
    summary(tag, "float64", &number.to_string())
}

fn file(tag: &str, name: &str) -> Value {
    let data = [
        value("filename", "string", name),
        value("size", "int64", &SAMPLES.to_string()),
    ];
    json!({ "tag": tag, "name": "x", "hint": "x", "hide": "Not needed in table.", "data": data })
}

/// Times in seconds around a level, as floats of 32 bits.
fn times(level: f32) -> Vec<f32> {
    let jitter = |i: usize| 1.0 + 0.002 * (i % 5) as f32;
    (0..SAMPLES).map(|i| level * jitter(i)).collect()
}

fn mean(times: &[f32]) -> f64 {
    times.iter().map(|time| f64::from(*time)).sum::<f64>() / times.len() as f64
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// A state of a benchmark; its device is nonsense where there is none, as in real results.
fn a_state(device: i64, axis_values: &[Value], summaries: &[Value]) -> Value {
    json!({
        "name": "x", "min_samples": 10, "cold_warmup_runs": 1, "cold_max_warmup_walltime": -1.0,
        "batch_target_time": 0.5, "skip_time": -1.0, "timeout": 15.0, "device": device, "type_config_index": 0,
        "axis_values": axis_values, "summaries": summaries, "is_skipped": false
    })
}

/// A result as the newest versions write it with `--jsonbin`, of a copy of 8 MiB and a sort on the CPU.
fn result(level: f32) -> Value {
    let (gpu, cpu) = (mean(&times(level)), mean(&times(2.0 * level)));
    let axes = |of: &str| {
        [
            value("T", "string", of),
            value("Elements", "int64", "1048576"),
        ]
    };
    let copied = a_state(
        0,
        &axes("I32"),
        &[
            summary("nv/cold/sample_size", "int64", &SAMPLES.to_string()),
            number("nv/cold/walltime", 0.5),
            number("nv/cold/time/cpu/mean", gpu + 1e-5),
            number("nv/cold/time/gpu/mean", gpu),
            number("nv/cold/time/gpu/stdev/relative", f64::INFINITY),
            number("nv/cold/time/gpu/median", gpu),
            number("nv/cold/bw/item_rate", f64::from(1 << 20) / gpu),
            number(
                "nv/cold/bw/global/bytes_per_second",
                f64::from(1 << 23) / gpu,
            ),
            number("nv/cold/bw/global/utilization", 0.5),
            file("nv/json/bin:nv/cold/sample_times", "out.json-bin/0.bin"),
            file(
                "nv/json/freqs-bin:nv/cold/sample_freqs",
                "out.json-freqs-bin/0.bin",
            ),
            summary("nv/batch/sample_size", "int64", "500"),
            number("nv/batch/time/gpu/mean", f64::from(level) * 0.9),
        ],
    );
    let mut skipped = a_state(0, &axes("F64"), &[]);
    skipped["summaries"] = Value::Null;
    skipped["is_skipped"] = true.into();
    skipped["skip_reason"] = "no doubles today".into();
    let sorted = a_state(
        -1_431_655_766,
        &[],
        &[
            summary("nv/cpu_only/sample_size", "int64", &SAMPLES.to_string()),
            number("nv/cpu_only/time/cpu/mean", cpu),
            file("nv/json/bin:nv/cpu_only/sample_times", "out.json-bin/1.bin"),
        ],
    );
    json!({
        "meta": {
            "argv": ["/home/me/bin/my_bench", "--jsonbin", "out.json"],
            "version": {
                "json": { "major": 1, "minor": 0, "patch": 0, "string": "1.0.0" },
                "nvbench": { "major": 0, "minor": 2, "patch": 0, "string": "0.2.0", "git_version": "v0.2.0-7" }
            }
        },
        "devices": [{
            "id": 0, "name": "NVIDIA H200", "sm_version": 900, "ptx_version": 900, "number_of_sms": 132,
            "sm_default_clock_rate": 1_980_000_000_u64, "global_memory_size": 150_121_545_728_u64,
            "global_memory_bus_width": 6144, "l2_cache_size": 62_914_560, "ecc_state": true
        }],
        "benchmarks": [
            { "name": "Copy a buffer", "index": 0, "devices": [0], "axes": null, "states": [copied, skipped] },
            { "name": "sort", "index": 1, "devices": null, "axes": null, "states": [sorted] }
        ]
    })
}

/// Writes a result and its samples into a folder of a place.
fn write(place: &Place, folder: &str, level: f32, result: &Value) {
    let put = |name: &str, content: Vec<u8>| place.write(&format!("{folder}/{name}"), content);
    put("out.json", serde_json::to_vec_pretty(result).unwrap());
    put("out.json-bin/0.bin", bytes(&times(level)));
    put("out.json-bin/1.bin", bytes(&times(2.0 * level)));
    put("out.json-freqs-bin/0.bin", bytes(&[1.98e9; SAMPLES]));
}

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

    let host = block(&record, "sort@cpu+host");
    assert_eq!(host.samples.len(), SAMPLES);
    assert!(host.samples.device_ns.is_empty() && host.samples.values.is_empty());
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
        .says("a mean alone in 1 of 1")
        .says("the time is that of the file")
        .lacks("never settled");
    place.assay("report").exits(0);
    let page = format!("assay-data/site/runs/{}.html", place.runs()[0]);
    let page = place.read(&page);
    assert!(page.contains("1, a mean alone") && page.contains("no output was verified"));
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

/// Asserts that a changed result is refused in these words, and that nothing is left of it.
#[track_caller]
fn refused(words: &[&str], change: impl FnOnce(&Place, &mut Value)) {
    let place = Place::new();
    let mut text = result(1e-3);
    write(&place, "r", 1e-3, &text);
    change(&place, &mut text);
    place.write("r/out.json", text.to_string());
    leaves_nothing(&place, place.assay("import nvbench r/out.json"), words);
}

#[track_caller]
fn leaves_nothing(place: &Place, outcome: Outcome, words: &[&str]) {
    outcome.refuses(&[&["r/out.json"], words].concat());
    let left = std::fs::read_dir(place.path("assay-data/records"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "nothing is left of it");
}

/// The copy that was measured.
fn copied(text: &mut Value) -> &mut Value {
    &mut text["benchmarks"][0]["states"][0]
}

/// A value of a summary of it, by its places.
fn said(text: &mut Value, summary: usize, value: usize) -> &mut Value {
    &mut copied(text)["summaries"][summary]["data"][value]["value"]
}

#[test]
fn samples_that_cannot_be_are_refused() {
    for (bad, word) in [
        (f32::NAN, "NaN s is no time"),
        (f32::INFINITY, "inf s is no time"),
        (-1e-3, "is no time"),
        (0.0, "0 s is no time"),
    ] {
        let mut all = times(1e-3);
        all[7] = bad;
        refused(
            &["state `x`", "out.json-bin/0.bin", "sample 7", word],
            |place, _| {
                place.write("r/out.json-bin/0.bin", bytes(&all));
            },
        );
    }
    refused(
        &["out.json-bin/0.bin", "157 bytes, but 40 samples"],
        |place, _| {
            place.write("r/out.json-bin/0.bin", &bytes(&times(1e-3))[..157]);
        },
    );
    refused(&["they are of another run"], |place, _| {
        place.write("r/out.json-bin/0.bin", bytes(&times(1.1e-3)));
    });
    refused(&["20 frequencies for 40 samples"], |place, text| {
        *said(text, 10, 1) = "20".into();
        place.write("r/out.json-freqs-bin/0.bin", bytes(&[1e9; 20]));
    });
}

#[test]
fn no_file_outside_the_folder_of_a_result_is_read() {
    let outside = |name: &'static str, words: &[&str]| {
        refused(words, |place, text| {
            place.write("secret.bin", bytes(&times(1e-3)));
            symlink("..", place.path("r/up")).unwrap();
            *said(text, 9, 0) = name.into();
        });
    };
    outside(
        "../secret.bin",
        &["no file \"../secret.bin\"", "beside the result"],
    );
    outside("/etc/hostname", &["no file \"/etc/hostname\""]);
    outside("up/secret.bin", &["outside the result's folder"]);
    outside("out.json-bin", &["out.json-bin"]);
    refused(&["no file", "0.bin"], |place, _| {
        std::fs::remove_file(place.path("r/out.json-bin/0.bin")).unwrap();
        let fifo = place.program("mkfifo").arg("r/out.json-bin/9.bin").status();
        assert!(fifo.unwrap().success());
    });
    refused(&["not a regular file"], |place, text| {
        assert!(
            place
                .program("mkfifo")
                .arg("r/pipe.bin")
                .status()
                .unwrap()
                .success()
        );
        *said(text, 9, 0) = "pipe.bin".into();
    });
}

#[test]
fn counts_and_means_that_cannot_be_are_refused() {
    let numbers: [(usize, &str, &[&str]); 8] = [
        (0, "-40", &["nv/cold/sample_size", "-40"]),
        (0, "41", &["40 samples", "says 41"]),
        (0, "many", &["nv/cold/sample_size", "\"many\" is no int64"]),
        (0, "99999999999999999999", &["is no int64"]),
        (
            11,
            "9223372036854775807",
            &["nv/batch/time/gpu/mean", "no time"],
        ),
        (12, "nan", &["nv/batch/time/gpu/mean", "NaN s is no time"]),
        (12, "inf", &["nv/batch/time/gpu/mean", "inf s is no time"]),
        (12, "-0.1", &["nv/batch/time/gpu/mean", "-0.1 s is no time"]),
    ];
    for (place, number, words) in numbers {
        refused(words, |_, text| *said(text, place, 0) = number.into());
    }
    refused(&["nv/cold/sample_size", "is missing"], |_, text| {
        copied(text)["summaries"].as_array_mut().unwrap().remove(0);
    });
    refused(
        &["two summaries are tagged `nv/cold/sample_size`"],
        |_, text| {
            let first = copied(text)["summaries"][0].clone();
            copied(text)["summaries"]
                .as_array_mut()
                .unwrap()
                .push(first);
        },
    );
    refused(&["-7 samples are declared"], |_, text| {
        *said(text, 9, 1) = "-7".into()
    });
    refused(&["999999999999 samples", "--without-samples"], |_, text| {
        *said(text, 9, 1) = "999999999999".into();
    });
}

#[test]
fn results_that_contradict_themselves_are_refused() {
    let twice = "two results are both the case `Copy a buffer[Elements=2^20,T=I32]@cuda+cold`";
    refused(&[twice], |_, text| {
        let first = copied(text).clone();
        text["benchmarks"][0]["states"]
            .as_array_mut()
            .unwrap()
            .push(first);
    });
    refused(&["field `device` is 3", "no such device"], |_, text| {
        copied(text)["device"] = 3.into()
    });
    refused(&["two have the same `id`"], |_, text| {
        let first = text["devices"][0].clone();
        text["devices"].as_array_mut().unwrap().push(first);
    });
    refused(&["axis `T` has two values"], |_, text| {
        copied(text)["axis_values"][1] = value("T", "string", "I32");
    });
    refused(&["axis `T`", "its type is \"int32\""], |_, text| {
        copied(text)["axis_values"][0] = value("T", "int32", "1");
    });
    refused(&["--machine"], |_, text| {
        text["devices"] = Value::Null;
        text["benchmarks"].as_array_mut().unwrap().remove(0);
        text["benchmarks"][0]["states"][0]["summaries"]
            .as_array_mut()
            .unwrap()
            .pop();
    });
}

#[test]
fn what_is_no_result_is_refused() {
    let texts: [(&str, &[&str]); 9] = [
        ("", &["not a result", "EOF"]),
        ("[]", &["not a result"]),
        ("{}", &["field `benchmarks` is missing"]),
        (r#"{"benchmarks":[]}"#, &["no measurement"]),
        (
            r#"{"benchmarks":[{"name":"a"}]}"#,
            &["benchmark `a`", "field `states` is missing"],
        ),
        (
            r#"{"benchmarks":[{"name":"a","states":7}]}"#,
            &["a list or an object"],
        ),
        (
            r#"{"benchmarks":[{"name":7,"states":[]}]}"#,
            &["not a result", "line 1"],
        ),
        (
            r#"{"benchmarks":[{"name":"a\u001b[2J","states":[]}]}"#,
            &["benchmark 0", "field `name`"],
        ),
        (
            r#"{"devices":[{"id":-1,"name":"a"}],"benchmarks":[]}"#,
            &["not a result"],
        ),
    ];
    for (text, words) in texts {
        let place = Place::new();
        place.write("r/out.json", text);
        leaves_nothing(&place, place.assay("import nvbench r/out.json"), words);
    }
    let place = Place::new();
    place.write("r/out.json", "[".repeat(1_000_000));
    leaves_nothing(
        &place,
        place.assay("import nvbench r/out.json"),
        &["not a result"],
    );
    place.write("r/out.json", [0xff, 0xfe]);
    leaves_nothing(&place, place.assay("import nvbench r/out.json"), &["UTF-8"]);
    let whole = written_in("2022-01");
    place.write("r/out.json", &whole[..whole.len() / 2]);
    leaves_nothing(&place, place.assay("import nvbench r/out.json"), &["EOF"]);
    let long = File::create(place.path("r/out.json")).unwrap();
    long.set_len((128 << 20) + 1).unwrap();
    leaves_nothing(
        &place,
        place.assay("import nvbench r/out.json"),
        &["longer than 134217728 bytes"],
    );
    place.assay("import nvbench r").refuses(&["a folder"]);
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
    assert!(!page.contains("<script") && !page.contains("<i>GPU"));
}
