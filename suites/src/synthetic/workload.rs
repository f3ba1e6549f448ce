//! Generators as workloads: how fast they learn and make rows, with how good and how private the rows are.
//!
//! Both workloads learn the census-like table of `rows` rows ([`census`]), whose truth is known. `synth-fit` times learning,
//! `synth-rows` making as many rows again; either reports the scores of what came out once a round, outside the timed
//! region, and what was paid for privacy among its facts.

use std::collections::BTreeMap;

use assay_protocol::{
    CaseSpec, Catalog, DeviceKind, Digest, Direction, Failure, Measured, Metric, MetricKind,
    ParamValue, ParameterInfo, ParameterKind, Prepared, TimingMode, Unit, Verification, Work,
    Workload, WorkloadInfo,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::generators::copula::Copula;
use super::generators::independent::Independent;
use super::generators::mst::Mst;
use super::generators::{FitError, Model};
use super::privacy::Budget;
use super::quality::copies;
use super::quality::report::scores;
use super::random::{Draws, Secret};
use super::table::{Table, census};

/// Names of the generators of tables, the first being the default.
pub const GENERATORS: [&str; 3] = ["copula", "independent", "mst"];
/// Random stream of the noise of a fit whose noise has a seed.
const NOISE_STREAM: u64 = 9;
/// Sets of columns, and much else, are drawn under this seed when scores are taken.
const SCORE_SEED: u64 = 1;

/// Where the noise of a private fit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// The operating system: what private data need.
    Secret,
    /// A seed: for benchmarks and tests, since who knows it can take the noise away.
    Seeded(u64),
}

