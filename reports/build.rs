//! Hashes the code that pages are made by, so that a newer Assay takes over no page that an older one made.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};

/// What can change the bytes of a page: from the folder of this crate.
const CODE: [&str; 8] = [
    "src",
    "../templates",
    "../harness/protocol/src",
    "../harness/record/src",
    "../harness/stats/src",
    "../harness/store/src",
    "../harness/verdicts/src",
    "../Cargo.lock",
];

fn main() {
    let mut files = Vec::new();
    for place in CODE {
        println!("cargo::rerun-if-changed={place}");
        collect(Path::new(place), &mut files);
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        hasher.write(file.to_string_lossy().as_bytes());
        hasher.write(&fs::read(&file).unwrap_or_default());
    }
    println!("cargo::rustc-env=ASSAY_SITE_CODE={:016x}", hasher.finish());
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) {
    match fs::read_dir(place) {
        Ok(entries) => entries
            .flatten()
            .for_each(|entry| collect(&entry.path(), files)),
        Err(_) => files.push(place.into()),
    }
}
