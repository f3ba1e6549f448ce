//! What can go wrong when a site is published.

use std::io;
use std::path::{Path, PathBuf};

/// Why no site was published. The old one is whole.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder could not be written.
    #[error("cannot {action} `{}`: {source}; make its folder writable or name another one with `--out DIR`; the old site is untouched", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder holds something else.
    #[error("`{}` holds files but is no site that Assay made (it has no `{marker}`), so it is not replaced; name an empty or new folder with `--out DIR`", path.display())]
    NotASite {
        /// The folder.
        path: PathBuf,
        /// The file that a site has.
        marker: &'static str,
    },
    /// A page could not be rendered: a template of the user's asks for what there is not, or a bug in Assay.
    #[error(
        "cannot render `{page}`: {source}; if none of your own templates (`templates` in assay.toml) is the cause, this is a bug in Assay, please report it"
    )]
    Render {
        /// The page.
        page: String,
        /// What the template engine said.
        source: Box<tera::Error>,
    },
    /// The logo is no image that browsers show.
    #[error("`{}`: expected an image that ends in .svg, .png, .webp, .jpg, .jpeg or .gif; `logo` in assay.toml names it", path.display())]
    Logo {
        /// The file.
        path: PathBuf,
    },
    /// The logo could not be read.
    #[error("cannot read the logo `{}`: {source}; `logo` in assay.toml names it, from the folder of assay.toml; the old site is untouched", path.display())]
    NoLogo {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A template that should take the place of one of ours cannot.
    #[error("template `{}`: {reason}; `templates` in assay.toml names the folder", path.display())]
    Template {
        /// The file, or its folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// What a page is made of was not given: a bug in Assay.
    #[error("nothing was read for `{page}`; this is a bug in Assay, please report it")]
    NoPage {
        /// The page.
        page: String,
    },
    /// A chart could not be drawn: a bug in Assay.
    #[error(
        "cannot draw the chart of `{page}`: {reason}; this is a bug in Assay, please report it"
    )]
    Chart {
        /// The page.
        page: String,
        /// What the drawing library said.
        reason: String,
    },
    /// A value could not be written as JSON: a bug in Assay.
    #[error("cannot write `{file}`: {source}; this is a bug in Assay, please report it")]
    Json {
        /// The file.
        file: String,
        /// What the library said.
        source: serde_json::Error,
    },
}

impl ReportError {
    /// For `map_err`: what was tried, on what.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.into(),
            source,
        }
    }
}
