//! What lies behind the newest points of series, and the samples that these are compared with.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use assay_protocol::Metric;
use assay_record::RunId;
use assay_reports::{CaseDetail, CaseOfRun, Night};
use assay_stats::median;
use assay_store::{RoundDetail, Store};
use assay_verdicts::confirmed::standing;
use assay_verdicts::{CaseHistory, Confirmed, Gate};

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

/// Where a confirmed regression stands, what it was confirmed against: later baselines are of the new level. Else of the baseline that the
/// night compares the case with, the run nearest to its middle: the last may be of another level.
fn baselines<'a>(
    histories: &'a [CaseHistory],
    nights: &'a [Night],
    confirmed: &'a [Confirmed],
) -> Baselines<'a> {
    let of_nights = nights.iter().map(|night| (&night.gate.run, &night.gate));
    let of_nights: BTreeMap<&RunId, &Gate> = of_nights.collect();
    // What a page of a further metric shows beside is the run that the time is laid beside.
    let is_time = |history: &&CaseHistory| history.series.key.metric == Metric::TIME;
    let (times, others): (Vec<&CaseHistory>, Vec<_>) = histories.iter().partition(is_time);
    let place = |history: &'a CaseHistory| {
        let last = &history.series.points.last()?.run;
        let key = &history.series.key;
        Some((last, key.case.as_str(), key.arm.as_str()))
    };
    let usual = others.into_iter().chain(times).filter_map(|history| {
        let place = place(history)?;
        let gate = of_nights.get(place.0)?;
        let since = gate.says_of(history).and_then(|case| case.since.as_ref());
        let runs = gate.comparison.baseline.runs.iter();
        let runs = runs.filter(|run| since.is_none_or(|since| *run >= since));
        Some((place, middle(history, runs)?))
    });
    let standing = standing(confirmed, histories).into_iter();
    let standing = standing.filter_map(|one| {
        let own = || middle(one.history, one.last.baseline.iter());
        let before = one.last.reference.as_ref().or_else(own)?;
        Some((place(one.history)?, before))
    });
    usual.chain(standing).collect()
}

/// Of runs the one whose value is nearest to the middle of all of theirs, the last of several.
fn middle<'a>(history: &CaseHistory, runs: impl Iterator<Item = &'a RunId>) -> Option<&'a RunId> {
    let points = &history.series.points;
    let value = |run: &RunId| {
        let at = points.binary_search_by(|point| point.run.cmp(run)).ok()?;
        Some(points[at].estimate.estimate)
    };
    let values: Vec<(&RunId, f64)> = runs.filter_map(|run| Some((run, value(run)?))).collect();
    let of_all = median(&values.iter().map(|(_, value)| *value).collect::<Vec<f64>>())?;
    let distance = |(_, value): &&(&RunId, f64)| (value - of_all).abs();
    let nearest = values
        .iter()
        .rev()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.map(|(run, _)| *run)
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

#[cfg(test)]
mod tests {
    use assay_protocol::Metric;
    use assay_record::{Day, RunId};
    use assay_stats::Interval;
    use assay_store::Access;
    use assay_store::synthetic::Recipe;
    use assay_verdicts::{CaseComparison, CaseHistory, Confirmed, Marks, Verdict};

    use super::{baselines, middle};
    use crate::database;
    use crate::settings::Settings;

    /// The night that confirmed it, and how many nights there are.
    const CONFIRMED: u32 = 8;
    const NIGHTS: u32 = 12;

    fn night(night: u32, slowdown: f64) -> Recipe {
        Recipe {
            night,
            slowdown,
            ..Recipe::default()
        }
    }

    fn run(at: u32) -> RunId {
        night(at, 1.0).run()
    }

    /// The histories of a case that got slower by so much on that night.
    fn histories(slowdown: f64) -> Vec<CaseHistory> {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::of(folder.path()).unwrap();
        let mut store = database::open(&settings, Access::Write).unwrap();
        for at in 0..NIGHTS {
            let slow = if at < CONFIRMED { 1.0 } else { slowdown };
            let record = night(at, slow).record();
            let path = folder.path().join(record.header.run.as_str());
            store.ingest_record(&record, &path).unwrap();
        }
        let today: Day = "2026-06-01".parse().unwrap();
        let case = &Recipe::default().case_ids()[1];
        CaseHistory::of_case(&store, case, &Marks::default(), today).unwrap()
    }

    fn confirmed(reference: Option<RunId>) -> Confirmed {
        let ratio = Interval {
            estimate: 1.2,
            low: 1.19,
            high: 1.21,
            confidence: 0.95,
        };
        Confirmed {
            night: run(CONFIRMED),
            started: night(CONFIRMED, 1.0).record().header.started,
            suite: Recipe::default().suite,
            machine: Recipe::default().machine,
            arm: "main".into(),
            case: CaseComparison {
                case: Recipe::default().case_ids()[1].clone(),
                metric: Metric::time(),
                verdict: Verdict::Regressed,
                suspect: true,
                ratio: Some(ratio),
                at_first: Some(ratio),
                relative: None,
                margin: 0.03,
                p_value: None,
                adjusted: None,
                trouble: None,
                mark: None,
                remark: None,
                since: None,
                still: None,
                baseline_runs: None,
                note: "confirmed".into(),
            },
            baseline: (0..6).map(run).collect(),
            reference,
            is_common: false,
            is_excused: false,
            part_of: None,
        }
    }

    /// What the newest run is laid beside.
    fn beside(slowdown: f64, confirmed: &[Confirmed]) -> Option<RunId> {
        let histories = histories(slowdown);
        let found = baselines(&histories, &[], confirmed);
        assert!(found.len() <= 1);
        found.into_iter().next().map(|((newest, ..), before)| {
            assert_eq!(*newest, run(NIGHTS - 1));
            before.clone()
        })
    }

    #[test]
    fn what_a_run_is_laid_beside_is_of_the_level_of_most_of_its_baseline() {
        let histories = histories(1.2);
        let case = &Recipe::default().case_ids()[1];
        let of_time = |of: &&CaseHistory| {
            let key = &of.series.key;
            (&key.case, &*key.metric) == (case, Metric::TIME)
        };
        let history = histories.iter().find(of_time).unwrap();
        // The last runs are of the new level.
        let runs: Vec<RunId> = (2..CONFIRMED + 2).map(run).collect();
        let found = middle(history, runs.iter()).unwrap();
        assert!(*found < run(CONFIRMED), "{found}");
        let value = |run: &RunId| {
            let mut points = history.series.points.iter();
            points
                .find(|point| point.run == *run)
                .unwrap()
                .estimate
                .estimate
        };
        let mut all: Vec<f64> = runs.iter().map(value).collect();
        all.sort_by(f64::total_cmp);
        assert!([all[3], all[4]].contains(&value(found)));
        assert_eq!(middle(history, [].iter()), None);
    }

    #[test]
    fn a_regression_that_stands_is_laid_beside_what_it_was_confirmed_against() {
        let reference = confirmed(Some(run(3)));
        assert_eq!(beside(1.2, std::slice::from_ref(&reference)), Some(run(3)));
        // Without rounds beside it, a run of the window of that night.
        let before = beside(1.2, &[confirmed(None)]).unwrap();
        assert!((0..6).map(run).any(|of| of == before), "{before}");
        // Of two that stand the last.
        let later = confirmed(Some(run(4)));
        assert_eq!(beside(1.2, &[reference.clone(), later]), Some(run(4)));
        // What is mended has no say.
        assert_eq!(beside(1.0, &[reference]), None);
    }
}
