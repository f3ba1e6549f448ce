//! What the site says of regressions that stand: counted once, however old their night, until they are back or gone.

use assay_record::RunId;
use assay_reports::SiteModel;
use assay_stats::CommonShift;
use assay_verdicts::gate::State;
use assay_verdicts::{CaseState, Verdict};
use serde_json::Value;

use crate::Site;
use crate::build::interval;
use crate::data::text;
use crate::fixture::nights::{self, levels};
use crate::tonight::{index, json_of, with_later_run};

/// The page of the series of the time of the case that was confirmed.
fn series(site: &Site, model: &SiteModel) -> String {
    let case = &model.confirmed[0].case.case;
    let all = json_of(site);
    let mut own = all["series"].as_array().unwrap().iter();
    let found = own.find(|of| of["case"] == **case && of["metric"] == "time");
    text(site, found.unwrap()["page"].as_str().unwrap())
}

/// The only line of nights for programs.
fn night(site: &Site) -> Value {
    json_of(site)["nights"][0].clone()
}

#[test]
fn what_stands_is_counted_once() {
    // The window has got used to it, and calls it unchanged.
    let used_to = levels::used_to(10);
    let counts = night(&Site::of(&used_to))["counts"].clone();
    assert_eq!(
        (&counts["still_regressed"], &counts["unchanged"]),
        (&1.into(), &1.into())
    );
    // The night confirmed it once more, which is no more than was known.
    let mut again = levels::used_to(10);
    let known = again.confirmed[0].clone();
    let gate = &mut again.nights[0].gate;
    let mut cases = gate.comparison.cases.iter_mut();
    let case = cases.find(|of| of.case == known.case.case).unwrap();
    case.verdict = Verdict::Inconclusive;
    case.still = Some(known.night.clone());
    case.note = "no more than what was known".into();
    gate.comparison.suite.counts.unchanged -= 1;
    gate.comparison.suite.counts.still = 1;
    gate.state = State::Inconclusive;
    let site = Site::of(&again);
    let counts = &night(&site)["counts"];
    let all: Vec<u64> = ["still_regressed", "unchanged", "inconclusive", "regressed"]
        .map(|name| counts[name].as_u64().unwrap())
        .into();
    assert_eq!(all, [1, 1, 0, 0]);
    let page = series(&site, &again);
    let verdict = &page[page.find("id=\"h-verdict\"").unwrap()..];
    let verdict = &verdict[..verdict.find("</section>").unwrap()];
    assert!(
        verdict.contains("still regressed") && verdict.contains("No more than what was known.")
    );
    assert!(!verdict.contains("inconclusive"), "{verdict}");
    // Of the series as of its suite, where the night by itself says something else.
    let page = series(&Site::of(&used_to), &used_to);
    assert!(page.contains("still regressed") && page.contains("the night by itself: unchanged"));
}

#[test]
fn what_stands_counts_however_old_its_night_is_and_is_news_no_longer() {
    let site = Site::of(&with_later_run(levels::used_to(10), 30));
    let night = night(&site);
    assert_eq!(
        (&night["state"], &night["standing"]),
        (&"still_regressed".into(), &1.into())
    );
    assert_eq!(json_of(&site)["standing"].as_array().unwrap().len(), 1);
    assert!(site.pages()["suites.html"].contains("still regressed"));
    assert!(!site.pages()["index.html"].contains("id=\"h-standing\""));
}

#[test]
fn what_is_back_in_the_newest_run_alone_is_told_so() {
    const SAID: &str = "one more like it ends it";
    for (slow, is_back) in [(10, Some(false)), (9, Some(true)), (8, None)] {
        let model = levels::used_to(slow);
        let site = Site::of(&model);
        let standing = json_of(&site)["standing"].clone();
        let told = standing[0]["back_in_newest"].as_bool();
        assert_eq!(told, is_back, "{slow}");
        let pages = site.pages();
        let of_suite = pages
            .iter()
            .find(|(name, _)| name.starts_with("suites/"))
            .unwrap()
            .1;
        for page in [&pages["index.html"], of_suite, &series(&site, &model)] {
            assert_eq!(page.contains(SAID), is_back == Some(true), "{slow}: {page}");
        }
    }
}

