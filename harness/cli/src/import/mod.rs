//! Results of other tools: each file becomes a record like any other, and the record is ingested.
//!
//! An [`Importer`] reads one format into [`Found`], in our words; [`assemble`] makes a record of it. What a file does
//! not say is not made up: the record says what it lacks, and cannot be run again. A file is imported whole or not at
//! all, and once, however often it is given. Of a folder of thousands [`flow`] takes as many at once as there are cores.

mod assemble;
mod asv;
mod flow;
mod found;
mod known;
mod nvbench;
pub mod synthetic;

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_record::whole::{self, Draft};
use assay_record::{CaseLists, Header, Origin, Record, RunId, Source, Timestamp};
use assay_store::RunRow;

use self::assemble::{Cases, Origins};
pub use self::flow::import;
use self::found::Found;
use self::known::Known;
use crate::settings::Settings;
use crate::suite::locate::read_text;

/// Longest file that is imported, in bytes.
const MAX_BYTES: u64 = 128 << 20;

/// A format of results that another tool wrote.
pub trait Importer: Sync {
    /// What it is called on the command line and in records.
    fn name(&self) -> &'static str;

    /// What lies at a path that somebody named. Options that make no sense for the format are errors.
    fn open(&self, path: &Path, options: &Options) -> Result<Box<dyn Results>>;

    /// What the tool gives of samples that it did not keep.
    fn middle(&self) -> &'static str {
        "mean"
    }
}

/// Results of one tool, in a file or in many.
pub trait Results: Send + Sync {
    /// The files, each of which becomes a run.
    fn files(&self) -> &[PathBuf];

    /// What a file says. `text` was read from it; its folder may hold more of it. Errors name the field.
    fn read(&self, file: &Path, text: &str) -> Result<Found>;

    /// What a file is called in records.
    fn name_of(&self, file: &Path) -> String {
        let name = file.file_name().unwrap_or(file.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Whether the tool adds to files that it wrote, so that two contents of one name are of one run.
    fn grow(&self) -> bool {
        false
    }
}

/// Every format.
const IMPORTERS: &[&dyn Importer] = &[&asv::Asv, &nvbench::NvBench];

/// The importer of a format.
pub fn importer(name: &str) -> Option<&'static dyn Importer> {
    IMPORTERS.iter().find(|one| one.name() == name).copied()
}

/// The names of all formats.
pub fn names() -> Vec<&'static str> {
    IMPORTERS.iter().map(|one| one.name()).collect()
}

/// What a file does not say, from the command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of the machine.
    pub machine: Option<String>,
    /// Name of the suite.
    pub suite: Option<String>,
    /// When it was measured; else what the file says, or when it was last written.
    pub date: Option<Timestamp>,
    /// Commit of the measured project.
    pub commit: Option<String>,
    /// Repository that knows the order of commits.
    pub repo: Option<PathBuf>,
    /// Names given to the run.
    pub tags: Vec<String>,
    /// Whether the sums of samples are enough.
    pub without_samples: bool,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is a run now.
    New(RunId),
    /// It is a run now, in the place of what an earlier content of it had become.
    Replaced(RunId),
    /// It was one before, and nothing changed.
    Known(RunId),
}

/// What is made of a file before the database learns of it.
struct Made {
    what: What,
    /// What earlier contents of the file became; it goes when the new run is in.
    earlier: Vec<RunRow>,
}

enum What {
    /// A record that has no name yet.
    Draft(Box<Draft>),
    /// There is a record of this name, which the database may have lost.
    Kept(RunId, Digest),
    /// It was imported before.
    Known(RunId),
}

/// A record that has the name of a new one.
enum There {
    Nothing,
    /// Of the same content.
    This,
    /// Of what the file was before.
    Earlier,
}

/// All that is the same for each file.
struct Import<'a> {
    importer: &'a dyn Importer,
    results: &'a dyn Results,
    options: &'a Options,
    settings: &'a Settings,
    known: &'a Known,
    /// Cases that many files have in common.
    lists: &'a CaseLists,
}

impl Import<'_> {
    /// Reads a file and writes its record, which is not yet published.
    fn make(&self, path: &Path, cases: &mut Cases) -> Result<Made> {
        let text = read_text(path, MAX_BYTES)?;
        let digest = Digest::of(&text);
        if let Some(known) = self.known.file(&digest) {
            known::agree(&known::Is::of_row(known), self.options)?;
            return Ok(Made {
                earlier: self.earlier(path, &known.suite, &known.machine, &known.run),
                what: What::Known(known.run.clone()),
            });
        }
        let found = self.results.read(path, &text)?;
        let said = self.options.date.or(found.date);
        let origins = Origins {
            format: self.importer.name(),
            file: self.results.name_of(path),
            middle: self.importer.middle(),
            digest,
            date: date(path, said)?,
            is_dated: said.is_some(),
            grows: self.results.grow(),
        };
        let (header, bodies) =
            assemble::record(found, &origins, self.options, (cases, self.lists))?;
        let suite = &header.manifest.suite.name;
        let earlier = self.earlier(path, suite, &header.machine.name, &header.run);
        let what = match self.there(&header, &origins)? {
            There::This => What::Kept(header.run, digest),
            there => {
                let draft = Draft::write(&self.settings.records, header, bodies, self.lists)?;
                What::Draft(Box::new(match there {
                    There::Earlier => draft.in_its_place(),
                    There::Nothing | There::This => draft,
                }))
            }
        };
        Ok(Made { what, earlier })
    }

    /// What there is of the run's name.
    fn there(&self, header: &Header, origins: &Origins) -> Result<There> {
        let path = whole::path(&self.settings.records, &header.run);
        if !path.exists() {
            return Ok(There::Nothing);
        }
        let suite = Record::read(&path)?.header.manifest.suite;
        if suite.digest == origins.digest {
            return Ok(There::This);
        }
        let is_file = |of: &Origin| of.file == origins.file;
        let is_earlier = matches!(&suite.source, Source::Imported(of) if is_file(of));
        if origins.grows && is_earlier {
            return Ok(There::Earlier);
        }
        Err(flow::of_another_file(&header.run))
    }

    /// What earlier contents of a file became, where the tool adds to its files.
    fn earlier(&self, path: &Path, suite: &str, machine: &str, is: &RunId) -> Vec<RunRow> {
        if !self.results.grow() {
            return Vec::new();
        }
        let file = self.results.name_of(path);
        self.known.earlier(&file, suite, machine, is)
    }
}

/// When it was measured. A tool that writes its results at the end leaves nothing better than the time of its file.
fn date(path: &Path, said: Option<Timestamp>) -> Result<Timestamp> {
    let date = match said {
        Some(date) => date,
        None => written(path).context("the time of its last change cannot be read; give --date")?,
    };
    let ns = date.unix_ns();
    let is_usable = ns >= 0 && Timestamp::from_unix_ns(ns) == Some(date);
    ensure!(
        is_usable,
        "{date} is no time of a measurement: expected 1970 to 2262"
    );
    Ok(date)
}

fn written(path: &Path) -> Option<Timestamp> {
    let written = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = written.duration_since(UNIX_EPOCH).ok()?;
    Timestamp::from_unix_ns(since.as_nanos().try_into().ok()?)
}
