//! Bundles: a run comes back in another folder, without its repository and without a network; nothing in one is believed.

mod again;
mod format;
mod full;
mod hostile;
mod reading;
mod source;
mod stopped;
mod vendor;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assay::bundle::reading::Bundle;
use assay_protocol::{Digest, Philox};

use crate::helpers::{ASSAY, Outcome, Place, benchmark, case, have, metric_on, spin, suite};

/// A dirty repository, whose suite in a folder of it ran once with a small executable as its worker.
fn measured() -> Place {
    let place = Place::new();
    let tool = "[benchmark.command]\nargv = [\"sh\", \"{dir}/tool.sh\", \"{dir}/../data/numbers\"]\nmetrics = [{ name = \"said\", unit = \"1\", direction = \"neutral\", regex = \"(\\\\d+)\" }]\n";
    let benchmarks = [spin("control/spin", 1000), benchmark("tool", tool)];
    place.write("suites/tiny.toml", suite("tiny", &benchmarks));
    place.script("suites/tool.sh", "cat $1");
    place.write("data/numbers", "1");
    std::os::unix::fs::symlink("suites/tool.sh", place.path("link")).unwrap();
    place.write("removed", "gone soon");
    place.write(".gitignore", "ignored\nassay/\n*.lock\nassay-data/\n");
    place.script("small.sh", &format!("exec {ASSAY} worker"));
    git(&place, &["init", "-q", "-b", "main", "."]);
    commit(&place, "first");
    place.write("data/numbers", "2");
    place.write("data/new.bin", [0, 255, 254, 10]);
    fs::remove_file(place.path("removed")).unwrap();
    run(&place);
    place
}

fn run(place: &Place) {
    let arm = format!("main=worker:{}", place.path("small.sh").display());
    let run = ["run", "./suites/tiny.toml", "--arm", &arm];
    place.assay_with(&run).exits(0);
}

fn commit(place: &Place, message: &str) {
    git(place, &["add", "-A"]);
    let who = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
    git(
        place,
        &[&who[..], &["commit", "-q", "-m", message]].concat(),
    );
}

#[track_caller]
fn git(place: &Place, arguments: &[&str]) {
    let output = place.program("git").args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
}

/// `assay` without a network, where that can be taken away.
fn offline(place: &Place, arguments: &str) -> Outcome {
    let can = Command::new("unshare").args(["-rn", "true"]).status();
    let words = arguments.split_whitespace();
    let mut command = if can.is_ok_and(|status| status.success()) {
        let mut command = place.program("unshare");
        command.args(["-rn", ASSAY]);
        command
    } else {
        println!("not without a network: it cannot be taken away here");
        place.program(ASSAY)
    };
    Outcome::of(arguments, &command.args(words).output().unwrap())
}

fn bundle(place: &Place, name: &str) -> PathBuf {
    place.assay(&format!("bundle latest -o {name}")).exits(0);
    place.path(name)
}

#[test]
fn a_bundle_runs_elsewhere_without_repository_and_network() {
    if !have("git") {
        return;
    }
    let place = measured();
    let said = place.assay("bundle latest -o run.bundle").exits(0);
    said.says("data data/numbers").says("files of commit");
    let original = place.runs().remove(0);
    let elsewhere = Place::new();
    fs::rename(place.path("run.bundle"), elsewhere.path("run.bundle")).unwrap();
    drop(place);
    for time in ["first", "again"] {
        offline(&elsewhere, "reproduce run.bundle --no-confirm")
            .says(&format!("reproduces {original}"))
            .says("inputs:  identical")
            .says("outputs: identical")
            .lacks("note: the project");
        let runs = elsewhere.runs().len();
        assert_eq!(runs, if time == "first" { 2 } else { 3 }, "{time}");
    }
    let run = elsewhere.assay("show --json").exits(0).json();
    assert!(
        run["cases"][1]["metrics"]
            .to_string()
            .contains("\"estimate\":2.0"),
        "{run:#}"
    );
    // The source as it was measured: the commit with its changes.
    let checkout = "reproduce run.bundle --checkout then";
    elsewhere.assay(checkout).exits(0);
    assert_eq!(elsewhere.read("then/data/numbers"), "2");
    assert_eq!(
        fs::read(elsewhere.path("then/data/new.bin")).unwrap(),
        [0, 255, 254, 10]
    );
    assert_eq!(
        fs::read_link(elsewhere.path("then/link")).unwrap(),
        Path::new("suites/tool.sh")
    );
    assert!(!elsewhere.path("then/removed").exists());
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    if !have("git") {
        return;
    }
    let place = measured();
    let one = fs::read(bundle(&place, "one.bundle")).unwrap();
    place.write("unrelated", "something else");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let two = fs::read(bundle(&place, "two.bundle")).unwrap();
    assert!(one == two);
}

