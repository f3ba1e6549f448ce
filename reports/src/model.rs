//! What a site is made of, and how it is looked up.

mod library;

use std::collections::BTreeMap;
use std::path::PathBuf;

use assay_protocol::Digest;
use assay_record::{Fingerprint, Manifest, RunId, Timestamp};
use assay_store::{RoundDetail, RunGauges, RunRow};
use assay_verdicts::ceilings::Ceilings;
use assay_verdicts::missed::AllMissed;
use assay_verdicts::settled::Settled;
use assay_verdicts::{CaseHistory, Comparison, Confirmed, Gate, Reproduction, RunSummary, Share};

pub use self::library::{Library, NightPlace, Place, Said, Unjudged, night_place, steps_within};

/// All that a site shows. The order within the lists does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteModel {
    /// Every run.
    pub runs: Vec<RunRow>,
    /// What each run's record ends with: the same text, the same record.
    pub heads: BTreeMap<RunId, String>,
    /// What the newest runs found, all of it: other pages than their own tell of that too. Of every other run the page has its values as
    /// the series have them, and what went wrong. Which runs these are must follow from the rest of the model, not from what was
    /// published before.
    pub summaries: Vec<RunSummary>,
    /// The series with what changed in them.
    pub histories: Vec<CaseHistory>,
    /// Runs in which cases gave no right result.
    pub missed: AllMissed,
    /// What the gate says of the newest night of each suite on each machine by each arm: of each run that the night is made of.
    pub nights: Vec<Night>,
    /// Regressions that were confirmed, on the newest nights and before, oldest first.
    pub confirmed: Vec<Confirmed>,
    /// Lasting changes that gates have settled: the history says no more of them.
    pub settled: Settled,
    /// Comparisons that have a page.
    pub matrices: Vec<Matrix>,
    /// The reproductions.
    pub reproductions: Vec<Reproduction>,
    /// Fingerprints by the digests that runs name: of the newest run of each machine.
    pub fingerprints: BTreeMap<Digest, Fingerprint>,
    /// Measured ceilings by machine.
    pub ceilings: BTreeMap<String, Ceilings>,
    /// What lies behind the newest points of series.
    pub details: BTreeMap<CaseOfRun, CaseDetail>,
    /// What changed on each machine before which of its newest runs, the latest first.
    pub timelines: BTreeMap<String, Vec<MachineChange>>,
    /// Records of the runs whose manifests and records are published.
    pub records: BTreeMap<RunId, RecordFile>,
    /// Whether the site has all results as Parquet, which [`crate::Publication::missing_results`] asks for.
    pub with_results: bool,
    /// When the newest run started that all else is so many days older than, where that is not the newest of all: see
    /// [`assay_verdicts::nights::newest_start`].
    pub newest_start: Option<Timestamp>,
}

/// Where the record of a run lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFile {
    /// The file.
    pub path: PathBuf,
    /// Its length; absent where there is no such file any more.
    pub bytes: Option<u64>,
}

/// A run before which its machine was not what it had been at the run before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineChange {
    /// The run.
    pub run: RunId,
    /// When it started.
    pub started: Timestamp,
    /// What was set or installed otherwise, in words, the gravest first.
    pub words: Vec<String>,
}

/// What the pages of some runs are made of, beside the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Portion {
    /// The runs.
    pub runs: Vec<RunId>,
    /// Of those whose summary is not in the model the cases that did not go well, with the events.
    pub troubles: BTreeMap<RunId, RunSummary>,
    /// Their fingerprints, and those of the runs before them.
    pub fingerprints: BTreeMap<Digest, Fingerprint>,
    /// Their manifests by digest.
    pub manifests: BTreeMap<Digest, Manifest>,
    /// What telemetry read over them, where it read anything.
    pub gauges: BTreeMap<RunId, RunGauges>,
}

