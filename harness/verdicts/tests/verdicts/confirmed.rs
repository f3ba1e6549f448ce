//! Where a change of a night began, and how long what was confirmed stands.

use assay_protocol::Metric;
use assay_record::{Record, RunId, Timestamp};
use assay_stats::Interval;
use assay_store::synthetic::Recipe;
use assay_verdicts::confirmed::standing;
use assay_verdicts::{CaseComparison, CaseHistory, Confirmed, Marks, Onset, Verdict, known};

use crate::summaries::store;

fn night(at: usize, slowdown: f64) -> Recipe {
    Recipe {
        night: at as u32,
        slowdown,
        kernel: if at < 9 { "6.1.0" } else { "6.2.0" }.into(),
        ..Recipe::default()
    }
}

fn run(at: usize) -> RunId {
    night(at, 1.0).run()
}

fn runs(range: std::ops::Range<usize>) -> Vec<RunId> {
    range.map(run).collect()
}

/// The history of a case of nights that were so slow.
fn history(slowdowns: &[f64], marks: &str) -> CaseHistory {
    let nights = slowdowns.iter().enumerate();
    let records: Vec<Record> = nights.map(|(at, slow)| night(at, *slow).record()).collect();
    let (store, _folder) = store(&records);
    let marks = Marks::parse(&format!("schema = 1\n{marks}")).unwrap();
    let case = &Recipe::default().case_ids()[1];
    let today = "2026-06-01".parse().unwrap();
    let mut all = CaseHistory::of_case(&store, case, &marks, today).unwrap();
    all.pop().unwrap()
}

/// So many nights at one level after another.
fn levels(parts: &[(usize, f64)]) -> Vec<f64> {
    let part = |(count, level): &(usize, f64)| vec![*level; *count];
    parts.iter().flat_map(part).collect()
}

fn ends(onset: &Onset) -> [usize; 2] {
    [onset.last_before.index, onset.first_after.index]
}

#[test]
fn confirmed_changes_began_between_the_last_old_and_the_first_new_run() {
    // A window that leaves out the two nights before the change.
    let series = history(&levels(&[(11, 1.0), (1, 1.2)]), "").series;
    let onset = Onset::of(&series, &runs(0..9), &run(11)).unwrap();
    assert_eq!(ends(&onset), [10, 11]);
    assert!((onset.step / 1.2 - 1.0).abs() < 0.02, "{onset:?}");
    // The kernel changed before night 9, which is no part of it.
    assert!(onset.machine.is_empty(), "{onset:?}");
    // A later night, whose window ends with the culprit.
    let series = history(&levels(&[(11, 1.0), (5, 1.2)]), "").series;
    let onset = Onset::of(&series, &runs(0..13), &run(15)).unwrap();
    assert_eq!(ends(&onset), [10, 11]);
    // The window's level is an older one: the step is that of the place, not the effect against the window.
    let series = history(&levels(&[(4, 1.0), (7, 1.12), (1, 1.34)]), "").series;
    let onset = Onset::of(&series, &runs(0..4), &run(11)).unwrap();
    assert!((onset.step / (1.34 / 1.12) - 1.0).abs() < 0.02, "{onset:?}");
}

#[test]
fn confirmed_changes_within_the_noise_begin_nowhere() {
    let noisy = [1.0, 1.06, 0.95, 1.05, 0.96, 1.03, 0.97, 1.04, 0.98, 1.06];
    let series = history(&noisy, "").series;
    assert_eq!(Onset::of(&series, &runs(0..8), &run(9)), None);
}

