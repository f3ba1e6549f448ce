//! Gates: which runs are a baseline, and what confirmations leave of suspicions.

use assay_record::{Record, RunId, RunStatus};
use assay_store::synthetic::Recipe;
use assay_verdicts::comparison::{Known, Loaded, Options, Question};
use assay_verdicts::gate::{Confirmation, State};
use assay_verdicts::window::newest_nights;
use assay_verdicts::{
    CaseHistory, Comparison, Confirmed, Gate, History, Marks, RunView, Trouble, TroubleKind,
    Verdict, Window, known,
};

use crate::comparison::night;
use crate::summaries::store;

/// The last record against the window of those before it.
pub fn judged(records: &[Record]) -> Gate {
    let comparison = against(records, Question::Gate);
    Gate::new(
        "last:20".into(),
        comparison.candidate.runs[0].clone(),
        comparison,
    )
}

fn against(records: &[Record], question: Question) -> Comparison {
    with(records, Options::new(question))
}

fn with(records: &[Record], options: Options) -> Comparison {
    let (store, _folder) = store(records);
    let run = &records.last().unwrap().header.run;
    let candidate = RunView::load(&store, run).unwrap();
    let baseline = Window::Last(20)
        .baseline(&store, &candidate.run)
        .unwrap()
        .runs;
    Comparison::of(
        &Loaded {
            label: "window".into(),
            arm: "main".into(),
            runs: baseline.iter().collect(),
        },
        &Loaded {
            label: "tonight".into(),
            arm: "main".into(),
            runs: vec![&candidate],
        },
        &History::default(),
        options,
    )
}

fn nights(count: u32, last: &Recipe) -> Vec<Record> {
    let mut records: Vec<Record> = (0..count).map(|n| night(n).record()).collect();
    records.push(last.record());
    records
}

fn slower(factor: f64) -> Recipe {
    Recipe {
        slowdown: factor,
        // Too few to move together.
        cases: 5,
        ..night(30)
    }
}

#[test]
fn verdicts_the_first_night_has_no_baseline() {
    let found = judged(&[night(0).record()]);
    assert_eq!(found.state, State::NoBaseline);
    assert!(!found.is_worse());
}

#[test]
fn verdicts_a_window_holds_only_what_is_alike() {
    let tonight = night(30);
    let again = |n, change: fn(&mut Record)| {
        let mut record = night(n).record();
        change(&mut record);
        record
    };
    let records = [
        night(0).record(),
        Recipe {
            machine: "other".into(),
            ..night(1)
        }
        .record(),
        Recipe {
            suite: "other".into(),
            ..night(2)
        }
        .record(),
        again(3, |record| {
            record.footer.as_mut().unwrap().status = RunStatus::Interrupted;
        }),
        again(4, |record| record.header.reproduces = Some(night(0).run())),
        Recipe {
            tags: vec!["good".into()],
            ..night(5)
        }
        .record(),
        tonight.record(),
        night(31).record(),
    ];
    let (store, _folder) = store(&records);
    let of = store.run(&tonight.run()).unwrap();
    let runs = |window: Window| -> Vec<String> {
        let found = window.baseline(&store, &of).unwrap();
        found
            .runs
            .iter()
            .map(|view| view.run.run.to_string())
            .collect()
    };
    let (first, second) = (night(0).run().to_string(), night(5).run().to_string());
    assert_eq!(runs(Window::Last(20)), [first.clone(), second.clone()]);
    assert_eq!(runs(Window::Last(1)), [second.as_str()]);
    assert_eq!(runs(Window::Tag("good".into())), [second.as_str()]);
    assert_eq!(
        runs(Window::Between(night(0).run(), night(4).run())),
        [first.as_str()]
    );
    assert_eq!(
        runs(Window::Runs(vec![night(5).run(), night(0).run()])),
        [first, second]
    );
}

