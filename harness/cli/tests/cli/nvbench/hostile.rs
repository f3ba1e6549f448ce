//! Results that are damaged, contradict themselves or reach for what is not theirs: refused whole, in words.

use std::fs::File;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::results::{bytes, result, times, value, write, written_in};
use crate::helpers::{Outcome, Place};

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
        *said(text, 9, 1) = "-7".into();
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
        copied(text)["device"] = 3.into();
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
