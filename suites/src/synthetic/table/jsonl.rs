//! Tables as JSON lines: one object a row, all with the same keys.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::cells::{BlankLines, CellType, CellTypes, Cells, Seen, Source, written};
use super::csv::{BYTE_ORDER_MARK, UTF_16, no_utf_8};
use super::schema::Types;
use super::{CELL_BYTES, Table, TableError, Values, ensure_fits};

/// Longest line, in bytes.
const MAX_LINE: u64 = 1 << 20;
/// Rows from which it is told whether all have room in memory.
const FIRST_ROWS: usize = 1 << 14;

/// Reads a file. Every line is an object of numbers, texts, truth values and nulls; a key that a line lacks is missing there. Such lines are
/// counted, and so are blank ones, which are no rows.
pub fn read(path: &Path, types: &Types) -> Result<Source, TableError> {
    let file = std::fs::File::open(path).map_err(TableError::io(path))?;
    read_from(file, path, types)
}

/// As [`read`], of anything that is read; `path` is for messages, and for how long it is.
pub fn read_from(input: impl Read, path: &Path, types: &Types) -> Result<Source, TableError> {
    let mut reader = BufReader::new(input);
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut columns: Vec<Cells> = Vec::new();
    let mut rows = 0;
    let mut bytes = 0;
    let mut blank_lines = BlankLines::default();
    let mut is_ascii = true;
    for number in 1_u64.. {
        let mut line = Vec::new();
        let read = (&mut reader)
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut line);
        let wrong = |what: String| TableError::format(path, format!("line {number}: {what}"));
        if read.map_err(TableError::io(path))? == 0 {
            break;
        }
        bytes += line.len() as u64;
        if line.len() as u64 > MAX_LINE {
            return Err(wrong(format!("longer than {MAX_LINE} bytes")));
        }
        if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            blank_lines.add(number);
            continue;
        }
        let members = members(&line, is_ascii).map_err(wrong)?;
        is_ascii = is_ascii && line.is_ascii();
        for (name, value) in members {
            let (cell_type, text) = value.map_err(|what| wrong(format!("`{name}`: {what}")))?;
            if names
                .get(&name)
                .is_some_and(|column| columns[*column].texts.len() > rows)
            {
                return Err(wrong(format!("`{name}` twice: rename one, or take it out")));
            }
            let column = *names.entry(name).or_insert_with_key(|name| {
                let mut seen = Seen::default();
                seen.skip(0..rows);
                columns.push(Cells {
                    name: name.clone(),
                    texts: vec![String::new(); rows],
                    seen,
                });
                columns.len() - 1
            });
            if let Some(cell_type) = cell_type {
                columns[column].seen.add(cell_type, &text, rows);
            }
            columns[column].texts.push(text);
        }
        rows += 1;
        for column in &mut columns {
            column.seen.skip(column.texts.len()..rows);
            column.texts.resize(rows, String::new());
        }
        if rows == FIRST_ROWS {
            ensure_rest_fits(path, bytes, (rows * columns.len()) as u64)?;
        }
    }
    if columns.is_empty() {
        let what = if rows == 0 {
            "is empty: expected an object in each line".to_owned()
        } else {
            format!(
                "all of its {rows} objects are without members, and so it has no column: expected a member for each value, as in {{\"name\": 1}}"
            )
        };
        return Err(TableError::format(path, what));
    }
    Source::of(columns, types)
        .map(|source| source.with_blank_lines(blank_lines))
        .map_err(|error| TableError::format(path, error.to_string()))
}

/// That memory holds the cells of the rest of a file, if there are as many of them as in the bytes that were read.
fn ensure_rest_fits(path: &Path, read: u64, cells: u64) -> Result<(), TableError> {
    let length = std::fs::metadata(path).map_or(read, |file| file.len());
    let rest = u128::from(length.saturating_sub(read)) * u128::from(CELL_BYTES * cells);
    ensure_fits(
        path,
        u64::try_from(rest / u128::from(read)).unwrap_or(u64::MAX),
    )
}

/// A cell: its type, unless it is null, and its text; or why it is none.
type Cell = Result<(Option<CellType>, String), &'static str>;

/// The members of the object of a line, behind others that are ASCII or not.
fn members(line: &[u8], is_ascii_before: bool) -> Result<Vec<(String, Cell)>, String> {
    if line.contains(&0) {
        return Err(UTF_16.into());
    }
    let text = std::str::from_utf8(line)
        .map_err(|error| no_utf_8(is_ascii_before && line[..error.valid_up_to()].is_ascii()))?;
    let row: Row = serde_json::from_str(text).map_err(|error| {
        let words = error.to_string();
        // It counts lines from this one on.
        let what = words
            .split_once(" at line ")
            .map_or(&*words, |(what, _)| what);
        format!(
            "expected an object: {what}, at column {}; mend the line",
            error.column()
        )
    })?;
    let mut members: Vec<(String, Cell)> = Vec::with_capacity(row.0.len());
    let mut numbers = None;
    let mut place = 0;
    for (name, value) in row.0 {
        let mut found = cell(&value);
        if let Value::Number(number) = &value {
            if number.as_f64().is_some_and(may_have_lost_digits) {
                let written = numbers.get_or_insert_with(|| numbers_in(text)).get(place);
                found = written.map_or(found, |digits| Ok(long(digits)));
            }
            place += 1;
        }
        members.push((name, found));
    }
    Ok(members)
}

