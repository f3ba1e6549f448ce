//! Tables as CSV (RFC 4180) with a line of names.
//!
//! Parsing and quoting are the csv-core crate's.

use std::io::{Read, Write};
use std::path::Path;

use csv_core::{ReadRecordResult, WriteResult};

use super::cells::{BlankLines, Cells, Source};
use super::file::Reading;
use super::{CELL_BYTES, Table, TableError, ensure_fits};

/// What some programs put before the first line.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What to say of bytes that are no text.
pub(super) const UTF_16: &str = "has a byte of 0, as UTF-16 and compressed files have and text has not; convert the file first, as with `iconv -f utf-16 -t utf-8`, or unpack it";

/// What to say of bytes that are no UTF-8: of a file whose beginning has letters of UTF-8 that are not ASCII, or has none.
pub(super) fn no_utf_8(is_ascii_before: bool) -> &'static str {
    if is_ascii_before {
        "bytes that are no UTF-8; convert the file first, as with `iconv -f latin1 -t utf-8`"
    } else {
        "bytes that are no UTF-8, though letters before them are: the file mixes encodings, and to convert all of it would spoil those; mend these bytes alone"
    }
}

/// What separates fields where nobody says otherwise.
const COMMA: u8 = b',';
/// What may have been meant to, in a first line that has no comma, and what options call it.
const OTHERS: [(u8, &str); 3] = [(b';', "';'"), (b'\t', "tab"), (b'|', "'|'")];

/// Reads a file. Nothing is guessed and nothing left out but blank lines, which are counted: a line with more or fewer fields than the
/// first, with bytes that are no UTF-8, or a first line that other signs than commas seem to separate, is an error that names it.
pub fn read(path: &Path, reading: &Reading) -> Result<Source, TableError> {
    let file = std::fs::File::open(path).map_err(TableError::io(path))?;
    read_from(file, path, reading)
}

/// As [`read`], of anything that is read; `path` is for messages.
pub fn read_from(
    mut input: impl Read,
    path: &Path,
    reading: &Reading,
) -> Result<Source, TableError> {
    let mut bytes = Vec::new();
    input
        .read_to_end(&mut bytes)
        .map_err(TableError::io(path))?;
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    let wrong = |what: String| TableError::format(path, what);
    let delimiter = delimiter(text, reading).map_err(wrong)?;
    let ends = text
        .iter()
        .filter(|byte| **byte == delimiter || **byte == b'\n');
    ensure_fits(path, CELL_BYTES * ends.count() as u64)?;
    if let Some(place) = text.iter().position(|byte| *byte == 0) {
        let line = text[..place].split(|byte| *byte == b'\n').count();
        return Err(wrong(format!("line {line} {UTF_16}")));
    }
    let mut records = Records::of(text, delimiter);
    let Some(header) = records.next().transpose().map_err(wrong)? else {
        return Err(TableError::format(
            path,
            "is empty: expected a first line with the names of columns",
        ));
    };
    let mut texts: Vec<Vec<String>> = vec![Vec::new(); header.fields.len()];
    let odd = Odd::of(text, delimiter);
    // First, for a field without an end makes other lines look wrong.
    if let Some(line) = odd.unclosed {
        return Err(wrong(format!(
            "line {line} opens a quote that is never closed, so that all behind it is one field: close it, or double a quote that is text"
        )));
    }
    for record in records {
        let Record { line, fields } = record.map_err(wrong)?;
        if fields.len() != texts.len() {
            return Err(wrong(ragged(line, &fields, texts.len(), delimiter)));
        }
        for (column, field) in texts.iter_mut().zip(fields) {
            column.push(field);
        }
    }
    if let (1, Some(line)) = (texts.len(), odd.blank.first) {
        return Err(wrong(format!(
            "line {line} is empty, which may be a missing value or nothing at all where there is one column: write NA, or take the line out"
        )));
    }
    let columns = header.fields.iter().zip(texts).map(|(name, texts)| Cells {
        name: name.trim().to_owned(),
        texts,
        ..Cells::default()
    });
    Source::of(columns.collect(), &reading.types)
        .map(|source| source.with_blank_lines(odd.blank))
        .map_err(|error| TableError::format(path, error.to_string()))
}

