//! The verdict on a reproduction, from records to words.

use assay_protocol::{Digest, ParamValue};
use assay_record::{BlockStatus, Record, canonical};
use assay_store::synthetic::Recipe;
use assay_verdicts::{Likeness, Reproduction, Verdict};

use crate::summaries::store;

fn recipe(night: u32) -> Recipe {
    Recipe {
        night,
        seed: u64::from(night) + 1,
        rounds: 6,
        ..Recipe::default()
    }
}

fn judge(original: &Record, again: &Record, earlier: &[Record]) -> Reproduction {
    let mut records = earlier.to_vec();
    records.extend([original.clone(), again.clone()]);
    let (store, _folder) = store(&records);
    Reproduction::of(
        (&store).into(),
        &original.header.run,
        &again.header.run,
        vec!["the driver changed".to_owned().into()],
    )
    .unwrap()
}

#[test]
fn verdicts_a_faithful_reproduction() {
    let found = judge(&recipe(100).record(), &recipe(101).record(), &[]);
    assert_eq!(
        (&found.inputs, &found.outputs),
        (&Likeness::Identical, &Likeness::Identical)
    );
    assert_eq!(found.speed, Verdict::Inconclusive);
    assert_eq!(found.explanations[0].text, "the driver changed");
    let case = &found.cases[0];
    assert!((case.ratio.unwrap().estimate - 1.0).abs() < 0.02);
    for words in [
        "one run per side",
        "for want of 5 earlier ones",
        "runs per side of 6 rounds",
    ] {
        assert!(case.note.contains(words), "{}", case.note);
    }
}

#[test]
fn verdicts_history_makes_unchanged_possible() {
    let earlier: Vec<Record> = (0..40).map(|night| recipe(night).record()).collect();
    let found = judge(&recipe(100).record(), &recipe(101).record(), &earlier);
    assert_eq!(found.speed, Verdict::Unchanged, "{:#?}", found.cases);
    assert!(
        found.cases[0].note.contains("by 41 earlier runs"),
        "{}",
        found.cases[0].note
    );
}

#[test]
fn verdicts_a_slower_reproduction_and_its_confirmation() {
    let original = recipe(100).record();
    let slow = |night| {
        Recipe {
            slowdown: 1.1,
            ..recipe(night)
        }
        .record()
    };
    let first = judge(&original, &slow(101), &[]);
    assert_eq!(first.speed, Verdict::Regressed, "{:#?}", first.cases);
    assert_eq!(first.suspects().len(), 3);
    let fast = Recipe {
        slowdown: 0.9,
        ..recipe(101)
    }
    .record();
    assert_eq!(judge(&original, &fast, &[]).speed, Verdict::Improved);

    let same = judge(&original, &slow(102), &[]);
    let confirmed = first.clone().confirm(&same);
    assert_eq!(confirmed.speed, Verdict::Regressed);
    assert!(
        confirmed.cases[0].note.contains("confirmed by run"),
        "{}",
        confirmed.cases[0].note
    );
    let gone = judge(&original, &recipe(102).record(), &[]);
    let refuted = first.confirm(&gone);
    assert_eq!(refuted.speed, Verdict::Inconclusive);
    assert!(refuted.suspects().is_empty());
    assert!(
        refuted.cases[0].note.contains("not confirmed: run"),
        "{}",
        refuted.cases[0].note
    );
}

#[test]
fn verdicts_another_machine_is_no_regression() {
    let slow = Recipe {
        slowdown: 2.0,
        machine: "other".into(),
        ..recipe(101)
    };
    let found = judge(&recipe(100).record(), &slow.record(), &[]);
    assert_eq!(found.speed, Verdict::Inconclusive);
    assert!(found.cases[0].ratio.unwrap().estimate > 1.9);
    assert!(
        found.cases[0].note.contains("other"),
        "{}",
        found.cases[0].note
    );
}

