//! The decision over a whole suite: what is called, what is suspected, and how many false alarms that costs.
//!
//! Two stages. [`screen`] looks at one night against its baseline. What it calls by itself is controlled by the false discovery
//! rate; besides it names suspects, generously, because missing a small change is the other error. Nobody is told of a
//! suspect: it is run again, interleaved with the baseline's worker, and [`confirm`] judges those new rounds alone. They are
//! independent of the night that made the case a suspect, so the error of the second stage is the error of an alert.

use serde::{Deserialize, Serialize};

use crate::correction::{benjamini_hochberg, holm};
use crate::equivalence::{Position, position};
use crate::ratio::RatioInterval;

/// What is asked of a change before it is called. All shares: 0.03 is 3 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Ratios whose whole interval is in \[1 / (1 + margin), 1 + margin\] are equivalent.
    pub margin: f64,
    /// A change is called only from this estimate on, however sure it is. It may be less than the margin: that says
    /// what may be called equal, not what may be kept quiet.
    pub least_effect: f64,
    /// Two-sided p-value of one case from which it is a suspect. Generous: a false suspect costs a few rounds, not an alert.
    pub suspect_level: f64,
    /// Expected share of false calls among the calls of [`screen`].
    pub false_discovery_rate: f64,
    /// Chance of even one false call in [`confirm`].
    pub family_error: f64,
    /// Confidence of the intervals.
    pub confidence: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            margin: 0.03,
            least_effect: 0.01,
            suspect_level: 0.10,
            false_discovery_rate: 0.05,
            family_error: 0.01,
            confidence: 0.95,
        }
    }
}

/// What is said of one case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// Above or Below: called. Within: equivalent.
    pub position: Position,
    /// Worth running again before anybody is told.
    pub suspect: bool,
    /// Two-sided p-value of "no change", for this case alone.
    pub p_value: f64,
    /// The same, corrected over the suite.
    pub adjusted: f64,
}

/// A call by one night's evidence alone is made with the tail of Student's t with at most so many degrees of freedom. A window of
/// runs shows how wide nights are, not how heavy their tail is: with nights in two modes, or t-distributed with 3
/// degrees of freedom, the nominal tail gave fifty times the announced false calls in simulation. Confirmation needs none of this.
const TAIL_DEGREES: f64 = 4.0;

/// Judges one night: Benjamini-Hochberg over all cases that have an effect, with heavy tails. `None` stays `None`.
///
/// Source: Benjamini and Hochberg 1995, JRSS B 57(1), 289-300.
pub fn screen(effects: &[Option<RatioInterval>], rules: &Rules) -> Vec<Option<Judged>> {
    let level = rules.false_discovery_rate;
    judge(effects, rules, TAIL_DEGREES, benjamini_hochberg, level)
}

/// Pairs of rounds that [`confirm`] should rest on: fewer leave the trimmed t interval too few degrees of freedom for a level
/// of `family_error` over a dozen suspects, and with rounds in two modes its error is beyond the nominal one below ten.
pub const CONFIRMATION_PAIRS: u32 = 16;

/// Judges the new, interleaved rounds of the suspects: Holm over them.
///
/// Source: Holm 1979, Scandinavian Journal of Statistics 6(2), 65-70; selection on one set of data and test on another:
/// Cox 1975, Biometrika 62(2), 441-444.
pub fn confirm(effects: &[Option<RatioInterval>], rules: &Rules) -> Vec<Option<Judged>> {
    judge(effects, rules, f64::INFINITY, holm, rules.family_error)
}

/// How many of the calls of [`screen`] are false on average, at most: the false discovery rate times the calls, and the
/// false discovery rate itself where nothing is called (if nothing changed, one night in 1 / rate has a false call).
pub fn expected_false_alarms(judged: &[Option<Judged>], rules: &Rules) -> f64 {
    let calls = judged
        .iter()
        .flatten()
        .filter(|case| case.position.is_called());
    rules.false_discovery_rate * (calls.count() as f64).max(1.0)
}

fn judge(
    effects: &[Option<RatioInterval>],
    rules: &Rules,
    degrees: f64,
    correct: fn(&[f64]) -> Option<Vec<f64>>,
    level: f64,
) -> Vec<Option<Judged>> {
    let p_values: Vec<f64> = effects
        .iter()
        .flatten()
        .map(|effect| effect.with_degrees(degrees).p_value())
        .collect();
    let mut adjusted = correct(&p_values).unwrap_or_default().into_iter();
    effects
        .iter()
        .map(|effect| {
            let effect = effect.as_ref()?;
            Some(one(effect, adjusted.next()?, level, rules))
        })
        .collect()
}

fn one(effect: &RatioInterval, adjusted: f64, level: f64, rules: &Rules) -> Judged {
    let p_value = effect.p_value();
    let matters = effect.ratio.ln().abs() >= rules.least_effect.ln_1p();
    let position = if matters && adjusted <= level {
        if effect.ratio > 1.0 {
            Position::Above
        } else {
            Position::Below
        }
    } else {
        match position(effect, rules.margin) {
            Position::Within => Position::Within,
            _ => Position::Straddles,
        }
    };
    Judged {
        position,
        suspect: position.is_called() || (matters && p_value <= rules.suspect_level),
        p_value,
        adjusted,
    }
}
