//! Downloads of a run: its manifest as it may be published, and its record where nothing in it is kept back.
//!
//! A record is the truth, chained by hashes: it is published as it is or not at all. Where its manifest holds what pages keep
//! back, the record stays where it is, and the manifest is published without that, saying what is left out.

use std::path::{Path, PathBuf};

use assay_protocol::Digest;
use assay_record::manifest::Diff;
use assay_record::{Manifest, ManifestFile, Project, Record, RunId, RunStatus};
use assay_store::RunRow;
use serde::Serialize;

use crate::address;
use crate::error::ReportError;
use crate::format;
use crate::model::{Library, RecordFile};
use crate::pages::part::Link;

/// Longest record that is published, in bytes.
const MAX_BYTES: u64 = 32 << 20;

/// Version of a manifest that something was left out of.
const SCHEMA: u32 = 1;

/// What stands where something was left out.
pub const LEFT_OUT: &str = "(not published)";

/// What there is to download of a run.
pub struct Downloads {
    /// The manifest's file.
    pub manifest: Vec<u8>,
    /// What was left out of it, in words.
    left_out: Vec<&'static str>,
    /// The record.
    pub record: Held,
}

/// Whether a record is published.
pub enum Held {
    /// This file, of so many bytes.
    Published(PathBuf, u64),
    /// Its manifest holds what is kept back.
    Private,
    /// It is too long.
    TooLong,
    /// The run came to no end, or its record may still grow.
    Unfinished,
    /// No file is where it was ingested, or it is another one.
    Absent,
}

/// A manifest that something was left out of.
#[derive(Serialize)]
struct Redacted<'a> {
    schema: u32,
    made_by: &'static str,
    run: &'a RunId,
    /// Of the whole manifest.
    digest: Digest,
    left_out: &'a [&'static str],
    manifest: Manifest,
}

/// What a run's page says of them.
#[derive(Default, Serialize)]
pub struct DownloadsView {
    /// Of which runs they are published at all.
    bound: String,
    manifest: Option<Link>,
    /// What was left out of the manifest; empty where nothing was.
    left_out: String,
    record: Option<Link>,
    /// Why there is no record to download.
    why_not: &'static str,
}

/// The downloads of a run; `None` where it is not among those whose downloads are published.
pub fn of(library: &Library<'_>, row: &RunRow) -> Result<Option<Downloads>, ReportError> {
    let Some(file) = library.model.records.get(&row.run) else {
        return Ok(None);
    };
    let Some(manifest) = library.manifest(&row.manifest) else {
        return Ok(None);
    };
    let left_out = if library.settings.publish_source {
        Vec::new()
    } else {
        kept_back(manifest)
    };
    let head = library.model.heads.get(&row.run);
    Ok(Some(Downloads {
        manifest: in_file(library, row, manifest, &left_out)?,
        record: if left_out.is_empty() {
            held(row, file, head)
        } else {
            Held::Private
        },
        left_out,
    }))
}

/// What pages keep back of a manifest.
fn kept_back(manifest: &Manifest) -> Vec<&'static str> {
    let git = manifest.project.git();
    let parts = [
        (
            git.is_some_and(|git| git.diff.is_some()),
            "uncommitted changes",
        ),
        (manifest.sets_variables(), "values of environment variables"),
    ];
    let held = parts.into_iter().filter(|(is_there, _)| *is_there);
    held.map(|(_, what)| what).collect()
}

fn in_file(
    library: &Library<'_>,
    row: &RunRow,
    manifest: &Manifest,
    left_out: &[&'static str],
) -> Result<Vec<u8>, ReportError> {
    let path = address::manifest(&row.run);
    // The same file that `assay plan` writes, which can be run.
    let written = ManifestFile::written_with(manifest, &library.case_lists).ok();
    if let Some((_, bytes)) =
        written.filter(|(digest, _)| left_out.is_empty() && *digest == row.manifest)
    {
        return Ok(bytes);
    }
    let mut manifest = manifest.without_values(LEFT_OUT);
    if let Project::Git(git) = &mut manifest.project {
        git.diff = git.diff.as_ref().map(|_| Diff::Text(LEFT_OUT.into()));
    }
    let redacted = Redacted {
        schema: SCHEMA,
        made_by: concat!("assay ", env!("CARGO_PKG_VERSION")),
        run: &row.run,
        digest: row.manifest,
        left_out,
        manifest,
    };
    let written = serde_json::to_vec(&redacted);
    let mut bytes = written.map_err(|source| ReportError::Json { file: path, source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Whether the file is the record that was ingested, whole and not too long.
fn held(row: &RunRow, file: &RecordFile, head: Option<&String>) -> Held {
    let is_compressed = file.path.extension().is_some_and(|ending| ending == "zst");
    match file.bytes {
        _ if row.status == RunStatus::Partial => Held::Unfinished,
        Some(_) if !is_compressed => Held::Unfinished,
        Some(bytes) if bytes > MAX_BYTES => Held::TooLong,
        Some(bytes) if is_it(&file.path, head) => Held::Published(file.path.clone(), bytes),
        None | Some(_) => Held::Absent,
    }
}

fn is_it(path: &Path, head: Option<&String>) -> bool {
    let found = Record::read(path).map(|record| record.head.to_string());
    found.is_ok_and(|found| Some(&found) == head)
}

/// What the page of a run says of them.
pub fn view(library: &Library<'_>, row: &RunRow) -> DownloadsView {
    let bound = match library.settings.newest_records {
        0 => "Manifests and records are not published.".to_owned(),
        usize::MAX => "Manifests and records are published of every run.".to_owned(),
        newest => format!("Manifests and records are published of the newest {newest} runs."),
    };
    let downloads = library.downloads.and_then(|all| all.get(&row.run));
    let Some(downloads) = downloads else {
        return DownloadsView {
            bound,
            ..DownloadsView::default()
        };
    };
    let (record, why_not) = match &downloads.record {
        Held::Published(_, bytes) => (Some(*bytes), ""),
        Held::Private => (
            None,
            "It holds what is left out of the manifest: `assay report --publish-source` publishes it.",
        ),
        Held::TooLong => (
            None,
            "It is longer than 32 MiB, the most that a site carries.",
        ),
        Held::Unfinished => (None, "It has no end."),
        Held::Absent => (None, "It is not where it was when it was ingested."),
    };
    let link = |href: String, what: &str, bytes: u64| Link {
        text: format!("{what}, {} bytes", format::count(bytes)),
        href,
    };
    DownloadsView {
        bound,
        manifest: Some(link(
            address::manifest(&row.run),
            "JSON",
            downloads.manifest.len() as u64,
        )),
        left_out: downloads.left_out.join(", "),
        record: record
            .map(|bytes| link(address::record(&row.run), "JSON lines, compressed", bytes)),
        why_not,
    }
}
