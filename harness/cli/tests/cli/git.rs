//! The measured project: its commit, its remote without credentials, and its whole diff, which can be checked out again.

use std::fs;

use crate::helpers::{Place, have, spin, suite};

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

/// A clean repository with a suite.
fn clean_repository() -> Place {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    git(&place, "init -q -b main .");
    git(&place, "config user.email test@example.org");
    git(&place, "config user.name test");
    place.write(".gitignore", "assay/\n*.lock\nassay-data/\nm.json\n");
    git(&place, "add -A");
    git(&place, "commit -q -m first");
    place
}

/// The diff of a plan; none where the tree is clean.
fn diff_of(place: &Place) -> Option<String> {
    place.assay("plan ./tiny.toml -o m.json").exits(0);
    let manifest: serde_json::Value = serde_json::from_str(&place.read("m.json")).unwrap();
    let diff = &manifest["manifest"]["project"]["git"]["diff"];
    (!diff.is_null()).then(|| diff.to_string())
}

#[test]
fn untracked_files_that_are_too_long_are_named_and_not_read() {
    if !have("git") {
        return;
    }
    let place = clean_repository();
    // Of a length that no memory holds.
    let file = fs::File::create(place.path("huge.bin")).unwrap();
    file.set_len(1 << 40).unwrap();
    place.assay("plan ./tiny.toml -o m.json").refuses(&[
        "more than 32 MiB",
        "huge.bin of 1099511627776 bytes",
        ".gitignore",
    ]);
    place.write(".gitignore", "huge.bin\n");
    place.assay("plan ./tiny.toml -o m.json").exits(0);
}

#[test]
fn a_submodule_is_pinned_by_its_commit_or_refused() {
    if !have("git") {
        return;
    }
    let place = clean_repository();
    let other = place.beside("assay/other");
    other.write("in_module", "one");
    for arguments in [
        "init -q -b main .",
        "add -A",
        "-c user.name=t -c user.email=t@example.org commit -q -m one",
    ] {
        git(&other, arguments);
    }
    git(
        &place,
        "-c protocol.file.allow=always submodule --quiet add ./assay/other module",
    );
    // A submodule that was just added is a change as any other would be, and is refused.
    place
        .assay("plan ./tiny.toml -o m.json")
        .refuses(&["the submodule module", "git submodule update"]);
    git(&place, "commit -q -m module");
    assert_eq!(diff_of(&place), None);
    // What git does not know is no change of the commit; what it knows is.
    place.write("module/untracked", "x");
    assert_eq!(diff_of(&place), None);
    place.write("module/in_module", "two");
    place
        .assay("plan ./tiny.toml -o m.json")
        .refuses(&["the submodule module"]);
    // A run at the clean commit comes back in a bundle, without the module's files, and says so.
    place.write("module/in_module", "one");
    place.assay("run ./tiny.toml").exits(0);
    place
        .assay("bundle latest -o assay/run.bundle")
        .exits(0)
        .says("has submodules, whose files are not in it: module");
    let elsewhere = Place::new();
    fs::rename(place.path("assay/run.bundle"), elsewhere.path("run.bundle")).unwrap();
    elsewhere
        .assay("reproduce run.bundle --no-confirm")
        .says("inputs:  identical")
        .says("outputs: identical");
}

#[test]
fn a_file_of_git_lfs_changes_when_its_content_does() {
    if !have("git") {
        return;
    }
    let place = clean_repository();
    let content = "a large file";
    let digest = assay_protocol::Digest::of(content);
    let length = content.len();
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid {digest}\nsize {length}\n");
    place.write(".gitattributes", "*.bin filter=lfs\n");
    place.write("data.bin", &pointer);
    git(&place, "-c filter.lfs.clean=cat add -A");
    git(&place, "commit -q -m pointer");
    assert_eq!(diff_of(&place), None);
    // As `git lfs pull` leaves it, and git's index not knowing yet.
    place.write("data.bin", content);
    assert_eq!(diff_of(&place), None);
    place.write("data.bin", "another large file");
    assert!(diff_of(&place).unwrap().contains("another large file"));
    // A suite whose data was never fetched.
    place.write("data.bin", &pointer);
    let tool = "[[benchmark]]\nname = \"tool\"\n[benchmark.command]\nargv = [\"cat\", \"{dir}/data.bin\"]\n";
    place.write("tiny.toml", suite("tiny", &[tool.to_owned()]));
    place.assay("plan ./tiny.toml -o m.json").refuses(&[
        "{dir}/data.bin",
        "only a pointer of Git LFS",
        "git lfs pull",
    ]);
    place.write("data.bin", content);
    git(&place, "-c filter.lfs.clean=cat add tiny.toml");
    git(&place, "commit -q -m suite");
    place.assay("run ./tiny.toml").exits(0).lacks("uncommitted");
    place.assay("bundle latest -o run.bundle").exits(0);
    let elsewhere = Place::new();
    fs::rename(place.path("run.bundle"), elsewhere.path("run.bundle")).unwrap();
    elsewhere
        .assay("reproduce run.bundle --no-confirm")
        .says("reproduces")
        .lacks("FAILED");
}

#[test]
fn a_repository_within_the_project_is_no_part_of_it() {
    if !have("git") {
        return;
    }
    let place = clean_repository();
    let inner = place.beside("inner");
    inner.write("file", "x");
    for arguments in [
        "init -q -b main .",
        "add -A",
        "-c user.name=t -c user.email=t@example.org commit -q -m one",
    ] {
        git(&inner, arguments);
    }
    assert_eq!(diff_of(&place), None);
}
