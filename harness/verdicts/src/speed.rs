//! Whether a later run is slower than an earlier one, in all cases together.
//!
//! What the two runs differ by, and how sure that is, comes from [`crate::few_runs`]. A change is called only if it is beyond
//! the margin and if its two-sided p-value, corrected by Holm over all cases, is at most [`FAMILY_ERROR`]: as many
//! false alarms per *reproduction*, not per case. "Unchanged" needs the whole 95 % interval within the margin, and is
//! rarely had from one run per side without a history.

use assay_stats::{Interval, Position, holm, position};

use crate::Verdict;
use crate::effect::{Effect, percent, shown};
use crate::few_runs::{self, Times};

/// Chance of even one false "regressed" or "improved" in a whole reproduction, if runs differ no more than is taken.
pub const FAMILY_ERROR: f64 = 0.01;

/// What is said of the speed of one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// The verdict.
    pub verdict: Verdict,
    /// Reproduction over original with its 95 % interval; absent without two rounds on each side.
    pub ratio: Option<Interval>,
    /// Why, in words.
    pub note: String,
}

/// Judges all cases of a reproduction together. `margin` is the smallest effect that matters: 0.03 is 3 %.
pub fn judge(cases: &[Times], margin: f64) -> Vec<Speed> {
    let effects = few_runs::effects(cases);
    let p_values: Vec<f64> = effects
        .iter()
        .flatten()
        .map(|effect| effect.interval.p_value())
        .collect();
    let mut adjusted = holm(&p_values).unwrap_or_default().into_iter();
    let judged = cases
        .iter()
        .zip(&effects)
        .map(|(times, effect)| match effect {
            Some(effect) => Speed::of(effect, adjusted.next().unwrap_or(1.0), margin),
            None => Speed::unmeasured(times),
        });
    judged.collect()
}

impl Speed {
    /// Nothing can be said, for the reason given.
    pub fn unknown(note: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Inconclusive,
            ratio: None,
            note: note.into(),
        }
    }

    fn of(effect: &Effect, adjusted: f64, margin: f64) -> Self {
        let is_sure = adjusted <= FAMILY_ERROR;
        let verdict = if is_sure && effect.interval.ratio > 1.0 + margin {
            Verdict::Regressed
        } else if is_sure && effect.interval.ratio < 1.0 / (1.0 + margin) {
            Verdict::Improved
        } else if position(&effect.interval, margin) == Position::Within {
            Verdict::Unchanged
        } else {
            Verdict::Inconclusive
        };
        Self {
            verdict,
            ratio: Some(shown(&effect.interval)),
            note: note(effect, verdict, margin),
        }
    }

    fn unmeasured(times: &Times) -> Self {
        let [original, again] = times.rounds();
        Self::unknown(if original < 2 || again < 2 {
            format!(
                "{original} good rounds in the original and {again} in the reproduction: at least 2 are needed on each side, and 6 are better"
            )
        } else {
            "the times of a side are not all finite and positive".into()
        })
    }
}

fn note(effect: &Effect, verdict: Verdict, margin: f64) -> String {
    let shown = percent(margin);
    let said = match verdict {
        Verdict::Regressed => format!("slower by more than the margin of {shown}"),
        Verdict::Improved => format!("faster by more than the margin of {shown}"),
        Verdict::Unchanged => format!("the whole interval is within the margin of {shown}"),
        Verdict::Inconclusive => {
            format!("one run per side cannot tell this from no change of more than {shown}")
        }
    };
    let remedy = (verdict == Verdict::Inconclusive).then(|| effect.remedy(margin));
    let parts = [Some(said), Some(effect.origin_words()), remedy];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
