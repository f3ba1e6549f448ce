//! What the first page says of nights, and that it stays small; what suites and comparisons say.

use assay_reports::SiteModel;
use assay_verdicts::gate::State;

use crate::Site;
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
    assert!(page.contains("1 regressed, 1 may have changed, 2 failed or gave a wrong output, 1 improved over 3 nights."));
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
    assert!(kernels.contains("75 % <span class=\"unit\">dram</span>"));
    assert!(
        kernels.contains("class=\"series sortable\"") && kernels.contains("data-value=\"1.08340\"")
    );
    let smoke = page(&model(), "suites/smoke");
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
                "+7.6 to +9.1 %",
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
