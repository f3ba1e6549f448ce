//! An audit from outside: a lower bound on epsilon, by telling two neighbouring data sets apart.
//!
//! A mechanism is run many times on each of two neighbours, and an event is counted. If it is `(epsilon,
//! delta)`-private, then `p <= exp(epsilon) q + delta` for the event's probabilities `p` and `q`; from confidence
//! limits on both follows a lower bound on epsilon. One that lies above what a mechanism claims
//! refutes it; one below proves nothing. Source: M. Jagielski, J. Ullman, A. Oprea, "Auditing Differentially Private
//! Machine Learning: How Private is Private SGD?", `NeurIPS` 2020, section 3.

use statrs::distribution::{Beta, ContinuousCDF as _};

/// How often an event was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Times that it was.
    pub hits: u64,
    /// Times that it was looked for.
    pub trials: u64,
}

/// The bound on epsilon that these counts prove with probability `confidence`, at least 0.
///
/// `here` counts the event on the data set where it is more frequent, `there` on its neighbour.
pub fn epsilon_at_least(here: Count, there: Count, delta: f64, confidence: f64) -> f64 {
    // Each limit may fail half as often.
    let miss = (1.0 - confidence) / 2.0;
    let (p, q) = (lower(here, miss), upper(there, miss));
    if p <= delta || q <= 0.0 {
        return 0.0;
    }
    ((p - delta) / q).ln().max(0.0)
}

/// Lower limit of a probability that fails with probability `miss`: C. Clopper, E. Pearson, Biometrika 26, 1934.
fn lower(Count { hits, trials }: Count, miss: f64) -> f64 {
    quantile(hits as f64, (trials - hits) as f64 + 1.0, miss).unwrap_or(0.0)
}

/// Upper limit of a probability, likewise.
fn upper(Count { hits, trials }: Count, miss: f64) -> f64 {
    quantile(hits as f64 + 1.0, (trials - hits) as f64, 1.0 - miss).unwrap_or(1.0)
}

/// A quantile of the beta distribution; `None` where a parameter is 0.
fn quantile(a: f64, b: f64, p: f64) -> Option<f64> {
    Beta::new(a, b).ok().map(|beta| beta.inverse_cdf(p))
}

#[cfg(test)]
mod tests {
    use super::super::super::random::Draws;
    use super::super::discrete::{Rational, gaussian, laplace};
    use super::super::{Budget, zcdp};
    use super::{Count, epsilon_at_least};

    const TRIALS: u64 = 20_000;

    /// Audits noise on a count that is 1 on one data set and 0 on its neighbour.
    fn audit(delta: f64, threshold: i64, mut noise: impl FnMut(&mut Draws) -> i64) -> f64 {
        let mut draws = Draws::of_row(17, 0, 0);
        let mut count = |value| {
            let hits = (0..TRIALS).filter(|_| value + noise(&mut draws) >= threshold);
            Count {
                hits: hits.count() as u64,
                trials: TRIALS,
            }
        };
        let (here, there) = (count(1), count(0));
        epsilon_at_least(here, there, delta, 0.999)
    }

    #[test]
    fn sound_mechanisms_are_not_refuted_and_broken_ones_are() {
        // Scale 1 for sensitivity 1: epsilon is exactly 1.
        let proved = audit(0.0, 1, |draws| laplace(draws, 1));
        assert!(proved <= 1.0 && proved > 0.85, "{proved}");
        // The same claim over half the noise that it needs: scale 1 where sensitivity 2 asks for 2.
        let broken = audit(0.0, 1, |draws| laplace(draws, 2) / 2);
        assert!(broken > 1.0, "{broken}");

        let budget = Budget::new(1.0, 1e-3).unwrap();
        let variance = zcdp::variance_for(zcdp::rho(budget), 1.0);
        let noise = |variance: f64| {
            let exact = Rational::at_least(variance).unwrap();
            move |draws: &mut Draws| gaussian(draws, exact)
        };
        let proved = audit(1e-3, 4, noise(variance));
        assert!(proved <= 1.0 && proved > 0.1, "{proved}");
        // A quarter of the standard deviation: what forgetting a factor does.
        assert!(audit(1e-3, 2, noise(variance / 16.0)) > 1.0);
    }

    #[test]
    fn no_hits_prove_nothing() {
        let none = Count {
            hits: 0,
            trials: 100,
        };
        let all = Count {
            hits: 100,
            trials: 100,
        };
        assert!(epsilon_at_least(none, none, 0.0, 0.95) < 1e-300);
        assert!(epsilon_at_least(all, all, 0.0, 0.95) < 1e-300);
        assert!(epsilon_at_least(all, none, 1e-5, 0.95) > 2.0);
    }
}
