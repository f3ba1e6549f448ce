//! Publishing: what the database holds becomes a site model, and that becomes pages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use assay_protocol::Digest;
use assay_record::Fingerprint;
use assay_reports::{Published, SiteModel, SiteSettings, publish as publish_model};
use assay_store::{Access, Store};
use assay_verdicts::{RunSummary, Series};

use crate::database;
use crate::reproduction;
use crate::settings::Settings;

/// Publishes everything that the database holds to `out`.
pub fn publish(settings: &Settings, out: &Path) -> Result<Published> {
    // The database is closed before the first page is rendered: others may want to write.
    let model = model(&database::open(settings, Access::Read)?)?;
    Ok(publish_model(
        &model,
        out,
        &SiteSettings {
            title: settings.title.clone(),
        },
    )?)
}

fn model(store: &Store) -> Result<SiteModel> {
    let runs = RunSummary::all(store)?;
    let rows = runs.iter().map(|summary| &summary.run);
    let digests: BTreeSet<Digest> = rows
        .flat_map(|row| [Some(row.before), row.after])
        .flatten()
        .collect();
    let fingerprints = digests
        .into_iter()
        .map(|digest| {
            store
                .fingerprint(&digest)
                .map(|fingerprint| (digest, fingerprint))
        })
        .collect::<Result<BTreeMap<Digest, Fingerprint>, _>>()?;
    let reproductions = reproduction::all_stored(store)?;
    Ok(SiteModel {
        runs,
        series: Series::all(store)?,
        reproductions,
        fingerprints,
    })
}
