//! Results as NVBench writes them, with files of samples, and those that it wrote in earlier years.

use serde_json::{Value, json};

use crate::helpers::Place;

/// How many samples each measurement of [`result`] has.
pub const SAMPLES: usize = 40;

/// Text of a result as NVBench wrote it in a month.
pub fn written_in(month: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nvbench");
    std::fs::read_to_string(format!("{folder}/{month}.json")).unwrap()
}

pub fn value(name: &str, kind: &str, value: &str) -> Value {
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
pub fn times(level: f32) -> Vec<f32> {
    let jitter = |i: usize| 1.0 + 0.002 * (i % 5) as f32;
    (0..SAMPLES).map(|i| level * jitter(i)).collect()
}

pub fn mean(times: &[f32]) -> f64 {
    times.iter().map(|time| f64::from(*time)).sum::<f64>() / times.len() as f64
}

pub fn bytes(numbers: &[f32]) -> Vec<u8> {
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
pub fn result(level: f32) -> Value {
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
pub fn write(place: &Place, folder: &str, level: f32, result: &Value) {
    let put = |name: &str, content: Vec<u8>| place.write(&format!("{folder}/{name}"), content);
    put("out.json", serde_json::to_vec_pretty(result).unwrap());
    put("out.json-bin/0.bin", bytes(&times(level)));
    put("out.json-bin/1.bin", bytes(&times(2.0 * level)));
    put("out.json-freqs-bin/0.bin", bytes(&[1.98e9; SAMPLES]));
}
