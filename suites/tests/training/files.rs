//! Trainings on pictures and spectra of files, as `assay synth make` writes them: the bits of those on the generator's.

use std::path::{Path, PathBuf};

use assay_protocol::{Catalog, ParamValue, Prepared};
use assay_suites::synthetic::items::{Recipe, bytes, npy};
use assay_suites::synthetic::table::cells::CellTypes;
use assay_suites::synthetic::table::file::Sink;
use assay_suites::training::autoencoder::workload::TrainVae;
use assay_suites::training::convnet::workload::TrainCnn;

use crate::cases::{self, int, text};

/// The seed of all cases here.
const SEED: u64 = 5;
const STEPS: usize = 4;

/// Items of a recipe, and their labels, as files.
fn made(folder: &Path, name: &str, parameters: &serde_json::Value, items: usize) -> [PathBuf; 2] {
    let recipe = Recipe::of(name, parameters.as_object().unwrap().clone()).unwrap();
    let maker = recipe.build(None).unwrap();
    let [array, labels] = ["x.npy", "y.csv"].map(|name| folder.join(name));
    let header = npy::header(&maker.form(), items as u64).unwrap();
    let items_of = bytes(&*maker, SEED, 0, items as u64);
    std::fs::write(&array, [header, items_of].concat()).unwrap();
    let table = maker.table(SEED, 0, items);
    let mut sink = Sink::create(&labels, &table, &CellTypes::new()).unwrap();
    sink.append(&table).unwrap();
    sink.finish().unwrap();
    [array, labels]
}

/// Bits of losses, and what was said before.
fn trained(catalog: &dyn Catalog, given: &[(&str, ParamValue)]) -> (Vec<u64>, Prepared) {
    let info = catalog.info();
    let sizes = [("batch", int(3)), ("steps", int(STEPS as i64))];
    let case = cases::case(&info.name, info.parameters, &[&sizes[..], given].concat());
    let mut workload = catalog.prepare(&case).unwrap();
    let losses = cases::run(workload.as_mut(), STEPS);
    let verification = workload.verify().unwrap();
    assert!(verification.passed, "{verification:?}");
    let bits = losses.into_iter().map(f64::to_bits).collect();
    (bits, workload.prepared().clone())
}

fn path(path: &Path) -> ParamValue {
    text(path.to_str().unwrap())
}

#[test]
fn pictures_of_files_give_the_bits_of_the_generators() {
    let folder = tempfile::tempdir().unwrap();
    let [images, labels] = made(
        folder.path(),
        "pictures",
        &serde_json::json!({"size": 72}),
        40,
    );
    let files = [("images", path(&images)), ("labels", path(&labels))];
    let (stored, told) = trained(&TrainCnn, &files);
    let count = told.facts["pictures.train"].parse().unwrap();
    assert!((72..=144).contains(&count), "{count}");
    let (generated, of_generated) = trained(&TrainCnn, &[("pictures", int(count))]);
    assert_eq!(stored, generated);
    // Of other pictures they are judged, which the digest tells.
    assert_ne!(told.inputs["pictures"], of_generated.inputs["pictures"]);
    let nothing = "0.0000 of held-out pictures are trained on";
    assert_eq!(told.facts["pictures.leaked"], nothing);
    let (_, again) = trained(&TrainCnn, &files);
    assert_eq!(again.inputs, told.inputs);
}

#[test]
fn spectra_of_files_give_the_bits_of_the_generators() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = serde_json::json!({"points": 16 * 32, "most_redshift": 0.2});
    let [fluxes, _] = made(folder.path(), "spectra", &recipe, 40);
    let points = ("points", int(32));
    let (stored, told) = trained(&TrainVae, &[points.clone(), ("fluxes", path(&fluxes))]);
    let (generated, _) = trained(&TrainVae, &[points, ("spectra", int(36))]);
    assert_eq!(stored, generated);
    assert_eq!(told.facts["spectra.train"], "36");
    assert_eq!(
        told.facts["spectra.leaked"],
        "0.0000 of held-out spectra are trained on"
    );
}

#[test]
fn files_that_do_not_go_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [images, labels] = made(
        folder.path(),
        "pictures",
        &serde_json::json!({"size": 72}),
        20,
    );
    let refused = |given: &[(&str, ParamValue)], words: &str| {
        let info = TrainCnn.info();
        let case = cases::case(&info.name, info.parameters, given);
        let failure = TrainCnn.prepare(&case).err().unwrap().to_string();
        assert!(failure.contains(words), "{failure}");
    };
    let [images, labels] = [("images", path(&images)), ("labels", path(&labels))];
    refused(
        std::slice::from_ref(&labels),
        "`labels`: expected none without `images`",
    );
    refused(
        &[("label", text("a"))],
        "`label`: expected none without `images`",
    );
    refused(
        std::slice::from_ref(&images),
        "`labels`: expected the table of labels",
    );
    let other = ("side", int(32));
    let words = "its shape is [20, 72, 72, 3]: expected items of [96, 96, 3] each, along its first axis; its labels are of scenes";
    refused(&[images, labels, other], words);
}
