//! Tables of contents: what is refused, and that every byte of one counts.

use assay_protocol::Digest;
use assay_record::canonical;
use serde_json::{Value, json};

use assay::bundle::format::{Contents, Encoding, Extent, Part, Place, What};

fn part(what: What) -> Part {
    let extent = Extent {
        bytes: 3,
        sha256: Digest::of("abc"),
    };
    Part {
        what,
        executable: false,
        encoding: Encoding::Plain,
        content: extent,
        stored: extent,
    }
}

fn contents() -> Contents {
    let run = "20261120-211533-a1f10a3a";
    Contents {
        version: 1,
        run: run.parse().unwrap(),
        manifest: Digest::of("m"),
        platform: "x86_64-linux".into(),
        place: Place {
            in_tree: false,
            folder: String::new(),
            project: String::new(),
        },
        submodules: std::collections::BTreeMap::new(),
        parts: vec![
            part(What::Manifest),
            part(What::Record(format!("{run}.jsonl.zst"))),
            part(What::Data("a/b".into())),
            part(What::Worker(Digest::of("abc"))),
        ],
    }
}

fn error_of(change: impl FnOnce(&mut Contents)) -> String {
    let mut contents = contents();
    change(&mut contents);
    format!("{:#}", contents.to_line().unwrap_err())
}

#[test]
fn a_table_reads_back_and_every_changed_byte_is_noticed() {
    let (line, digest) = contents().to_line().unwrap();
    assert_eq!(Contents::from_line(&line).unwrap(), (contents(), digest));
    for at in 0..line.len() {
        let mut changed = line.clone();
        changed[at] ^= 1;
        assert!(Contents::from_line(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_table_of_the_first_version_is_read() {
    let first = contents();
    assert_eq!(first.version, 1);
    let (line, digest) = first.to_line().unwrap();
    assert_eq!(Contents::from_line(&line).unwrap(), (first, digest));
}

#[test]
fn tables_are_refused_in_words() {
    for (path, words) in [
        ("../x", "no `..`"),
        ("a/../x", "no `..`"),
        ("/etc/passwd", "not absolute"),
        ("a//b", "stays below"),
        ("./a", "stays below"),
        ("", "stays below"),
        ("a\0b", "stays below"),
        (".git/config", "not in git's own folder"),
        ("a/.GIT/hooks/x", "not in git's own folder"),
    ] {
        let error = error_of(|contents| contents.parts[2].what = What::Data(path.into()));
        assert!(error.contains(words), "{path:?}: {error}");
    }
    let twice = |contents: &mut Contents| contents.parts[3] = contents.parts[2].clone();
    assert!(error_of(twice).contains("two parts: data a/b"));
    let swapped = |contents: &mut Contents| contents.parts.swap(1, 2);
    assert!(error_of(swapped).contains("not in its place"));
    let elsewhere = |contents: &mut Contents| contents.place.folder = "../..".into();
    assert!(error_of(elsewhere).contains("place.folder"));
    let gits = |contents: &mut Contents| contents.place.folder = ".git/hooks".into();
    assert!(error_of(gits).contains("place.folder"));
    let bomb = |contents: &mut Contents| {
        contents.parts[2].encoding = Encoding::Zstd;
        contents.parts[2].content.bytes = 601;
    };
    assert!(error_of(bomb).contains("more than 200 times"));
    let huge = |contents: &mut Contents| contents.parts[2].content.bytes = u64::MAX;
    assert!(error_of(huge).contains("at most"));
    let alone = |contents: &mut Contents| {
        contents.parts.insert(2, part(What::Commit("a".repeat(40))));
    };
    assert!(error_of(alone).contains("its files are missing"));
    let other = |contents: &mut Contents| contents.parts[3].what = What::Worker(Digest::of("x"));
    assert!(error_of(other).contains("its digest is"));
    assert!(error_of(|contents| _ = contents.parts.remove(0)).contains("manifest; 1"));
}

#[test]
fn a_newer_version_and_unknown_fields_are_refused() {
    let line = |change: fn(&mut Value)| {
        let mut contents = serde_json::to_value(contents()).unwrap();
        change(&mut contents);
        let digest = canonical::digest(&contents).unwrap();
        let line = json!({"contents": contents, "digest": digest});
        let mut line = canonical::to_canonical(&line).unwrap();
        line.push(b'\n');
        format!("{:#}", Contents::from_line(&line).unwrap_err())
    };
    assert!(line(|contents| contents["version"] = 3.into()).contains("version 3 is newer than 2"));
    assert!(line(|contents| contents["version"] = 0.into()).contains("no bundle"));
    assert!(line(|contents| contents["colour"] = "red".into()).contains("colour"));
    assert!(line(|contents| contents["parts"][0]["colour"] = "red".into()).contains("colour"));
}
