//! Tables in files, whose form the name's ending says: `.csv`, `.jsonl` or `.parquet`.

use std::fs::{File, TryLockError};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use assay_protocol::Digest;
use sha2::{Digest as _, Sha256};

use super::cells::{CellTypes, Source};
use super::schema::Types;
use super::{Table, TableError, csv, ensure_fits, jsonl, parquet};

/// What a file's name may end with.
const ENDINGS: &str = ".csv, .jsonl or .parquet";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Csv,
    JsonLines,
    Parquet,
}

impl Form {
    fn of(path: &Path) -> Result<Self, TableError> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(TableError::format(
                path,
                format!("expected a name that ends with {ENDINGS}"),
            )),
        }
    }
}

/// How a file is read, where it does not say it itself.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What separates the fields of a CSV file, if its first line has it; otherwise commas do.
    pub delimiter: Option<u8>,
    /// What columns hold.
    pub types: Types,
}

/// Reads a table, if it fits into memory; what its columns hold is learned.
pub fn read(path: &Path) -> Result<Table, TableError> {
    Ok(read_as(path, &Reading::default())?.table)
}

/// Reads a table, if it fits into memory, with what the file says of its columns.
pub fn read_as(path: &Path, reading: &Reading) -> Result<Source, TableError> {
    let form = Form::of(path)?;
    if form != Form::Parquet {
        let length = std::fs::metadata(path).map_err(TableError::io(path))?.len();
        // Its text, and the same once more as texts of cells.
        ensure_fits(path, length.saturating_mul(2))?;
    }
    match form {
        Form::Csv => csv::read(path, reading),
        Form::JsonLines => jsonl::read(path, &reading.types),
        Form::Parquet => parquet::read(path, &reading.types),
    }
}

/// How many bytes a table has as a file of this name, with these types where its form has types.
pub fn bytes_as(path: &Path, table: &Table, types: &CellTypes) -> Result<u64, TableError> {
    let mut bytes = Vec::new();
    match Form::of(path)? {
        Form::Csv => return Ok(table.csv_bytes()),
        Form::JsonLines => jsonl::write_to(&mut bytes, table, types)?,
        Form::Parquet => {
            let mut writer = parquet::Writer::new(&mut bytes, table, types)?;
            writer.append(table)?;
            writer.finish()?;
        }
    }
    Ok(bytes.len() as u64)
}

/// A file that grows by tables of the same columns, or by bytes, and has its name only when it is whole. One that is given up leaves
/// nothing.
pub struct Sink {
    path: PathBuf,
    unfinished: Unfinished,
    /// Bytes that an earlier run left.
    leftover: u64,
    written: Arc<Mutex<Written>>,
    writer: Writer,
}

/// What was written of a file.
#[derive(Default)]
struct Written {
    hasher: Sha256,
    bytes: u64,
}

/// What is written to until it is whole. Once it has its name there is nothing to take away.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Where a file grows until it is whole.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    path.with_file_name(name)
}

/// An empty file for this process alone, and how many bytes it had: what an earlier one left that did not end is used up, and what
/// another one is writing is not.
fn begun(path: &Path) -> Result<(File, u64), TableError> {
    let options = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .clone();
    let file = options.open(path).map_err(TableError::io(path))?;
    // Where files cannot be locked, nothing is known of others.
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        return Err(TableError::format(
            path,
            "another process is writing it: wait for that, or choose another name",
        ));
    }
    let found = file.metadata().map_err(TableError::io(path))?;
    if found.is_file() {
        file.set_len(0).map_err(TableError::io(path))?;
    }
    Ok((file, found.len()))
}

enum Writer {
    Bytes(Hashed),
    Csv(csv::Writer<Hashed>),
    JsonLines(Hashed, CellTypes),
    Parquet(parquet::Writer<Hashed>),
}

/// A file whose bytes are hashed and counted on their way. Both are shared, since a writer keeps the file to its end.
struct Hashed {
    output: BufWriter<File>,
    written: Arc<Mutex<Written>>,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.output.write(bytes)?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.hasher.update(&bytes[..count]);
        written.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}

impl Sink {
    /// Begins a file for tables with the columns of `like`. Where its form has types, columns have these if their values are such.
    pub fn create(path: &Path, like: &Table, types: &CellTypes) -> Result<Self, TableError> {
        let form = Form::of(path)?;
        Self::begin(path, |output| {
            Ok(match form {
                Form::Csv => Writer::Csv(csv::Writer::new(
                    output,
                    like.columns.iter().map(|c| c.name.as_str()),
                )?),
                Form::JsonLines => Writer::JsonLines(output, types.clone()),
                Form::Parquet => Writer::Parquet(parquet::Writer::new(output, like, types)?),
            })
        })
    }

    /// Begins a file of bytes, whatever its name ends with.
    pub fn of_bytes(path: &Path) -> Result<Self, TableError> {
        Self::begin(path, |output| Ok(Writer::Bytes(output)))
    }