/// What to say of a line that has another number of fields than the first.
fn ragged(line: u64, fields: &[String], wanted: usize, delimiter: u8) -> String {
    // A quote that was taken for text.
    let has_quote = fields.iter().any(|field| field.contains('"'));
    format!(
        "line {line} has {} fields, the first line {wanted}: mend it, or quote what contains {}{}",
        fields.len(),
        if delimiter == COMMA {
            "commas"
        } else {
            "what separates fields"
        },
        if has_quote {
            "; a quote in the middle of a field, be it behind a blank alone, is text and quotes nothing: let it be the field's first sign"
        } else {
            ""
        }
    )
}

/// What separates the fields of a text.
fn delimiter(text: &[u8], reading: &Reading) -> Result<u8, String> {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Some(given) = reading.delimiter
        && first.contains(&given)
    {
        return Ok(given);
    }
    // A name within quotes is meant as it is.
    if first.contains(&COMMA) || first.starts_with(b"\"") {
        return Ok(COMMA);
    }
    let other = OTHERS.into_iter().find(|(other, _)| first.contains(other));
    match other {
        None => Ok(COMMA),
        Some((_, name)) => Err(format!(
            "the first line has no comma, and {name}: say --delimiter {name} if that separates its fields, or quote the line if it is one name"
        )),
    }
}

/// What the parser passes over in silence.
#[derive(Default)]
struct Odd {
    /// The line of a quote that the text ends within: the end of a file is taken for its end.
    unclosed: Option<u64>,
    /// Lines without anything.
    blank: BlankLines,
}

impl Odd {
    fn of(text: &[u8], delimiter: u8) -> Self {
        let mut odd = Self::default();
        let (mut line, mut is_blank, mut begins_field) = (1, true, true);
        let mut bytes = text.iter().peekable();
        while let Some(byte) = bytes.next() {
            match (byte, odd.unclosed) {
                (b'"', Some(_)) if bytes.peek() == Some(&&b'"') => drop(bytes.next()),
                (b'"', Some(_)) => odd.unclosed = None,
                (b'"', None) if begins_field => odd.unclosed = Some(line),
                (b'\n', None) if is_blank => odd.blank.add(line),
                _ => {}
            }
            let is_end = *byte == b'\n';
            line += u64::from(is_end);
            is_blank = odd.unclosed.is_none() && (is_end || (is_blank && *byte == b'\r'));
            begins_field =
                odd.unclosed.is_none() && (*byte == delimiter || matches!(byte, b'\n' | b'\r'));
        }
        odd
    }
}

/// The records of a text.
struct Records<'a> {
    reader: csv_core::Reader,
    whole: &'a [u8],
    rest: &'a [u8],
    /// The fields of a record one behind the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// A record, and the line that it begins on.
struct Record {
    line: u64,
    fields: Vec<String>,
}

impl<'a> Records<'a> {
    fn of(text: &'a [u8], delimiter: u8) -> Self {
        Self {
            reader: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            whole: text,
            rest: text,
            text: vec![0; 1 << 10],
            ends: vec![0; 1 << 6],
        }
    }

