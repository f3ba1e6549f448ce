//! What the digests of an image are of. An engine lists those of an index over all platforms and of one platform's manifest
//! alike; the documents themselves say which is which.
//!
//! Podman keeps them in its store, where they are known by their content. Otherwise the engine is asked, and may ask the
//! registry: locking may do so, a run never does.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use assay_protocol::Digest;
use serde_json::Value;

use crate::engines::client::Client;
use crate::engines::oci::{Stored, digest};
use crate::engines::podman;

/// Longest document that is read, in bytes; registries take no longer ones.
const MAX_BYTES: u64 = 4 << 20;

/// A document that a digest is of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Document {
    /// Manifests, each with its platform: `linux/amd64`.
    Index(Vec<(Digest, String)>),
    /// One platform's image, by the digest of its configuration; asked for by its address, an engine may not say it.
    Manifest(Option<Digest>),
}

/// An image's digests, told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Of the index, where there is one.
    pub index: Option<Digest>,
    /// Of this platform's manifest; of the configuration where nothing has a manifest, as with Docker's builds.
    pub manifest: Digest,
}

/// Tells the digests of a stored image apart; `repository` is where it came from.
pub fn tell_apart(client: &Client, repository: &str, found: &Stored) -> Named {
    let mut documents = in_store(client, found).unwrap_or_default();
    for digest in &found.digests {
        if !documents.contains_key(digest) {
            documents.extend(asked(client, repository, digest).map(|is| (*digest, is)));
        }
    }
    choose(found, &documents)
}

fn choose(found: &Stored, documents: &BTreeMap<Digest, Document>) -> Named {
    let of_this = |digest: &&Digest| match documents.get(digest) {
        Some(Document::Manifest(config)) => config.is_none_or(|config| config == found.id),
        _ => false,
    };
    let listed = || {
        let lists = found
            .digests
            .iter()
            .filter_map(|digest| documents.get(digest));
        let manifests = lists.flat_map(|document| match document {
            Document::Index(manifests) => &manifests[..],
            Document::Manifest(_) => &[],
        });
        let mut here = manifests.filter(|(_, platform)| *platform == found.platform);
        here.next().map(|(digest, _)| *digest)
    };
    let unknown = || {
        found
            .digests
            .iter()
            .find(|one| !documents.contains_key(one))
    };
    let manifest = found.digests.iter().find(of_this).copied();
    let manifest = manifest.or_else(listed).or_else(|| unknown().copied());
    let manifest = manifest.unwrap_or(found.id);
    let lists_it = |digest: &&Digest| match documents.get(digest) {
        Some(Document::Index(manifests)) => manifests.iter().any(|(one, _)| *one == manifest),
        _ => false,
    };
    Named {
        index: found.digests.iter().find(lists_it).copied(),
        manifest,
    }
}

/// Documents in podman's store: beside what else it knows of the image, in files whose names are its own business.
fn in_store(client: &Client, found: &Stored) -> Option<BTreeMap<Digest, Document>> {
    if client.program != podman::CLIENT.program {
        return None;
    }
    let format = "{{.Store.GraphRoot}}\n{{.Store.GraphDriverName}}";
    let answer = client.ask(&["info", "--format", format].map(OsStr::new));
    let said = String::from_utf8(answer.ok()?.stdout).ok()?;
    let (root, driver) = said.trim().split_once('\n')?;
    let folder = PathBuf::from(root)
        .join(format!("{driver}-images"))
        .join(found.id.hex());
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let is_short = entry.metadata().is_ok_and(|meta| meta.len() <= MAX_BYTES);
        let bytes = is_short.then(|| fs::read(entry.path()).ok()).flatten()?;
        let digest = Digest::of(&bytes);
        let document = parse(&serde_json::from_slice(&bytes).ok()?)?;
        found
            .digests
            .contains(&digest)
            .then_some((digest, document))
    };
    Some(fs::read_dir(folder).ok()?.filter_map(read).collect())
}

/// A document as the engine finds it; `None` where it finds none.
fn asked(client: &Client, repository: &str, digest: &Digest) -> Option<Document> {
    let name = format!("{repository}@{digest}");
    let words = ["manifest", "inspect", &name].map(OsStr::new);
    parse(&client.inspect(&words).ok()??)
}

fn parse(document: &Value) -> Option<Document> {
    if let Some(manifests) = document.get("manifests").and_then(Value::as_array) {
        let one = |manifest: &Value| {
            let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
            let platform = text("/platform/os").zip(text("/platform/architecture"));
            let platform = platform.map_or(String::new(), |(os, on)| format!("{os}/{on}"));
            Some((digest(text("/digest")?)?, platform))
        };
        return Some(Document::Index(manifests.iter().filter_map(one).collect()));
    }
    document.get("layers")?;
    let config = document.pointer("/config/digest").and_then(Value::as_str);
    Some(Document::Manifest(config.and_then(digest)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use assay_protocol::Digest;
    use serde_json::{Value, json};

    use super::{Named, choose, parse};
    use crate::engines::oci::Stored;

    fn of(name: &str) -> Digest {
        Digest::of(name)
    }

    /// What is told of an image with these digests, of which some documents are known.
    fn told(digests: &[&str], documents: &[(&str, Value)]) -> (Option<Digest>, Digest) {
        let found = Stored {
            id: of("config"),
            digests: digests.iter().map(|name| of(name)).collect(),
            platform: "linux/amd64".into(),
            names: vec![],
        };
        let known = |(name, text): &(&str, Value)| (of(name), parse(text).unwrap());
        let documents: BTreeMap<_, _> = documents.iter().map(known).collect();
        let Named { index, manifest } = choose(&found, &documents);
        (index, manifest)
    }

    #[test]
    fn the_documents_say_what_digests_are_of() {
        let index = |name: &str| {
            let one = |name: &str, on: &str| json!({"digest": of(name).to_string(), "platform": {"os": "linux", "architecture": on}});
            json!({"manifests": [one("arm", "arm64"), one(name, "amd64")]})
        };
        let manifest = json!({"config": {"digest": of("config").to_string()}, "layers": []});
        let other = json!({"config": {"digest": of("other").to_string()}, "layers": []});
        let both = (Some(of("index")), of("manifest"));
        let known = [("index", index("manifest")), ("manifest", manifest.clone())];
        assert_eq!(told(&["index", "manifest"], &known), both);
        assert_eq!(told(&["manifest", "index"], &known), both);
        // An engine that keeps the index's digest alone, as Docker does.
        assert_eq!(told(&["index"], &known), both);
        // Another packing of the same content is no index.
        let packed = [("manifest", manifest), ("packed", other)];
        assert_eq!(
            told(&["packed", "manifest"], &packed),
            (None, of("manifest"))
        );
        // Where no document is to be had, the engine's first digest is taken for the manifest's.
        assert_eq!(told(&["manifest"], &[]), (None, of("manifest")));
        assert_eq!(told(&[], &[]), (None, of("config")));
        // An index of other images.
        let foreign = [("index", json!({"manifests": []}))];
        assert_eq!(
            told(&["index", "manifest"], &foreign),
            (None, of("manifest"))
        );
    }
}
