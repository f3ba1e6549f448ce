//! Checkpoints: a training goes on from one bit for bit, and any damage and any other training is refused in words.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use assay_protocol::{CaseSpec, Catalog, Failure, ParamValue, Workload};
use assay_suites::training::autoencoder::workload::TrainVae;
use assay_suites::training::checkpoint;
use assay_suites::training::language::{self, TrainLm};
use assay_suites::training::perceptron::TrainMlp;
use assay_suites::training::run::{Begin, Together};

use crate::cases::{self, float, int, text};
use crate::language::{begin, case, setup};

type Given<'a> = (&'a str, ParamValue);

fn bits(losses: &[f64]) -> Vec<u64> {
    losses.iter().map(|loss| loss.to_bits()).collect()
}

#[test]
fn checkpoints_go_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let given = [("experts", int(3)), ("optimizer", text("adan"))];
    let mut whole = begin(&given);
    for _ in 0..2 {
        whole.step().unwrap();
    }
    let bytes = checkpoint::save(&whole, &path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
    let mut resumed = begin(&given);
    checkpoint::load(&mut resumed, &path).unwrap();
    assert_eq!(resumed.at(), 2);
    for _ in 0..2 {
        let [a, b] = [&mut whole, &mut resumed].map(|training| training.step().unwrap());
        assert_eq!(
            (a.loss.to_bits(), a.norm.to_bits()),
            (b.loss.to_bits(), b.norm.to_bits())
        );
    }
}

/// Small, so that each of its bits can be turned.
const SMALL: [(&str, i64); 3] = [("layers", 1), ("width", 4), ("heads", 1)];

/// Where the tensors of a file begin.
fn end_of_header(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

#[test]
fn any_bit_of_a_checkpoint_matters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    let given = SMALL.map(|(name, size)| (name, int(size)));
    let given = [&given[..], &[("optimizer", text("sgd"))]].concat();
    let mut training = begin(&given);
    training.step().unwrap();
    checkpoint::save(&training, &path).unwrap();
    let good = fs::read(&path).unwrap();
    let header = end_of_header(&good);
    let mut other = begin(&given);
    let mut load = || {
        let found = checkpoint::load(&mut other, &path);
        assert_eq!(other.at(), usize::from(found.is_ok()));
        found.err().map(|error| error.to_string())
    };
    let file = fs::File::options().write(true).open(&path).unwrap();
    let mut with_bit = |place: usize, bit: u32| {
        let write = |byte: u8| file.write_all_at(&[byte], place as u64).unwrap();
        write(good[place] ^ (1 << bit));
        let words = load();
        write(good[place]);
        words.unwrap_or_else(|| panic!("bit {bit} of byte {place}, of {header} of the header"))
    };
    for place in 0..header {
        (0..8).for_each(|bit| _ = with_bit(place, bit));
    }
    for place in (header..good.len()).step_by(61).chain([good.len() - 1]) {
        for bit in 0..8 {
            let words = with_bit(place, bit);
            let is_named = words.contains("tensor `") && words.contains("is damaged");
            assert!(is_named, "{words}");
        }
    }
    let mut refusal = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        load()
    };
    let longer = [&good[..], b"x"].concat();
    let words = refusal(&longer).unwrap();
    assert!(
        words.contains("1 bytes are behind its last tensor"),
        "{words}"
    );
    for cut in [1, 100, good.len() - header] {
        let words = refusal(&good[..good.len() - cut]).unwrap();
        let is_named = words.contains("tensor `") && words.contains("cut short");
        assert!(is_named, "{words}");
    }
    for length in [0, 7, 8, header - 1] {
        assert!(refusal(&good[..length]).is_some(), "{length}");
    }
    assert_eq!(refusal(&good), None);
}

