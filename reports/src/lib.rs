//! Verdicts to pages: a site of plain files that opens from anywhere, with scripts off.
//!
//! [`publish`] takes values of `assay-verdicts` and writes a folder. It runs nothing and decides
//! nothing: what a page says of a case is what the terminal and the gate say. The same values give
//! the same bytes, and a site replaces the one before it as a whole or not at all.

mod address;
mod chart;
mod data;
pub mod error;
pub mod format;
mod model;
mod pages;
mod publish;
mod templates;
mod text;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub use error::ReportError;
pub use model::{By, CaseDetail, CaseOfRun, Matrix, Night, SiteModel, SiteSettings};
pub use publish::MARKER;

use model::Library;
use pages::Plan;
use publish::Staging;

/// Name of the results as Parquet, from the site's root.
pub const RESULTS: &str = "results.parquet";

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The folder of the site.
    pub root: PathBuf,
    /// How many pages it has.
    pub pages: usize,
    /// How many bytes they have together.
    pub bytes: u64,
}

impl Published {
    /// The page to open first.
    pub fn index(&self) -> PathBuf {
        self.root.join("index.html")
    }
}

/// Writes the site to `out`, in the place of the one that is there.
///
/// Refuses to replace a folder that holds anything but a site of Assay's.
pub fn publish(
    model: &SiteModel,
    out: &Path,
    settings: &SiteSettings,
) -> Result<Published, ReportError> {
    let staging = Staging::beside(out)?;
    let root = staging.root();
    for folder in ["runs", "series", "machines", "feeds", "badges"] {
        let folder = root.join(folder);
        fs::create_dir(&folder).map_err(ReportError::io("create", &folder))?;
    }
    let library = Library::new(model, settings);
    let pages = pages::plan(&library);
    let bytes = write(&root, "assay.css", templates::STYLESHEET)?
        + write(&root, "assay.js", templates::SCRIPT)?
        + copy_results(model, &root)?
        + write_all(&library, &pages, &root)?;
    Ok(Published {
        root: staging.commit()?,
        pages: pages.iter().filter(|page| page.is_page()).count(),
        bytes,
    })
}

fn copy_results(model: &SiteModel, root: &Path) -> Result<u64, ReportError> {
    model.results.as_ref().map_or(Ok(0), |results| {
        fs::copy(results, root.join(RESULTS)).map_err(ReportError::io("copy", results))
    })
}

/// Renders and writes the pages on all cores; the first error ends it.
fn write_all(library: &Library<'_>, pages: &[Plan<'_>], root: &Path) -> Result<u64, ReportError> {
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Ok(0));
    let work = || {
        while let Some(page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let written = page
                .render(library)
                .and_then(|text| write(root, &page.path(), &text));
            let failed = written.is_err();
            add(
                &mut total
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
                written,
            );
            if failed {
                next.store(pages.len(), Ordering::Relaxed);
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..cores.min(pages.len()) {
            scope.spawn(work);
        }
        work();
    });
    total
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn add(total: &mut Result<u64, ReportError>, written: Result<u64, ReportError>) {
    match (total.as_mut(), written) {
        (Ok(sum), Ok(bytes)) => *sum += bytes,
        (Ok(_), Err(error)) => *total = Err(error),
        (Err(_), _) => {}
    }
}

fn write(root: &Path, name: &str, text: &str) -> Result<u64, ReportError> {
    let path = root.join(name);
    fs::write(&path, text).map_err(ReportError::io("write", &path))?;
    Ok(text.len() as u64)
}