fn confirmed(at: usize, baseline: std::ops::Range<usize>, ratio: f64) -> Confirmed {
    let interval = Interval {
        estimate: ratio,
        low: ratio - 0.01,
        high: ratio + 0.01,
        confidence: 0.95,
    };
    Confirmed {
        night: run(at),
        started: Timestamp::now(),
        suite: Recipe::default().suite,
        machine: Recipe::default().machine,
        arm: "main".into(),
        case: CaseComparison {
            case: Recipe::default().case_ids()[1].clone(),
            metric: Metric::time(),
            verdict: Verdict::Regressed,
            suspect: true,
            ratio: Some(interval),
            at_first: Some(interval),
            relative: None,
            margin: 0.03,
            p_value: None,
            adjusted: None,
            trouble: None,
            mark: None,
            remark: None,
            since: None,
            still: None,
            baseline_runs: None,
            note: "confirmed".into(),
        },
        baseline: runs(baseline),
        reference: None,
        is_common: false,
        is_excused: false,
        part_of: None,
    }
}

/// Nights since which and on which something was confirmed that stands.
fn stands(all: &[Confirmed], slowdowns: &[f64], marks: &str) -> Option<[RunId; 2]> {
    let history = history(slowdowns, marks);
    let found = standing(all, [&history]);
    assert!(found.len() <= 1);
    found
        .first()
        .map(|one| [one.first.night.clone(), one.last.night.clone()])
}

#[test]
fn confirmed_regressions_stand_until_their_level_is_back() {
    let found = [confirmed(8, 0..6, 1.2)];
    let since = Some([run(8), run(8)]);
    // On that night, and after so many nights that every window has got used to it.
    for nights in [1, 2, 5, 30] {
        let slow = levels(&[(8, 1.0), (nights, 1.2)]);
        assert_eq!(stands(&found, &slow, ""), since, "{nights}");
    }
    // One night that looks mended among slow ones is none.
    let odd = levels(&[(8, 1.0), (6, 1.2), (1, 1.0)]);
    assert_eq!(stands(&found, &odd, ""), since);
    for back in [2, 3, 9] {
        let mended = levels(&[(8, 1.0), (6, 1.2), (back, 1.0)]);
        assert_eq!(stands(&found, &mended, ""), None, "{back}");
    }
    // Mended at once.
    assert_eq!(
        stands(&found, &levels(&[(8, 1.0), (1, 1.2), (1, 1.0)]), ""),
        None
    );
}

#[test]
fn confirmed_regressions_begin_where_their_series_tells_or_after_what_surely_was_old() {
    let noisy = [1.0, 1.06, 0.95, 1.05, 0.96, 1.03, 0.97, 1.04, 0.98, 1.06];
    let alone = confirmed(9, 0..8, 1.06);
    let onset = alone.onset(&history(&noisy, ""));
    assert_eq!(onset, None);
    // Later runs of the baseline may have had it already.
    assert_eq!(alone.ends(None), [Some(&run(0)), Some(&run(9))]);
    let beside = Confirmed {
        reference: Some(run(5)),
        ..alone
    };
    assert_eq!(beside.ends(None), [Some(&run(5)), Some(&run(9))]);
    let onset = confirmed(13, 0..10, 1.2).onset(&history(&levels(&[(11, 1.0), (3, 1.2)]), ""));
    let ends = beside.ends(onset.as_ref());
    assert_eq!(ends, [Some(&run(10)), Some(&run(11))]);
}

#[test]
fn confirmed_steps_stand_each_for_itself() {
    let found = [confirmed(5, 0..4, 1.12), confirmed(11, 0..9, 1.33)];
    let both = levels(&[(5, 1.0), (6, 1.12), (6, 1.34)]);
    assert_eq!(stands(&found, &both, ""), Some([run(5), run(11)]));
    // The second is mended, the first is not.
    let one = levels(&[(5, 1.0), (6, 1.12), (6, 1.34), (4, 1.12)]);
    let first = stands(&found, &one, "").map(|[first, _]| first);
    assert_eq!(first, Some(run(5)));
}