/// One night, or one of the runs that it is made of, and what is said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Night {
    /// The run against its window, with what confirmed it since; of several runs, of what it stands for.
    pub gate: Gate,
    /// What it stands for; `None` where the run is the whole night.
    pub share: Option<Share>,
    /// The night before it of the same suite on the same machine by the same arm.
    pub previous: Option<RunId>,
    /// What changed on the machine since then, in words, the gravest first.
    pub machine_changes: Vec<String>,
    /// What its arm ran in otherwise than then, in words: its image, the command before its workers, its variables.
    pub arm_changes: Vec<String>,
    /// The same of each run from the first of the baseline on before which that changed, oldest first.
    pub arm_steps: Vec<Step>,
    /// What differs from night to night since the last of the baseline, oldest first.
    pub steps: Vec<Step>,
    /// Whether it was imported: then nothing of it can be run again.
    pub is_imported: bool,
}

impl Night {
    /// Name of its arm.
    pub fn arm(&self) -> &str {
        &self.gate.comparison.candidate.arm
    }

    /// Whether it speaks of a case.
    pub fn has(&self, case: &str) -> bool {
        self.share.as_ref().is_none_or(|share| share.has(case))
    }

    /// Whether no later run of its place is at hand.
    pub fn is_newest(&self) -> bool {
        self.share.as_ref().is_none_or(|share| share.is_newest)
    }
}

/// A night beside the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The later of them.
    pub run: RunId,
    /// What differs between them beside the commit, in words, the likeliest to explain a difference first.
    pub differences: Vec<String>,
}

/// Sides that are compared, the first with each other one.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// What the sides differ in, or that somebody chose them.
    pub by: By,
    /// Name of the suite.
    pub suite: String,
    /// One per side but the first, which is the baseline of all; at least one.
    pub comparisons: Vec<Comparison>,
    /// How the sides lie, where they differ in two things.
    pub cross: Option<Cross>,
}

/// Sides laid out by two things in which they differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cross {
    /// What there is of the first.
    pub rows: Vec<String>,
    /// What there is of the second.
    pub columns: Vec<String>,
    /// Row and column of each side, the baseline first.
    pub places: Vec<(usize, usize)>,
}

/// What the sides of a comparison differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// A night and the one before it.
    Night,
    /// Machines.
    Machine,
    /// GPU models.
    Gpu,
    /// Versions of the driver.
    Driver,
    /// GPU models, each with each version of the driver.
    GpuDriver,
    /// Images.
    Image,
    /// Arms of one run.
    Arm,
    /// Runs that somebody chose.
    Chosen,
}

/// A case of a run: run, id of the case, name of the arm.
pub type CaseOfRun = (RunId, String, String);

/// What was recorded of a case in a run, beside its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaseDetail {
    /// The rounds that count, with a value of every sample, and what telemetry read meanwhile.
    pub rounds: Vec<RoundDetail>,
    /// The run whose samples these are compared with, where there is one.
    pub baseline: Option<RunId>,
    /// What its worker said of it besides, or the tool whose result was imported.
    pub facts: BTreeMap<String, String>,
}

/// How a site presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteSettings {
    /// Name of the site, in the head of every page.
    pub title: String,
    /// Where the site will lie, such as `https://host/bench/`, ending in a slash; empty where nobody said. Feeds and badges
    /// need it; links between pages are relative and do not.
    pub base: String,
    /// File of the logo, which is copied to the site.
    pub logo: Option<PathBuf>,
    /// Address of a commit with `{commit}` for its hash; empty where there is none.
    pub commit_link: String,
    /// Folder of templates that take the place of ours, by name.
    pub templates: Option<PathBuf>,
    /// Whether diffs and environment variables of runs are published.
    pub publish_source: bool,
    /// Of how many of the newest runs manifests and records are published; of all where it is the most there is.
    pub newest_records: usize,
}

/// Newest runs whose manifests and records are published, where nobody said otherwise.
pub const NEWEST_RECORDS: usize = 30;

impl Default for SiteSettings {
    fn default() -> Self {
        Self {
            title: "Assay".into(),
            base: String::new(),
            logo: None,
            commit_link: String::new(),
            templates: None,
            publish_source: false,
            newest_records: NEWEST_RECORDS,
        }
    }
}
