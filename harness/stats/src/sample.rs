//! What every function here asks of its input, in one place: finite, positive, sorted, logarithms.

/// Whether there is at least one value and all are finite.
pub(crate) fn all_finite(values: &[f64]) -> bool {
    !values.is_empty() && values.iter().all(|value| value.is_finite())
}

/// A sorted copy; `None` if empty or any value is not finite.
pub(crate) fn sorted(values: &[f64]) -> Option<Vec<f64>> {
    if !all_finite(values) {
        return None;
    }
    let mut copy = values.to_vec();
    copy.sort_unstable_by(f64::total_cmp);
    Some(copy)
}

/// Natural logarithms; `None` if empty or any value is not finite and positive.
pub(crate) fn logarithms(values: &[f64]) -> Option<Vec<f64>> {
    let usable = all_finite(values) && values.iter().all(|&value| value > 0.0);
    usable.then(|| values.iter().map(|value| value.ln()).collect())
}

/// A confidence that an interval can have: strictly between 0 and 1.
pub(crate) fn is_confidence(confidence: f64) -> bool {
    confidence > 0.0 && confidence < 1.0
}

/// Mean and sum of squared deviations in one pass. Source: Welford 1962, Technometrics 4(3), 419-420.
pub(crate) fn mean_and_squares(values: &[f64]) -> (f64, f64) {
    let (mut mean, mut squares) = (0.0, 0.0);
    for (seen, &value) in values.iter().enumerate() {
        let before = value - mean;
        mean += before / (seen + 1) as f64;
        squares += before * (value - mean);
    }
    (mean, squares)
}
