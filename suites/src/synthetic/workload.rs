//! Generators as workloads: how fast they learn and make rows, with how good and how private the rows are.
//!
//! Both workloads learn the census-like table of `rows` rows ([`census`]), whose truth is known, with more or fewer of its columns. `synth-fit` times learning,
//! `synth-rows` making as many rows again; either reports the scores of what came out once a round, outside the timed
//! region, the resident memory at its most while it was timed, table and model included, and what was paid for privacy among its facts. A
//! suite can demand any score (`require`, as `quality>=0.9, three_way<=0.1`; `quality`, a number, for short): where the rows do not reach it,
//! verification fails. Rows held out, for those scores that need them, are those behind the rows that were learned.

use std::collections::BTreeMap;
use std::sync::Arc;

use assay_kernels::device;
use assay_protocol::{
    CaseSpec, Catalog, DeviceKind, DeviceSelector, Digest, Direction, Failure, Measured, Metric,
    MetricKind, ParamValue, ParameterInfo, ParameterKind, Params, Prepared, TimingMode, Unit,
    Verification, Work, Workload, WorkloadInfo,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::declared::ColumnSchema;
use super::generators::copula::Copula;
use super::generators::independent::Independent;
use super::generators::mst::Mst;
use super::generators::{FitError, Model};
use super::privacy::Budget;
use super::progress::Progress;
use super::quality::constraints::Declared;
use super::quality::copies;
use super::quality::marginals;
use super::quality::report::{Report, Scores, report_on, scores};
use super::quality::requirement::Requirement;
use super::random::{Draws, Secret};
use super::table::{Table, TableError, census};
use crate::memory;

/// Names of the generators of tables, the first being the default.
pub const GENERATORS: [&str; 3] = ["copula", "independent", "mst"];
/// Random stream of the noise of a fit whose noise has a seed.
const NOISE_STREAM: u64 = 9;
/// Sets of columns, and much else, are drawn under this seed when scores are taken.
const SCORE_SEED: u64 = 1;

/// Rows of a seed.
pub const MOST_ROWS: u64 = 1 << 44;

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
    fit_declared(generator, table, &[], budget, noise, &Progress::default())
}

