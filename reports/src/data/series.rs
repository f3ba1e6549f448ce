//! A series as JSON: the value that `assay history --json` prints.

use assay_verdicts::CaseHistory;
use serde::Serialize;

use super::{SCHEMA, json};
use crate::address;
use crate::error::ReportError;

#[derive(Serialize)]
struct Download<'a> {
    schema: u32,
    made_by: &'static str,
    history: &'a CaseHistory,
}

/// The file.
pub fn render(history: &CaseHistory) -> Result<String, ReportError> {
    let download = Download {
        schema: SCHEMA,
        made_by: concat!("assay ", env!("CARGO_PKG_VERSION")),
        history,
    };
    json(&address::series(&history.series.key), &download)
}
