//! Where the rows of runs lie: of a long history a statement for twenty runs reads these places, and not all of a table.

use std::collections::HashMap;
use std::sync::Arc;

use assay_record::RunId;

use super::Places;
use crate::Store;
use crate::error::StoreError;
use crate::load::run_key;

/// Rows between two places that are read too, rather than to begin anew: DuckDB keeps so many together.
const ROW_GROUP: i64 = 122_880;

/// By the keys of runs.
pub type Spans = HashMap<i64, Span>;

/// Rows of a table by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    first: i64,
    last: i64,
    /// How many of those between these are meant.
    rows: i64,
}

impl Span {
    /// Whether all rows from the first to the last are meant.
    fn is_whole(self) -> bool {
        self.rows == self.last - self.first + 1
    }
}

impl Store {
    /// The rows of some runs in a table, for a statement to select from.
    ///
    /// The rows of one run lie together, and those of many mostly in a few places.
    pub(crate) fn rows_of(&self, table: &'static str, runs: &Places) -> Result<String, StoreError> {
        let spans = self.spans(table)?;
        let own = runs.0.keys().filter_map(|key| spans.get(key));
        let parts: Vec<String> = joined(own.copied().collect())
            .into_iter()
            .map(|span| {
                let Span { first, last, .. } = span;
                let among = if span.is_whole() {
                    String::new()
                } else {
                    format!(" AND run_key IN ({})", runs.listed())
                };
                format!("SELECT * FROM {table} WHERE rowid BETWEEN {first} AND {last}{among}")
            })
            .collect();
        if parts.is_empty() {
            return Ok(format!("(SELECT * FROM {table} WHERE false)"));
        }
        Ok(format!("({})", parts.join(" UNION ALL ")))
    }

    /// Runs in portions with no more than so many rows of a table each, but for a run that has more. Those without any are left out.
    pub(crate) fn portions(
        &self,
        table: &'static str,
        runs: &[RunId],
        most: i64,
    ) -> Result<Vec<Vec<RunId>>, StoreError> {
        let spans = self.spans(table)?;
        let mut portions: Vec<(i64, Vec<RunId>)> = Vec::new();
        for run in runs {
            let Some(Span { rows, .. }) = spans.get(&run_key(run)) else {
                continue;
            };
            match portions.last_mut() {
                Some((sum, open)) if *sum + rows <= most => {
                    *sum += rows;
                    open.push(run.clone());
                }
                _ => portions.push((*rows, vec![run.clone()])),
            }
        }
        Ok(portions.into_iter().map(|(_, runs)| runs).collect())
    }

    fn spans(&self, table: &'static str) -> Result<Arc<Spans>, StoreError> {
        let read = || Ok(Arc::new(self.read_spans(table)?));
        match &self.known {
            Some(known) => known.spans.one(table, read),
            None => read(),
        }
    }

    fn read_spans(&self, table: &'static str) -> Result<Spans, StoreError> {
        let sql = format!(
            "SELECT run_key, min(rowid), max(rowid), count(*) FROM {table} GROUP BY run_key"
        );
        let spans = self.rows(&sql, [], |row| {
            let (first, last, rows) = (row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((row.get(0)?, Span { first, last, rows }))
        })?;
        Ok(spans.into_iter().collect())
    }
}

/// Spans in order of their first, as few as are worth a part of a statement.
fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut found: Vec<Span> = Vec::new();
    for span in spans {
        match found.last_mut() {
            Some(open) if span.first <= open.last + ROW_GROUP => {
                open.last = open.last.max(span.last);
                open.rows += span.rows;
            }
            _ => found.push(span),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{ROW_GROUP, Span, joined};

    fn span(first: i64, last: i64, rows: i64) -> Span {
        Span { first, last, rows }
    }

    #[test]
    fn store_spans_that_are_near_each_other_are_one() {
        assert_eq!(joined(Vec::new()), []);
        let near = joined(vec![span(20, 30, 11), span(0, 9, 10), span(5, 7, 1)]);
        assert_eq!(near, [span(0, 30, 22)]);
        let far = vec![span(0, 9, 10), span(10 + ROW_GROUP, 20 + ROW_GROUP, 11)];
        assert_eq!(joined(far.clone()), far);
    }

    #[test]
    fn store_spans_are_whole_without_rows_of_others_between_them() {
        let of = |spans| joined(spans)[0].is_whole();
        assert!(of(vec![span(0, 9, 10), span(10, 19, 10)]));
        // A run between them, and one whose rows lie apart.
        assert!(!of(vec![span(0, 9, 10), span(20, 29, 10)]));
        assert!(!of(vec![span(0, 9, 8)]));
    }
}