    fn begin(
        path: &Path,
        writer: impl FnOnce(Hashed) -> Result<Writer, TableError>,
    ) -> Result<Self, TableError> {
        let unfinished = unfinished(path);
        let (file, leftover) = begun(&unfinished)?;
        let unfinished = Unfinished(unfinished);
        let written = Arc::new(Mutex::new(Written::default()));
        let output = Hashed {
            output: BufWriter::with_capacity(1 << 20, file),
            written: Arc::clone(&written),
        };
        Ok(Self {
            path: path.into(),
            unfinished,
            leftover,
            written,
            writer: writer(output)?,
        })
    }

    /// What a run that did not end had left in its place, if any did.
    pub fn leftover(&self) -> Option<&Path> {
        (self.leftover > 0).then_some(self.unfinished.0.as_path())
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        let written = self.written.lock();
        written.unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// Adds bytes to a file of bytes.
    ///
    /// # Panics
    /// If it is one of tables.
    pub fn append_bytes(&mut self, bytes: &[u8]) -> Result<(), TableError> {
        let Writer::Bytes(output) = &mut self.writer else {
            panic!("bytes for a file of tables");
        };
        output.write_all(bytes).map_err(TableError::io(&self.path))
    }

    /// Adds rows to a file of tables.
    ///
    /// # Panics
    /// If it is one of bytes.
    pub fn append(&mut self, table: &Table) -> Result<(), TableError> {
        match &mut self.writer {
            Writer::Bytes(_) => panic!("a table for a file of bytes"),
            Writer::Csv(writer) => writer.append(table),
            Writer::JsonLines(output, types) => jsonl::write_to(output, table, types),
            Writer::Parquet(writer) => writer.append(table),
        }
    }

    /// Ends the file, gives it its name, and says its SHA-256.
    pub fn finish(self) -> Result<Digest, TableError> {
        match self.writer {
            Writer::Csv(writer) => writer.finish()?,
            Writer::Bytes(mut output) | Writer::JsonLines(mut output, _) => {
                output.flush().map_err(TableError::io(&self.path))?;
            }
            Writer::Parquet(writer) => writer.finish()?,
        }
        std::fs::rename(&self.unfinished.0, &self.path).map_err(TableError::io(&self.path))?;
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: [u8; 32] = written.hasher.clone().finalize().into();
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::census;
    use super::{CellTypes, Path, Sink, Table, TableError, read};

    fn created(path: &Path, like: &Table) -> Result<Sink, TableError> {
        Sink::create(path, like, &CellTypes::new())
    }

    #[test]
    fn every_form_holds_the_same_table_whatever_its_parts() {
        let folder = tempfile::tempdir().unwrap();
        let table = census::rows(1, 0, 300);
        for name in ["t.csv", "t.jsonl", "t.parquet"] {
            let path = folder.path().join(name);
            let mut sink = created(&path, &table).unwrap();
            assert!(!path.exists(), "not before it is whole");
            for part in [0..100, 100..300] {
                sink.append(&table.select(&part.collect::<Vec<_>>()))
                    .unwrap();
            }
            let digest = sink.finish().unwrap();
            if name != "t.parquet" {
                let bytes = super::bytes_as(&path, &table, &CellTypes::new());
                assert_eq!(bytes.unwrap(), path.metadata().unwrap().len());
            }
            assert_eq!(digest, super::Digest::of(std::fs::read(&path).unwrap()));
            let back = table.align(&read(&path).unwrap()).unwrap();
            assert_eq!(back, table, "{name}");
        }
    }

    #[test]
    fn what_another_one_is_writing_is_left_alone_and_what_one_left_is_used_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let rows = census::rows(1, 0, 3);
        let first = created(&path, &rows).unwrap();
        let error = created(&path, &rows).err().unwrap().to_string();
        assert!(
            error.contains("t.csv.unfinished: another process"),
            "{error}"
        );
        drop(first);
        std::fs::write(super::unfinished(&path), "x".repeat(10_000)).unwrap();
        let mut sink = created(&path, &rows).unwrap();
        assert_eq!(sink.leftover(), Some(super::unfinished(&path).as_path()));
        sink.append(&rows).unwrap();
        sink.finish().unwrap();
        assert_eq!(read(&path).unwrap().rows(), 3);
    }

    #[test]
    fn what_does_not_fit_into_memory_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["t.csv", "t.jsonl"] {
            let path = folder.path().join(name);
            // Eight terabytes of nothing, which take no room.
            std::fs::File::create(&path)
                .unwrap()
                .set_len(1 << 43)
                .unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(
                error.contains(name) && error.contains("not enough memory"),
                "{error}"
            );
            assert!(error.contains("a sample of its rows"), "{error}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        let error = read(std::path::Path::new("t.xlsx"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(".csv, .jsonl or .parquet"), "{error}");
    }
}
