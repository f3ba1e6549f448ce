//! Runs that came with a bundle: they come again by their names, as long as the bundle lies laid out, and which bundles do.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use assay::bundle::cache::KEPT;

use super::{bundle, measured};
use crate::helpers::{Outcome, Place, have};

/// Folders in which bundles lie laid out.
fn laid(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path("assay/bundles")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

#[track_caller]
fn is_same(outcome: Outcome) {
    outcome
        .says("inputs:  identical")
        .says("outputs: identical")
        .lacks("The manifest names a git commit");
}

#[test]
fn a_run_that_came_with_a_bundle_comes_again_by_its_name() {
    if !have("git") {
        return;
    }
    let place = measured();
    bundle(&place, "run.bundle");
    let original = place.runs().remove(0);
    let elsewhere = Place::new();
    fs::rename(place.path("run.bundle"), elsewhere.path("run.bundle")).unwrap();
    drop(place);
    is_same(elsewhere.assay("reproduce run.bundle --no-confirm"));
    // The reproduction, the reproduction of that, and the run itself: none of their files lie where the manifest says.
    is_same(elsewhere.assay("reproduce latest --no-confirm"));
    is_same(elsewhere.assay("reproduce latest --no-confirm"));
    is_same(elsewhere.assay(&format!("reproduce {original} --no-confirm")));
    elsewhere.assay("reproduce latest --checkout then").exits(0);
    assert_eq!(elsewhere.read("then/data/numbers"), "2");
    elsewhere.assay("bundle latest -o second.bundle").exits(0);
    // What was taken away is said with where it came from, and comes back by that.
    let runs = elsewhere.runs().len();
    for folder in laid(&elsewhere) {
        fs::remove_dir_all(folder).unwrap();
    }
    let file = elsewhere.path("run.bundle").display().to_string();
    let advice = format!("no longer laid out here: `assay reproduce {file}` does that");
    elsewhere
        .assay("reproduce latest --no-confirm")
        .says(&format!("came with the bundle {file}"))
        .refuses(&[&advice]);
    assert_eq!(elsewhere.runs().len(), runs);
    is_same(elsewhere.assay(&format!("reproduce {file} --no-confirm")));
    is_same(elsewhere.assay("reproduce latest --no-confirm"));
}

/// Folders as of other bundles: the first was used longest ago.
fn others(place: &Place, count: usize) -> Vec<PathBuf> {
    let name = |number: usize| place.path(&format!("assay/bundles/{number:024}"));
    for number in 0..count {
        let root = name(number);
        fs::create_dir_all(root.join("tree")).unwrap();
        let note = File::create(root.with_extension("json")).unwrap();
        let used = SystemTime::now() - Duration::from_secs(1000 - number as u64);
        note.set_modified(used).unwrap();
    }
    (0..count).map(name).collect()
}

#[test]
fn bundles_that_nobody_used_for_longest_are_taken_away_unless_somebody_reads_them() {
    let place = Place::new();
    let others = others(&place, KEPT + 1);
    let held = File::create(others[0].with_extension("lock")).unwrap();
    held.lock_shared().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bundles/v1.bundle");
    let lay_out = |into: &str| {
        let words = format!("reproduce {} --checkout {into}", fixture.display());
        place.assay(&words).exits(0);
    };
    lay_out("one");
    // Two too many, of which one is read.
    let is_there: Vec<bool> = others.iter().map(|folder| folder.is_dir()).collect();
    let expected: Vec<bool> = (0..others.len()).map(|number| number != 1).collect();
    assert_eq!(is_there, expected);
    drop(held);
    lay_out("two");
    assert_eq!(laid(&place).len(), KEPT);
    assert!(!others[0].exists() && others[2].exists());
    // What they were of is still known.
    assert!(others[0].with_extension("json").is_file());
}
