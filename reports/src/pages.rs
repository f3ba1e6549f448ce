//! One file per page: what it shows as plain values, and which template shows them.
//!
//! Pages hold words and numbers ready to be shown. They decide nothing: states and verdicts come as
//! they are from `assay-verdicts`.

pub mod about;
pub mod compare;
pub mod finding;
pub mod gauges;
pub mod index;
pub mod judged;
pub mod machine;
pub mod machines;
pub mod matrix;
pub mod night;
pub mod part;
pub mod reproductions;
pub mod run;
pub mod series;
pub mod suite;
pub mod suites;

use assay_protocol::Digest;
use serde::Serialize;

use crate::data;
use crate::error::ReportError;
use crate::model::Library;
use crate::presentation::Presentation;
use crate::text::{self, clip};

/// A page yet to be rendered.
pub enum Plan<'a> {
    /// What is said of the newest nights.
    Index,
    /// Every suite.
    Suites,
    /// One suite with its runs, the latest first.
    Suite(&'a str, Vec<&'a assay_store::RunRow>),
    /// Every comparison.
    Compare,
    /// One comparison and its address.
    Matrix(String, &'a crate::model::Matrix),
    /// Every reproduction.
    Reproductions,
    /// Every machine.
    Machines,
    /// One run.
    Run(&'a assay_store::RunRow),
    /// One series.
    Series(&'a assay_verdicts::CaseHistory),
    /// One machine with its runs, the latest first.
    Machine(&'a str, Vec<&'a assay_store::RunRow>),
    /// How to read the site.
    About,
    /// A file that is no page.
    Data(data::File<'a>),
}

impl Plan<'_> {
    /// Its file, from the site's root.
    pub fn path(&self) -> String {
        match self {
            Self::Index => "index.html".into(),
            Self::Suites => "suites.html".into(),
            Self::Suite(name, _) => crate::address::suite(name),
            Self::Compare => "compare.html".into(),
            Self::Matrix(href, _) => href.clone(),
            Self::Reproductions => "reproductions.html".into(),
            Self::Machines => "machines.html".into(),
            Self::Run(row) => crate::address::run(&row.run),
            Self::Series(history) => crate::address::series(&history.series.key),
            Self::Machine(name, _) => crate::address::machine(name),
            Self::About => "about.html".into(),
            Self::Data(file) => file.path(),
        }
    }

    /// Digest over what it is made of; `None` where it is always rendered.
    pub fn key(&self, library: &Library<'_>) -> Option<Digest> {
        match self {
            Self::Run(row) => library.run_key(&row.run),
            Self::Series(history) => library.series_key(history),
            Self::Data(file) => file.key(library),
            Self::Index
            | Self::Suites
            | Self::Suite(..)
            | Self::Compare
            | Self::Matrix(..)
            | Self::Reproductions
            | Self::Machines
            | Self::Machine(..)
            | Self::About => None,
        }
    }

    /// Its text.
    pub fn render(&self, library: &Library<'_>) -> Result<String, ReportError> {
        match self {
            Self::Index => index::render(library),
            Self::Suites => suites::render(library),
            Self::Suite(name, runs) => suite::render(library, name, runs),
            Self::Compare => compare::render(library),
            Self::Matrix(href, matrix) => matrix::render(library, matrix, href),
            Self::Reproductions => reproductions::render(library),
            Self::Machines => machines::render(library),
            Self::Run(row) => run::render(library, row),
            Self::Series(history) => series::render(library, history),
            Self::Machine(name, runs) => machine::render(library, name, runs),
            Self::About => about::render(library),
            Self::Data(file) => file.render(library),
        }
    }
}

/// Every page of a site but those of runs, and every file beside them.
pub fn plan<'a>(library: &Library<'a>) -> Vec<Plan<'a>> {
    let mut pages = vec![
        Plan::Index,
        Plan::Suites,
        Plan::Compare,
        Plan::Reproductions,
        Plan::Machines,
        Plan::About,
    ];
    let suites = library.suites().into_iter();
    pages.extend(suites.map(|(name, runs)| Plan::Suite(name, runs)));
    let matrices = compare::all(library).into_iter();
    pages.extend(matrices.map(|(href, matrix)| Plan::Matrix(href, matrix)));
    let machines = library.machines();
    pages.extend(
        machines
            .into_iter()
            .map(|(name, runs)| Plan::Machine(name, runs)),
    );
    let histories = library.histories.values();
    pages.extend(histories.map(|history| Plan::Series(history)));
    pages.extend(data::plan(library).into_iter().map(Plan::Data));
    pages
}

/// What surrounds a page.
#[derive(Serialize)]
struct Frame<'a> {
    site: &'a str,
    logo: &'a str,
    version: &'static str,
    root: &'static str,
    title: &'a str,
    /// The page of the navigation that it is or belongs to.
    section: &'static str,
    /// Whether it is that page itself.
    is_top: bool,
}

#[derive(Serialize)]
struct Framed<'a, P> {
    frame: Frame<'a>,
    page: &'a P,
}

/// Fills a page's template. Pages in folders name the root as `../`.
fn fill<P: Serialize>(
    settings: &Presentation<'_>,
    template: &str,
    title: &str,
    page: &P,
) -> Result<String, ReportError> {
    let (section, is_top) = section(template);
    let frame = Frame {
        site: &settings.title,
        logo: &settings.logo,
        version: env!("CARGO_PKG_VERSION"),
        root: if is_top { "" } else { "../" },
        title: &clip(title, text::CELL),
        section,
        is_top,
    };
    settings
        .templates
        .render(template, title, &Framed { frame, page })
}

/// Where a template's pages stand in the navigation, and whether they are at its top: those below are in folders.
fn section(template: &str) -> (&'static str, bool) {
    match template {
        "index.html" => ("tonight", true),
        "suites.html" => ("suites", true),
        "suite.html" | "series.html" => ("suites", false),
        "compare.html" => ("compare", true),
        "matrix.html" => ("compare", false),
        "reproductions.html" => ("reproductions", true),
        "machines.html" => ("machines", true),
        "machine.html" => ("machines", false),
        "about.html" => ("about", true),
        _ => ("", false),
    }
}
