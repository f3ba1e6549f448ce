//! What was imported before: looked up once for all files of an import.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use assay_protocol::Digest;
use assay_record::{Record, RunId, Timestamp};
use assay_store::{RunRow, Store};

use super::Options;

/// Runs that were imported.
pub struct Known {
    by_digest: HashMap<Digest, RunRow>,
    /// By file, suite and machine: of one format. Several where a file has grown, and its import was ended before it was over.
    by_name: HashMap<[String; 3], Vec<RunRow>>,
}

impl Known {
    /// All that the database knows of one format.
    pub fn of(store: &Store, format: &str) -> Result<Self> {
        let rows = store.runs()?;
        let rows: HashMap<&RunId, &RunRow> = rows.iter().map(|row| (&row.run, row)).collect();
        let mut known = Self {
            by_digest: HashMap::new(),
            by_name: HashMap::new(),
        };
        for import in store.imports()? {
            let Some(row) = rows.get(&import.run) else {
                continue;
            };
            // Of several with one digest the first: the same file imported for two machines.
            let first = known.by_digest.entry(import.digest);
            first.or_insert_with(|| (*row).clone());
            if import.origin.format == format {
                let name = [import.origin.file, row.suite.clone(), row.machine.clone()];
                known.by_name.entry(name).or_default().push((*row).clone());
            }
        }
        Ok(known)
    }

    /// The run that a file became.
    pub fn file(&self, digest: &Digest) -> Option<&RunRow> {
        self.by_digest.get(digest)
    }

    /// The runs that earlier contents of a file became, beside the one that it is now: all of them would count.
    pub fn earlier(&self, file: &str, suite: &str, machine: &str, is: &RunId) -> Vec<RunRow> {
        let name = [file, suite, machine].map(str::to_owned);
        let all = self.by_name.get(&name).into_iter().flatten();
        all.filter(|row| row.run != *is).cloned().collect()
    }
}

/// What a run that a file became says of itself.
pub struct Is {
    pub run: RunId,
    machine: String,
    suite: String,
    commit: Option<String>,
    started: Timestamp,
    tags: Vec<String>,
    record: String,
}

impl Is {
    /// As its record has it, which lies at a path.
    pub fn of(record: &Record, path: &Path) -> Self {
        let header = &record.header;
        let git = header.manifest.project.git();
        Self {
            run: header.run.clone(),
            machine: header.machine.name.clone(),
            suite: header.manifest.suite.name.clone(),
            commit: git.and_then(|git| git.commit.clone()),
            started: header.started,
            tags: header.tags.clone(),
            record: path.display().to_string(),
        }
    }

    /// As the database has it.
    pub fn of_row(row: &RunRow) -> Self {
        Self {
            run: row.run.clone(),
            machine: row.machine.clone(),
            suite: row.suite.clone(),
            commit: row.commit.clone(),
            started: row.started,
            tags: row.tags.clone(),
            record: row.record.clone(),
        }
    }
}

/// Refuses to pass over a file that is to be imported in another way than it was.
pub fn agree(known: &Is, options: &Options) -> Result<()> {
    let differs = |wanted: Option<&String>, is: Option<&String>| wanted.is_some() && wanted != is;
    let other = if differs(options.machine.as_ref(), Some(&known.machine)) {
        "--machine"
    } else if differs(options.suite.as_ref(), Some(&known.suite)) {
        "--suite"
    } else if differs(options.commit.as_ref(), known.commit.as_ref()) {
        "--commit"
    } else if options.date.is_some_and(|date| date != known.started) {
        "--date"
    } else if !options.tags.is_empty() && options.tags != known.tags {
        "--tag"
    } else {
        return Ok(());
    };
    bail!(
        "imported before as {}, with another {other}; to import it anew, remove {} and the database, and run `assay db rebuild`",
        known.run,
        known.record
    )
}
