//! Adapters of a base that is kept in 8 bits: gradients, bits, memory, and how far quantisation moves what was trained.

use assay_kernels::ml::norm::Kind;
use assay_protocol::{Catalog as _, ParamValue};
use assay_suites::training::checkpoint;
use assay_suites::training::decoder::Places;
use assay_suites::training::language::{self, Judge, TrainLm};
use assay_suites::training::layers::Activation;
use assay_suites::training::model::Parameter;
use assay_suites::training::run::{Together, Training};
use assay_suites::training::session::Device;
use assay_suites::training::setup::Setup;
use assay_suites::training::writing;

use crate::cases::{self, float, int, text};
use crate::language::{case, check_gradients, setup, still};

/// A base of this kind below adapters of a rank.
fn of_base(base: &str) -> [(&'static str, ParamValue); 2] {
    [("rank", int(3)), ("base_stored", text(base))]
}

fn begin(setup: &Setup, threads: usize) -> Training {
    language::begin(setup, &setup.corpus().unwrap())
        .training(&Together::alone(threads))
        .unwrap()
}

/// The reference computes with the numbers that codes stand for.
#[test]
fn gradients_of_adapters_are_those_by_differences() {
    for (places, norm, activation) in [
        (Places::Rope, Kind::Layer, Activation::Gelu),
        (Places::Rope, Kind::Rms, Activation::SwiGlu),
        (Places::Alibi, Kind::Rms, Activation::Gelu),
        (Places::Learned, Kind::Layer, Activation::SwiGlu),
    ] {
        let setup = still(places, norm, activation, &of_base("int8"));
        let trained = begin(&setup, 1).parameters.into_iter();
        let trained: Vec<_> = trained
            .filter(|p| p.gradient.is_some())
            .map(|p| p.name)
            .collect();
        assert_eq!(trained.len(), 8);
        check_gradients("an int8 base", &setup);
    }
}

/// Losses of some steps, as a training takes them with a base of 8 bits, and with one of `f32` that has the same numbers.
#[test]
fn a_base_of_codes_gives_the_bits_of_what_they_stand_for() {
    let sizes = [("batch", int(4)), ("length", int(33)), ("width", int(24))];
    for more in [
        &[("recompute", text("yes"))][..],
        &[("activation", text("swiglu")), ("accumulation", int(2))],
    ] {
        let of = |base: &str| setup(&[&sizes[..], &of_base(base), more].concat());
        let (of_codes, of_numbers) = (of("int8"), of("f32"));
        let bits = |training: &mut Training| -> Vec<_> {
            let steps = (0..4).map(|_| training.step().unwrap());
            steps
                .map(|step| (step.loss.to_bits(), step.norm.to_bits()))
                .collect()
        };
        let mut alone = begin(&of_codes, 1);
        let mut whole = begin(&of_numbers, 2);
        let pairs = alone.parameters.iter().zip(whole.parameters.clone());
        let numbers: Vec<_> = pairs
            .map(|(coded, whole)| (whole.buffer, alone.values(coded).unwrap()))
            .collect();
        let moved = whole.parameters.iter().zip(&numbers);
        let moved = moved.filter(|(p, (_, numbers))| whole.values(p).unwrap() != *numbers);
        assert!(moved.count() > 8, "quantisation moved nothing");
        for (buffer, numbers) in numbers {
            let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
            whole.write(buffer, &bytes).unwrap();
        }
        let found = bits(&mut alone);
        assert_eq!(found, bits(&mut whole));
        for threads in [2, 3] {
            assert_eq!(found, bits(&mut begin(&of_codes, threads)));
        }
    }
}

#[test]
fn a_training_is_the_same_whatever_is_sampled() {
    for stored in ["f32", "bf16"] {
        cases::assert_same_bits(4, |params| {
            let own = [&of_base("int8")[..], &[("stored", text(stored))]].concat();
            TrainLm
                .prepare(&case(&[&own[..], params].concat()))
                .unwrap()
        });
    }
}

/// Of each weight three of four bytes are saved, but for the scale of a row; and the whole copy of 16 bits, where there was one.
#[test]
fn memory_is_saved_as_the_codes_are_smaller() {
    for (stored, of_copy) in [("f32", 0), ("bf16", 2)] {
        let bytes = |base: &str| {
            let own = [
                &of_base(base)[..],
                &[("stored", text(stored)), ("width", int(32))],
            ];
            let training = begin(&setup(&own.concat()), 1);
            let coded = training.parameters.iter().filter(|p| p.scales.is_some());
            let of_codes = |p: &Parameter| ((3 + of_copy) * p.len()) as u64 - 4 * p.shape[0] as u64;
            let saved: u64 = coded.map(of_codes).sum();
            (training.bytes(), saved)
        };
        let ((whole, nothing), (coded, saved)) = (bytes("f32"), bytes("int8"));
        assert_eq!(nothing, 0);
        assert!(saved > 60_000, "{saved}");
        assert_eq!(whole - coded, saved, "{stored}: {whole} {coded}");
    }
}

/// A model that was trained, as the base of adapters that learn; quantised, no weight moves by more than half a step of its row.
#[test]
fn a_trained_base_is_quantised_and_adapters_learn_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.safetensors");
    let sizes = [
        ("batch", int(8)),
        ("length", int(32)),
        ("width", int(32)),
        ("rate", float(1e-2)),
        ("steps", int(60)),
    ];
    let mut trained = begin(&setup(&sizes), 1);
    for _ in 0..100 {
        trained.step().unwrap();
    }
    checkpoint::save(&trained, &path).unwrap();
    let base = text(path.to_str().unwrap());
    let more = [("base", base), ("rank", int(8))];
    let tuned = [&sizes[..], &of_base("int8"), &more].concat();
    let tuned = setup(&tuned);
    let mut tuning = begin(&tuned, 1);
    assert!(largest_move(&trained, &tuning) <= 0.5 + 1e-5);
    let judged = |training: &Training, setup: &Setup| {
        let mut judge = Judge::new(setup.plan.seed, setup.shape, &Device::Host(1)).unwrap();
        judge.judge(training, &setup.corpus().unwrap()).unwrap()
    };
    // Adapters add nothing yet.
    let (whole, coded) = (judged(&trained, &setup(&sizes)), judged(&tuning, &tuned));
    let apart = (coded.loss - whole.loss).abs();
    assert!(
        apart > 1e-9 && apart < 0.01 * whole.loss,
        "{whole:?} {coded:?}"
    );
    assert!(coded.error < 1e-4, "{coded:?}");
    let before: Vec<_> = frozen(&tuning);
    let mut still = tuned.clone();
    (still.plan.recipe.clock.peak, still.plan.recipe.clock.floor) = (0.0, 0.0);
    // On the same windows, the last third of them.
    let last = |training: &mut Training| -> f64 {
        let losses = (0..60).map(|_| training.step().unwrap().loss);
        losses.skip(40).sum::<f64>() / 20.0
    };
    let (stays, learns) = (last(&mut begin(&still, 1)), last(&mut tuning));
    assert!(learns < 0.995 * stays, "{stays} {learns}");
    assert_eq!(before, frozen(&tuning));
}

