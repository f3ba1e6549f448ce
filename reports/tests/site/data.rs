//! Feeds, badges and the index: what they say, and that outside text stays text in each of them.

use std::collections::BTreeSet;
use std::fs;

use assay_protocol::Metric;
use assay_reports::{Night, SiteModel, SiteSettings, publish};
use assay_stats::Rules;
use assay_verdicts::comparison::{Counts, SuiteVerdict};
use assay_verdicts::{
    Basis, CaseComparison, CaseHistory, CaseState, Comparison, Gate, LocatedChange, Marks, Side,
    Spot, Trouble, TroubleKind, Verdict,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::Site;
use crate::build::{histories, interval, run_id};
use crate::fixture::{HOSTILE, model};
use crate::html::tags;

/// The last night of the fixture.
const NIGHT: u32 = 35;
const TRIAD: &str = "memory/triad[dtype=f32,elements=2^24]@cpu";
const SMALL: &str = "memory/triad[dtype=f32,elements=2^10]@cpu";
const GEMM: &str = "linalg/gemm[k=512,m=512,n=512]@cpu";
/// A commit that a spreadsheet would work out.
const FORMULA: &str = "=HYPERLINK(\"http://example.org\",\"0a1b\")";

fn case(id: &str, ratio: f64) -> CaseComparison {
    CaseComparison {
        case: id.into(),
        metric: Metric::time(),
        verdict: Verdict::Regressed,
        suspect: true,
        ratio: Some(interval(ratio, 0.01)),
        at_first: None,
        relative: None,
        margin: 0.03,
        p_value: Some(0.001),
        adjusted: Some(0.01),
        trouble: None,
        mark: None,
        remark: None,
        since: None,
        still: None,
        baseline_runs: None,
        note: format!("confirmed; {HOSTILE}"),
    }
}

/// A night on which a case failed, one regressed, and another still is as slow as it has been for long.
fn night() -> Night {
    let mut failed = case(GEMM, 1.0);
    failed.verdict = Verdict::Inconclusive;
    failed.ratio = None;
    failed.trouble = Some(Trouble {
        kind: TroubleKind::Failed,
        why: HOSTILE.into(),
    });
    let side = |label: &str, runs: Vec<u32>| Side {
        label: label.into(),
        runs: runs.into_iter().map(run_id).collect(),
        arm: "main".into(),
    };
    let comparison = Comparison {
        baseline: side("the 10 runs before", (25..NIGHT).collect()),
        candidate: side("the night", vec![NIGHT]),
        basis: Basis::AcrossRuns {
            baseline_runs: 10,
            candidate_runs: 1,
        },
        differences: Vec::new(),
        caveats: Vec::new(),
        suite: SuiteVerdict {
            counts: Counts {
                troubled: 1,
                regressed: 2,
                ..Counts::default()
            },
            ..SuiteVerdict::default()
        },
        cases: vec![failed, case(SMALL, 1.083), case(TRIAD, 1.06)],
        left_out: Vec::new(),
        rules: Rules::default(),
    };
    Night {
        gate: Gate::new("last 10".into(), run_id(NIGHT), comparison),
        previous: Some(run_id(NIGHT - 1)),
        machine_changes: vec![format!("the driver went from 580.65 to {HOSTILE}")],
        arm_changes: Vec::new(),
        arm_steps: Vec::new(),
        steps: Vec::new(),
        is_imported: true,
        share: None,
    }
}

/// The fixture's site with that night, and with a step that no mark excuses.
pub fn told() -> SiteModel {
    let mut model = model();
    let series = model.histories.into_iter().map(|history| history.series);
    model.histories = histories(series.collect(), &Marks::default());
    for history in &mut model.histories {
        if history.series.key.case == SMALL {
            history.series.points[0].commit = Some(FORMULA.into());
        }
    }
    model.nights = vec![night()];
    model.confirmed.clear();
    model
}

fn with_base(model: &SiteModel) -> Site {
    let folder = TempDir::new().unwrap();
    let settings = SiteSettings {
        base: "https://example.org/bench/".into(),
        ..SiteSettings::default()
    };
    publish(model, &folder.path().join("site"), &settings).unwrap();
    Site { folder }
}

pub fn text(site: &Site, name: &str) -> String {
    fs::read_to_string(site.root().join(name)).unwrap()
}

/// Files of the site whose names end so.
pub fn ending(site: &Site, end: &str) -> Vec<(String, String)> {
    let files = site.files().into_iter();
    let found = files.filter(|(name, _)| name.ends_with(end));
    found
        .map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap()))
        .collect()
}