#[test]
fn confirmed_regressions_are_accepted_by_marks() {
    let found = [confirmed(8, 0..6, 1.2)];
    let slow = levels(&[(8, 1.0), (9, 1.2)]);
    let mark = |kind: &str, at: usize| {
        format!(
            "[[mark]]\nkind = \"{kind}\"\ncase = \"*\"\nat = \"{}\"\nreason = \"known\"\n",
            run(at)
        )
    };
    for kind in ["acknowledge", "expected"] {
        assert_eq!(stands(&found, &slow, &mark(kind, 8)), None, "{kind}");
        // Rebased later.
        assert_eq!(stands(&found, &slow, &mark(kind, 12)), None, "{kind}");
        // What was known before is another change.
        assert!(stands(&found, &slow, &mark(kind, 3)).is_some(), "{kind}");
    }
    let ignore =
        "[[mark]]\nkind = \"ignore\"\ncase = \"*\"\nuntil = \"2026-07-01\"\nreason = \"noisy\"\n";
    assert_eq!(stands(&found, &slow, ignore), None);
}

#[test]
fn confirmed_regressions_are_remembered_with_the_mark_that_accepts_them() {
    let slow = levels(&[(8, 1.0), (9, 1.2)]);
    let mark = |at: usize, reason: &str| {
        format!(
            "[[mark]]\nkind = \"expected\"\ncase = \"*\"\nat = \"{}\"\nreason = \"{reason}\"\n",
            run(at)
        )
    };
    let one = confirmed(8, 0..6, 1.2);
    let marked = history(&slow, &(mark(3, "early") + &mark(8, "worth it")));
    let accepted = one.accepted_by(&marked).unwrap();
    assert_eq!(accepted.reason, "worth it");
    assert_eq!(one.accepted_by(&history(&slow, "")), None);
    // What no gate says any more, for a mark within the window took its baseline away.
    let excused = Confirmed {
        is_excused: true,
        ..one.clone()
    };
    let early = history(&slow, &mark(3, "early"));
    assert!(one.stands(&early) && !excused.stands(&early));
    assert_eq!(excused.accepted_by(&early).unwrap().reason, "early");
}

/// Nights of which something is still told, once what is known is taken out.
fn news(all: &[Confirmed], slowdowns: &[f64], marks: &str) -> Vec<RunId> {
    let mut all = all.to_vec();
    known::settle([], &mut all, &[history(slowdowns, marks)]);
    all.into_iter().map(|one| one.night).collect()
}

#[test]
fn confirmed_once_a_step_is_no_news_however_its_baseline_reaches_back() {
    let step = confirmed(11, 0..9, 1.12);
    // Beside a baseline before it, and beside one that has runs of both levels.
    for again in [
        confirmed(13, 0..9, 1.125),
        confirmed(14, 2..13, 1.115),
        confirmed(15, 7..14, 1.06),
    ] {
        let course = levels(&[(11, 1.0), (6, 1.12)]);
        assert_eq!(news(&[step.clone(), again], &course, ""), [run(11)]);
    }
}

#[test]
fn confirmed_once_more_is_news_where_the_level_rose_beyond_it_or_had_come_back() {
    let step = confirmed(11, 0..9, 1.12);
    // A second step, beside the level before the first and beside that between them.
    let course = levels(&[(11, 1.0), (5, 1.12), (1, 1.25)]);
    for beyond in [confirmed(16, 0..9, 1.25), confirmed(16, 11..15, 1.116)] {
        let found = news(&[step.clone(), beyond], &course, "");
        assert_eq!(found, [run(11), run(16)]);
    }
    // The same step once more, after it was mended.
    let course = levels(&[(11, 1.0), (3, 1.12), (4, 1.0), (1, 1.12)]);
    let found = news(&[step.clone(), confirmed(18, 0..9, 1.12)], &course, "");
    assert_eq!(found, [run(11), run(18)]);
    // What was accepted is told once as well.
    let accepted = format!(
        "[[mark]]\ncase = \"{}\"\nkind = \"expected\"\nat = \"{}\"\nreason = \"known\"\n",
        Recipe::default().case_ids()[1],
        run(11)
    );
    let course = levels(&[(11, 1.0), (6, 1.12)]);
    let found = news(&[step, confirmed(13, 0..9, 1.12)], &course, &accepted);
    assert_eq!(found, [run(11)]);
}

