//! The templates, embedded, in an engine that escapes whatever it is given.

use std::sync::LazyLock;

use serde::Serialize;
use tera::{Context, Tera};

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
    ("run.html", include_str!("../../templates/run.html")),
    ("series.html", include_str!("../../templates/series.html")),
    ("machine.html", include_str!("../../templates/machine.html")),
    ("about.html", include_str!("../../templates/about.html")),
    ("chart.svg", include_str!("../../templates/chart.svg")),
    ("badge.svg", include_str!("../../templates/badge.svg")),
    ("feed.xml", include_str!("../../templates/feed.xml")),
];

/// The engine. Templates are compiled once; a template that does not compile is a bug that any test finds.
static ENGINE: LazyLock<Tera> = LazyLock::new(|| {
    let mut tera = escaping();
    tera.add_raw_templates(TEMPLATES.iter().copied())
        .unwrap_or_else(|error| panic!("embedded templates: {error}"));
    tera
});

/// Fills a template.
pub fn render(template: &str, page: &impl Serialize) -> Result<String, tera::Error> {
    ENGINE.render(template, &Context::from_serialize(page)?)
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
