//! Rows on their way into a table, by the column: row by row, value by value, costs several times as much.

use std::error::Error;
use std::sync::Arc;

use duckdb::Appender;
use duckdb::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, StringBuilder,
    UInt64Array,
};
use duckdb::arrow::record_batch::RecordBatch;
use serde::Serialize;

/// Appends rows, given as all columns of a table in their order.
pub fn append<const N: usize>(
    appender: &mut Appender<'_>,
    columns: [ArrayRef; N],
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let named = (0..)
        .zip(columns)
        .map(|(at, column): (usize, _)| (at.to_string(), column));
    Ok(appender.append_record_batch(RecordBatch::try_from_iter(named)?)?)
}

/// `INTEGER`
pub fn ints(values: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

/// `BIGINT`
pub fn longs(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// `UBIGINT`
pub fn some_counts(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(values.collect::<UInt64Array>())
}

/// `DOUBLE`
pub fn numbers(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

/// `BOOLEAN`
pub fn truths(values: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<BooleanArray>())
}

/// `VARCHAR`
pub fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// `VARCHAR` that may be NULL.
pub fn some_texts<T: AsRef<str>>(values: impl IntoIterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

/// `VARCHAR` of JSON.
pub fn json<T: Serialize>(values: impl Iterator<Item = T>) -> Result<ArrayRef, serde_json::Error> {
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for value in values {
        text.clear();
        serde_json::to_writer(&mut text, &value)?;
        // Of a value text is made, and nothing else.
        texts.append_value(str::from_utf8(&text).unwrap_or_default());
    }
    Ok(Arc::new(texts.finish()))
}
