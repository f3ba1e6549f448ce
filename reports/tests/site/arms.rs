//! What is said of arms: of those that have nights of their own, and of those that no night judges.

use assay_verdicts::CaseState;

use crate::Site;
use crate::fixture::nights::{self, arms};
use crate::tonight::{index, json_of, page, places};

#[test]
fn arms_of_a_suite_have_nights_of_their_own() {
    let site = Site::of(&arms::judged());
    let pages = site.pages();
    let first = &pages["index.html"];
    assert!(first.contains("1 regressed over 2 nights."), "{first}");
    for name in ["index.html", "suites.html", "machines.html"] {
        for arm in ["main", "two"] {
            let said = format!("</a>, arm <bdi>{arm}</bdi>");
            assert!(pages[name].contains(&said), "{name} {arm}");
        }
    }
    let of_arm = |arm: &str| {
        let crumb = format!("</a>, arm <bdi>{arm}</bdi></p>");
        let series = pages.iter().filter(|(name, _)| name.starts_with("series/"));
        series.filter(|(_, page)| page.contains(&crumb)).count()
    };
    assert_eq!(of_arm("main"), of_arm("two"));
    let kernels = page(&arms::judged(), "suites/kernels");
    assert!(kernels.contains("<span class=\"mark\">arm <bdi>main</bdi></span>"));
    let json = json_of(&site);
    let entry = |at: usize| {
        let night = &json["nights"][at];
        (night["arm"].clone(), night["counts"]["regressed"].clone())
    };
    assert_eq!(entry(0), ("main".into(), 0.into()));
    assert_eq!(entry(1), ("two".into(), 1.into()));
    let feed = crate::data::text(&site, "feeds/all.xml");
    assert!(
        feed.contains("kernels: 1 regressed on lab-2, arm two"),
        "{feed}"
    );
    let badge = crate::data::text(&site, "badges/all.svg");
    assert!(badge.contains("1 regressed"), "{badge}");
    // Where there is one, nobody needs its name.
    let one = index(&nights::quiet());
    assert!(!one.contains(", arm "), "{one}");
}

#[test]
fn what_fails_on_an_arm_that_no_night_judges_is_told() {
    let mut model = arms::beside("main");
    for series in &mut model.histories {
        series.changes.clear();
    }
    let newest = model.summaries.last_mut().unwrap();
    let case = newest.cases.last_mut().unwrap();
    case.state = CaseState::Failed("signal 11".into());
    let site = Site::of(&model);
    let pages = site.pages();
    let first = &pages["index.html"];
    assert!(!first.contains("lead calm"));
    assert!(first.contains("1 failed or gave no right output over 1 night."));
    let list = &first[places(first, &["id=\"h-failures\""])[0]..];
    assert!(list.contains(", arm <bdi>two</bdi><p class=\"reason\"><bdi>signal 11</bdi>"));
    for name in ["index.html", "suites.html", "machines.html"] {
        assert!(pages[name].contains("</span> failed</span>"), "{name}");
    }
    assert!(page(&model, "suites/kernels").contains("</span> failed</span>"));
    let badge = crate::data::text(&site, "badges/all.svg");
    assert!(badge.contains("1 failed"), "{badge}");
    let feed = crate::data::text(&site, "feeds/all.xml");
    assert!(
        feed.contains("kernels: 1 failed on lab-2, arm two"),
        "{feed}"
    );
    let arm = &json_of(&site)["unjudged"][0];
    assert_eq!(arm["arm"], "two", "{arm}");
    assert_eq!(
        (&arm["state"], &arm["failed"]),
        (&"troubled".into(), &1.into())
    );
}

#[test]
fn what_lasts_on_an_arm_that_no_night_judges_is_told() {
    for first in ["main", "one"] {
        let model = arms::beside(first);
        let site = Site::of(&model);
        let page = &site.pages()["index.html"];
        let lead = match first {
            "main" => "1 got worse to stay in the history over 1 night.",
            _ => {
                "No night is judged: runs of several arms, none of which is `main`, are compared by arm. 1 got worse to stay in the history in the newest runs."
            }
        };
        assert!(page.contains(lead), "{page}");
        assert!(!page.contains("lead calm"));
        let group = &page[places(page, &["id=\"h-arms\""])[0]..];
        assert!(group.contains("<strong>+45."), "{group}");
        assert!(page.contains("</span> worse to stay</span>"));
        let kernels = self::page(&model, "suites/kernels");
        assert!(kernels.contains("</span> worse to stay</span>"));
        let badge = crate::data::text(&site, "badges/all.svg");
        assert!(badge.contains("1 worse to stay"), "{badge}");
        let feed = crate::data::text(&site, "feeds/all.xml");
        let told = "kernels: 1 worse to stay in the history on lab-2, arm two";
        assert!(feed.contains(told), "{feed}");
    }
}
