//! Samples of many blocks as columns.

use std::sync::Arc;

use assay_record::Samples;
use duckdb::arrow::array::{ArrayRef, Int32Array, Int64Array, UInt64Array};
use duckdb::arrow::record_batch::RecordBatch;

use super::Fault;

/// Rows of `samples` on their way, in columns: row by row costs three times as much.
#[derive(Default)]
pub struct SampleColumns {
    block: Vec<i32>,
    sample: Vec<i32>,
    start_ns: Vec<u64>,
    iterations: Vec<u64>,
    host_ns: Vec<u64>,
    device_ns: Vec<Option<u64>>,
}

impl SampleColumns {
    /// How many there are.
    pub fn rows(&self) -> usize {
        self.block.len()
    }

    pub fn extend(&mut self, block: i32, samples: &Samples) {
        let rows = samples.len();
        self.block.extend(std::iter::repeat_n(block, rows));
        self.sample.extend((0i32..).take(rows));
        self.start_ns.extend(&samples.start_ns);
        self.iterations.extend(&samples.iterations);
        self.host_ns.extend(&samples.host_ns);
        let device = samples.device_ns.iter().copied().map(Some);
        self.device_ns
            .extend(device.chain(std::iter::repeat(None)).take(rows));
    }

    pub fn batch(self, key: i64) -> Result<RecordBatch, Fault> {
        let key: ArrayRef = Arc::new(Int64Array::from(vec![key; self.block.len()]));
        Ok(RecordBatch::try_from_iter_with_nullable([
            ("run_key", key, false),
            ("block", Arc::new(Int32Array::from(self.block)), false),
            ("sample", Arc::new(Int32Array::from(self.sample)), false),
            (
                "start_ns",
                Arc::new(UInt64Array::from(self.start_ns)),
                false,
            ),
            (
                "iterations",
                Arc::new(UInt64Array::from(self.iterations)),
                false,
            ),
            ("host_ns", Arc::new(UInt64Array::from(self.host_ns)), false),
            (
                "device_ns",
                Arc::new(UInt64Array::from(self.device_ns)),
                true,
            ),
        ])?)
    }
}