    /// What to say of the first bytes that are no UTF-8.
    fn no_utf_8(&self) -> &'static str {
        let valid = match std::str::from_utf8(self.whole) {
            Ok(_) => self.whole.len(),
            Err(error) => error.valid_up_to(),
        };
        no_utf_8(self.whole[..valid].is_ascii())
    }

    /// Fields `0..count`, which end where it is noted.
    fn fields(&self, count: usize, line: u64) -> Result<Record, String> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let fields = starts
            .zip(&self.ends)
            .take(count)
            .enumerate()
            .map(|(index, (start, end))| {
                let field = std::str::from_utf8(&self.text[start..*end]).map_err(|_| {
                    format!("line {line}, field {}: {}", index + 1, self.no_utf_8())
                })?;
                Ok(field.to_owned())
            });
        let fields = fields.collect::<Result<_, String>>()?;
        Ok(Record { line, fields })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.reader.line();
        let (mut bytes, mut count) = (0, 0);
        loop {
            let (result, read, written, ended) = self.reader.read_record(
                self.rest,
                &mut self.text[bytes..],
                &mut self.ends[count..],
            );
            self.rest = &self.rest[read..];
            (bytes, count) = (bytes + written, count + ended);
            match result {
                // Of no more input the next call makes the end of the last record.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => return Some(self.fields(count, line)),
                ReadRecordResult::End => return None,
            }
        }
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
    output: W,
    inner: csv_core::Writer,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins with the line of names.
    pub fn new<'a>(output: W, names: impl Iterator<Item = &'a str>) -> Result<Self, TableError> {
        let mut writer = Self {
            output,
            inner: csv_core::Writer::new(),
            buffer: vec![0; 1 << 12],
        };
        writer.record(names.map(Into::into))?;
        Ok(writer)
    }

    /// Adds rows.
    pub fn append(&mut self, table: &Table) -> Result<(), TableError> {
        for row in 0..table.rows() {
            self.record(table.columns.iter().map(|column| column.values.text(row)))?;
        }
        Ok(())
    }

    fn record<'a>(
        &mut self,
        fields: impl Iterator<Item = std::borrow::Cow<'a, str>>,
    ) -> Result<(), TableError> {
        for (index, field) in fields.enumerate() {
            if index > 0 {
                self.put(|inner, output| {
                    let (result, written) = inner.delimiter(output);
                    (result, 0, written)
                })?;
            }
            let mut rest = field.as_bytes();
            while !rest.is_empty() {
                let read = self.put(|inner, output| inner.field(rest, output))?;
                rest = &rest[read..];
            }
        }
        self.put(|inner, output| {
            let (result, written) = inner.terminator(output);
            (result, 0, written)
        })?;
        Ok(())
    }

    /// Has something written until there was room for it, and says how much of its input was taken.
    fn put(
        &mut self,
        mut step: impl FnMut(&mut csv_core::Writer, &mut [u8]) -> (WriteResult, usize, usize),
    ) -> Result<usize, TableError> {
        loop {
            let (result, read, written) = step(&mut self.inner, &mut self.buffer);
            self.output
                .write_all(&self.buffer[..written])
                .map_err(|error| failed(&error))?;
            if result == WriteResult::InputEmpty || read > 0 {
                return Ok(read);
            }
        }
    }

    /// Writes what is still held back.
    pub fn finish(mut self) -> Result<(), TableError> {
        self.output.flush().map_err(|error| failed(&error))
    }
}