/// The step is what the header's digest is for: nothing else tells that it is another.
#[test]
fn another_step_is_refused_and_so_is_a_header_without_a_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edited.safetensors");
    let training = begin(&[]);
    checkpoint::save(&training, &path).unwrap();
    let good = fs::read(&path).unwrap();
    let end = end_of_header(&good);
    let edited = |edit: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let mut header: serde_json::Value = serde_json::from_slice(&good[8..end]).unwrap();
        edit(header["__metadata__"].as_object_mut().unwrap());
        let header = serde_json::to_vec_pretty(&header).unwrap();
        let length = (header.len() as u64).to_le_bytes();
        fs::write(&path, [&length[..], &header, &good[end..]].concat()).unwrap();
        let found = checkpoint::load(&mut begin(&[]), &path);
        found.map(drop).map_err(|error| error.to_string())
    };
    // Written with other spaces it says the same.
    edited(&|_| ()).unwrap();
    let set = |name: &'static str, value: &'static str| {
        edited(&move |metadata| _ = metadata.insert(name.into(), value.into())).unwrap_err()
    };
    assert!(set("step", "3").contains("the header is damaged: its digest is"));
    assert!(set("author", "me").contains("the header is damaged"));
    let words = edited(&|metadata| _ = metadata.remove("sha256")).unwrap_err();
    assert!(words.contains("it has no digest"), "{words}");
    let words = set("format", "assay-training-1");
    assert!(
        words.contains("expected `assay-training-2`") && words.contains("train it again"),
        "{words}"
    );
    // It may be either.
    let words = "the header is damaged, or was written by another version";
    assert!(set("format", "assay-training-9").contains(words));
}

/// Steps to a quality are those of the whole training, whoever took the first of them; how long these took is not known.
#[test]
fn steps_to_a_quality_are_counted_from_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = text(folder.path().join("half.safetensors").to_str().unwrap());
    let given = [
        ("steps", int(40)),
        ("rate", float(0.02)),
        ("quality", float(3.5)),
    ];
    let run = |more: &[Given]| {
        let mut workload = TrainLm.prepare(&case(&[&given, more].concat())).unwrap();
        cases::run(workload.as_mut(), 1);
        let verification = workload.verify().unwrap();
        let values = workload.finish().unwrap();
        (verification, values, workload.prepared().clone())
    };
    let (verification, whole, _) = run(&[]);
    assert!(verification.passed, "{verification:?}");
    assert!(
        whole["steps_to_quality"] > 14.0 && whole["time_to_quality"] > 0.0,
        "{whole:?}"
    );
    run(&[("stop", int(3)), ("save", path.clone())]);
    let (verification, resumed, prepared) = run(&[("resume", path)]);
    assert!(verification.passed, "{verification:?}");
    let [a, b] = [&whole, &resumed].map(|values| values["steps_to_quality"]);
    assert_eq!(a.to_bits(), b.to_bits(), "{a} {b}");
    assert!(!resumed.contains_key("time_to_quality"));
    assert!(
        prepared
            .metrics
            .iter()
            .all(|metric| metric.name != "time_to_quality")
    );
    assert!(prepared.facts["quality"].contains("counts the 3 steps before"));
}

/// A checkpoint of another training says of what it is, even where its tensors would fit.
#[test]
fn checkpoints_of_other_trainings_say_what_made_them() {
    let folder = tempfile::tempdir().unwrap();
    let path_of = |name: &str| folder.path().join(name);
    let whole = begin(&[]);
    let plain = path_of("plain.safetensors");
    checkpoint::save(&whole, &plain).unwrap();
    let base = |name: &str| ("base", text(path_of(name).to_str().unwrap()));
    let mut other = begin(&[]);
    other.step().unwrap();
    checkpoint::save(&other, &path_of("other.safetensors")).unwrap();
    let of_base = [("rank", int(2)), base("plain.safetensors")];
    let tuned = path_of("tuned.safetensors");
    checkpoint::save(&begin(&of_base), &tuned).unwrap();
    let refused = |path: &Path, params: &[Given]| {
        let error = checkpoint::load(&mut begin(params), path).unwrap_err();
        error.to_string().split_once(": ").unwrap().1.to_owned()
    };
    let made = "the checkpoint was made with";
    for (params, words) in [
        (
            ("optimizer", text("lion")),
            "`optimizer` adamw, this run uses lion",
        ),
        (("heads", int(4)), "`heads` 2, this run uses 4"),
        (("width", int(12)), "`width` 8, this run uses 12"),
        (
            ("position", text("alibi")),
            "`position` learned, this run uses alibi",
        ),
        (("rank", int(2)), "`rank` 0, this run uses 2"),
        (
            ("capacity", float(0.25)),
            "`capacity` 1.25, this run uses 0.25",
        ),
        (("batch", int(2)), "`batch` 3, this run uses 2"),
        (
            ("accumulation", int(2)),
            "`accumulation` 1, this run uses 2",
        ),
    ] {
        assert_eq!(refused(&plain, &[params]), format!("{made} {words}"));
    }
    let words = refused(&plain, &[("stored", text("f16"))]);
    let expected = format!("{made} `stored` f32, this run uses f16: tensor `loss-scale`");
    assert!(words.starts_with(&expected), "{words}");
    let words = refused(&tuned, &[("rank", int(2)), base("other.safetensors")]);
    assert!(words.starts_with(&format!("{made} `base` ")), "{words}");
    // What may change from one run to the next.
    let changed = |path: &Path, params: &[Given]| {
        let contents = checkpoint::load(&mut begin(params), path).unwrap();
        contents.changed
    };
    assert_eq!(changed(&tuned, &of_base), None);
    let of_others = [
        ("recompute", text("yes")),
        ("quality", float(1.0)),
        ("stop", int(3)),
    ];
    assert_eq!(changed(&plain, &of_others), None);
    let recipe = [("rate", float(0.5)), ("steps", int(9))];
    let words = format!("{made} `rate` 0.003, this run uses 0.5; `steps` 4, this run uses 9");
    assert_eq!(changed(&plain, &recipe), Some(words));
    // A base of a model that is read otherwise.
    let setup = setup(&[&of_base[..], &[("heads", int(4))]].concat());
    let corpus = setup.corpus().unwrap();
    let error = language::begin(&setup, &corpus)
        .training(&Together::alone(1))
        .err();
    let Some(Failure::Failed(words)) = error else {
        panic!("a base of other heads");
    };
    assert!(words.contains("`heads` 2, this run uses 4"), "{words}");
}