/// The largest distance of a weight from what it was, in steps of its row.
fn largest_move(trained: &Training, tuning: &Training) -> f64 {
    let mut largest = 0.0_f64;
    for parameter in tuning.parameters.iter().filter(|p| p.scales.is_some()) {
        let before = trained.parameters.iter().find(|p| p.name == parameter.name);
        let before = trained.values(before.unwrap()).unwrap();
        let after = tuning.values(parameter).unwrap();
        let cols = parameter.shape[1];
        let rows = before.chunks_exact(cols).zip(after.chunks_exact(cols));
        for (before, after) in rows {
            let step = before.iter().map(|x| x.abs()).fold(0.0, f32::max) / 127.0;
            let moves = before
                .iter()
                .zip(after)
                .map(|(a, b)| f64::from((a - b) / step).abs());
            largest = moves.fold(largest, f64::max);
        }
    }
    assert!(largest > 0.4, "quantisation moved nothing");
    largest
}

fn frozen(training: &Training) -> Vec<Vec<f32>> {
    let frozen = training.parameters.iter().filter(|p| p.gradient.is_none());
    frozen.map(|p| training.values(p).unwrap()).collect()
}

/// Codes and scales are in the checkpoint, each with its digest; who reads the model gets numbers.
#[test]
fn checkpoints_hold_codes_and_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let setup = setup(&of_base("int8"));
    let mut whole = begin(&setup, 1);
    for _ in 0..2 {
        whole.step().unwrap();
    }
    checkpoint::save(&whole, &path).unwrap();
    let mut resumed = begin(&setup, 2);
    checkpoint::load(&mut resumed, &path).unwrap();
    let [a, b] = [&mut whole, &mut resumed].map(|training| training.step().unwrap().loss.to_bits());
    assert_eq!(a, b);
    let (shape, parameters) = writing::read(&path).unwrap();
    assert_eq!(shape.base, setup.shape.base);
    let of_codes = |(p, values): (&Parameter, &Vec<f32>)| {
        p.scales.is_none() || resumed.values(p).unwrap() == *values
    };
    assert!(resumed.parameters.iter().zip(&parameters).all(of_codes));
    let good = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let words = String::from_utf8_lossy(&good[8..header]).into_owned();
    for name in [
        "layers.1.attention.k.weight",
        "layers.1.attention.k.weight.scales",
    ] {
        let entry = words.find(&format!("\"{name}\":{{")).unwrap();
        let place = words[entry..].find("data_offsets\":[").unwrap() + entry + 15;
        let begin_of: usize = words[place..].split(',').next().unwrap().parse().unwrap();
        let mut bad = good.clone();
        bad[header + begin_of] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let error = checkpoint::load(&mut begin(&setup, 1), &path)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("tensor `{name}` is damaged")),
            "{error}"
        );
    }
    // What was written of codes is no base of numbers.
    std::fs::write(&path, good).unwrap();
    let mut other = setup.clone();
    other.base = Some(path);
    let corpus = other.corpus().unwrap();
    let failure = language::begin(&other, &corpus)
        .training(&Together::alone(1))
        .err()
        .unwrap();
    let words = failure.to_string();
    assert!(words.contains("is I8 of [8, 8]: expected F32"), "{words}");
}

