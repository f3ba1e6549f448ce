//! Where a machine's files are read from.
//!
//! Every probe reads `/proc`, `/sys` and `/etc` below a root folder, so that tests can show it a
//! made-up machine. Reads are bounded, and a failed read says why: not offered, not allowed, or an
//! error. Nothing here writes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::reading::{Gap, Reading};

/// The largest file read whole; `/proc/cpuinfo` of 512 CPUs is about 1 MB.
const LIMIT_BYTES: u64 = 8 << 20;

/// The folder below which a machine's `/proc`, `/sys` and `/etc` lie.
#[derive(Clone, Debug)]
pub struct Roots {
    root: PathBuf,
}

impl Roots {
    /// This machine.
    pub fn here() -> Self {
        Self::at("/")
    }

    /// A machine whose files lie below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where an absolute path of that machine lies on this one.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let path = absolute.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub(crate) fn exists(&self, absolute: &str) -> bool {
        self.path(absolute).exists()
    }

    /// The raw bytes of a file.
    pub(crate) fn bytes(&self, absolute: impl AsRef<Path>) -> Reading<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path(absolute))?
            .take(LIMIT_BYTES)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The text of a file, without white space around it; an empty file has none.
    pub(crate) fn read(&self, absolute: impl AsRef<Path>) -> Reading<String> {
        let bytes = self.bytes(absolute)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        if text.is_empty() {
            Err(Gap::Unsupported)
        } else {
            Ok(text.to_owned())
        }
    }

    /// A file that holds one number.
    pub(crate) fn number(&self, absolute: impl AsRef<Path>) -> Reading<i64> {
        self.read(absolute)
            .and_then(|text| crate::reading::number(&text))
    }

    /// Names in a folder, sorted, digits as numbers (`cpu2` before `cpu10`).
    pub(crate) fn list(&self, absolute: impl AsRef<Path>) -> Reading<Vec<String>> {
        let mut names: Vec<String> = std::fs::read_dir(self.path(absolute))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_by_key(|name| {
            (
                name.trim_end_matches(|c: char| c.is_ascii_digit())
                    .to_owned(),
                trailing_number(name),
            )
        });
        Ok(names)
    }

    /// Names in a folder that are `prefix` and a number: `policy0`, `node1`.
    pub(crate) fn numbered(&self, folder: &str, prefix: &str) -> Vec<String> {
        let is_numbered = |name: &String| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.parse::<u32>().is_ok())
        };
        self.list(folder)
            .unwrap_or_default()
            .into_iter()
            .filter(is_numbered)
            .collect()
    }
}

fn trailing_number(name: &str) -> Option<u64> {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    name[name.len() - digits..].parse().ok()
}
