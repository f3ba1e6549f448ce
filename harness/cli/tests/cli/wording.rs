//! What comparisons and gates look like as text, Markdown and JUnit, on made-up nights whose numbers never change.

use std::path::Path;
use std::time::Duration;

use assay::show::{junit, markdown, verdicts};
use assay_record::{BlockStatus, Record};
use assay_store::synthetic::Recipe;
use assay_store::{Access, Patience, Store};
use assay_verdicts::comparison::{Loaded, Options, Question};
use assay_verdicts::gate::Confirmation;
use assay_verdicts::{Comparison, Gate, History, RunView};

/// Text that means something to a terminal, to Markdown, to HTML or to XML.
const HOSTILE: &str = "<b>\u{1b}[31m|`x`\u{0}]]>& \"quoted\" *bold*\n# title";

fn night(night: u32) -> Recipe {
    Recipe {
        night,
        seed: u64::from(night) + 1,
        rounds: 6,
        cases: 6,
        ..Recipe::default()
    }
}

/// A night on which one case is slower, one faster, one wrong and one gone.
fn eventful(n: u32) -> Record {
    let mut record = Recipe {
        cases: 5,
        kernel: "6.2.0".into(),
        ..night(n)
    }
    .record();
    let ids = night(n).case_ids();
    for block in &mut record.blocks {
        let factor = match &block.case {
            case if *case == ids[1] => 1.08,
            case if *case == ids[2] => 0.9,
            case if *case == ids[3] => {
                block.status = BlockStatus::Wrong(HOSTILE.into());
                1.0
            }
            _ => 1.0,
        };
        for ns in &mut block.samples.host_ns {
            *ns = (*ns as f64 * factor) as u64;
        }
    }
    record
}

fn views(records: &[Record]) -> Vec<RunView> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("assay.duckdb");
    let mut patience = Patience::silent(Duration::from_secs(5));
    let mut store = Store::open(&path, Access::Write, &mut patience).unwrap();
    for record in records {
        store
            .ingest_record(record, Path::new("/made/up.jsonl"))
            .unwrap();
    }
    let view = |record: &Record| RunView::load(&store, &record.header.run).unwrap();
    records.iter().map(view).collect()
}

fn compare(before: &[RunView], after: &[RunView], question: Question) -> Comparison {
    with(before, after, Options::new(question))
}

fn with(before: &[RunView], after: &[RunView], options: Options) -> Comparison {
    let options = Options {
        differences: vec!["The kernel was 6.1.0 and is now 6.2.0.".into()],
        ..options
    };
    Comparison::of(
        &loaded("the window", before),
        &loaded("tonight", after),
        &History::default(),
        options,
    )
}

fn loaded<'a>(label: &str, runs: &'a [RunView]) -> Loaded<'a> {
    Loaded {
        label: label.into(),
        arm: "main".into(),
        runs: runs.iter().collect(),
    }
}

fn nights() -> Vec<RunView> {
    views(&(0..8).map(|n| night(n).record()).collect::<Vec<_>>())
}

fn gate() -> Gate {
    let (before, after) = (nights(), views(&[eventful(20)]));
    let comparison = compare(&before, &after, Question::Gate);
    let gate = Gate::new("last:20".into(), after[0].run.run.clone(), comparison);
    let again = views(&[eventful(21)]);
    let suspects = Options {
        only: Some(gate.suspects()),
        ..Options::new(Question::Confirmation)
    };
    gate.confirmed(Confirmation {
        alone: Some(with(&before, &again, suspects)),
        notes: vec!["run alone: weaker".into()],
        ..Confirmation::default()
    })
}

#[test]
fn text_of_a_comparison() {
    let found = compare(&nights(), &views(&[eventful(20)]), Question::Difference);
    let text = verdicts::comparisons(&[found]);
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    insta::assert_snapshot!(text);
}

#[test]
fn text_of_a_matrix() {
    let (before, one, two) = (
        nights(),
        views(&[eventful(20)]),
        views(&[night(21).record()]),
    );
    let found = [&one, &two].map(|after| compare(&before, after, Question::Difference));
    let text = verdicts::comparisons(&found);
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    insta::assert_snapshot!(text);
    insta::assert_snapshot!("markdown_of_a_matrix", markdown::comparisons(&found));
}

#[test]
fn text_of_a_gate() {
    let text = verdicts::gate(&gate());
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    insta::assert_snapshot!(text);
}

#[test]
fn markdown_of_a_gate() {
    insta::assert_snapshot!(markdown::gate(&gate()));
}

#[test]
fn junit_of_a_gate() {
    let xml = junit::gate(&gate(), "made-up <suite>");
    assert!(!xml.chars().any(|c| c.is_control() && c != '\n'));
    insta::assert_snapshot!(xml);
}