fn failed(error: &std::io::Error) -> TableError {
    TableError::Table(format!("cannot write CSV: {error}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Table;
    use super::super::file::Reading;
    use super::write_to;

    fn read_from(bytes: &[u8], path: &Path) -> Result<Table, super::TableError> {
        super::read_from(bytes, path, &Reading::default()).map(|source| source.table)
    }

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
        assert!(!ragged.contains("a quote"), "{ragged}");
        let in_mid_line = error(b"a,b\n1, \"x, y\"\n");
        assert!(
            in_mid_line.contains("line 2 has 3 fields")
                && in_mid_line.contains("behind a blank alone, is text"),
            "{in_mid_line}"
        );
        let broken = error(b"a,b\n1,2\n3,\xff\n");
        assert!(
            broken.contains("line 3, field 2: bytes that are no UTF-8; convert the file"),
            "{broken}"
        );
        let open = error(b"a,b\n1,\"x\n2,y\n3,z\n");
        assert!(
            open.contains("line 2 opens a quote that is never closed"),
            "{open}"
        );
        let open = error(b"a,b\n\"x\n2,y\n3,z\n");
        assert!(
            open.contains("line 2 opens a quote that is never closed"),
            "{open}"
        );
        let blank = error(b"a\n1\n\n2\n");
        assert!(blank.contains("line 3 is empty"), "{blank}");
        let wide: Vec<u8> = "a,b\n1,2\n".bytes().flat_map(|byte| [0, byte]).collect();
        assert!(
            error(&wide).contains("line 1 has a byte of 0"),
            "{}",
            error(&wide)
        );
        // One line of another encoding in a file of UTF-8.
        let mixed = error(b"a,b\ncaf\xc3\xa9,1\ncaf\xe9,2\n");
        assert!(
            mixed.contains("line 3, field 1: bytes that are no UTF-8, though letters before")
                && mixed.contains("mend these bytes alone"),
            "{mixed}"
        );
        assert!(error(b"a,a\n1,2\n").contains("columns 1 and 2 are both called `a`"));
    }

    #[test]
    fn other_separators_are_refused_until_they_are_said() {
        for (delimiter, name) in [(b';', "';'"), (b'\t', "tab"), (b'|', "'|'")] {
            let text = "a,b\n1,\"x\"\n2,\n".replace(',', &char::from(delimiter).to_string());
            let refused = error(text.as_bytes());
            assert!(
                refused.contains(&format!("--delimiter {name}")),
                "{refused}"
            );
            let reading = Reading {
                delimiter: Some(delimiter),
                ..Reading::default()
            };
            let read = |text: &str| {
                super::read_from(text.as_bytes(), Path::new("t.csv"), &reading)
                    .map(|source| source.table)
            };
            let with_commas = "a,b\n1,x\n2,\n";
            assert_eq!(read(&text).unwrap(), read(with_commas).unwrap());
            let ragged = read(&format!("{text}3\n")).unwrap_err().to_string();
            assert!(ragged.contains("line 4 has 1 fields"), "{ragged}");
        }
        // Decimal commas, which would be fields too many.
        assert!(error(b"a;b\n1,5;2,5\n").contains("--delimiter ';'"));
        for one in [&b"\"a;b\"\n1\n"[..], b"a b\n1\n"] {
            assert_eq!(read_from(one, Path::new("t.csv")).unwrap().columns.len(), 1);
        }
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

    #[test]
    fn long_fields_many_columns_and_single_missing_values_survive() {
        let long = "x\"y,".repeat(5000);
        let names: Vec<String> = (0..300).map(|i| format!("c{i}")).collect();
        let quoted = format!("\"{}\"", long.replace('"', "\"\""));
        let text = format!(
            "{}\n{}\n",
            names.join(","),
            vec![quoted.as_str(); 300].join(",")
        );
        let table = read_from(text.as_bytes(), Path::new("t.csv")).unwrap();
        assert_eq!((table.rows(), table.columns.len()), (1, 300));
        assert_eq!(table.columns[299].values.text(0), long);
        let blank = |text: &[u8]| {
            let read = super::read_from(text, Path::new("t.csv"), &Reading::default());
            let source = read.unwrap();
            (
                source.table.rows(),
                source.blank_lines.count,
                source.blank_lines.first,
            )
        };
        assert_eq!(
            blank(b"a,b\n1,2\n\n3,4\r\n\r\n5,\"x\n\ny\"\n"),
            (3, 2, Some(3))
        );
        assert_eq!(blank(b"\na,b\n1,2\n,\n"), (2, 1, Some(1)));
        let lines = read_from(b"a\n\"x\n\ny\"\nz\"w\n", Path::new("t.csv")).unwrap();
        assert_eq!(
            lines.rows(),
            2,
            "a blank line within quotes, a quote within a text"
        );
        // A line of one missing value is no empty line.
        let one = read_from(b"a\n1\n\"\"\n3", Path::new("t.csv")).unwrap();
        let mut written = Vec::new();
        write_to(&mut written, &one).unwrap();
        assert_eq!(written, b"a\n1\n\"\"\n3\n");
    }
}
