//! What a site is made of, and how it is looked up.

use std::collections::BTreeMap;

use crate::address;
use assay_protocol::Digest;
use assay_record::{Fingerprint, RunId};
use assay_store::SeriesKey;
use assay_verdicts::{CaseHistory, CaseSummary, Reproduction, RunSummary, Series};

/// All that a site shows. The order within the lists does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteModel {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// The series with what changed in them.
    pub histories: Vec<CaseHistory>,
    /// The reproductions.
    pub reproductions: Vec<Reproduction>,
    /// Fingerprints by the digests that runs name.
    pub fingerprints: BTreeMap<Digest, Fingerprint>,
}

/// How a site presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteSettings {
    /// Name of the site, in the head of every page.
    pub title: String,
}

impl Default for SiteSettings {
    fn default() -> Self {
        Self {
            title: "Assay".into(),
        }
    }
}

/// The model in the order in which pages show it.
pub struct Library<'a> {
    /// Settings of the site.
    pub settings: &'a SiteSettings,
    /// Runs by id, so by start.
    pub runs: BTreeMap<&'a RunId, &'a RunSummary>,
    /// Histories by the keys of their series: by suite, then case.
    pub histories: BTreeMap<&'a SeriesKey, &'a CaseHistory>,
    /// Pages of the series.
    pub hrefs: BTreeMap<&'a SeriesKey, String>,
    /// The model itself.
    pub model: &'a SiteModel,
}

impl<'a> Library<'a> {
    /// Puts a model in order.
    pub fn new(model: &'a SiteModel, settings: &'a SiteSettings) -> Self {
        Self {
            settings,
            runs: model.runs.iter().map(|s| (&s.run.run, s)).collect(),
            histories: model
                .histories
                .iter()
                .map(|history| (&history.series.key, history))
                .collect(),
            hrefs: model
                .histories
                .iter()
                .map(|history| &history.series.key)
                .map(|key| (key, address::series(key)))
                .collect(),
            model,
        }
    }

    /// Runs, the latest first.
    pub fn latest_first(&self) -> impl Iterator<Item = &'a RunSummary> {
        self.runs.values().rev().copied()
    }

    /// Machines by name, each with its runs, the latest first.
    pub fn machines(&self) -> BTreeMap<&'a str, Vec<&'a RunSummary>> {
        let mut machines: BTreeMap<&str, Vec<&RunSummary>> = BTreeMap::new();
        for summary in self.latest_first() {
            machines
                .entry(&summary.run.machine)
                .or_default()
                .push(summary);
        }
        machines
    }

    /// The case that a series is of, as its latest run had it.
    pub fn latest_case(&self, series: &Series) -> Option<(&'a RunSummary, &'a CaseSummary)> {
        let run = self.runs.get(&series.points.last()?.run)?;
        let is_it = |case: &&CaseSummary| {
            case.case.case == series.key.case && case.case.arm == series.key.arm
        };
        Some((run, run.cases.iter().find(is_it)?))
    }

    /// Series of the same case and metric in the same place whose definition is another one.
    pub fn siblings(&self, key: &SeriesKey) -> impl Iterator<Item = &'a Series> {
        let all = self.histories.values().map(|history| &history.series);
        all.filter(move |other| are_siblings(&other.key, key))
    }

    /// Whether a series of the same case has a later point under another definition.
    pub fn is_superseded(&self, series: &Series) -> bool {
        let end = |series: &Series| series.points.last().map(|point| point.started);
        self.siblings(&series.key)
            .any(|other| end(other) > end(series))
    }
}

fn are_siblings(a: &SeriesKey, b: &SeriesKey) -> bool {
    a.definition != b.definition
        && (&a.case, &a.metric, a.timing) == (&b.case, &b.metric, b.timing)
        && (&a.suite, &a.machine, &a.arm) == (&b.suite, &b.machine, &b.arm)
}