#[test]
fn verdicts_outputs_by_digest_and_tolerance() {
    let original = recipe(100).record();
    let other_bits = Recipe {
        output: "other".into(),
        ..recipe(101)
    };
    let found = judge(&original, &other_bits.record(), &[]);
    assert!(
        matches!(&found.outputs, Likeness::Differs(why) if why.contains("declared deterministic"))
    );

    let free = |mut record: Record| {
        for block in &mut record.blocks {
            block.prepared.as_mut().unwrap().deterministic = false;
        }
        record
    };
    let found = judge(&free(original.clone()), &free(other_bits.record()), &[]);
    assert_eq!(found.outputs, Likeness::WithinTolerance);

    let mut silent = recipe(101).record();
    for block in &mut silent.blocks {
        block.verification = None;
    }
    let found = judge(&original, &silent, &[]);
    assert!(
        matches!(found.outputs, Likeness::Unknown(_)),
        "{:?}",
        found.outputs
    );

    let mut wrong = recipe(101).record();
    wrong.blocks[4].status = BlockStatus::Wrong("error 1.0 over tolerance 1e-5".into());
    let found = judge(&original, &wrong, &[]);
    assert!(
        matches!(&found.outputs, Likeness::Differs(why) if why.contains("over tolerance")),
        "{:?}",
        found.outputs
    );
}

#[test]
fn verdicts_inputs_by_manifest_and_digest() {
    let original = recipe(100).record();
    let mut other = recipe(101).record();
    other.blocks[1]
        .prepared
        .as_mut()
        .unwrap()
        .inputs
        .insert("x".into(), Digest::of("other"));
    let found = judge(&original, &other, &[]);
    assert!(
        matches!(&found.inputs, Likeness::Differs(why) if why.contains("every round")),
        "{:?}",
        found.inputs
    );

    let mut planned = recipe(101).record();
    let manifest = &mut planned.header.manifest;
    manifest.cases[0]
        .params
        .insert("n".into(), ParamValue::Int(9));
    manifest
        .sources
        .insert("{dir}/data.bin".into(), Digest::of("new"));
    planned.header.manifest_digest = canonical::digest(manifest).unwrap();
    let found = judge(&original, &planned, &[]);
    assert!(matches!(&found.cases[0].inputs, Likeness::Differs(why) if why.contains("params")));
    assert!(matches!(&found.inputs, Likeness::Differs(why) if why.contains("{dir}/data.bin")));
}

#[test]
fn verdicts_cases_that_one_side_lacks() {
    let original = recipe(100).record();
    let mut other = recipe(101).record();
    for block in &mut other.blocks {
        if block.case == original.blocks[1].case {
            block.status = BlockStatus::Skipped("no memory".into());
        } else if block.case == original.blocks[2].case {
            block.status = BlockStatus::Failed("signal 11".into());
        }
    }
    let found = judge(&original, &other, &[]);
    assert!(matches!(&found.cases[1].outputs, Likeness::Unknown(why) if why.contains("no memory")));
    assert!(matches!(&found.cases[2].outputs, Likeness::Differs(why) if why.contains("signal 11")));
    assert!(found.cases[1].ratio.is_none());
    assert!(matches!(found.outputs, Likeness::Differs(_)));

    // What neither side could run spoils nothing.
    let skip = |mut record: Record| {
        for block in &mut record.blocks {
            if block.case == original.blocks[1].case {
                block.status = BlockStatus::Skipped("no GPU".into());
            }
        }
        record
    };
    let found = judge(&skip(original.clone()), &skip(recipe(101).record()), &[]);
    assert_eq!(
        (&found.inputs, &found.outputs),
        (&Likeness::Identical, &Likeness::Identical)
    );
}

#[test]
fn verdicts_one_round_is_inconclusive_and_says_how_many_are_needed() {
    let one = |night| {
        Recipe {
            rounds: 1,
            ..recipe(night)
        }
        .record()
    };
    let found = judge(&one(100), &one(101), &[]);
    assert_eq!(found.speed, Verdict::Inconclusive);
    assert!(
        found.cases[0].note.contains("at least 2 are needed"),
        "{}",
        found.cases[0].note
    );
}
