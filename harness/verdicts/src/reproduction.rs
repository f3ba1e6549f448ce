//! The verdict on a reproduction, in three parts: inputs, outputs, speed.

use std::collections::BTreeSet;

use assay_protocol::Metric;
use assay_record::RunId;
use assay_stats::Interval;
use assay_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::explanation::Explanation;
use crate::few_runs::Times;
use crate::likeness::{self, Pair};
use crate::speed::{self, Speed};
use crate::{DEFAULT_MARGIN, History, Reading, RunView, Verdict};

/// A run, the run that reproduced it, and how they compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reproduction {
    /// The run that was reproduced.
    pub original: RunId,
    /// The run that reproduced it.
    pub again: RunId,
    /// The inputs of all cases together.
    pub inputs: Likeness,
    /// The outputs of all cases together.
    pub outputs: Likeness,
    /// Speed of all cases together: regressed if any is, else improved if any is, else inconclusive if any is.
    pub speed: Verdict,
    /// Case by case.
    pub cases: Vec<CaseReproduction>,
    /// What differs between the two that may explain a difference, in words, likeliest first.
    pub explanations: Vec<Explanation>,
    /// Why the speeds are those of two machines: then they are compared, and nothing is said of the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<String>,
}

/// One case of a reproduction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseReproduction {
    /// Id of the case.
    pub case: String,
    /// Name of the arm.
    pub arm: String,
    /// Its inputs.
    pub inputs: Likeness,
    /// Its outputs.
    pub outputs: Likeness,
    /// Its speed.
    pub speed: Verdict,
    /// Ratio of times, reproduction over original, with its interval.
    pub ratio: Option<Interval>,
    /// Why the speed verdict is what it is, in words: margin, how many more rounds would settle it.
    pub note: String,
}

/// How two things compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "why", rename_all = "snake_case")]
pub enum Likeness {
    /// The same bits.
    Identical,
    /// Different bits, both within the tolerance of the reference.
    WithinTolerance,
    /// Different; what differs, in words.
    Differs(String),
    /// Nothing to compare; why.
    Unknown(String),
}

impl Reproduction {
    /// Loads both runs and what the store knows of their machine, and judges. `explanations` are the caller's, from the
    /// fingerprints, likeliest first.
    pub fn of(
        reading: Reading<'_>,
        original: &RunId,
        again: &RunId,
        explanations: Vec<Explanation>,
    ) -> Result<Self, StoreError> {
        let original = RunView::load(reading.store, original)?;
        let again = RunView::load(reading.store, again)?;
        let history = History::before(reading, &again)?;
        Ok(Self::judge(&original, &again, &history, explanations))
    }

    /// The verdict in three parts. The cases are those of either run, in the order of the original.
    pub fn judge(
        original: &RunView,
        again: &RunView,
        history: &History,
        explanations: Vec<Explanation>,
    ) -> Self {
        let manifests = [&*original.manifest, &*again.manifest];
        let names = names(original, again);
        let pairs: Vec<Pair<'_>> = names
            .iter()
            .map(|(case, arm)| Pair {
                original: original.case(case, arm),
                again: again.case(case, arm),
            })
            .collect();
        let barrier = likeness::speed_barrier(&original.run, &again.run);
        let speeds = speeds(history, &names, &pairs, barrier.as_deref());
        let cases: Vec<CaseReproduction> = names
            .iter()
            .zip(&pairs)
            .zip(speeds)
            .map(|((&(case, arm), &pair), speed)| CaseReproduction {
                case: case.into(),
                arm: arm.into(),
                inputs: likeness::inputs(pair, manifests, case),
                outputs: likeness::outputs(pair),
                speed: speed.verdict,
                ratio: speed.ratio,
                note: speed.note,
            })
            .collect();
        let busy = || cases.iter().zip(&pairs).filter(|(_, pair)| !pair.is_idle());
        let name = naming(&cases);
        let overall = |part: fn(&CaseReproduction) -> &Likeness| {
            likeness::overall(busy().map(|(case, _)| (name(case), part(case))))
        };
        let inputs = overall(|case| &case.inputs);
        Self {
            original: original.run.run.clone(),
            again: again.run.run.clone(),
            inputs: likeness::sources(manifests).map_or(inputs, Likeness::Differs),
            outputs: overall(|case| &case.outputs),
            speed: overall_speed(&cases),
            cases,
            explanations,
            comparison: barrier,
        }
    }

    /// What its cases are called: with their arms, where there are several.
    pub fn naming(&self) -> fn(&CaseReproduction) -> String {
        naming(&self.cases)
    }