/// What a workload says that goes on from the checkpoint of another, after all steps of that.
fn resumed(
    catalog: &dyn Catalog,
    [written, own]: [&CaseSpec; 2],
) -> Result<Box<dyn Workload>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let with = |case: &CaseSpec, name: &str, steps: i64| {
        let mut case = case.clone();
        let path = text(path.to_str().unwrap());
        let own = [(name.to_owned(), path), ("steps".to_owned(), int(steps))];
        case.params.extend(own);
        case
    };
    let mut first = catalog.prepare(&with(written, "save", 2)).unwrap();
    assert!(cases::run(first.as_mut(), 1).len() == 1 && first.verify().unwrap().passed);
    let second = catalog.prepare(&with(own, "resume", 4));
    second.map_err(|failure| failure.to_string())
}

/// Seed and data are as much of a training as its model; who trains is not.
#[test]
fn other_seeds_and_other_data_are_refused() {
    let of_lm = |params: &[Given], seed: u64| CaseSpec {
        seed: seed.into(),
        ..case(params)
    };
    let refused = |params: &[Given], seed: u64, words: &[&str]| {
        let found = resumed(&TrainLm, [&of_lm(&[], 5), &of_lm(params, seed)]);
        let found = found.err().unwrap_or_else(|| panic!("{params:?}"));
        assert!(words.iter().all(|words| found.contains(words)), "{found}");
    };
    let of_seed = "made with `seed` 5, this run uses 6; data `corpus` sha256:";
    refused(&[], 6, &[of_seed]);
    let of_size = "made with `corpus` 3000, this run uses 4000; data `corpus` sha256:";
    refused(&[("corpus", int(4000))], 5, &[of_size]);
    let own = of_lm(&[("threads", int(2)), ("recompute", text("yes"))], 5);
    let found = resumed(&TrainLm, [&of_lm(&[], 5), &own]).unwrap();
    let told = "after step 2; the checkpoint was made with `steps` 2, this run uses 4";
    assert_eq!(found.prepared().facts["resumed"], told);

    let small = [("steps", int(2)), ("width", int(8)), ("batch", int(4))];
    let of = |name: &str, catalog: &dyn Catalog, params: &[Given]| {
        let infos = catalog.info().parameters;
        cases::case(name, infos, &[&small[..], params].concat())
    };
    let spectra = [("spectra", int(40)), ("points", int(32))];
    let of_vae = |given: &[Given]| of("train-vae", &TrainVae, &[&spectra[..], given].concat());
    let rows = [("rows", int(300))];
    let of_mlp = |given: &[Given]| of("train-mlp", &TrainMlp, &[&rows[..], given].concat());
    let refusal = |catalog: &dyn Catalog, cases: [&CaseSpec; 2]| {
        let found = resumed(catalog, cases);
        found.err().unwrap()
    };
    let (vae, mlp) = (of_vae(&[]), of_mlp(&[]));
    let words = refusal(&TrainVae, [&vae, &of_vae(&[("beta", float(2.0))])]);
    assert!(words.ends_with("with `beta` 1, this run uses 2"), "{words}");
    let words = refusal(&TrainVae, [&vae, &of_vae(&[("redshift", float(0.1))])]);
    let expected = "with `redshift` 0.2, this run uses 0.1; data `spectra` sha256:";
    assert!(words.contains(expected), "{words}");
    let words = refusal(&TrainMlp, [&mlp, &of_mlp(&[("rows", int(400))])]);
    let expected = "with `rows` 300, this run uses 400; data `table` sha256:";
    assert!(words.contains(expected), "{words}");
}