#[test]
fn a_case_that_is_gone_stands_no_more() {
    let mut model = levels::used_to(10);
    let case = model.confirmed[0].case.case.clone();
    let night = model.nights[0].gate.run.clone();
    for summary in model.summaries.iter_mut().filter(|of| of.run.run == night) {
        summary.cases.retain(|of| of.case.case != case);
    }
    let comparison = &mut model.nights[0].gate.comparison;
    comparison.cases.retain(|of| of.case != case);
    for history in &mut model.histories {
        let points = &mut history.series.points;
        points.retain(|point| history.series.key.case != case || point.run != night);
    }
    let site = Site::of(&model);
    let all = json_of(&site);
    assert_eq!(all["nights"][0]["standing"], 0);
    assert_eq!(all["standing"].as_array().unwrap().len(), 0);
    let pages = site.pages();
    assert!(!pages["index.html"].contains("still"));
    let of_suite = pages
        .iter()
        .find(|(name, _)| name.starts_with("suites/"))
        .unwrap()
        .1;
    assert!(of_suite.contains("</span> gone</span>") && !of_suite.contains("still regressed"));
    let page = series(&site, &model);
    assert!(page.contains("it is gone from its suite") && page.contains("over: the case is gone"));
}

#[test]
fn a_part_of_a_shift_that_was_told_is_no_entry_and_stands() {
    let mut model = levels::used_to(10);
    let entries = |model: &SiteModel| {
        text(&Site::of(model), "feeds/all.xml")
            .matches("<entry>")
            .count()
    };
    assert_eq!(entries(&model), 1);
    let first: RunId = model.runs[8].run.clone();
    model.confirmed[0].part_of = Some(first.clone());
    assert_eq!(entries(&model), 0);
    let standing = json_of(&Site::of(&model))["standing"][0].clone();
    assert_eq!(standing["since"], first.to_string());
}

#[test]
fn a_suite_that_moved_together_is_in_the_lead_with_what_new_rounds_said_of_it() {
    let mut model = nights::quiet();
    let gate = &mut model.nights[0].gate;
    gate.comparison.suite.common_shift = Some(CommonShift {
        ratio: interval(1.1, 0.01),
        moved: 5,
        cases: 5,
        p_value: 0.001,
    });
    let alone = index(&model);
    assert!(
        alone.contains("1 suite moved together over 1 night."),
        "{alone}"
    );
    assert!(!alone.contains("Nothing is known to have changed"));
    assert!(!alone.contains("not in the machine"));
    let gate = &mut model.nights[0].gate;
    let mut beside = gate.comparison.clone();
    for case in &mut beside.cases {
        case.ratio = Some(interval(1.1, 0.01));
    }
    gate.confirmation = Some(assay_verdicts::gate::Confirmation {
        interleaved: Some(beside),
        ..assay_verdicts::gate::Confirmation::default()
    });
    assert!(index(&model).contains("is in what was measured, not in the machine"));
}

#[test]
fn a_stretch_of_failures_stays_in_the_feed_when_it_is_mended() {
    let mut model = nights::quiet();
    let case = model.nights[0].gate.comparison.cases[0].case.clone();
    let nights: Vec<RunId> = model.runs.iter().map(|row| row.run.clone()).collect();
    // Two stretches, of which the last is mended two nights before the newest.
    let failed = [&nights[5], &nights[6], &nights[12], &nights[17]];
    for summary in &mut model.summaries {
        let is_bad = failed.contains(&&summary.run.run);
        for own in summary
            .cases
            .iter_mut()
            .filter(|of| is_bad && of.case.case == case)
        {
            own.state = CaseState::Failed("no memory".into());
        }
    }
    for history in &mut model.histories {
        let is_own = history.series.key.case == case;
        history
            .series
            .points
            .retain(|point| !is_own || !failed.contains(&&point.run));
    }
    let feed = text(&Site::of(&model), "feeds/all.xml");
    assert_eq!(feed.matches("1 failed").count(), 3, "{feed}");
    for (run, is_first) in [(5, true), (6, false), (12, true), (17, true)] {
        let page = format!("runs/{}.html", nights[run]);
        assert_eq!(feed.contains(&page), is_first, "{run}: {feed}");
    }
}
