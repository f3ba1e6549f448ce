//! Learning a table by the generator of a name, in private or not.

use crate::synthetic::declared::ColumnSchema;
use crate::synthetic::generators::copula::Copula;
use crate::synthetic::generators::independent::Independent;
use crate::synthetic::generators::private::{Private, histograms};
use crate::synthetic::generators::{FitError, Model, mst};
use crate::synthetic::privacy::accountant::Accountant;
use crate::synthetic::privacy::discrete::Sampler;
use crate::synthetic::privacy::mechanism::{self, Mechanism};
use crate::synthetic::privacy::{Budget, PrivacyError};
use crate::synthetic::progress::Progress;
use crate::synthetic::random::{Draws, Secret};
use crate::synthetic::table::{Table, TableError};

/// Names of the generators of tables, the first being the default.
pub const GENERATORS: [&str; 3] = ["copula", "independent", "mst"];
/// Random stream of the noise of a fit whose noise has a seed.
const NOISE_STREAM: u64 = 9;
/// What such noise is worth.
const SEEDED: &str = "the noise comes of a seed: who knows it can take it away";

/// Where the noise of a private fit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// The operating system: what private data need.
    Secret,
    /// A seed: for benchmarks and tests, since who knows it can take the noise away.
    Seeded(u64),
}

/// How private a fit is, where the generator is: `mst` always, `independent` by a mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Privacy {
    /// What may be spent.
    pub budget: Budget,
    /// By which mechanism the columns of `independent` are counted; `None` where they are not private.
    pub mechanism: Option<Mechanism>,
    /// Where noise comes from.
    pub noise: Noise,
}

impl Privacy {
    /// Whether a generator has such mechanisms.
    ///
    /// # Errors
    /// If it has a way of its own, or is not private.
    pub fn check(&self, generator: &str) -> Result<(), String> {
        let name = self.mechanism.map(Mechanism::name);
        match (generator, name) {
            (_, None) | ("independent", _) => Ok(()),
            ("mst", Some(name)) => Err(format!(
                "`{name}` is of independent: mst always measures with discrete Gaussian noise under zCDP"
            )),
            (_, Some(name)) => Err(format!(
                "`{name}` is of independent: `{generator}` is not private at all"
            )),
        }
    }

    /// Whether a fit of a generator has a use for a delta.
    ///
    /// # Errors
    /// If it is not private, or has none.
    pub fn check_delta(&self, generator: &str) -> Result<(), String> {
        match (generator, self.mechanism) {
            (_, Some(Mechanism::Laplace)) => Err(
                "it is of Gaussian noise: with `laplace` there is no probability of more; leave it out".into(),
            ),
            ("mst", _) | (_, Some(_)) => Ok(()),
            (_, None) => Err(format!(
                "it is of private fits, and this one of `{generator}` is not private: leave it out"
            )),
        }
    }

    /// The noise on each count of a column, of so many columns; `None` where the fit is not private.
    ///
    /// # Errors
    /// If there is none for such a budget.
    pub fn noise_on_counts(
        &self,
        generator: &str,
        columns: usize,
    ) -> Result<Option<mechanism::Noise>, PrivacyError> {
        match (generator, self.mechanism) {
            ("mst", _) => mst::noise(self.budget, columns).map(Some),
            ("independent", Some(mechanism)) => {
                let accountant = Accountant::new(self.budget);
                mechanism.noise(&accountant, columns).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Learns a table by the generator of a name, `mst` alone in private.
///
/// # Errors
/// If there is no such generator, no row, or no budget that `mst` can spend.
pub fn fit(
    generator: &str,
    table: &Table,
    budget: Option<Budget>,
    noise: Noise,
) -> Result<Model, FitError> {
    let privacy = Privacy {
        budget: budget.map_or_else(|| Budget::usual(1.0), Ok)?,
        mechanism: None,
        noise,
    };
    fit_declared(generator, table, &[], &privacy, &Progress::default())
}

/// Learns a table by the generator of a name, where some columns are declared: of these what is private takes nothing from the table that
/// the declaration says. `progress` says how far it is.
///
/// # Errors
/// If there is no such generator, it has no such mechanism, there is no row, or no noise for the budget.
pub fn fit_declared(
    generator: &str,
    table: &Table,
    declared: &[ColumnSchema],
    privacy: &Privacy,
    progress: &Progress,
) -> Result<Model, FitError> {
    privacy.check(generator).map_err(TableError::Table)?;
    match (generator, privacy.mechanism) {
        ("independent", None) => Ok(Model::Independent(Independent::fit_telling(
            table, progress,
        )?)),
        ("copula", _) => Ok(Model::Copula(Copula::fit_telling(table, progress)?)),
        ("independent", Some(_)) => {
            fit_private(table, declared, privacy, progress).map(Model::PrivateIndependent)
        }
        ("mst", _) => fit_private(table, declared, privacy, progress).map(Model::Mst),
        (other, _) => Err(TableError::Table(format!(
            "no generator is called `{other}`: there are {}",
            GENERATORS.join(", ")
        ))
        .into()),
    }
}

/// By a mechanism, or, without one, as `mst`.
fn fit_private(
    table: &Table,
    declared: &[ColumnSchema],
    privacy: &Privacy,
    progress: &Progress,
) -> Result<Private, FitError> {
    fn with(
        table: &Table,
        declared: &[ColumnSchema],
        privacy: &Privacy,
        sampler: &mut impl Sampler,
        progress: &Progress,
    ) -> Result<Private, FitError> {
        let budget = privacy.budget;
        match privacy.mechanism {
            Some(how) => histograms::fit(table, declared, budget, how, sampler, progress),
            None => mst::fit(table, declared, budget, sampler, progress),
        }
    }
    match privacy.noise {
        Noise::Secret => with(table, declared, privacy, &mut Secret::default(), progress),
        Noise::Seeded(seed) => {
            let mut draws = Draws::of_row(seed, NOISE_STREAM, 0);
            let mut model = with(table, declared, privacy, &mut draws, progress)?;
            model.caveats.push(SEEDED.into());
            Ok(model)
        }
    }
}
