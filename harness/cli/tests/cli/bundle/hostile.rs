//! Bundles that somebody made by hand: what they hold besides is not laid out.

use std::fs;

use assay::bundle::format::{Encoding, Extent, MAGIC, Part, What};
use assay::bundle::reading::Bundle;
use assay_protocol::Digest;

use crate::helpers::Place;

/// A bundle with one more file in it, and a table that says so.
fn with_file(place: &Place, bundle: &str, name: &str) -> Vec<u8> {
    let path = place.path(bundle);
    let bytes = fs::read(&path).unwrap();
    let mut contents = Bundle::open(&path).unwrap().contents;
    let (line, _) = contents.to_line().unwrap();
    let mut parts = &bytes[MAGIC.len() + line.len()..];
    let more: &[u8] = b"#!/bin/sh\n";
    let extent = Extent {
        bytes: more.len() as u64,
        sha256: Digest::of(more),
    };
    let part = Part {
        what: What::Data(name.into()),
        executable: true,
        encoding: Encoding::Plain,
        content: extent,
        stored: extent,
    };
    let at = contents.parts.partition_point(|one| one.what < part.what);
    let mut made = Vec::new();
    for (place, one) in contents.parts.iter().enumerate() {
        if place == at {
            made.extend(more);
        }
        let (first, rest) = parts.split_at(one.stored.bytes as usize);
        made.extend(first);
        parts = rest;
    }
    contents.parts.insert(at, part);
    let (line, _) = contents.to_line().unwrap();
    [MAGIC, &line, &made].concat()
}

#[test]
fn a_file_that_no_manifest_pins_is_not_laid_out() {
    let place = Place::with_runs(1);
    place.assay("bundle latest -o run.bundle").exits(0);
    for name in ["more", "hooks/post-checkout"] {
        let hostile = with_file(&place, "run.bundle", name);
        place.write("hostile.bundle", hostile);
        let what = format!("data {name}: the manifest pins no such file");
        place.assay("reproduce hostile.bundle").refuses(&[&what]);
    }
    assert!(!place.path("assay/bundles").exists());
    assert_eq!(place.runs().len(), 1);
}
