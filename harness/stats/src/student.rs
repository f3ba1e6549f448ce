//! Quantiles and tails of Student's t with real degrees of freedom, on top of statrs.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// From here on Student's t and the normal distribution agree to six digits; infinite degrees of freedom
/// (a variance that is known, not estimated) are stored as this, because JSON has no infinity.
pub(crate) const NORMAL_FROM: f64 = 1e6;

/// From here on quantiles come from the expansion, where statrs' inversion loses digits.
const EXPANSION_FROM: f64 = 1e3;

/// The quantile of Student's t at `probability` in (0, 1); `None` for bad arguments.
pub(crate) fn quantile(probability: f64, degrees_of_freedom: f64) -> Option<f64> {
    if !(probability > 0.0 && probability < 1.0) {
        return None;
    }
    if degrees_of_freedom >= NORMAL_FROM {
        return normal_quantile(probability);
    }
    if degrees_of_freedom >= EXPANSION_FROM {
        return normal_quantile(probability).map(|z| expansion(z, degrees_of_freedom));
    }
    let t = StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?;
    Some(t.inverse_cdf(probability)).filter(|value| value.is_finite())
}

/// The half-width factor of a two-sided interval: the quantile at (1 + confidence) / 2.
pub(crate) fn two_sided(confidence: f64, degrees_of_freedom: f64) -> Option<f64> {
    quantile(f64::midpoint(1.0, confidence), degrees_of_freedom)
}

/// P(T > t), in [0, 1]; an infinite `t` is answered with its limit.
pub(crate) fn upper_tail(t: f64, degrees_of_freedom: f64) -> f64 {
    if t.is_infinite() {
        return if t > 0.0 { 0.0 } else { 1.0 };
    }
    if degrees_of_freedom >= NORMAL_FROM {
        return Normal::standard().sf(t);
    }
    StudentsT::new(0.0, 1.0, degrees_of_freedom).map_or(1.0, |distribution| distribution.sf(t))
}

/// The quantile of the standard normal distribution; `None` unless `probability` is in (0, 1).
pub(crate) fn normal_quantile(probability: f64) -> Option<f64> {
    let usable = probability > 0.0 && probability < 1.0;
    usable.then(|| Normal::standard().inverse_cdf(probability))
}

/// Student's t quantile from the normal one, for many degrees of freedom.
/// Source: Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 26.7.5.
fn expansion(z: f64, degrees_of_freedom: f64) -> f64 {
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    z + first / degrees_of_freedom + second / degrees_of_freedom.powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST/SEMATECH e-Handbook, table 1.3.6.7.2, and the normal quantile.
    #[test]
    fn quantiles_match_published_tables() {
        for (degrees, expected) in [
            (1.0, 12.7062),
            (3.0, 3.182_446),
            (5.0, 2.570_582),
            (9.0, 2.262_157),
            (30.0, 2.042_272),
            (1e9, 1.959_964),
        ] {
            let found = two_sided(0.95, degrees).unwrap();
            assert!((found - expected).abs() < 1e-4, "{degrees}: {found}");
        }
    }

    #[test]
    fn quantile_and_tail_agree_for_fractional_degrees_of_freedom() {
        for degrees in [
            1.0, 1.7, 2.3, 5.5, 11.25, 80.0, 999.5, 1000.0, 2e4, 9e5, 2e6,
        ] {
            for probability in [0.6, 0.9, 0.975, 0.995, 0.9995] {
                let t = quantile(probability, degrees).unwrap();
                assert!(
                    (upper_tail(t, degrees) - (1.0 - probability)).abs() < 1e-6,
                    "{degrees} {probability}"
                );
            }
        }
    }
}
