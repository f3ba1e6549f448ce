//! Writing a record: every line reaches the disk before the next case starts.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::body::{Body, Footer, Header};
use crate::chain::Chain;
use crate::error::RecordError;

/// Suffix of a record that is being written, or was cut off.
pub const OPEN_SUFFIX: &str = ".jsonl";
/// Suffix of a finished record.
pub const FINISHED_SUFFIX: &str = ".jsonl.zst";

const COMPRESSION_LEVEL: i32 = 6;

/// A record in the making.
#[derive(Debug)]
pub struct RecordWriter {
    path: PathBuf,
    file: File,
    chain: Chain,
    length: u64,
}

impl RecordWriter {
    /// Creates `<run id>.jsonl` in `folder` and writes the header. A file of that name is never overwritten.
    pub fn create(folder: &Path, header: Header) -> Result<Self, RecordError> {
        std::fs::create_dir_all(folder).map_err(RecordError::io(folder))?;
        let path = folder.join(format!("{}{OPEN_SUFFIX}", header.run));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(RecordError::io(&path))?;
        let mut writer = Self {
            path,
            file,
            chain: Chain::default(),
            length: 0,
        };
        writer.append(&Body::Header(Box::new(header)))?;
        sync_folder(folder)?;
        Ok(writer)
    }

    /// Where the record lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line and waits until it is on the disk. After an error the file holds what it held before.
    pub fn append(&mut self, body: &Body) -> Result<(), RecordError> {
        let json =
            serde_json::to_vec(body).map_err(|e| RecordError::format(&self.path, e.to_string()))?;
        let mut chain = self.chain;
        let line = chain.seal(&json);
        if let Err(error) = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
        {
            // Half a line would be read as a cut; take it back so that a later append stays possible.
            let _ = self.file.set_len(self.length);
            let _ = io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.length));
            return Err(RecordError::io(&self.path)(error));
        }
        self.chain = chain;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Writes the footer, compresses the record, and returns where the finished one lies.
    ///
    /// If compressing fails (a full disk), the plain record stays: it is complete, and ingest reads both.
    pub fn finish(mut self, footer: Footer) -> Result<PathBuf, RecordError> {
        self.append(&Body::Footer(Box::new(footer)))?;
        match compress(&self.path) {
            Ok(finished) => Ok(finished),
            Err(error) if error.is_out_of_space() => Ok(self.path),
            Err(error) => Err(error),
        }
    }
}

/// Compresses `x.jsonl` to `x.jsonl.zst` and removes the former once the latter is on the disk.
fn compress(path: &Path) -> Result<PathBuf, RecordError> {
    let finished = path.with_extension("jsonl.zst");
    let unfinished = path.with_extension("jsonl.zst.tmp");
    let result = write_compressed(path, &unfinished)
        .map_err(RecordError::io(&unfinished))
        .and_then(|()| std::fs::rename(&unfinished, &finished).map_err(RecordError::io(&finished)));
    if let Err(error) = result {
        let _ = std::fs::remove_file(&unfinished);
        return Err(error);
    }
    if let Some(folder) = path.parent() {
        sync_folder(folder)?;
    }
    std::fs::remove_file(path).map_err(RecordError::io(path))?;
    Ok(finished)
}

fn write_compressed(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut encoder = zstd::Encoder::new(BufWriter::new(File::create(to)?), COMPRESSION_LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(&mut source, &mut encoder)?;
    let mut buffered = encoder.finish()?;
    buffered.flush()?;
    buffered.get_ref().sync_all()
}

fn sync_folder(folder: &Path) -> Result<(), RecordError> {
    File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(RecordError::io(folder))
}