    /// Whether nothing of any case could be compared: such a reproduction says nothing.
    pub fn is_empty(&self) -> bool {
        let is_unknown = |likeness: &Likeness| matches!(likeness, Likeness::Unknown(_));
        self.cases.iter().all(|case| {
            case.ratio.is_none() && is_unknown(&case.inputs) && is_unknown(&case.outputs)
        })
    }

    /// Geometric mean of the ratios of times, over the cases that have one, and how many those are.
    pub fn mean_ratio(&self) -> Option<(f64, usize)> {
        let ratios = self.cases.iter().filter_map(|case| case.ratio);
        let logs: Vec<f64> = ratios.map(|ratio| ratio.estimate.ln()).collect();
        let sum: f64 = logs.iter().sum();
        (!logs.is_empty()).then(|| ((sum / logs.len() as f64).exp(), logs.len()))
    }

    /// Cases whose speed is said to have changed: nobody should be told before they were run again.
    pub fn suspects(&self) -> Vec<&CaseReproduction> {
        self.cases
            .iter()
            .filter(|case| matches!(case.speed, Verdict::Regressed | Verdict::Improved))
            .collect()
    }

    /// Keeps a change of speed only where `second`, a later reproduction of the same original that has at least the
    /// suspects, says the same; others become inconclusive. Inputs and outputs stay as they are.
    #[must_use]
    pub fn confirm(mut self, second: &Self) -> Self {
        for case in &mut self.cases {
            if matches!(case.speed, Verdict::Regressed | Verdict::Improved) {
                case.confirm(second);
            }
        }
        self.speed = overall_speed(&self.cases);
        self
    }
}

fn naming(cases: &[CaseReproduction]) -> fn(&CaseReproduction) -> String {
    let are_of_one_arm = cases.windows(2).all(|pair| pair[0].arm == pair[1].arm);
    if are_of_one_arm {
        |case| case.case.clone()
    } else {
        |case| format!("{}  {}", case.case, case.arm)
    }
}

/// Over the cases that have a ratio: one that was not measured on both sides shows in the outputs, not in the speed.
fn overall_speed(cases: &[CaseReproduction]) -> Verdict {
    let measured = cases.iter().filter(|case| case.ratio.is_some());
    Verdict::overall(measured.map(|case| case.speed))
}

impl CaseReproduction {
    fn confirm(&mut self, second: &Reproduction) {
        let found = second
            .cases
            .iter()
            .find(|case| case.case == self.case && case.arm == self.arm);
        let ratio = found.and_then(|case| case.ratio).map_or_else(
            || "no ratio".into(),
            |ratio| format!("a ratio of {:.3}", ratio.estimate),
        );
        let again = &second.again;
        if found.is_some_and(|case| case.speed == self.speed) {
            self.note = format!("{}; confirmed by run {again} with {ratio}", self.note);
        } else {
            self.speed = Verdict::Inconclusive;
            self.note = format!(
                "not confirmed: run {again} gave {ratio}; at first: {}",
                self.note
            );
        }
    }
}

/// Case and arm of either run, in the order of the original, then of the reproduction.
fn names<'a>(original: &'a RunView, again: &'a RunView) -> Vec<(&'a str, &'a str)> {
    let mut seen = BTreeSet::new();
    original
        .cases
        .iter()
        .chain(again.cases.iter())
        .map(|row| (row.case.as_str(), row.arm.as_str()))
        .filter(|name| seen.insert(*name))
        .collect()
}

fn speeds(
    history: &History,
    names: &[(&str, &str)],
    pairs: &[Pair<'_>],
    barrier: Option<&str>,
) -> Vec<Speed> {
    let times: Vec<Times> = names
        .iter()
        .zip(pairs)
        .map(|(&(case, arm), pair)| times(*pair, history.of(case, arm, Metric::TIME)))
        .collect();
    let judged = speed::judge(&times, DEFAULT_MARGIN);
    let with_reason = |(speed, pair): (Speed, &Pair<'_>)| match (pair.comparable(), barrier) {
        (Err(why), _) => Speed::unknown(why),
        (Ok(()), Some(why)) if speed.ratio.is_some() => Speed {
            verdict: Verdict::Inconclusive,
            note: why.to_owned(),
            ..speed
        },
        _ => speed,
    };
    judged.into_iter().zip(pairs).map(with_reason).collect()
}

/// Round medians of both sides; none where they may not be compared.
fn times(pair: Pair<'_>, history: &[f64]) -> Times {
    match (pair.comparable(), pair.original, pair.again) {
        (Ok(()), Some(original), Some(again)) => Times {
            baseline: vec![original.good_values(Metric::TIME)],
            candidate: vec![again.good_values(Metric::TIME)],
            history: history.to_vec(),
        },
        _ => Times::default(),
    }
}