#[test]
fn what_has_no_codes_is_refused() {
    let refuse = |params: &[(&str, ParamValue)], words: &str| {
        let failure = Setup::of(&case(params)).err().unwrap().to_string();
        assert!(failure.contains(words), "{failure}");
    };
    let int8 = ("base_stored", text("int8"));
    refuse(
        std::slice::from_ref(&int8),
        "`base_stored`: expected f32 without a `rank`: weights that are trained are no codes",
    );
    refuse(
        &[int8, ("rank", int(2)), ("experts", int(4))],
        "`base_stored`: expected f32 with `experts`",
    );
    refuse(
        &[("base_stored", text("int4")), ("rank", int(2))],
        "`base_stored`",
    );
}

/// The same case trains it, to the bits that its seed has, and adapters begin where it ended.
#[test]
fn a_base_may_be_trained_before() {
    let given = |more: &[(&str, ParamValue)]| {
        let own = [("rate", float(0.02)), ("rank", int(3)), ("batch", int(8))];
        case(&[&own[..], more].concat())
    };
    let run = |more: &[(&str, ParamValue)]| {
        let mut workload = TrainLm.prepare(&given(more)).unwrap();
        let losses = cases::run(workload.as_mut(), 5);
        assert!(workload.verify().unwrap().passed);
        assert_eq!(losses[0].to_bits(), losses[4].to_bits());
        (losses[0], workload.prepared().clone())
    };
    let (random, said) = run(&[]);
    assert!(said.facts["base.warning"].contains("its weights are random"));
    assert!(!said.inputs.contains_key("base"));
    let trained = [("base_steps", int(60))];
    let (begun, said) = run(&trained);
    assert!(begun < 0.7 * random, "{begun} {random}");
    assert_eq!(said.facts["base"], "trained here by 60 steps before");
    assert!(!said.facts.contains_key("base.warning"));
    let (again, same) = run(&[&trained[..], &[("threads", int(2))]].concat());
    assert_eq!(begun.to_bits(), again.to_bits());
    assert_eq!(said.inputs, same.inputs);
    let (_, other) = run(&[("base_steps", int(61))]);
    assert_ne!(said.inputs["base"], other.inputs["base"]);
    for more in [("rank", int(0)), ("base", text("other.safetensors"))] {
        let refused = TrainLm.prepare(&given(&[&trained[..], &[more]].concat()));
        let words = refused.err().unwrap().to_string();
        assert!(words.contains("`base_steps`: expected none"), "{words}");
    }
}
