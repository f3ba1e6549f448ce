//! What a series looks like without its spikes: each value kept within reach of its neighbours' median.
//!
//! A running median keeps steps and ramps and loses spikes (Tukey 1977, Exploratory Data Analysis, chapter 7). Values far
//! from it are pulled in, not dropped (winsorised), so that every index stays a night.

use crate::summary::{MAD_TO_STANDARD_DEVIATION, median_in_place};

/// Neighbours on each side: two is the least that outvotes two adjacent spikes.
const NEIGHBOURS: usize = 2;

/// Robust standard deviations that a value may stand off its neighbours. Three leaves normal noise as it is (it
/// touches 1 night in 400) and bounds what one night can weigh.
const REACH: f64 = 3.0;

/// The series moved to a median of zero and scaled to a largest value of one, with no value further than [`REACH`] from
/// the median of its neighbours. `None` if only one level is left.
pub(super) fn cleaned(values: &[f64]) -> Option<Vec<f64>> {
    let center = median_in_place(&mut values.to_vec());
    let smooth = running_median(values);
    let mut distances: Vec<f64> = values
        .iter()
        .zip(&smooth)
        .map(|(value, near)| (value - near).abs())
        .collect();
    let reach = REACH * MAD_TO_STANDARD_DEVIATION * median_in_place(&mut distances);
    let kept: Vec<f64> = values
        .iter()
        .zip(&smooth)
        .map(|(value, near)| value.max(near - reach).min(near + reach) - center)
        .collect();
    let largest = kept
        .iter()
        .fold(0.0_f64, |most, value| most.max(value.abs()));
    let is_usable = largest > 0.0 && largest.is_finite();
    is_usable.then(|| kept.iter().map(|value| value / largest).collect())
}

/// The median of each value and its neighbours; at the ends, of the outermost full window.
fn running_median(values: &[f64]) -> Vec<f64> {
    let mut window = [0.0; 2 * NEIGHBOURS + 1];
    let width = window.len().min(values.len());
    (0..values.len())
        .map(|index| {
            let start = index.saturating_sub(NEIGHBOURS).min(values.len() - width);
            window[..width].copy_from_slice(&values[start..start + width]);
            median_in_place(&mut window[..width])
        })
        .collect()
}
