//! From a suite to a record, a database, a site and back, and every way of naming a run.

use crate::helpers::{Place, spin};

/// `show --json` of every run, oldest first: the database as people see it.
fn shown(place: &Place) -> Vec<String> {
    let runs = place.records().len();
    (0..runs)
        .rev()
        .map(|back| {
            place
                .assay(&format!("show --json latest~{back}"))
                .exits(0)
                .stdout
        })
        .collect()
}

#[test]
fn a_run_leaves_a_record_and_a_database() {
    let place = Place::with_runs(1);
    let record = place.record();
    assert_eq!(record.blocks.len(), 2);
    assert!(record.footer.is_some());
    assert!(place.path("assay-data/assay.duckdb").is_file());
    assert_eq!(place.read("assay-data/.gitignore"), "*\n");
    place.is_left_alone();
}

#[test]
fn a_run_is_found_by_every_name_it_has() {
    let place = Place::with_runs(1);
    place.assay("run ./tiny.toml --tag fast --tag v2").exits(0);
    let ids = place.runs();
    for (name, expected) in [
        ("", &ids[1]),
        ("latest", &ids[1]),
        ("latest~1", &ids[0]),
        ("tag:fast", &ids[1]),
        ("tag:v2", &ids[1]),
        (&ids[0], &ids[0]),
        (&ids[0][..23], &ids[0]),
    ] {
        place.assay(&format!("show {name}")).exits(0).says(expected);
    }
    place
        .assay("show nonsense")
        .refuses(&["no run is called `nonsense`", &ids[1]]);
    place
        .assay("show latest~2")
        .refuses(&["latest~2", "goes back to `latest~1`"]);
    place
        .assay("show tag:slow")
        .refuses(&["tag:slow", "fast, v2"]);
    place
        .assay(&format!("show {}", &ids[0][..8]))
        .refuses(&["2 runs", &ids[0], &ids[1]]);
}

#[test]
fn json_is_machine_output_and_nothing_else() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    let run = place.assay("run ./tiny.toml --json").exits(0).json();
    let shown = place.assay("show --json").exits(0).json();
    assert_eq!(run, shown);
    assert_eq!(run["cases"][0]["state"]["is"], "ok");
    let again = place.assay("reproduce latest --json").json();
    assert_eq!(again["inputs"]["is"], "identical");
    place.assay("fingerprint show --json").exits(0).json();
}

#[test]
fn without_a_run_the_next_step_is_named() {
    let place = Place::new();
    place
        .assay("show")
        .refuses(&["assay.duckdb", "`assay run`"]);
    place
        .assay("report")
        .refuses(&["assay.duckdb", "`assay run`"]);
    place
        .assay("reproduce latest")
        .refuses(&["assay.duckdb", "`assay run`"]);
}

#[test]
fn a_night_prints_the_site_that_it_published() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    let night = place.assay("nightly ./tiny.toml").exits(0);
    for label in ["site:", "record:"] {
        let path = std::path::PathBuf::from(night.field(label));
        assert!(path.is_absolute() && path.is_file(), "{}", path.display());
    }
    let index = std::fs::read_to_string(night.field("site:")).unwrap();
    assert!(night.field("site:").ends_with("/index.html") && index.contains("tiny"));
}

#[test]
fn the_same_database_gives_the_same_site() {
    let place = Place::with_runs(2);
    place
        .assay("report --out one")
        .exits(0)
        .says("one/index.html");
    place.assay("report --out two").exits(0);
    let differences = place
        .program("diff")
        .args(["-r", "one", "two"])
        .output()
        .unwrap();
    assert!(differences.status.success(), "{differences:?}");
    // Publishing again replaces the site of before.
    place.assay("report --out one").exits(0);
}

#[test]
fn a_planned_manifest_runs_as_it_is() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.assay("plan ./tiny.toml -o manifest.json").exits(0);
    let manifest: serde_json::Value = serde_json::from_str(&place.read("manifest.json")).unwrap();
    place.assay("run manifest.json").exits(0);
    let record = place.record();
    assert_eq!(
        record.header.manifest_digest.to_string(),
        manifest["digest"].as_str().unwrap()
    );
    // Planning is a pure function of what it reads.
    assert_eq!(
        place.assay("plan ./tiny.toml").exits(0).stdout,
        place.read("manifest.json")
    );
    // And the manifest finds the run to compare with.
    place
        .assay("reproduce manifest.json")
        .says("inputs:  identical")
        .says("outputs: identical");
}

