//! Bundles of projects for which there is no room: that is the machine's fault, and nothing of them is left.

use std::fs;

use assay_protocol::Philox;

use super::{Small, commit, git};
use crate::helpers::{ASSAY, Outcome, Place, have, spin};

/// A measured project of three megabytes that nothing makes smaller.
fn large() -> Place {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    let random = Philox::new(6, 2);
    let blocks = (0..3 << 16).flat_map(|n| random.block(n).map(u32::to_le_bytes));
    place.write("large", blocks.flatten().collect::<Vec<u8>>());
    place.write(".gitignore", "*\n!large\n!tiny.toml\n");
    git(&place, &["init", "-q", "-b", "main", "."]);
    commit(&place, "first");
    place.assay("run ./tiny.toml").exits(0);
    place
}

#[test]
fn a_project_that_no_disk_has_room_for_is_no_bad_input() {
    if !have("git") {
        return;
    }
    let place = large();
    place.assay("bundle latest -o run.bundle").exits(0);
    let Some(_small) = Small::mount(&place, "size=4m") else {
        return;
    };
    let is_empty = |folder: &str| fs::read_dir(place.path(folder)).unwrap().count() == 0;
    place.write("small/full", vec![0; 2 << 20]);
    place
        .assay("bundle latest -o small/run.bundle")
        .exits(3)
        .says("No space left on device");
    fs::remove_file(place.path("small/full")).unwrap();
    assert!(is_empty("small"));
    let mut reproduce = place.program(ASSAY);
    reproduce
        .args(["reproduce", "run.bundle", "--checkout", "then"])
        .env("XDG_CACHE_HOME", place.path("small"));
    Outcome::of("reproduce", &reproduce.output().unwrap())
        .exits(3)
        .says("bytes are free there, and the bundle's files take");
    // The lock of the folder that it was to be is all.
    let names = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let left: Vec<_> = fs::read_dir(place.path("small/assay/bundles"))
        .unwrap()
        .map(names)
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