#[test]
fn verdicts_runs_of_other_arms_and_of_few_cases_take_no_place_in_a_window() {
    let few = |night, cases| Recipe {
        cases,
        ..self::night(night)
    };
    let mut records: Vec<Record> = (0..6).map(|n| night(n).record()).collect();
    records.push(few(6, 4).record());
    records.push(few(7, 5).record());
    records.push(night(30).record());
    records.push(few(31, 2).record());
    let (store, _folder) = store(&records);
    let window = |of: u32, cases: u32, most| {
        let of = store.run(&few(of, cases).run()).unwrap();
        let found = Window::Last(most).baseline(&store, &of).unwrap();
        let runs: Vec<RunId> = found.runs.into_iter().map(|view| view.run.run).collect();
        (runs, found.later.len())
    };
    // Of 10 cases: the run of 4 of them is no night for it, neither in the window nor after it.
    let nights: Vec<RunId> = (0..5).map(|n| night(n).run()).collect();
    assert_eq!(window(30, 10, 20), (nights, 2));
    // Of 2 of them: every run has both.
    assert_eq!(window(31, 2, 20).0.len(), 7);
    assert_eq!(
        newest_nights(&store, 1, |_| true).unwrap()[0].run,
        few(31, 2).run()
    );
}

#[test]
fn verdicts_only_what_is_confirmed_is_called() {
    let suspected = judged(&nights(8, &slower(1.06)));
    assert_eq!(suspected.state, State::Regressed);
    assert_eq!(suspected.suspects().len(), 5);
    let confirmation = |factor| Confirmation {
        interleaved: Some(against(&nights(8, &slower(factor)), Question::Confirmation)),
        ..Confirmation::default()
    };
    let confirmed = suspected.clone().confirmed(confirmation(1.06));
    assert_eq!(
        (confirmed.state, confirmed.comparison.suite.counts.regressed),
        (State::Regressed, 5)
    );
    assert!(
        confirmed.comparison.cases[0]
            .note
            .starts_with("confirmed by run ")
    );
    // The noise of one night, and a change in the other direction, confirm nothing.
    for factor in [1.0, 0.94] {
        let cleared = suspected.clone().confirmed(confirmation(factor));
        assert!(!cleared.is_worse());
        assert_eq!(cleared.comparison.suite.counts.improved, 0);
        assert!(
            cleared.comparison.cases[0]
                .note
                .starts_with("not confirmed: run ")
        );
    }
}

#[test]
fn verdicts_what_is_confirmed_is_shown_as_it_was_confirmed() {
    let suspected = judged(&nights(8, &slower(1.09)));
    let first = suspected.comparison.cases[0].ratio.unwrap();
    let again = against(&nights(8, &slower(1.06)), Question::Confirmation);
    let confirmed = suspected.confirmed(Confirmation {
        interleaved: Some(again.clone()),
        ..Confirmation::default()
    });
    let case = &confirmed.comparison.cases[0];
    assert_eq!(case.verdict, Verdict::Regressed);
    assert_eq!(
        (case.ratio, case.at_first),
        (again.cases[0].ratio, Some(first))
    );
    assert_eq!(case.p_value, again.cases[0].p_value);
    let (shown, told) = (case.ratio.unwrap(), case.at_first.unwrap());
    assert!(shown.estimate < 1.075 && told.estimate > 1.075);
    assert!(case.note.contains("; at first: +"), "{}", case.note);
}

#[test]
fn verdicts_the_same_worker_on_both_sides_confirms_nothing() {
    let suspected = judged(&nights(8, &slower(1.06)));
    let same = suspected
        .suspects()
        .into_iter()
        .map(|(case, _)| case)
        .collect();
    let cleared = suspected.confirmed(Confirmation {
        same,
        ..Confirmation::default()
    });
    assert_eq!(cleared.state, State::Moved);
    let moved = cleared.confirmation.as_ref().unwrap().moved.len();
    assert_eq!((moved, cleared.is_worse()), (5, false));
    let note = &cleared.comparison.cases[0].note;
    assert!(
        note.starts_with("not confirmed: what Assay starts"),
        "{note}"
    );
}

#[test]
fn verdicts_trouble_while_confirming_comes_first() {
    let suspected = judged(&nights(8, &slower(1.06)));
    let mut again = against(&nights(8, &slower(1.06)), Question::Confirmation);
    again.cases[0].trouble = Some(Trouble {
        kind: TroubleKind::Wrong,
        why: "no sum".into(),
    });
    let confirmed = suspected.confirmed(Confirmation {
        interleaved: Some(again),
        ..Confirmation::default()
    });
    assert_eq!(confirmed.state, State::Troubled);
    let counts = confirmed.comparison.suite.counts;
    assert_eq!((counts.troubled, counts.regressed), (1, 4));
    let trouble = confirmed.comparison.cases[0].trouble.as_ref().unwrap();
    assert_eq!(trouble.kind, TroubleKind::Wrong);
    assert!(trouble.why.starts_with("no sum (when it was run again"));
}

