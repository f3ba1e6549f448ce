//! What lies behind the newest points of series, and the samples that these are compared with.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use assay_record::RunId;
use assay_reports::{CaseDetail, CaseOfRun, Night};
use assay_store::{RoundDetail, Store};
use assay_verdicts::CaseHistory;

/// Of the newest run of each series, and of the last run of the baseline that its night is compared with. Read by a few
/// statements, however many these are.
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
    let (newest, before): (Vec<_>, Vec<_>) = wanted
        .into_iter()
        .partition(|(_, wanted)| !wanted.newest.is_empty());
    let of = |part: &[(&RunId, Wanted<'_>)]| -> Vec<RunId> {
        part.iter().map(|(run, _)| (*run).clone()).collect()
    };
    // Telemetry is shown of the newest runs alone.
    let detailed = store.detailed_rounds(&of(&newest), is_wanted(&newest))?;
    let sampled = store.sampled_rounds(&of(&before), is_wanted(&before))?;
    let mut details = BTreeMap::new();
    let all = newest
        .iter()
        .zip(detailed)
        .chain(before.iter().zip(sampled));
    for ((run, wanted), rounds) in all {
        let baseline = baselines.get(run).copied();
        add(run, baseline, wanted, rounds, &mut details);
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

/// Whether a case of one of these runs on an arm is looked at.
fn is_wanted(runs: &[(&RunId, Wanted<'_>)]) -> impl Fn(usize, &str, &str) -> bool {
    |run, case, arm| {
        let wanted = &runs[run].1;
        wanted.newest.contains(&(case, arm)) || wanted.before.contains(&(case, arm))
    }
}

fn add(
    run: &RunId,
    baseline: Option<&RunId>,
    wanted: &Wanted<'_>,
    rounds: Vec<RoundDetail>,
    details: &mut BTreeMap<CaseOfRun, CaseDetail>,
) {
    for round in rounds {
        let is_newest = wanted
            .newest
            .contains(&(round.case.as_str(), round.arm.as_str()));
        let place = (run.clone(), round.case.clone(), round.arm.clone());
        let detail = details.entry(place).or_insert_with(|| CaseDetail {
            rounds: Vec::new(),
            baseline: baseline.filter(|_| is_newest).cloned(),
        });
        detail.rounds.push(round);
    }
}
