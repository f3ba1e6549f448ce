//! Downloads: records as they are or not at all, and every point of a series.

use std::collections::BTreeMap;
use std::fs;

use assay_record::RunId;
use assay_reports::{
    Portion, Presentation, Publication, RESULTS, RecordFile, SiteModel, SiteSettings,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::Site;
use crate::build::run_id;
use crate::data::{ending, text, told};
use crate::fixture::model;

/// A record on the disk, and the fixture with its run among those whose downloads are published.
fn with_record(folder: &TempDir, edit: impl Fn(&mut assay_record::Manifest)) -> (SiteModel, RunId) {
    let recipe = assay_store::synthetic::Recipe::default();
    let plain = recipe.write(folder.path(), None).unwrap();
    let path = plain.with_extension("jsonl.zst");
    let packed = zstd::encode_all(&fs::read(&plain).unwrap()[..], 1).unwrap();
    fs::write(&path, packed).unwrap();
    let record = assay_record::Record::read(&path).unwrap();
    let mut model = model();
    let run = run_id(35);
    let bytes = fs::metadata(&path).unwrap().len();
    model.heads.insert(run.clone(), record.head.to_string());
    let file = RecordFile {
        path,
        bytes: Some(bytes),
    };
    model.records.insert(run.clone(), file);
    let mut manifest = record.header.manifest;
    edit(&mut manifest);
    let sealed = assay_record::ManifestFile::seal(&manifest).unwrap();
    let rows = model.runs.iter_mut();
    let summaries = model.summaries.iter_mut().map(|summary| &mut summary.run);
    for row in rows.chain(summaries).filter(|row| row.run == run) {
        row.manifest = sealed.digest;
    }
    (model, run)
}

/// Publishes with the manifest of that run at hand.
fn published(
    model: &SiteModel,
    run: &RunId,
    settings: &SiteSettings,
    edit: impl Fn(&mut assay_record::Manifest),
) -> Site {
    let folder = TempDir::new().unwrap();
    let mut manifest = assay_store::synthetic::Recipe::default()
        .record()
        .header
        .manifest;
    edit(&mut manifest);
    let sealed = assay_record::ManifestFile::seal(&manifest).unwrap();
    let presentation = Presentation::of(settings).unwrap();
    let out = folder.path().join("site");
    let mut publication = Publication::begin(model, &out, &presentation).unwrap();
    publication
        .add(&Portion {
            runs: publication.missing_runs(),
            manifests: std::collections::BTreeMap::from([(sealed.digest, sealed.manifest)]),
            ..crate::fixture::portion()
        })
        .unwrap();
    publication.add_others().unwrap();
    publication.finish().unwrap();
    assert!(out.join(format!("runs/{run}.html")).exists());
    Site { folder }
}

fn secrets(manifest: &mut assay_record::Manifest) {
    manifest.arms[0]
        .env
        .insert("TOKEN".into(), "secret value".into());
    manifest.arms[0].prefix = vec!["env".into(), "KEY=secret too".into()];
}

/// A secret in a variable of a command alone.
fn secret_of_a_command(manifest: &mut assay_record::Manifest) {
    let mut cases = manifest.cases.to_vec();
    cases[0].workload = assay_record::WorkloadRef::Command(assay_protocol::CommandSpec {
        argv: vec!["env".into(), "KEY=secret".into(), "true".into()],
        env: BTreeMap::from([("TOKEN".into(), "secret value".into())]),
        directory: None,
        timeout_ms: 1000,
        exit_code: 0,
        metrics: Vec::new(),
    });
    manifest.cases = cases.into();
}

#[test]
fn a_record_is_published_as_it_is_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let settings = SiteSettings::default();
    // That the suite is in a folder holds nothing back.
    let own = |manifest: &mut assay_record::Manifest| {
        manifest.suite.source = assay_record::Source::Folder("/home/somebody/name".into());
    };
    let (model, run) = with_record(&folder, own);
    let site = published(&model, &run, &settings, own);
    let files = site.files();
    let record = &files[&format!("runs/{run}.jsonl.zst")];
    assert_eq!(*record, fs::read(&model.records[&run].path).unwrap());
    let manifest = &files[&format!("runs/{run}-manifest.json")];
    let path = folder.path().join("manifest.json");
    fs::write(&path, manifest).unwrap();
    assay_record::ManifestFile::read(&path).expect("it is what `assay run` reads");
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let named = index["runs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|run| !run["record"].is_null());
    assert_eq!(named.count(), 1);

    // What pages keep back is in no file.
    let (model, run) = with_record(&folder, secret_of_a_command);
    let site = published(&model, &run, &settings, secret_of_a_command);
    let whole: Vec<u8> = site.files().into_values().flatten().collect();
    assert!(!whole.windows(6).any(|bytes| bytes == b"secret"));
    assert!(!site.root().join(format!("runs/{run}.jsonl.zst")).exists());
    let (model, run) = with_record(&folder, secrets);
    let site = published(&model, &run, &settings, secrets);
    let whole: Vec<u8> = site.files().into_values().flatten().collect();
    assert!(!whole.windows(6).any(|bytes| bytes == b"secret"));
    let page = text(&site, &format!("runs/{run}.html"));
    assert!(
        page.contains("without values of environment variables"),
        "{page}"
    );
    assert!(page.contains("<code>") && page.contains("--publish-source"));
    assert!(!site.root().join(format!("runs/{run}.jsonl.zst")).exists());
    let open = SiteSettings {
        publish_source: true,
        ..SiteSettings::default()
    };
    let site = published(&model, &run, &open, secrets);
    assert!(site.root().join(format!("runs/{run}.jsonl.zst")).exists());
    assert!(text(&site, &format!("runs/{run}-manifest.json")).contains("secret value"));
}

#[test]
fn a_file_that_is_not_the_record_is_not_published() {
    let folder = TempDir::new().unwrap();
    let (mut model, run) = with_record(&folder, |_| {});
    model.heads.insert(run.clone(), "another".into());
    let site = published(&model, &run, &SiteSettings::default(), |_| {});
    assert!(!site.root().join(format!("runs/{run}.jsonl.zst")).exists());
    assert!(text(&site, &format!("runs/{run}.html")).contains("not where it was"));
    // A run that is not among them says of which there are some.
    assert!(text(&site, &format!("runs/{}.html", run_id(34))).contains("of the newest 30 runs"));
}

#[test]
fn csv_holds_every_point_and_no_formula() {
    let site = Site::of(&told());
    let mut formulas = 0;
    for (name, file) in ending(&site, ".csv") {
        let json: Value =
            serde_json::from_str(&text(&site, &name.replace(".csv", ".json"))).unwrap();
        let runs = json["points"]["run"].as_array().unwrap();
        assert_eq!(file.matches("\r\n").count(), runs.len() + 1, "{name}");
        for (line, run) in file.split("\r\n").skip(1).zip(runs) {
            assert!(line.starts_with(run.as_str().unwrap()), "{name}: {line}");
            let is_formula = |cell: &str| cell.trim_matches('"').starts_with(['=', '+', '-', '@']);
            assert!(!line.split(',').any(is_formula), "{name}: {line}");
        }
        formulas += file.matches("\"'=HYPERLINK(\"\"http").count();
    }
    assert_eq!(formulas, 2, "one in each definition's first point");
}

#[test]
fn results_are_copied_and_are_no_page() {
    let folder = TempDir::new().unwrap();
    let mut model = told();
    let settings = SiteSettings::default();
    let publish = |model: &SiteModel, written: usize| {
        let presentation = Presentation::of(&settings).unwrap();
        let out = folder.path().join("site");
        let mut publication = Publication::begin(model, &out, &presentation).unwrap();
        let missing = publication.missing_results();
        assert_eq!(missing.len(), written);
        for (path, runs) in missing {
            fs::write(path, format!("PAR1 made up of {} PAR1", runs.len())).unwrap();
        }
        publication
            .add(&Portion {
                runs: publication.missing_runs(),
                ..Portion::default()
            })
            .unwrap();
        publication.add_others().unwrap();
        publication.finish().unwrap()
    };
    let without = publish(&model, 0);
    let index = |root: &std::path::Path| -> Value {
        serde_json::from_slice(&fs::read(root.join("index.json")).unwrap()).unwrap()
    };
    assert_eq!(index(&without.root)["results"], serde_json::json!([]));
    model.with_results = true;
    // As many runs in each as the README says, and what is left over in the last.
    let files = model.runs.len().div_ceil(25);
    assert!(files > 1);
    let with = publish(&model, files);
    assert_eq!(with.pages, without.pages);
    let made_up = "PAR1 made up of 25 PAR1";
    let results = || fs::read_to_string(with.root.join(RESULTS)).unwrap();
    assert_eq!(results(), made_up);
    let listed = index(&with.root)["results"].as_array().unwrap().clone();
    assert_eq!((listed.len(), listed[0].as_str()), (files, Some(RESULTS)));
    // What is of the same runs is taken over, and of others it is not.
    publish(&model, 0);
    assert_eq!(results(), made_up);
    model
        .heads
        .insert(model.runs[0].run.clone(), "another record".into());
    publish(&model, 1);
    model.with_results = false;
    let html = Site::of(&model).pages().len();
    assert_eq!(with.pages, html);
}
