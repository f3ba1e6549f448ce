//! Tables as JSON lines: one object a row, all with the same keys.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::csv::BYTE_ORDER_MARK;
use super::schema::Types;
use super::{Table, TableError, Values};

/// Longest line, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// Reads a file. Every line is an object of numbers, texts, truth values and nulls; a key that a line lacks is missing there.
pub fn read(path: &Path, types: &Types) -> Result<Table, TableError> {
    let file = std::fs::File::open(path).map_err(TableError::io(path))?;
    read_from(file, path, types)
}

/// As [`read`], of anything that is read; `path` is for messages.
pub fn read_from(input: impl Read, path: &Path, types: &Types) -> Result<Table, TableError> {
    let mut reader = BufReader::new(input);
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut columns: Vec<(String, Vec<String>)> = Vec::new();
    let mut rows = 0;
    for number in 1_u64.. {
        let mut line = Vec::new();
        let read = (&mut reader)
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut line);
        let wrong = |what: String| TableError::format(path, format!("line {number}: {what}"));
        if read.map_err(TableError::io(path))? == 0 {
            break;
        }
        if line.len() as u64 > MAX_LINE {
            return Err(wrong(format!("longer than {MAX_LINE} bytes")));
        }
        if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row: Row = serde_json::from_slice(&line)
            .map_err(|error| wrong(format!("expected an object: {error}")))?;
        for (name, value) in row.0 {
            let text = text(&value).map_err(|what| wrong(format!("`{name}`: {what}")))?;
            if names
                .get(&name)
                .is_some_and(|column| columns[*column].1.len() > rows)
            {
                return Err(wrong(format!("`{name}` twice")));
            }
            let column = *names.entry(name).or_insert_with_key(|name| {
                columns.push((name.clone(), vec![String::new(); rows]));
                columns.len() - 1
            });
            columns[column].1.push(text);
        }
        rows += 1;
        for (_, texts) in &mut columns {
            texts.resize(rows, String::new());
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
    Table::of_columns(columns, types).map_err(|error| TableError::format(path, error.to_string()))
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

fn text(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) | Value::Object(_) => {
            Err("expected a number, a text, a truth value or null")
        }
    }
}

/// Writes the rows of a table, one object a line, in the order of its columns; columns of nothing but `true` and `false` as truth values.
///
/// # Panics
/// Never: text is always JSON.
pub fn write_to(mut output: impl Write, table: &Table) -> Result<(), TableError> {
    let names: Vec<String> = table
        .columns
        .iter()
        .map(|column| serde_json::to_string(&column.name).expect("text"))
        .collect();
    let mut line = String::new();
    for row in 0..table.rows() {
        line.clear();
        for (column, name) in table.columns.iter().zip(&names) {
            line.push(if line.is_empty() { '{' } else { ',' });
            line.push_str(name);
            line.push(':');
            push_value(&mut line, &column.values, row);
        }
        line.push_str("}\n");
        output
            .write_all(line.as_bytes())
            .map_err(|error| TableError::Table(format!("cannot write JSON lines: {error}")))?;
    }
    Ok(())
}

fn push_value(line: &mut String, values: &Values, row: usize) {
    let text = values.text(row);
    match values {
        _ if values.is_missing(row) => line.push_str("null"),
        Values::Number { .. } => line.push_str(&text),
        _ if values.are_truths() => line.push_str(&text),
        _ => line.push_str(&serde_json::to_string(&*text).expect("text")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Table, TableError};
    use super::write_to;

    fn read_from(bytes: &[u8], path: &Path) -> Result<Table, TableError> {
        super::read_from(bytes, path, &super::Types::new())
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
        assert!(broken.contains("line 2"), "{broken}");
    }
}