/// Learns a table by the generator of a name.
///
/// # Errors
/// If there is no such generator, no row, or no budget that `mst` can spend.
pub fn fit(
    generator: &str,
    table: &Table,
    budget: Option<Budget>,
    noise: Noise,
) -> Result<Model, FitError> {
    match generator {
        "independent" => Ok(Model::Independent(Independent::fit(table)?)),
        "copula" => Ok(Model::Copula(Copula::fit(table)?)),
        "mst" => {
            let budget = budget.map_or_else(
                || Budget::new(1.0, 1.0 / (table.rows().max(2) as f64).powi(2)),
                Ok,
            )?;
            let model = match noise {
                Noise::Secret => Mst::fit(table, budget, &mut Secret)?,
                Noise::Seeded(seed) => {
                    Mst::fit(table, budget, &mut Draws::of_row(seed, NOISE_STREAM, 0))?
                }
            };
            Ok(Model::Mst(model))
        }
        other => Err(super::table::TableError::Table(format!(
            "no generator is called `{other}`: there are {}",
            GENERATORS.join(", ")
        ))
        .into()),
    }
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synthesis {
    /// Learning a table.
    Fit,
    /// Making rows.
    Rows,
}

impl Catalog for Synthesis {
    fn info(&self) -> WorkloadInfo {
        let (name, summary) = match self {
            Self::Fit => (
                "synth-fit",
                "learns a census-like table of 15 mixed columns",
            ),
            Self::Rows => (
                "synth-rows",
                "makes rows of a census-like table that was learned",
            ),
        };
        let integer = |name: &str, default: Option<i64>| ParameterInfo {
            name: name.into(),
            kind: ParameterKind::Int,
            default: default.map(ParamValue::Int),
            minimum: Some(1),
            choices: vec![],
            devices: vec![],
        };
        let choices: Vec<ParamValue> = GENERATORS
            .map(|name| ParamValue::Text(name.into()))
            .to_vec();
        let generator = ParameterInfo {
            name: "generator".into(),
            kind: ParameterKind::Text,
            default: choices.first().cloned(),
            minimum: None,
            choices,
            devices: vec![],
        };
        let epsilon = ParameterInfo {
            name: "epsilon".into(),
            kind: ParameterKind::Float,
            default: Some(ParamValue::Float(1.0)),
            minimum: None,
            choices: vec![],
            devices: vec![],
        };
        WorkloadInfo {
            name: name.into(),
            summary: summary.into(),
            definition: 1,
            parameters: vec![
                integer("rows", None),
                generator,
                epsilon,
                integer("threads", Some(1)),
            ],
            timing: vec![TimingMode::Hot],
            devices: vec![DeviceKind::Cpu],
        }
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        Ok(Box::new(Case::new(*self, case)?))
    }
}

struct Case {
    what: Synthesis,
    generator: String,
    budget: Budget,
    seed: u64,
    pool: ThreadPool,
    table: Table,
    prepared: Prepared,
    model: Option<Model>,
    made: Option<Table>,
}

impl Case {
    fn new(what: Synthesis, case: &CaseSpec) -> Result<Self, Failure> {
        let count = |name: &str| {
            let value = case
                .params
                .get(name)
                .and_then(ParamValue::as_u64)
                .filter(|n| *n >= 1);
            value.ok_or_else(|| {
                Failure::Failed(format!(
                    "parameter `{name}`: expected an integer of at least 1"
                ))
            })
        };
        let (rows, threads) = (count("rows")?, count("threads")?);
        let generator = case
            .params
            .get("generator")
            .and_then(ParamValue::as_str)
            .unwrap_or(GENERATORS[0]);
        let epsilon = case
            .params
            .get("epsilon")
            .and_then(ParamValue::as_f64)
            .unwrap_or(1.0);
        let delta = 1.0 / (rows.max(2) as f64).powi(2);
        let budget = Budget::new(epsilon, delta)
            .map_err(|error| Failure::Failed(format!("parameter `epsilon`: {error}")))?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads as usize)
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
        let seed = case.seed.0;
        let table = pool.install(|| census::rows(seed, 0, rows as usize));
        let mut own = Self {
            what,
            generator: generator.to_owned(),
            budget,
            seed,
            pool,
            table,
            prepared: Prepared::default(),
            model: None,
            made: None,
        };
        let model = own.fitted()?;
        own.prepared = own.described(&model);
        own.model = Some(model);
        Ok(own)
    }

    fn fitted(&self) -> Result<Model, Failure> {
        let noise = Noise::Seeded(self.seed);
        self.pool
            .install(|| fit(&self.generator, &self.table, Some(self.budget), noise))
            .map_err(|error| Failure::Failed(error.to_string()))
    }

    fn described(&self, model: &Model) -> Prepared {
        let rows = self.table.rows() as u64;
        let metric = |name: &str, direction| Metric {
            name: name.into(),
            unit: Unit::One,
            direction,
            kind: MetricKind::Case,
        };
        let mut facts: BTreeMap<String, String> =
            [("generator".to_owned(), model.name().to_owned())].into();
        if let Model::Mst(mst) = model {
            let spent = format!(
                "epsilon {:.6} at delta {:.3e}, noise of the case's seed",
                mst.epsilon, mst.delta
            );
            facts.insert("privacy".into(), spent);
            let ledger = mst
                .ledger
                .iter()
                .map(|entry| format!("{}: {}, rho {:.3e}", entry.what, entry.mechanism, entry.rho));
            facts.insert(
                "privacy.ledger".into(),
                ledger.collect::<Vec<_>>().join("; "),
            );
        }
        Prepared {
            work: Work {
                items: Some(rows),
                formula: "items = rows".into(),
                ..Work::default()
            },
            metrics: vec![
                metric("quality", Direction::Higher),
                metric("three_way_error", Direction::Lower),
                metric("exact_copies", Direction::Lower),
            ],
            inputs: [("table".to_owned(), self.table.digest())].into(),
            deterministic: true,
            facts,
            ..Prepared::default()
        }
    }

    /// As many rows as were learned.
    fn rows(&self, model: &Model) -> Table {
        self.pool
            .install(|| model.rows(self.seed.wrapping_add(1), 0, self.table.rows()))
    }
}

