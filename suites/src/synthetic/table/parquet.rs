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
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::schema::Types;
use super::{CELL_BYTES, MISSING, TRUTHS, Table, TableError, Values, ensure_fits};

/// Reads a file of columns of numbers, texts and truth values.
pub fn read(path: &Path, types: &Types) -> Result<Table, TableError> {
    let file = File::open(path).map_err(TableError::io(path))?;
    let wrong = |error: &dyn std::fmt::Display| {
        TableError::format(path, format!("no whole Parquet file: {error}"))
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(&error))?;
    let fields = builder.schema().fields().clone();
    let rows = builder.metadata().file_metadata().num_rows();
    let cells = (fields.len() as u64).saturating_mul(u64::try_from(rows).unwrap_or(u64::MAX));
    ensure_fits(path, CELL_BYTES.saturating_mul(cells))?;
    let mut texts: Vec<Vec<String>> = vec![Vec::new(); fields.len()];
    let batches = builder.build().map_err(|error| wrong(&error))?;
    for batch in batches {
        let batch = batch.map_err(|error| wrong(&error))?;
        for ((field, column), texts) in fields.iter().zip(batch.columns()).zip(&mut texts) {
            push_texts(texts, column).ok_or_else(|| {
                let (name, data_type) = (field.name(), field.data_type());
                TableError::format(path, format!("column `{name}` is of type {data_type}: expected numbers, texts or truth values; cast it first"))
            })?;
        }
    }
    if fields.is_empty() {
        return Err(TableError::format(path, "has no columns"));
    }
    let names = fields.iter().map(|field| field.name().clone());
    Table::of_columns(names.zip(texts).collect(), types)
        .map_err(|error| TableError::format(path, error.to_string()))
}

/// The values of a column as texts; `None` where it is of another type.
fn push_texts(texts: &mut Vec<String>, column: &ArrayRef) -> Option<()> {
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
    Some(())
}

/// Writes tables of the same columns, each a row group.
pub struct Writer<W: Write + Send> {
    inner: ArrowWriter<W>,
    schema: Arc<Schema>,
}

impl<W: Write + Send> Writer<W> {
    /// For tables with the columns of `like`.
    pub fn new(output: W, like: &Table) -> Result<Self, TableError> {
        let fields: Vec<Field> = like
            .columns
            .iter()
            .map(|column| Field::new(&column.name, data_type(&column.values), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // Neither version nor date of a library: the same table gives the same bytes.
            .set_created_by("assay".into())
            .build();
        let inner = ArrowWriter::try_new(output, Arc::clone(&schema), Some(properties))
            .map_err(|error| failed(&error))?;
        Ok(Self { inner, schema })
    }

    /// Adds rows, as a row group.
    pub fn append(&mut self, table: &Table) -> Result<(), TableError> {
        let arrays = table.columns.iter().map(|column| array(&column.values));
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
    let mut writer = Writer::new(output, table)?;
    writer.append(table)?;
    writer.finish()
}

fn data_type(values: &Values) -> DataType {
    match values {
        Values::Number {
            decimals: Some(0), ..
        } => DataType::Int64,
        Values::Number { .. } => DataType::Float64,
        values if values.are_truths() => DataType::Boolean,
        _ => DataType::Utf8,
    }
}

fn array(values: &Values) -> ArrayRef {
    match values {
        Values::Number { values, decimals } => {
            let present = values.iter().map(|x| (!x.is_nan()).then_some(*x));
            if *decimals == Some(0) {
                let integers = present.map(|x| x.map(|x| x.round() as i64));
                Arc::new(integers.collect::<Int64Array>())
            } else {
                Arc::new(present.collect::<Float64Array>())
            }
        }
        Values::Category { codes, labels } if values.are_truths() => {
            let truths = codes.iter().map(|code| {
                let is_there = *code != MISSING;
                is_there.then(|| labels[*code as usize] == TRUTHS[0])
            });
            Arc::new(truths.collect::<BooleanArray>())
        }
        Values::Category { codes, labels } => {
            let texts = codes.iter().map(|code| {
                let is_there = *code != MISSING;
                is_there.then(|| labels[*code as usize].as_str())
            });
            Arc::new(texts.collect::<StringArray>())
        }
        Values::Key { values } => {
            Arc::new(values.iter().map(Option::as_deref).collect::<StringArray>())
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> TableError {
    TableError::Table(format!("cannot write Parquet: {error}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::csv;
    use super::super::file::{Reading, read};
    use super::write_to;

    #[test]
    fn what_is_written_is_read_again_and_half_of_it_is_refused() {
        let text = "age,job,pay,is\n31,x,1.5,true\n,y,2.25,\n45,,,false\n";
        let table =
            csv::read_from(text.as_bytes(), Path::new("t.csv"), &Reading::default()).unwrap();
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        write_to(&mut bytes, &table).unwrap();
        write_to(&mut again, &table).unwrap();
        assert_eq!(bytes, again, "the same table gives the same bytes");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), table);
        assert_eq!(
            super::data_type(&table.columns[3].values),
            super::DataType::Boolean
        );
        for len in [0, 3, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..len]).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("no whole Parquet file"), "{len}: {error}");
        }
    }
}
