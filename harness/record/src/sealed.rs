//! The digest of a finished record's file, in front of it: every changed byte is noticed, those too that change nothing of
//! what the file says. Compression leaves bits that mean nothing.
//!
//! It lies in a frame that whoever reads zstd passes over (RFC 8878, section 3.1.2). Files of before have none.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use assay_protocol::{Digest, Digesting};

use crate::digest::digest_of;
use crate::error::RecordError;

/// How the frame begins: its magic number, 0x184D2A5A, and how many bytes follow.
const HEAD: [u8; 8] = [0x5a, 0x2a, 0x4d, 0x18, 32, 0, 0, 0];
/// Length of the frame.
const BYTES: usize = HEAD.len() + 32;

/// Writes what `pack` writes into an empty file, and its digest in front.
pub(crate) fn write<'a>(
    file: &'a File,
    pack: impl FnOnce(Hashing<'a>) -> io::Result<Hashing<'a>>,
) -> io::Result<()> {
    let mut into = Hashing {
        file: BufWriter::new(file),
        digesting: Digesting::default(),
    };
    into.file.write_all(&[0; BYTES])?;
    let mut written = pack(into)?;
    written.flush()?;
    let digest = written.digesting.finish();
    file.write_all_at(&[&HEAD[..], digest.as_bytes()].concat(), 0)
}

/// A file that knows the digest of what was written to it.
pub(crate) struct Hashing<'a> {
    file: BufWriter<&'a File>,
    digesting: Digesting,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digesting.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Leaves a file where its content begins, once that was found to be what the digest says; without one, at its start.
pub(crate) fn open(mut file: File, path: &Path) -> Result<File, RecordError> {
    let mut front = Vec::new();
    let read = (&file).take(BYTES as u64).read_to_end(&mut front);
    read.map_err(RecordError::io(path))?;
    if !is_passed_over(&front) {
        file.seek(SeekFrom::Start(0))
            .map_err(RecordError::io(path))?;
        return Ok(file);
    }
    let content = digest_of(&file).map_err(RecordError::io(path))?;
    if front != [&HEAD[..], content.as_bytes()].concat() {
        return Err(RecordError::Digest {
            path: path.into(),
            what: format!("its content is {content}, {}", said(&front)),
        });
    }
    file.seek(SeekFrom::Start(BYTES as u64))
        .map_err(RecordError::io(path))?;
    Ok(file)
}

/// Whether a file begins with a frame that readers of zstd pass over: one of sixteen magic numbers.
fn is_passed_over(front: &[u8]) -> bool {
    let [first, rest @ ..] = front else {
        return false;
    };
    first & 0xf0 == HEAD[0] & 0xf0 && rest.starts_with(&HEAD[1..4])
}

/// What the frame in front says of the content.
fn said(front: &[u8]) -> String {
    let digest = front.strip_prefix(&HEAD[..]).map(<[u8; 32]>::try_from);
    match digest {
        Some(Ok(digest)) => format!("and its beginning says {}", Digest::from(digest)),
        _ => "and its beginning, which would say so, is no longer whole".into(),
    }
}