#[test]
fn verdicts_what_could_not_be_run_again_stays_suspected() {
    let left = judged(&nights(8, &slower(1.06))).unconfirmed();
    assert_eq!((left.state, left.is_worse()), (State::Suspected, false));
    assert_eq!(left.suspects().len(), 5);
    let note = &left.comparison.cases[0].note;
    assert!(note.starts_with("not confirmed: it could not"), "{note}");
}

#[test]
fn verdicts_what_nobody_ran_again_stays_as_the_night_has_it() {
    let suspected = judged(&nights(8, &slower(1.06)));
    let [open, again @ ..] = &suspected.suspects().into_iter().collect::<Vec<_>>()[..] else {
        panic!("no suspects");
    };
    // Rounds of the others, which show nothing.
    let rounds = Options {
        only: Some(again.iter().cloned().collect()),
        ..Options::new(Question::Confirmation)
    };
    let quiet = with(&nights(8, &slower(1.0)), rounds);
    let by_night = |gate: &Gate| gate.comparison.suite.expected_false_alarms;
    let of_one = by_night(&suspected) / 5.0;
    let left = |open: &[(String, String)]| {
        suspected.clone().confirmed(Confirmation {
            interleaved: Some(quiet.clone()),
            open: open.iter().cloned().collect(),
            ..Confirmation::default()
        })
    };
    let found = left(std::slice::from_ref(open));
    assert_eq!((found.state, found.is_worse()), (State::Regressed, true));
    assert_eq!(found.comparison.suite.counts.regressed, 1);
    let case = found
        .comparison
        .cases
        .iter()
        .find(|of| of.case == open.0)
        .unwrap();
    assert!(case.note.starts_with("not run again, "), "{}", case.note);
    assert_eq!(
        found.awaiting().map(|of| &of.case).collect::<Vec<_>>(),
        [&open.0]
    );
    // What could not be run again is no alert.
    let none = left(&[]);
    assert!(!none.is_worse());
    assert!((by_night(&found) - by_night(&none) - of_one).abs() < 1e-9);
}

#[test]
fn verdicts_what_is_confirmed_once_more_is_still_regressed_and_counted_once() {
    let again = Recipe {
        night: 31,
        ..slower(1.2)
    };
    let mut records = nights(8, &slower(1.2));
    records.push(again.record());
    let confirmed = |records: &[Record]| {
        judged(records).confirmed(Confirmation {
            interleaved: Some(against(records, Question::Confirmation)),
            ..Confirmation::default()
        })
    };
    let (store, _folder) = store(&records);
    let first = confirmed(&records[..9]);
    let row = store.run(&first.run).unwrap();
    let mut all = Confirmed::all(&first, &row);
    // Where a level changed within the window, what stands is held against what came after.
    let mut later = first.clone();
    let window = first.comparison.baseline.runs.clone();
    for case in &mut later.comparison.cases {
        case.since = Some(window[3].clone());
    }
    let of_level = Confirmed::all(&later, &row);
    assert!(of_level.iter().all(|one| one.baseline == window[3..]));
    assert_eq!((of_level.len(), all[0].baseline.len()), (5, window.len()));
    let mut tonight = confirmed(&records);
    assert_eq!(tonight.comparison.suite.counts.regressed, 5);
    let today = "2026-06-01".parse().unwrap();
    let of = |case: &String| CaseHistory::of_case(&store, case, &Marks::default(), today).unwrap();
    let histories: Vec<CaseHistory> = again.case_ids().iter().flat_map(of).collect();
    known::settle([&mut tonight], &mut all, &histories);
    let counts = tonight.comparison.suite.counts;
    assert_eq!(
        (counts.still, counts.regressed, counts.inconclusive),
        (5, 0, 0)
    );
    assert_eq!(tonight.state, State::Inconclusive);
    let cases = tonight.comparison.cases.iter();
    for case in cases.filter(|case| case.still.is_some()) {
        assert_eq!(case.still.as_ref(), Some(&first.run));
        let parts: Vec<&str> = case.note.split("; ").collect();
        assert!(parts[0].ends_with("which still stands"), "{}", case.note);
        assert!(parts[1].starts_with("what this night gave: confirmed by run "));
    }
}

