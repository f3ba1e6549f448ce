//! A bundle's table of contents: which parts it has, how long each is, and their digests.
//!
//! The file is a line that says what it is, a line of canonical JSON, and the parts, one behind the other in the order
//! of the table. The table holds the digest of every part as it lies in the file and as it is unpacked, and its own
//! digest stands beside it: so every byte of the file is covered, and that digest stands for all of them. There are no paths
//! but those of data, which stay below one folder, and no times, owners or links.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::Digest;
use assay_record::validate::is_below;
use assay_record::{RunId, canonical};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// First line of the file.
pub const MAGIC: &[u8] = b"assay bundle\n";
/// Version of the table that this Assay writes; it reads those before it too. 2 may hold dependencies.
pub const VERSION: u32 = 2;
/// Longest table, in bytes.
pub const MAX_TABLE_BYTES: u64 = 16 << 20;
/// Most that a part may be larger than it lies in the file: what shrinks more is not compressed.
pub const MAX_RATIO: u64 = 200;

/// Most parts.
const MAX_PARTS: usize = 10_000;
/// Most bytes of one part, unpacked.
const MAX_PART_BYTES: u64 = 64 << 30;
/// Most bytes of all parts, unpacked.
const MAX_BYTES: u64 = 256 << 30;

/// The table of contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// At most [`VERSION`].
    pub version: u32,
    /// The run that can be run again.
    pub run: RunId,
    /// The name of its manifest.
    pub manifest: Digest,
    /// What its programs run on: `x86_64-linux`.
    pub platform: String,
    /// Where the suite's files lie.
    pub place: Place,
    /// Submodules in the trees: by commit, the commit of each path. Their files are not carried.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub submodules: BTreeMap<String, BTreeMap<String, String>>,
    /// The parts, in the order of [`What`].
    pub parts: Vec<Part>,
}

/// Where the suite's files lie when a bundle is laid out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Whether they lie in the tree of the project's commit; else in a folder of their own.
    pub in_tree: bool,
    /// What `{dir}` stands for, from there; empty for that place itself.
    pub folder: String,
    /// Where the project's settings lay in the tree; empty for its top.
    pub project: String,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What it is.
    pub what: What,
    /// Whether it is a program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// How it lies in the file.
    pub encoding: Encoding,
    /// The part itself.
    pub content: Extent,
    /// As it lies in the file.
    pub stored: Extent,
}

/// Length and digest of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// How many.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Digest,
}

/// What a part is. The order is that of the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The manifest's file, which also holds the project's uncommitted changes.
    Manifest,
    /// The record's file, by its name.
    Record(String),
    /// A commit of the project: git's commit object.
    Commit(String),
    /// The files of that commit, as a tar archive.
    Tree(String),
    /// What the project at its commit depends on, as a home for cargo in a tar archive.
    Vendor,
    /// A file that the manifest pins, by its path from the place of the suite's files.
    Data(String),
    /// The executable of a built-in worker, by its digest.
    Worker(Digest),
    /// An image of containers as a file: by the digest of its manifest, or of the file that it comes as.
    Image(Digest),
}

/// How a part lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    Plain,
    /// Compressed.
    Zstd,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Manifest => f.write_str("manifest"),
            Self::Record(name) => write!(f, "record {name}"),
            Self::Commit(commit) => write!(f, "commit {commit}"),
            Self::Tree(commit) => write!(f, "files of commit {commit}"),
            Self::Vendor => f.write_str("dependencies"),
            Self::Data(path) => write!(f, "data {path}"),
            Self::Worker(digest) => write!(f, "worker {digest}"),
            Self::Image(digest) => write!(f, "image {digest}"),
        }
    }
}

/// The table as a line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    contents: Contents,
    digest: Digest,
}

impl Contents {
    /// The line of the file, newline included, and the digest of the table.
    pub fn to_line(&self) -> Result<(Vec<u8>, Digest)> {
        self.check()?;
        let digest = canonical::digest(self)?;
        let mut line = canonical::to_canonical(&Line {
            contents: self.clone(),
            digest,
        })?;
        line.push(b'\n');
        ensure!(
            line.len() as u64 <= MAX_TABLE_BYTES,
            "its table of contents would be longer than {MAX_TABLE_BYTES} bytes"
        );
        Ok((line, digest))
    }

    /// Reads the line, given with its newline, and checks all that it says.
    pub fn from_line(line: &[u8]) -> Result<(Self, Digest)> {
        const CHANGED: &str =
            "the file was changed or damaged: fetch it again from where it was made";
        let value: Value = serde_json::from_slice(line)
            .with_context(|| format!("the table of contents is not JSON; {CHANGED}"))?;
        let contents = value.get("contents").unwrap_or(&Value::Null);
        match contents.get("version").and_then(Value::as_u64) {
            Some(known) if (1..=u64::from(VERSION)).contains(&known) => {}
            Some(newer) if newer > u64::from(VERSION) => bail!(
                "bundle version {newer} is newer than {VERSION}, the newest this assay reads; use a newer assay"
            ),
            _ => bail!("field `contents.version` is missing or no version: this is no bundle"),
        }
        let is = canonical::digest(contents)?;
        let said = value.get("digest").and_then(Value::as_str);
        ensure!(
            said == Some(&is.to_string()),
            "field `digest` says {}, but the digest of the table of contents is {is}; {CHANGED}",
            said.unwrap_or("nothing")
        );
        let mut again = canonical::to_canonical(&value)?;
        again.push(b'\n');
        ensure!(
            again == line,
            "the table of contents is not in canonical form; {CHANGED}"
        );
        let parsed: Line = serde_json::from_value(value).context("the table of contents")?;
        parsed.contents.check()?;
        Ok((parsed.contents, parsed.digest))
    }

