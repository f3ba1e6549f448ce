//! Bundles that bring their images along.

use std::fs;

use assay_record::Engine;

use super::{Harbour, worker};
use crate::bundle::Small;
use crate::helpers::{ASSAY, Outcome, Place};

#[test]
fn a_bundle_brings_its_image_along() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.assay("run ./tiny.toml --env box").exits(0);
    harbour.assay("bundle latest -o bare.bundle").exits(0);
    harbour
        .assay("bundle latest --with-image -o one.bundle")
        .exits(0)
        .says("image sha256:");
    harbour
        .assay("bundle latest --with-image -o two.bundle")
        .exits(0);
    let read = |name: &str| fs::read(harbour.place.path(name)).unwrap();
    assert!(read("one.bundle") == read("two.bundle"));
    // Its store is empty, as on another machine: without the image nothing runs, and nothing else in its place.
    harbour.podman("rmi --all --force");
    harbour
        .assay("reproduce bare.bundle --no-confirm")
        .exits(3)
        .says("is not in the store of podman");
    harbour
        .assay("reproduce one.bundle --no-confirm")
        .says("inputs:  identical")
        .says("outputs: identical");
    let record = harbour.place.record();
    assert_eq!(record.header.manifest.arms[0].engine, Engine::Podman);
    let again = harbour.assay("reproduce one.bundle --no-confirm --on-host");
    again
        .says("What starts the workers of arm box was podman and is now host.")
        .says("outputs: identical");
    harbour
        .assay("bundle latest --with-image -o x.bundle")
        .refuses(&["--with-image", "no arm of the run was in a container"]);
    harbour
        .assay("reproduce latest --on-host")
        .refuses(&["--on-host", "no arm of the manifest ran in a container"]);
}

/// Reproduces on this machine itself, where no engine is.
fn on_host(place: &Place, bundle: &str) -> Outcome {
    fs::create_dir_all(place.path("empty")).unwrap();
    let mut reproduce = place.program(ASSAY);
    reproduce
        .args(["reproduce", bundle, "--no-confirm", "--on-host"])
        .env("PATH", place.path("empty"));
    Outcome::of("reproduce", &reproduce.output().unwrap())
}

#[test]
fn a_bundle_brings_the_worker_of_an_image_for_a_host() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.assay("run ./tiny.toml --env box").exits(0);
    let digest = harbour.locked("worker");
    let part = format!("worker {digest}");
    let bundle = |name: &str| harbour.assay(&format!("bundle latest -o {name}")).exits(0);
    let forget = || fs::remove_dir_all(harbour.place.path("assay-data/workers")).unwrap();
    bundle("kept.bundle").says(&part);
    // Where it is kept no more it is taken out of the image, and is the same file.
    forget();
    bundle("taken.bundle").says(&part);
    let read = |name: &str| fs::read(harbour.place.path(name)).unwrap();
    assert!(read("kept.bundle") == read("taken.bundle"));
    let elsewhere = harbour.place.beside("elsewhere");
    on_host(&elsewhere, "../kept.bundle")
        .says("Arm box runs on this machine")
        .says("inputs:  identical")
        .says("outputs: identical")
        .lacks("not at hand")
        .lacks("The worker of arm box was");
    let record = elsewhere.record();
    let arm = &record.header.manifest.arms[0];
    assert_eq!((arm.engine, arm.worker.to_string()), (Engine::Host, digest));
    let names_another = |text: &str| text.contains("the manifest names the worker");
    assert!(!record.events.iter().any(|event| names_another(&event.text)));
    // Had nowhere, it is not carried, which is said; and so is that another ran.
    if worker() == *ASSAY {
        return;
    }
    forget();
    harbour.podman("rmi --all --force");
    bundle("bare.bundle")
        .says("the worker of arm `box` is not in it")
        .lacks(&part);
    let third = harbour.place.beside("third");
    on_host(&third, "../bare.bundle")
        .says("The worker of arm box that lies in the image of `box` is not at hand")
        .says("The worker of arm box was")
        .says("outputs: identical");
}

#[test]
fn a_run_in_a_container_comes_again_on_its_host_by_the_worker_of_its_image() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.assay("run ./tiny.toml --env box").exits(0);
    fs::remove_dir_all(harbour.place.path("assay-data/workers")).unwrap();
    harbour
        .assay("reproduce latest --on-host --no-confirm")
        .says("outputs: identical")
        .lacks("not at hand")
        .lacks("The worker of arm box was");
    assert_eq!(harbour.containers(), "");
}

#[test]
fn a_disk_that_is_full_leaves_no_half_bundle_of_an_image() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.assay("run ./tiny.toml --env box").exits(0);
    let Some(_small) = Small::mount(&harbour.place, "size=256k") else {
        return;
    };
    harbour
        .assay("bundle latest --with-image -o small/run.bundle")
        .exits(3)
        .says("o space left on device");
    let left = fs::read_dir(harbour.place.path("small")).unwrap().count();
    assert_eq!(left, 0);
    assert_eq!(harbour.containers(), "");
}
