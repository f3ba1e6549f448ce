//! Small files of the kernel that are read again and again: opened once, without allocating.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::reading::{Gap, Reading};
use crate::roots::Roots;

/// An open file whose text is read anew each time.
pub(super) struct Polled {
    file: Reading<File>,
    buffer: Vec<u8>,
}

impl Polled {
    /// `most_bytes` bounds what is read of it.
    pub(super) fn open(roots: &Roots, path: &str, most_bytes: usize) -> Self {
        Self {
            file: File::open(roots.path(path)).map_err(Gap::from),
            buffer: vec![0; most_bytes],
        }
    }

    /// A file of one number.
    pub(super) fn number_file(roots: &Roots, path: &str) -> Self {
        Self::open(roots, path, 64)
    }

    /// Its text now, up to the bound.
    pub(super) fn text(&mut self) -> Reading<&str> {
        let file = self.file.as_ref().map_err(Clone::clone)?;
        let mut filled = 0;
        while filled < self.buffer.len() {
            match file.read_at(&mut self.buffer[filled..], filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        std::str::from_utf8(&self.buffer[..filled])
            .map_err(|_| Gap::Error("it is not text".to_owned()))
    }

    /// Its number now.
    pub(super) fn number(&mut self) -> Reading<i64> {
        crate::reading::number(self.text()?)
    }
}
