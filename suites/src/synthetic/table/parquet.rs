//! Tables as Parquet, row group by row group: neither reading nor writing holds more than the table itself and one group.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::cells::{CellType, CellTypes, Cells, Source, written};
use super::guard::guarded;
use super::schema::Types;
use super::{CELL_BYTES, TRUTHS, Table, TableError, Values, ensure_fits};

/// Reads a file of columns of numbers, texts and truth values.
pub fn read(path: &Path, types: &Types) -> Result<Source, TableError> {
    // On some damaged files the crate panics.
    let columns = guarded(|| columns(path)).unwrap_or_else(|panic| Err(not_whole(path, &panic)))?;
    Source::of(columns, types).map_err(|error| TableError::format(path, error.to_string()))
}

/// That a file is damaged, or cut off.
fn not_whole(path: &Path, error: &dyn std::fmt::Display) -> TableError {
    let words = error.to_string();
    let what = match words.split_once("Disabled feature at compile time: ") {
        Some((_, codec)) => format!(
            "it is compressed with {codec}, which is not read; write it with snappy, zstd or gzip, or without compression"
        ),
        None if words.contains("UTF-8") || words.contains("UTF8") => {
            format!("a text of it is no UTF-8: {words}")
        }
        None => format!("no whole Parquet file: {words}; write it again, or copy it again"),
    };
    TableError::format(path, what)
}

/// The columns of a file, as it has them.
fn columns(path: &Path) -> Result<Vec<Cells>, TableError> {
    let wrong = |error: &dyn std::fmt::Display| not_whole(path, error);
    let file = File::open(path).map_err(TableError::io(path))?;
    // Without the writer's notes a dictionary, in which pandas keeps categories, is read as the texts that it holds.
    let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, plain)
        .map_err(|error| wrong(&error))?;
    let fields = builder.schema().fields().clone();
    let rows = builder.metadata().file_metadata().num_rows();
    let cells = (fields.len() as u64).saturating_mul(u64::try_from(rows).unwrap_or(u64::MAX));
    ensure_fits(path, CELL_BYTES.saturating_mul(cells))?;
    let cells = |field: &Arc<Field>| Cells {
        name: field.name().clone(),
        ..Cells::default()
    };
    let mut columns: Vec<Cells> = fields.iter().map(cells).collect();
    let batches = builder.build().map_err(|error| wrong(&error))?;
    for batch in batches {
        let batch = batch.map_err(|error| wrong(&error))?;
        for (array, column) in batch.columns().iter().zip(&mut columns) {
            push_cells(column, array).ok_or_else(|| {
                let (name, data_type) = (&column.name, array.data_type());
                TableError::format(path, format!("column `{name}` is of type {data_type}: expected numbers, texts or truth values; cast it first"))
            })?;
        }
    }
    if fields.is_empty() {
        return Err(TableError::format(path, "has no columns"));
    }
    Ok(columns)
}

/// The values of an array as cells of a column; `None` where it is of another type.
fn push_cells(column: &mut Cells, array: &ArrayRef) -> Option<()> {
    let before = column.texts.len();
    let cell_type = push_texts(&mut column.texts, array)?;
    let nulls = array.logical_nulls();
    for (place, text) in column.texts[before..].iter().enumerate() {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(place)) {
            column.seen.add(cell_type, text, before + place);
        }
    }
    Some(())
}

/// The values of an array as texts, and what they are; `None` where it is of another type.
fn push_texts(texts: &mut Vec<String>, column: &ArrayRef) -> Option<CellType> {
    macro_rules! numbers {
        ($type:ty) => {{
            let values = column.as_primitive::<$type>();
            texts.extend(
                values
                    .iter()
                    .map(|v| v.map_or_else(String::new, |v| v.to_string())),
            );
        }};
    }
    match column.data_type() {
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Float64 => numbers!(Float64Type),
        DataType::Boolean => {
            let values = column.as_boolean().iter();
            texts.extend(values.map(|v| v.map_or_else(String::new, |v| v.to_string())));
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>().iter();
            texts.extend(values.map(|v| v.unwrap_or("").to_owned()));
        }
        DataType::LargeUtf8 => {
            let values = column.as_string::<i64>().iter();
            texts.extend(values.map(|v| v.unwrap_or("").to_owned()));
        }
        DataType::Utf8View => {
            let values = column.as_string_view().iter();
            texts.extend(values.map(|v| v.unwrap_or("").to_owned()));
        }
        DataType::Null => texts.extend(std::iter::repeat_n(String::new(), column.len())),
        _ => return None,
    }
    Some(match column.data_type() {
        DataType::Boolean => CellType::Truth,
        DataType::Float32 | DataType::Float64 => CellType::Float,
        integer if integer.is_integer() => CellType::Integer,
        _ => CellType::Text,
    })
}

/// Writes tables of the same columns, each a row group.
pub struct Writer<W: Write + Send> {
    inner: ArrowWriter<W>,
    schema: Arc<Schema>,
    types: Vec<CellType>,
}

