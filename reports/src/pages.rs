//! One file per page: what it shows as plain values, and which template shows them.
//!
//! Pages hold words and numbers ready to be shown. They decide nothing: states and verdicts come as
//! they are from `assay-verdicts`.

pub mod about;
pub mod index;
pub mod machine;
pub mod part;
pub mod run;
pub mod series;

use assay_protocol::Digest;
use serde::Serialize;

use crate::error::ReportError;
use crate::model::{Library, SiteSettings};
use crate::templates;
use crate::text::{self, clip};

/// A page yet to be rendered.
pub enum Plan<'a> {
    /// What ran last.
    Index,
    /// One run.
    Run(&'a assay_verdicts::RunSummary),
    /// One series.
    Series(&'a assay_verdicts::CaseHistory),
    /// One machine with its runs, the latest first.
    Machine(&'a str, Vec<&'a assay_store::RunRow>),
    /// How to read the site.
    About,
}

impl Plan<'_> {
    /// Its file, from the site's root.
    pub fn path(&self) -> String {
        match self {
            Self::Index => "index.html".into(),
            Self::Run(summary) => crate::address::run(&summary.run.run),
            Self::Series(history) => crate::address::series(&history.series.key),
            Self::Machine(name, _) => crate::address::machine(name),
            Self::About => "about.html".into(),
        }
    }

    /// Digest over what it is made of; `None` where it is always rendered.
    pub fn key(&self, library: &Library<'_>) -> Option<Digest> {
        match self {
            Self::Run(summary) => library.run_key(&summary.run.run),
            Self::Series(history) => library.series_key(history),
            Self::Index | Self::Machine(..) | Self::About => None,
        }
    }

    /// Its text.
    pub fn render(&self, library: &Library<'_>) -> Result<String, ReportError> {
        match self {
            Self::Index => index::render(library),
            Self::Run(summary) => run::render(library, summary),
            Self::Series(history) => series::render(library, history),
            Self::Machine(name, runs) => machine::render(library, name, runs),
            Self::About => about::render(library),
        }
    }
}

/// Every page of a site but those of runs.
pub fn plan<'a>(library: &Library<'a>) -> Vec<Plan<'a>> {
    let mut pages = vec![Plan::Index, Plan::About];
    let machines = library.machines();
    pages.extend(
        machines
            .into_iter()
            .map(|(name, runs)| Plan::Machine(name, runs)),
    );
    let histories = library.histories.values();
    pages.extend(histories.map(|history| Plan::Series(history)));
    pages
}

/// What surrounds a page.
#[derive(Serialize)]
struct Frame<'a> {
    site: &'a str,
    version: &'static str,
    root: &'static str,
    title: &'a str,
}

#[derive(Serialize)]
struct Framed<'a, P> {
    frame: Frame<'a>,
    page: &'a P,
}

/// Fills a page's template. Pages in folders name the root as `../`.
fn fill<P: Serialize>(
    settings: &SiteSettings,
    template: &str,
    title: &str,
    page: &P,
) -> Result<String, ReportError> {
    let in_folder = matches!(template, "run.html" | "series.html" | "machine.html");
    let frame = Frame {
        site: &settings.title,
        version: env!("CARGO_PKG_VERSION"),
        root: if in_folder { "../" } else { "" },
        title: &clip(title, text::CELL),
    };
    templates::render(template, &Framed { frame, page }).map_err(|source| ReportError::Render {
        page: title.into(),
        source: Box::new(source),
    })
}
