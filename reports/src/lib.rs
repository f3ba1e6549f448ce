//! Verdicts to pages: a site of plain files that opens from anywhere, with scripts off.
//!
//! [`publish`] takes values of `assay-verdicts` and writes a folder. It runs nothing and decides
//! nothing: what a page says of a case is what the terminal and the gate say. The same values give
//! the same bytes, and a site replaces the one before it as a whole or not at all.

mod address;
mod chart;
mod data;
mod downloads;
pub mod error;
pub mod format;
mod keys;
mod model;
mod pages;
mod presentation;
mod previous;
mod publication;
mod publish;
mod results;
pub mod scores;
mod templates;
mod text;
mod values;
pub mod words;

use std::path::{Path, PathBuf};

use assay_protocol::Digest;

use crate::previous::Previous;
use crate::publication::is_page;

pub use error::ReportError;
pub use model::{
    By, CaseDetail, CaseOfRun, Cross, MachineChange, Matrix, NEWEST_RECORDS, Night, Portion,
    RecordFile, SiteModel, SiteSettings, Step,
};
pub use presentation::Presentation;
pub use publication::Publication;
pub use publish::MARKER;
pub use results::RESULTS;

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The folder of the site.
    pub root: PathBuf,
    /// How many pages it has.
    pub pages: usize,
    /// How many bytes they have together.
    pub bytes: u64,
    /// Digest of the list of its files: sites of the same list are the same.
    pub list: Digest,
}

impl Published {
    /// The site in a folder, if it has all files of its list.
    pub fn there(out: &Path) -> Option<Self> {
        let root = out.canonicalize().ok()?;
        let previous = Previous::of(&root);
        let files = previous.whole()?;
        // As it is said when it is published: without what only tells Assay something.
        let shown = files.iter().filter(|(path, _)| *path != MARKER);
        Some(Self {
            pages: files.keys().filter(|path| is_page(path)).count(),
            bytes: shown.map(|(_, file)| file.bytes).sum(),
            list: previous.list,
            root,
        })
    }

    /// The page to open first.
    pub fn index(&self) -> PathBuf {
        self.root.join("index.html")
    }
}

/// Writes the site to `out`, in the place of the one that is there, from a model whose summaries and documents are those of all runs.
///
/// Refuses a folder that holds something and no site of Assay's; what somebody put beside the files of one, such as a `.git`, is kept.
pub fn publish(
    model: &SiteModel,
    out: &Path,
    settings: &SiteSettings,
) -> Result<Published, ReportError> {
    let presentation = Presentation::of(settings)?;
    let mut publication = Publication::begin(model, out, &presentation)?;
    publication.add(&Portion {
        runs: publication.missing_runs(),
        ..Portion::default()
    })?;
    publication.add_others()?;
    publication.finish()
}
