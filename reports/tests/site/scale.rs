//! Long histories stay small and quick.

use std::collections::BTreeMap;

use assay_reports::{MachineChange, SiteModel};
use assay_verdicts::{CaseHistory, Change, LocatedChange, Point, Spot, Verdict};

use crate::Site;
use crate::build::{interval, synthetic};

#[test]
fn charts_stay_small_however_long_the_history() {
    let size = |runs| {
        let pages = Site::of(&synthetic(1, runs)).pages();
        let (_, page) = pages
            .iter()
            .find(|(name, _)| name.starts_with("series/"))
            .unwrap();
        let start = page.find("<svg").unwrap();
        page.find("</svg>").unwrap() - start
    };
    let (short, long) = (size(200), size(1000));
    assert!(short < 15_000 && long < 15_000, "{short} and {long} bytes");
}

/// A long and troubled history: the level changes for good before every 15th night, and something on the machine every third.
fn troubled(runs: u32) -> SiteModel {
    let mut model = synthetic(3, runs);
    let change = Change {
        field: "software.kernel.release".into(),
        before: "6.1.0-29-amd64".into(),
        after: "6.1.0-30-amd64".into(),
    };
    let again = |mut history: CaseHistory| {
        let points = &mut history.series.points;
        for point in points.iter_mut().step_by(3) {
            point.changes = vec![change.clone()];
        }
        let starts = (15..points.len()).step_by(15);
        history.changes = starts.map(|start| located(points, start)).collect();
        history
    };
    model.histories = model.histories.into_iter().map(again).collect();
    let changed = |run: &assay_store::RunRow| MachineChange {
        run: run.run.clone(),
        started: run.started,
        words: vec!["The kernel was 6.1.0-29-amd64 and is now 6.1.0-30-amd64.".into()],
    };
    let timeline = model.runs.iter().rev().step_by(3).map(changed).collect();
    model.timelines.insert("lab-1".into(), timeline);
    model
}

/// A lasting change before a point.
fn located(points: &[Point], index: usize) -> LocatedChange {
    let spot = |index: usize| Spot {
        index,
        run: points[index].run.clone(),
        started: points[index].started,
        commit: points[index].commit.clone(),
        dirty: points[index].dirty,
    };
    LocatedChange {
        index,
        last_before: spot(index - 1),
        first_after: spot(index),
        before: interval(1e4, 10.0),
        after: interval(1.2e4, 10.0),
        ratio: Some(interval(1.2, 0.01)),
        verdict: Some(Verdict::Regressed),
        p_value: 1e-9,
        gradual: false,
        machine: points[index].changes.clone(),
        mark: None,
    }
}

/// Bytes of each page but those of runs, whose length is that of their cases; and how many lasting changes there are.
fn sizes(runs: u32) -> (BTreeMap<String, usize>, usize) {
    let model = troubled(runs);
    let changes = model.histories.iter().map(|history| history.changes.len());
    let changes = changes.max().unwrap();
    let pages = Site::of(&model).pages().into_iter();
    let pages = pages.filter(|(name, _)| !name.starts_with("runs/"));
    let sizes = pages.map(|(name, page)| (name.clone(), page.len()));
    (sizes.collect(), changes)
}

#[test]
fn pages_stay_small_however_long_the_history() {
    // The short one fills every list of a page already, but that of lasting changes.
    let ((short, few), (long, many)) = (sizes(400), sizes(1200));
    assert!(few < 30 && many > 45, "{few} and {many} lasting changes");
    assert_eq!(short.keys().count(), long.keys().count());
    for (page, bytes) in &long {
        // 40 lasting changes instead of a dozen, and longer numbers of runs.
        let most = short[page]
            + if page.starts_with("series/") {
                40_000
            } else {
                2_000
            };
        assert!(
            *bytes < most.min(200_000),
            "{page}: {bytes} bytes, and {} of a short history",
            short[page]
        );
    }
}

#[test]
fn one_point_and_two_points_are_drawn() {
    for runs in [1, 2] {
        let site = Site::of(&synthetic(1, runs));
        let pages = site.pages();
        let mut series = pages.iter().filter(|(name, _)| name.starts_with("series/"));
        let (_, page) = series.next().unwrap();
        assert!(
            page.contains("class=\"points\"") && !page.contains("NaN") && !page.contains("inf")
        );
    }
}
