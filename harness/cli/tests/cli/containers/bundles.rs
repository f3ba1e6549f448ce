//! Bundles that bring their images along.

use std::fs;

use assay_record::Engine;

use super::Harbour;

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
