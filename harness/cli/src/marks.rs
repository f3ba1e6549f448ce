//! The file of marks, from where the settings say.

use anyhow::{Context as _, Result};
use assay_record::Day;
use assay_store::Store;
use assay_verdicts::Marks;

use crate::settings::Settings;
use crate::suite::locate::read_text;

/// Longest file of marks, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the marks; none where there is no file.
pub fn load(settings: &Settings) -> Result<Marks> {
    let Some(path) = &settings.marks else {
        return Ok(Marks::default());
    };
    let text = read_text(path, MAX_BYTES)?;
    Marks::parse(&text).with_context(|| path.display().to_string())
}

/// Says which marks fit nothing in the database, or hold no longer.
pub fn complain(settings: &Settings, marks: &Marks, store: &Store, today: Day) -> Result<()> {
    let Some(path) = &settings.marks else {
        return Ok(());
    };
    for complaint in marks.complaints(&store.series_keys()?, &store.runs()?, today) {
        crate::note!("warning: {}: {complaint}", path.display());
    }
    Ok(())
}
