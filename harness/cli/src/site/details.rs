//! Samples and telemetry behind the newest points of series, and the samples that these are compared with.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use assay_record::RunId;
use assay_reports::{CaseDetail, CaseOfRun, Night};
use assay_store::Store;
use assay_verdicts::CaseHistory;

/// Of the newest run of each series, and of the last run of the baseline that its night is compared with.
pub fn all(
    store: &Store,
    histories: &[CaseHistory],
    nights: &[Night],
) -> Result<BTreeMap<CaseOfRun, CaseDetail>> {
    let baseline: BTreeMap<&RunId, &RunId> = nights
        .iter()
        .filter_map(|night| {
            let runs = &night.gate.comparison.baseline.runs;
            Some((&night.gate.run, runs.last()?))
        })
        .collect();
    let mut wanted = BTreeSet::new();
    for history in histories {
        let key = &history.series.key;
        let Some(last) = history.series.points.last() else {
            continue;
        };
        let runs = [Some(&last.run), baseline.get(&last.run).copied()];
        wanted.extend(
            runs.into_iter()
                .flatten()
                .map(|run| (run.clone(), key.case.clone(), key.arm.clone())),
        );
    }
    let detail = |place: CaseOfRun| {
        let (run, case, arm) = &place;
        let detail = CaseDetail {
            samples: store.samples(run, case, arm)?,
            telemetry: store.telemetry(run, case, arm)?,
        };
        Ok((place, detail))
    };
    wanted.into_iter().map(detail).collect()
}
