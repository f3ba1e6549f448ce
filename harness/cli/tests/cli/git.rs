//! The measured project: its commit, its remote without credentials, and its whole diff, which can be checked out again.

use std::fs;

use crate::helpers::{Place, have, spin};

/// A repository with a commit, and a working tree that differs from it in every way.
fn dirty_repository() -> Place {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    git(&place, "init -q -b main .");
    git(&place, "config user.email test@example.org");
    git(&place, "config user.name test");
    git(
        &place,
        "remote add origin https://user:s3cret@host.example/x.git",
    );
    place.write("changed.txt", "one\ntwo\nthree\n");
    place.write("removed.txt", "gone soon\n");
    place.write("image.bin", [0, 1, 2, 255, 254]);
    place.write(".gitignore", "ignored.txt\n");
    git(&place, "add -A");
    git(&place, "commit -q -m first");
    place.write("changed.txt", "one\n2\nthree\nno newline at the end");
    fs::remove_file(place.path("removed.txt")).unwrap();
    place.write("image.bin", [9, 8, 0, 0, 255, 7]);
    place.write("new/untracked.bin", [0xff, 0, 0xfe, 10, 13]);
    place.write("new/text.txt", "untracked\n");
    place.write("ignored.txt", "not ours to keep\n");
    place
}

#[track_caller]
fn git(place: &Place, arguments: &str) {
    let output = place
        .program("git")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments}: {output:?}");
}

#[test]
fn credentials_stay_out_of_all_that_is_kept() {
    if !have("git") {
        return;
    }
    let place = dirty_repository();
    place
        .assay("plan ./tiny.toml -o manifest.json")
        .exits(0)
        .lacks("s3cret")
        .lacks("note: not in a git repository");
    let manifest = place.read("manifest.json");
    assert!(
        manifest.contains("https://host.example/x.git"),
        "{manifest}"
    );
    assert!(
        !manifest.contains("s3cret") && !manifest.contains("user:"),
        "{manifest}"
    );
    place.assay("nightly ./tiny.toml").exits(0).lacks("s3cret");
    let kept = place
        .program("grep")
        .args(["-ral", "s3cret", "assay-data"])
        .output()
        .unwrap();
    assert!(
        kept.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&kept.stdout)
    );
}

#[test]
fn a_dirty_tree_is_checked_out_as_it_was() {
    if !have("git") {
        return;
    }
    let place = dirty_repository();
    place
        .assay("run ./tiny.toml")
        .exits(0)
        .says("with uncommitted changes");
    let files = [
        "changed.txt",
        "image.bin",
        "new/untracked.bin",
        "new/text.txt",
        "tiny.toml",
    ];
    let measured: Vec<Vec<u8>> = files
        .iter()
        .map(|file| fs::read(place.path(file)).unwrap())
        .collect();
    // Whatever becomes of the tree afterwards, the measured one comes back.
    git(&place, "add -A");
    git(&place, "commit -q -m second");
    place.write("changed.txt", "something else");
    place
        .assay("reproduce latest --checkout then")
        .exits(0)
        .says("then");
    for (file, measured) in files.iter().zip(&measured) {
        assert_eq!(
            &fs::read(place.path("then").join(file)).unwrap(),
            measured,
            "{file}"
        );
    }
    assert!(!place.path("then/removed.txt").exists() && !place.path("then/ignored.txt").exists());
    place
        .assay("reproduce latest --checkout then")
        .refuses(&["then", "exists already"]);
}

#[test]
fn measuring_does_not_make_a_tree_dirty() {
    if !have("git") {
        return;
    }
    let place = dirty_repository();
    git(&place, "add -A");
    git(&place, "commit -q -m all");
    place.write(
        "assay.toml",
        "records = \"r\"\ndatabase = \"d/a.duckdb\"\nsite = \"s\"\n",
    );
    git(&place, "add -A");
    git(&place, "commit -q -m settings");
    // The helpers' own caches and locks are no part of the project.
    place.write(".git/info/exclude", "assay/\n*.lock\n");
    place
        .assay("nightly ./tiny.toml")
        .exits(0)
        .lacks("uncommitted");
    place
        .assay("nightly ./tiny.toml")
        .exits(0)
        .lacks("uncommitted");
    place.assay("reproduce latest").lacks("note:");
}

#[test]
fn a_changed_project_is_said_before_it_is_measured_again() {
    if !have("git") {
        return;
    }
    let place = dirty_repository();
    place.assay("run ./tiny.toml").exits(0);
    place.write("changed.txt", "and again");
    place
        .assay("reproduce latest")
        .says("note: The project's uncommitted changes are not what they were");
    git(&place, "add -A");
    git(&place, "commit -q -m second");
    place
        .assay("reproduce latest~1")
        .says("note: The project's commit was")
        .says("--checkout DIR");
}

#[test]
fn outside_a_repository_is_fine_and_said() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place
        .assay("plan ./tiny.toml -o m.json")
        .exits(0)
        .says("note: not in a git repository");
    place.assay("run m.json").exits(0).says("no commit");
    place
        .assay("reproduce latest --checkout then")
        .refuses(&["outside any git repository"]);
}
