//! What the first page says of nights, and that it stays small; what suites and comparisons say.

use assay_reports::SiteModel;
use assay_verdicts::gate::State;
use assay_verdicts::{CaseState, Confirmed, Trouble, TroubleKind, Verdict};

use crate::Site;
use crate::build::run;
use crate::fixture::{model, nights};

fn index(model: &SiteModel) -> String {
    Site::of(model).pages()["index.html"].clone()
}

/// The only page whose path starts so.
fn page(model: &SiteModel, start: &str) -> String {
    let pages = Site::of(model).pages();
    let mut found = pages
        .into_iter()
        .filter(|(name, _)| name.starts_with(start));
    found.next().map(|(_, page)| page).unwrap_or_default()
}

/// Places of texts in a page, which has each.
fn places(page: &str, texts: &[&str]) -> Vec<usize> {
    let place = |text: &&str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    texts.iter().map(place).collect()
}

#[test]
fn a_quiet_night_looks_quiet() {
    let page = index(&nights::quiet());
    assert!(page.contains("Nothing is known to have changed over 1 night."));
    for loud in [
        "class=\"finding\"",
        "attention",
        "badge bad",
        "badge warn",
        "num hot",
        "num warm",
    ] {
        assert!(!page.contains(loud), "{loud}");
    }
    let loud = index(&model());
    for part in [
        "class=\"finding\"",
        "class=\"attention\"",
        "badge bad",
        "num hot",
    ] {
        assert!(loud.contains(part), "{part}");
    }
}

#[test]
fn what_was_confirmed_stays_until_it_is_mended_or_accepted() {
    let lasting = nights::used_to(10);
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
    let mended = nights::used_to(7);
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
    let mut accepted = nights::used_to(10);
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
    let model = nights::lasting(9);
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
    let mut old = nights::lasting(9);
    for history in &mut old.histories {
        history.changes.clear();
    }
    assert!(index(&old).contains("</span> inconclusive</span>"));
}

fn json_of(site: &Site) -> serde_json::Value {
    serde_json::from_str(&crate::data::text(site, "index.json")).unwrap()
}

#[test]
fn a_part_that_is_run_again_takes_nothing_off_the_site() {
    let site = Site::of(&nights::again());
    let pages = site.pages();
    let first = &pages["index.html"];
    assert!(
        first.contains("1 regressed, 1 failed or gave no right output, 1 improved over 1 night."),
        "{first}"
    );
    assert!(
        first.contains("a part of the suite was run again: 1 of 6 cases"),
        "{first}"
    );
    assert!(first.contains("<br>5 as of <a href=\"runs/"), "{first}");
    assert!(first.contains(nights::FAILING), "{first}");
    let json = json_of(&site);
    let night = &json["nights"][0];
    assert_eq!(json["nights"].as_array().unwrap().len(), 1);
    assert_eq!(night["state"], "troubled");
    let parts = night["parts"].as_array().unwrap();
    assert_eq!(
        (&parts[0]["cases"], &parts[1]["cases"]),
        (&1.into(), &5.into())
    );
    assert_eq!(night["run"], parts[0]["run"]);
    let counts = &night["counts"];
    for (kind, count) in [
        ("failed", 1),
        ("wrong", 0),
        ("skipped", 0),
        ("regressed", 1),
    ] {
        assert_eq!(counts[kind], count, "{counts}");
    }
    // What was run again counts once: as it is now.
    assert_eq!(counts["unchanged"], 2, "{counts}");
    let feed = crate::data::text(&site, "feeds/all.xml");
    assert!(feed.contains("kernels: 1 failed on lab-2"), "{feed}");
    assert!(feed.contains("kernels: 1 regressed on lab-2"), "{feed}");
    let badge = crate::data::text(&site, "badges/all.svg");
    assert!(badge.contains("1 failed"), "{badge}");
    let kernels = page(&nights::again(), "suites/kernels");
    assert!(
        kernels.contains("<p class=\"note\">5 as of <a href=\"../runs/"),
        "{kernels}"
    );
    // Each series has the verdict of the run that measured it last.
    let said = |case: &str| {
        let of_case = |(name, page): (&String, &String)| {
            let is_it = name.starts_with("series/") && page.contains(case);
            is_it.then(|| page[places(page, &["id=\"h-verdict\""])[0]..].to_owned())
        };
        pages.iter().find_map(of_case).unwrap()
    };
    assert!(said("softmax").contains("The same."));
    assert!(said("radix").contains("Confirmed; faster"));
}

