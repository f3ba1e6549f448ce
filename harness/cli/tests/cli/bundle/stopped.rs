//! A bundle that somebody stops in the middle.

use std::fs;

use rustix::process::Signal;

use super::{commit, git};
use crate::helpers::{ASSAY, PATIENCE, Place, Running, eventually, have, spin, suite};

#[test]
fn an_interrupted_bundle_leaves_nothing_behind() {
    if !have("git") {
        return;
    }
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.write("tiny.toml", suite("tiny", &[spin("control/spin", 1000)]));
    place.write("Cargo.toml", "[package]\nname = \"x\"\n");
    place.write(".gitignore", "*\n!*.toml\n");
    git(&place, &["init", "-q", "-b", "main", "."]);
    commit(&place, "first");
    place.assay("run ./tiny.toml").exits(0);
    fs::create_dir(place.path("out")).unwrap();
    // What collects packages for minutes, and hears of an interrupt as all do that a terminal runs.
    place.script("bin/cargo", "touch started; sleep 2; exit 1");
    let path = std::env::var("PATH").unwrap();
    let mut bundle = place.program(ASSAY);
    bundle
        .args(["bundle", "latest", "--with-vendor", "-o", "out/run.bundle"])
        .env("PATH", format!("{}:{path}", place.path("bin").display()));
    let running = Running::begin(&place, "bundle", bundle);
    let is_busy = || fs::read_dir(place.path("out")).unwrap().count() > 0;
    assert!(eventually(PATIENCE, is_busy));
    running.signal(Signal::INT);
    running
        .end()
        .exits(130)
        .says("interrupted: no bundle was written");
    assert!(!is_busy());
    place.assay("bundle latest -o out/run.bundle").exits(0);
}
