//! Time series: seasons, and an ARMA(2, 1) process whose level, scale and coefficients change from regime to regime.
//!
//! Value `t` is `level + season(t) + d(t)`, with `d(t) = phi1 d(t-1) + phi2 d(t-2) + e(t) + theta e(t-1)` and innovations `e` of the
//! regime's scale. Coefficients come from partial autocorrelations, so that every regime is stationary (J. Monahan, "A note
//! on enforcing stationarity in autoregressive-moving average models", Biometrika 71(2), 1984); regimes last a geometric time, as
//! in a Markov switching model (J. Hamilton, "A new approach to the economic analysis of nonstationary time series and
//! the business cycle", Econometrica 57(2), 1989). Beside the values stands the regime of each.

use serde::{Deserialize, Serialize};

use super::super::items::{Form, Items, append_f32, read_f32};
use super::super::random::{Bits as _, Draws};
use super::super::table::{Column, Table, Values};

/// Random stream of its items.
const STREAM: u64 = 22;
/// Values before the first that is kept, so that it comes out of the process and not out of nothing.
const BEFORE: usize = 64;
/// Harmonics of the season.
const HARMONICS: usize = 2;

/// What series are to be like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Series {
    /// Values of each.
    pub points: usize,
    /// Regimes between which a series changes.
    pub regimes: usize,
    /// How long a regime lasts on average, in values.
    pub regime_points: f64,
    /// Shortest period of the season, in values.
    pub least_period: f64,
    /// Longest.
    pub most_period: f64,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            points: 2048,
            regimes: 3,
            regime_points: 400.0,
            least_period: 12.0,
            most_period: 365.0,
        }
    }
}

/// What holds while a regime lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Regime {
    level: f64,
    scale: f64,
    phi: [f64; 2],
}

/// What is known of a series.
#[derive(Clone, Debug, PartialEq)]
struct Truth {
    regimes: Vec<Regime>,
    theta: f64,
    period: f64,
    /// Cosine and sine of each harmonic: the season is the sum of both.
    season: [[f64; 2]; HARMONICS],
    /// Where each stretch begins, and its regime.
    stretches: Vec<(usize, usize)>,
}

/// What is told of a regime: its name, and its value.
type Parameter = (&'static str, fn(&Regime) -> f64);

/// A recipe that was looked at.
pub struct Maker {
    recipe: Series,
}

impl Series {
    /// What makes them.
    ///
    /// # Errors
    /// The parameter that is out of its range.
    pub fn build(&self) -> Result<Maker, String> {
        let within = |name: &str, value: f64, least: f64, most: f64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("`{name}` is {value}: expected {least} to {most}"))
            }
        };
        within("points", self.points as f64, 16.0, f64::from(1 << 20))?;
        within("regimes", self.regimes as f64, 1.0, 16.0)?;
        within("regime_points", self.regime_points, 2.0, 1e12)?;
        within("least_period", self.least_period, 2.0, 1e9)?;
        within("most_period", self.most_period, self.least_period, 1e9)?;
        Ok(Maker {
            recipe: self.clone(),
        })
    }
}

impl Maker {
    fn truth(&self, draws: &mut Draws) -> Truth {
        let recipe = &self.recipe;
        let mut signed = || 2.0 * draws.unit() - 1.0;
        let regimes = (0..recipe.regimes).map(|_| {
            let (first, second) = (0.9 * signed(), 0.8 * signed());
            Regime {
                level: 5.0 * signed(),
                scale: libm::exp(signed()),
                phi: [first * (1.0 - second), second],
            }
        });
        let regimes = regimes.collect();
        let theta = 0.7 * signed();
        let season = std::array::from_fn(|harmonic| {
            let of_harmonic = 3.0 / (harmonic + 1) as f64;
            [of_harmonic * signed(), of_harmonic * signed()]
        });
        let span = libm::log(recipe.most_period / recipe.least_period);
        Truth {
            regimes,
            theta,
            season,
            period: recipe.least_period * libm::exp(span * draws.unit()),
            stretches: self.stretches(draws),
        }
    }

    fn stretches(&self, draws: &mut Draws) -> Vec<(usize, usize)> {
        let recipe = &self.recipe;
        let regimes = recipe.regimes as u64;
        let mut regime = draws.below(regimes);
        let mut stretches = vec![(0, regime as usize)];
        if regimes == 1 {
            return stretches;
        }
        let log_stay = libm::log1p(-1.0 / recipe.regime_points);
        let mut at = 0.0;
        loop {
            at += 1.0 + (libm::log(draws.unit()) / log_stay).floor();
            if at >= recipe.points as f64 {
                return stretches;
            }
            // Another one, each as likely.
            regime = (regime + 1 + draws.below(regimes - 1)) % regimes;
            stretches.push((at as usize, regime as usize));
        }
    }

