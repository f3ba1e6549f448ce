//! The lock file: what is written can be read again, and advice can be followed.

use std::fs;

use super::Harbour;
use crate::helpers::{Place, Running, spin};

/// The head of a SIF file, as far as its magic word.
pub const SIF: &[u8] = b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0 and an image";

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let place = Place::new();
    place.write("my.sif", SIF);
    place
        .assay_with(&["env", "lock", "a b", "--file", "my.sif"])
        .refuses(&["\"a b\"", "no name"]);
    assert!(!place.path("containers/lock.toml").exists());
    place.assay("env lock a --file my.sif").exits(0);
    let lock = place.read("containers/lock.toml");
    let bogus = lock.replace("platform = \"linux/", "platform = \"bogus platform!!/");
    assert_ne!(lock, bogus);
    place.write("containers/lock.toml", &bogus);
    for command in ["env list", "env lock b --file my.sif"] {
        place
            .assay(command)
            .refuses(&["lock.toml", "environment `a`", "platform"]);
    }
    assert_eq!(place.read("containers/lock.toml"), bogus);
}

#[test]
fn what_several_lock_at_once_is_all_locked() {
    let place = Place::new();
    place.write("my.sif", SIF);
    let names: Vec<String> = (0..16).map(|number| format!("box-{number}")).collect();
    let lock = |name: &String| place.start(&format!("env lock {name} --file my.sif"));
    let running: Vec<Running> = names.iter().map(lock).collect();
    for one in running {
        one.end().exits(0);
    }
    let listed = place.assay("env list").exits(0).stdout;
    let is_listed = |name: &&String| listed.contains(&format!("{name}  apptainer"));
    assert_eq!(
        names.iter().filter(is_listed).count(),
        names.len(),
        "{listed}"
    );
}

#[test]
fn a_file_of_the_project_moves_with_its_lock_file() {
    let place = Place::new();
    let project = place.beside("project");
    project.write("my.sif", SIF);
    // The folder of the lock file is not there yet.
    project
        .assay("env lock a --file my.sif")
        .exits(0)
        .lacks("note");
    let lock = project.read("containers/lock.toml");
    assert!(lock.contains("path = \"../my.sif\""), "{lock}");
    fs::rename(place.path("project"), place.path("moved")).unwrap();
    let moved = place.beside("moved");
    moved.assay("env verify").exits(0).says("a: as pinned");
    // What lies elsewhere is named from the root, and that is said.
    place.write("far.sif", SIF);
    let far = place.path("far.sif").display().to_string();
    moved
        .assay(&format!("env lock far --file {far}"))
        .exits(0)
        .says("lies outside the project")
        .says("images");
    let lock = moved.read("containers/lock.toml");
    assert!(lock.contains(&format!("path = \"{far}\"")), "{lock}");
}

#[test]
fn an_archive_without_a_name_is_called_after_its_file() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let id = harbour.locked("config").replace("sha256:", "");
    harbour.podman(&format!(
        "save --quiet --format oci-archive --uncompressed -o {} {id}",
        harbour.place.path("mine.tar").display()
    ));
    harbour.podman("rmi --all --force");
    fs::remove_file(harbour.place.path("containers/lock.toml")).unwrap();
    harbour
        .assay("env lock packed --file mine.tar")
        .exits(0)
        .says("mine  linux/");
    harbour.podman("rmi --all --force");
    harbour.assay("run ./tiny.toml --env packed").exits(0);
}

#[test]
fn all_that_can_be_had_is_pulled() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.place.write("my.sif", SIF);
    for name in ["a", "c"] {
        harbour
            .assay(&format!("env lock {name} --file my.sif"))
            .exits(0);
    }
    harbour
        .assay("env pull")
        .exits(0)
        .says("a: here")
        .says("box: here");
    fs::remove_file(harbour.place.path("my.sif")).unwrap();
    harbour
        .assay("env pull")
        .exits(3)
        .says("a: the file of environment `a`")
        .says("box: here")
        .says("c: the file of environment `c`");
    harbour.assay("env pull nowhere").refuses(&["`nowhere`"]);
}

#[test]
fn advice_can_be_followed() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.podman("rmi --all --force");
    harbour.place.write(
        "tiny.toml",
        crate::helpers::suite("tiny", &[spin("a", 1000)]),
    );
    // It was built here: no registry has it.
    for (command, code) in [
        ("env verify", 1),
        ("env pull box", 3),
        ("run ./tiny.toml --env box", 3),
    ] {
        harbour
            .assay(command)
            .exits(code)
            .says("it lies in no registry: `assay env build box`")
            .says("podman load --input FILE")
            .lacks("`assay env pull");
    }
    harbour.build("box").exits(0);
    harbour.assay("run ./tiny.toml --env box").exits(0);
}