#[test]
fn a_changed_manifest_is_refused() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.assay("plan ./tiny.toml -o manifest.json").exits(0);
    let good = place.read("manifest.json");
    let refused = |name: &str, text: &str, words: &[&str]| {
        assert_ne!(text, good, "{name}: not changed at all");
        place.write(name, text);
        place
            .assay(&format!("run {name}"))
            .refuses(&[&[name], words].concat());
    };
    refused(
        "edited.json",
        &good.replace("\"steps\":1000", "\"steps\":1001"),
        &["field `digest`"],
    );
    refused(
        "cut.json",
        &good[..good.len() / 2],
        &["truncated", "`assay plan`"],
    );
    refused(
        "spaced.json",
        &good.replacen(':', ": ", 1),
        &["not in canonical form"],
    );
    refused(
        "newer.json",
        &good.replace("\"schema\":4", "\"schema\":5"),
        &["5", "newer"],
    );
    refused("empty.json", "", &["truncated"]);
    refused("other.json", "{}\n", &["field `manifest`"]);
    place.assay("run missing.json").refuses(&["missing.json"]);
    assert!(place.records().is_empty());
}

#[test]
fn a_rebuilt_database_says_what_the_old_one_said() {
    let place = Place::with_runs(2);
    let before = shown(&place);
    place.assay("db rebuild").exits(0).says("2 runs");
    assert_eq!(shown(&place), before);
    place.assay("db verify").exits(0).says("2 runs agree");
    std::fs::remove_file(place.path("assay-data/assay.duckdb")).unwrap();
    place.assay("ingest").exits(0).says("2 new");
    assert_eq!(shown(&place), before);
}

#[test]
fn verifying_finds_a_record_that_was_changed() {
    let place = Place::with_runs(2);
    let record = place.records().remove(0);
    let mut bytes = std::fs::read(&record).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&record, bytes).unwrap();
    let said = place.assay("db verify").exits(1);
    let said = said.says(record.to_str().unwrap());
    assert_eq!(said.stdout.matches("problem: ").count(), 1, "{said}");
    // A record that has become shorter is read again.
    std::fs::File::options()
        .write(true)
        .open(&record)
        .unwrap()
        .set_len(middle as u64)
        .unwrap();
    place
        .assay("ingest")
        .exits(2)
        .says(record.to_str().unwrap());
    // The database keeps what it knows.
    place.assay("show latest~1").exits(0);
}

#[test]
fn folders_are_ingested_in_any_order_any_number_of_times() {
    let place = Place::with_runs(1);
    place.write(
        "assay.toml",
        "machine = \"elsewhere\"\nrecords = \"elsewhere\"\n",
    );
    place.assay("run ./tiny.toml").exits(0);
    let mut histories = Vec::new();
    for folders in [
        "elsewhere assay-data/records",
        "assay-data/records elsewhere",
    ] {
        let index = histories.len();
        place.write("assay.toml", format!("database = \"{index}.duckdb\"\n"));
        for expected in ["2 new", "0 new, 0 updated, 2 unchanged"] {
            place
                .assay(&format!("ingest {folders}"))
                .exits(0)
                .says(expected);
        }
        let shown = |name| place.assay(&format!("show --json {name}")).exits(0).stdout;
        histories.push([shown("latest~1"), shown("latest")]);
    }
    assert_eq!(histories[0], histories[1]);
    assert!(histories[0][1].contains("\"machine\": \"elsewhere\""));
}

#[test]
fn a_suite_of_another_repository_is_named_by_its_path() {
    let place = Place::new();
    place.write(
        "far/away/own.toml",
        crate::helpers::suite("own", &[spin("a", 100), spin("b", 100)]),
    );
    place
        .assay("list far/away/own.toml")
        .exits(0)
        .says("a@cpu\nb@cpu");
    place
        .assay("run far/away/own.toml --filter b@")
        .exits(0)
        .says("1 ok")
        .lacks("a@cpu");
    place.assay("list").exits(0).says("smoke").says("cpu");
}

#[test]
fn built_in_workloads_are_listed_with_their_parameters() {
    let place = Place::new();
    place
        .assay("list --workloads")
        .exits(0)
        .says("stream-triad")
        .says("train-lm")
        .says("spin");
    place
        .assay("list --workload stream-triad")
        .exits(0)
        .says("stream-triad: ")
        .says("timing hot")
        .says("must be given")
        .says("default \"f32\"; one of f32, f64");
    place
        .assay("list --workload stream-traid")
        .refuses(&["no built-in workload `stream-traid` (did you mean `stream-triad`?)"]);
    place
        .assay("list smoke --workloads")
        .refuses(&["cannot be used with"]);
}
