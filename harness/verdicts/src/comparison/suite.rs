//! The suite as one more case: its value in a round is the geometric mean over the cases.

use assay_protocol::Metric;
use assay_stats::{Interval, geometric_mean};

use super::effects::Ground;
use super::pairing::Item;
use super::{GeometricMean, effects};
use crate::History;
use crate::effect::Effect;

/// Geometric mean of the ratios of times, over the cases that every run has.
///
/// Its interval comes from the runs' (or rounds') own means over those cases, compared as a case is. So what all cases of a
/// night have in common is in it, which adding up the cases' errors as if they were independent would leave out.
pub(super) fn geometric_mean_of(
    items: &[Item],
    found: &[Option<Effect>],
    ground: &Ground<'_>,
) -> Option<GeometricMean> {
    let runs = |item: &Item| (item.baseline.len(), item.candidate.len());
    let timed = || {
        let pairs = items.iter().zip(found);
        pairs.filter_map(|(item, effect)| {
            let is_time = item.metric.name == Metric::TIME && item.obstacle.is_none();
            is_time.then_some((item, effect.as_ref()?))
        })
    };
    let most = timed().map(|(item, _)| runs(item)).max()?;
    let complete: Vec<(&Item, &Effect)> = timed().filter(|(item, _)| runs(item) == most).collect();
    let ratios: Vec<f64> = complete
        .iter()
        .map(|(_, effect)| effect.interval.ratio)
        .collect();
    let estimate = geometric_mean(&ratios)?;
    let whole = Item {
        case: String::new(),
        metric: Metric::time(),
        baseline: means(&complete, |item| &item.baseline)?,
        candidate: means(&complete, |item| &item.candidate)?,
        baseline_runs: Vec::new(),
        obstacle: None,
        remark: None,
        excuse: None,
    };
    let nothing = History::default();
    let ground = Ground {
        history: &nothing,
        ..*ground
    };
    let mut effect = effects::effects(&[whole], &ground);
    let interval = effect.pop()??.interval;
    let centred = estimate / interval.ratio;
    Some(GeometricMean {
        ratio: Interval {
            estimate,
            low: interval.low * centred,
            high: interval.high * centred,
            confidence: interval.confidence,
        },
        cases: complete.len(),
    })
}

/// Per run and round the geometric mean over the cases; as many rounds as every case has.
fn means<'a>(
    complete: &[(&'a Item, &Effect)],
    side: impl Fn(&'a Item) -> &'a Vec<Vec<f64>>,
) -> Option<Vec<Vec<f64>>> {
    let cases: Vec<&Vec<Vec<f64>>> = complete.iter().map(|(item, _)| side(item)).collect();
    let runs = cases.first()?.len();
    (0..runs)
        .map(|run| {
            let rounds = cases.iter().map(|case| case[run].len()).min()?;
            (0..rounds)
                .map(|round| {
                    let values: Vec<f64> = cases.iter().map(|case| case[run][round]).collect();
                    geometric_mean(&values)
                })
                .collect()
        })
        .collect()
}