#[test]
fn its_digest_is_that_of_the_file_and_its_rights_are_those_of_any_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::with_runs(1);
    for (umask, mode) in [("022", 0o644), ("027", 0o640)] {
        let line = format!("umask {umask}; exec {ASSAY} bundle latest -o run.bundle");
        let output = place.program("sh").args(["-c", &line]).output().unwrap();
        let said = Outcome::of("bundle", &output).exits(0);
        let path = place.path("run.bundle");
        let digest = Digest::of(fs::read(&path).unwrap());
        assert_eq!(said.field("bundle "), format!("{digest}  run.bundle"));
        let rights = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(rights & 0o777, mode);
    }
}

#[test]
fn an_uncommitted_link_out_of_the_project_is_refused_by_name() {
    if !have("git") {
        return;
    }
    let place = measured();
    let outside = place.beside("outside");
    outside.write("numbers", "2");
    fs::remove_file(place.path("data/numbers")).unwrap();
    std::os::unix::fs::symlink(outside.path("numbers"), place.path("data/numbers")).unwrap();
    run(&place);
    place.assay("bundle latest -o run.bundle").refuses(&[
        "uncommitted changes",
        "data/numbers",
        "a link to",
    ]);
    // What has no content to pin is refused before anything runs.
    fs::remove_file(place.path("data/numbers")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", place.path("data/numbers")).unwrap();
    place
        .assay("run ./suites/tiny.toml")
        .refuses(&["{dir}/../data/numbers", "not a regular file"]);
}

#[test]
fn another_record_of_the_same_name_is_not_taken_for_the_bundles() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.assay("run ./tiny.toml").exits(0);
    let run = place.runs().remove(0);
    bundle(&place, "run.bundle");
    let elsewhere = place.beside("elsewhere");
    let name = format!("assay-data/records/{run}.jsonl.zst");
    elsewhere.write(&name, fs::read(place.path("run.bundle")).unwrap());
    elsewhere
        .assay("reproduce ../run.bundle")
        .refuses(&[&name, "is not the bundle's"]);
}

#[test]
fn names_of_runs_are_no_files_and_folders_no_bundles() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.assay("run ./tiny.toml").exits(0);
    place.write("latest", "some notes");
    place
        .assay("reproduce latest --no-confirm")
        .says("inputs:  identical");
    fs::create_dir(place.path("folder")).unwrap();
    place
        .assay("bundle latest -o folder")
        .exits(2)
        .says("a folder is there");
}

#[test]
fn files_that_changed_are_taken_from_the_commit() {
    if !have("git") {
        return;
    }
    let place = measured();
    let before = fs::read(bundle(&place, "one.bundle")).unwrap();
    place.write("data/numbers", "3");
    let after = fs::read(bundle(&place, "two.bundle")).unwrap();
    assert!(before == after);
    place
        .assay("reproduce latest --no-confirm")
        .says("the suite's files are those of its commit then")
        .says("inputs:  identical");
    let run = place.assay("show --json").exits(0).json();
    assert!(
        run["cases"][1]["metrics"]
            .to_string()
            .contains("\"estimate\":2.0"),
        "{run:#}"
    );
}

#[test]
fn a_built_in_suite_and_one_outside_git_are_bundled_too() {
    let place = Place::new();
    place
        .assay("run smoke --filter control --filter python")
        .exits(0);
    bundle(&place, "smoke.bundle");
    let elsewhere = place.beside("elsewhere");
    elsewhere
        .assay("reproduce ../smoke.bundle --no-confirm --rounds 2")
        .says("inputs:  identical")
        .says("outputs: identical")
        .says("The policy is another: 2 rounds");
    let policies = elsewhere.record().header.manifest.cases;
    assert!(policies.iter().all(|case| case.policy.max_rounds == 2));
    elsewhere
        .assay("reproduce ../smoke.bundle --rounds 3")
        .refuses(&["--rounds 3", "even number"]);
}

#[test]
fn every_changed_byte_and_every_cut_is_noticed() {
    if !have("git") {
        return;
    }
    let place = measured();
    let path = bundle(&place, "run.bundle");
    let bytes = fs::read(&path).unwrap();
    let open = || Bundle::open(&path).and_then(|bundle| bundle.verify());
    open().unwrap();
    let random = Philox::new(6, 0);
    for n in 0..100 {
        let [at, how, ..] = random.block(n);
        let at = at as usize % bytes.len();
        let mut changed = bytes.clone();
        changed[at] ^= (how % 255) as u8 + 1;
        fs::write(&path, changed).unwrap();
        assert!(open().is_err(), "byte {at} of {}", bytes.len());
    }
    for length in [0, 5, 13, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(open().is_err(), "{length} of {}", bytes.len());
    }
    place
        .assay("reproduce run.bundle")
        .refuses(&["run.bundle", "truncated", "fetch it again"]);
    fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
    place
        .assay("reproduce run.bundle")
        .refuses(&["4 bytes behind its last part"]);
    place.write("run.bundle", "something else");
    place
        .assay("reproduce run.bundle")
        .refuses(&["run.bundle", "neither a bundle nor a manifest"]);
    assert_eq!(place.runs().len(), 1);
}

