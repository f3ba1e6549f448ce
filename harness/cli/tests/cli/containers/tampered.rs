//! Manifests, records and bundles of containers that somebody changed: no container is started for any of them.

use std::fs;

use assay_protocol::Philox;

use super::Harbour;

/// Changed bytes that are tried of each file; each is a start of the program.
const CHANGES: u64 = 12;

#[test]
fn what_was_tampered_with_starts_no_container() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour
        .assay("plan ./tiny.toml --env box -o m.json")
        .exits(0);
    harbour.assay("run m.json").exits(0);
    harbour
        .assay("bundle latest --with-image -o run.bundle")
        .exits(0);
    let record = harbour.place.records().remove(0);
    let random = Philox::new(6, 1);
    for (file, command) in [
        (harbour.place.path("m.json"), "run m.json"),
        (record, "reproduce latest"),
        (harbour.place.path("run.bundle"), "reproduce run.bundle"),
    ] {
        let whole = fs::read(&file).unwrap();
        for n in 0..CHANGES {
            let [at, how, ..] = random.block(n);
            let at = at as usize % whole.len();
            let mut changed = whole.clone();
            changed[at] ^= (how % 255) as u8 + 1;
            fs::write(&file, changed).unwrap();
            let outcome = harbour.assay(command);
            assert_eq!(outcome.code, Some(2), "byte {at}: {outcome}");
        }
        fs::write(&file, whole).unwrap();
    }
    assert_eq!(harbour.place.runs().len(), 1);
    assert_eq!(harbour.containers(), "");
}

#[test]
fn a_worker_that_was_changed_in_the_store_measures_nothing() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour
        .assay("plan ./tiny.toml --env box -o m.json")
        .exits(0);
    let layers = fs::read_dir(harbour.place.path("store/graph/overlay")).unwrap();
    let workers = layers.map(|layer| {
        layer
            .unwrap()
            .path()
            .join("diff/usr/local/bin/assay-worker")
    });
    let worker = workers.into_iter().find(|path| path.is_file()).unwrap();
    let mut bytes = fs::read(&worker).unwrap();
    bytes.push(0);
    fs::write(&worker, bytes).unwrap();
    harbour
        .assay("run m.json")
        .exits(3)
        .says("the manifest names sha256:")
        .says("was changed or damaged");
    assert!(harbour.place.record().blocks.is_empty());
    assert_eq!(harbour.containers(), "");
}
