//! What the site says of changes that stay: of those that were confirmed, and of those that the history alone knows.

use assay_record::{Purpose, RunId};
use assay_reports::{SiteModel, Step};
use assay_store::SeriesKey;
use assay_verdicts::{Confirmed, Marks, RunSummary, Verdict};

use crate::Site;
use crate::fixture::nights::levels;
use crate::tonight::{index, page, places, with_later_run};

#[test]
fn what_was_confirmed_stays_until_it_is_mended_or_accepted() {
    let lasting = levels::used_to(10);
    let site = Site::of(&lasting);
    let first = site.pages()["index.html"].clone();
    assert!(first.contains("1 that was confirmed before still stands."));
    let list = &first[places(&first, &["id=\"h-standing\""])[0]..];
    assert!(list.contains("<strong>+20.0 %</strong>") && list.contains("Known since"));
    let of_series = |model: &SiteModel| {
        let pages = Site::of(model).pages().into_values();
        let mut told = pages.filter(|page| page.contains("id=\"h-confirmed\""));
        told.next().unwrap()
    };
    assert!(of_series(&lasting).contains("<strong>still so</strong>"));
    let feed = |model: &SiteModel| crate::data::text(&Site::of(model), "feeds/all.xml");
    let told = feed(&lasting);
    let night = lasting.confirmed[0].started;
    assert!(
        told.contains(&format!("<published>{night}</published>")),
        "{told}"
    );
    // Mended: Tonight is quiet again, and what was told stays told, by the same id.
    let mended = levels::used_to(7);
    assert!(!index(&mended).contains("h-standing"));
    assert!(of_series(&mended).contains("over: the level is back"));
    assert!(feed(&mended).contains(&format!("<published>{night}</published>")));
    let ids = |feed: &str| -> Vec<String> {
        let ids = feed.split("<id>").skip(2);
        ids.map(|id| id.split("</id>").next().unwrap().to_owned())
            .collect()
    };
    assert!(ids(&feed(&mended)).iter().any(|id| ids(&told).contains(id)));
    // Accepted: nobody is told any more.
    let mut accepted = levels::used_to(10);
    for history in &mut accepted.histories {
        history.marks = vec![assay_verdicts::Mark {
            kind: assay_verdicts::MarkKind::Acknowledge {
                at: lasting.confirmed[0].night.to_string(),
            },
            case: "*".into(),
            metric: None,
            reason: "known".into(),
        }];
    }
    assert!(!index(&accepted).contains("h-standing"));
    let told = of_series(&accepted);
    let said = "accepted, <bdi>acknowledged: known</bdi>, from the run of <a href=";
    assert!(told.contains(said), "{told}");
    assert!(!feed(&accepted).contains("<published>"));
}

