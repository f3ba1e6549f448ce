//! Tables as CSV (RFC 4180) with a line of names.

use std::io::{Read, Write};
use std::path::Path;

use super::{Column, Table, TableError, schema};

/// Reads a file. Nothing is guessed and nothing left out: a line with more or fewer fields than the first, or with bytes that
/// are no UTF-8, is an error that names it.
pub fn read(path: &Path) -> Result<Table, TableError> {
    let file = std::fs::File::open(path).map_err(TableError::io(path))?;
    read_from(file, path)
}

/// As [`read`], of anything that is read; `path` is for messages.
pub fn read_from(input: impl Read, path: &Path) -> Result<Table, TableError> {
    let mut reader = csv::ReaderBuilder::new().from_reader(input);
    let wrong = |error: &csv::Error| TableError::format(path, words(error));
    let header = reader.headers().map_err(|error| wrong(&error))?.clone();
    if header.is_empty() {
        return Err(TableError::format(
            path,
            "is empty: expected a first line with the names of columns",
        ));
    }
    let mut texts: Vec<Vec<String>> = vec![Vec::new(); header.len()];
    for record in reader.records() {
        let record = record.map_err(|error| wrong(&error))?;
        for (column, field) in texts.iter_mut().zip(&record) {
            column.push(field.to_owned());
        }
    }
    let columns = header.iter().zip(texts).map(|(name, texts)| Column {
        name: name.trim().to_owned(),
        values: schema::learn(texts),
    });
    Table::new(columns.collect()).map_err(|error| TableError::format(path, error.to_string()))
}

/// What is wrong with a file, where, and what to do.
fn words(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { pos, err } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!(
                "line {line}, field {}: bytes that are no UTF-8; convert the file first, as with `iconv -f latin1 -t utf-8`",
                err.field() + 1
            )
        }
        csv::ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!(
                "line {line} has {len} fields, the first line {expected_len}: mend it, or quote what contains commas"
            )
        }
        _ => error.to_string(),
    }
}

/// Writes a table, with a line of names.
pub fn write_to(output: impl Write, table: &Table) -> Result<(), TableError> {
    let mut writer = Writer::new(output, table.columns.iter().map(|c| c.name.as_str()))?;
    writer.append(table)?;
    writer.finish()
}

/// Writes tables of the same columns one behind the other.
pub struct Writer<W: Write> {
    inner: csv::Writer<W>,
}

impl<W: Write> Writer<W> {
    /// Begins with the line of names.
    pub fn new<'a>(output: W, names: impl Iterator<Item = &'a str>) -> Result<Self, TableError> {
        let mut inner = csv::Writer::from_writer(output);
        inner.write_record(names).map_err(failed)?;
        Ok(Self { inner })
    }

    /// Adds rows.
    pub fn append(&mut self, table: &Table) -> Result<(), TableError> {
        for row in 0..table.rows() {
            for column in &table.columns {
                let text = column.values.text(row);
                self.inner.write_field(text.as_bytes()).map_err(failed)?;
            }
            self.inner.write_record(None::<&[u8]>).map_err(failed)?;
        }
        Ok(())
    }

    /// Writes what is still held back.
    pub fn finish(mut self) -> Result<(), TableError> {
        self.inner.flush().map_err(|error| failed(error.into()))
    }
}

#[allow(clippy::needless_pass_by_value)] // what `map_err` gives
fn failed(error: csv::Error) -> TableError {
    TableError::Table(format!("cannot write CSV: {error}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{read_from, write_to};

    fn error(bytes: &[u8]) -> String {
        read_from(bytes, Path::new("t.csv"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn bad_files_are_refused_with_the_line() {
        assert!(error(b"").contains("t.csv: is empty"));
        let ragged = error(b"a,b\n1,2\n3\n");
        assert!(
            ragged.contains("line 3 has 1 fields, the first line 2"),
            "{ragged}"
        );
        let broken = error(b"a,b\n1,2\n3,\xff\n");
        assert!(
            broken.contains("line 3, field 2: bytes that are no UTF-8"),
            "{broken}"
        );
        assert!(error(b"a,a\n1,2\n").contains("columns 1 and 2 are both called `a`"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "\u{feff}age,job,pay\n31,\"x, y\",1.50\n,\"say \"\"hi\"\"\",2.00\n45,,\n";
        let table = read_from(text.as_bytes(), Path::new("t.csv")).unwrap();
        assert_eq!(table.columns[0].name, "age");
        let mut written = Vec::new();
        write_to(&mut written, &table).unwrap();
        assert_eq!(
            String::from_utf8(written.clone()).unwrap(),
            text.trim_start_matches('\u{feff}')
        );
        assert_eq!(
            read_from(written.as_slice(), Path::new("t.csv")).unwrap(),
            table
        );
    }
}
