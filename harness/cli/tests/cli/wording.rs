//! What comparisons and gates look like as text, Markdown and JUnit, on made-up nights whose numbers never change.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use assay::show::{junit, markdown, verdicts};
use assay_protocol::MemoryLevel;
use assay_record::{BlockStatus, Record};
use assay_stats::Interval;
use assay_store::synthetic::Recipe;
use assay_store::{Access, Patience, Store};
use assay_verdicts::ceilings::{Ceiling, Ceilings, Limit};
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

/// A night of which one case was faster than its machine can be.
fn impossible() -> Gate {
    let before = nights();
    let mut record = night(20).record();
    let case = night(20).case_ids()[0].clone();
    let own = record.blocks.iter_mut().filter(|block| block.case == case);
    for prepared in own.filter_map(|block| block.prepared.as_mut()) {
        prepared.bound.level = Some(MemoryLevel::Dram);
    }
    let after = views(&[record]);
    let slow = Ceiling {
        device: after[0].cases[0].device.clone(),
        limit: Limit::Level(MemoryLevel::Dram),
        rate: Interval {
            estimate: 1.0,
            low: 1.0,
            high: 1.0,
            confidence: 0.95,
        },
        case: "cpu/dram".into(),
        run: before[0].run.run.clone(),
        disturbed: false,
    };
    let ceilings = Ceilings { all: vec![slow] };
    let options = Options {
        ceilings: BTreeMap::from([(after[0].run.machine.clone(), ceilings)]),
        ..Options::new(Question::Gate)
    };
    let comparison = with(&before, &after, options);
    Gate::new("last:20".into(), after[0].run.run.clone(), comparison)
}

#[test]
fn an_impossible_result_is_called_so_wherever_it_is_told() {
    let gate = impossible();
    assert!(gate.is_worse());
    let json = serde_json::to_value(&gate).unwrap();
    assert_eq!(json["state"], "impossible");
    assert_eq!(json["comparison"]["suite"]["counts"]["impossible"], 1);
    assert_eq!(
        json["comparison"]["cases"][0]["trouble"]["kind"],
        "impossible"
    );
    let text = verdicts::gate(&gate);
    assert!(
        text.starts_with("IMPOSSIBLE: 1 case is faster than the machine can be"),
        "{text}"
    );
    assert!(text.contains("1 impossible, 0 regressed"), "{text}");
    let markdown = markdown::gate(&gate);
    assert!(
        markdown.contains("| IMPOSSIBLE | not compared |"),
        "{markdown}"
    );
    let junit = junit::gate(&gate, "suite");
    assert_eq!(
        junit
            .matches("<failure type=\"impossible\" message=\"impossible: ")
            .count(),
        1
    );
    assert!(
        !text.contains("improved:") && text.contains(" 0 improved"),
        "{text}"
    );
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