/// Whether a number is beyond those that JSON's parser has integers for.
fn may_have_lost_digits(number: f64) -> bool {
    number >= u64::MAX as f64 || number <= i64::MIN as f64
}

/// The numbers of a line without arrays and objects in it, as they are written.
fn numbers_in(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut in_text, mut at) = (false, 0);
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'-' | b'0'..=b'9' if !in_text => {
                let is_of_number =
                    |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                at += bytes[at..].iter().take_while(is_of_number).count();
                found.push(&text[start..at]);
            }
            _ => {}
        }
    }
    found
}

/// A number that 64 bits do not hold, as it is written.
fn long(written: &str) -> (Option<CellType>, String) {
    let is_integer = written.bytes().all(|b| b == b'-' || b.is_ascii_digit());
    let cell_type = if is_integer {
        CellType::Integer
    } else {
        CellType::Float
    };
    (Some(cell_type), written.to_owned())
}

/// The members of an object, in the order of the file.
struct Row(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Row;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Row(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The type of a value, and its text.
fn cell(value: &Value) -> Cell {
    let (cell_type, text) = match value {
        Value::Null => return Ok((None, String::new())),
        Value::Bool(truth) => (CellType::Truth, truth.to_string()),
        Value::Number(number) if number.is_f64() => (CellType::Float, number.to_string()),
        Value::Number(number) => (CellType::Integer, number.to_string()),
        Value::String(text) => (CellType::Text, text.clone()),
        Value::Array(_) | Value::Object(_) => {
            return Err(
                "expected a number, a text, a truth value or null: give what is within it members of the row's own",
            );
        }
    };
    Ok((Some(cell_type), text))
}

/// Writes the rows of a table, one object a line, in the order of its columns, which have these types where their values are such;
/// others are what they hold, and of nothing but `true` and `false` truth values.
///
/// # Panics
/// Never: text is always JSON.
pub fn write_to(
    mut output: impl Write,
    table: &Table,
    types: &CellTypes,
) -> Result<(), TableError> {
    let columns: Vec<(String, &Values, CellType)> = table
        .columns
        .iter()
        .map(|column| {
            let name = serde_json::to_string(&column.name).expect("text");
            let cell_type = written(&column.values, types.get(&column.name).copied());
            (name, &column.values, cell_type)
        })
        .collect();
    let mut line = String::new();
    for row in 0..table.rows() {
        line.clear();
        for (name, values, cell_type) in &columns {
            line.push(if line.is_empty() { '{' } else { ',' });
            line.push_str(name);
            line.push(':');
            push_value(&mut line, values, *cell_type, row);
        }
        line.push_str("}\n");
        output
            .write_all(line.as_bytes())
            .map_err(|error| TableError::Table(format!("cannot write JSON lines: {error}")))?;
    }
    Ok(())
}

fn push_value(line: &mut String, values: &Values, cell_type: CellType, row: usize) {
    let text = values.text(row);
    match cell_type {
        _ if values.is_missing(row) => line.push_str("null"),
        CellType::Text => line.push_str(&serde_json::to_string(&*text).expect("text")),
        CellType::Integer | CellType::Float | CellType::Truth => line.push_str(&text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Table, TableError};

    fn read_from(bytes: &[u8], path: &Path) -> Result<Table, TableError> {
        read_typed(bytes, path).map(|source| source.table)
    }

    fn read_typed(bytes: &[u8], path: &Path) -> Result<super::Source, TableError> {
        super::read_from(bytes, path, &super::Types::new())
    }

    fn write_to(written: &mut Vec<u8>, table: &Table) -> Result<(), TableError> {
        super::write_to(written, table, &super::CellTypes::new())
    }

    /// Of rows of many short cells, whose text alone has room.
    #[test]
    fn cells_that_memory_has_no_room_for_are_refused_before_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        let row = "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8}\n";
        std::fs::write(&path, row.repeat(super::FIRST_ROWS)).unwrap();
        // A fourth of the memory, as nothing that takes room.
        let memory = assay_kernels::device::memory::available().unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(memory / 4).unwrap();
        let error = super::read(&path, &super::Types::new()).unwrap_err();
        assert!(error.to_string().contains("not enough memory"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "\u{feff}{\"age\":31,\"job\":\"a \\\"b\\\"\"}\n\n{\"age\":null,\"job\":\"c\",\"new\":1.5}\n{}\n";
        let table = read_from(text.as_bytes(), Path::new("t.jsonl")).unwrap();
        assert_eq!((table.rows(), table.columns.len()), (3, 3));
        assert_eq!(table.column("new").unwrap().values.missing(), 2);
        let mut written = Vec::new();
        write_to(&mut written, &table).unwrap();
        assert!(written.starts_with(b"{\"age\":31,\"job\":\"a \\\"b\\\"\",\"new\":null}\n"));
        assert_eq!(
            read_from(written.as_slice(), Path::new("t.jsonl")).unwrap(),
            table
        );
    }

    #[test]
    fn truth_values_come_back_as_such() {
        let text = "{\"is\":true,\"word\":\"true\"}\n{\"is\":null,\"word\":\"maybe\"}\n{\"is\":false,\"word\":null}\n";
        let table = read_from(text.as_bytes(), Path::new("t.jsonl")).unwrap();
        let mut written = Vec::new();
        write_to(&mut written, &table).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), text);
    }

    #[test]
    fn cells_come_back_with_their_types() {
        let text = "{\"digits\":\"12\",\"word\":\"true\",\"is\":true,\"id\":9007199254740993,\"mixed\":\"x\"}\n".to_owned()
            + "{\"digits\":\"007\",\"word\":\"false\",\"is\":null,\"id\":1,\"mixed\":\"7\"}\n";
        let mixed = text.replace("\"7\"", "7");
        for read in [&text, &mixed] {
            let source = read_typed(read.as_bytes(), Path::new("t.jsonl")).unwrap();
            let mut written = Vec::new();
            super::write_to(&mut written, &source.table, &source.cell_types()).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), text);
        }
    }

    #[test]
    fn integers_keep_the_digits_that_no_number_of_64_bits_has() {
        let ids = [
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890",
        ];
        let line = |id: &str| format!("{{\"t\\\"1\":\"9\\\\\",\"x\":-1.5e3,\"id\":{id}}}\n");
        let text = ids.map(line).concat();
        let source = read_typed(text.as_bytes(), Path::new("t.jsonl")).unwrap();
        let column = source.table.column("id").unwrap();
        let read: Vec<_> = (0..4).map(|row| column.values.text(row)).collect();
        assert_eq!(read, ids);
        assert_eq!(source.cell_types()["id"], super::CellType::Integer);
        let x = &source.table.column("x").unwrap().values;
        assert_eq!((x.kind(), x.text(0)), ("numbers", "-1500.0".into()));
    }

    #[test]
    fn members_that_lines_leave_out_are_counted_and_nulls_are_not() {
        let text = "{\"a\":1}\n{\"b\":2,\"a\":null}\n{\"b\":3}\n\n{}\n";
        let source = read_typed(text.as_bytes(), Path::new("t.jsonl")).unwrap();
        let [a, b] = [0, 1].map(|at| (source.seen[at].absent, source.seen[at].first_absent));
        assert_eq!((a, b), ((2, Some(2)), (2, Some(0))));
        assert_eq!(source.table.column("a").unwrap().values.missing(), 3);
    }

    #[test]
    fn blank_lines_and_empty_texts_are_counted() {
        let text = "\n{\"a\":\"x\"}\n \n{\"a\":\"\"}\n{\"a\":null}\n{}\n";
        let source = read_typed(text.as_bytes(), Path::new("t.jsonl")).unwrap();
        assert_eq!(source.table.rows(), 4);
        assert_eq!(
            (source.blank_lines.count, source.blank_lines.first),
            (2, Some(1))
        );
        let seen = source.seen[0];
        assert_eq!((seen.empty_texts, seen.first_empty), (1, Some(1)));
    }

    #[test]
    fn bad_lines_are_refused_with_their_number() {
        let error = |text: &str| {
            let error = read_from(text.as_bytes(), Path::new("t.jsonl")).unwrap_err();
            error.to_string()
        };
        assert!(error("").contains("is empty"));
        assert!(error("{}\n\n{}\n").contains("all of its 2 objects are without members"));
        assert!(error("{\"a\":1}\n[1]\n").contains("line 2: expected an object"));
        assert!(error("{\"a\":1,\"a\":2}\n").contains("line 1: `a` twice"));
        assert!(error("{\"a\":[1]}\n").contains("line 1: `a`: expected a number"));
        let broken = read_from(
            b"{\"a\":\"x\"}\n{\"a\":\"caf\xe9\"}\n",
            Path::new("t.jsonl"),
        );
        let broken = broken.unwrap_err().to_string();
        assert!(
            broken.contains("line 2: bytes that are no UTF-8; convert"),
            "{broken}"
        );
        let cut = error("{\"a\":1}\n{\"a\":2");
        assert!(
            cut.contains("line 2: expected an object: EOF")
                && cut.ends_with("at column 6; mend the line"),
            "{cut}"
        );
        let mixed = read_from(
            b"{\"a\":\"caf\xc3\xa9\"}\n{\"a\":\"caf\xe9\"}\n",
            Path::new("t.jsonl"),
        );
        let mixed = mixed.unwrap_err().to_string();
        assert!(
            mixed.contains("line 2: bytes that are no UTF-8, though letters"),
            "{mixed}"
        );
        let wide: Vec<u8> = "{}\n".bytes().flat_map(|byte| [byte, 0]).collect();
        let wide = read_from(&wide, Path::new("t.jsonl"))
            .unwrap_err()
            .to_string();
        assert!(
            wide.contains("line 1: has a byte of 0, as UTF-16"),
            "{wide}"
        );
    }
}
