//! Manifests: round trips, damage, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;

use assay_protocol::{Digest, U64};
use assay_record::manifest::Engine;
use assay_record::{
    Arm, ArmCommit, Image, ImageFile, ImageFormat, Limits, ManifestFile, OciDigests, Origin,
    Source, validate::reference,
};

use crate::manifest;

/// An arm in a container.
fn contained() -> Arm {
    Arm {
        name: "box".into(),
        engine: Engine::Podman,
        image: Some(Image {
            environment: "worker-cpu".into(),
            reference: "localhost/assay-worker-cpu".into(),
            platform: "linux/amd64".into(),
            oci: Some(OciDigests {
                index: Some(Digest::of("index")),
                manifest: Digest::of("manifest"),
                config: Digest::of("config"),
            }),
            file: Some(ImageFile {
                format: ImageFormat::OciArchive,
                digest: Digest::of("archive"),
            }),
            limits: Limits {
                memory_bytes: Some(U64(1 << 54)),
                pids: Some(100),
            },
        }),
        worker: Digest::of("worker"),
        prefix: vec![],
        env: BTreeMap::new(),
        commit: None,
    }
}

/// Changes an arm in a container, and says why nobody may run it.
fn refused(edit: fn(&mut Arm, &mut Image)) -> String {
    let mut arm = contained();
    let mut image = arm.image.take().unwrap();
    edit(&mut arm, &mut image);
    if arm.image.is_none() {
        arm.image = Some(image);
    }
    let mut manifest = manifest();
    manifest.arms = vec![arm];
    ManifestFile::seal(&manifest).unwrap_err().to_string()
}

#[test]
fn an_image_goes_with_an_engine_that_runs_it() {
    let mut fine = manifest();
    fine.arms = vec![contained()];
    ManifestFile::seal(&fine).unwrap();
    for (error, expected) in [
        (
            refused(|arm, _| arm.engine = Engine::Host),
            "the host runs none",
        ),
        (
            refused(|arm, image| {
                arm.engine = Engine::Apptainer;
                image.file = None;
            }),
            "apptainer runs a file",
        ),
        (
            refused(|_, image| image.oci = None),
            "podman runs an image by its digests",
        ),
        (
            refused(|_, image| image.file.as_mut().unwrap().format = ImageFormat::Sif),
            "no SIF file",
        ),
        (
            refused(|_, image| image.environment = "../x".into()),
            "field `environment`",
        ),
        (
            refused(|_, image| image.platform = "linux amd64".into()),
            "image.platform",
        ),
        (
            refused(|_, image| image.limits.pids = Some(0)),
            "image.limits.pids",
        ),
        (
            refused(|_, image| image.limits.memory_bytes = Some(U64(0))),
            "memory_bytes",
        ),
        (
            refused(|arm, _| {
                arm.commit = Some(ArmCommit {
                    commit: "0".repeat(40),
                    build: vec![],
                    worker: None,
                });
            }),
            "one or the other",
        ),
    ] {
        assert!(
            error.contains("arm `box`") && error.contains(expected),
            "{error}"
        );
    }
    fine.arms[0].image = None;
    let error = ManifestFile::seal(&fine).unwrap_err().to_string();
    assert!(error.contains("`image` is missing"), "{error}");
}

#[test]
fn a_repository_of_images_has_no_tag_and_is_no_option() {
    for good in [
        "localhost/worker",
        "registry.example:5000/team/worker",
        "worker",
    ] {
        reference(good).unwrap();
    }
    for bad in [
        "",
        "worker:latest",
        "a@sha256:0",
        "-v",
        "--privileged",
        "a/",
        "a b",
        "../a",
        "a:1/b:2",
    ] {
        assert!(
            reference(bad).unwrap_err().contains("without tag"),
            "{bad:?}"
        );
    }
}

#[test]
fn a_manifest_reads_back_and_every_changed_byte_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.json");
    let file = ManifestFile::seal(&manifest()).unwrap();
    let bytes = file.to_bytes().unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(ManifestFile::read(&path).unwrap(), file);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(
            ManifestFile::from_bytes(&path, &changed).is_err(),
            "byte {at}"
        );
        assert!(
            ManifestFile::from_bytes(&path, &bytes[..at]).is_err(),
            "cut at {at}"
        );
    }
}

#[test]
fn manifests_are_refused_in_words() {
    let sealed = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(manifest()).unwrap();
        edit(&mut value);
        let digest = assay_record::canonical::digest(&value).unwrap();
        let file = serde_json::json!({"digest": digest, "manifest": value});
        let mut bytes = assay_record::canonical::to_canonical(&file).unwrap();
        bytes.push(b'\n');
        ManifestFile::from_bytes(Path::new("m.json"), &bytes)
            .unwrap_err()
            .to_string()
    };
    for (error, expected) in [
        (sealed(&|m| m["schema"] = 5.into()), "newer than 4"),
        (sealed(&|m| m["schema"] = 0.into()), "schema"),
        (sealed(&|m| m["extra"] = 1.into()), "unknown field `extra`"),
        (
            sealed(&|m| m["arms"] = serde_json::json!([])),
            "field `arms` is empty",
        ),
        (
            sealed(&|m| m["cases"][1] = m["cases"][0].clone()),
            "two cases are called",
        ),
        (
            sealed(&|m| m["suite"]["name"] = "../x".into()),
            "suite.name",
        ),
        (
            sealed(&|m| m["cases"][0]["policy"]["rounds"] = 3.into()),
            "policy.rounds",
        ),
        (sealed(&|m| m["order_seed"] = 7.into()), "string"),
        (
            sealed(&|m| m["arms"][0]["name"] = "a b".into()),
            "no name of an arm",
        ),
        (
            sealed(&|m| {
                let mut other = m["arms"][0].clone();
                other["name"] = "MAIN".into();
                m["arms"].as_array_mut().unwrap().push(other);
            }),
            "two arms are called",
        ),
        (
            sealed(&|m| m["arms"][0]["commit"] = serde_json::json!({"commit": "HEAD"})),
            "no commit",
        ),
        (
            sealed(&|m| {
                let commit = "0123456789".repeat(4);
                m["arms"][0]["commit"] =
                    serde_json::json!({"commit": commit, "worker": "../../bin/worker"});
            }),
            "lies below",
        ),
    ] {
        assert!(
            error.contains(expected) && error.contains("m.json"),
            "{error}"
        );
    }
}

#[test]
fn an_imported_manifest_says_so() {
    let mut imported = manifest();
    imported.suite.source = Source::Imported(Origin {
        format: "nvbench".into(),
        file: "out.json".into(),
    });
    let text = serde_json::to_string(&imported).unwrap();
    assert!(text.contains(r#""source":{"imported":{"format":"nvbench","file":"out.json"}}"#));
    assert_eq!(ManifestFile::seal(&imported).unwrap().manifest, imported);
}