/// A second regression before the first is mended, whose window is mostly of the level before both.
#[test]
fn confirmed_changes_step_from_the_level_that_was_there() {
    let series = history(&levels(&[(4, 1.0), (1, 1.2), (2, 1.5)]), "").series;
    let onset = Onset::of(&series, &runs(0..4), &run(5)).unwrap();
    assert_eq!(ends(&onset), [4, 5]);
    assert!((onset.step / (1.5 / 1.2) - 1.0).abs() < 0.03, "{onset:?}");
    // Nor is what followed the first part of it.
    let series = history(&levels(&[(6, 1.0), (1, 1.3), (1, 1.5)]), "").series;
    let onset = Onset::of(&series, &runs(0..6), &run(7)).unwrap();
    assert_eq!(ends(&onset), [5, 6]);
    assert!((onset.step / 1.3 - 1.0).abs() < 0.03, "{onset:?}");
}

/// Whether one more run at the old level ends what was confirmed; `None` where it ended.
fn back_once(slowdowns: &[f64]) -> Option<bool> {
    let history = history(slowdowns, "");
    let found = [confirmed(8, 0..6, 1.2)];
    standing(&found, [&history])
        .first()
        .map(|one| one.is_back_once)
}

#[test]
fn confirmed_regressions_that_are_back_in_the_newest_run_alone_are_told_so() {
    for slow in [2, 3, 6] {
        let back = |runs| back_once(&levels(&[(8, 1.0), (slow, 1.2), (runs, 1.0)]));
        assert_eq!(
            [0, 1, 2].map(back),
            [Some(false), Some(true), None],
            "{slow}"
        );
    }
}

/// The second of two steps is undone, and not the first.
#[test]
fn confirmed_regressions_of_which_one_is_left_are_not_back() {
    let history = history(&levels(&[(8, 1.0), (2, 1.2), (2, 1.5), (1, 1.2)]), "");
    let found = [confirmed(8, 0..6, 1.2), confirmed(10, 0..6, 1.5)];
    let both = standing(&found, [&history]);
    assert!(both[0].last.is_back_once(&history));
    assert!(!both[0].is_back_once);
}

/// Of cases that all got slower by the same on a night, what of a later one is told where the first told of a shift of the suite.
fn of_suite(first: &Confirmed, level_before: f64, ratio: f64) -> Option<RunId> {
    let slow = levels(&[(8, 1.0), (1, level_before), (1, ratio)]);
    let records: Vec<Record> = (0..slow.len())
        .map(|at| night(at, slow[at]).record())
        .collect();
    let (store, _folder) = store(&records);
    let today = "2026-06-01".parse().unwrap();
    let cases = Recipe::default().case_ids();
    let of = |case: &String| CaseHistory::of_case(&store, case, &Marks::default(), today).unwrap();
    let histories: Vec<CaseHistory> = cases.iter().flat_map(of).collect();
    let mut other = confirmed(9, 0..7, ratio);
    other.case.case.clone_from(&cases[2]);
    let mut all = vec![first.clone(), other];
    known::settle([], &mut all, &histories);
    assert_eq!(all.len(), 2, "it stands by itself, whatever is told of it");
    all.pop().unwrap().part_of
}

#[test]
fn confirmed_parts_of_a_shift_of_the_suite_are_told_with_the_first_of_them() {
    let shift = Confirmed {
        is_common: true,
        ..confirmed(8, 0..6, 1.1)
    };
    assert_eq!(of_suite(&shift, 1.1, 1.1), Some(run(8)));
    // It got slower on that night and not with the suite; the suite did not move; it moved further since.
    assert_eq!(of_suite(&shift, 1.0, 1.1), None);
    assert_eq!(of_suite(&confirmed(8, 0..6, 1.1), 1.1, 1.1), None);
    assert_eq!(of_suite(&shift, 1.1, 1.3), None);
}