/// The texts between these two.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    let parts = text.split(begin).skip(1);
    parts.map(|part| part.split(end).next().unwrap()).collect()
}

#[test]
fn a_feed_tells_what_got_worse_once() {
    let site = Site::of(&told());
    let feed = text(&site, "feeds/all.xml");
    let titles = between(&feed, "<title>", "</title>");
    assert_eq!(
        titles,
        [
            "Assay: regressions",
            "smoke: 1 failed on lab-1",
            "smoke: 1 regressed on lab-1",
            "smoke: 1 worse to stay in the history on lab-1"
        ],
        "the triad's step is told of the run that it began with, and not again of the night"
    );
    assert!(feed.contains("Links are relative"), "{feed}");
    insta::assert_snapshot!("feed", text(&with_base(&told()), "feeds/all.xml"));
}

#[test]
fn a_feed_tells_nothing_of_own_runs_that_no_gate_said() {
    let mut model = told();
    model.nights[0].is_imported = false;
    // Nobody ever ran suspects of this suite again: what lasts is told there, and called so.
    let feed = text(&Site::of(&model), "feeds/all.xml");
    assert!(feed.contains("1 worse to stay in the history"), "{feed}");
    let settled = |history: &CaseHistory| {
        let points = &history.series.points;
        let changes = history.changes.iter();
        let began = changes.map(|change| points[change.index].run.clone());
        (history.series.key.clone(), began.collect())
    };
    model.settled = model.histories.iter().map(settled).collect();
    let feed = text(&Site::of(&model), "feeds/all.xml");
    assert!(!feed.contains(" in the history"), "{feed}");
    // What the night says of the triad is told, whether or not its history has located that by now, and by the same id.
    assert!(feed.contains("smoke: 2 regressed on lab-1"), "{feed}");
    let known = ids(&model);
    for history in &mut model.histories {
        history.changes.clear();
    }
    assert_eq!(ids(&model), known);
}

#[test]
fn what_a_night_calls_is_told_of_the_run_it_began_with() {
    let entry = |night: u32| {
        let mut model = told();
        // Slower from three nights before on, as the series shows it.
        for history in &mut model.histories {
            if history.series.key.case == SMALL {
                let points = history.series.points.iter_mut();
                for point in points.filter(|point| point.run >= run_id(NIGHT - 3)) {
                    point.estimate.estimate *= 1.5;
                }
            }
        }
        model.nights[0].gate.run = run_id(night);
        let feed = text(&Site::of(&model), "feeds/all.xml");
        let entries = between(&feed, "<entry>", "</entry>");
        let own = entries
            .into_iter()
            .find(|entry| entry.contains("1 regressed"));
        own.unwrap().to_owned()
    };
    let [one, next] = [entry(NIGHT - 1), entry(NIGHT)];
    for what in ["id", "updated"] {
        let of = |entry: &str| between(entry, &format!("<{what}>"), "</")[0].to_owned();
        assert_eq!(of(&one), of(&next), "{what}");
    }
    let page = format!("runs/{}", run_id(NIGHT - 3));
    assert!(one.contains(&page) && next.contains(&page), "{next}");
}

#[test]
fn a_mark_excuses_a_regression_from_feeds() {
    let feed = text(&Site::of(&model()), "feeds/all.xml");
    // The triad's step is expected; what else there is has no mark.
    assert!(feed.contains("<entry>"), "{feed}");
    assert!(!feed.contains("memory/triad"), "{feed}");
}

#[test]
fn a_case_that_keeps_failing_is_told_of_its_first_night() {
    let mut model = told();
    for history in &mut model.histories {
        if history.series.key.case == GEMM {
            history.series.points.truncate(30);
        }
    }
    for summary in &mut model.summaries {
        for case in &mut summary.cases {
            if summary.run.run >= run_id(30) && case.case.case == GEMM {
                case.state = CaseState::Failed(HOSTILE.into());
            }
        }
    }
    let feed = text(&Site::of(&model), "feeds/all.xml");
    let failed: Vec<&str> = between(&feed, "<entry>", "</entry>")
        .into_iter()
        .filter(|entry| entry.contains("1 failed"))
        .collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].contains(&run_id(30).to_string()), "{feed}");
}

