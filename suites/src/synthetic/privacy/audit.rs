//! An audit from outside: lower bounds on what a mechanism costs, by telling two neighbouring data sets apart.
//!
//! A mechanism is run many times on each of two neighbours, and an event is counted. Whatever bound holds for the mechanism holds for the
//! event's probabilities; from confidence limits on both follows a lower bound on epsilon, or on rho. One that lies above
//! what a mechanism claims refutes it; one below proves nothing. Source: M. Jagielski, J. Ullman, A. Oprea, "Auditing Differentially
//! Private Machine Learning: How Private is Private SGD?", `NeurIPS` 2020, section 3.

use statrs::distribution::{Beta, ContinuousCDF as _};

/// How often an event was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Times that it was.
    pub hits: u64,
    /// Times that it was looked for.
    pub trials: u64,
}

/// The bound on epsilon that these counts prove with probability `confidence`, at least 0: `p <= exp(epsilon) q + delta` holds for the
/// event's probabilities.
///
/// `here` counts the event on the data set where it is more frequent, `there` on its neighbour.
pub fn epsilon_at_least(here: Count, there: Count, delta: f64, confidence: f64) -> f64 {
    let (p, q) = limits(here, there, confidence);
    if p <= delta || q <= 0.0 {
        return 0.0;
    }
    ((p - delta) / q).ln().max(0.0)
}

/// The bound on rho of zero-concentrated privacy that these counts prove with probability `confidence`, at least 0.
///
/// Rényi divergences of any order `a` are at most `a rho` (M. Bun, T. Steinke, "Concentrated Differential Privacy", TCC 2016,
/// definition 1.1), and no more between an event's probabilities than between what the event is of: `(ln (p^a q^(1-a) + (1-p)^a (1-q)^(1-a)) / (a - 1)`,
/// for `a = 1` that of Kullback and Leibler.
pub fn rho_at_least(here: Count, there: Count, confidence: f64) -> f64 {
    /// Orders that are tried: frequent events prove most by low ones, rare events by higher ones.
    const ORDERS: [f64; 7] = [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0];
    let (p, q) = limits(here, there, confidence);
    if p <= q {
        return 0.0;
    }
    let of_order = |order: f64| divergence(p, q, order) / order;
    ORDERS.map(of_order).into_iter().fold(0.0, f64::max)
}

/// Rényi's divergence of an order between an event of probability `p` and one of `q`; 0 is no probability of `q`, and 1 none.
fn divergence(p: f64, q: f64, order: f64) -> f64 {
    if (order - 1.0).abs() < 1e-9 {
        let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
        return part(p, q) + part(1.0 - p, 1.0 - q);
    }
    let part = |p: f64, q: f64| p.powf(order) * q.powf(1.0 - order);
    (part(p, q) + part(1.0 - p, 1.0 - q)).ln() / (order - 1.0)
}

/// A lower limit of the one probability and an upper limit of the other, which hold together with probability `confidence`.
fn limits(here: Count, there: Count, confidence: f64) -> (f64, f64) {
    // Each may fail half as often.
    let miss = (1.0 - confidence) / 2.0;
    (lower(here, miss), upper(there, miss))
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
    use super::{Count, divergence, epsilon_at_least, rho_at_least};

    const TRIALS: u64 = 20_000;

    /// How often noise on a count, which is 1 on one data set and 0 on its neighbour, reaches a threshold.
    fn counts(threshold: i64, mut noise: impl FnMut(&mut Draws) -> i64) -> (Count, Count) {
        let mut draws = Draws::of_row(17, 0, 0);
        let mut count = |value| {
            let hits = (0..TRIALS).filter(|_| value + noise(&mut draws) >= threshold);
            Count {
                hits: hits.count() as u64,
                trials: TRIALS,
            }
        };
        (count(1), count(0))
    }

    fn scale(value: f64) -> Rational {
        Rational::at_least(value).unwrap()
    }

    #[test]
    fn sound_noise_is_not_refuted_and_less_is() {
        let laplace_of = |of: f64| {
            let (here, there) = counts(1, |draws| laplace(draws, scale(of)));
            epsilon_at_least(here, there, 0.0, 0.999)
        };
        // Scale 1 for sensitivity 1: epsilon is exactly 1.
        let proved = laplace_of(1.0);
        assert!(proved <= 1.0 && proved > 0.85, "{proved}");
        assert!(laplace_of(0.5) > 1.0);
        let gaussian_of = |of: f64| {
            let (here, there) = counts(2, |draws| gaussian(draws, scale(of)));
            rho_at_least(here, there, 0.999)
        };
        // Variance 1 for sensitivity 1: rho is 1/2.
        let proved = gaussian_of(1.0);
        assert!(proved <= 0.5 && proved > 0.25, "{proved}");
        assert!(gaussian_of(0.25) > 0.5);
    }

    #[test]
    fn divergences_are_those_of_their_orders() {
        // .6 ln 3 + .4 ln .5, ln(.6^2 / .2 + .4^2 / .8), and ln(.6^3 / .2^2 + .4^3 / .8^2) / 2.
        for (order, expected) in [
            (1.0, 0.381_908_501_0),
            (2.0, std::f64::consts::LN_2),
            (3.0, 0.852_374_046_1),
        ] {
            let found = divergence(0.6, 0.2, order);
            assert!((found - expected).abs() < 1e-8, "{order}: {found}");
        }
        // Of a Gaussian event no more than rho is found, however rare it is.
        for threshold in [-2.0, 0.0, 0.5, 2.0, 4.0] {
            let above = |mean: f64| crate::synthetic::privacy::gaussian::below(mean - threshold);
            for order in [1.0, 1.5, 3.0, 16.0] {
                let rho = divergence(above(1.0), above(0.0), order) / order;
                assert!(rho > 0.0 && rho < 0.5, "{threshold} {order}: {rho}");
            }
        }
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
        for (here, there) in [(none, none), (all, all), (none, all)] {
            assert!(epsilon_at_least(here, there, 0.0, 0.95) < 1e-300);
            assert!(rho_at_least(here, there, 0.95) < 1e-300);
        }
        assert!(epsilon_at_least(all, none, 1e-5, 0.95) > 2.0);
        assert!(rho_at_least(all, none, 0.95) > 2.0);
    }
}
