//! Files of every version that an earlier Assay wrote: they are read, run, and reproduced, from now on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use assay::bundle::format::VERSION;
use assay_record::body::RECORD_VERSION;
use assay_record::manifest::MANIFEST_SCHEMA;

use crate::helpers::{ASSAY, Outcome, Place, have};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

#[test]
fn manifests_of_every_version_run_and_come_again() {
    for version in 1..=MANIFEST_SCHEMA {
        let place = Place::new();
        let manifest = fixture(&format!("manifests/v{version}.json"));
        fs::copy(manifest, place.path("of-then.json")).unwrap();
        place.assay("run of-then.json").exits(0);
        assert_eq!(place.record().header.manifest.schema, version);
        place
            .assay("reproduce of-then.json --no-confirm")
            .exits(0)
            .says("inputs:  identical")
            .says("outputs: identical");
    }
}

#[test]
fn records_of_every_version_are_ingested_and_published() {
    for version in 1..=RECORD_VERSION {
        let place = Place::new();
        let of_then = format!("../record/tests/v{version}/20251120-211533-a1f10a3a.jsonl");
        let record = Path::new(env!("CARGO_MANIFEST_DIR")).join(of_then);
        place.write("records/.keep", "");
        fs::copy(
            &record,
            place.path("records").join(record.file_name().unwrap()),
        )
        .unwrap();
        place.assay("ingest records").exits(0).says("1 new");
        place
            .assay("show")
            .exits(0)
            .says("20251120-211533-a1f10a3a");
        place.assay("db verify records").exits(0);
        place.assay("report").exits(0);
        let page = "assay-data/site/runs/20251120-211533-a1f10a3a.html";
        assert!(place.path(page).is_file(), "version {version}");
    }
}

#[test]
fn bundles_of_every_version_come_again() {
    if !have("git") {
        return;
    }
    for version in 1..=VERSION {
        let place = Place::new();
        let bundle = fixture(&format!("bundles/v{version}.bundle"));
        // Its worker is a script of one line, which starts the `assay` on its PATH.
        fs::create_dir(place.path("bin")).unwrap();
        symlink(ASSAY, place.path("bin/assay")).unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut reproduce = place.program(ASSAY);
        reproduce
            .args(["reproduce", bundle.to_str().unwrap(), "--no-confirm"])
            .env("PATH", format!("{}:{path}", place.path("bin").display()));
        // How fast the machine of then was is no matter.
        Outcome::of("reproduce", &reproduce.output().unwrap())
            .says("the worker of then was kept and runs again")
            .says("inputs:  identical")
            .says("outputs: identical");
    }
}
