//! Language models of a user's tokens: bits, what is said of them, and what belongs together.

use std::path::{Path, PathBuf};

use assay_kernels::ml::norm::Kind;
use assay_protocol::{Catalog as _, MetricKind, ParamValue, Prepared};
use assay_suites::training::checkpoint;
use assay_suites::training::decoder::Places;
use assay_suites::training::language::{self, TrainLm};
use assay_suites::training::layers::Activation;
use assay_suites::training::run::{Together, Training};
use assay_suites::training::setup::Setup;
use assay_suites::training::writing;
use serde_json::json;

use crate::cases::{self, int, text};
use crate::gradients;
use crate::language::{case, check_gradients, setup, still};

/// A `tokenizer.json` of bytes that are ASCII, with these merges.
fn tokenizer(folder: &Path, merges: &[[&str; 2]]) -> PathBuf {
    let bytes = (33..127_u8).map(|byte| char::from(byte).to_string());
    let longer = merges.iter().map(|pair| pair.concat());
    let all = bytes.chain(["Ġ", "Ċ"].map(String::from)).chain(longer);
    let vocab: serde_json::Map<_, _> = all
        .enumerate()
        .map(|(i, token)| (token, json!(i)))
        .collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    });
    let path = folder.join(format!("{}.json", merges.len()));
    std::fs::write(&path, file.to_string()).unwrap();
    path
}

const MERGES: &[[&str; 2]] = &[
    ["t", "h"],
    ["th", "e"],
    ["Ġ", "the"],
    ["i", "n"],
    ["e", "r"],
    ["a", "n"],
];

fn of(path: &Path) -> (&'static str, ParamValue) {
    ("tokenizer", text(path.to_str().unwrap()))
}

fn begin(setup: &Setup) -> Training {
    language::begin(setup, &setup.corpus().unwrap())
        .training(&Together::alone(1))
        .unwrap()
}

#[test]
fn tokens_are_fewer_than_bytes_and_as_many_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let path = tokenizer(folder.path(), MERGES);
    let setup = setup(&[of(&path)]);
    assert_eq!(setup.shape.vocabulary, 94 + 2 + MERGES.len());
    let corpus = setup.corpus().unwrap();
    let share = corpus.tokens_per_byte().unwrap();
    assert!(share > 0.5 && share < 0.97, "{share}");
    assert!(corpus.bytes[0] >= 3000 && corpus.bytes[1] >= 300);
    assert!(
        corpus
            .train
            .iter()
            .all(|id| (*id as usize) < setup.shape.vocabulary)
    );
    let still = still(Places::Rope, Kind::Layer, Activation::Gelu, &[of(&path)]);
    check_gradients("tokens", &still);
}

#[test]
fn losses_are_those_of_the_seed_and_are_told_by_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = tokenizer(folder.path(), MERGES);
    cases::assert_same_bits(4, |params| {
        let own = [of(&path)];
        TrainLm
            .prepare(&case(&[&own[..], params].concat()))
            .unwrap()
    });
    let values = |params: &[(&str, ParamValue)]| {
        let mut workload = TrainLm.prepare(&case(params)).unwrap();
        cases::run(workload.as_mut(), 4);
        assert!(workload.verify().unwrap().passed);
        let prepared = workload.prepared().clone();
        (prepared, workload.finish().unwrap())
    };
    let bits = |loss: f64| loss / std::f64::consts::LN_2;
    let (prepared, of_bytes) = values(&[]);
    assert!(!prepared.inputs.contains_key("tokenizer"));
    let difference = of_bytes["bits_per_byte"] - bits(of_bytes["held_out_loss"]);
    assert!(difference.abs() < 1e-12);
    let (prepared, of_tokens) = values(&[of(&path)]);
    let corpus = setup(&[of(&path)]).corpus().unwrap();
    // Of the bytes and the nats of what was judged, which are others where tokens are.
    for (values, corpus) in [
        (&of_tokens, &corpus),
        (&of_bytes, &setup(&[]).corpus().unwrap()),
    ] {
        let scored = corpus.scored(6, 256).unwrap();
        let sum = scored.tokens as f64 * values["held_out_loss"];
        let close = |name: &str, expected: f64| (values[name] / expected - 1.0).abs() < 1e-12;
        assert!(
            close("bits_per_byte", bits(sum) / scored.bytes),
            "{values:?}"
        );
        let nats = scored.nats.unwrap();
        assert!(close("loss_over_entropy", sum / nats), "{values:?}");
    }
    assert!(prepared.inputs.contains_key("tokenizer"));
    assert_eq!(prepared.facts["vocabulary"], "102 tokens");
    let held_out = format!(
        "{} tokens of {} bytes",
        corpus.held_out.len(),
        corpus.bytes[1]
    );
    assert_eq!(prepared.facts["corpus.held_out"], held_out);
    let metrics = prepared
        .metrics
        .iter()
        .filter(|m| m.kind == MetricKind::Case);
    assert!(metrics.clone().any(|m| m.name == "bits_per_byte"));
}

/// What is said of a training with a tokenizer's file.
fn said_of(file: &serde_json::Value) -> Prepared {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lossy.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let mut workload = TrainLm.prepare(&case(&[of(&path)])).unwrap();
    cases::run(workload.as_mut(), 4);
    assert!(workload.verify().unwrap().passed);
    let values = workload.finish().unwrap();
    let prepared = workload.prepared().clone();
    for name in ["bits_per_byte", "loss_over_entropy"] {
        assert!(!values.contains_key(name), "{values:?}");
        assert!(prepared.metrics.iter().all(|metric| metric.name != name));
    }
    assert!(prepared.metrics.iter().all(|metric| metric.floor.is_none()));
    assert!(!prepared.facts.contains_key("corpus.entropy"));
    prepared
}

