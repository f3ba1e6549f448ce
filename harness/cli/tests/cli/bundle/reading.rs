//! Parts that are longer, other or no more than their table says.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use assay_protocol::Digest;
use tempfile::TempDir;

use assay::bundle::format::{Contents, Encoding, Extent, MAGIC, Part, Place, What};
use assay::bundle::reading::Bundle;
use assay::errors::{Exit, exit_of};

fn extent(bytes: &[u8]) -> Extent {
    Extent {
        bytes: bytes.len() as u64,
        sha256: Digest::of(bytes),
    }
}

fn part(what: What, content: Extent, stored: &[u8], encoding: Encoding) -> Part {
    Part {
        what,
        executable: false,
        encoding,
        content,
        stored: extent(stored),
    }
}

/// A bundle with one part of data that lies there as `stored`, and a table that says whatever it likes of it.
fn bundle(content: Extent, stored: &[u8]) -> (TempDir, PathBuf) {
    let run = "20261120-211533-a1f10a3a";
    let plain = |what| part(what, extent(b"x"), b"x", Encoding::Plain);
    let contents = Contents {
        version: 1,
        run: run.parse().unwrap(),
        manifest: Digest::of("m"),
        platform: "x86_64-linux".into(),
        place: Place {
            in_tree: false,
            folder: String::new(),
            project: String::new(),
        },
        submodules: BTreeMap::new(),
        parts: vec![
            plain(What::Manifest),
            plain(What::Record(format!("{run}.jsonl"))),
            part(What::Data("d".into()), content, stored, Encoding::Zstd),
        ],
    };
    let (line, _) = contents.to_line().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    std::fs::write(&path, [MAGIC, &line, b"xx", stored].concat()).unwrap();
    (folder, path)
}

/// Where a bomb would go off: counts what it is given, and has an end.
struct Bin(usize);

impl Write for Bin {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        if self.0 > 1 << 20 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_part_becomes_no_longer_than_the_table_says() {
    let zeros = vec![0; 100 << 20];
    let bomb = zstd::encode_all(&zeros[..], 1).unwrap();
    let said = Extent {
        bytes: 100_000,
        sha256: Digest::of(&zeros),
    };
    let (_folder, path) = bundle(said, &bomb);
    let bundle = Bundle::open(&path).unwrap();
    bundle.verify().unwrap();
    let mut bin = Bin(0);
    let failed = bundle.extract(&bundle.contents.parts[2], &mut bin);
    let error = format!("{:#}", failed.unwrap_err());
    assert!(error.contains("more than the 100000 bytes"), "{error}");
    assert!(bin.0 <= 100_000, "stopped at once, after {}", bin.0);
}

#[test]
fn a_full_disk_is_the_machines_fault_and_other_content_is_not() {
    let stored = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let noise: Vec<u8> = (0..4_u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (_folder, path) = bundle(extent(&noise), &stored(&noise));
    let bundle_of_noise = Bundle::open(&path).unwrap();
    let part = &bundle_of_noise.contents.parts[2];
    let failed = bundle_of_noise.extract(part, &mut Bin(0)).unwrap_err();
    assert_eq!(exit_of(&failed), Exit::CouldNotRun);
    let (_folder, path) = bundle(extent(b"abc"), &stored(b"abd"));
    let other = Bundle::open(&path).unwrap();
    let failed = other
        .extract(&other.contents.parts[2], &mut Bin(0))
        .unwrap_err();
    assert_eq!(exit_of(&failed), Exit::BadInput);
    assert!(
        failed
            .to_string()
            .contains("data d: unpacked it is 3 bytes"),
        "{failed}"
    );
    let (_folder, path) = bundle(extent(b"abc"), b"no zstd at all");
    let broken = Bundle::open(&path).unwrap();
    let failed = broken
        .extract(&broken.contents.parts[2], &mut Bin(0))
        .unwrap_err();
    assert_eq!(exit_of(&failed), Exit::BadInput);
}
