//! Whether a site would come out as it is: then nothing is read and nothing written.
//!
//! Beside the database lies what each site was made of when it was last published from there, as a digest over all inputs, with the
//! digest of the list of its files. A site is as it would be if both are the same and all its files are there. Who deletes the
//! file has the site made again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use assay_protocol::Digest;
use assay_record::{RunId, Timestamp};
use assay_reports::{Presentation, Published};
use assay_store::{Identity, RunRow, Store};
use assay_verdicts::nights::newest_start;
use serde::{Deserialize, Serialize};

use super::{Publishing, records};
use crate::settings::Settings;
use crate::workers;

/// Digest of the code that collects what a site shows.
const CODE: &str = env!("ASSAY_CLI_CODE");
/// What the name of the file ends with, after that of the database.
const ENDING: &str = ".sites";
/// Most sites that are remembered.
const SITES: usize = 16;

/// What a site was made of.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    inputs: Digest,
    list: Digest,
}

/// All that a site is made of.
#[derive(Serialize)]
struct Inputs<'a> {
    code: &'static str,
    presentation: Digest,
    /// One that is built anew may say something else of the same records.
    database: Option<Identity>,
    runs: &'a [RunRow],
    /// What each record ends with, and so all that is in it.
    heads: BTreeMap<RunId, String>,
    /// How long those are that the site carries.
    records: Vec<Option<u64>>,
    /// What all else is so many days older than.
    newest_start: Option<Timestamp>,
    marks: Option<String>,
    baseline: Option<&'a str>,
    compare: [&'a [String]; 2],
    /// Which workers are kept decides how a suspect was run again.
    workers: Vec<String>,
}

/// Digest over all that the site is made of.
pub fn inputs(
    settings: &Settings,
    store: &Store,
    presentation: &Presentation<'_>,
    publishing: &Publishing,
) -> Result<Digest> {
    let runs = store.runs()?;
    let records = records(&runs, settings.newest_records);
    let marks = settings.marks.as_ref();
    let inputs = Inputs {
        code: CODE,
        presentation: presentation.digest(),
        database: Identity::of(store.path()),
        heads: store.heads()?,
        records: records.into_values().map(|file| file.bytes).collect(),
        newest_start: newest_start(&runs, Timestamp::now()),
        marks: marks.map(fs::read_to_string).transpose()?,
        baseline: settings.baseline.as_deref(),
        compare: [&publishing.usual, &publishing.compare],
        workers: names(&workers::folder(settings)),
        runs: &runs,
    };
    let text = serde_json::to_vec(&inputs).context("what the site is made of")?;
    Ok(Digest::of(text))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

/// The site that is there, if it was made of this.
pub fn find(settings: &Settings, out: &Path, inputs: Digest) -> Option<Published> {
    let root = out.canonicalize().ok()?;
    let made = *read(settings).get(&root)?;
    // To look at all files takes longer than all else here.
    let published = (made.inputs == inputs).then(|| Published::there(&root))??;
    (published.list == made.list).then_some(published)
}

/// Remembers what a site was made of. Where that cannot be done, it is made again next time.
pub fn remember(settings: &Settings, published: &Published, inputs: Digest) {
    let mut sites = read(settings);
    if sites.len() >= SITES {
        sites.clear();
    }
    let list = published.list;
    if let Ok(root) = published.root.canonicalize() {
        sites.insert(root, Made { inputs, list });
        let _ = write(settings, &sites);
    }
}

/// Where it is noted, beside the database.
pub fn file(settings: &Settings) -> PathBuf {
    let mut name = settings.database.clone().into_os_string();
    name.push(ENDING);
    name.into()
}

fn read(settings: &Settings) -> BTreeMap<PathBuf, Made> {
    let text = fs::read(file(settings)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// As a whole, for several processes may publish.
fn write(settings: &Settings, sites: &BTreeMap<PathBuf, Made>) -> Result<()> {
    let path = file(settings);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut new, sites)?;
    new.persist(path)?;
    Ok(())
}
