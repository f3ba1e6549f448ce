//! MST: a tree of noisy two-way marginals, differentially private.
//!
//! Source: R. `McKenna`, G. Miklau, D. Sheldon, "Winning the NIST Contest: A scalable and general approach to differentially
//! private synthetic data", Journal of Privacy and Confidentiality 11(3), 2021. A third of the budget each measures every
//! column, chooses a tree of pairs ([`select`]), and measures these. All of it is paid for in zero-concentrated privacy, which adds up best
//! over so many measurements. What comes of them is a [`Private`] model.

mod select;

use super::FitError;
use super::private::tree::Tree;
use super::private::{Coarse, Measured, Private};
use crate::synthetic::declared::ColumnSchema;
use crate::synthetic::privacy::accountant::Accountant;
use crate::synthetic::privacy::discrete::Sampler;
use crate::synthetic::privacy::mechanism::Noise;
use crate::synthetic::privacy::{Budget, PrivacyError};
use crate::synthetic::progress::Progress;
use crate::synthetic::table::Table;
use select::Levels;

/// Learns a table within a budget; `sampler` decides the noise: [`crate::synthetic::random::Secret`] where the table is private. Ranges and
/// texts of declared columns are those of the declaration, whatever the table has. `progress` says how far it is.
///
/// # Errors
/// If there are no rows, or there is no noise for such a budget.
pub fn fit(
    table: &Table,
    declared: &[ColumnSchema],
    budget: Budget,
    sampler: &mut impl Sampler,
    progress: &Progress,
) -> Result<Private, FitError> {
    select::ensure_fits(table.columns.len())?;
    let mut coarse = Coarse::of(table, declared)?;
    let columns = &table.columns;
    let mut accountant = Accountant::new(budget);
    let part = part(&accountant, columns.len());
    let mut singles = Vec::new();
    let histograms = coarse.histograms();
    progress.begin("counts of columns", columns.len());
    for (column, counts) in columns.iter().zip(&histograms) {
        let what = format!("marginal of `{}`", column.name);
        let share = part / columns.len() as f64;
        singles.push(measure(counts, &what, share, &mut accountant, sampler)?);
        progress.step();
    }
    coarse.compress(&mut singles);
    let (levels, sizes) = (coarse.levels(), coarse.sizes());
    let mut edges = Vec::new();
    let mut pairs = Vec::new();
    if columns.len() > 1 {
        let measured = Levels {
            of_rows: &levels,
            sizes: &sizes,
            singles: &singles,
        };
        edges = select::tree(&measured, part, &mut accountant, sampler, progress)?;
        progress.begin("counts along the edges", edges.len());
        for (a, b) in &edges {
            let what = format!(
                "marginal of `{}` and `{}`",
                columns[*a].name, columns[*b].name
            );
            let share = part / edges.len() as f64;
            let counts = select::joint(&levels[*a], &levels[*b], sizes[*a], sizes[*b]);
            pairs.push(measure(&counts, &what, share, &mut accountant, sampler)?);
            progress.step();
        }
    }
    let tree = Tree::new(&edges, &sizes, &singles, &pairs);
    Ok(coarse.model(tree, &accountant))
}

/// What each of the three steps may spend. Where there are no pairs, all is for the one column.
fn part(accountant: &Accountant, columns: usize) -> f64 {
    match columns {
        0 | 1 => accountant.rho(),
        _ => accountant.rho() / 3.0,
    }
}

/// The noise on counts of single columns: those of pairs, which are fewer, have less.
///
/// # Errors
/// If there is no sampler of so much noise.
pub fn noise(budget: Budget, columns: usize) -> Result<Noise, PrivacyError> {
    let part = part(&Accountant::new(budget), columns);
    Noise::concentrated(part / columns.max(1) as f64, 1)
}

/// Counts with noise, paid for first. One row more or less changes one count by one.
fn measure(
    counts: &[u64],
    what: &str,
    rho: f64,
    accountant: &mut Accountant,
    sampler: &mut impl Sampler,
) -> Result<Measured, FitError> {
    let noise = Noise::concentrated(rho, 1)?;
    let mechanism = format!("{} on {} counts", noise.words(), counts.len());
    accountant.spend(what, mechanism, noise.cost())?;
    Ok(Measured::of(counts, &noise, sampler))
}

#[cfg(test)]
mod tests {
    use super::{Budget, FitError, Private, Progress};
    use crate::synthetic::random::Draws;
    use crate::synthetic::table::{Column, Table, Values, categories, census};

