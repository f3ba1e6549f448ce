use assay_kernels::ml::optimizer::Optimizer;
use assay_kernels::ml::optimizer::rules::AdamW;

use super::{Examined, are_apart, step};
use crate::training::corpus::Corpus;
use crate::training::language;
use crate::training::launched;
use crate::training::model::Model;
use crate::training::network::Network;
use crate::training::run::{Together, Training};
use crate::training::setup::Setup;
use crate::training::tokens::Tokens;

type Given<'a> = [(&'a str, &'a str)];

const SIZES: &Given = &[
    ("batch", "4"),
    ("length", "16"),
    ("layers", "2"),
    ("width", "32"),
    ("heads", "2"),
    ("steps", "5"),
    ("warmup", "2"),
];

fn setup(given: &Given) -> (Setup, Corpus) {
    let setup = Setup::of(&launched::case(&[SIZES, given].concat())).unwrap();
    let corpus = Corpus::of_grammar(1, 30_000, &Tokens::Bytes).unwrap();
    (setup, corpus)
}

/// What spoils a network behind each of its turns.
type Fault = fn(&mut Model, usize);

struct Faulty {
    inner: Box<dyn Network>,
    fault: Fault,
}

impl Network for Faulty {
    fn losses(&self) -> usize {
        self.inner.losses()
    }

    fn turn(&self, model: &mut Model, turn: usize, losses: usize, scale: f32) {
        self.inner.turn(model, turn, losses, scale);
        (self.fault)(model, losses);
    }
}

/// What is found of a training with a fault.
fn examined(given: &Given, fault: Option<Fault>, change: impl Fn(&mut Training)) -> Examined {
    let (setup, corpus) = setup(given);
    let mut begin = language::begin(&setup, &corpus);
    if let Some(fault) = fault {
        let inner = begin.network;
        begin.network = Box::new(Faulty { inner, fault });
    }
    let mut training = begin.training(&Together::alone(2)).unwrap();
    change(&mut training);
    step(&setup, &corpus.train, &mut training).unwrap()
}

fn scale(numbers: &mut [f32], by: f32) {
    for x in numbers {
        *x *= by;
    }
}

/// Spoils the gradient of a parameter.
fn spoil(model: &mut Model, name: &str, how: fn(&mut [f32])) {
    let mut parameters = model.parameters.iter();
    let found = parameters.find(|parameter| parameter.name == name);
    let gradient = found.and_then(|parameter| parameter.gradient).unwrap();
    model.program.belongs_to("linear");
    model
        .program
        .step_on_cpu(move |_, buffers| how(buffers.0[gradient].get_mut()));
}

#[test]
fn a_right_step_passes_whatever_the_model() {
    let variants: [&Given; 11] = [
        &[],
        &[
            ("position", "rope"),
            ("norm", "rmsnorm"),
            ("activation", "swiglu"),
            ("accumulation", "2"),
        ],
        &[
            ("position", "alibi"),
            ("optimizer", "lion"),
            ("centralise", "yes"),
        ],
        &[("stored", "bf16"), ("optimizer", "adan")],
        &[("stored", "f16"), ("position", "rope"), ("layers", "6")],
        &[("stored", "bf16"), ("layers", "6"), ("accumulation", "2")],
        &[("rank", "3"), ("base_stored", "int8"), ("optimizer", "sgd")],
        &[("rank", "3"), ("stored", "bf16")],
        &[("experts", "4"), ("capacity", "4")],
        &[
            ("optimizer", "sophia-g"),
            ("adaptive_clip", "0.05"),
            ("curvature_every", "1"),
        ],
        &[("vocabulary", "1003"), ("recompute", "yes"), ("clip", "0")],
    ];
    for given in variants {
        let found = examined(given, None, |_| {});
        println!("{given:?}: {found:?}");
        assert_eq!(found.fault, None, "{given:?}");
        assert_eq!(found.notes.len(), 3, "{given:?}: {found:?}");
    }
}

/// What a test of small models in `f32` alone does not see: what is wrong at one size, in one type.
#[test]
fn faults_of_the_step_are_named() {
    let faults: [(&Given, Fault, &str); 6] = [
        (
            &[("stored", "bf16")],
            |model, _| {
                spoil(model, "layers.1.attention.v.weight", |g| scale(g, -1.0));
            },
            "the gradient of `layers.1.attention.v.weight` is not that on the host",
        ),
        // The last rows of a table that no tile comes to.
        (
            &[("vocabulary", "1003")],
            |model, _| spoil(model, "tokens", |g| g[1000 * 32..].fill(0.0)),
            "the gradient of `tokens`",
        ),
        (
            &[],
            |model, _| {
                spoil(model, "layers.0.norm1", |g| scale(g, 1.01));
            },
            "the gradient of `layers.0.norm1`",
        ),
        (
            &[("stored", "bf16"), ("rank", "3")],
            |model, _| {
                spoil(model, "layers.0.attention.q.lora-b", |g| scale(g, 0.5));
            },
            "the gradient of `layers.0.attention.q.lora-b`",
        ),
        // A loss of the last window, behind what the reference affords in no case here: it is the first of them.
        (
            &[],
            |model, losses| {
                model.program.belongs_to("cross-entropy");
                model
                    .program
                    .step_on_cpu(move |_, buffers| buffers.0[losses].get_mut::<f32>()[48] += 0.01);
            },
            "a loss of window 3 lies",
        ),
        (
            &[("stored", "f16")],
            |model, losses| {
                model.program.belongs_to("cross-entropy");
                model
                    .program
                    .step_on_cpu(move |_, buffers| buffers.0[losses].get_mut::<f32>()[31] *= 1.1);
            },
            "a loss of window 1 of turn 0 lies",
        ),
    ];
    for (given, fault, words) in faults {
        let found = examined(given, Some(fault), |_| {});
        let is_named = found
            .fault
            .as_ref()
            .is_some_and(|found| found.contains(words));
        assert!(is_named, "{words}: {found:?}");
    }
}

/// By another rule than the one that ran.
#[test]
fn an_update_that_is_not_the_optimizers_is_named() {
    let others: [fn(&mut AdamW); 3] = [
        |rule| rule.beta1 = 0.91,
        |rule| rule.decay = 0.0,
        |rule| rule.epsilon = 1e-6,
    ];
    for other in others {
        let found = examined(&[], None, |training| {
            let Optimizer::AdamW(rule) = &mut training.optimizer else {
                panic!("the default");
            };
            other(rule);
        });
        let words = "is not that of its optimizer";
        let is_named = found
            .fault
            .as_ref()
            .is_some_and(|found| found.contains(words));
        assert!(is_named, "{found:?}");
    }
}

#[test]
fn what_was_not_compared_is_said() {
    let notes = |given: &Given| {
        let found = examined(given, None, |_| {});
        assert_eq!(found.fault, None, "{found:?}");
        found.notes.concat()
    };
    let words = notes(&[("experts", "4"), ("capacity", "0.5")]);
    assert!(words.contains("some tokens found no slot"), "{words}");
    let words = notes(&[("experts", "4"), ("stored", "f16")]);
    assert!(words.contains("may choose other experts"), "{words}");
    // More tokens in a step than there are.
    let words = notes(&[("batch", "64"), ("length", "512")]);
    assert!(words.contains("the text has no room"), "{words}");
}

#[test]
fn windows_overlap_where_they_share_a_token() {
    assert!(are_apart(&[10, 0, 5], 4));
    // The label of the last token of the first is the first token of the second.
    assert!(!are_apart(&[10, 0, 4], 4));
    assert!(are_apart(&[3], 100));
}
