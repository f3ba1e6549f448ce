//! Numbers for people: the digits that they deserve, a prefix that fits, and their uncertainty.
//!
//! Pure functions from a value to words, used by pages and terminal alike. An uncertainty has one or
//! two significant digits by the rule of the Particle Data Group (Review of Particle Physics,
//! Introduction, section 5.3), and the value ends at the same decimal place.

mod digits;
mod scale;
#[cfg(test)]
mod tests;

use std::fmt;

use assay_protocol::Unit;
use assay_stats::Interval;
use serde::Serialize;

use digits::{Rounded, from_uncertainty, from_value};
use scale::Scale;

/// A number as it is shown: `1.234`, `0.005`, `ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quantity {
    /// The value, rounded.
    pub value: String,
    /// What the interval says, rounded: `± 0.005`, or `(0.2 to 4.3)` where its ends are not equally far; absent where
    /// there is no interval.
    pub uncertainty: Option<String>,
    /// The unit with its prefix; empty for pure numbers.
    pub unit: String,
    /// The value in the unit without prefix, to six digits: for programs, and to sort by.
    pub exact: String,
}

impl Quantity {
    /// The uncertainty and unit as they follow the value: ` ± 0.005 ms`.
    fn rest(&self) -> String {
        let uncertainty = self.uncertainty.as_ref();
        let uncertainty = uncertainty.map_or(String::new(), |words| format!(" {words}"));
        let space = if self.unit.is_empty() { "" } else { " " };
        format!("{uncertainty}{space}{}", self.unit)
    }
}

/// `1.234 ± 0.005 ms`
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.value, self.rest())
    }
}

/// Of the estimate: the longer side of a skewed interval from which on its ends are shown.
const WIDE: f64 = 0.1;
/// How much longer than the other one a side is in a skewed interval.
const SKEWED: f64 = 2.0;
/// Of the estimate: an end of an interval from which on only its order of magnitude is shown.
const FAR: f64 = 1e3;
/// Of the estimate: a length that is arithmetic's, and none.
const NO_LENGTH: f64 = 1e-12;

/// A value whose uncertainty is not known: four significant digits, or all of an integer.
pub fn value(value: f64, unit: &Unit) -> Quantity {
    shown(value, None, unit)
}

/// A share in percent, with its interval.
pub fn percent(share: &Interval) -> Quantity {
    let percent = Interval {
        estimate: share.estimate * 100.0,
        low: share.low * 100.0,
        high: share.high * 100.0,
        ..*share
    };
    interval(&percent, &Unit::Other("%".into()))
}

/// An estimate with its interval, by its longer side. One that is wide and not symmetric is shown by its ends, as no ±
/// is true of both. Equal rounds have one without length: `± 0`. A single round has none, which confidence 0 says.
pub fn interval(interval: &Interval, unit: &Unit) -> Quantity {
    let Interval {
        estimate,
        low,
        high,
        confidence,
    } = *interval;
    let (below, above) = (estimate - low, high - estimate);
    let (shorter, longer) = (below.min(above).max(0.0), below.max(above));
    if confidence == 0.0 || !longer.is_finite() {
        return value(estimate, unit);
    }
    if longer > WIDE * estimate.abs() && longer > SKEWED * shorter {
        return bounds(interval, shorter, longer, unit);
    }
    let is_none = longer <= NO_LENGTH * estimate.abs();
    shown(estimate, Some(if is_none { 0.0 } else { longer }), unit)
}

/// An estimate with the ends of its interval, all to the digits that its shorter side deserves, and two at least.
fn bounds(interval: &Interval, shorter: f64, longer: f64, unit: &Unit) -> Quantity {
    let (estimate, exact) = (interval.estimate, format!("{:.5e}", interval.estimate));
    let size = if estimate == 0.0 { longer } else { estimate };
    let scale = scale::around(size, 0.0, unit).into_iter().next();
    let Scale { factor, name } = scale.unwrap_or_default();
    let least = digits::of_two(size / factor);
    let decimals = if shorter > NO_LENGTH * size.abs() {
        from_uncertainty(shorter / factor).max(least)
    } else {
        least
    };
    let decimals = decimals.min(digits::finest(size / factor, 0.0));
    let text = |value: f64| Rounded::new(value / factor, decimals).text;
    let end = |value: f64| {
        if value.abs() > FAR * size.abs() {
            format!("{:.1e}", value / factor)
        } else {
            text(value)
        }
    };
    Quantity {
        value: text(estimate),
        uncertainty: Some(format!("({} to {})", end(interval.low), end(interval.high))),
        unit: name.into_owned(),
        exact,
    }
}