#[test]
fn a_night_says_what_lasts_where_it_was() {
    let model = levels::lasting(9);
    let site = Site::of(&model);
    let pages = site.pages();
    let first = &pages["index.html"];
    assert!(first.contains("1 got worse to stay in the history over 1 night."));
    assert!(first.contains("Worse to stay, not confirmed"));
    assert!(first.contains("<td class=\"num hot\">1 <span class=\"sub\">1 to stay</span></td>"));
    // Of its two comparisons one is unchanged, and the other no longer open.
    assert!(
        first.contains("<br>1 regressed, 1 unchanged</span>"),
        "{first}"
    );
    assert!(!first.contains("lead calm"));
    for name in ["index.html", "suites.html", "machines.html"] {
        assert!(
            pages[name].contains("</span> worse to stay</span>"),
            "{name}"
        );
        assert!(
            !pages[name].contains("</span> inconclusive</span>"),
            "{name}"
        );
    }
    let kernels = page(&model, "suites/kernels");
    assert!(kernels.contains("The level of 1 series changed to stay, 1 for the worse"));
    assert!(kernels.contains("</span> worse to stay</span>"));
    let json = crate::data::text(&site, "index.json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let night = &json["nights"][0];
    assert_eq!(night["state"], "worse_to_stay");
    assert_eq!(night["lasting"]["worse"], 1);
    let badge = crate::data::text(&site, "badges/all.svg");
    assert!(badge.contains("1 worse to stay"), "{badge}");
    // Too long ago to be news: the night speaks for itself again.
    let mut old = levels::lasting(9);
    for history in &mut old.histories {
        history.changes.clear();
    }
    assert!(index(&old).contains("</span> inconclusive</span>"));
}

#[test]
fn what_got_better_to_stay_pushes_nothing_worse_off_the_page() {
    let model = levels::mostly_better(14);
    let page = index(&model);
    assert!(page.contains("1 got worse to stay in the history, 14 got better to stay"));
    let order = places(
        &page,
        &[
            "id=\"h-lasting\"",
            "<bdi>reduce/sum[dtype=f32,n=2^20]@cpu</bdi>",
            "id=\"h-lasting-better\"",
            "<bdi>better/0@cpu</bdi>",
            "And 2 more, with smaller effects",
        ],
    );
    assert!(order.is_sorted(), "{order:?}");
    // By its history, though the night says that it cannot tell, or that it is unchanged.
    let kernels = self::page(&model, "suites/kernels").replace("<wbr>", "");
    let row = &kernels[places(&kernels, &["<bdi>reduce/sum"])[0]..];
    let row = &row[..row.find("</tr>").unwrap()];
    assert!(row.contains("</span> worse to stay</span>"), "{row}");
    assert!(row.contains("<strong>+20."), "{row}");
}

#[test]
fn a_case_that_lasts_is_counted_once() {
    let mut model = levels::lasting(9);
    let gate = &mut model.nights[0].gate;
    gate.comparison.cases[0].verdict = Verdict::Unchanged;
    gate.comparison.suite.counts.inconclusive = 0;
    gate.comparison.suite.counts.unchanged = 2;
    let page = index(&model);
    assert!(
        page.contains("<br>1 regressed, 1 unchanged</span>"),
        "{page}"
    );
}

/// Who has read an entry does not look at it again.
#[test]
fn what_a_later_night_confirms_is_an_entry_of_its_own() {
    let one = levels::used_to(10);
    let mut both = one.clone();
    let later = both
        .runs
        .iter()
        .find(|row| row.run > one.confirmed[0].night);
    let later = later.unwrap().clone();
    let mut case = one.confirmed[0].clone();
    (case.night, case.started) = (later.run.clone(), later.started);
    case.case.case = "sort/radix[n=2^16]@cpu".into();
    both.confirmed.push(case);
    // What is confirmed again is told once.
    let again = Confirmed {
        night: later.run,
        started: later.started,
        ..one.confirmed[0].clone()
    };
    both.confirmed.push(again);
    let entries = |model: &SiteModel| -> Vec<String> {
        let feed = crate::data::text(&Site::of(model), "feeds/all.xml");
        feed.split("<entry>").skip(1).map(str::to_owned).collect()
    };
    let (first, all) = (entries(&one), entries(&both));
    assert_eq!((first.len(), all.len()), (1, 2), "{all:?}");
    assert_eq!(all[1], first[0], "it is as it was");
    let told = format!("<published>{}</published>", later.started);
    assert!(
        all[0].contains(&told) && all[0].contains("sort/radix"),
        "{all:?}"
    );
    assert!(!all[0].contains("reduce/sum"), "{all:?}");
}

/// The run with which what lasts began.
fn began(model: &SiteModel) -> (SeriesKey, RunId) {
    let changed = model.histories.iter().find(|of| !of.changes.is_empty());
    let series = &changed.unwrap().series;
    let at = changed.unwrap().changes[0].index;
    (series.key.clone(), series.points[at].run.clone())
}

#[test]
fn what_gates_settled_is_told_by_them_alone() {
    let told = |model: &SiteModel| {
        let site = Site::of(model);
        let first = site.pages()["index.html"].clone();
        let feed = crate::data::text(&site, "feeds/all.xml");
        let is_told = [
            first.contains("to stay"),
            crate::data::text(&site, "badges/all.svg").contains("to stay"),
            feed.contains("<entry>"),
        ];
        assert_eq!(is_told, [is_told[0]; 3], "{first}");
        is_told[0]
    };
    let mut model = levels::lasting(9);
    let (key, run) = began(&model);
    // What was run again once, of another case.
    let mut again = model.runs[3].clone();
    again.purpose = Purpose::Confirmation {
        of: again.run.clone(),
    };
    again.run = RunId::new(again.started, b"again");
    model.summaries.push(RunSummary {
        run: again.clone(),
        cases: Vec::new(),
        events: Vec::new(),
    });
    model.runs.push(again);
    assert!(told(&model));
    let other = model.runs[2].run.clone();
    model.settled = [(key.clone(), [other].into())].into();
    assert!(told(&model));
    model.settled = [(key, [run].into())].into();
    assert!(!told(&model));
}

#[test]
fn what_lasts_and_was_confirmed_is_told_once() {
    let model = levels::used_to(10);
    let series = model.histories.iter().map(|one| one.series.clone());
    let histories = crate::build::histories(series.collect(), &Marks::default());
    let model = SiteModel { histories, ..model };
    let night = &model.confirmed[0].night;
    assert_eq!(began(&model).1, *night, "the history shows it, too");
    let site = Site::of(&model);
    let first = &site.pages()["index.html"];
    assert!(first.contains("id=\"h-standing\"") && !first.contains("to stay"));
    let feed = crate::data::text(&site, "feeds/all.xml");
    assert_eq!(feed.matches("<entry>").count(), 1, "{feed}");
    // Without it, the history tells.
    let alone = SiteModel {
        confirmed: Vec::new(),
        ..model
    };
    assert!(index(&alone).contains("1 got worse to stay in the history"));
}

#[test]
fn what_stands_has_the_form_of_what_is_new() {
    let mut model = levels::used_to(10);
    let mut list = standing(&model);
    let known = &model.confirmed[0];
    let run_before = model.runs.iter().rfind(|row| row.run < known.night);
    let ends = [&run_before.unwrap().run, &known.night];
    let [after, with] = ends.map(|run| format!("href=\"runs/{run}.html\""));
    let range = ["after", &after, ", with", &with, "at the latest"];
    let form = ["<svg class=\"chart small bad\"", "still regressed"];
    for part in range.iter().chain(&form) {
        assert!(list.contains(part), "{part}: {list}");
    }
    assert!(
        list.contains("<span class=\"sub\">(at first +21.0 %"),
        "{list}"
    );
    // What was started otherwise where it began.
    let changed = |at: usize, word: &str| Step {
        run: model.runs[at].run.clone(),
        differences: vec![format!("The variable {word} was set.")],
    };
    let steps = vec![
        changed(9, "EARLY"),
        changed(10, "THEN"),
        changed(11, "LATE"),
    ];
    model.nights[0].arm_steps = steps;
    list = standing(&model);
    assert!(list.contains("The variable THEN was set."), "{list}");
    assert!(!list.contains("EARLY") && !list.contains("LATE"), "{list}");
    // Where the series does not tell, what is known of its beginning is said.
    for history in &mut model.histories {
        for point in &mut history.series.points {
            point.estimate = crate::build::interval(1.0, 0.1);
        }
    }
    for row in &mut model.runs {
        row.commit = None;
    }
    list = standing(&model);
    assert!(list.contains("after the run of <a href="), "{list}");
    let reference = model.confirmed[0].reference.as_ref().unwrap();
    assert!(list.contains(reference.as_str()), "{list}");
    assert!(list.contains("Where it began is not known"), "{list}");
}

/// What the first page says of what was confirmed before.
fn standing(model: &SiteModel) -> String {
    let page = index(model);
    let list = &page[places(&page, &["id=\"h-standing\""])[0]..];
    list[..list.find("</section>").unwrap()].to_owned()
}

#[test]
fn what_got_worse_long_ago_is_counted_and_is_no_news() {
    let lately = index(&with_later_run(levels::lasting(9), 3));
    assert!(lately.contains("1 got worse to stay in the history"));
    let model = with_later_run(levels::lasting(9), 10);
    let page = index(&model);
    let lead = "Nothing new is known to have changed over 1 night. 1 that got worse to stay before is still so.";
    assert!(page.contains(lead), "{page}");
    let group = &page[places(&page, &["id=\"h-lasting\""])[0]..];
    let said = "One that got worse more than 14 days before the newest run is still so";
    assert!(group.contains(said), "{group}");
    assert!(!page.contains("class=\"finding\"") && !page.contains("</span> worse to stay"));
    // Which gates settled, too.
    let settled = [began(&model)].map(|(key, run)| (key, [run].into())).into();
    assert!(!index(&SiteModel { settled, ..model }).contains("still so"));
}