#[test]
fn verdicts_what_is_only_suspected_and_nobody_ran_again_stays_so() {
    let mut suspected = judged(&nights(8, &slower(1.06)));
    for case in &mut suspected.comparison.cases {
        case.verdict = Verdict::Inconclusive;
    }
    let open = suspected.suspects();
    let found = suspected.confirmed(Confirmation {
        open,
        ..Confirmation::default()
    });
    assert_eq!(
        (found.state, found.awaiting().count()),
        (State::Suspected, 5)
    );
    let expected = found.comparison.suite.expected_false_alarms;
    assert!(expected == 0.0 && expected.is_sign_positive());
}

#[test]
fn verdicts_what_is_missing_is_not_unchanged() {
    let whole = judged(&nights(8, &night(30)));
    assert_eq!(whole.missing(), 0);
    let some = judged(&nights(8, &slower(1.0)));
    assert_eq!((some.state, some.missing()), (State::Inconclusive, 5));
    let mut nothing = night(30).record();
    nothing.blocks.clear();
    let mut records: Vec<Record> = (0..8).map(|n| night(n).record()).collect();
    records.push(nothing);
    assert_eq!(judged(&records).state, State::NotMeasured);
}

#[test]
fn verdicts_a_shift_of_all_cases_is_probed_and_not_alerted() {
    let shifted = Recipe {
        slowdown: 1.10,
        ..night(30)
    };
    let records = nights(8, &shifted);
    let found = judged(&records);
    assert!(!found.is_worse(), "{:#?}", found.comparison.suite);
    assert_eq!(found.suspects().len(), 3);
    // Interleaved rounds show that it is in the code after all.
    let confirmed = found.confirmed(Confirmation {
        interleaved: Some(against(&records, Question::Confirmation)),
        ..Confirmation::default()
    });
    assert_eq!(confirmed.state, State::Regressed);
    assert_eq!(confirmed.comparison.suite.counts.regressed, 3);
}

#[test]
fn verdicts_what_a_mark_knows_of_a_shift_of_all_cases_is_known() {
    let shifted = Recipe {
        slowdown: 1.10,
        ..night(30)
    };
    let records = nights(8, &shifted);
    let tonight = &records.last().unwrap().header.run;
    let with_mark = |case: &str| {
        let text = format!(
            "schema = 1\n[[mark]]\ncase = \"{case}\"\nkind = \"acknowledge\"\nat = \"{tonight}\"\nreason = \"issue 17\"\n"
        );
        let known = Known {
            marks: Marks::parse(&text).unwrap(),
            today: "2026-06-01".parse().unwrap(),
            between: Vec::new(),
        };
        let options = Options {
            known: Some(known),
            ..Options::new(Question::Gate)
        };
        Gate::new("last:20".into(), tonight.clone(), with(&records, options))
    };
    let all = with_mark("*");
    assert!(all.comparison.suite.common_shift.is_some());
    let counts = all.comparison.suite.counts;
    assert_eq!((all.state, counts.inconclusive), (State::Known, 0));
    let note = &all.comparison.cases[0].note;
    assert!(
        note.starts_with("it moved with most of its suite"),
        "{note}"
    );
    // What no mark knows of stays open.
    let one = with_mark(&shifted.case_ids()[0]);
    let others = one
        .comparison
        .cases
        .iter()
        .filter(|case| case.mark.is_none());
    assert!(others.clone().count() > 5);
    assert!(
        others
            .into_iter()
            .all(|case| case.verdict == Verdict::Inconclusive)
    );
}

#[test]
fn verdicts_the_default_window_leaves_the_newest_out_where_it_can() {
    for (before, runs, gap) in [(3, 3, 0), (5, 5, 0), (6, 5, 1), (9, 7, 2), (30, 20, 2)] {
        let records: Vec<Record> = (0..=before)
            .map(|n| {
                Recipe {
                    rounds: 1,
                    cases: 1,
                    ..night(n)
                }
                .record()
            })
            .collect();
        let (store, _folder) = store(&records);
        let of = store.run(&records.last().unwrap().header.run).unwrap();
        let found = Window::Last(20).baseline(&store, &of).unwrap();
        assert_eq!(
            (found.runs.len(), found.later.len()),
            (runs, gap),
            "{before}"
        );
        assert_eq!(
            found.runs.last().unwrap().run.run,
            records[before as usize - 1 - gap].header.run
        );
    }
}