    fn values(&self, truth: &Truth, draws: &mut Draws) -> Vec<f32> {
        let points = self.recipe.points;
        let mut values = vec![0.0; BEFORE + points];
        draws.normals(&mut values);
        let mut season = Season::new(truth);
        let (mut before, mut innovation) = ([0.0; 2], 0.0);
        for (stretch, (from, regime)) in truth.stretches.iter().enumerate() {
            let regime = truth.regimes[*regime];
            let from = if stretch == 0 { 0 } else { BEFORE + from };
            let end = truth.stretches.get(stretch + 1);
            let end = end.map_or(values.len(), |(next, _)| BEFORE + next);
            for (at, value) in values[from..end].iter_mut().enumerate() {
                let now = regime.scale * f64::from(*value);
                let deviation = regime.phi[0] * before[0]
                    + regime.phi[1] * before[1]
                    + now
                    + truth.theta * innovation;
                (before, innovation) = ([deviation, before[0]], now);
                let of_season = if from + at < BEFORE {
                    0.0
                } else {
                    season.value()
                };
                *value = (regime.level + of_season + deviation) as f32;
            }
        }
        values.drain(..BEFORE);
        values
    }

    fn truths(&self, seed: u64, first: u64, items: usize) -> Vec<Truth> {
        let truth = |item| self.truth(&mut Draws::of_row(seed, STREAM, item));
        (first..first + items as u64).map(truth).collect()
    }

    fn regimes(&self, truth: &Truth) -> Vec<f32> {
        let mut regimes = vec![0.0; self.recipe.points];
        for (from, regime) in &truth.stretches {
            regimes[*from..].fill(*regime as f32);
        }
        regimes
    }
}

/// The season, value by value: each harmonic turns by one angle.
struct Season {
    now: [[f64; 2]; HARMONICS],
    turn: [[f64; 2]; HARMONICS],
}

impl Season {
    fn new(truth: &Truth) -> Self {
        let turn = |harmonic| {
            let angle = 2.0 * std::f64::consts::PI * (harmonic + 1) as f64 / truth.period;
            [libm::cos(angle), libm::sin(angle)]
        };
        Self {
            now: truth.season,
            turn: std::array::from_fn(turn),
        }
    }

    fn value(&mut self) -> f64 {
        let value = self.now.iter().map(|[a, b]| a + b).sum();
        for ([a, b], [cos, sin]) in self.now.iter_mut().zip(self.turn) {
            (*a, *b) = (*a * cos + *b * sin, *b * cos - *a * sin);
        }
        value
    }
}

impl Items for Maker {
    fn form(&self) -> Form {
        Form::Array {
            element: "<f4",
            bytes: 4,
            shape: vec![2, self.recipe.points],
        }
    }

    fn append(&self, seed: u64, item: u64, out: &mut Vec<u8>) {
        let mut draws = Draws::of_row(seed, STREAM, item);
        let truth = self.truth(&mut draws);
        append_f32(&self.values(&truth, &mut draws), out);
        append_f32(&self.regimes(&truth), out);
    }

    fn table(&self, seed: u64, first: u64, items: usize) -> Table {
        let truths = self.truths(seed, first, items);
        let number = |name: String, decimals, value: &dyn Fn(&Truth) -> f64| Column {
            name,
            values: Values::Number {
                values: truths.iter().map(value).collect(),
                decimals,
            },
        };
        let mut columns = vec![
            number("period".into(), None, &|truth| truth.period),
            number("theta".into(), None, &|truth| truth.theta),
            number("changes".into(), Some(0), &|truth| {
                (truth.stretches.len() - 1) as f64
            }),
        ];
        for (harmonic, part) in (0..HARMONICS).flat_map(|h| [(h, 0), (h, 1)]) {
            let name = format!("{}{}", ["cos", "sin"][part], harmonic + 1);
            columns.push(number(name, None, &|truth| truth.season[harmonic][part]));
        }
        for regime in 0..self.recipe.regimes {
            let of_regime: [Parameter; 4] = [
                ("level", |regime| regime.level),
                ("scale", |regime| regime.scale),
                ("phi1", |regime| regime.phi[0]),
                ("phi2", |regime| regime.phi[1]),
            ];
            for (name, value) in of_regime {
                let name = format!("{name}_{regime}");
                columns.push(number(name, None, &|truth| value(&truth.regimes[regime])));
            }
        }
        Table { columns }
    }

    /// Innovations, computed back from the values, have mean 0 and variance 1 in every regime, and do not hang together.
    fn check(&self, seed: u64, item: u64, bytes: &[u8]) -> Result<(), String> {
        let truth = &self.truths(seed, item, 1)[0];
        let numbers = read_f32(bytes);
        let points = self.recipe.points;
        if numbers.len() != 2 * points {
            return Err(format!(
                "{} numbers, expected {}",
                numbers.len(),
                2 * points
            ));
        }
        let (values, regimes) = numbers.split_at(points);
        if let Some(at) = regimes
            .iter()
            .zip(self.regimes(truth))
            .position(|(a, b)| a.to_bits() != b.to_bits())
        {
            return Err(format!("value {at} is not of regime {}", regimes[at]));
        }
        let innovations = innovations(truth, values, regimes);
        for regime in 0..self.recipe.regimes {
            let of_regime = innovations.iter().filter(|(of, _)| *of == regime);
            standard(&of_regime.map(|(_, e)| *e).collect::<Vec<_>>())
                .map_err(|what| format!("regime {regime}: innovations have {what}"))?;
        }
        let products = innovations.windows(2).map(|pair| pair[0].1 * pair[1].1);
        let errors = products.sum::<f64>() / (innovations.len() as f64).sqrt();
        if errors.abs() > ERRORS {
            return Err(format!(
                "innovations follow one another, by {errors:.1} standard errors"
            ));
        }
        Ok(())
    }
}

