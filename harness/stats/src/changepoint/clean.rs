//! What a series looks like without its spikes: each value kept within reach of its neighbours' median.
//!
//! A running median keeps steps and ramps and loses spikes (Tukey 1977, Exploratory Data Analysis, chapter 7); values far from it are
//! pulled in, not dropped (winsorised), so that every index stays a night.

use crate::summary::{MAD_TO_STANDARD_DEVIATION, median_in_place};

/// Neighbours on each side. Two is the least that outvotes two adjacent spikes.
const REACH: usize = 2;

/// Robust standard deviations that a value may stand off. Three leaves normal noise as it is, and bounds what
/// one night can weigh.
const CLIP: f64 = 3.0;

/// The series with its median at zero, one robust standard deviation of its nights as unit, and no value further than
/// [`CLIP`] of them from the median of its neighbours. `None` if nothing is left but one level.
pub(super) fn cleaned(values: &[f64]) -> Option<Vec<f64>> {
    let center = median_in_place(&mut values.to_vec());
    let smooth = running_median(values);
    let mut deviations: Vec<f64> = values.iter().zip(&smooth).map(|(y, m)| (y - m).abs()).collect();
    let reach = std::env::var("CLIP").ok().and_then(|v| v.parse().ok()).unwrap_or(CLIP) * MAD_TO_STANDARD_DEVIATION * median_in_place(&mut deviations);
    let kept: Vec<f64> = values
        .iter()
        .zip(&smooth)
        .map(|(y, m)| y.clamp(m - reach, m + reach) - center)
        .collect();
    let largest = kept.iter().fold(0.0_f64, |most, y| most.max(y.abs()));
    (largest > 0.0 && largest.is_finite()).then(|| kept.iter().map(|y| y / largest).collect())
}

/// The median of each value and its neighbours; at the ends, of the outermost full window.
fn running_median(values: &[f64]) -> Vec<f64> {
    let width = (2 * REACH + 1).min(values.len());
    (0..values.len())
        .map(|index| {
            let start = index.saturating_sub(REACH).min(values.len() - width);
            median_in_place(&mut values[start..start + width].to_vec())
        })
        .collect()
}
