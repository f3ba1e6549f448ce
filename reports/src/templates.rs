//! The templates, embedded, in an engine that escapes whatever it is given.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use assay_protocol::Digest;
use serde::Serialize;
use tera::{Context, Tera};

use crate::error::ReportError;
use crate::text;

/// The stylesheet of every page.
pub const STYLESHEET: &str = include_str!("../../templates/assay.css");

/// Suffixes of templates whose output is escaped. Tera knows `.svg` only if it is told.
const ESCAPED: [&str; 3] = [".html", ".svg", ".xml"];

/// The script of every page, which is complete without it.
pub const SCRIPT: &str = include_str!("../../templates/assay.js");

const TEMPLATES: &[(&str, &str)] = &[
    ("base.html", include_str!("../../templates/base.html")),
    (
        "components.html",
        include_str!("../../templates/components.html"),
    ),
    ("index.html", include_str!("../../templates/index.html")),
    ("suites.html", include_str!("../../templates/suites.html")),
    ("suite.html", include_str!("../../templates/suite.html")),
    ("compare.html", include_str!("../../templates/compare.html")),
    ("matrix.html", include_str!("../../templates/matrix.html")),
    (
        "reproductions.html",
        include_str!("../../templates/reproductions.html"),
    ),
    (
        "machines.html",
        include_str!("../../templates/machines.html"),
    ),
    ("run.html", include_str!("../../templates/run.html")),
    ("series.html", include_str!("../../templates/series.html")),
    ("machine.html", include_str!("../../templates/machine.html")),
    ("about.html", include_str!("../../templates/about.html")),
    ("scores.html", include_str!("../../templates/scores.html")),
    ("chart.svg", include_str!("../../templates/chart.svg")),
    ("badge.svg", include_str!("../../templates/badge.svg")),
    ("feed.xml", include_str!("../../templates/feed.xml")),
];

/// Templates of what is no page of a site: nobody's can take their places.
const OWN: [&str; 2] = ["chart.svg", "scores.html"];

/// Longest template that takes the place of one of ours, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The engine. Templates are compiled once; a template that does not compile is a bug that any test finds.
static ENGINE: LazyLock<Tera> = LazyLock::new(|| {
    let mut tera = escaping();
    tera.add_raw_templates(TEMPLATES.iter().copied())
        .unwrap_or_else(|error| panic!("embedded templates: {error}"));
    tera
});

/// Fills one of our own templates.
pub fn render(template: &str, page: &impl Serialize) -> Result<String, tera::Error> {
    ENGINE.render(template, &Context::from_serialize(page)?)
}

/// The templates of a site: ours, and in the place of some what lies in a folder.
pub struct Templates {
    /// With the folder that it is partly from; absent where all are ours.
    engine: Option<(Tera, PathBuf)>,
    /// Digest over those that are not ours.
    pub digest: Digest,
}

impl Templates {
    /// Ours, with those of a folder in the places of ours of the same name; every file there must be one. `assay.css` is the stylesheet.
    pub fn new(folder: Option<&Path>) -> Result<(Self, String), ReportError> {
        let Some(folder) = folder else {
            let ours = Self {
                engine: None,
                digest: Digest::of(""),
            };
            return Ok((ours, STYLESHEET.into()));
        };
        let wrong = |name: &str, reason: String| ReportError::Template {
            path: folder.join(name),
            reason,
        };
        let mut theirs = read(folder)?;
        let digest = Digest::of(format!("{theirs:?}"));
        let stylesheet = theirs.remove("assay.css");
        let known = |name: &&str| !OWN.contains(name);
        let names: Vec<&str> = TEMPLATES
            .iter()
            .map(|(name, _)| *name)
            .filter(known)
            .collect();
        if let Some(name) = theirs.keys().find(|name| !names.contains(&name.as_str())) {
            let reason = format!(
                "no template has this name; there are assay.css, {}",
                names.join(", ")
            );
            return Err(wrong(name, reason));
        }
        // All at once: templates of one kind extend those of another.
        let ours = TEMPLATES
            .iter()
            .filter(|(name, _)| !theirs.contains_key(*name));
        let ours = ours.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let mut engine = escaping();
        engine
            .add_raw_templates(ours.chain(theirs.clone()))
            .map_err(|error| wrong("", chain(&error)))?;
        let templates = Self {
            engine: Some((engine, folder.to_owned())),
            digest,
        };
        Ok((templates, stylesheet.unwrap_or_else(|| STYLESHEET.into())))
    }

    /// Fills a template for a page. Where some are not ours, an error is theirs.
    pub fn render(
        &self,
        template: &str,
        page: &str,
        values: &impl Serialize,
    ) -> Result<String, ReportError> {
        let engine = self.engine.as_ref().map_or(&*ENGINE, |(engine, _)| engine);
        let values = Context::from_serialize(values);
        let rendered = values.and_then(|values| engine.render(template, &values));
        rendered.map_err(|source| match &self.engine {
            Some((_, folder)) => ReportError::Template {
                path: folder.join(template),
                reason: format!("cannot render `{page}`: {}", chain(&source)),
            },
            None => ReportError::Render {
                page: page.into(),
                source: Box::new(source),
            },
        })
    }
}

/// Files of a folder by their names.
fn read(folder: &Path) -> Result<BTreeMap<String, String>, ReportError> {
    let mut files = BTreeMap::new();
    let unread = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| ReportError::Template {
            path,
            reason: format!("cannot be read: {error}"),
        }
    };
    for entry in fs::read_dir(folder).map_err(unread(folder))? {
        let path = entry.map_err(unread(folder))?.path();
        let wrong = |reason: &str| ReportError::Template {
            path: path.clone(),
            reason: reason.into(),
        };
        let length = path.metadata().map_err(unread(&path))?;
        if !length.is_file() || length.len() > MAX_BYTES {
            return Err(wrong("expected a file of at most 1 MiB"));
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| wrong("its name is no text"))?.to_owned();
        let text = fs::read_to_string(&path).map_err(unread(&path))?;
        files.insert(name, text);
    }
    Ok(files)
}

/// An error with its causes: which template, where, and why.
fn chain(error: &tera::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn escaping() -> Tera {
    let mut tera = Tera::default();
    tera.autoescape_on(ESCAPED);
    tera.set_escape_fn(text::escape);
    tera
}

#[cfg(test)]
mod tests {
    use super::{ESCAPED, escaping};

    const HOSTILE: &str = "<script>alert(1)</script>\"onmouseover='x' ]]> & \u{0}";

    #[test]
    fn every_suffix_is_escaped() {
        for suffix in ESCAPED {
            let mut tera = escaping();
            let name = format!("page{suffix}");
            tera.add_raw_template(&name, "<b title=\"{{ text }}\">{{ text }}</b>")
                .unwrap();
            let mut values = tera::Context::new();
            values.insert("text", HOSTILE);
            let page = tera.render(&name, &values).unwrap();
            let inside = page.strip_prefix("<b title=\"").unwrap();
            let (attribute, content) = inside.split_once("\">").unwrap();
            for part in [attribute, content.strip_suffix("</b>").unwrap()] {
                assert!(
                    !part.contains(['<', '>', '"', '\'', '\0']),
                    "{suffix}: {part}"
                );
            }
        }
    }
}
