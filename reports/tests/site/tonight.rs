//! What the first page says of nights, and that it stays small; what suites and comparisons say.

use assay_reports::{SiteModel, Step};
use assay_verdicts::gate::State;
use assay_verdicts::{CaseState, Trouble, TroubleKind};

use crate::Site;
use crate::build::run;
use crate::fixture::{model, nights};

pub fn index(model: &SiteModel) -> String {
    Site::of(model).pages()["index.html"].clone()
}

/// The only page whose path starts so.
pub fn page(model: &SiteModel, start: &str) -> String {
    let pages = Site::of(model).pages();
    let mut found = pages
        .into_iter()
        .filter(|(name, _)| name.starts_with(start));
    found.next().map(|(_, page)| page).unwrap_or_default()
}

/// Places of texts in a page, which has each.
pub fn places(page: &str, texts: &[&str]) -> Vec<usize> {
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

pub fn json_of(site: &Site) -> serde_json::Value {
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
    assert_eq!(list.matches("the command ended").count(), 1, "{list}");
    // Error output in the same line is folded, too.
    let trouble = model.nights[0].gate.comparison.cases[0].trouble.as_mut();
    trouble.unwrap().why = "`sh` exited with code 1; its standard error: no title".into();
    let page = index(&model);
    let folded = "<bdi>failed: `sh` exited with code 1</bdi></summary><pre class=\"log\"";
    assert!(page.contains(folded), "{page}");
    assert!(
        page.contains(">its standard error: no title</pre>"),
        "{page}"
    );
    // Of a line that is too long all is folded.
    let trouble = model.nights[0].gate.comparison.cases[0].trouble.as_mut();
    trouble.unwrap().why = format!("it said {}end", "much ".repeat(60));
    let page = index(&model);
    let whole = format!("failed: it said {}end</pre>", "much ".repeat(60));
    assert!(page.contains(&whole), "{page}");
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
    // Those in a row are one sign with their number beside it.
    assert!(!page.contains("\u{d7}</text>"));
    let mut model = nights::quiet();
    for hours in 1..4 {
        let failed = CaseState::Failed("signal 11".into());
        let own = missed(4, hours * hour_ns, failed);
        model.missed.add(&series.key, own);
    }
    let page = self::page(&model, "series/reduce-sum");
    assert_eq!(page.matches("class=\"missed bad\"").count(), 1, "{page}");
    assert!(page.contains(">3\u{d7}</text>"), "{page}");
}

#[test]
fn an_axis_says_that_it_does_not_start_at_zero_where_that_is_so() {
    let said = "The axis does not start at zero.";
    let mut model = nights::quiet();
    assert!(page(&model, "series/reduce-sum").contains(said));
    let series = model.histories.iter_mut().map(|of| &mut of.series);
    for series in series.filter(|series| series.key.case.starts_with("reduce/sum")) {
        series.points[0].estimate = crate::build::interval(1e3, 10.0);
    }
    assert!(!page(&model, "series/reduce-sum").contains(said));
}

#[test]
fn runs_of_one_minute_are_told_apart_by_their_seconds() {
    let mut model = nights::quiet();
    let last = model.runs.iter().max_by_key(|row| row.started).unwrap();
    let minute = last.started.minute();
    let minute = minute.trim_end_matches(" UTC");
    let (of_minute, of_second) = (format!(">{minute}</a>"), format!(">{minute}:"));
    let first = index(&model);
    assert!(first.contains(&of_minute) && !first.contains(&of_second));
    let mut again = last.clone();
    let later_ns = again.started.unix_ns() + 1_000_000_000;
    again.started = assay_record::Timestamp::from_unix_ns(later_ns).unwrap();
    again.run = assay_record::RunId::new(again.started, b"again");
    again.status = assay_record::RunStatus::Interrupted;
    model.summaries.push(assay_verdicts::RunSummary {
        run: again.clone(),
        cases: Vec::new(),
        events: Vec::new(),
    });
    model.runs.push(again);
    for (name, page) in Site::of(&model).pages() {
        if ["index.html", "suites/", "machines/", "series/"]
            .iter()
            .any(|start| name.starts_with(start))
        {
            assert!(!page.contains(&of_minute), "{name}");
            assert!(page.contains(&of_second), "{name}");
        }
    }
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

fn later(days: u32) -> SiteModel {
    let mut model = nights::quiet();
    model.nights[0].gate.state = State::Regressed;
    with_later_run(model, days)
}

/// With another run of another machine, so many days after the newest.
pub fn with_later_run(mut model: SiteModel, days: u32) -> SiteModel {
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

#[test]
fn a_case_says_with_how_many_runs_it_is_compared() {
    let mut model = model();
    let mut nights = model.nights.iter_mut();
    let night = nights.find(|night| night.gate.confirmation.is_some());
    let cases = &mut night.unwrap().gate.comparison.cases;
    let sort = cases
        .iter_mut()
        .find(|case| case.case.starts_with("sort/radix"));
    sort.unwrap().baseline_runs = Some(7);
    let pages = Site::of(&model).pages();
    let says = |start: &str, said: &str| {
        let own = |(name, page): (&String, &String)| name.starts_with(start) && page.contains(said);
        pages.iter().any(own)
    };
    let of = |runs: u32| format!("Across runs: {runs} runs in the baseline and 1 run in the");
    assert!(says("series/sort-radix", &of(7)));
    assert!(says("series/nn-softmax", &of(20)));
    let whole = "runs differ among themselves; 1 comparison has fewer of the baseline, as it says.";
    assert!(says("suites/kernels", whole));
}

#[test]
fn what_is_started_otherwise_is_told_with_what_changed_on_the_machine() {
    let mut model = model();
    let mut nights = model.nights.iter_mut();
    let night = nights.find(|night| night.gate.confirmation.is_some());
    let night = night.unwrap();
    let words = "The variable OMP_NUM_THREADS was set to another value.";
    night.arm_changes = vec![words.into()];
    night.arm_steps = vec![Step {
        run: night.steps[0].run.clone(),
        differences: vec![words.into()],
    }];
    let page = index(&model);
    let list = &page[places(&page, &["id=\"h-machines\""])[0]..];
    let told = format!("<li><bdi>Suite kernels: {words}</bdi></li>");
    assert!(list.contains(&told), "{list}");
    let kernels = self::page(&model, "suites/kernels");
    let told = format!(
        "Started otherwise than the night before</dt><dd><ul class=\"plain\"><li><bdi>{words}"
    );
    assert!(kernels.contains(&told), "{kernels}");
    let feed = crate::data::text(&Site::of(&model), "feeds/all.xml");
    assert!(feed.contains(words), "{feed}");
}
