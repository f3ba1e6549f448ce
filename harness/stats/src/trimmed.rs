//! Trimmed means and their squared standard errors: the location estimate of comparisons, which one outlier cannot move.

use crate::sample::mean_and_squares;

/// From this many values on, a fifth is trimmed at each end; fewer are averaged as they are.
const TRIM_FROM: usize = 6;

/// A trimmed mean with what a t interval needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrimmedMean {
    /// Mean of the values kept.
    pub mean: f64,
    /// Squared standard error of that mean.
    pub squared_error: f64,
    /// Values kept minus one.
    pub degrees_of_freedom: f64,
}

impl TrimmedMean {
    /// 20 % trimmed mean of finite values, squared error (n - 1) s²w / (h (h - 1)) from the winsorized variance s²w,
    /// with h values kept; plain mean and s²/n below six values. Where all that are kept are equal, the variance of all values
    /// stands for s²w: they are not known without error. `None` for fewer than two.
    ///
    /// Source: Yuen 1974, Biometrika 61(1), 165-170; for one sample Tukey and `McLaughlin` 1963, Sankhya A 25(3), 331-352.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count < 2 {
            return None;
        }
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        let cut = kept_and_cut(count).1;
        let kept = (count - 2 * cut) as f64;
        let mean = mean_and_squares(&values[cut..count - cut]).0;
        let (lowest, highest) = (values[cut], values[count - 1 - cut]);
        // A clock's ticks make values equal that are not. Where all that are kept are, those that are cut say how far off they may be.
        if lowest < highest {
            for value in &mut values {
                *value = value.clamp(lowest, highest);
            }
        }
        let squared_error = mean_and_squares(&values).1 / (kept * (kept - 1.0));
        Some(Self {
            mean,
            squared_error,
            degrees_of_freedom: kept - 1.0,
        })
    }
}

/// The location alone: as [`TrimmedMean::of`], and for one value that value. `None` for none.
pub(crate) fn location(values: &[f64]) -> Option<f64> {
    match values {
        [] => None,
        [only] => Some(*only),
        _ => TrimmedMean::of(values).map(|found| found.mean),
    }
}

/// How many of `count` values are kept, and how many are cut at each end.
pub(crate) fn kept_and_cut(count: usize) -> (usize, usize) {
    let cut = if count < TRIM_FROM { 0 } else { count / 5 };
    (count - 2 * cut, cut)
}

#[cfg(test)]
mod tests {
    use super::TrimmedMean;

    #[test]
    fn ties_in_the_middle_are_no_certainty() {
        // Six medians of a clock with ticks: the four that are kept are one number.
        let tied = TrimmedMean::of(&[0.99, 1.0, 1.0, 1.0, 1.0, 1.02]).unwrap();
        assert!((tied.mean - 1.0).abs() < 1e-15);
        assert!(tied.squared_error > 0.0);
        // The wider the values that are cut, the less is known.
        let wide = TrimmedMean::of(&[0.9, 1.0, 1.0, 1.0, 1.0, 1.2]).unwrap();
        assert!(wide.squared_error > tied.squared_error);
        let same = TrimmedMean::of(&[1.0; 6]).unwrap();
        assert!(same.squared_error.abs() < f64::MIN_POSITIVE);
    }
}