/// A training that stops on its way, and one that goes on from there to its end.
#[test]
fn a_training_that_stops_goes_on_as_if_it_had_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let of = |given: &[Given]| {
        let steps = [("steps", int(9)), ("warmup", int(2))];
        TrainLm.prepare(&case(&[&steps[..], given].concat()))
    };
    let whole = cases::run(of(&[]).unwrap().as_mut(), 9);
    let save = ("save", text(&path("half")));
    let mut first = of(&[("stop", int(5)), save]).unwrap();
    // More than it has: then it begins again.
    let found = cases::run(first.as_mut(), 7);
    assert_eq!(bits(&found), bits(&[&whole[..5], &whole[..2]].concat()));
    assert!(first.verify().unwrap().passed);
    let resume = ("resume", text(&path("half")));
    let mut second = of(std::slice::from_ref(&resume)).unwrap();
    assert_eq!(second.prepared().facts["resumed"], "after step 5");
    assert_eq!(bits(&cases::run(second.as_mut(), 4)), bits(&whole[5..]));
    assert!(second.verify().unwrap().passed);
    // What it goes on from is an input: another one of the same step has another digest.
    let begun = second.prepared().inputs["resume"];
    let mut other = of(&[
        ("stop", int(5)),
        ("rate", float(2e-3)),
        ("save", text(&path("other"))),
    ])
    .unwrap();
    cases::run(other.as_mut(), 5);
    assert!(other.verify().unwrap().passed);
    let inputs_of = |name: &str| {
        let params = [("resume", text(&path(name))), ("rate", float(2e-3))];
        of(&params).unwrap().prepared().inputs["resume"]
    };
    assert_eq!(inputs_of("half"), begun);
    assert_ne!(inputs_of("other"), begun);
    let over = of(&[resume, ("stop", int(5))]).err().unwrap().to_string();
    assert!(
        over.contains("has come to step 5; expected less than `stop`, 5"),
        "{over}"
    );
    let refuse = |given: &[Given], expected: &str| {
        let words = of(given).err().unwrap().to_string();
        assert!(words.contains(expected), "{words}");
    };
    refuse(
        &[("stop", int(10))],
        "`stop`: expected an integer of 1 to 9",
    );
    refuse(&[("stop", int(0))], "`stop`");
    refuse(
        &[("save_every", int(2))],
        "`save_every`: expected none without `save`",
    );
}

/// A checkpoint is there after each so many steps, and none of a repetition takes the place of the last one.
#[test]
fn checkpoints_are_written_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("on-the-way.safetensors");
    let step = || {
        let bytes = fs::read(&path).unwrap();
        let header = &bytes[8..end_of_header(&bytes)];
        let header: serde_json::Value = serde_json::from_slice(header).unwrap();
        header["__metadata__"]["step"].as_str().unwrap().to_owned()
    };
    let given = [
        ("steps", int(7)),
        ("save", text(path.to_str().unwrap())),
        ("save_every", int(3)),
    ];
    let mut training = TrainLm.prepare(&case(&given)).unwrap();
    let training = training.as_mut();
    cases::run(training, 3);
    assert!(!path.exists());
    // What is due is written before the next step, out of its time.
    cases::run(training, 1);
    assert_eq!(step(), "3");
    cases::run(training, 2);
    assert_eq!(step(), "3");
    cases::run(training, 1);
    assert_eq!(step(), "6");
    cases::run(training, 5);
    assert_eq!(step(), "7");
    training.verify().unwrap();
    assert_eq!(step(), "7");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

