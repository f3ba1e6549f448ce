use std::collections::BTreeMap;
use std::ffi::OsString;

use assay_protocol::{Digest, U64};
use assay_record::{Image, Limits, OciDigests};
use serde_json::{Value, json};

use super::{Stored, compare, ending, run};
use crate::engines::{Mismatch, Ran, Sandbox, Start, podman};

fn image() -> Image {
    Image {
        environment: "worker".into(),
        reference: "localhost/worker".into(),
        platform: "linux/amd64".into(),
        oci: Some(OciDigests {
            index: None,
            manifest: Digest::of("manifest"),
            config: Digest::of("config"),
        }),
        file: None,
        limits: Limits {
            memory_bytes: Some(U64(1 << 30)),
            pids: Some(50),
        },
    }
}

fn sandbox() -> Sandbox {
    Sandbox {
        image: image(),
        subject: "the-id".into(),
        dir: Some("/the/suite".into()),
        cache: None,
        gpus: vec!["--device=nvidia.com/gpu=all".into()],
        env: BTreeMap::from([("OMP_NUM_THREADS".to_owned(), "1,2".to_owned())]),
        image_env: vec!["PATH=/opt/bin".into(), "LANG=C".into()],
    }
}

/// What `image inspect` says of the image, with one field as given.
fn described(field: &str, value: Value) -> Value {
    let mut said = json!({
        "Id": Digest::of("config").hex(),
        "Digest": Digest::of("manifest").to_string(),
        "RepoDigests": [format!("localhost/worker@{}", Digest::of("manifest"))],
        "RepoTags": ["localhost/worker:latest"],
        "Os": "linux",
        "Architecture": "amd64",
    });
    said[field] = value;
    said
}

/// What `container inspect` says of a container that was given what was asked for, beside its image.
fn given() -> Value {
    let suite =
        json!({"Type": "bind", "Source": "/the/suite", "Destination": "/suite", "RW": false});
    json!({
        "State": {"Pid": 7},
        "HostConfig": {"Memory": 4096},
        "Mounts": [suite],
        "Config": {"Env": ["OMP_NUM_THREADS=1,2", "PATH=/opt/bin", "LANG=C", "HOSTNAME=x", "NVIDIA_VISIBLE_DEVICES=void"]},
    })
}

fn checked(said: &Value) -> Result<(), String> {
    let image = image();
    let stored = Stored::parse(said).unwrap();
    stored
        .check(&image, &image.oci.unwrap())
        .map_err(|error| error.to_string())
}

#[test]
fn an_image_is_the_pinned_one_by_configuration_manifest_and_platform() {
    checked(&described("Id", json!(Digest::of("config").to_string()))).unwrap();
    // Docker knows no manifest of what was built there.
    let mut unnamed = described("Digest", Value::Null);
    unnamed["RepoDigests"] = json!([]);
    checked(&unnamed).unwrap();
    // With containerd's store, the id is the manifest's digest.
    checked(&described("Id", json!(Digest::of("manifest").to_string()))).unwrap();
    let mut other_manifest = described("Digest", json!(Digest::of("other").to_string()));
    other_manifest["RepoDigests"] = json!([]);
    for (said, expected) in [
        (
            described("Id", json!(Digest::of("other").hex())),
            "its configuration is",
        ),
        (other_manifest, "its manifest is"),
        (
            described("Architecture", json!("arm64")),
            "it is for linux/arm64",
        ),
    ] {
        let error = checked(&said).unwrap_err();
        assert!(
            error.contains(expected) && error.contains("env verify"),
            "{error}"
        );
    }
    assert_eq!(Stored::parse(&json!({"Id": "latest"})), None);
}

#[test]
fn a_container_that_runs_another_image_is_a_mismatch() {
    let config = Digest::of("config");
    let container = |image: &str, manifest: Value| {
        let mut found = given();
        found["Image"] = json!(image);
        found["ImageDigest"] = manifest;
        found
    };
    let manifest = json!(Digest::of("manifest").to_string());
    let ran = compare(
        &podman::CLIENT,
        &sandbox(),
        &container(&config.hex(), manifest.clone()),
        "4.3.1",
        |_| unreachable!("it names the pinned manifest"),
    )
    .unwrap();
    assert_eq!(ran.pid, Some(7));
    assert!(ran.words.contains(&config.to_string()) && ran.words.contains("podman 4.3.1"));
    let other = Digest::of("other");
    for found in [
        container(&other.to_string(), manifest),
        container(&config.hex(), json!(other.to_string())),
        given(),
    ] {
        let known = |_: &Digest| Ok(vec![other]);
        let error = compare(&podman::CLIENT, &sandbox(), &found, "4.3.1", known).unwrap_err();
        assert!(error.is::<Mismatch>(), "{error}");
    }
    // The container names an index, or another packing; the store knows the same image by the pinned manifest, too.
    let found = container(&config.hex(), json!(other.to_string()));
    let known = |_: &Digest| Ok(vec![other, Digest::of("manifest")]);
    compare(&podman::CLIENT, &sandbox(), &found, "4.3.1", known).unwrap();
}