#[test]
fn arms_of_a_suite_have_nights_of_their_own() {
    let site = Site::of(&nights::arms());
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
    let kernels = page(&nights::arms(), "suites/kernels");
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
fn what_failed_has_one_line_and_the_rest_folded() {
    let mut model = nights::quiet();
    let gate = &mut model.nights[0].gate;
    gate.comparison.cases[0].trouble = Some(Trouble {
        kind: TroubleKind::Failed,
        why: "the command ended with exit code 1:\nTraceback\nValueError: no".into(),
    });
    // Its further metrics failed with it.
    let again = gate.comparison.cases[0].clone();
    gate.comparison.cases.push(again);
    gate.comparison.suite.counts.troubled = 1;
    gate.state = State::Troubled;
    let page = index(&model);
    let list = &page[places(&page, &["id=\"h-failures\""])[0]..];
    let list = &list[..list.find("</ul>").unwrap()];
    assert_eq!(list.matches("<li>").count(), 1, "{list}");
    let order = places(
        list,
        &[
            "<summary class=\"reason\"><bdi>failed: the command ended with exit code 1:</bdi>",
            "ValueError: no",
        ],
    );
    assert!(order.is_sorted());
    // Error output in the same line is folded, too.
    let trouble = model.nights[0].gate.comparison.cases[0].trouble.as_mut();
    trouble.unwrap().why = "`sh` exited with code 1; its standard error: no title".into();
    let page = index(&model);
    let folded = "<bdi>failed: `sh` exited with code 1</bdi></summary><pre class=\"log\"";
    assert!(page.contains(folded), "{page}");
}

#[test]
fn runs_without_a_right_result_stand_in_the_history() {
    let mut model = nights::quiet();
    let history = model.histories.iter().find(|history| {
        let key = &history.series.key;
        key.case.starts_with("reduce/sum") && key.metric == "time"
    });
    let series = history.unwrap().series.clone();
    let missed = |at: usize, later_ns: i64, state| {
        let point = &series.points[at];
        let started = point.started.unix_ns() + later_ns;
        let started = assay_record::Timestamp::from_unix_ns(started).unwrap();
        assay_verdicts::Missed {
            run: assay_record::RunId::new(started, b"missed"),
            started,
            commit: None,
            dirty: false,
            state,
        }
    };
    let hour_ns = 3_600_000_000_000;
    let failed = CaseState::Failed("signal 11".into());
    model.missed.add(&series.key, missed(4, hour_ns, failed));
    let skipped = CaseState::Skipped("no memory".into());
    model.missed.add(&series.key, missed(19, hour_ns, skipped));
    let page = page(&model, "series/reduce-sum");
    let order = places(
        &page,
        &[
            "class=\"missed bad\"",
            "<title>Failed in the run of ",
            "<title>Skipped in the run of ",
            "a cross stands for a run in which it failed",
            // The table has the latest first.
            "</span> skipped</span><span class=\"sub\"><bdi>no memory</bdi></span>",
            "</span> failed</span><span class=\"sub\"><bdi>signal 11</bdi></span>",
        ],
    );
    assert!(order.is_sorted(), "{order:?}");
    let quiet = self::page(&nights::quiet(), "series/reduce-sum");
    assert!(!quiet.contains("missed bad") && !quiet.contains("a cross stands"));
}

#[test]
fn regressions_come_before_failures_and_improvements_after_them() {
    let order = places(
        &index(&model()),
        &[
            "id=\"h-regressed\"",
            "id=\"h-suspected\"",
            "id=\"h-failures\"",
            "id=\"h-improved\"",
            "id=\"h-machines\"",
        ],
    );
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn what_was_confirmed_is_told_from_what_is_suspected() {
    let page = index(&model());
    assert!(page.contains("1 regressed, 1 may have changed, 2 failed or gave no right output, 1 improved over 3 nights."));
    assert!(page.contains("<span class=\"sub\">confirmed</span>"));
    assert!(page.contains("and 1 known"));
}

#[test]
fn the_largest_effects_come_first_and_the_page_stays_small() {
    let size = |cases| index(&nights::stormy(cases)).len();
    let page = index(&nights::stormy(400));
    let order = places(&page, &["case/399@cpu", "case/398@cpu", "case/390@cpu"]);
    assert!(order.is_sorted(), "{order:?}");
    assert!(!page.contains("case/100@cpu") && page.contains("And 388 more"));
    assert!(
        size(4_000) < size(400) + 100,
        "{} and {}",
        size(4_000),
        size(400)
    );
}

/// Each state of a night in a word of its own.
#[test]
fn every_state_has_its_words() {
    let states = [
        (State::Troubled, "failed"),
        (State::Impossible, "impossible"),
        (State::Regressed, "regressed"),
        (State::NotMeasured, "nothing measured"),
        (State::NoBaseline, "no baseline yet"),
        (State::Suspected, "suspected"),
        (State::Moved, "moved"),
        (State::Improved, "improved"),
        (State::Inconclusive, "inconclusive"),
        (State::Known, "known"),
        (State::Unchanged, "unchanged"),
    ];
    for (state, word) in states {
        let mut model = nights::quiet();
        model.nights[0].gate.state = state;
        let site = Site::of(&model).pages();
        for name in ["index.html", "suites.html", "machines.html"] {
            let badge = format!("</span> {word}</span>");
            assert!(site[name].contains(&badge), "{name}: {word}");
        }
    }
}

/// Another run of another machine, so many days after the newest of the fixture's quiet night.
fn later(days: u32) -> SiteModel {
    let mut model = nights::quiet();
    model.nights[0].gate.state = State::Regressed;
    let newest = model.runs.iter().map(|row| row.started).max().unwrap();
    let mut row = run(0, "other", "busy");
    let later_ns = newest.unix_ns() + i64::from(days) * 86_400_000_000_000;
    row.started = assay_record::Timestamp::from_unix_ns(later_ns).unwrap();
    row.run = assay_record::RunId::new(row.started, b"busy");
    model.summaries.push(assay_verdicts::RunSummary {
        run: row.clone(),
        cases: Vec::new(),
        events: Vec::new(),
    });
    model.runs.push(row);
    model
}

#[test]
fn a_machine_that_stopped_leaves_the_front_page() {
    let lately = index(&later(14));
    assert!(
        lately.contains("last run 14 days ago"),
        "it says how long ago"
    );
    assert!(!lately.contains("id=\"h-old\""));
    let stopped = index(&later(15));
    let order = places(
        &stopped,
        &[
            "id=\"h-old\"",
            "more than 14 days older",
            ">15 days ago</a>",
        ],
    );
    assert!(order.is_sorted(), "{order:?}");
    assert!(stopped.contains("<p class=\"lead calm\">No suite has had a whole night lately."));
    assert!(!stopped.contains("class=\"nights\"") && !stopped.contains("class=\"finding\""));
    // Its own pages still say what it found.
    let site = Site::of(&later(400)).pages();
    assert!(site["machines.html"].contains("</span> regressed</span>"));
    let badge = String::from_utf8(Site::of(&later(15)).files()["badges/all.svg"].clone()).unwrap();
    assert!(badge.contains("no recent night"), "{badge}");
}

#[test]
fn an_effect_is_the_confirmed_one_with_the_first_beside_it() {
    let page = index(&model());
    assert!(page.contains("<strong>+8.1 %</strong> <span class=\"pm range\">+7.2 to +9.0 %</span> <span class=\"sub\">(at first +8.3 %, +7.6 to +9.1 %)</span>"));
    let kernels = self::page(&model(), "suites/kernels");
    assert!(kernels.contains("at first +8.3 %, +7.6 to +9.1 %"));
}

#[test]
fn what_is_impossible_is_called_so() {
    let mut model = nights::quiet();
    let gate = &mut model.nights[0].gate;
    gate.comparison.cases[0].trouble = Some(Trouble {
        kind: TroubleKind::Impossible,
        why: "9e13 B/s is beyond what `dram` gives here".into(),
    });
    gate.comparison.suite.counts.impossible = 1;
    gate.state = State::Impossible;
    let page = index(&model);
    assert!(page.contains("</span> impossible</span>") && page.contains("and 1 impossible"));
    assert!(page.contains("impossible: 9e13 B/s is beyond what `dram` gives here"));
    assert!(!page.contains("id=\"h-improved\""));
    let badge = String::from_utf8(Site::of(&model).files()["badges/all.svg"].clone()).unwrap();
    assert!(badge.contains("1 impossible"), "{badge}");
}

#[test]
fn a_series_says_what_the_night_says_of_it() {
    let pages = Site::of(&model()).pages();
    // Of its two machines, and of time and memory.
    let of = |start: &str, word: &str| {
        let own = pages.iter().filter(|(name, page)| {
            let says = page.split("id=\"h-verdict\"").nth(1);
            name.starts_with(start) && says.is_some_and(|says| says.contains(word))
        });
        own.map(|(_, page)| page.clone()).next().unwrap_or_default()
    };
    let sum = of("series/reduce-sum", "at first +8.3 %");
    let order = places(
        &sum,
        &[
            "id=\"h-verdict\"",
            "</span> regressed</span>",
            "+8.1 %",
            "at first +8.3 %",
            "Confirmed by run ",
            "The night of ",
            "id=\"h-history\"",
        ],
    );
    assert!(order.is_sorted(), "{order:?}");
    // A case that failed has no point of this night, and one that is known has its mark.
    let gemm = page(&model(), "series/linalg-gemm");
    assert!(
        gemm.contains("Failed: worker ended with signal 11"),
        "{gemm}"
    );
    assert!(!of("series/scan", "</span> known</span>").is_empty());
    // An older definition is judged by no night.
    let without = pages.iter().filter(|(name, page)| {
        name.starts_with("series/memory-triad-dtype-f32-elements-2-10")
            && !page.contains("h-verdict")
    });
    assert!(without.count() >= 1);
}

#[test]
fn gpus_and_drivers_are_laid_out_in_a_table() {
    let page = page(&model(), "compare/kernels-gpu-driver");
    let order = places(
        &page,
        &[
            "id=\"h-cross\"",
            "<bdi>570.86.10</bdi></th>",
            "<bdi>580.82.07</bdi></th>",
            "<bdi>NVIDIA H100</bdi></th><td class=\"num\"><span class=\"letter\">A</span> baseline</td>",
            "<span class=\"letter\">B</span> <strong>-1.3 %</strong>",
            "not measured",
            "id=\"h-whole\"",
        ],
    );
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn what_moved_though_nothing_was_changed_is_said_first() {
    let mut model = model();
    model.nights = vec![nights::moved()];
    let page = index(&model);
    assert!(page.contains("Moved, though what was started is the same on both sides: "));
    assert!(page.contains("The suite moved together, 4 of 5 cases"));
}

#[test]
fn a_suite_lists_what_was_measured_and_what_was_not() {
    let kernels = page(&model(), "suites/kernels");
    assert!(kernels.contains(
        "± 1.0</span> <span class=\"unit\">%</span></data> <span class=\"unit\">of dram</span>"
    ));
    assert!(
        kernels.contains("class=\"series sortable\"") && kernels.contains("data-value=\"1.08100\"")
    );
    let smoke = page(&model(), "suites/smoke").replace("<wbr>", "");
    assert!(smoke.contains("memory/triad[dtype=f32,elements=2^24]@cuda"));
    assert!(smoke.contains("no CUDA driver on this machine"));
    assert!(smoke.contains("worker ended with signal 11"));
}

#[test]
fn a_comparison_says_what_differs_before_any_number() {
    for start in ["compare/kernels-night", "compare/kernels-machine"] {
        let page = page(&model(), start);
        let order = places(
            &page,
            &[
                "The NVIDIA driver was 570.86.10",
                "-2.4 to -0.2 %",
                "+7.2 to +9.0 %",
            ],
        );
        assert!(
            order[0] < order[1] && order[0] < order[2],
            "{start}: {order:?}"
        );
    }
}

#[test]
fn comparisons_keep_their_addresses() {
    let names: Vec<String> = Site::of(&model()).pages().into_keys().collect();
    for name in [
        "compare/kernels-machine-2bd3e793adaf.html",
        "compare/kernels-night-aaa905cdbfd2.html",
        "suites/kernels-e98f56f907c4.html",
    ] {
        assert!(names.iter().any(|own| own == name), "{name}");
    }
}

#[test]
fn what_got_better_to_stay_pushes_nothing_worse_off_the_page() {
    let model = nights::mostly_better(14);
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
    let mut model = nights::lasting(9);
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

#[test]
fn what_fails_on_an_arm_that_no_night_judges_is_told() {
    let mut model = nights::beside("main");
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
        let model = nights::beside(first);
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

/// Who has read an entry does not look at it again.
#[test]
fn what_a_later_night_confirms_is_an_entry_of_its_own() {
    let one = nights::used_to(10);
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

#[test]
fn a_case_that_failed_is_listed_once() {
    let mut model = nights::quiet();
    let case = &model.nights[0].gate.comparison.cases[0].case.clone();
    model.nights[0].gate.comparison.cases[0].trouble = Some(Trouble {
        kind: TroubleKind::Failed,
        why: "signal 11".into(),
    });
    // Of a run that was ended after it.
    let mut ended = model.summaries.last().unwrap().clone();
    let later_ns = ended.run.started.unix_ns() + 1_000_000_000;
    ended.run.started = assay_record::Timestamp::from_unix_ns(later_ns).unwrap();
    ended.run.run = assay_record::RunId::new(ended.run.started, b"ended");
    ended.run.status = assay_record::RunStatus::Interrupted;
    for own in ended.cases.iter_mut().filter(|own| own.case.case == *case) {
        own.state = CaseState::Failed("signal 11".into());
    }
    model.runs.push(ended.run.clone());
    model.summaries.push(ended);
    let page = index(&model);
    assert!(page.contains("1 failed or gave no right output"), "{page}");
    assert_eq!(page.matches("signal 11").count(), 1, "{page}");
}

#[test]
fn a_run_of_a_time_to_come_makes_no_night_old() {
    let mut model = later(4_000);
    let night = model.nights[0].gate.run.clone();
    let night = model.runs.iter().find(|row| row.run == night).unwrap();
    model.newest_start = Some(night.started);
    let page = index(&model);
    assert!(!page.contains("id=\"h-old\"") && !page.contains("lead calm"));
    assert!(page.contains("</span> regressed</span>"), "{page}");
}

#[test]
fn what_is_not_known_of_a_comparison_is_said() {
    let mut model = model();
    for comparison in model.matrices.iter_mut().flat_map(|of| &mut of.comparisons) {
        for case in &mut comparison.cases {
            case.verdict = Verdict::Inconclusive;
        }
    }
    let page = page(&model, "compare/kernels-machine");
    for direction in ["better", "worse"] {
        let said = format!("<span class=\"none\">nothing is known to be {direction}</span>");
        assert!(page.contains(&said), "{page}");
    }
}

/// What a filter left out is as it was measured before.
#[test]
fn a_part_that_is_run_again_takes_no_kernel_off_the_roofline() {
    let kernels = |model: &SiteModel| {
        let page = page(model, "machines/lab-2");
        page.matches("in <bdi>kernels</bdi>").count()
    };
    let again = nights::again();
    assert_eq!(kernels(&again), kernels(&nights::quiet()));
    assert!(kernels(&again) > 1);
}
