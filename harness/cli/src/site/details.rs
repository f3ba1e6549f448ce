//! What lies behind the newest points of series, and the samples that these are compared with.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use assay_record::RunId;
use assay_reports::{CaseDetail, CaseOfRun, Night};
use assay_store::{RoundDetail, Store};
use assay_verdicts::confirmed::standing;
use assay_verdicts::{CaseHistory, Confirmed};

/// Of the newest run of each series, and of the run that it is compared with. Read by a few statements, however many these are.
pub fn all(
    store: &Store,
    histories: &[CaseHistory],
    nights: &[Night],
    confirmed: &[Confirmed],
) -> Result<BTreeMap<CaseOfRun, CaseDetail>> {
    let baselines = baselines(histories, nights, confirmed);
    let mut wanted: BTreeMap<&RunId, Wanted<'_>> = BTreeMap::new();
    for history in histories {
        let Some(last) = history.series.points.last() else {
            continue;
        };
        let key = &history.series.key;
        let place = (key.case.as_str(), key.arm.as_str());
        let of_last = wanted.entry(&last.run).or_default();
        of_last.newest.insert(place);
        if let Some(baseline) = baselines.get(&(&last.run, key.case.as_str(), key.arm.as_str())) {
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
        add(run, &baselines, wanted, rounds, &mut details);
    }
    let runs = of(&newest);
    for (run, cases) in runs.iter().zip(store.cases_with_facts(&runs)?) {
        for case in cases {
            let place = (run.clone(), case.case.clone(), case.arm.clone());
            if let Some(detail) = details.get_mut(&place) {
                detail.facts.clone_from(&case.facts);
            }
        }
    }
    Ok(details)
}

/// What the newest run of a case on an arm is laid beside.
type Baselines<'a> = BTreeMap<(&'a RunId, &'a str, &'a str), &'a RunId>;

/// Where a confirmed regression stands, what it was confirmed against: later baselines are of the new level. Else the last run of the
/// baseline that the night is compared with.
fn baselines<'a>(
    histories: &'a [CaseHistory],
    nights: &'a [Night],
    confirmed: &'a [Confirmed],
) -> Baselines<'a> {
    let of_nights: BTreeMap<&RunId, &RunId> = nights
        .iter()
        .filter_map(|night| {
            let runs = &night.gate.comparison.baseline.runs;
            Some((&night.gate.run, runs.last()?))
        })
        .collect();
    let place = |history: &'a CaseHistory| {
        let last = &history.series.points.last()?.run;
        let key = &history.series.key;
        Some((last, key.case.as_str(), key.arm.as_str()))
    };
    let usual = histories.iter().filter_map(|history| {
        let place = place(history)?;
        Some((place, *of_nights.get(place.0)?))
    });
    let standing = standing(confirmed, histories).into_iter();
    let standing = standing.filter_map(|one| {
        let before = one.last.reference.as_ref().or(one.last.baseline.last())?;
        Some((place(one.history)?, before))
    });
    usual.chain(standing).collect()
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
    baselines: &Baselines<'_>,
    wanted: &Wanted<'_>,
    rounds: Vec<RoundDetail>,
    details: &mut BTreeMap<CaseOfRun, CaseDetail>,
) {
    for round in rounds {
        let is_newest = wanted
            .newest
            .contains(&(round.case.as_str(), round.arm.as_str()));
        let baseline = baselines.get(&(run, round.case.as_str(), round.arm.as_str()));
        let baseline = baseline.filter(|_| is_newest).map(|run| (*run).clone());
        let place = (run.clone(), round.case.clone(), round.arm.clone());
        let detail = details.entry(place).or_insert_with(|| CaseDetail {
            baseline,
            ..CaseDetail::default()
        });
        detail.rounds.push(round);
    }
}
