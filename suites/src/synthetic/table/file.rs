//! Tables in files, whose form the name's ending says: `.csv`, `.jsonl` or `.parquet`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use assay_protocol::Digest;
use sha2::{Digest as _, Sha256};

use super::{Table, TableError, csv, jsonl, parquet};

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

/// Reads a table.
pub fn read(path: &Path) -> Result<Table, TableError> {
    match Form::of(path)? {
        Form::Csv => csv::read(path),
        Form::JsonLines => jsonl::read(path),
        Form::Parquet => parquet::read(path),
    }
}

/// A file that grows by tables of the same columns, or by bytes, and has its name only when it is whole.
pub struct Sink {
    path: PathBuf,
    unfinished: PathBuf,
    hasher: Arc<Mutex<Sha256>>,
    writer: Writer,
}

enum Writer {
    Bytes(Hashed),
    Csv(csv::Writer<Hashed>),
    JsonLines(Hashed),
    Parquet(parquet::Writer<Hashed>),
}

/// A file whose bytes are hashed on their way. The hash is shared, since a writer keeps the file to its end.
struct Hashed {
    output: BufWriter<File>,
    hasher: Arc<Mutex<Sha256>>,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.output.write(bytes)?;
        let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}

impl Sink {
    /// Begins a file for tables with the columns of `like`.
    pub fn create(path: &Path, like: &Table) -> Result<Self, TableError> {
        let form = Form::of(path)?;
        Self::begin(path, |output| {
            Ok(match form {
                Form::Csv => Writer::Csv(csv::Writer::new(
                    output,
                    like.columns.iter().map(|c| c.name.as_str()),
                )?),
                Form::JsonLines => Writer::JsonLines(output),
                Form::Parquet => Writer::Parquet(parquet::Writer::new(output, like)?),
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
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        let unfinished = path.with_file_name(name);
        let file = File::create(&unfinished).map_err(TableError::io(&unfinished))?;
        let hasher = Arc::new(Mutex::new(Sha256::new()));
        let output = Hashed {
            output: BufWriter::with_capacity(1 << 20, file),
            hasher: Arc::clone(&hasher),
        };
        Ok(Self {
            path: path.into(),
            unfinished,
            hasher,
            writer: writer(output)?,
        })
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
            Writer::JsonLines(output) => jsonl::write_to(output, table),
            Writer::Parquet(writer) => writer.append(table),
        }
    }

    /// Ends the file, gives it its name, and says its SHA-256.
    pub fn finish(self) -> Result<Digest, TableError> {
        match self.writer {
            Writer::Csv(writer) => writer.finish()?,
            Writer::Bytes(mut output) | Writer::JsonLines(mut output) => {
                output.flush().map_err(TableError::io(&self.path))?;
            }
            Writer::Parquet(writer) => writer.finish()?,
        }
        std::fs::rename(&self.unfinished, &self.path).map_err(TableError::io(&self.path))?;
        let hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: [u8; 32] = hasher.clone().finalize().into();
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::census;
    use super::{Sink, read};

    #[test]
    fn every_form_holds_the_same_table_whatever_its_parts() {
        let folder = tempfile::tempdir().unwrap();
        let table = census::rows(1, 0, 300);
        for name in ["t.csv", "t.jsonl", "t.parquet"] {
            let path = folder.path().join(name);
            let mut sink = Sink::create(&path, &table).unwrap();
            assert!(!path.exists(), "not before it is whole");
            for part in [0..100, 100..300] {
                sink.append(&table.select(&part.collect::<Vec<_>>()))
                    .unwrap();
            }
            let digest = sink.finish().unwrap();
            assert_eq!(digest, super::Digest::of(std::fs::read(&path).unwrap()));
            let back = table.align(&read(&path).unwrap()).unwrap();
            assert_eq!(back, table, "{name}");
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
