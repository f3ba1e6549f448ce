//! Feeds, badges, the index and downloads: what they say, and that outside text stays text in each of them.

use std::collections::BTreeSet;
use std::fs;

use assay_protocol::Metric;
use assay_record::RunId;
use assay_reports::{
    Night, Portion, Presentation, Publication, RESULTS, RecordFile, SiteModel, SiteSettings,
    publish,
};
use assay_stats::Rules;
use assay_store::Planned;
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
    }
}

/// The fixture's site with that night, and with a step that no mark excuses.
fn told() -> SiteModel {
    let mut model = model();
    let series = model.histories.into_iter().map(|history| history.series);
    model.histories = histories(series.collect(), &Marks::default());
    for history in &mut model.histories {
        if history.series.key.case == SMALL {
            history.series.points[0].commit = Some(FORMULA.into());
        }
    }
    model.nights = vec![night()];
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

fn text(site: &Site, name: &str) -> String {
    fs::read_to_string(site.root().join(name)).unwrap()
}

/// Files of the site whose names end so.
fn ending(site: &Site, end: &str) -> Vec<(String, String)> {
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
            "smoke: 1 regressed on lab-1"
        ],
        "the triad's step is told of the run that it began with, and not again of the night"
    );
    assert!(feed.contains("Links are relative"), "{feed}");
    insta::assert_snapshot!("feed", text(&with_base(&told()), "feeds/all.xml"));
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
            .filter(|title| title.contains("regressed"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // The definition of this case is four runs younger than the other's: its points begin there.
    let together = add(&mut model, [13, 16, 18]);
    assert!(
        together.iter().any(|title| title.contains("2 regressed")),
        "{together:?}"
    );
    let apart = add(&mut model, [22, 24, 26]);
    assert!(
        !apart.iter().any(|title| title.contains("2 regressed")),
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

/// A record on the disk, and the fixture with its run among those whose downloads are published.
fn with_record(folder: &TempDir, edit: impl Fn(&mut assay_record::Manifest)) -> (SiteModel, RunId) {
    let recipe = assay_store::synthetic::Recipe::default();
    let plain = recipe.write(folder.path(), None).unwrap();
    let path = plain.with_extension("jsonl.zst");
    let packed = zstd::encode_all(&fs::read(&plain).unwrap()[..], 1).unwrap();
    fs::write(&path, packed).unwrap();
    let record = assay_record::Record::read(&path).unwrap();
    let mut model = model();
    let run = run_id(35);
    let bytes = fs::metadata(&path).unwrap().len();
    model.heads.insert(run.clone(), record.head.to_string());
    let file = RecordFile {
        path,
        bytes: Some(bytes),
    };
    model.records.insert(run.clone(), file);
    let mut manifest = record.header.manifest;
    edit(&mut manifest);
    let sealed = assay_record::ManifestFile::seal(&manifest).unwrap();
    let rows = model.runs.iter_mut();
    let summaries = model.summaries.iter_mut().map(|summary| &mut summary.run);
    for row in rows.chain(summaries).filter(|row| row.run == run) {
        row.manifest = sealed.digest;
    }
    (model, run)
}

/// Publishes with the manifest of that run at hand.
fn published(
    model: &SiteModel,
    run: &RunId,
    settings: &SiteSettings,
    edit: impl Fn(&mut assay_record::Manifest),
) -> Site {
    let folder = TempDir::new().unwrap();
    let mut manifest = assay_store::synthetic::Recipe::default()
        .record()
        .header
        .manifest;
    edit(&mut manifest);
    let sealed = assay_record::ManifestFile::seal(&manifest).unwrap();
    let presentation = Presentation::of(settings).unwrap();
    let out = folder.path().join("site");
    let mut publication = Publication::begin(model, &out, &presentation).unwrap();
    publication
        .add(&Portion {
            runs: publication.missing_runs(),
            manifests: std::collections::BTreeMap::from([(
                sealed.digest,
                Planned::of(sealed.manifest),
            )]),
            ..crate::fixture::portion()
        })
        .unwrap();
    publication.finish().unwrap();
    assert!(out.join(format!("runs/{run}.html")).exists());
    Site { folder }
}

fn secrets(manifest: &mut assay_record::Manifest) {
    manifest.arms[0]
        .env
        .insert("TOKEN".into(), "secret value".into());
    manifest.suite.source = assay_record::Source::Folder("/home/secret/name".into());
}

#[test]
fn a_record_is_published_as_it_is_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let settings = SiteSettings::default();
    let (model, run) = with_record(&folder, |_| {});
    let site = published(&model, &run, &settings, |_| {});
    let files = site.files();
    let record = &files[&format!("runs/{run}.jsonl.zst")];
    assert_eq!(*record, fs::read(&model.records[&run].path).unwrap());
    let manifest = &files[&format!("runs/{run}-manifest.json")];
    let path = folder.path().join("manifest.json");
    fs::write(&path, manifest).unwrap();
    assay_record::ManifestFile::read(&path).expect("it is what `assay run` reads");
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let named = index["runs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|run| !run["record"].is_null());
    assert_eq!(named.count(), 1);

    // What pages keep back is in no file.
    let (model, run) = with_record(&folder, secrets);
    let site = published(&model, &run, &settings, secrets);
    let whole: Vec<u8> = site.files().into_values().flatten().collect();
    assert!(!whole.windows(6).any(|bytes| bytes == b"secret"));
    let page = text(&site, &format!("runs/{run}.html"));
    assert!(
        page.contains(
            "without values of environment variables, the path of the suite&#39;s folder"
        ),
        "{page}"
    );
    assert!(page.contains("<code>") && page.contains("--publish-source"));
    assert!(!site.root().join(format!("runs/{run}.jsonl.zst")).exists());
    let open = SiteSettings {
        publish_source: true,
        ..SiteSettings::default()
    };
    let site = published(&model, &run, &open, secrets);
    assert!(site.root().join(format!("runs/{run}.jsonl.zst")).exists());
    assert!(text(&site, &format!("runs/{run}-manifest.json")).contains("secret value"));
}

#[test]
fn a_file_that_is_not_the_record_is_not_published() {
    let folder = TempDir::new().unwrap();
    let (mut model, run) = with_record(&folder, |_| {});
    model.heads.insert(run.clone(), "another".into());
    let site = published(&model, &run, &SiteSettings::default(), |_| {});
    assert!(!site.root().join(format!("runs/{run}.jsonl.zst")).exists());
    assert!(text(&site, &format!("runs/{run}.html")).contains("not where it was"));
    // A run that is not among them says of which there are some.
    assert!(text(&site, &format!("runs/{}.html", run_id(34))).contains("of the newest 30 runs"));
}

#[test]
fn csv_holds_every_point_and_no_formula() {
    let site = Site::of(&told());
    let mut formulas = 0;
    for (name, file) in ending(&site, ".csv") {
        let json: Value =
            serde_json::from_str(&text(&site, &name.replace(".csv", ".json"))).unwrap();
        let runs = json["points"]["run"].as_array().unwrap();
        assert_eq!(file.matches("\r\n").count(), runs.len() + 1, "{name}");
        for (line, run) in file.split("\r\n").skip(1).zip(runs) {
            assert!(line.starts_with(run.as_str().unwrap()), "{name}: {line}");
            let is_formula = |cell: &str| cell.trim_matches('"').starts_with(['=', '+', '-', '@']);
            assert!(!line.split(',').any(is_formula), "{name}: {line}");
        }
        formulas += file.matches("\"'=HYPERLINK(\"\"http").count();
    }
    assert_eq!(formulas, 2, "one in each definition's first point");
}

#[test]
fn results_are_copied_and_are_no_page() {
    let folder = TempDir::new().unwrap();
    let mut model = told();
    let settings = SiteSettings::default();
    let publish = |model: &SiteModel, written: usize| {
        let presentation = Presentation::of(&settings).unwrap();
        let out = folder.path().join("site");
        let mut publication = Publication::begin(model, &out, &presentation).unwrap();
        let missing = publication.missing_results();
        assert_eq!(missing.len(), written);
        for (path, runs) in missing {
            fs::write(path, format!("PAR1 made up of {} PAR1", runs.len())).unwrap();
        }
        publication
            .add(&Portion {
                runs: publication.missing_runs(),
                ..Portion::default()
            })
            .unwrap();
        publication.finish().unwrap()
    };
    let without = publish(&model, 0);
    let index = |root: &std::path::Path| -> Value {
        serde_json::from_slice(&fs::read(root.join("index.json")).unwrap()).unwrap()
    };
    assert_eq!(index(&without.root)["results"], serde_json::json!([]));
    model.with_results = true;
    let with = publish(&model, 1);
    assert_eq!(with.pages, without.pages);
    let made_up = format!("PAR1 made up of {} PAR1", model.runs.len());
    let results = || fs::read_to_string(with.root.join(RESULTS)).unwrap();
    assert_eq!(results(), made_up);
    assert_eq!(index(&with.root)["results"], serde_json::json!([RESULTS]));
    // What is of the same runs is taken over, and of others it is not.
    publish(&model, 0);
    assert_eq!(results(), made_up);
    model
        .heads
        .insert(model.runs[0].run.clone(), "another record".into());
    publish(&model, 1);
    model.with_results = false;
    let html = Site::of(&model).pages().len();
    assert_eq!(with.pages, html);
}
