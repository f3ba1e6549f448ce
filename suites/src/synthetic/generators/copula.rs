//! A Gaussian copula over learned marginals: numbers, categories and missing values alike.
//!
//! Every column has a standard normal variable behind it, whose place in its distribution is that of the column's
//! value in the column's; a column with missing values has a second one, which decides whether it is. What joins the
//! variables is their correlation. R. Nelsen, "An Introduction to Copulas", 2nd edition, 2006, section 2.3
//! (Sklar's theorem); N. Patki, R. Wedge, K. Veeramachaneni, "The Synthetic Data Vault", DSAA 2016, section III.
//!
//! The correlation of what is observed is not that of what lies behind: values that are frequent, such as categories, hide
//! part of it. So each pair's correlation is solved for: with `s(z)` the score of the value that `z`
//! stands for and `a_k` its coefficients in normalised Hermite polynomials, the covariance of two scores is
//! `sum a_k b_k rho^k` (Mehler's formula), a monotone function of `rho` that the data say the value of. Categories are
//! ordered along the first principal component of the numbers, since a copula sees nothing but order.

mod correlation;
mod score;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Cell, Named, assemble, marginals, places};
use crate::synthetic::progress::Progress;
use crate::synthetic::random::{Bits as _, Draws};
use crate::synthetic::table::{Column, Table, TableError};
use score::Latent;

/// Random stream of its rows.
const STREAM: u64 = 2;

/// Marginals, and what joins them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copula {
    columns: Vec<Named>,
    /// For each column the place of its missing indicator among the normal variables, if it has one.
    indicators: Vec<Option<usize>>,
    /// For each column of categories the label at each place of its order.
    orders: Vec<Vec<u32>>,
    /// Lower triangle of the Cholesky factor of the correlations, row by row: the columns' variables, then the indicators'.
    factor: Vec<Vec<f64>>,
}

impl Copula {
    /// Learns the columns of a table and how they hang together.
    pub fn fit(table: &Table) -> Result<Self, TableError> {
        Self::fit_telling(table, &Progress::default())
    }

    /// As [`Copula::fit`], and says how far it is. Whether memory holds its pairs is asked before anything is learned.
    pub fn fit_telling(table: &Table, progress: &Progress) -> Result<Self, TableError> {
        let has_indicator =
            |column: &&Column| (1..column.values.len()).contains(&column.values.missing());
        let indicators = table.columns.iter().filter(has_indicator);
        correlation::ensure_fits(table.columns.len() + indicators.count())?;
        let mut columns = marginals(table, progress)?;
        progress.begin("order of labels", 0);
        let orders = score::orders(table);
        for (column, order) in columns.iter_mut().zip(&orders) {
            score::reorder(&mut column.marginal, order);
        }
        progress.begin("scores of columns", table.columns.len());
        let mut latents: Vec<Latent> = table
            .columns
            .par_iter()
            .zip(&orders)
            .map(|(column, order)| {
                let latent = Latent::of_values(&column.values, order);
                progress.step();
                latent
            })
            .collect();
        let mut indicators = Vec::new();
        for column in &table.columns {
            let indicator = Latent::of_missing(&column.values);
            indicators.push(indicator.as_ref().map(|_| latents.len()));
            latents.extend(indicator);
        }
        Ok(Self {
            columns,
            indicators,
            orders,
            factor: correlation::factor(&latents, progress),
        })
    }

