//! What lies behind the newest points of series, and the samples that these are compared with.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use assay_record::RunId;
use assay_reports::{CaseDetail, CaseOfRun, Night};
use assay_store::Store;
use assay_verdicts::CaseHistory;

/// Of the newest run of each series, and of the last run of the baseline that its night is compared with. Each run is
/// read once, with all of its cases.
pub fn all(
    store: &Store,
    histories: &[CaseHistory],
    nights: &[Night],
) -> Result<BTreeMap<CaseOfRun, CaseDetail>> {
    let baselines: BTreeMap<&RunId, &RunId> = nights
        .iter()
        .filter_map(|night| {
            let runs = &night.gate.comparison.baseline.runs;
            Some((&night.gate.run, runs.last()?))
        })
        .collect();
    let mut wanted: BTreeMap<&RunId, Wanted<'_>> = BTreeMap::new();
    for history in histories {
        let Some(last) = history.series.points.last() else {
            continue;
        };
        let key = &history.series.key;
        let place = (key.case.as_str(), key.arm.as_str());
        let of_last = wanted.entry(&last.run).or_default();
        of_last.newest.insert(place);
        if let Some(baseline) = baselines.get(&last.run) {
            wanted.entry(baseline).or_default().before.insert(place);
        }
    }
    let mut details = BTreeMap::new();
    for (run, wanted) in &wanted {
        let baseline = baselines.get(run).copied();
        read(store, run, baseline, wanted, &mut details)?;
    }
    Ok(details)
}

/// Cases and arms of a run that are looked at.
#[derive(Default)]
struct Wanted<'a> {
    /// Those of which it is the newest run.
    newest: BTreeSet<(&'a str, &'a str)>,
    /// Those of which it is the baseline.
    before: BTreeSet<(&'a str, &'a str)>,
}

fn read(
    store: &Store,
    run: &RunId,
    baseline: Option<&RunId>,
    wanted: &Wanted<'_>,
    details: &mut BTreeMap<CaseOfRun, CaseDetail>,
) -> Result<()> {
    // Telemetry is shown of the newest run alone.
    let rounds = if wanted.newest.is_empty() {
        store.sampled_rounds(run)?
    } else {
        store.detailed_rounds(run)?
    };
    for round in rounds {
        let place = (round.case.as_str(), round.arm.as_str());
        let is_newest = wanted.newest.contains(&place);
        if is_newest || wanted.before.contains(&place) {
            let place = (run.clone(), round.case.clone(), round.arm.clone());
            let detail = details.entry(place).or_insert_with(|| CaseDetail {
                rounds: Vec::new(),
                baseline: baseline.filter(|_| is_newest).cloned(),
            });
            detail.rounds.push(round);
        }
    }
    Ok(())
}