    fn fit(table: &Table, epsilon: f64) -> Result<Private, FitError> {
        let budget = Budget::new(epsilon, 1e-6).unwrap();
        let mut draws = Draws::of_row(1, 0, 0);
        super::fit(table, &[], budget, &mut draws, &Progress::default())
    }

    #[test]
    fn it_spends_its_budget_and_no_more() {
        let model = fit(&census::rows(1, 0, 3000), 1.0).unwrap();
        assert!(
            model.epsilon <= 1.0 && model.epsilon > 0.99,
            "{}",
            model.epsilon
        );
        // 15 columns, 14 choices of an edge, 14 pairs.
        assert_eq!(model.ledger.len(), 15 + 14 + 14);
        assert!(!model.caveats.is_empty());
    }

    #[test]
    fn what_hangs_together_is_found_with_a_large_budget() {
        let real = census::rows(1, 0, 20_000);
        let made = fit(&real, 50.0).unwrap().rows(7, 0, 20_000);
        let of = |table: &Table, name: &str| match &real
            .align(table)
            .unwrap()
            .column(name)
            .unwrap()
            .values
        {
            Values::Category { codes, .. } => codes.clone(),
            _ => panic!("categories"),
        };
        let errors = |a: &str, b: &str| {
            let joint = |table: &Table| {
                let mut counts = std::collections::BTreeMap::new();
                for pair in of(table, a).into_iter().zip(of(table, b)) {
                    *counts.entry(pair).or_insert(0.0) += 1.0 / table.rows() as f64;
                }
                counts
            };
            let (real, made) = (joint(&real), joint(&made));
            let keys: std::collections::BTreeSet<_> =
                real.keys().chain(made.keys()).copied().collect();
            let share = |of: &std::collections::BTreeMap<(u32, u32), f64>, key| {
                of.get(key).copied().unwrap_or(0.0)
            };
            keys.iter()
                .map(|key| (share(&real, key) - share(&made, key)).abs())
                .sum::<f64>()
                / 2.0
        };
        assert!(
            errors("employment", "occupation") < 0.05,
            "{}",
            errors("employment", "occupation")
        );
    }

    #[test]
    fn rows_do_not_depend_on_who_makes_them_and_fits_on_their_noise_alone() {
        let table = census::rows(5, 0, 1000);
        let model = fit(&table, 2.0).unwrap();
        let places: Vec<usize> = (50..80).collect();
        assert_eq!(model.rows(3, 0, 100).select(&places), model.rows(3, 50, 30));
        assert_eq!(model, fit(&table, 2.0).unwrap());
        let text = serde_json::to_string(&model).unwrap();
        let back: Private = serde_json::from_str(&text).unwrap();
        assert_eq!(back.rows(3, 0, 20), model.rows(3, 0, 20));
    }

    #[test]
    fn a_model_tells_nothing_of_the_order_of_rows() {
        let table = |texts: [&str; 4]| {
            let values = categories(texts.map(String::from));
            Table::new(vec![Column {
                name: "c".into(),
                values,
            }])
            .unwrap()
        };
        let one = fit(&table(["b", "a", "c", "a"]), 5.0).unwrap();
        let other = fit(&table(["a", "c", "a", "b"]), 5.0).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn damaged_models_are_refused() {
        let model = fit(&census::rows(5, 0, 200), 1.0).unwrap();
        let text = serde_json::to_string(&model).unwrap();
        for (from, to) in [
            ("\"column\":1,", "\"column\":99,"),
            ("\"given\":0,", "\"given\":77,"),
            ("\"members\":[[", "\"members\":[[],["),
            ("\"level\":[0,", "\"level\":[4000,"),
        ] {
            assert!(text.contains(from), "{from}");
            let damaged: Private = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
            assert!(damaged.check().is_err(), "{to}");
        }
        model.check().unwrap();
    }

    #[test]
    fn one_column_and_one_row_are_tables_too() {
        let table = census::rows(5, 0, 50);
        let one = Table::new(vec![table.columns[1].clone()]).unwrap();
        assert_eq!(fit(&one, 1.0).unwrap().rows(1, 0, 9).rows(), 9);
        assert_eq!(
            fit(&table.select(&[0]), 1.0).unwrap().rows(1, 0, 9).rows(),
            9
        );
        assert!(fit(&table.select(&[]), 1.0).is_err());
    }
}