/// As [`fit`], where some columns are declared: `mst` then takes nothing from the table that the declaration says. `progress` says how
/// far it is.
///
/// # Errors
/// As [`fit`].
pub fn fit_declared(
    generator: &str,
    table: &Table,
    declared: &[ColumnSchema],
    budget: Option<Budget>,
    noise: Noise,
    progress: &Progress,
) -> Result<Model, FitError> {
    match generator {
        "independent" => Ok(Model::Independent(Independent::fit_telling(
            table, progress,
        )?)),
        "copula" => Ok(Model::Copula(Copula::fit_telling(table, progress)?)),
        "mst" => {
            let budget = budget.map_or_else(|| Budget::usual(1.0), Ok)?;
            let model = match noise {
                Noise::Secret => {
                    Mst::fit_declared(table, declared, budget, &mut Secret::default(), progress)?
                }
                Noise::Seeded(seed) => {
                    let mut draws = Draws::of_row(seed, NOISE_STREAM, 0);
                    let mut model =
                        Mst::fit_declared(table, declared, budget, &mut draws, progress)?;
                    model.caveats.push(SEEDED.into());
                    model
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

impl Synthesis {
    /// What suites call it.
    fn name(self) -> &'static str {
        match self {
            Self::Fit => "synth-fit",
            Self::Rows => "synth-rows",
        }
    }
}

impl Catalog for Synthesis {
    fn info(&self) -> WorkloadInfo {
        let summary = match self {
            Self::Fit => "learns a census-like table of mixed columns",
            Self::Rows => "makes rows of a census-like table that was learned",
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
        let require = ParameterInfo {
            name: "require".into(),
            kind: ParameterKind::Text,
            default: Some(ParamValue::Text(String::new())),
            minimum: None,
            choices: vec![],
            devices: vec![],
        };
        let float = |name: &str, default: f64| ParameterInfo {
            name: name.into(),
            kind: ParameterKind::Float,
            default: Some(ParamValue::Float(default)),
            minimum: None,
            choices: vec![],
            devices: vec![],
        };
        WorkloadInfo {
            name: self.name().into(),
            summary: summary.into(),
            definition: 1,
            parameters: vec![
                integer("rows", None),
                integer("columns", Some(census::COLUMNS as i64)),
                generator,
                float("epsilon", 1.0),
                float("quality", 0.0),
                require,
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

/// What came out, scored.
#[derive(Clone)]
struct Scored {
    scores: Scores,
    exact_copies: f64,
    /// All scores, where more than these is demanded.
    report: Option<Arc<Report>>,
}

struct Case {
    what: Synthesis,
    generator: String,
    budget: Budget,
    /// What scores of the rows must reach.
    demands: Vec<Requirement>,
    seed: u64,
    pool: ThreadPool,
    table: Table,
    prepared: Prepared,
    model: Option<Model>,
    made: Option<Table>,
    /// Scores of what came out last, once they were taken.
    scored: Option<Scored>,
    /// Whether [`memory::peak`] tells of it alone.
    is_watched: bool,
    /// Most bytes held while it was timed.
    peak: Option<f64>,
}

/// Whether parameters of a workload are such as it takes, as far as their types and choices do not say: what a suite demands, within which
/// budget. Asked when a suite is planned; of other workloads than these two there is nothing to be asked.
///
/// # Errors
/// The parameter, and what is wrong with it.
pub fn check_parameters(workload: &str, params: &Params) -> Result<(), String> {
    if ![Synthesis::Fit, Synthesis::Rows]
        .map(Synthesis::name)
        .contains(&workload)
    {
        return Ok(());
    }
    let rows = params.get("rows").and_then(ParamValue::as_u64);
    check_rows(rows.unwrap_or(1))?;
    budget(params)?;
    demands(params).map(drop)
}

fn check_rows(rows: u64) -> Result<(), String> {
    if rows < MOST_ROWS {
        return Ok(());
    }
    Err(format!(
        "parameter `rows` is {rows}: expected fewer than 2^44, which is as many as a seed has"
    ))
}

/// What may be spent on privacy. Manifests of before have no such parameter.
fn budget(params: &Params) -> Result<Budget, String> {
    let epsilon = params.get("epsilon").and_then(ParamValue::as_f64);
    Budget::usual(epsilon.unwrap_or(1.0)).map_err(|error| format!("parameter `epsilon`: {error}"))
}

/// What a case demands of scores. Manifests of before have neither parameter.
fn demands(params: &Params) -> Result<Vec<Requirement>, String> {
    let text = params.get("require").map_or(Some(""), ParamValue::as_str);
    let text = text.ok_or("parameter `require`: expected a text")?;
    let mut demands = Requirement::parse_all(text)
        .map_err(|what| format!("parameter `require`: {what}; several are separated by commas"))?;
    let quality = params.get("quality").map_or(Some(0.0), ParamValue::as_f64);
    let quality = quality
        .filter(|quality| (0.0..=1.0).contains(quality))
        .ok_or("parameter `quality`: expected a number from 0, for nothing demanded, to 1")?;
    if quality > 0.0 {
        demands.push(Requirement::at_least("quality", quality));
    }
    Ok(demands)
}

/// Fails if a table is larger than memory, or has more rows than a seed.
fn check_size(rows: u64, columns: usize) -> Result<(), Failure> {
    /// Of a cell in the table, in what is made of it, and on the way there.
    const CELL_BYTES: u64 = 48;
    check_rows(rows).map_err(Failure::Failed)?;
    let cells = rows.saturating_mul(columns as u64);
    device::memory::ensure_fits(cells.saturating_mul(CELL_BYTES))
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
        // Manifests of before have no such parameter.
        let columns = if case.params.contains_key("columns") {
            count("columns")? as usize
        } else {
            census::COLUMNS
        };
        let generator = case
            .params
            .get("generator")
            .and_then(ParamValue::as_str)
            .unwrap_or(GENERATORS[0]);
        let budget = budget(&case.params).map_err(Failure::Failed)?;
        let demands = demands(&case.params).map_err(Failure::Failed)?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads as usize)
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
        let seed = case.seed.0;
        check_size(rows, columns)?;
        let table = pool.install(|| census::households(seed, rows as usize, columns));
        let mut own = Self {
            what,
            generator: generator.to_owned(),
            budget,
            demands,
            seed,
            pool,
            table,
            prepared: Prepared::default(),
            model: None,
            made: None,
            scored: None,
            is_watched: memory::watch(),
            peak: None,
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
        let metric = |name: &str, unit, direction| Metric {
            name: name.into(),
            unit,
            direction,
            kind: MetricKind::Case,
        };
        let mut metrics = vec![
            metric("quality", Unit::One, Direction::Higher),
            metric("exact_copies", Unit::One, Direction::Lower),
        ];
        if marginals::has_sets::<3>(&self.table) {
            metrics.push(metric("three_way_error", Unit::One, Direction::Lower));
        }
        if self.is_watched {
            metrics.push(metric("peak_memory", Unit::from("B"), Direction::Lower));
        }
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
                bytes: Some(match self.what {
                    Synthesis::Fit => self.table.csv_bytes(),
                    Synthesis::Rows => self.rows(model).csv_bytes(),
                }),
                items: Some(rows),
                formula: "items = rows that are learned or made, bytes = those of them as CSV"
                    .into(),
                ..Work::default()
            },
            metrics,
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

    /// The scores of the rows that were made, or of those that the model makes; taken once.
    fn scored(&mut self) -> Result<Scored, Failure> {
        if let Some(scored) = &self.scored {
            return Ok(scored.clone());
        }
        let model = self
            .model
            .as_ref()
            .ok_or_else(|| Failure::Failed("nothing was learned".into()))?;
        let made = match &self.made {
            Some(made) => self.table.align(made),
            None => self.table.align(&self.rows(model)),
        };
        let scored = made.and_then(|made| self.pool.install(|| self.score(&made)));
        let scored = scored.map_err(|error| Failure::Failed(error.to_string()))?;
        self.scored = Some(scored.clone());
        Ok(scored)
    }

    /// No more than what is shown and demanded: detection, utility and distances take longer than all else.
    fn score(&self, made: &Table) -> Result<Scored, TableError> {
        if self.demands.iter().all(|one| one.figure().is_of_scores()) {
            return Ok(Scored {
                scores: scores(&self.table, made, SCORE_SEED),
                exact_copies: copies::exact_copies(&self.table, made),
                report: None,
            });
        }
        let (rows, columns) = (self.table.rows(), self.table.columns.len());
        // Row `i` of the census depends on seed and `i` alone: those behind the rows that were learned are others of the same.
        let held_out = census::households_from(self.seed, rows as u64, rows, columns);
        let (table, others) = (census::declared(columns), BTreeMap::new());
        let declared = Declared {
            table: &table,
            others: &others,
        };
        let report = report_on(
            &DeviceSelector::CPU,
            &self.table,
            Some(&held_out),
            made,
            Some(declared),
            SCORE_SEED,
        )?;
        Ok(Scored {
            scores: report.scores,
            exact_copies: report.copies.exact_copies,
            report: Some(Arc::new(report)),
        })
    }

    /// What is demanded of the scores and not reached, in words.
    fn missed(&mut self) -> Result<Vec<String>, Failure> {
        if self.demands.is_empty() {
            return Ok(vec![]);
        }
        let scored = self.scored()?;
        let missed = |demand: &Requirement| match &scored.report {
            Some(report) => demand.missed(report),
            None => demand.missed_by(demand.figure().of_scores(&scored.scores)),
        };
        Ok(self.demands.iter().filter_map(missed).collect())
    }
}

impl Workload for Case {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        self.scored = None;
        for _ in 0..iterations {
            match self.what {
                Synthesis::Fit => self.model = Some(self.fitted()?),
                Synthesis::Rows => self.made = self.model.as_ref().map(|model| self.rows(model)),
            }
        }
        Ok(Measured::default())
    }

    /// That another thread count, and other parts of the rows, give the same: models to the byte, rows one by one; and that the rows
    /// reach the scores that are demanded.
    fn verify(&mut self) -> Result<Verification, Failure> {
        // What is made here again to compare is none of the generator's.
        self.peak = memory::peak().filter(|_| self.is_watched);
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
        let missed = if different == 0 {
            self.missed()?
        } else {
            vec![]
        };
        if !missed.is_empty() {
            return Ok(Verification {
                passed: false,
                error: Some(missed.len() as f64),
                tolerance: Some(0.0),
                output: Some(output),
                detail: format!(
                    "demands of the suite that rows do not meet: {}",
                    missed.join("; ")
                ),
            });
        }
        Ok(Verification {
            passed: different == 0,
            error: Some(different as f64),
            tolerance: Some(0.0),
            output: Some(output),
            detail: detail.into(),
        })
    }

    fn finish(&mut self) -> Result<BTreeMap<String, f64>, Failure> {
        let scored = self.scored()?;
        self.made = None;
        let mut values: BTreeMap<String, f64> = [
            ("quality".to_owned(), scored.scores.quality),
            ("exact_copies".to_owned(), scored.exact_copies),
        ]
        .into();
        if marginals::has_sets::<3>(&self.table) {
            values.insert("three_way_error".to_owned(), scored.scores.three_way);
        }
        values.extend(self.peak.map(|peak| ("peak_memory".to_owned(), peak)));
        Ok(values)
    }
}

#[cfg(test)]
mod tests;