impl Workload for Case {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        for _ in 0..iterations {
            match self.what {
                Synthesis::Fit => self.model = Some(self.fitted()?),
                Synthesis::Rows => self.made = self.model.as_ref().map(|model| self.rows(model)),
            }
        }
        Ok(Measured::default())
    }

    /// That another thread count, and other parts of the rows, give the same: models to the byte, rows one by one.
    fn verify(&mut self) -> Result<Verification, Failure> {
        let model = self
            .model
            .as_ref()
            .ok_or_else(|| Failure::Failed("nothing was sampled yet".into()))?;
        let text = serde_json::to_vec(model).map_err(|error| Failure::Failed(error.to_string()))?;
        let (different, detail, output) = match (self.what, &self.made) {
            (Synthesis::Fit, _) | (_, None) => {
                let alone = ThreadPoolBuilder::new()
                    .num_threads(1)
                    .build()
                    .map_err(|error| Failure::Failed(error.to_string()))?;
                let noise = Noise::Seeded(self.seed);
                let again =
                    alone.install(|| fit(&self.generator, &self.table, Some(self.budget), noise));
                let again = again.map_err(|error| Failure::Failed(error.to_string()))?;
                (
                    usize::from(again != *model),
                    "whether one thread learns another model",
                    Digest::of(text),
                )
            }
            (Synthesis::Rows, Some(made)) => {
                let (rows, part) = (made.rows(), made.rows().div_ceil(3));
                let seed = self.seed.wrapping_add(1);
                let from = part.min(rows - 1);
                let again = model.rows(seed, from as u64, rows - from);
                let places: Vec<usize> = (from..rows).collect();
                let kept = made.select(&places);
                let differs = |row: usize| {
                    again
                        .columns
                        .iter()
                        .zip(&kept.columns)
                        .any(|(a, b)| a.values.text(row) != b.values.text(row))
                };
                (
                    (0..rows - from).filter(|row| differs(*row)).count(),
                    "rows that come out otherwise when made from another row on",
                    made.digest(),
                )
            }
        };
        Ok(Verification {
            passed: different == 0,
            error: Some(different as f64),
            tolerance: Some(0.0),
            output: Some(output),
            detail: detail.into(),
        })
    }

    fn finish(&mut self) -> Result<BTreeMap<String, f64>, Failure> {
        let model = self
            .model
            .as_ref()
            .ok_or_else(|| Failure::Failed("nothing was learned".into()))?;
        let made = self.made.take().unwrap_or_else(|| self.rows(model));
        let made = self
            .table
            .align(&made)
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let scores = self.pool.install(|| scores(&self.table, &made, SCORE_SEED));
        Ok([
            ("quality".to_owned(), scores.quality),
            ("three_way_error".to_owned(), scores.three_way),
            (
                "exact_copies".to_owned(),
                copies::exact_copies(&self.table, &made),
            ),
        ]
        .into())
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::{CaseSpec, Catalog as _, DeviceSelector, ParamValue, TimingMode};

    use super::{GENERATORS, Synthesis};

    fn case(generator: &str, rows: i64, epsilon: f64) -> CaseSpec {
        let params = [
            ("rows", ParamValue::Int(rows)),
            ("generator", ParamValue::Text(generator.into())),
            ("epsilon", ParamValue::Float(epsilon)),
            ("threads", ParamValue::Int(2)),
        ];
        CaseSpec {
            workload: "synth-rows".into(),
            params: params.map(|(name, value)| (name.to_owned(), value)).into(),
            seed: 3.into(),
            device: DeviceSelector::CPU,
            timing: TimingMode::Hot,
            command: None,
            kernel: None,
        }
    }

    #[test]
    fn every_generator_is_verified_and_scored() {
        for generator in GENERATORS {
            for what in [Synthesis::Fit, Synthesis::Rows] {
                let mut workload = what.prepare(&case(generator, 400, 1.0)).unwrap();
                workload.run(1).unwrap();
                let verification = workload.verify().unwrap();
                assert!(
                    verification.passed,
                    "{generator} {what:?}: {verification:?}"
                );
                let values = workload.finish().unwrap();
                assert!(
                    (0.3..=1.0).contains(&values["quality"]),
                    "{generator}: {values:?}"
                );
                assert_eq!(
                    workload.prepared().facts.contains_key("privacy.ledger"),
                    generator == "mst"
                );
            }
        }
    }

    #[test]
    fn bad_parameters_are_named() {
        let error = |case: &CaseSpec| format!("{:?}", Synthesis::Rows.prepare(case).err().unwrap());
        assert!(error(&case("mst", 400, 0.0)).contains("`epsilon`: epsilon is 0"));
        assert!(error(&case("copula", 0, 1.0)).contains("`rows`"));
        assert!(error(&case("gan", 10, 1.0)).contains("no generator is called `gan`"));
    }
}
