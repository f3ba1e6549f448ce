//! Made-up machines: a small text that lists files and their contents becomes a tree in a
//! temporary folder.
//!
//! A line `@/path` begins a file, whose content is the lines up to the next one. `{0..3}` in a path
//! makes one file for each number, and `#` in the content is that number.

use std::fs;
use std::path::Path;

use assay_machine::{Gpus, Roots, probe};
use assay_record::{Field, Fingerprint, Section};
use tempfile::TempDir;

/// A made-up machine.
pub struct Tree {
    folder: TempDir,
}

impl Tree {
    /// From one or several texts, the later files over the earlier.
    pub fn of(texts: &[&str]) -> Self {
        let tree = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for text in texts {
            for file in text.split("\n@").filter_map(|part| part.split_once('\n')) {
                tree.files(file.0.trim_start_matches('@'), file.1);
            }
        }
        tree
    }

    fn files(&self, pattern: &str, content: &str) {
        let Some((before, rest)) = pattern.split_once('{') else {
            return self.file(pattern, content);
        };
        let (range, after) = rest.split_once('}').unwrap();
        let (first, last) = range.split_once("..").unwrap();
        for n in first.parse::<u32>().unwrap()..=last.parse().unwrap() {
            self.files(
                &format!("{before}{n}{after}"),
                &content.replace('#', &n.to_string()),
            );
        }
    }

    /// Adds or replaces a file.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.roots().path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.roots().path(path)).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn roots(&self) -> Roots {
        Roots::at(self.folder.path())
    }

    pub fn fingerprint(&self) -> Fingerprint {
        probe(&self.roots(), &Gpus::none("no GPU in this test"))
    }
}

/// The text of each of these fields.
pub fn shown<const N: usize>(section: &Section, names: [impl AsRef<str>; N]) -> [String; N] {
    names.map(|name| {
        section
            .get(name.as_ref())
            .map_or_else(|| "absent".to_owned(), Field::to_string)
    })
}

pub const AMD: &str = include_str!("trees/amd-two-nodes.txt");
pub const LAPTOP: &str = include_str!("trees/intel-laptop.txt");
pub const ARM: &str = include_str!("trees/arm-server.txt");
pub const VM: &str = include_str!("trees/virtual-machine.txt");
pub const CONTAINER: &str = include_str!("trees/container-v2.txt");
