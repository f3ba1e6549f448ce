//! Part of version 4: manifests of earlier versions, which had their cases in them, are split into frames and lists of cases.

use std::collections::HashSet;

use assay_protocol::Digest;
use assay_record::canonical;
use duckdb::{Appender, Connection};
use serde_json::Value;

use crate::open::{MEMORY_TO_READ, MEMORY_TO_WRITE, allow};
use crate::query::Fault;

/// Manifests that are in memory at once.
const PORTION: usize = 100;

/// What imported runs were read from, which their manifests say.
const IMPORTED: &str = "UPDATE runs SET
        imported_format = m.json ->> '$.suite.source.imported.format',
        imported_file = m.json ->> '$.suite.source.imported.file',
        imported_digest = m.json ->> '$.suite.digest'
    FROM manifests m
    WHERE m.digest = runs.manifest AND (m.json ->> '$.suite.source.imported.format') IS NOT NULL";

/// Fills `manifest_frames` and `case_lists` from `manifests`, and puts the former in the place of the latter.
pub fn split(connection: &Connection) -> Result<(), Fault> {
    // A vector of whole manifests is large, however few are asked for.
    allow(connection, MEMORY_TO_READ)?;
    let mut statement = connection.prepare("SELECT digest FROM manifests ORDER BY digest")?;
    let digests = statement.query_map([], |row| row.get(0))?;
    let digests: Vec<String> = digests.collect::<Result<_, _>>()?;
    let mut split = Split {
        frames: connection.appender("manifest_frames")?,
        lists: connection.appender("case_lists")?,
        known: HashSet::new(),
    };
    for portion in digests.chunks(PORTION) {
        split.portion(connection, portion)?;
    }
    split.frames.flush()?;
    split.lists.flush()?;
    drop(split);
    connection
        .execute_batch("DROP TABLE manifests; ALTER TABLE manifest_frames RENAME TO manifests;")?;
    connection.execute(IMPORTED, [])?;
    allow(connection, MEMORY_TO_WRITE)?;
    Ok(())
}

struct Split<'a> {
    frames: Appender<'a>,
    lists: Appender<'a>,
    /// Digests of the lists that are there.
    known: HashSet<String>,
}

impl Split<'_> {
    fn portion(&mut self, connection: &Connection, digests: &[String]) -> Result<(), Fault> {
        let (first, last) = (&digests[0], &digests[digests.len() - 1]);
        let sql = "SELECT digest, json FROM manifests WHERE digest BETWEEN ? AND ?";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([first, last])?;
        while let Some(row) = rows.next()? {
            let mut manifest: Value = serde_json::from_str(row.get_ref(1)?.as_str()?)?;
            // Values, and no types of ours: an older manifest keeps its canonical form.
            let cases = manifest
                .get_mut("cases")
                .ok_or("a manifest without cases")?;
            let json = canonical::to_canonical(&cases.take())?;
            *cases = Value::Array(Vec::new());
            let digest = Digest::of(&json).to_string();
            let frame = String::from_utf8(canonical::to_canonical(&manifest)?)?;
            self.frames
                .append_row([&row.get::<_, String>(0)?, &frame, &digest])?;
            if self.known.insert(digest.clone()) {
                self.lists.append_row([digest, String::from_utf8(json)?])?;
            }
        }
        Ok(())
    }
}