/// Most standard errors that a statistic may be off: by chance once in 10^9.
const ERRORS: f64 = 6.1;

/// The innovation of each value but the first, whose own are not known and have been forgotten by then; with its regime.
fn innovations(truth: &Truth, values: &[f32], regimes: &[f32]) -> Vec<(usize, f64)> {
    let deviation = |at: usize| {
        let regime = truth.regimes[regimes[at] as usize];
        let angle = 2.0 * std::f64::consts::PI * at as f64 / truth.period;
        let harmonics = (1..).zip(truth.season);
        // cos and sin parts that each turn: a cos - and b sin -, as a formula of time alone.
        let season = harmonics.map(|(h, [a, b])| {
            let angle = f64::from(h) * angle;
            a * (angle.cos() - angle.sin()) + b * (angle.sin() + angle.cos())
        });
        f64::from(values[at]) - regime.level - season.sum::<f64>()
    };
    let deviations: Vec<f64> = (0..values.len()).map(deviation).collect();
    let mut out = Vec::new();
    let mut innovation = 0.0;
    for at in 2..values.len() {
        let regime = regimes[at] as usize;
        let Regime { scale, phi, .. } = truth.regimes[regime];
        let from_past = phi[0] * deviations[at - 1] + phi[1] * deviations[at - 2];
        innovation = deviations[at] - from_past - truth.theta * innovation;
        if at >= BEFORE {
            out.push((regime, innovation / scale));
        }
    }
    out
}

/// Whether numbers may be of the standard normal distribution, by mean and variance.
fn standard(numbers: &[f64]) -> Result<(), String> {
    let count = numbers.len() as f64;
    // The variance of few has a long tail.
    if numbers.len() < 100 {
        return Ok(());
    }
    let mean = numbers.iter().sum::<f64>() / count;
    let variance = numbers.iter().map(|x| x * x).sum::<f64>() / count;
    let errors = [mean * count.sqrt(), (variance - 1.0) * (count / 2.0).sqrt()];
    // The upper tail of a chi-square of a hundred is heavier than a normal's.
    if errors[0].abs() > ERRORS || errors[1].abs() > 1.5 * ERRORS {
        return Err(format!(
            "mean {mean:.3} and variance {variance:.3}, of {count} values"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Items as _, Maker, Series, append_f32, read_f32};
    use crate::synthetic::items::bytes;

    fn changed(maker: &Maker, item: u64, change: impl Fn(usize, f32) -> f32) -> Result<(), String> {
        let mut numbers = read_f32(&bytes(maker, 4, item, 1));
        for (at, number) in numbers.iter_mut().take(maker.recipe.points).enumerate() {
            *number = change(at, *number);
        }
        let mut out = vec![];
        append_f32(&numbers, &mut out);
        maker.check(4, item, &out)
    }

    #[test]
    fn innovations_come_back() {
        let maker = Series::default().build().unwrap();
        for item in 0..80 {
            changed(&maker, item, |_, x| x).unwrap();
        }
    }

    #[test]
    fn what_is_not_the_process_is_noticed() {
        let maker = Series::default().build().unwrap();
        let refused = |change: fn(usize, f32) -> f32| {
            (0..20)
                .filter(|item| changed(&maker, *item, change).is_err())
                .count()
        };
        assert_eq!(refused(|_, x| 1.3 * x), 20);
        assert_eq!(refused(|_, x| x + 1.5), 20);
        // A trend that nobody told of.
        assert!(refused(|at, x| x + 0.003 * at as f32) > 15);
        assert!(maker.check(4, 0, &bytes(&maker, 4, 1, 1)).is_err());
    }

    #[test]
    fn one_regime_never_changes_and_ranges_are_named() {
        let one = Series {
            regimes: 1,
            ..Series::default()
        };
        let maker = one.build().unwrap();
        assert_eq!(
            maker
                .truths(1, 0, 9)
                .iter()
                .map(|t| t.stretches.len())
                .sum::<usize>(),
            9
        );
        maker.check(1, 0, &bytes(&maker, 1, 0, 1)).unwrap();
        let none = Series {
            regimes: 0,
            ..Series::default()
        };
        assert_eq!(
            none.build().err().unwrap(),
            "`regimes` is 0: expected 1 to 16"
        );
    }
}
