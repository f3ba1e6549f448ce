//! What downloads tell of the run of each point, as text: a run is a point of many series, and a site has a million points.

use assay_protocol::Digest;
use assay_record::{RunId, Timestamp};
use assay_store::RunRow;
use assay_verdicts::Point;

use super::csv;

/// Texts of all runs, in the order of points.
pub struct Origins<'a>(Vec<Origin<'a>>);

/// Texts of a run.
pub struct Origin<'a> {
    row: &'a RunRow,
    /// Digest over all of it that a point tells.
    pub digest: Digest,
    /// When it started.
    pub started: String,
    /// What a line of a CSV file begins with.
    pub csv: String,
}

impl<'a> Origins<'a> {
    /// Those of some runs.
    pub fn of(rows: impl Iterator<Item = &'a RunRow>) -> Self {
        let origin = |row: &'a RunRow| {
            let started = row.started.to_string();
            let csv = csv::origin(&row.run, &started, row.commit.as_deref(), row.dirty);
            let commit = row.commit.as_deref();
            Origin {
                digest: digest(&row.run, row.started, commit, row.dirty),
                csv,
                started,
                row,
            }
        };
        let mut origins: Vec<Origin<'_>> = rows.map(origin).collect();
        origins.sort_unstable_by_key(|origin| (origin.row.started, &origin.row.run));
        Self(origins)
    }

    /// Goes along with the points of a series.
    pub fn walk(&self) -> Walk<'_, 'a> {
        Walk(&self.0)
    }
}

/// Digest over all that a point tells of its run.
pub fn digest(run: &RunId, started: Timestamp, commit: Option<&str>, dirty: bool) -> Digest {
    let (ns, is_known) = (started.unix_ns().to_le_bytes(), commit.is_some());
    Digest::of_parts([
        // These have always the same length.
        run.as_str().as_bytes(),
        &ns,
        &[dirty.into(), is_known.into()],
        commit.unwrap_or_default().as_bytes(),
    ])
}

/// The runs from the last point on that was asked for.
pub struct Walk<'o, 'a>(&'o [Origin<'a>]);

impl<'o, 'a> Walk<'o, 'a> {
    /// The run of the next point, where that tells the same of it.
    pub fn of(&mut self, point: &Point) -> Option<&'o Origin<'a>> {
        let order = |origin: &Origin<'_>| {
            let row = origin.row;
            (row.started, &row.run).cmp(&(point.started, &point.run))
        };
        let mut orders = self.0.iter().map(order).enumerate();
        let (at, order) = orders.find(|(_, order)| order.is_ge())?;
        self.0 = &self.0[at..];
        let found = self.0.first().filter(|_| order.is_eq());
        found.filter(|origin| {
            let row = origin.row;
            (row.commit.as_deref(), row.dirty) == (point.commit.as_deref(), point.dirty)
        })
    }
}