    /// The only part of which this holds.
    pub fn part(&self, is: impl Fn(&What) -> bool) -> Option<&Part> {
        self.parts.iter().find(|part| is(&part.what))
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.parts.len() <= MAX_PARTS,
            "it has {} parts; at most {MAX_PARTS}",
            self.parts.len()
        );
        for pair in self.parts.windows(2) {
            let [one, two] = pair else { continue };
            ensure!(one.what != two.what, "it has two parts: {}", one.what);
            ensure!(one.what < two.what, "{}: not in its place", two.what);
        }
        for part in &self.parts {
            part.check().with_context(|| part.what.to_string())?;
        }
        let sum = |of: fn(&Part) -> u64| {
            let mut bytes = self.parts.iter().map(of);
            bytes.try_fold(0_u64, u64::checked_add)
        };
        let most = sum(|part| part.content.bytes).zip(sum(|part| part.stored.bytes));
        ensure!(
            most.is_some_and(|(content, stored)| content.max(stored) <= MAX_BYTES),
            "its parts are longer than {MAX_BYTES} bytes together"
        );
        self.check_names()
    }

    /// What must be there, and that nothing points elsewhere.
    fn check_names(&self) -> Result<()> {
        let count = |is: fn(&What) -> bool| self.parts.iter().filter(|part| is(&part.what)).count();
        for (name, is) in [
            (
                "manifest",
                (|what| *what == What::Manifest) as fn(&What) -> bool,
            ),
            ("record", |what| matches!(what, What::Record(_))),
        ] {
            ensure!(
                count(is) == 1,
                "it has {} parts of the kind {name}; 1",
                count(is)
            );
        }
        let record = format!("{}.jsonl", self.run);
        let is_of_run = |name: &String| *name == record || *name == format!("{record}.zst");
        for part in &self.parts {
            match &part.what {
                What::Record(name) => ensure!(is_of_run(name), "record {name}: of another run"),
                What::Commit(commit) | What::Tree(commit) => {
                    let has = |what| self.part(|other| *other == what).is_some();
                    ensure!(
                        has(What::Commit(commit.clone())) && has(What::Tree(commit.clone())),
                        "commit {commit}: its object or its files are missing"
                    );
                }
                _ => {}
            }
        }
        for (field, path) in [
            ("folder", &self.place.folder),
            ("project", &self.place.project),
        ] {
            ensure!(
                path.is_empty() || is_plain(path),
                "field `place.{field}`: {path:?} is no path that stays below where it starts"
            );
        }
        Ok(())
    }
}

impl Part {
    fn check(&self) -> Result<()> {
        let (content, stored) = (self.content.bytes, self.stored.bytes);
        ensure!(
            content <= MAX_PART_BYTES && stored <= MAX_PART_BYTES,
            "{} bytes; at most {MAX_PART_BYTES}",
            content.max(stored)
        );
        match self.encoding {
            Encoding::Plain => ensure!(
                self.content == self.stored,
                "it lies there as it is, and yet not with the same length and digest"
            ),
            Encoding::Zstd => ensure!(
                content <= stored.saturating_mul(MAX_RATIO),
                "{stored} bytes that would unpack to {content}: more than {MAX_RATIO} times as many, which no bundle has"
            ),
        }
        match &self.what {
            What::Data(path) => ensure!(
                is_plain(path),
                "not a path that stays below where it starts: no `..`, no `.`, not absolute, not in git's own folder"
            ),
            What::Commit(commit) | What::Tree(commit) => {
                let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
                ensure!(
                    commit.len() == 40 && commit.chars().all(is_hex),
                    "not a commit: 40 hexadecimal digits"
                );
            }
            What::Worker(digest) => ensure!(
                *digest == self.content.sha256,
                "its digest is {}",
                self.content.sha256
            ),
            What::Manifest | What::Record(_) | What::Vendor | What::Image(_) => {}
        }
        Ok(())
    }
}

/// Whether a relative path has no component but names, each once separated, and none of them that of git's own folder.
pub fn is_plain(path: &str) -> bool {
    let is_gits = |part: &str| part.eq_ignore_ascii_case(".git");
    let is_name = |part: &str| !part.is_empty() && part != "." && part != ".." && !is_gits(part);
    is_below(path) && path.split('/').all(is_name) && Path::new(path).is_relative()
}
