//! Publishing: what the database holds becomes a site model, and that becomes pages.

mod details;
mod matrices;
mod nights;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use assay_protocol::Digest;
use assay_record::{Fingerprint, Manifest, Timestamp};
use assay_reports::{Published, RESULTS, SiteModel, SiteSettings, publish as publish_model};
use assay_store::{Access, RunRow, Store};
use assay_verdicts::ceilings::Ceilings;
use assay_verdicts::{CaseHistory, Marks, RunSummary};

use crate::settings::Settings;
use crate::{database, marks, reproduction};

/// What is published beside the usual.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Publishing {
    /// Add a page that compares two runs or more, the first with each other one: `A,B`, each an id, a unique prefix of one,
    /// `latest`, `latest~1`, or `tag:NAME`. May be given again.
    #[arg(long, value_name = "A,B")]
    compare: Vec<String>,
    /// Publish uncommitted changes and environment variables of runs too; they may hold secrets.
    #[arg(long)]
    publish_source: bool,
}

/// Publishes everything that the database holds to `out`.
pub fn publish(settings: &Settings, out: &Path, publishing: &Publishing) -> Result<Published> {
    // The database is closed before the first page is rendered: others may want to write.
    let marks = marks::load(settings)?;
    let mut model = model(
        settings,
        &database::open(settings, Access::Read)?,
        &marks,
        publishing,
    )?;
    let scratch = tempfile::tempdir().context("no temporary folder could be made")?;
    let results = scratch.path().join(RESULTS);
    database::export_results(settings, &results)?;
    model.results = Some(results);
    Ok(publish_model(
        &model,
        out,
        &SiteSettings {
            title: settings.title.clone(),
            base: settings.base.clone(),
            logo: settings.logo.clone(),
            commit_link: settings.commit_link.clone(),
            templates: settings.templates.clone(),
            publish_source: publishing.publish_source,
        },
    )?)
}

fn model(
    settings: &Settings,
    store: &Store,
    marks: &Marks,
    publishing: &Publishing,
) -> Result<SiteModel> {
    let today = Timestamp::now().day();
    marks::complain(settings, marks, store, today)?;
    let summaries = RunSummary::all(store)?;
    let runs: Vec<RunRow> = summaries
        .iter()
        .map(|summary| summary.run.clone())
        .collect();
    let nights = nights::all(store, settings, &runs)?;
    let histories = CaseHistory::all(store, marks, today)?;
    Ok(SiteModel {
        matrices: matrices::all(store, &runs, &publishing.compare)?,
        reproductions: reproduction::all_stored(store)?,
        fingerprints: fingerprints(store, &runs)?,
        manifests: manifests(store, &runs)?,
        ceilings: ceilings(store, &runs)?,
        details: details::all(store, &histories, &nights)?,
        results: None,
        runs,
        summaries,
        histories,
        nights,
    })
}

fn fingerprints(store: &Store, runs: &[RunRow]) -> Result<BTreeMap<Digest, Fingerprint>> {
    let digests: BTreeSet<Digest> = runs
        .iter()
        .flat_map(|row| [Some(row.before), row.after])
        .flatten()
        .collect();
    let found = digests
        .into_iter()
        .map(|digest| Ok((digest, store.fingerprint(&digest)?)));
    found.collect()
}

fn manifests(store: &Store, runs: &[RunRow]) -> Result<BTreeMap<Digest, Manifest>> {
    let digests: BTreeSet<Digest> = runs.iter().map(|row| row.manifest).collect();
    let found = digests
        .into_iter()
        .map(|digest| Ok((digest, store.manifest(&digest)?.manifest)));
    found.collect()
}

fn ceilings(store: &Store, runs: &[RunRow]) -> Result<BTreeMap<String, Ceilings>> {
    let machines: BTreeSet<&String> = runs.iter().map(|row| &row.machine).collect();
    let found = machines
        .into_iter()
        .map(|machine| Ok((machine.clone(), Ceilings::of(store, machine)?)));
    found.collect()
}
