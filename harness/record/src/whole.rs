//! Writing records whose content is known beforehand, such as imports: each appears whole, or not at all.
//!
//! A [`Draft`] is written under a name that nobody takes for a record's. [`publish`] gives drafts their names, once all
//! of them are on the disk: to wait for the disk once for many costs little more than for one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};

use crate::body::{Body, Header};
use crate::case_list::CaseLists;
use crate::chain::Chain;
use crate::error::RecordError;
use crate::reader::Record;
use crate::run_id::RunId;
use crate::sealed;
use crate::writer::{FINISHED_SUFFIX, seal, seal_json, sync_folder};

/// What is written by the hundred: a third as dear as what runs take. Their lines are so alike that the higher levels up to 3 make
/// them no shorter.
const COMPRESSION_LEVEL: i32 = 1;

/// From so many drafts on, one wait for the whole file system is less than one for each.
const MANY: usize = 4;

/// Where the finished record of a run lies in a folder.
pub fn path(folder: &Path, run: &RunId) -> PathBuf {
    folder.join(format!("{run}{FINISHED_SUFFIX}"))
}

/// A record that is written, but has no name yet. One that is dropped leaves nothing.
#[derive(Debug)]
pub struct Draft {
    record: Record,
    file: File,
    new: Unnamed,
    path: PathBuf,
    /// Whether it takes the place of a record of its name.
    replaces: bool,
}

impl Draft {
    /// Writes a finished record into `folder`, with what was worked out of cases that other records have too.
    ///
    /// Whatever goes wrong, in the bodies too, no file is left; a process that is killed leaves one that nobody takes
    /// for a record.
    pub fn write(
        folder: &Path,
        header: Header,
        bodies: impl IntoIterator<Item = Body>,
        lists: &CaseLists,
    ) -> Result<Self, RecordError> {
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        std::fs::create_dir_all(folder).map_err(RecordError::io(folder))?;
        // Two may be of one run: then the second will get no name.
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let new = format!("{}.{}.{number}.new", header.run, std::process::id());
        let new = Unnamed(folder.join(new));
        let path = path(folder, &header.run);
        let file = File::create(&new.0).map_err(RecordError::io(&new.0))?;
        let record = compress(&file, &path, header, bodies, lists)?;
        Ok(Self {
            record,
            file,
            new,
            path,
            replaces: false,
        })
    }

    /// What it says: what a reader of the file will find.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The same, to take the place of the record of its name that there is.
    #[must_use]
    pub fn in_its_place(self) -> Self {
        Self {
            replaces: true,
            ..self
        }
    }

    /// Gives it its name. It replaces another only where that was asked for.
    fn publish(self) -> Published {
        let flags = if self.replaces {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        renameat_with(CWD, &self.new.0, CWD, &self.path, flags)
            .map_err(|errno| RecordError::io(&self.path)(errno.into()))?;
        Ok((self.record, self.path))
    }
}

/// A record that has its name now, and where it lies.
pub type Published = Result<(Record, PathBuf), RecordError>;

/// A file that is removed unless it gets another name.
#[derive(Debug)]
struct Unnamed(PathBuf);

impl Drop for Unnamed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn compress(
    file: &File,
    path: &Path,
    header: Header,
    bodies: impl IntoIterator<Item = Body>,
    lists: &CaseLists,
) -> Result<Record, RecordError> {
    let io = |error| RecordError::io(path)(error);
    let wrong = |what| RecordError::format(path, what);
    let mut chain = Chain::default();
    let first = lists.header(&header);
    let first = first.map_err(|error| wrong(error.to_string()))?;
    let mut lines = seal_json(&mut chain, &first).map_err(wrong)?;
    let mut record = Record::begun(header, chain.head());
    let bodies = bodies.into_iter();
    record.blocks.reserve(bodies.size_hint().0);
    for body in bodies {
        lines.extend(seal(&mut chain, &body).map_err(wrong)?);
        record.push(body, chain.head()).map_err(wrong)?;
    }
    packed(file, &lines).map_err(io)?;
    Ok(record)
}

/// Who knows the length beforehand needs no larger tables than it takes.
fn packed(file: &File, lines: &[u8]) -> io::Result<()> {
    sealed::write(file, |into| {
        let mut encoder = zstd::Encoder::new(into, COMPRESSION_LEVEL)?;
        encoder.set_pledged_src_size(Some(lines.len() as u64))?;
        encoder.include_checksum(true)?;
        encoder.write_all(lines)?;
        encoder.finish()
    })
}

/// Gives drafts in `folder` their names, in their order, once all are on the disk. One whose name is taken is an error
/// of its own; the others are not affected.
pub fn publish(folder: &Path, drafts: Vec<Draft>) -> Result<Vec<Published>, RecordError> {
    if drafts.is_empty() {
        return Ok(Vec::new());
    }
    if drafts.len() < MANY {
        for draft in &drafts {
            draft
                .file
                .sync_all()
                .map_err(RecordError::io(&draft.path))?;
        }
    } else {
        let system = File::open(folder).map_err(RecordError::io(folder))?;
        syncfs(&system).map_err(|errno| RecordError::io(folder)(errno.into()))?;
    }
    let published = drafts.into_iter().map(Draft::publish).collect();
    sync_folder(folder)?;
    Ok(published)
}
