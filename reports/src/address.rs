//! Where pages lie: names that stay the same between builds and that no outside text can bend.

use assay_protocol::Digest;
use assay_record::RunId;
use assay_store::SeriesKey;

/// Longest readable part of a file name.
const SLUG: usize = 60;

/// The page of a run, from the site's root.
pub fn run(run: &RunId) -> String {
    format!("runs/{run}.html")
}

/// The manifest of a run, from the site's root.
pub fn manifest(run: &RunId) -> String {
    format!("runs/{run}-manifest.json")
}

/// The record of a run, from the site's root: of a name that can be ingested.
pub fn record(run: &RunId) -> String {
    format!("runs/{run}.jsonl.zst")
}

/// The page of a series, from the site's root: readable by its case, unique by its whole key.
pub fn series(key: &SeriesKey) -> String {
    series_file(key, "html")
}

/// A file of a series, beside its page.
pub fn series_file(key: &SeriesKey, extension: &str) -> String {
    let digest = key_digest(key).short();
    format!("series/{}-{digest}.{extension}", slug(&key.case))
}

/// The feed of a suite, or of all.
pub fn feed(suite: Option<&str>) -> String {
    format!("feeds/{}.xml", stem(suite))
}

/// The badge of a suite, or of all.
pub fn badge(suite: Option<&str>) -> String {
    format!("badges/{}.svg", stem(suite))
}

fn stem(suite: Option<&str>) -> String {
    suite.map_or("all".into(), |name| {
        format!("{}-{}", slug(name), Digest::of(name).short())
    })
}

/// The page of a machine, from the site's root.
pub fn machine(name: &str) -> String {
    format!("machines/{}-{}.html", slug(name), Digest::of(name).short())
}

/// The page of a suite, from the site's root.
pub fn suite(name: &str) -> String {
    format!("suites/{}-{}.html", slug(name), Digest::of(name).short())
}

/// The page of a comparison, from the site's root: readable by its suite and what its sides differ in, unique by all that
/// `parts` name.
pub fn comparison(suite: &str, by: &str, parts: &[&str]) -> String {
    let framed = parts.iter().map(|text| format!("{}:{text}", text.len()));
    let all: String = [suite, by]
        .map(|text| format!("{}:{text}", text.len()))
        .into_iter()
        .chain(framed)
        .collect();
    format!(
        "compare/{}-{by}-{}.html",
        slug(suite),
        Digest::of(all).short()
    )
}

/// Digest of all of a key; parts are told apart by their lengths.
fn key_digest(key: &SeriesKey) -> Digest {
    let timing = key.timing.to_string();
    let definition = key.definition.to_string();
    let texts = [
        &key.suite,
        &key.case,
        &key.metric,
        &timing,
        &definition,
        &key.machine,
        &key.arm,
    ];
    let framed: Vec<String> = texts.map(|text| format!("{}:{text}", text.len())).into();
    Digest::of(framed.concat())
}

/// Text in `a-z0-9-`, never empty, at most [`SLUG`] long.
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if slug.len() >= SLUG {
            break;
        }
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "x" } else { slug }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{SLUG, badge, feed, machine, series, series_file, slug};
    use assay_protocol::{Digest, TimingMode};
    use assay_store::SeriesKey;

    fn key() -> SeriesKey {
        SeriesKey {
            suite: "cpu".into(),
            case: "memory/triad[elements=2^24,dtype=f32]@cpu".into(),
            metric: "time".into(),
            timing: TimingMode::Hot,
            definition: Digest::of("d"),
            machine: "lab".into(),
            arm: "main".into(),
        }
    }

    #[test]
    fn slugs_are_safe_bounded_and_readable() {
        assert_eq!(
            slug("memory/triad[elements=2^24]@cpu"),
            "memory-triad-elements-2-24-cpu"
        );
        for text in [
            "../../etc/passwd",
            "",
            "\0",
            "///",
            "<script>",
            "שלום",
            ".",
            "..",
        ] {
            let slug = slug(text);
            let safe = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
            assert!(!slug.is_empty() && slug.bytes().all(safe), "{text}");
        }
        assert!(slug(&"a".repeat(10_000)).len() <= SLUG);
    }

    #[test]
    fn every_part_of_a_key_has_a_page_of_its_own() {
        let others = [
            SeriesKey {
                suite: "gpu".into(),
                ..key()
            },
            SeriesKey {
                case: "memory/triad[elements=2^24;dtype=f32]@cpu".into(),
                ..key()
            },
            SeriesKey {
                metric: "loss".into(),
                ..key()
            },
            SeriesKey {
                timing: TimingMode::Cold,
                ..key()
            },
            SeriesKey {
                definition: Digest::of("e"),
                ..key()
            },
            SeriesKey {
                machine: "lab2".into(),
                ..key()
            },
            SeriesKey {
                machine: "la".into(),
                arm: "bmain".into(),
                ..key()
            },
        ];
        for other in others {
            assert_ne!(series(&other), series(&key()));
        }
        assert_ne!(machine("a b"), machine("a-b"));
        assert_ne!(feed(Some("a b")), feed(Some("a-b")));
        assert_ne!(badge(Some("all")), badge(None));
    }

    #[test]
    fn deep_links_stay() {
        assert_eq!(
            series(&key()),
            "series/memory-triad-elements-2-24-dtype-f32-cpu-41dc205a0b47.html"
        );
        assert_eq!(
            series_file(&key(), "csv"),
            "series/memory-triad-elements-2-24-dtype-f32-cpu-41dc205a0b47.csv"
        );
        assert_eq!(feed(None), "feeds/all.xml");
        assert_eq!(badge(Some("cpu")), "badges/cpu-68ab84f7c6d0.svg");
    }
}