impl<W: Write + Send> Writer<W> {
    /// For tables with the columns of `like`, which have these types where their values are such; others are what they hold.
    pub fn new(output: W, like: &Table, types: &CellTypes) -> Result<Self, TableError> {
        let types: Vec<CellType> = like
            .columns
            .iter()
            .map(|column| written(&column.values, types.get(&column.name).copied()))
            .collect();
        let fields: Vec<Field> = like
            .columns
            .iter()
            .zip(&types)
            .map(|(column, cell_type)| Field::new(&column.name, data_type(*cell_type), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // Neither version nor date of a library: the same table gives the same bytes.
            .set_created_by("assay".into())
            .build();
        let inner = ArrowWriter::try_new(output, Arc::clone(&schema), Some(properties))
            .map_err(|error| failed(&error))?;
        Ok(Self {
            inner,
            schema,
            types,
        })
    }

    /// Adds rows, as a row group.
    pub fn append(&mut self, table: &Table) -> Result<(), TableError> {
        let columns = table.columns.iter().zip(&self.types);
        let arrays = columns.map(|(column, cell_type)| array(&column.values, *cell_type));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays.collect())
            .map_err(|error| failed(&error))?;
        self.inner.write(&batch).map_err(|error| failed(&error))?;
        self.inner.flush().map_err(|error| failed(&error))
    }

    /// Writes the end of the file, without which it is none.
    pub fn finish(self) -> Result<(), TableError> {
        self.inner.close().map_err(|error| failed(&error))?;
        Ok(())
    }
}

/// Writes a table in one row group.
pub fn write_to(output: impl Write + Send, table: &Table) -> Result<(), TableError> {
    let mut writer = Writer::new(output, table, &CellTypes::new())?;
    writer.append(table)?;
    writer.finish()
}

fn data_type(cell_type: CellType) -> DataType {
    match cell_type {
        CellType::Text => DataType::Utf8,
        CellType::Integer => DataType::Int64,
        CellType::Float => DataType::Float64,
        CellType::Truth => DataType::Boolean,
    }
}

/// Values of a type that [`written`] says they are such of.
fn array(values: &Values, cell_type: CellType) -> ArrayRef {
    let rows = 0..values.len();
    let text = |row: usize| (!values.is_missing(row)).then(|| values.text(row));
    match (values, cell_type) {
        (Values::Number { values, .. }, CellType::Integer) => {
            let integer = |x: &f64| (!x.is_nan()).then(|| x.round() as i64);
            Arc::new(values.iter().map(integer).collect::<Int64Array>())
        }
        (Values::Number { values, .. }, CellType::Float) => {
            let number = |x: &f64| (!x.is_nan()).then_some(*x);
            Arc::new(values.iter().map(number).collect::<Float64Array>())
        }
        (_, CellType::Integer) => {
            let integer = |row| text(row)?.parse::<i64>().ok();
            Arc::new(rows.map(integer).collect::<Int64Array>())
        }
        (_, CellType::Float) => {
            let number = |row| text(row)?.parse::<f64>().ok();
            Arc::new(rows.map(number).collect::<Float64Array>())
        }
        (_, CellType::Truth) => {
            let truth = |row| text(row).map(|text| text == TRUTHS[0]);
            Arc::new(rows.map(truth).collect::<BooleanArray>())
        }
        (_, CellType::Text) => Arc::new(rows.map(text).collect::<StringArray>()),
    }
}

fn failed(error: &dyn std::fmt::Display) -> TableError {
    TableError::Table(format!("cannot write Parquet: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, GzipLevel, ZstdLevel};
    use parquet::file::properties::WriterProperties;

    use super::super::csv;
    use super::super::file::{Reading, read, read_as};
    use super::{CellType, write_to};

    #[test]
    fn what_is_written_is_read_again_and_half_of_it_is_refused() {
        let text = "age,job,pay,is\n31,x,1.5,true\n,y,2.25,\n45,,,false\n";
        let table = csv::read_from(text.as_bytes(), Path::new("t.csv"), &Reading::default())
            .unwrap()
            .table;
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        write_to(&mut bytes, &table).unwrap();
        write_to(&mut again, &table).unwrap();
        assert_eq!(bytes, again, "the same table gives the same bytes");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), table);
        let types = ["integer", "text", "float", "truth"]
            .map(|cell_type| serde_json::from_value::<CellType>(cell_type.into()).unwrap());
        let back = read_as(&path, &Reading::default()).unwrap();
        let found = back
            .table
            .columns
            .iter()
            .map(|column| back.cell_types()[&column.name]);
        assert_eq!(found.collect::<Vec<_>>(), types);
        for len in [0, 3, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..len]).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("no whole Parquet file"), "{len}: {error}");
        }
    }

    #[test]
    fn files_are_read_as_other_programs_compress_them() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        // What pandas makes of categories.
        let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
        let words: ArrayRef = Arc::new(words);
        let batch = RecordBatch::try_from_iter([("n", numbers), ("w", words)]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let gzip = Compression::GZIP(GzipLevel::default());
        for compression in [zstd, gzip, Compression::SNAPPY, Compression::UNCOMPRESSED] {
            let properties = WriterProperties::builder().set_compression(compression);
            let file = File::create(&path).unwrap();
            let mut writer =
                ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            let table = read(&path).unwrap();
            let shape = (table.rows(), table.columns.len());
            assert_eq!(shape, (3, 2), "{compression:?}");
        }
    }

    #[test]
    fn other_compressions_are_named() {
        for (said, words) in [("brotli", "with brotli,"), ("lz4", "with lz4,")] {
            let error = format!("Parquet error: Disabled feature at compile time: {said}");
            let error = super::not_whole(Path::new("t.parquet"), &error).to_string();
            assert!(error.contains(words) && error.contains("snappy"), "{error}");
            assert!(!error.contains("no whole"), "{error}");
        }
    }

    /// Whatever byte of the file's end is another one, there is an answer, and no panic.
    #[test]
    fn damaged_files_are_read_or_refused() {
        let table = crate::synthetic::table::census::rows(1, 0, 40);
        let mut bytes = Vec::new();
        write_to(&mut bytes, &table).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let length =
            u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
        let footer = bytes.len() - 8 - length as usize;
        let mut refused = 0;
        for place in (footer..bytes.len()).step_by(3) {
            for flip in [0x01, 0x80] {
                let mut damaged = bytes.clone();
                damaged[place] ^= flip;
                std::fs::write(&path, damaged).unwrap();
                refused += usize::from(read(&path).is_err());
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
