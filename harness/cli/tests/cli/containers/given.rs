//! What containers are given, and what is found when they are looked at: anything else than was asked for ends the run.

use std::path::PathBuf;

use super::{CONF, Harbour};
use crate::helpers::{ASSAY, Outcome};

#[test]
fn a_volume_of_an_image_is_left_out() {
    let Some(harbour) = Harbour::new() else {
        return;
    };
    harbour.recipe("box", "");
    let file = "FROM scratch\nCOPY root/ /\nENV OF_THE_IMAGE=1\nVOLUME /data\n";
    harbour.place.write("containers/box/Containerfile", file);
    harbour.build("box").exits(0);
    harbour.assay("run ./tiny.toml --env box").exits(0);
    assert_eq!(harbour.podman("volume ls --quiet"), "");
}

#[test]
fn what_an_engines_configuration_adds_ends_the_run() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour
        .assay("plan ./tiny.toml --env box -o m.json")
        .exits(0);
    for (line, expected) in [
        ("env=[\"LEAK=secret\"]", "the variable `LEAK`"),
        ("volumes=[\"/etc:/data:ro\"]", "a folder /data"),
    ] {
        let conf = CONF.replacen('\n', &format!("\n{line}\n"), 1);
        harbour.place.write("containers.conf", conf);
        for run in ["run ./tiny.toml --env box", "run m.json"] {
            harbour
                .assay(run)
                .exits(3)
                .says(expected)
                .says("containers.conf")
                .lacks("secret");
        }
        // The run that had begun says so in its record, and measured nothing.
        let record = harbour.place.record();
        assert!(record.blocks.is_empty());
        let said = |event: &assay_record::Event| event.text.contains(expected);
        assert!(record.events.iter().any(said), "{:?}", record.events);
        assert_eq!(harbour.containers(), "");
    }
    assert_eq!(harbour.place.runs().len(), 2);
}

/// Where a program is.
fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|place| place.is_file()).unwrap()
}

#[test]
fn a_container_that_turns_out_to_be_another_ends_the_run() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour
        .assay("plan ./tiny.toml --env box -o m.json")
        .exits(0);
    // An engine that runs one image, and says that it runs another.
    let (pinned, other) = (
        harbour.locked("config").replace("sha256:", ""),
        "0".repeat(64),
    );
    let real = found("podman").display().to_string();
    let body = format!(
        "[ \"$1 $2\" = 'container inspect' ] || exec {real} \"$@\"\n{real} \"$@\" | sed 's/{pinned}/{other}/g'"
    );
    harbour.place.script("bin/podman", &body);
    let path = std::env::var("PATH").unwrap();
    let mut run = harbour.command(ASSAY);
    run.args(["run", "m.json"]).env(
        "PATH",
        format!("{}:{path}", harbour.place.path("bin").display()),
    );
    Outcome::of("run m.json", &run.output().unwrap())
        .exits(3)
        .says(&format!("runs sha256:{other}"))
        .says(&format!("the manifest pins sha256:{pinned}"));
    assert!(harbour.place.record().blocks.is_empty());
    assert_eq!(harbour.containers(), "");
}
