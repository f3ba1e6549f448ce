//! Files of the site that are no pages: feeds, badges, an index for programs, and every series as JSON and as CSV.
//!
//! Like pages they are values of the model in another form, and decide nothing. Dates are those of runs, never of the
//! clock, so that the same values give the same bytes. Downloads hold every point, however many a chart leaves out.

mod badge;
mod csv;
mod events;
mod feed;
mod index;
pub mod origin;
mod series;

use std::collections::BTreeSet;

use assay_protocol::Digest;
use assay_verdicts::CaseHistory;
use serde::Serialize;

use crate::address;
use crate::error::ReportError;
use crate::model::Library;
use crate::pages::part::cell;

/// Version of `index.json` and of the JSON of series; a newer one may mean another thing by the same field.
const SCHEMA: u32 = 4;

/// A file yet to be written.
pub enum File<'a> {
    /// Regressions as an Atom feed, of one suite or of all.
    Feed(Option<&'a str>),
    /// How the newest night went as an SVG, of one suite or of all.
    Badge(Option<&'a str>),
    /// What the site holds, for programs.
    Index,
    /// A series as JSON.
    Json(&'a CaseHistory),
    /// The points of a series as CSV.
    Csv(&'a CaseHistory),
}

impl File<'_> {
    /// Where it lies, from the site's root.
    pub fn path(&self) -> String {
        match self {
            Self::Feed(suite) => address::feed(*suite),
            Self::Badge(suite) => address::badge(*suite),
            Self::Index => "index.json".into(),
            Self::Json(history) => address::series_file(&history.series.key, "json"),
            Self::Csv(history) => address::series_file(&history.series.key, "csv"),
        }
    }

    /// Digest over what it is made of; `None` where it is always rendered.
    pub fn key(&self, library: &Library<'_>) -> Option<Digest> {
        match self {
            Self::Json(history) | Self::Csv(history) => library.series_key(history),
            Self::Feed(_) | Self::Badge(_) | Self::Index => None,
        }
    }

    /// What it holds.
    pub fn render(&self, library: &Library<'_>) -> Result<String, ReportError> {
        match self {
            Self::Feed(suite) => feed::render(library, *suite),
            Self::Badge(suite) => badge::render(library, *suite),
            Self::Index => index::render(library),
            Self::Json(history) => series::render(library, history),
            Self::Csv(history) => Ok(csv::render(library, &history.series)),
        }
    }
}

/// Every such file of a site.
pub fn plan<'a>(library: &Library<'a>) -> Vec<File<'a>> {
    let mut files = vec![File::Index, File::Feed(None), File::Badge(None)];
    for suite in suites(library) {
        files.extend([File::Feed(Some(suite)), File::Badge(Some(suite))]);
    }
    for history in library.histories.values() {
        files.extend([File::Json(history), File::Csv(history)]);
    }
    files
}

/// The suites that have runs, by name.
pub fn suites<'a>(library: &Library<'a>) -> BTreeSet<&'a str> {
    let runs = library.runs.values();
    runs.map(|row| row.suite.as_str()).collect()
}

/// Where the files are that are not of one series, for a page.
#[derive(Serialize)]
pub struct Downloads {
    suites: Vec<OfSuite>,
    /// Files of the results.
    results: Vec<String>,
}

/// Names of the files of results.
pub fn results(library: &Library<'_>) -> Vec<String> {
    let files = library.results().into_iter();
    files.map(|results| results.name).collect()
}

/// The feed and badge of a suite.
#[derive(Serialize)]
struct OfSuite {
    name: String,
    feed: String,
    badge: String,
}

/// The files of a site.
pub fn downloads(library: &Library<'_>) -> Downloads {
    let of_suite = |name: &str| OfSuite {
        name: cell(name),
        feed: address::feed(Some(name)),
        badge: address::badge(Some(name)),
    };
    Downloads {
        suites: suites(library).into_iter().map(of_suite).collect(),
        results: results(library),
    }
}

/// A value as JSON, on one line.
fn json(path: &str, value: &impl Serialize) -> Result<String, ReportError> {
    let written = serde_json::to_string(value);
    let mut text = written.map_err(|source| ReportError::Json {
        file: path.into(),
        source,
    })?;
    text.push('\n');
    Ok(text)
}