/// What stands there of another training stays, and so does another result of the same one.
#[test]
fn no_checkpoint_takes_the_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.safetensors");
    let again = folder.path().join("one.again.safetensors");
    let prepare = |given: &[Given]| {
        let save = ("save", text(path.to_str().unwrap()));
        TrainLm.prepare(&case(&[&[save], given].concat()))
    };
    let train = |given: &[Given]| {
        let mut training = prepare(given).unwrap();
        cases::run(training.as_mut(), 4);
        let verified = training.verify().unwrap();
        assert!(verified.passed, "{verified:?}");
        verified.detail
    };
    train(&[]);
    let first = fs::read(&path).unwrap();
    let stays = || assert!(fs::read(&path).unwrap() == first);
    let words = prepare(&[("rate", float(2e-3))]).err().unwrap().to_string();
    let expected =
        "the checkpoint of another training stands there, the checkpoint was made with `rate`";
    assert!(
        words.contains("`save`") && words.contains(expected),
        "{words}"
    );
    // The same once more, on its way and in the end.
    train(&[("save_every", int(1)), ("threads", int(2))]);
    stays();
    let told = train(&[("stop", int(3))]);
    assert!(told.contains("has come to step 4"), "{told}");
    stays();
    assert!(!again.exists());
    // The same training, of which something came out otherwise.
    let of_case = setup(&[]);
    let corpus = of_case.corpus().unwrap();
    let begun = Begin {
        inputs: of_case.inputs(&corpus),
        ..language::begin(&of_case, &corpus)
    };
    let mut other = begun.training(&Together::alone(1)).unwrap();
    (0..4).for_each(|_| _ = other.step().unwrap());
    let norm = other.parameters.last().unwrap().buffer;
    other.write(norm, &[0; 64]).unwrap();
    fs::remove_file(&path).unwrap();
    checkpoint::save(&other, &path).unwrap();
    let kept = fs::read(&path).unwrap();
    let told = train(&[]);
    assert!(
        told.contains("has other bits") && told.contains("one.again.safetensors"),
        "{told}"
    );
    assert!(fs::read(&path).unwrap() == kept && fs::read(&again).unwrap() == first);
    fs::write(&path, "a letter").unwrap();
    let words = prepare(&[]).err().unwrap().to_string();
    assert!(words.contains("no checkpoint of this version"), "{words}");
    assert_eq!(fs::read(&path).unwrap(), b"a letter");
}

/// What cannot be written is said before the first step, and not after the last.
#[test]
fn a_place_where_nothing_can_be_written_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |path: &Path, words: &str| {
        let save = [("save", text(path.to_str().unwrap()))];
        let failure = TrainLm.prepare(&case(&save)).err().unwrap().to_string();
        assert!(
            failure.contains("parameter `save`: ") && failure.contains(words),
            "{failure}"
        );
    };
    let missing = folder.path().join("none");
    let words = format!("there is no folder {}", missing.display());
    refuse(&missing.join("x.safetensors"), &words);
    refuse(folder.path(), "it is a folder");
    // Names have 255 bytes at most.
    refuse(
        &folder.path().join("x".repeat(250)),
        "nothing can be written there",
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A file that is read again is none that is written, whatever it is called.
#[test]
fn what_is_read_again_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    checkpoint::save(&begin(&[]), &path).unwrap();
    let link = folder.path().join("link.safetensors");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let around = folder
        .path()
        .join("../")
        .join(folder.path().file_name().unwrap());
    let around = around.join("half.safetensors");
    for save in [&path, &link, &around] {
        for (name, more) in [("resume", ("rank", int(0))), ("base", ("rank", int(2)))] {
            let given = [
                (name, text(path.to_str().unwrap())),
                ("save", text(save.to_str().unwrap())),
                more,
            ];
            let words = TrainLm.prepare(&case(&given)).err().unwrap().to_string();
            let expected = format!("`{name}`: expected another file than that of `save`");
            assert!(words.contains(&expected), "{words}");
        }
    }
}

/// One that somebody else writes in the meantime is no failure of determinism.
#[test]
fn a_file_that_changes_before_verification_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let write = |stop: i64| {
        let save = ("save", text(path.to_str().unwrap()));
        let mut training = TrainLm
            .prepare(&case(&[save, ("stop", int(stop))]))
            .unwrap();
        cases::run(training.as_mut(), 1);
        assert!(training.verify().unwrap().passed);
    };
    write(1);
    let given = [
        ("resume", text(path.to_str().unwrap())),
        ("threads", int(2)),
    ];
    let mut resumed = TrainLm.prepare(&case(&given)).unwrap();
    cases::run(resumed.as_mut(), 3);
    write(2);
    let words = resumed.verify().unwrap_err().to_string();
    assert!(
        words.contains("it is another file than the one that the training began with"),
        "{words}"
    );
}