#[test]
fn a_full_disk_leaves_no_half_bundle() {
    let place = Place::with_runs(1);
    let before = fs::read_dir(place.path("")).unwrap().count();
    // A limit on the length of files, with its signal ignored, fails as a full disk does: in the middle of writing.
    let limited = format!("trap '' XFSZ; ulimit -f 100; exec {ASSAY} bundle latest -o run.bundle");
    let output = place.program("sh").args(["-c", &limited]).output().unwrap();
    Outcome::of("bundle", &output)
        .exits(3)
        .says("run.bundle: no bundle was written")
        .says("cannot be written");
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), before);
}

/// A file system of so few bytes, mounted in a place; unmounted when dropped.
pub struct Small<'a>(&'a Place);

impl<'a> Small<'a> {
    /// `None`, with the reason printed, where this user may mount none.
    pub fn mount(place: &'a Place, size: &str) -> Option<Self> {
        fs::create_dir(place.path("small")).unwrap();
        let mut mount = place.program("mount");
        mount.args(["-t", "tmpfs", "-o", size, "none", "small"]);
        let mounted = mount.output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(place));
        }
        println!("skipped: no small file system can be mounted here: {mounted:?}");
        None
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = self.0.program("umount").arg("small").status();
    }
}

#[test]
fn a_disk_that_is_really_full_leaves_no_half_bundle() {
    let place = Place::with_runs(1);
    let Some(_small) = Small::mount(&place, "size=256k") else {
        return;
    };
    place
        .assay("bundle latest -o small/run.bundle")
        .exits(3)
        .says("small/run.bundle: no bundle was written")
        .says("No space left on device");
    let left = fs::read_dir(place.path("small")).unwrap().count();
    assert_eq!(left, 0);
    // What was measured is still there, and is bundled where there is room.
    bundle(&place, "run.bundle");
}

#[test]
fn a_bundle_has_the_commits_of_all_arms() {
    if !have("git") {
        return;
    }
    let place = measured();
    commit(&place, "second");
    place.write("data/numbers", "3");
    place
        .assay("run ./suites/tiny.toml --arm first=commit:HEAD~1 --arm second=commit:HEAD --arm now=here")
        .exits(0);
    let said = place.assay("bundle latest -o run.bundle").exits(0);
    assert_eq!(said.stdout.matches("files of commit").count(), 2, "{said}");
    let elsewhere = Place::new();
    fs::rename(place.path("run.bundle"), elsewhere.path("run.bundle")).unwrap();
    drop(place);
    offline(&elsewhere, "reproduce run.bundle --no-confirm")
        .says("inputs:  identical")
        .says("outputs: identical");
    let run = elsewhere.assay("show --json").exits(0).json();
    let mut metrics = case(&run, "tool")["metrics"].as_array().unwrap().iter();
    let said = metrics.position(|metric| metric["metric"]["name"] == "said");
    let found = ["first", "second", "now"].map(|arm| metric_on(&run, "tool", arm, said.unwrap()));
    // Digits, which no rounding touches.
    assert_eq!(found.map(|said| said as i64), [1, 2, 3], "{run:#}");
}

#[test]
fn what_cannot_be_bundled_is_said() {
    if !have("git") {
        return;
    }
    let place = measured();
    place
        .assay("bundle latest -o nowhere/run.bundle")
        .refuses(&["there is no folder nowhere"]);
    place.assay("bundle tag:none -o x").refuses(&["none"]);
    // A worker that is lost, and files that nothing has any more.
    let worker = place.record().header.manifest.arms[0].worker.hex();
    let kept = place.path("assay-data/workers").join(worker);
    let aside = place.path("assay-data/aside");
    fs::rename(&kept, &aside).unwrap();
    let outcome = place.assay("bundle latest -o x").exits(3);
    outcome
        .says("its worker")
        .says("copy that executable there");
    fs::rename(&aside, &kept).unwrap();
    // The commit is gone: history was written anew.
    fs::remove_dir_all(place.path(".git")).unwrap();
    git(&place, &["init", "-q", "-b", "main", "."]);
    commit(&place, "another first");
    place
        .assay("bundle latest -o x")
        .refuses(&["is not in this repository; fetch it first"])
        .lacks("class=");
    assert!(!place.path("x").exists());
    // What it pins is here still, so that it runs, and says why it is not checked out.
    place
        .assay("reproduce latest --no-confirm")
        .says("is not in this repository; fetch it first")
        .says("inputs:  identical")
        .lacks("class=");
    place.write("data/numbers", "7");
    place
        .assay("reproduce latest --no-confirm")
        .exits(1)
        .says("numbers is not what the manifest pins")
        .says("is not in this repository; fetch it first");
}
