//! What becomes a part of a bundle: where its content is, and how it is put behind the parts before it.

use std::fs::File;
use std::io::{Cursor, Read, Seek as _, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use assay_protocol::{Digest, Digesting};

use crate::bundle::format::{Encoding, Extent, MAX_RATIO, Part, What};
use crate::bundle::reading::{cannot_write, copy};
use crate::interrupt::Interrupt;

/// How hard parts are compressed. Another number gives other bytes.
const COMPRESSION_LEVEL: i32 = 9;

/// Where the content of a part is.
pub enum Content {
    Held(Vec<u8>),
    Lying(PathBuf),
    Scratch(File),
}

/// A part to be.
pub struct Item {
    pub what: What,
    pub executable: bool,
    pub content: Content,
    /// What its content must be, whatever it is by the time it is read.
    pub pinned: Option<Digest>,
}

impl Item {
    pub fn new(what: What, content: Content) -> Self {
        Self {
            what,
            executable: false,
            content,
            pinned: None,
        }
    }

    /// Writes the part behind those before it: compressed, unless that gains nothing or would look like a bomb.
    pub fn append(&self, payload: &mut File, interrupt: &Interrupt) -> Result<Part> {
        let open = || {
            let content = self.content.open()?;
            Ok::<_, anyhow::Error>(Stoppable { content, interrupt })
        };
        let begin = payload.stream_position()?;
        let mut stored = Counted::new(payload);
        let mut encoder = zstd::Encoder::new(&mut stored, COMPRESSION_LEVEL)?;
        encoder.include_checksum(true)?;
        let content = copy(open()?, u64::MAX, &mut encoder)?;
        encoder.finish().map_err(|error| cannot_write(&error))?;
        ensure!(
            self.pinned.is_none_or(|pinned| pinned == content.sha256),
            "not what the manifest pins: it was changed meanwhile; bundle again"
        );
        let mut stored = stored.extent();
        let is_bomb = content.bytes > stored.bytes.saturating_mul(MAX_RATIO);
        let encoding = if is_bomb || stored.bytes >= content.bytes {
            payload.set_len(begin)?;
            payload.seek(std::io::SeekFrom::Start(begin))?;
            stored = copy(open()?, u64::MAX, payload)?;
            ensure!(stored == content, "it was changed meanwhile; bundle again");
            Encoding::Plain
        } else {
            Encoding::Zstd
        };
        Ok(Part {
            what: self.what.clone(),
            executable: self.executable,
            encoding,
            content,
            stored,
        })
    }
}

impl Content {
    fn open(&self) -> Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::Held(bytes) => Box::new(Cursor::new(bytes)),
            Self::Lying(path) => {
                Box::new(File::open(path).with_context(|| path.display().to_string())?)
            }
            Self::Scratch(file) => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                Box::new(file)
            }
        })
    }
}

/// What is read until somebody asks to stop.
struct Stoppable<'a, R> {
    content: R,
    interrupt: &'a Interrupt,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.interrupt.requested() {
            return Err(std::io::Error::other("interrupted"));
        }
        self.content.read(into)
    }
}

/// A file that knows what was written to it.
struct Counted<'a> {
    file: &'a mut File,
    digesting: Digesting,
    bytes: u64,
}

impl<'a> Counted<'a> {
    fn new(file: &'a mut File) -> Self {
        Self {
            file,
            digesting: Digesting::default(),
            bytes: 0,
        }
    }

    fn extent(self) -> Extent {
        Extent {
            bytes: self.bytes,
            sha256: self.digesting.finish(),
        }
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digesting.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
