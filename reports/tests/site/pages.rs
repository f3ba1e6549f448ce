//! What the pages say, and that nothing from outside gets out of its place.

use std::collections::BTreeSet;
use std::path::Path;

use assay_reports::{SiteModel, SiteSettings};

use crate::build::run_id;
use crate::fixture::nights::levels;
use crate::fixture::{HOSTILE, model, nights};
use crate::html::tags;
use crate::{Site, publish_whole};

/// The only page whose path starts so.
fn page(site: &Site, start: &str) -> String {
    let pages = site.pages();
    let mut found = pages.iter().filter(|(name, _)| name.starts_with(start));
    let (_, page) = found.next().unwrap_or_else(|| panic!("no page {start}"));
    assert!(found.next().is_none(), "several pages {start}");
    page.clone()
}

#[test]
fn pages_are_as_they_were() {
    let site = Site::of(&model());
    let at = |start: &str| page(&site, start);
    let of_run = |day: u32| at(&format!("runs/{}", run_id(day)));
    insta::assert_snapshot!("index", at("index.html"));
    insta::assert_snapshot!("about", at("about.html"));
    insta::assert_snapshot!("suites", at("suites.html"));
    insta::assert_snapshot!("suite", at("suites/kernels"));
    insta::assert_snapshot!("compare", at("compare.html"));
    insta::assert_snapshot!("compare_pair", at("compare/kernels-night"));
    insta::assert_snapshot!("compare_machines", at("compare/kernels-machine"));
    insta::assert_snapshot!("reproductions", at("reproductions.html"));
    insta::assert_snapshot!("machines", at("machines.html"));
    insta::assert_snapshot!("machine", at("machines/lab-1"));
    insta::assert_snapshot!("run_failed", of_run(35));
    insta::assert_snapshot!("run_hostile", of_run(40));
    insta::assert_snapshot!("run_partial", of_run(41));
    insta::assert_snapshot!("run_reproduction", of_run(42));
    insta::assert_snapshot!("series", at("series/linalg-gemm"));
    insta::assert_snapshot!(
        "series_changed",
        at("series/memory-triad-dtype-f32-elements-2-24-cpu-cdc893255048")
    );
    insta::assert_snapshot!("series_hostile", at("series/long"));
}

#[test]
fn a_site_without_runs_says_so() {
    let site = Site::of(&SiteModel::default());
    let pages = site.pages();
    assert_eq!(
        pages.keys().collect::<Vec<_>>(),
        [
            "about.html",
            "compare.html",
            "index.html",
            "machines.html",
            "reproductions.html",
            "suites.html"
        ]
    );
    insta::assert_snapshot!("index_empty", pages["index.html"]);
}

#[test]
fn every_link_leads_somewhere() {
    let pages = Site::of(&model()).pages();
    let files: BTreeSet<String> = Site::of(&model()).files().into_keys().collect();
    for (name, page) in &pages {
        for tag in tags(page) {
            for link in [tag.get("href"), tag.get("src")].into_iter().flatten() {
                if link == "data:," {
                    continue;
                }
                let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
                let target = resolve(name, path);
                assert!(files.contains(&target), "{name}: {link} leads to {target}");
                let id = format!("id=\"{fragment}\"");
                assert!(
                    fragment.is_empty() || pages[&target].contains(&id),
                    "{name}: {link}"
                );
            }
        }
    }
}

fn resolve(page: &str, link: &str) -> String {
    if link.is_empty() {
        return page.into();
    }
    let mut parts: Vec<&str> = Path::new(page)
        .parent()
        .unwrap()
        .iter()
        .map(|p| p.to_str().unwrap())
        .collect();
    for part in link.split('/') {
        if part == ".." {
            assert!(parts.pop().is_some(), "{page}: {link} leaves the site");
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[test]
fn ids_are_unique_and_labels_exist() {
    for (name, page) in Site::of(&model()).pages() {
        let mut ids = BTreeSet::new();
        let tags = tags(&page);
        for id in tags.iter().filter_map(|tag| tag.get("id")) {
            assert!(ids.insert(id), "{name}: {id} twice");
        }
        for label in tags.iter().filter_map(|tag| tag.get("aria-labelledby")) {
            assert!(
                label.split(' ').all(|id| ids.contains(id)),
                "{name}: {label}"
            );
        }
        assert_eq!(
            tags.iter().filter(|tag| tag.name == "h1").count(),
            1,
            "{name}"
        );
    }
}

/// Nothing that a content-security policy would have to stop is there in the first place.
#[test]
fn outside_text_stays_text() {
    let allowed: BTreeSet<&str> = ALLOWED.iter().copied().collect();
    let site = Site::of(&model());
    let mut shown = 0;
    for (name, page) in site.pages() {
        shown += page.matches("&lt;script&gt;").count();
        assert!(
            !page.contains('\0') && !page.contains('\u{1b}') && !page.contains("]]>"),
            "{name}"
        );
        assert!(page.contains("default-src 'none'"), "{name}");
        for tag in tags(&page) {
            assert!(allowed.contains(tag.name), "{name}: <{}>", tag.name);
            let source = tag.get("src").unwrap_or_default();
            assert_eq!(tag.name == "script", source.ends_with("assay.js"), "{name}");
            let script = |own: &&str| own.starts_with("on") || *own == "style";
            assert!(
                !tag.attributes.iter().any(|(own, _)| script(own)),
                "{name}: <{}>",
                tag.name
            );
        }
    }
    assert!(
        shown > 20,
        "the fixture's hostile text is on the pages: {shown}"
    );
    assert!(HOSTILE.contains("<script>"));
}

const ALLOWED: &[&str] = &[
    "a",
    "article",
    "bdi",
    "body",
    "br",
    "caption",
    "code",
    "data",
    "dd",
    "desc",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "footer",
    "h1",
    "h2",
    "h3",
    "head",
    "header",
    "html",
    "li",
    "link",
    "main",
    "meta",
    "nav",
    "p",
    "path",
    "pre",
    "script",
    "section",
    "span",
    "strong",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
    "ol",
    "wbr",
];

/// File names are ours alone, whatever cases and machines are called.
#[test]
fn file_names_are_safe() {
    for name in Site::of(&model()).files().keys() {
        let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-./".contains(c);
        assert!(
            name.chars().all(safe) && name.len() < 120 && !name.contains(".."),
            "{name}"
        );
    }
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let mut shuffled = model();
    shuffled.runs.reverse();
    shuffled.histories.reverse();
    shuffled.nights.reverse();
    shuffled.matrices.reverse();
    shuffled.reproductions.reverse();
    assert_eq!(Site::of(&model()).files(), Site::of(&shuffled).files());
}

/// Leaves the fixture's site where the browser check looks for it.
#[test]
fn the_fixture_is_there_for_browsers() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let settings = SiteSettings::default();
    let all = levels::with_one_that_stands(model());
    let site = publish_whole(&all, &folder.join("fixture-site"), &settings);
    assert!(site.index().is_file());
    publish_whole(&nights::quiet(), &folder.join("quiet-site"), &settings);
    publish_whole(&SiteModel::default(), &folder.join("empty-site"), &settings);
}
