//! Regressions as an Atom feed (RFC 4287): one entry for each run with which something got worse.
//!
//! Ids say what got worse and not where that is thought to have begun: a reader sees an entry once, however often the site is
//! built, whatever nights are added and wherever it lies. Without an address of the site, links are relative to the feed, and the feed says so.

use assay_record::Timestamp;
use assay_stats::Interval;
use assay_verdicts::CaseComparison;
use serde::Serialize;

use super::events::{Event, Item, What, events, uuid};
use crate::address;
use crate::error::ReportError;
use crate::model::Library;
use crate::pages::part::{self, cell};
use crate::text::clip;
use crate::words;

/// Most entries of a feed; the pages have what is older.
const ENTRIES: usize = 60;

/// Most lines of an entry; its page has the rest.
const LINES: usize = 40;

/// Most changes of the machine that an entry names.
const CHANGES: usize = 12;

/// Longest words of one line.
const WORDS: usize = 300;

/// A feed must have been updated at some time, even an empty one.
const NEVER: &str = "1970-01-01T00:00:00Z";

#[derive(Serialize)]
struct Feed {
    title: String,
    id: String,
    author: String,
    version: &'static str,
    updated: String,
    /// Its own address; empty where nobody said where the site lies.
    own: String,
    /// What links begin with.
    root: String,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    id: String,
    title: String,
    at: String,
    /// When it was told first; empty where nobody knows.
    published: String,
    page: String,
    suite: String,
    machine: String,
    /// The arm, where the suite has several.
    arm: String,
    is_common: bool,
    machine_changes: Vec<String>,
    more_changes: usize,
    lines: Vec<Line>,
    more: usize,
}

#[derive(Serialize)]
struct Line {
    /// Page of the series; empty where it has none.
    page: String,
    case: String,
    metric: String,
    what: String,
}

/// The feed of a suite, or of all.
pub fn render(library: &Library<'_>, suite: Option<&str>) -> Result<String, ReportError> {
    let events = events(library, suite);
    let settings = library.settings;
    let of = suite.map_or(String::new(), |suite| format!(" of {}", cell(suite)));
    let path = address::feed(suite);
    let feed = Feed {
        title: format!("{}: regressions{of}", cell(&settings.title)),
        id: uuid(&[
            "feed",
            &settings.base,
            &settings.title,
            suite.unwrap_or_default(),
        ]),
        author: cell(&settings.title),
        version: env!("CARGO_PKG_VERSION"),
        updated: updated(library, suite).map_or(NEVER.into(), |at| at.to_string()),
        own: if settings.base.is_empty() {
            String::new()
        } else {
            format!("{}{path}", settings.base)
        },
        root: if settings.base.is_empty() {
            "../".into()
        } else {
            settings.base.clone()
        },
        entries: events
            .iter()
            .take(ENTRIES)
            .map(|event| entry(library, event))
            .collect(),
    };
    settings.templates.render("feed.xml", &path, &feed)
}

/// When the newest run of the suite, or of all, started: what a feed says follows from the runs.
fn updated(library: &Library<'_>, suite: Option<&str>) -> Option<Timestamp> {
    let rows = library.runs.values();
    rows.filter(|row| suite.is_none_or(|suite| row.suite == suite))
        .map(|row| row.started)
        .max()
}

fn entry(library: &Library<'_>, event: &Event<'_>) -> Entry {
    let arm = part::arm_in(library, event.suite, event.arm);
    let changes = event.machine_changes.iter();
    Entry {
        id: event.id.clone(),
        title: title(event, &arm),
        at: event.started.to_string(),
        published: event.told.map_or(String::new(), |at| at.to_string()),
        page: address::run(event.run),
        suite: cell(event.suite),
        machine: cell(event.machine),
        arm,
        is_common: event.is_common,
        machine_changes: changes
            .take(CHANGES)
            .map(|words| clip(words, WORDS).into_owned())
            .collect(),
        more_changes: event.machine_changes.len().saturating_sub(CHANGES),
        lines: event.items.iter().take(LINES).map(line).collect(),
        more: event.items.len().saturating_sub(LINES),
    }
}

fn title(event: &Event<'_>, arm: &str) -> String {
    let count = |is_it: fn(&What<'_>) -> bool| {
        let items = event.items.iter();
        items.filter(|item| is_it(&item.what)).count()
    };
    let failed = count(|what| matches!(what, What::Failed(_) | What::Bad(_)));
    let lasting = count(|what| matches!(what, What::Lasting(_)));
    let counts: Vec<String> = [
        (failed, "failed"),
        (event.items.len() - failed - lasting, "regressed"),
        (lasting, "worse to stay in the history"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{number} {what}"))
    .collect();
    let arm = match arm {
        "" => String::new(),
        arm => format!(", arm {arm}"),
    };
    format!(
        "{}: {} on {}{arm}",
        cell(event.suite),
        counts.join(", "),
        cell(event.machine)
    )
}

fn line(item: &Item<'_>) -> Line {
    Line {
        page: item.history.map_or(String::new(), |history| {
            address::series(&history.series.key)
        }),
        case: cell(item.case),
        metric: cell(item.metric),
        what: words(item),
    }
}

/// `+10.2 % (+8.1 to +12.4 %) against 0123456789: `, as far as there is any of it.
fn effect(case: &CaseComparison, against: &str) -> String {
    case.ratio.map_or(String::new(), |ratio| {
        let [by, low, high] = words::changes(&ratio);
        format!("{by} % ({low} to {high} %){against}: ")
    })
}

fn words(item: &Item<'_>) -> String {
    match &item.what {
        What::Bad(state) => {
            let said = format!("{}: {}", part::state(state).word, part::reason(state));
            clip(&said, WORDS).into_owned()
        }
        What::Failed(trouble) => clip(&trouble.to_string(), WORDS).into_owned(),
        What::Tonight(case) => format!("{}{}", effect(case, ""), clip(&case.note, WORDS)),
        What::Confirmed(case, reference) => {
            let commit = reference.and_then(|row| row.commit.as_deref());
            let against = commit.map_or(String::new(), |commit| {
                format!(" against {}", part::short(commit))
            });
            format!("{}{}", effect(case, &against), clip(&case.note, WORDS))
        }
        What::Lasting(change) => {
            let unit = item.history.map(|history| &history.series.metric.unit);
            let level = |level: &Interval| {
                unit.map_or(String::new(), |unit| part::number(level, unit).to_string())
            };
            let by = change
                .ratio
                .as_ref()
                .map_or(String::new(), |ratio| format!("{}, ", words::change(ratio)));
            let commit = |spot: &assay_verdicts::Spot| {
                let short = part::short(spot.commit.as_deref().unwrap_or_default());
                if short.is_empty() {
                    "no commit".into()
                } else {
                    short
                }
            };
            format!(
                "{by}from {} to {}, after {} and with {} at the latest",
                level(&change.before),
                level(&change.after),
                commit(&change.last_before),
                commit(&change.first_after)
            )
        }
    }
}
