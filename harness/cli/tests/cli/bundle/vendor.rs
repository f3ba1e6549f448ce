//! A bundle with what its project depends on: the worker is built again from its source, without a network.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{commit, git};
use crate::helpers::{ASSAY, Outcome, Place, have, spin, suite};

/// A worker with a dependency, which is compiled in and changes nothing.
const MAIN: &str = r#"use std::os::unix::process::CommandExt;
cfg_if::cfg_if! { if #[cfg(unix)] { const WORD: &str = "worker"; } else { const WORD: &str = "nothing"; } }
fn main() { panic!("{}", std::process::Command::new("PROGRAM").arg(WORD).exec()); }
"#;
const CARGO: &str = "[package]\nname = \"own\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\ncfg-if = \"1\"\n[workspace]\n";
const SETTINGS: &str = "build = { command = [\"cargo\", \"build\", \"--release\"], worker = \"target/release/own\" }\n";

/// A folder of the user's, which a place hides by its own HOME.
fn home(variable: &str, name: &str) -> PathBuf {
    let usual = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(name);
    std::env::var_os(variable).map_or_else(usual, PathBuf::from)
}

/// A command with the user's compiler.
fn with_compiler(mut command: Command) -> Command {
    command
        .env("RUSTUP_HOME", home("RUSTUP_HOME", ".rustup"))
        .env("CARGO_HOME", home("CARGO_HOME", ".cargo"))
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("CARGO_TARGET_DIR");
    command
}

/// A project whose worker ran once; `None` where the dependency cannot be had without a network.
fn measured() -> Option<Place> {
    if !have("git") || !have("cargo") {
        return None;
    }
    let place = Place::new();
    place.write("assay.toml", SETTINGS);
    place.write("Cargo.toml", CARGO);
    place.write("src/main.rs", MAIN.replace("PROGRAM", ASSAY));
    place.write("tiny.toml", suite("tiny", &[spin("control/spin", 1000)]));
    place.write(
        ".gitignore",
        "target/\nassay/\n*.lock\n!Cargo.lock\nassay-data/\n*.bundle\n",
    );
    let cargo = |words: &str| {
        let mut command = with_compiler(place.program("cargo"));
        command.args(words.split(' ')).output().unwrap()
    };
    let resolved = cargo("generate-lockfile");
    if !resolved.status.success() {
        println!("skipped: cfg-if is not among cargo's packages here: {resolved:?}");
        return None;
    }
    let built = cargo("build --release");
    assert!(built.status.success(), "{built:?}");
    git(&place, &["init", "-q", "-b", "main", "."]);
    commit(&place, "first");
    place
        .assay("run ./tiny.toml --arm main=worker:target/release/own")
        .exits(0);
    Some(place)
}

fn assay(place: &Place, arguments: &str) -> Outcome {
    let mut command = with_compiler(place.program(ASSAY));
    command.args(arguments.split(' '));
    Outcome::of(arguments, &command.output().unwrap())
}

#[test]
fn a_worker_is_built_again_from_what_its_bundle_holds() {
    let Some(place) = measured() else { return };
    assay(&place, "bundle latest -o bare.bundle").exits(0);
    for name in ["one.bundle", "two.bundle"] {
        assay(&place, &format!("bundle latest --with-vendor -o {name}"))
            .exits(0)
            .says("dependencies");
    }
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    assert!(read("one.bundle") == read("two.bundle"));
    let elsewhere = Place::new();
    for name in ["one.bundle", "bare.bundle"] {
        fs::rename(place.path(name), elsewhere.path(name)).unwrap();
    }
    drop(place);
    elsewhere
        .assay("reproduce bare.bundle --rebuild")
        .refuses(&["--rebuild", "--with-vendor"]);
    // A home of cargo's that has nothing: all comes from the bundle.
    let mut offline = with_compiler(elsewhere.program(ASSAY));
    offline
        .args(["reproduce", "one.bundle", "--rebuild", "--no-confirm"])
        .env("CARGO_HOME", elsewhere.path("empty"));
    Outcome::of("reproduce --rebuild", &offline.output().unwrap())
        .says("`cargo build --release`")
        .says("note: the build gave")
        .says("inputs:  identical")
        .says("outputs: identical");
}

#[test]
fn what_cannot_be_built_again_is_said() {
    let place = Place::with_runs(1);
    place
        .assay("bundle latest -o x --with-vendor")
        .refuses(&["--with-vendor", "of no commit"]);
    place
        .assay("reproduce latest --rebuild")
        .refuses(&["--rebuild", "declare [build]"]);
    if !have("git") {
        return;
    }
    git(&place, &["init", "-q", "-b", "main", "."]);
    place.write(".gitignore", "assay-data/\nassay/\n*.lock\n");
    commit(&place, "first");
    place.assay("run ./tiny.toml").exits(0);
    place
        .assay("bundle latest -o x --with-vendor")
        .refuses(&["--with-vendor", "no Cargo.toml"]);
    assert!(!place.path("x").exists());
}