#[test]
fn verdicts_marks_excuse_and_begin_anew() {
    let records = nights(8, &slower(1.06));
    let tonight = &records.last().unwrap().header.run;
    let left_out = night(50).record();
    let skipped = store(std::slice::from_ref(&left_out))
        .0
        .run(&left_out.header.run)
        .unwrap();
    let with_mark = |kind: &str| {
        let text =
            format!("schema = 1\n[[mark]]\ncase = \"made-up*\"\nreason = \"issue 17\"\n{kind}\n");
        let known = Known {
            marks: Marks::parse(&text).unwrap(),
            today: "2026-06-01".parse().unwrap(),
            between: vec![skipped.clone()],
        };
        let options = Options {
            known: Some(known),
            ..Options::new(Question::Gate)
        };
        let comparison = with(&records, options);
        Gate::new("last:20".into(), tonight.clone(), comparison)
    };
    for kind in [
        format!("kind = \"acknowledge\"\nat = \"{tonight}\""),
        format!("kind = \"acknowledge\"\nat = \"{}\"", skipped.run),
        "kind = \"ignore\"\nuntil = \"2026-06-01\"".to_owned(),
    ] {
        let found = with_mark(&kind);
        assert!(!found.is_worse(), "{kind}");
        let counts = found.comparison.suite.counts;
        assert_eq!((counts.regressed, counts.excused), (0, 5));
        assert!(
            found.suspects().is_empty(),
            "nobody asks again what is known"
        );
        assert_eq!(
            found.comparison.cases[0].mark.as_ref().unwrap().reason,
            "issue 17"
        );
        let note = &found.comparison.cases[0].note;
        let is_known = kind.contains("acknowledge");
        assert_eq!(note.contains("would not alert"), is_known, "{note}");
    }
    for at in [tonight, &skipped.run] {
        let expected = with_mark(&format!("kind = \"expected\"\nat = \"{at}\""));
        assert!(!expected.is_worse());
        let note = &expected.comparison.cases[0].note;
        assert!(note.contains("a change is expected"), "{note}");
    }
    assert!(with_mark("kind = \"ignore\"\nuntil = \"2026-05-31\"").is_worse());
}

#[test]
fn verdicts_what_is_worse_than_an_acknowledged_level_is_news() {
    const KNOWN: f64 = 1.1;
    let acknowledged_with = |nights_since: u32, last: f64| {
        let mut records: Vec<Record> = (0..8).map(|n| night(n).record()).collect();
        let since = (8..8 + nights_since).map(|n| Recipe {
            slowdown: KNOWN,
            cases: 5,
            ..night(n)
        });
        records.extend(since.map(|recipe| recipe.record()));
        let first = records[8..].first().map(|record| record.header.run.clone());
        records.push(slower(KNOWN * last).record());
        let tonight = records.last().unwrap().header.run.clone();
        let text = format!(
            "schema = 1\n[[mark]]\nkind = \"acknowledge\"\ncase = \"made-up*\"\nreason = \"issue 17\"\nat = \"{}\"\n",
            first.as_ref().unwrap_or(&tonight)
        );
        let (stored, _folder) = store(&records);
        let tonights = stored.run(&tonight).unwrap();
        let window = Window::Last(20).baseline(&stored, &tonights).unwrap();
        let options = Options {
            known: Some(Known {
                marks: Marks::parse(&text).unwrap(),
                today: "2026-06-01".parse().unwrap(),
                between: window.later,
            }),
            ..Options::new(Question::Gate)
        };
        Gate::new("last:20".into(), tonight, with(&records, options))
    };
    // The window leaves out the two newest nights: seven are five of a baseline.
    let known = acknowledged_with(7, 1.0);
    assert!(!known.is_worse());
    assert_eq!(
        known.comparison.suite.counts.excused, 0,
        "nothing to excuse"
    );
    let further = acknowledged_with(7, 1.08);
    assert_eq!(further.comparison.suite.counts.regressed, 5);
    // With fewer, the old level is what there is to compare with, and the mark says what that hides.
    let early = acknowledged_with(2, 1.08);
    assert!(!early.is_worse());
    assert_eq!(early.comparison.suite.counts.excused, 5);
    assert!(early.comparison.cases[0].note.contains("would not alert"));
}