#[test]
fn a_container_gets_nothing_but_what_is_listed() {
    let prefix = ["taskset".to_owned(), "-c".to_owned(), "1".to_owned()];
    let start = Start {
        name: "assay-x-0",
        prefix: &prefix,
        argv: vec!["/usr/local/bin/assay-worker".into(), "worker".into()],
        is_strange: false,
        env: &BTreeMap::new(),
    };
    let argv = run(&sandbox(), &start, &["--own"]).unwrap();
    let words: Vec<&str> = argv.iter().filter_map(|word| word.to_str()).collect();
    let said = words.join(" ");
    for expected in [
        "--pull never",
        "--network none",
        "--read-only",
        "--cap-drop all",
        "--security-opt no-new-privileges",
        "--no-healthcheck",
        "--memory=1073741824 --memory-swap=1073741824 --pids-limit=50",
        "--device=nvidia.com/gpu=all",
        "--mount=type=bind,source=/the/suite,target=/suite,readonly",
        "--env=OMP_NUM_THREADS=1,2",
        "--entrypoint taskset the-id -c 1 /usr/local/bin/assay-worker worker",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let mounts = words.iter().filter(|word| word.starts_with("--mount"));
    assert_eq!(mounts.count(), 1);
    assert_eq!(argv.last(), Some(&OsString::from("worker")));
}

/// What is found of a container of the pinned image with one thing otherwise than it should be.
fn found_with(pointer: &str, value: Value) -> anyhow::Result<Ran> {
    let mut found = given();
    found["Image"] = json!(Digest::of("config").hex());
    match found.pointer_mut(pointer) {
        Some(Value::Array(list)) if !value.is_array() => list.push(value),
        Some(place) => *place = value,
        None => panic!("no {pointer} in {found}"),
    }
    compare(&podman::CLIENT, &sandbox(), &found, "4.3.1", |_| Ok(vec![]))
}

#[test]
fn a_container_that_was_given_something_else_is_a_mismatch() {
    let bounded = found_with("/HostConfig/Memory", json!(4096)).unwrap();
    assert!(!bounded.words.contains("not bounded"));
    let unbounded = found_with("/HostConfig/Memory", json!(0)).unwrap();
    assert!(
        unbounded
            .words
            .contains("memory and processes are not bounded")
    );
    let tmp = json!({"Type": "tmpfs", "Destination": "/tmp"});
    found_with("/Mounts", tmp).unwrap();
    let volume = json!({"Type": "volume", "Destination": "/data", "RW": true});
    for (pointer, value, expected) in [
        ("/Mounts", volume, "a folder /data"),
        ("/Mounts/0/RW", json!(true), "a folder /suite"),
        ("/Mounts/0/Source", json!("/etc"), "a folder /suite"),
        (
            "/Mounts",
            json!([]),
            "has no /suite, which should be /the/suite",
        ),
        ("/Config/Env", json!("LEAK=secret"), "`LEAK`"),
        (
            "/Config/Env/0",
            json!("OMP_NUM_THREADS=7"),
            "`OMP_NUM_THREADS`",
        ),
        (
            "/Config/Env/0",
            json!("LANG=C"),
            "lacks the variable `OMP_NUM_THREADS`",
        ),
        ("/Config/Env/1", json!("PATH=/evil"), "`PATH`"),
        ("/Config/Env/2", json!("LANG=de"), "`LANG`"),
    ] {
        let error = found_with(pointer, value).unwrap_err();
        assert!(error.is::<Mismatch>(), "{error}");
        let error = error.to_string();
        assert!(
            error.contains(expected) && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn an_engine_says_why_a_container_ended() {
    let ended = |code: i64, is_told: bool, is_counted: bool| {
        let state = json!({"Running": false, "ExitCode": code, "OOMKilled": is_told});
        ending(
            &json!({"State": state, "HostConfig": {"Memory": 4096}}),
            is_counted,
        )
    };
    for (is_told, is_counted) in [(true, false), (false, true)] {
        let said = ended(137, is_told, is_counted).unwrap();
        assert!(
            said.starts_with("out of memory") && said.contains("the 4096 bytes"),
            "{said}"
        );
    }
    assert!(ended(137, false, false).unwrap().contains("signal 9"));
    // What the kernel ended was another process.
    assert_eq!(ended(1, false, true), None);
    assert_eq!(
        ending(&json!({"State": {"Running": true, "ExitCode": 0}}), true),
        None
    );
}