/// Of a text that cannot be told from its tokens any loss may be small.
#[test]
fn what_tokens_lose_has_neither_bits_nor_a_floor() {
    let words = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\s"}, "behavior": "Isolated", "invert": false},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, " ": 1, "\n": 2, "the": 3}, "unk_token": "[UNK]"},
    });
    let characters = (32..127_u8).map(|byte| char::from(byte).to_string());
    let vocab: serde_json::Map<_, _> = characters
        .chain(["\n".into()])
        .enumerate()
        .map(|(i, token)| (token, json!(i)))
        .collect();
    let digits = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "Replace", "pattern": {"Regex": "[0-9]"}, "content": "0"},
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    for file in [words, digits] {
        let told = &said_of(&file).facts["corpus.dropped"];
        assert!(told.contains("cannot be told from their tokens"), "{told}");
        assert!(!told.contains(" 0 of "), "{told}");
    }
}

/// A text that the grammar could have said, but of other odds, has no floor that a loss is over.
#[test]
fn a_loss_below_the_entropy_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.txt");
    let line = |i: u32| format!("the {}star is {i}.\n", "dim ".repeat(6));
    std::fs::write(&path, (0..300).map(line).collect::<String>()).unwrap();
    let given = [
        ("text", text(path.to_str().unwrap())),
        ("batch", int(8)),
        ("length", int(24)),
        ("width", int(16)),
        ("position", text("rope")),
        ("steps", int(150)),
        ("rate", ParamValue::Float(0.02)),
    ];
    let mut workload = TrainLm.prepare(&case(&given)).unwrap();
    cases::run(workload.as_mut(), 1);
    let verification = workload.verify().unwrap();
    let words = "of the entropy of what is judged: no model comes below that";
    assert!(
        !verification.passed && verification.detail.contains(words),
        "{verification:?}"
    );
    assert!(workload.finish().unwrap()["loss_over_entropy"] < 0.9);
}

/// Of a text in a file, which becomes too few tokens for a sequence.
#[test]
fn a_text_of_too_few_tokens_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = tokenizer(folder.path(), MERGES);
    let corpus = folder.path().join("corpus.txt");
    std::fs::write(&corpus, "the the the the\n".repeat(10)).unwrap();
    let given = [of(&path), ("text", text(corpus.to_str().unwrap()))];
    let shorter = [&given[..], &[("length", int(4))]].concat();
    assert!(setup(&shorter).corpus().is_ok());
    let words = setup(&given).corpus().unwrap_err().to_string();
    let expected = "the corpus has 5 tokens in its held-out part: expected more than `length`, 6";
    assert!(words.contains(expected), "{words}");
    std::fs::write(&corpus, [&b"one\n"[..], b"tw\xff\n", b"three\n"].concat()).unwrap();
    let words = setup(&given).corpus().unwrap_err().to_string();
    assert!(
        words.contains("`text`") && words.contains("1 of 3 rows are no text"),
        "{words}"
    );
    let missing = case(&[of(Path::new("/no/such.json"))]);
    let words = Setup::of(&missing).err().unwrap().to_string();
    assert!(words.contains("`tokenizer`: /no/such.json"), "{words}");
}

/// What was trained on other tokens is neither gone on with nor a base, and does not write bytes.
#[test]
fn checkpoints_know_their_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let path = tokenizer(folder.path(), MERGES);
    let mut others = MERGES.to_vec();
    others.swap(3, 5);
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let other = tokenizer(&other, &others);
    let saved = folder.path().join("model.safetensors");
    let mut training = begin(&setup(&[of(&path)]));
    training.step().unwrap();
    checkpoint::save(&training, &saved).unwrap();
    let mut same = begin(&setup(&[of(&path)]));
    checkpoint::load(&mut same, &saved).unwrap();
    assert_eq!(
        gradients::parameters(&same),
        gradients::parameters(&training)
    );
    let refusal = |params: &[(&str, ParamValue)]| {
        let mut training = begin(&setup(params));
        checkpoint::load(&mut training, &saved)
            .unwrap_err()
            .to_string()
    };
    let words = refusal(&[of(&other)]);
    assert!(
        words.contains("trained on other tokens, sha256:"),
        "{words}"
    );
    let words = refusal(&[]);
    assert!(
        words.contains("expected bytes; name the same `tokenizer`"),
        "{words}"
    );
    let mut tuned = setup(&[of(&other), ("rank", int(2))]);
    tuned.base = Some(saved.clone());
    let corpus = tuned.corpus().unwrap();
    let failure = language::begin(&tuned, &corpus)
        .training(&Together::alone(1))
        .err()
        .unwrap();
    let words = failure.to_string();
    assert!(
        words.contains("`base`") && words.contains("other tokens"),
        "{words}"
    );
    let words = writing::read(&saved).unwrap_err().to_string();
    assert!(
        words.contains("one of a tokenizer's tokens: expected one of bytes"),
        "{words}"
    );
}

/// Rows beyond the tokens are trained like others, but nobody writes with them.
#[test]
fn a_vocabulary_may_be_larger_than_its_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.safetensors");
    let setup = setup(&[("vocabulary", int(300))]);
    let mut training = begin(&setup);
    let sizes = training.parameters.iter().map(|p| p.shape);
    assert!(
        sizes.clone().any(|shape| shape == [300, 8]),
        "{:?}",
        sizes.collect::<Vec<_>>()
    );
    for _ in 0..2 {
        training.step().unwrap();
    }
    checkpoint::save(&training, &path).unwrap();
    let words = writing::read(&path).unwrap_err().to_string();
    let expected = "its model has a vocabulary of 300: expected one of bytes, 256";
    assert!(words.contains(expected), "{words}");
}
