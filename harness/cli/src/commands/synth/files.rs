//! What the subcommands share of files: parts of a whole, cards, and files that are there whole or not at all.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use assay_suites::synthetic::table::Table;
use serde::Serialize;

/// Part `part` of `parts`, from 1 on.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    part: u64,
    parts: u64,
}

impl Part {
    /// The part that is all.
    pub const WHOLE: Self = Self { part: 1, parts: 1 };

    /// Its rows, of so many.
    pub fn of(self, rows: u64) -> Range<u64> {
        let bound =
            |part: u64| (u128::from(rows) * u128::from(part) / u128::from(self.parts)) as u64;
        bound(self.part - 1)..bound(self.part)
    }
}

/// A column, as a card has it.
#[derive(Debug, Serialize)]
pub struct CardColumn {
    name: String,
    holds: &'static str,
}

impl CardColumn {
    /// Those of a table.
    pub fn of(table: &Table) -> Vec<Self> {
        let column = |column: &assay_suites::synthetic::table::Column| Self {
            name: column.name.clone(),
            holds: column.values.kind(),
        };
        table.columns.iter().map(column).collect()
    }
}

/// The last part of a path.
pub fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A part as the command line has it.
pub fn shard(text: &str) -> Result<Part, String> {
    let wrong = || format!("`{text}`: expected K/N with K from 1 to N, such as 2/8");
    let (part, parts) = text.split_once('/').ok_or_else(wrong)?;
    let (part, parts) = (
        part.parse().map_err(|_| wrong())?,
        parts.parse().map_err(|_| wrong())?,
    );
    if part == 0 || part > parts {
        Err(wrong())
    } else {
        Ok(Part { part, parts })
    }
}

/// Writes the data card of a file beside it.
pub fn write_card(of: &Path, card: &impl Serialize) -> Result<()> {
    write(
        &of.with_extension("card.json"),
        &serde_json::to_vec_pretty(card)?,
    )
}

/// Writes a file that is there whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let in_path = || path.display().to_string();
    let file = tempfile::NamedTempFile::new_in(folder).with_context(in_path)?;
    std::fs::write(file.path(), bytes).with_context(in_path)?;
    file.persist(path).with_context(in_path)?;
    Ok(())
}
