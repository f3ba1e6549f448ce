//! Images are what was pinned, whatever their tags say.

use std::fs;

use super::Harbour;

#[test]
fn the_same_image_is_built_twice() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let first = harbour.place.read("containers/lock.toml");
    harbour.build("box").exits(0);
    assert_eq!(harbour.place.read("containers/lock.toml"), first);
    harbour.recipe("box", "other");
    harbour.build("box").exits(0);
    assert_ne!(harbour.place.read("containers/lock.toml"), first);
    harbour.assay("env verify").exits(0).says("box: as pinned");
    harbour
        .assay("env list")
        .exits(0)
        .says("localhost/assay-box");
    harbour
        .build("nowhere")
        .refuses(&["Containerfile", "worker-cpu"]);
}

#[test]
fn a_tag_that_moves_moves_no_run() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.assay("run ./tiny.toml --env box").exits(0);
    let first = harbour.locked("config");
    let before = harbour.place.read("containers/lock.toml");
    // Other content under the same tag; the lock file as it was.
    harbour.recipe("box", "other");
    harbour.build("box").exits(0);
    let second = harbour.locked("config");
    assert_ne!(first, second);
    harbour.place.write("containers/lock.toml", before);
    harbour.assay("reproduce latest").says("outputs: identical");
    let runs: Vec<String> = harbour
        .place
        .record()
        .events
        .into_iter()
        .map(|event| event.text)
        .collect();
    assert!(runs.iter().any(|text| text.contains(&first)), "{runs:?}");
    assert!(!runs.iter().any(|text| text.contains(&second)));
    // The first is gone, and the tag is still there: nothing runs.
    harbour.podman(&format!("rmi --force {first}"));
    let count = harbour.place.runs().len();
    harbour
        .assay("reproduce latest~1")
        .exits(3)
        .says("is not in the store of podman")
        .says("assay env build box");
    harbour
        .assay("run ./tiny.toml --env box")
        .exits(3)
        .says(&first);
    assert_eq!(harbour.place.runs().len(), count);
    harbour
        .assay("env verify box")
        .exits(1)
        .says("is not in the store");
}

#[test]
fn an_unknown_or_wrong_digest_runs_nothing() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let lock = harbour.place.read("containers/lock.toml");
    let unknown = format!("sha256:{}", "0".repeat(64));
    for field in ["config", "manifest"] {
        let locked = harbour.locked(field);
        harbour.relock(
            &format!("{field} = \"{locked}\""),
            &format!("{field} = \"{unknown}\""),
        );
        harbour
            .assay("run ./tiny.toml --env box")
            .exits(3)
            .says(&unknown)
            .says("assay env");
        harbour.place.write("containers/lock.toml", &lock);
    }
    harbour.relock("linux/amd64", "linux/arm64");
    harbour
        .assay("run ./tiny.toml --env box")
        .exits(3)
        .says("it is for linux/amd64");
    harbour.relock("sha256:", "md5:");
    harbour
        .assay("run ./tiny.toml --env box")
        .refuses(&["lock.toml", "md5"]);
    harbour.place.write("containers/lock.toml", &lock);
    harbour
        .assay("run ./tiny.toml --env nowhere")
        .refuses(&["`nowhere`", "has: box"]);
    assert_eq!(harbour.place.runs().len(), 0);
}

#[test]
fn an_image_may_come_as_an_archive() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    let id = harbour.locked("config").replace("sha256:", "");
    harbour.podman(&format!(
        "save --quiet --format oci-archive --uncompressed -o {} {id}",
        harbour.place.path("box.tar").display()
    ));
    harbour
        .assay("env lock packed --file box.tar")
        .exits(0)
        .says("file");
    // Not in the store: it is loaded from its file, whose digest is checked first.
    harbour.podman(&format!("rmi --force {id}"));
    harbour.assay("run ./tiny.toml --env packed").exits(0);
    assert_eq!(
        harbour.podman("images --quiet --no-trunc"),
        format!("sha256:{id}")
    );
    harbour.podman(&format!("rmi --force {id}"));
    let mut bytes = fs::read(harbour.place.path("box.tar")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(harbour.place.path("box.tar"), bytes).unwrap();
    harbour
        .assay("run ./tiny.toml --env packed")
        .exits(3)
        .says("box.tar")
        .says("another file");
    harbour.place.write("text", "no image");
    harbour
        .assay("env lock text --file text")
        .refuses(&["neither an OCI archive"]);
}
