//! Writing a record: every line reaches the disk before the next case starts.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::body::{Body, Footer, Header};
use crate::chain::Chain;
use crate::error::RecordError;
use crate::sealed;

/// Suffix of a record that is being written, or was cut off.
pub const OPEN_SUFFIX: &str = ".jsonl";
/// Suffix of a finished record.
pub const FINISHED_SUFFIX: &str = ".jsonl.zst";

/// Longest line of a record, in bytes: what a reader holds at once.
pub const MAX_LINE_BYTES: usize = 256 << 20;

const COMPRESSION_LEVEL: i32 = 6;

/// A record in the making.
#[derive(Debug)]
pub struct RecordWriter {
    path: PathBuf,
    file: File,
    chain: Chain,
    length: u64,
    /// Half a line is in the file and could not be taken back: nothing may follow it.
    broken: bool,
}

impl RecordWriter {
    /// Creates `<run id>.jsonl` in `folder`. The file appears with its header whole, and never replaces another.
    pub fn create(folder: &Path, header: Header) -> Result<Self, RecordError> {
        std::fs::create_dir_all(folder).map_err(RecordError::io(folder))?;
        let path = folder.join(format!("{}{OPEN_SUFFIX}", header.run));
        let new = folder.join(format!("{}.new", header.run));
        let mut writer = Self {
            file: File::create_new(&new).map_err(RecordError::io(&new))?,
            path: new.clone(),
            chain: Chain::default(),
            length: 0,
            broken: false,
        };
        let named = writer
            .append(&Body::Header(Box::new(header)))
            .and_then(|()| {
                renameat_with(CWD, &new, CWD, &path, RenameFlags::NOREPLACE)
                    .map_err(|errno| RecordError::io(&path)(errno.into()))?;
                sync_folder(folder)
            });
        if let Err(error) = named {
            let _ = std::fs::remove_file(&new);
            return Err(error);
        }
        writer.path = path;
        Ok(writer)
    }

    /// Where the record lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line and waits until it is on the disk. After an error the file holds what it held before.
    pub fn append(&mut self, body: &Body) -> Result<(), RecordError> {
        let mut chain = self.chain;
        let line = seal(&mut chain, body).map_err(|what| RecordError::format(&self.path, what))?;
        self.write(&line)?;
        self.chain = chain;
        self.length += line.len() as u64;
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> Result<(), RecordError> {
        if self.broken {
            return Err(RecordError::format(
                &self.path,
                "an earlier line could not be written whole",
            ));
        }
        let written = self
            .file
            .write_all(line)
            .and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            // Half a line would be read as a cut; take it back so that a later append stays possible.
            let end = io::SeekFrom::Start(self.length);
            let undone = self
                .file
                .set_len(self.length)
                .and_then(|()| self.file.seek(end));
            self.broken = undone.is_err();
            RecordError::io(&self.path)(error)
        })
    }

    /// Writes the footer, compresses the record, and returns where the finished one lies.
    ///
    /// If compressing fails, the plain record stays: it is complete, and every reader reads both.
    pub fn finish(mut self, footer: Footer) -> Result<PathBuf, RecordError> {
        self.append(&Body::Footer(Box::new(footer)))?;
        Ok(compress(&self.path).unwrap_or(self.path))
    }
}

/// The next line of a chain, newline included, if a reader would take it.
pub(crate) fn seal(chain: &mut Chain, body: &Body) -> Result<Vec<u8>, String> {
    if let Body::Block(block) = body {
        crate::validate::block(block)?;
    }
    let json = serde_json::to_vec(body).map_err(|error| error.to_string())?;
    seal_json(chain, &json)
}

/// The same of a body as JSON.
pub(crate) fn seal_json(chain: &mut Chain, json: &[u8]) -> Result<Vec<u8>, String> {
    let line = chain.seal(json);
    if line.len() > MAX_LINE_BYTES {
        return Err(format!(
            "a line of {} bytes; at most {MAX_LINE_BYTES}",
            line.len()
        ));
    }
    Ok(line)
}

/// Compresses `x.jsonl` to `x.jsonl.zst` and removes the former once the latter is on the disk.
fn compress(path: &Path) -> io::Result<PathBuf> {
    let finished = path.with_extension("jsonl.zst");
    let unfinished = path.with_extension("jsonl.zst.tmp");
    let folder = path.parent().unwrap_or(Path::new("."));
    let result = write_compressed(path, &unfinished)
        .and_then(|()| std::fs::rename(&unfinished, &finished))
        .and_then(|()| File::open(folder)?.sync_all());
    if result.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    result?;
    // If it cannot be removed, two files say the same, which is no harm.
    let _ = std::fs::remove_file(path);
    Ok(finished)
}

fn write_compressed(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let target = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)?;
    sealed::write(&target, |into| {
        let mut encoder = zstd::Encoder::new(into, COMPRESSION_LEVEL)?;
        encoder.include_checksum(true)?;
        io::copy(&mut source, &mut encoder)?;
        encoder.finish()
    })?;
    target.sync_all()
}

pub(crate) fn sync_folder(folder: &Path) -> Result<(), RecordError> {
    File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(RecordError::io(folder))
}
