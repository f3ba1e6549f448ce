//! Publishing: what the database holds becomes a site model, and that becomes pages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use assay_protocol::Digest;
use assay_record::{Fingerprint, Timestamp};
use assay_reports::{Published, SiteModel, SiteSettings, publish as publish_model};
use assay_store::{Access, Store};
use assay_verdicts::{CaseHistory, Marks, RunSummary};

use crate::settings::Settings;
use crate::{database, marks, reproduction};

/// Publishes everything that the database holds to `out`.
pub fn publish(settings: &Settings, out: &Path) -> Result<Published> {
    // The database is closed before the first page is rendered: others may want to write.
    let marks = marks::load(settings)?;
    let model = model(settings, &database::open(settings, Access::Read)?, &marks)?;
    Ok(publish_model(
        &model,
        out,
        &SiteSettings {
            title: settings.title.clone(),
        },
    )?)
}

fn model(settings: &Settings, store: &Store, marks: &Marks) -> Result<SiteModel> {
    let today = Timestamp::now().day();
    marks::complain(settings, marks, store, today)?;
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
        histories: CaseHistory::all(store, marks, today)?,
        reproductions,
        fingerprints,
    })
}