#[test]
fn ids_of_entries_do_not_depend_on_the_address() {
    let ids = |site: &Site| -> Vec<String> {
        let feed = text(site, "feeds/all.xml");
        let ids = between(&feed, "<id>", "</id>").into_iter().skip(1);
        ids.map(str::to_owned).collect()
    };
    let here = ids(&Site::of(&told()));
    assert_eq!(here.len(), 3);
    assert_eq!(ids(&with_base(&told())), here);
    assert_eq!(here.iter().collect::<BTreeSet<_>>().len(), 3);
}

/// Ids of the entries of all regressions and failures.
fn ids(model: &SiteModel) -> BTreeSet<String> {
    let feed = text(&Site::of(model), "feeds/all.xml");
    let ids = between(&feed, "<id>", "</id>").into_iter().skip(1);
    ids.map(str::to_owned).collect()
}

fn history_of<'a>(model: &'a mut SiteModel, case: &str) -> &'a mut CaseHistory {
    let mut found = model.histories.iter_mut().filter(|history| {
        let key = &history.series.key;
        key.case == case && key.metric == Metric::TIME && history.series.points.len() > 20
    });
    found.next().unwrap()
}

fn spot(history: &CaseHistory, index: usize) -> Spot {
    let point = &history.series.points[index];
    Spot {
        index,
        run: point.run.clone(),
        started: point.started,
        commit: None,
        dirty: false,
    }
}

#[test]
fn an_entry_stays_the_same_while_its_change_moves() {
    let before = told();
    let known = ids(&before);
    for moved in [17, 19, 22] {
        let mut model = told();
        let history = history_of(&mut model, TRIAD);
        let spots = [moved - 3, moved + 2].map(|at| spot(history, at));
        let [last_before, first_after] = spots;
        let change = &mut history.changes[0];
        assert_ne!(change.index, moved);
        change.index = moved;
        change.last_before = last_before;
        change.first_after = first_after;
        assert_eq!(ids(&model), known, "moved to {moved}");
    }
}

#[test]
fn a_regression_of_a_night_keeps_its_entry_when_the_history_has_it() {
    let known = ids(&told());
    let mut model = told();
    let like = history_of(&mut model, TRIAD).changes[0].clone();
    let history = history_of(&mut model, SMALL);
    let last = history.series.points.len() - 1;
    let change = LocatedChange {
        index: last,
        last_before: spot(history, last - 2),
        first_after: spot(history, last),
        ..like
    };
    history.changes.push(change);
    assert_eq!(ids(&model), known);
    // A second regression of the series is another entry.
    let history = history_of(&mut model, SMALL);
    let mut earlier = history.changes[0].clone();
    earlier.index = 5;
    earlier.last_before = spot(history, 3);
    earlier.first_after = spot(history, 6);
    history.changes.insert(0, earlier);
    assert_eq!(ids(&model).len(), known.len() + 1);
}

