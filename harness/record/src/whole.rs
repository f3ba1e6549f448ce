//! Writing a record whose content is known beforehand, such as an import: it appears whole, or not at all.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::body::{Body, Header};
use crate::chain::Chain;
use crate::error::RecordError;
use crate::run_id::RunId;
use crate::writer::{COMPRESSION_LEVEL, FINISHED_SUFFIX, seal, sync_folder};

/// Where the finished record of a run lies in a folder.
pub fn path(folder: &Path, run: &RunId) -> PathBuf {
    folder.join(format!("{run}{FINISHED_SUFFIX}"))
}

/// Writes a finished record into `folder` and returns where it lies. It never replaces another.
///
/// Whatever goes wrong, in the bodies too, no record is left; a process that is killed leaves a file that nobody
/// takes for one.
pub fn write(
    folder: &Path,
    header: Header,
    bodies: impl IntoIterator<Item = Body>,
) -> Result<PathBuf, RecordError> {
    std::fs::create_dir_all(folder).map_err(RecordError::io(folder))?;
    let path = path(folder, &header.run);
    let new = folder.join(format!("{}.{}.new", header.run, std::process::id()));
    let header = Body::Header(Box::new(header));
    let written = compress(&new, std::iter::once(header).chain(bodies)).and_then(|()| {
        renameat_with(CWD, &new, CWD, &path, RenameFlags::NOREPLACE)
            .map_err(|errno| RecordError::io(&path)(errno.into()))?;
        sync_folder(folder)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written.map(|()| path)
}

fn compress(path: &Path, bodies: impl Iterator<Item = Body>) -> Result<(), RecordError> {
    let io = |error| RecordError::io(path)(error);
    let file = File::create(path).map_err(io)?;
    let mut encoder = zstd::Encoder::new(BufWriter::new(file), COMPRESSION_LEVEL).map_err(io)?;
    encoder.include_checksum(true).map_err(io)?;
    let mut chain = Chain::default();
    for body in bodies {
        let line = seal(&mut chain, &body).map_err(|what| RecordError::format(path, what))?;
        encoder.write_all(&line).map_err(io)?;
    }
    let mut buffered = encoder.finish().map_err(io)?;
    buffered.flush().map_err(io)?;
    buffered.get_ref().sync_all().map_err(io)
}
