//! Bundles: one file with all that a run needs to be run again, on another machine and without a network.
//!
//! [format] is its table of contents, [writing] makes one of a run, [reading] takes one apart and believes nothing,
//! [source] is the tree of a commit as an archive (entries reads such), [vendor] what it depends on, [image] that of a container, [laying] lays a bundle out so that the
//! manifest in it runs as any other does, [cache] is where, and [home] where its run is at home. What a bundle holds is measured by running it: whoever runs a bundle runs its programs.

pub mod cache;
mod entries;
pub mod format;
pub mod home;
pub mod image;
pub mod laying;
pub mod reading;
pub mod source;
pub mod vendor;
pub mod writing;

use std::path::Path;

/// The machine that programs here are for.
pub fn platform() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// Whether somebody who names this means a bundle: a file that is no manifest.
pub fn is_bundle(name: &str) -> bool {
    let path = Path::new(name);
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    // A file may be called as runs are: then it has to begin as a bundle does.
    let names_a_run = name == "latest" || name.starts_with("latest~") || name.starts_with("tag:");
    !is_json && path.is_file() && (!names_a_run || reading::begins_as_bundle(path))
}
