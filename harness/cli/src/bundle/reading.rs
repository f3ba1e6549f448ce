//! Taking a bundle apart: nothing of it is believed before its digest was seen to be right, and no part can become
//! longer than its table of contents says.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::{Digest, Digesting};

use super::format::{Contents, Encoding, Extent, MAGIC, MAX_TABLE_BYTES, Part, What};
use crate::errors::CouldNotRun;

/// How much is read at a time.
pub const CHUNK: usize = 1 << 17;

/// A bundle whose table of contents was read and makes sense.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    file: File,
    /// Where the first part begins.
    begin: u64,
    /// The table of contents.
    pub contents: Contents,
    /// Its digest, by which one bundle is told from another; it is not that of the file.
    pub digest: Digest,
}

/// Whether a file begins as bundles do.
pub fn begins_as_bundle(path: &Path) -> bool {
    let mut magic = Vec::new();
    let most = MAGIC.len() as u64;
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut magic));
    read.is_ok() && magic == MAGIC
}

impl Bundle {
    /// Opens a bundle and checks that the file is as long as its table says.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(path).with_context(|| path.display().to_string())
    }

    fn read(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata().map(|meta| (meta.is_file(), meta.len()));
        let (is_file, length) = length?;
        ensure!(is_file, "not a regular file");
        let mut reader = BufReader::new(&file);
        let mut magic = Vec::new();
        reader
            .by_ref()
            .take(MAGIC.len() as u64)
            .read_to_end(&mut magic)?;
        ensure!(
            magic == MAGIC,
            "neither a bundle nor a manifest: a bundle begins with the line {:?}, and a manifest's name ends in .json",
            String::from_utf8_lossy(MAGIC).trim_end()
        );
        let mut line = Vec::new();
        let most = MAX_TABLE_BYTES + 1;
        reader.by_ref().take(most).read_until(b'\n', &mut line)?;
        ensure!(
            line.len() as u64 <= MAX_TABLE_BYTES,
            "its table of contents is longer than {MAX_TABLE_BYTES} bytes"
        );
        ensure!(
            line.ends_with(b"\n"),
            "truncated within its table of contents: fetch it again from where it was made"
        );
        let (contents, digest) = Contents::from_line(&line)?;
        let begin = (MAGIC.len() + line.len()) as u64;
        let parts: u64 = contents.parts.iter().map(|part| part.stored.bytes).sum();
        let end = begin + parts;
        ensure!(
            length >= end,
            "truncated: {length} bytes of {end}; fetch it again from where it was made"
        );
        ensure!(
            length == end,
            "{} bytes behind its last part: the file was changed or damaged",
            length - end
        );
        Ok(Self {
            path: path.to_path_buf(),
            file,
            begin,
            contents,
            digest,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks the digest of every part as it lies in the file.
    pub fn verify(&self) -> Result<()> {
        for part in &self.contents.parts {
            let found = extent_of(self.stored(part)?).with_context(|| self.place(part))?;
            ensure!(
                found == part.stored,
                "{}: its digest is {}, the table of contents says {}; the file was changed or damaged: fetch it again from where it was made",
                self.place(part),
                found.sha256,
                part.stored.sha256
            );
        }
        Ok(())
    }

    /// Writes a part out, unpacked.
    pub fn extract(&self, part: &Part, into: &mut impl Write) -> Result<()> {
        let stored = self.stored(part)?;
        let found = match part.encoding {
            Encoding::Plain => copy(stored, part.content.bytes, into),
            Encoding::Zstd => {
                let decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(CHUNK, stored))?;
                copy(decoder, part.content.bytes, into)
            }
        };
        let found = found.with_context(|| self.place(part))?;
        ensure!(
            found == part.content,
            "{}: unpacked it is {} bytes with the digest {}, the table of contents says {} and {}",
            self.place(part),
            found.bytes,
            found.sha256,
            part.content.bytes,
            part.content.sha256
        );
        Ok(())
    }

    /// A part that is small enough to be held.
    pub fn held(&self, part: &Part, most: u64) -> Result<Vec<u8>> {
        ensure!(
            part.content.bytes <= most,
            "{}: longer than {most} bytes",
            self.place(part)
        );
        let mut bytes = Vec::new();
        self.extract(part, &mut bytes)?;
        Ok(bytes)
    }

    fn place(&self, part: &Part) -> String {
        format!("{}: {}", self.path.display(), part.what)
    }

    /// A part as it lies in the file.
    fn stored(&self, part: &Part) -> Result<impl Read + '_> {
        let before = |other: &&Part| other.what != part.what;
        let parts = self.contents.parts.iter().take_while(before);
        let at = self.begin + parts.map(|part| part.stored.bytes).sum::<u64>();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at))
            .with_context(|| self.place(part))?;
        Ok(file.take(part.stored.bytes))
    }

    /// The part that must be there; [`Contents`] has checked that.
    pub fn part(&self, is: impl Fn(&What) -> bool) -> Result<&Part> {
        self.contents
            .part(is)
            .context("a part of the bundle is missing")
    }
}

/// Copies at most `most` bytes and says what they were. Where they cannot be written, that is the machine's fault.
pub fn copy(mut from: impl Read, most: u64, into: &mut impl Write) -> Result<Extent> {
    let mut digesting = Digesting::default();
    let mut bytes = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).context("it cannot be read")?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        ensure!(
            bytes <= most,
            "it unpacks to more than the {most} bytes that the table of contents says"
        );
        digesting.update(&chunk[..read]);
        into.write_all(&chunk[..read])
            .map_err(|error| cannot_write(&error))?;
    }
    Ok(Extent {
        bytes,
        sha256: digesting.finish(),
    })
}

/// Length and digest of all that can be read.
pub fn extent_of(from: impl Read) -> Result<Extent> {
    copy(from, u64::MAX, &mut std::io::sink())
}

/// A disk that is full is no fault of the input.
pub fn cannot_write(error: &std::io::Error) -> CouldNotRun {
    CouldNotRun(format!("it cannot be written: {error}"))
}
