//! Runs that are not among the newest: their pages have every value that a series has, and what went wrong.

use assay_record::BlockStatus;
use assay_reports::{Portion, Presentation, Publication, SiteModel, SiteSettings};
use assay_verdicts::{CaseState, Impossible, RunSummary};
use tempfile::TempDir;

use crate::build::{bad, case, interval, synthetic};
use crate::fixture::{self, HOSTILE};

/// A site of three cases and so many runs, the last two of which are whole.
fn model(runs: u32) -> SiteModel {
    let mut model = synthetic(3, runs);
    let series = &mut model.histories[0].series;
    let beyond = series.points.remove(1);
    series.impossible.push(Impossible {
        run: beyond.run,
        started: beyond.started,
        estimate: interval(3.0, 0.1),
        why: HOSTILE.into(),
    });
    model.histories[1].series.key.case = HOSTILE.into();
    model.summaries.drain(..model.summaries.len() - 2);
    model
}

/// What went wrong in each run of the model but the newest: in some runs one case.
fn troubles(model: &SiteModel, id: &str, runs: &[usize]) -> Vec<RunSummary> {
    let failed = || {
        let status = BlockStatus::Failed("out of memory".into());
        let state = CaseState::Failed("out of memory".into());
        bad(case(id, 1.0), state, &status, HOSTILE)
    };
    let older = model.runs.iter().take(model.runs.len() - 2);
    let found = older.enumerate().map(|(at, run)| RunSummary {
        run: run.clone(),
        cases: runs.contains(&at).then(failed).into_iter().collect(),
        events: Vec::new(),
    });
    found.collect()
}

fn pages(model: &SiteModel, troubles: Vec<RunSummary>) -> Vec<String> {
    let folder = TempDir::new().unwrap();
    let settings = SiteSettings::default();
    let presentation = Presentation::of(&settings).unwrap();
    let out = folder.path().join("site");
    let mut publication = Publication::begin(model, &out, &presentation).unwrap();
    let runs = publication.missing_runs();
    assert_eq!(runs.len(), model.runs.len());
    let portion = Portion {
        runs,
        troubles: troubles
            .into_iter()
            .map(|of| (of.run.run.clone(), of))
            .collect(),
        ..fixture::portion()
    };
    publication.add(&portion).unwrap();
    publication.add_others().unwrap();
    publication.finish().unwrap();
    let page = |run: &assay_store::RunRow| {
        std::fs::read_to_string(out.join(format!("runs/{}.html", run.run))).unwrap()
    };
    model.runs.iter().map(page).collect()
}

/// What a page says between its first tiles and their end.
fn tally(page: &str) -> String {
    let (_, rest) = page.split_once("<ul class=\"tiles\">").unwrap();
    let tiles = rest.split_once("</ul>").unwrap().0;
    tiles.replace("<strong>", "").replace("</strong>", "")
}

#[test]
fn older_runs_have_every_value_and_what_went_wrong() {
    let model = model(5);
    // In the third a case that has no series.
    let pages = pages(&model, troubles(&model, "memory/lost@cpu", &[2]));
    for (at, page) in pages.iter().enumerate() {
        let is_whole = page.contains("<th scope=\"col\" class=\"num\">Samples</th>");
        assert_eq!(is_whole, at >= 3, "page {at}");
        assert!(!page.contains("<script>alert") && !page.contains("onmouseover=\""));
    }
    // What a page tells of a series is what the series has of its run.
    for history in &model.histories {
        for point in &history.series.points {
            let at = model.runs.iter().position(|run| run.run == point.run);
            let at = at.unwrap();
            let exact = format!("<data value=\"{:.5e}\">", point.estimate.estimate);
            assert!(pages[at].contains(&exact), "page {at}: {exact}");
        }
    }
    let rows = pages[0].matches("<td class=\"num\"><data").count();
    assert_eq!(rows, 3, "a row for each case");
    assert!(tally(&pages[0]).contains(">3 ok<"), "{}", tally(&pages[0]));
    assert!(tally(&pages[1]).contains(">2 ok<") && tally(&pages[1]).contains(">1 wrong<"));
    assert!(pages[1].contains("impossible") && !pages[0].contains("impossible"));
    assert!(tally(&pages[2]).contains(">3 ok<") && tally(&pages[2]).contains(">1 failed<"));
    assert!(pages[2].contains("out of memory") && pages[2].contains("id=\"case-0\""));
}

#[test]
fn failures_of_older_runs_link_the_series_that_had_begun() {
    let mut model = model(6);
    let series = &mut model.histories[2].series;
    series.points.drain(..2);
    let id = series.key.case.clone();
    let pages = pages(&model, troubles(&model, &id, &[1, 3]));
    let heading = |page: &str| {
        let (_, rest) = page.split_once("<article class=\"failure\"").unwrap();
        rest.split_once("</h3>").unwrap().0.to_owned()
    };
    assert!(
        !heading(&pages[1]).contains("href"),
        "{}",
        heading(&pages[1])
    );
    assert!(heading(&pages[3]).contains("<a href=\"../series/"));
}