    /// Whether its parts go together.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), String> {
        super::check(&self.columns)?;
        let columns = self.columns.len();
        let variables = self.factor.len();
        let is_row = |(place, row): (usize, &Vec<f64>)| {
            row.len() == place + 1 && row.iter().all(|x| x.is_finite())
        };
        if variables < columns || !self.factor.iter().enumerate().all(is_row) {
            return Err("`factor` is no lower triangle of numbers, a row for each variable".into());
        }
        let is_variable = |place: &Option<usize>| place.is_none_or(|place| place < variables);
        if self.indicators.len() != columns || !self.indicators.iter().all(is_variable) {
            return Err("`indicators` name variables that are not there".into());
        }
        Ok(())
    }

    /// Rows from `first` on.
    pub fn rows(&self, seed: u64, first: u64, rows: usize) -> Table {
        self.rows_at(seed, &places(first, rows))
    }

    /// The rows of some numbers.
    pub fn rows_at(&self, seed: u64, places: &[u64]) -> Table {
        let cells: Vec<Vec<Cell>> = places
            .par_iter()
            .map(|row| self.row(&mut Draws::of_row(seed, STREAM, *row)))
            .collect();
        assemble(&self.columns, places, &cells)
    }

    fn row(&self, draws: &mut Draws) -> Vec<Cell> {
        let normals: Vec<f64> = self.factor.iter().map(|_| draws.normal()).collect();
        let place = |variable: usize| {
            let row = &self.factor[variable];
            let z: f64 = row.iter().zip(&normals).map(|(l, n)| l * n).sum();
            score::below(z)
        };
        let cells = self.columns.iter().enumerate().map(|(index, column)| {
            let is_missing = self.indicators[index]
                .is_some_and(|variable| place(variable) < column.marginal.missing());
            if is_missing {
                Cell::Missing
            } else {
                Cell::At(place(index))
            }
        });
        cells.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::independent::Independent;
    use super::Copula;
    use crate::synthetic::table::{Column, Table, Values, categories, census};

    fn numbers(name: &str, values: Vec<f64>) -> Column {
        Column {
            name: name.into(),
            values: Values::Number {
                values,
                decimals: None,
            },
        }
    }

    fn correlation(table: &Table, a: &str, b: &str) -> f64 {
        let values = |name: &str| match &table.column(name).unwrap().values {
            Values::Number { values, .. } => values.clone(),
            Values::Category { codes, .. } => codes.iter().map(|c| f64::from(*c)).collect(),
            Values::Key { .. } => vec![],
        };
        let pairs: Vec<(f64, f64)> = values(a)
            .into_iter()
            .zip(values(b))
            .filter(|(x, y)| !x.is_nan() && !y.is_nan())
            .collect();
        let n = pairs.len() as f64;
        let mean = |f: fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>() / n;
        let (mx, my) = (mean(|p| p.0), mean(|p| p.1));
        let product =
            |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|(x, y)| f(x - mx, y - my)).sum::<f64>();
        product(&|x, y| x * y) / (product(&|x, _| x * x) * product(&|_, y| y * y)).sqrt()
    }

    #[test]
    fn rows_do_not_depend_on_who_makes_them() {
        let model = Copula::fit(&census::rows(5, 0, 2000)).unwrap();
        let all = model.rows(9, 0, 300);
        let places: Vec<usize> = (120..220).collect();
        assert_eq!(all.select(&places), model.rows(9, 120, 100));
        let one = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        assert_eq!(one.install(|| model.rows(9, 0, 300)), all);
    }

    #[test]
    fn correlations_of_numbers_and_of_steps_come_back() {
        // Behind both columns lies one normal variable; the second shows only which third it is in.
        let mut draws = crate::synthetic::random::Draws::of_row(3, 0, 0);
        let (mut x, mut steps) = (vec![], vec![]);
        for _ in 0..20_000 {
            use crate::synthetic::random::Bits as _;
            let (a, b) = (draws.normal(), draws.normal());
            x.push(a);
            let hidden = 0.8 * a + 0.6 * b;
            steps.push(
                ["low", "mid", "high"][usize::from(hidden > -0.43) + usize::from(hidden > 0.43)]
                    .to_owned(),
            );
        }
        let table = Table::new(vec![
            numbers("x", x),
            Column {
                name: "steps".into(),
                values: categories(steps),
            },
        ])
        .unwrap();
        let made = Copula::fit(&table).unwrap().rows(1, 0, 20_000);
        let made = table.align(&made).unwrap();
        let (wanted, found) = (
            correlation(&table, "x", "steps"),
            correlation(&made, "x", "steps"),
        );
        assert!((wanted - found).abs() < 0.02, "{wanted} {found}");
    }

    #[test]
    fn it_finds_what_independent_columns_do_not() {
        let real = census::rows(1, 0, 10_000);
        let copula = Copula::fit(&real).unwrap().rows(2, 0, 10_000);
        let alone = Independent::fit(&real).unwrap().rows(2, 0, 10_000);
        for (a, b) in [("age", "income"), ("hours", "income"), ("income", "rent")] {
            let wanted = correlation(&real, a, b);
            let (found, nothing) = (correlation(&copula, a, b), correlation(&alone, a, b));
            assert!((wanted - found).abs() < 0.1, "{a} {b}: {wanted} {found}");
            assert!(nothing.abs() < 0.04, "{a} {b}: {nothing}");
        }
    }

    #[test]
    fn constant_columns_and_single_rows_are_learned_as_they_are() {
        let constant = Table::new(vec![
            numbers("c", vec![2.0; 10]),
            numbers("x", (0..10).map(f64::from).collect()),
            numbers("none", vec![f64::NAN; 10]),
        ])
        .unwrap();
        let made = Copula::fit(&constant).unwrap().rows(1, 0, 50);
        assert!(
            matches!(&made.columns[0].values, Values::Number { values, .. } if values.iter().all(|x| (*x - 2.0).abs() < 1e-12))
        );
        assert_eq!(made.columns[2].values.missing(), 50);
        let one = constant.select(&[3]);
        assert_eq!(Copula::fit(&one).unwrap().rows(1, 0, 5).rows(), 5);
        assert!(Copula::fit(&constant.select(&[])).is_err());
    }
}
