//! The small commands around the road: help, completions, schemas, doctor, fingerprint.

use crate::helpers::{Place, repository_file};

#[test]
fn help_names_every_command() {
    let place = Place::new();
    insta::assert_snapshot!(place.assay("--help").exits(0).stdout);
}

#[test]
fn completions_are_a_script_of_their_shell() {
    let place = Place::new();
    let script = place.assay("completions bash").exits(0).stdout;
    place.write("assay.bash", &script);
    let sourced = place
        .program("bash")
        .args(["-c", "source assay.bash && complete -p assay"])
        .output()
        .unwrap();
    assert!(sourced.status.success(), "{sourced:?}");
    for shell in ["zsh", "fish"] {
        place
            .assay(&format!("completions {shell}"))
            .exits(0)
            .says("worker-check");
    }
    place.assay("completions tcsh").refuses(&["tcsh", "bash"]);
}

#[test]
fn schemas_are_those_that_are_checked_in() {
    let place = Place::new();
    for format in ["suite", "manifest", "record"] {
        let printed = place.assay(&format!("schema {format}")).exits(0);
        printed.json();
        let checked_in =
            repository_file(&format!("suites/definitions/schema/{format}.schema.json"));
        assert_eq!(printed.stdout.trim_end(), checked_in.trim_end(), "{format}");
    }
}

#[test]
fn the_doctor_says_what_it_found_and_changes_nothing() {
    let place = Place::new();
    let few = place.assay("doctor").exits(0).says(" good");
    let all = place.assay("doctor --all").exits(0);
    assert!(all.stdout.lines().count() > few.stdout.lines().count());
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 0);
}

#[test]
fn a_fingerprint_is_shown_and_two_are_compared_in_words() {
    let place = Place::with_runs(1);
    place
        .assay("fingerprint")
        .exits(0)
        .says("hardware")
        .says("software")
        .says("settings")
        .says("volatile");
    let json = place
        .assay("fingerprint show latest --json")
        .exits(0)
        .stdout;
    place.write("then.json", &json);
    place
        .assay("fingerprint diff then.json latest")
        .exits(0)
        .says("No difference that matters");
    let kernel = serde_json::from_str::<serde_json::Value>(&json).unwrap();
    let release = kernel["software"]["kernel.release"]["value"]
        .as_str()
        .unwrap()
        .to_owned();
    place.write("other.json", json.replace(&release, "9.9.9-other"));
    place
        .assay("fingerprint diff other.json here")
        .exits(0)
        .says("9.9.9-other")
        .says("software");
    place
        .assay("fingerprint show nowhere.json")
        .refuses(&["nowhere.json"]);
    place.write("broken.json", "{}");
    place
        .assay("fingerprint show broken.json")
        .refuses(&["broken.json", "not a fingerprint"]);
}

#[test]
fn the_version_is_that_of_the_crate() {
    let version = concat!("assay ", env!("CARGO_PKG_VERSION"));
    Place::new().assay("--version").exits(0).says(version);
}
