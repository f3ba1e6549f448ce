//! Images from a registry: looked up once by whoever locks them, fetched by digest, and by nothing else.

mod server;

use std::fs;

use assay_record::OciDigests;

use super::Harbour;
use server::Registry;

/// Where the image is in the registry.
const NAME: &str = "assay/box";

/// A place whose image lies in a registry, under a tag of an index, and no longer in podman's store.
fn published() -> Option<(Harbour, Registry)> {
    let harbour = Harbour::with_image()?;
    let layout = harbour.place.path("layout");
    let id = harbour.locked("config").replace("sha256:", "");
    let to = layout.display();
    harbour.podman(&format!("save --quiet --format oci-dir -o {to} {id}"));
    let registry = Registry::serve(&layout, NAME);
    let conf = format!(
        "unqualified-search-registries = []\n[[registry]]\nlocation = \"{}\"\ninsecure = true\n",
        registry.address()
    );
    harbour.place.write("registries.conf", conf);
    harbour.podman("rmi --all --force");
    Some((harbour, registry))
}

impl Harbour {
    /// Pins what the registry's tag is now, and forgets the image again.
    fn lock_by_tag(&self, registry: &Registry) {
        let tagged = format!("{}/{NAME}:latest", registry.address());
        self.podman(&format!("pull --quiet {tagged}"));
        self.assay(&format!("env lock far {tagged}"))
            .exits(0)
            .says("index     sha256:");
        self.podman("rmi --all --force");
    }

    /// The digests that the last run's arm was pinned by.
    fn ran_by(&self) -> OciDigests {
        let arm = self.place.record().header.manifest.arms.remove(0);
        arm.image.unwrap().oci.unwrap()
    }
}

#[test]
fn an_image_is_locked_with_its_index_and_fetched_by_digest() {
    let Some((harbour, registry)) = published() else {
        return;
    };
    harbour.lock_by_tag(&registry);
    let lock = harbour.place.read("containers/lock.toml");
    for digest in [registry.index(), registry.manifest()] {
        assert!(lock.contains(&digest.to_string()), "{digest}: {lock}");
    }
    // The tag means nothing any more; a run asks for nothing, wherever its image may be.
    registry.take_tag_away();
    let asked = registry.asked().len();
    harbour
        .assay("run ./tiny.toml --env far")
        .exits(3)
        .says("assay env pull far");
    assert_eq!(registry.asked().len(), asked);
    harbour.assay("env pull far").exits(0).says("far: here");
    assert!(
        registry.asked()[asked..]
            .iter()
            .all(|one| !one.contains("latest"))
    );
    let asked = registry.asked().len();
    harbour.assay("run ./tiny.toml --env far").exits(0);
    harbour.assay("env pull far").exits(0);
    assert_eq!(registry.asked().len(), asked, "{:?}", registry.asked());
    let oci = harbour.ran_by();
    assert_eq!(oci.index, Some(registry.index()));
    assert_eq!(oci.manifest, registry.manifest());
}

#[test]
fn the_same_image_by_another_of_its_digests_is_the_same() {
    let Some((harbour, registry)) = published() else {
        return;
    };
    // Pinned by the manifest alone; here it came by the index, whose digest is then what podman names.
    let of = |digest| format!("{}/{NAME}@{digest}", registry.address());
    harbour.podman(&format!("pull --quiet {}", of(registry.manifest())));
    harbour
        .assay(&format!("env lock far {}", of(registry.manifest())))
        .exits(0)
        .says("index     none");
    harbour.podman("rmi --all --force");
    harbour.podman(&format!("pull --quiet {}", of(registry.index())));
    harbour.assay("run ./tiny.toml --env far").exits(0);
    assert_eq!(harbour.ran_by().index, None);
}

#[test]
fn what_a_registry_has_not_is_not_had() {
    let Some((harbour, registry)) = published() else {
        return;
    };
    harbour.lock_by_tag(&registry);
    let unknown = format!("sha256:{}", "0".repeat(64));
    let lock = harbour.place.read("containers/lock.toml");
    harbour.relock(&registry.index().to_string(), &unknown);
    harbour
        .assay("env pull far")
        .exits(3)
        .says(&unknown)
        .says("cannot be fetched");
    // Another image than is pinned, though the registry gives it out.
    harbour.place.write("containers/lock.toml", &lock);
    let config = harbour.locked("config");
    let other = format!("sha256:{}", "1".repeat(64));
    let pinned: String = lock.replace(&config, &other);
    harbour.place.write("containers/lock.toml", pinned);
    harbour.assay("env pull far").exits(3).says(&other);
    harbour.place.write("containers/lock.toml", &lock);
    harbour.podman("rmi --all --force");
    drop(registry);
    harbour
        .assay("env pull far")
        .exits(3)
        .says("cannot be fetched")
        .says("in reach");
    assert_eq!(harbour.place.runs().len(), 0);
}

#[test]
fn a_bundle_brings_along_an_image_of_a_registry() {
    let Some((harbour, registry)) = published() else {
        return;
    };
    harbour.lock_by_tag(&registry);
    harbour.assay("env pull far").exits(0);
    harbour.assay("run ./tiny.toml --env far").exits(0);
    harbour
        .assay("bundle latest --with-image -o run.bundle")
        .exits(0);
    harbour.podman("rmi --all --force");
    drop(registry);
    // Podman gives layers out unpacked, so that their manifest is another; what they hold is not.
    harbour
        .assay("reproduce run.bundle --no-confirm")
        .says("is packed otherwise here")
        .says("inputs:  identical")
        .says("outputs: identical")
        .lacks("The image of arm far was");
    assert!(fs::exists(harbour.place.path("run.bundle")).unwrap());
}