#[test]
fn what_may_have_begun_with_one_run_is_one_entry() {
    let mut model = told();
    let like = history_of(&mut model, TRIAD).changes[0].clone();
    let add = |model: &mut SiteModel, [from, at, to]: [usize; 3]| {
        let history = history_of(model, SMALL);
        let change = LocatedChange {
            index: at,
            last_before: spot(history, from),
            first_after: spot(history, to),
            ..like.clone()
        };
        history.changes = vec![change];
        let feed = text(&Site::of(model), "feeds/all.xml");
        between(&feed, "<title>", "</title>")
            .into_iter()
            .filter(|title| title.contains(" in the history"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // The definition of this case is four runs younger than the other's: its points begin there.
    let together = add(&mut model, [13, 16, 18]);
    assert!(
        together.iter().any(|title| title.contains("2 worse")),
        "{together:?}"
    );
    let apart = add(&mut model, [22, 24, 26]);
    assert!(
        !apart.iter().any(|title| title.contains("2 worse")),
        "{apart:?}"
    );
}

#[test]
fn badges_say_how_the_newest_night_went() {
    let site = Site::of(&told());
    assert!(text(&site, "badges/all.svg").contains("<title>Assay: 1 failed</title>"));
    let of = |start: &str| {
        let badges = ending(&site, ".svg").into_iter();
        let mut found = badges.filter(|(name, _)| name.starts_with(start));
        found.next().unwrap().1
    };
    assert!(of("badges/smoke-").contains("smoke: 1 failed"));
    assert!(of("badges/cpu-").contains("cpu: no nights yet"));
    let mut calmer = told();
    let gate = &mut calmer.nights[0].gate;
    gate.comparison.suite.counts.troubled = 0;
    calmer.nights[0].gate = Gate::new(
        gate.window.clone(),
        gate.run.clone(),
        gate.comparison.clone(),
    );
    let site = Site::of(&calmer);
    assert!(text(&site, "badges/all.svg").contains("Assay: 2 regressed"));
}

/// Elements that are ours, each closed by its own end.
#[test]
fn outside_text_stays_text_in_xml() {
    let site = Site::of(&told());
    let files = [ending(&site, ".xml"), ending(&site, ".svg")].concat();
    assert!(files.len() >= 8);
    let mut shown = 0;
    for (name, file) in files {
        shown += file.matches("&lt;script&gt;").count();
        for tag in tags(&file) {
            let own = ["on", "style", "href=\"javascript"];
            assert!(ALLOWED.contains(&tag.name), "{name}: <{}>", tag.name);
            let hostile =
                |(attribute, _): &(&str, &str)| own.iter().any(|bad| attribute.starts_with(bad));
            assert!(
                !tag.attributes.iter().any(hostile),
                "{name}: <{}>",
                tag.name
            );
        }
        assert!(
            !file.contains(['\0', '\u{1b}', '\u{202e}']) && !file.contains("]]>"),
            "{name}"
        );
        assert_eq!(open_at_end(&file), Vec::<&str>::new(), "{name}");
    }
    assert!(shown > 5, "the hostile text is there: {shown}");
}

const ALLOWED: &[&str] = &[
    "a",
    "author",
    "content",
    "div",
    "entry",
    "feed",
    "g",
    "generator",
    "id",
    "li",
    "link",
    "name",
    "p",
    "path",
    "published",
    "rect",
    "subtitle",
    "svg",
    "text",
    "title",
    "ul",
    "updated",
];

/// Elements that are open where the file ends; panics where one is closed that is not the last opened.
fn open_at_end(file: &str) -> Vec<&str> {
    let mut open = Vec::new();
    for part in file
        .split('<')
        .skip(1)
        .filter(|part| !part.starts_with('?'))
    {
        let inside = part.split('>').next().unwrap();
        let name = inside
            .split([' ', '/'])
            .find(|name| !name.is_empty())
            .unwrap();
        if inside.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !inside.ends_with('/') {
            open.push(name);
        }
    }
    open
}

#[test]
fn json_gives_names_back_as_they_were() {
    let model = told();
    let site = Site::of(&model);
    let index: Value = serde_json::from_str(&text(&site, "index.json")).unwrap();
    let has = |list: &str, field: &str| {
        let entries = index[list].as_array().unwrap().iter();
        entries.filter(|entry| entry[field] == HOSTILE).count()
    };
    assert_eq!((has("suites", "name"), has("machines", "name")), (1, 1));
    assert_eq!((has("series", "arm"), has("runs", "commit")), (1, 1));
    for entry in index["series"].as_array().unwrap() {
        let download: Value =
            serde_json::from_str(&text(&site, entry["json"].as_str().unwrap())).unwrap();
        assert_eq!(download["key"]["case"], entry["case"]);
        assert_eq!(download["key"]["machine"], entry["machine"]);
        for (column, values) in download["points"].as_object().unwrap() {
            let count = values.as_array().unwrap().len() as u64;
            assert!(
                column == "dirty" || count == entry["points"].as_u64().unwrap(),
                "{column}"
            );
        }
    }
    assert_eq!(index["nights"][0]["state"], "troubled");
}

#[test]
fn the_index_names_every_file_beside_pages() {
    let site = Site::of(&told());
    let index: Value = serde_json::from_str(&text(&site, "index.json")).unwrap();
    let mut named = BTreeSet::from(["index.json".to_owned()]);
    collect(&index, &mut named);
    let is_ours = |name: &String| {
        [".json", ".csv", ".xml", ".svg"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let files: BTreeSet<String> = site.files().into_keys().filter(is_ours).collect();
    let named: BTreeSet<String> = named.into_iter().filter(is_ours).collect();
    assert_eq!(named, files);
}

fn collect(value: &Value, paths: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if !text.contains(' ') => {
            paths.insert(text.clone());
        }
        Value::Array(all) => all.iter().for_each(|value| collect(value, paths)),
        Value::Object(all) => all.values().for_each(|value| collect(value, paths)),
        _ => {}
    }
}
