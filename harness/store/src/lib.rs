//! The DuckDB index over records: ingest, migrations, queries, Parquet.
//!
//! Records are the truth; everything here can be deleted and rebuilt from them. Only this crate and
//! what stands on it links DuckDB. It judges nothing: verdicts are made of what it returns.

mod columns;
mod contents;
mod error;
mod ingest;
mod load;
mod open;
mod parquet;
mod query;
mod rebuild;
pub mod rows;
mod schema;
pub mod synthetic;
mod verify;

pub use error::StoreError;
pub use ingest::{IngestReport, Ingested};
pub use open::{Access, Patience, Store};
pub use query::{Identity, kept_series};
pub use rows::{
    CaseRow, EventRow, Gauge, GaugeStep, ImportRow, Limited, MeasuredRound, MissedRow, Points,
    RecordRow, RoundDetail, RoundRow, RoundSamples, RunGauges, RunRow, SeriesKey, SeriesRow,
};
pub use schema::SCHEMA_VERSION;
pub use verify::{Problem, VerifyReport};