/// A number in a measure of its own, such as an error or a tolerance: `1.19e-7`.
pub fn scientific(value: f64) -> String {
    if value == 0.0 || (1e-3..1e4).contains(&value.abs()) {
        let decimals = from_value(value).unwrap_or(0).max(0);
        return trimmed(&Rounded::new(value, decimals).text);
    }
    format!("{value:.2e}")
}

/// A count with its digits in groups of three: `12 345`, with narrow no-break spaces.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join("\u{202f}")
}

/// A span of time as people say it: `850 ms`, `12.3 s`, `2 min 13 s`, `1 h 04 min`.
pub fn duration(ns: i64) -> String {
    let seconds = ns as f64 / 1e9;
    let whole = seconds.round() as i64;
    match whole {
        ..0 => "negative".into(),
        _ if seconds < 0.9995 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 59.95 => format!("{seconds:.1} s"),
        _ if whole < 3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Longest unit at an axis, in characters: `M items/s`.
const AXIS_UNIT: usize = 9;

/// The prefix for numbers up to `largest`, and how many of the unit it stands for: for the axis of a chart, which has no room for all of a
/// long one.
pub fn axis_scale(largest: f64, unit: &Unit) -> (f64, String) {
    let fitting = scale::around(largest, 0.0, unit).into_iter().next();
    let Scale { factor, name } = fitting.unwrap_or_default();
    if name.chars().count() <= AXIS_UNIT {
        return (factor, name.into_owned());
    }
    let beginning: String = name.chars().take(AXIS_UNIT - 1).collect();
    (factor, format!("{}…", beginning.trim_end()))
}

/// A number at an axis; what rounds to zero has no sign.
pub fn axis_number(value: f64, decimals: usize) -> String {
    let decimals = i32::try_from(decimals).unwrap_or(0);
    Rounded::new(value, decimals).text
}

/// Decimals that tell apart numbers `step` from each other: for the axis of a chart.
pub fn axis_decimals(step: f64) -> usize {
    let exponent = step.log10().floor();
    usize::try_from(-exponent as i64).unwrap_or(0).min(9)
}

/// A value, and half of its interval's length where it has one.
fn shown(value: f64, half: Option<f64>, unit: &Unit) -> Quantity {
    if !value.is_finite() {
        return Quantity {
            value: "not a number".into(),
            uncertainty: None,
            unit: String::new(),
            exact: String::new(),
        };
    }
    let reach = half.filter(|half| !is_wild(value, *half)).unwrap_or(0.0);
    let scales = scale::around(value, reach, unit);
    let mut fits = scales.iter().enumerate();
    let fitting = fits.find_map(|(at, scale)| {
        let rounded = round(value / scale.factor, half.map(|half| half / scale.factor));
        let next = scales.get(at + 1).map(|next| next.factor / scale.factor);
        let outgrown = next.is_some_and(|next| rounded.0.value.abs() >= next);
        (!outgrown).then(|| quantity(rounded, scale))
    });
    let quantity = fitting.unwrap_or_else(|| quantity(round(value, half), &Scale::default()));
    Quantity {
        exact: format!("{value:.5e}"),
        ..quantity
    }
}

fn quantity((value, half): (Rounded, Option<Rounded>), scale: &Scale) -> Quantity {
    Quantity {
        value: value.text,
        uncertainty: half.map(|half| format!("± {}", half.text)),
        unit: scale.name.clone().into_owned(),
        exact: String::new(),
    }
}

/// An interval wider than its value, of at least one of the smallest unit: it must not round the value
/// away, so each keeps its own digits.
fn is_wild(value: f64, half: f64) -> bool {
    value.abs() >= 1.0 && half.is_finite() && half > value.abs()
}

/// Both numbers at the decimal place that they deserve.
fn round(value: f64, half: Option<f64>) -> (Rounded, Option<Rounded>) {
    let plain = || Rounded::new(value, from_value(value).unwrap_or(0).max(0));
    let Some(half) = half else {
        return (plain(), None);
    };
    if is_wild(value, half) {
        return (
            Rounded::new(value, digits::of_two(value)),
            Some(Rounded::new(half, from_uncertainty(half))),
        );
    }
    if half == 0.0 {
        return (plain(), Some(Rounded::new(0.0, 0)));
    }
    let decimals = from_uncertainty(half).min(digits::finest(value, half));
    (
        Rounded::new(value, decimals),
        Some(Rounded::uncertainty(half, decimals)),
    )
}

fn trimmed(text: &str) -> String {
    if !text.contains('.') {
        return text.into();
    }
    text.trim_end_matches('0').trim_end_matches('.').into()
}
