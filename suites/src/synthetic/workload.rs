//! Generators as workloads: how fast they learn and make rows, with how good and how private the rows are.
//!
//! They learn the census-like table of `rows` rows ([`census`]), whose truth is known, with more or fewer of its columns. `synth-fit` times learning,
//! `synth-rows` making as many rows again, and `synth-table` both in memory, of the first `rows` rows of any `table`, too: it is what other
//! programs are measured beside. All report the scores of what came out once a round, outside the timed
//! region, the resident memory at its most while it was timed, table and model included, and what was paid for privacy among its facts: `mst` is private
//! always, `independent` where a `mechanism` is asked for. A suite can demand any score (`require`, as `quality>=0.9, three_way<=0.1`; `quality`, a
//! number, for short): where the rows do not reach it, verification fails. Rows held out, for those scores that need them, are those behind
//! the rows that were learned.

use std::collections::BTreeMap;
use std::sync::Arc;

use assay_kernels::device;
use assay_protocol::{
    CaseSpec, Catalog, DeviceSelector, Digest, Direction, Failure, Measured, Metric, MetricKind,
    ParamValue, Prepared, Unit, Verification, Work, Workload, WorkloadInfo,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::generators::Model;
use super::privacy::Budget;
use super::progress::Progress;
use super::quality::constraints::Declared;
use super::quality::copies;
use super::quality::marginals;
use super::quality::report::{Report, report_on};
use super::quality::requirement::Requirement;
use super::quality::scores::{SETS, Scores, scores};
use super::table::{Table, TableError, census, file};
use crate::memory;

mod fit;
mod parameters;

pub use fit::{GENERATORS, Noise, Privacy, fit, fit_declared};
pub use parameters::{MOST_ROWS, check_parameters};
use parameters::{check_rows, count, demands, generator, privacy};

/// Sets of columns, and much else, are drawn under this seed when scores are taken.
const SCORE_SEED: u64 = 1;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synthesis {
    /// Learning a table.
    Fit,
    /// Making rows.
    Rows,
    /// Both.
    Table,
}

impl Synthesis {
    /// All of them.
    const ALL: [Self; 3] = [Self::Fit, Self::Rows, Self::Table];

    /// What suites call it.
    fn name(self) -> &'static str {
        match self {
            Self::Fit => "synth-fit",
            Self::Rows => "synth-rows",
            Self::Table => "synth-table",
        }
    }
}

impl Catalog for Synthesis {
    fn info(&self) -> WorkloadInfo {
        parameters::info(*self)
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
    /// Error of 3-way marginals, of the sets of columns that are asked for; absent where there are none.
    three_way: Option<f64>,
    /// All scores, where more than these is demanded.
    report: Option<Arc<Report>>,
}

struct Case {
    what: Synthesis,
    generator: String,
    privacy: Privacy,
    /// What scores of the rows must reach.
    demands: Vec<Requirement>,
    seed: u64,
    pool: ThreadPool,
    table: Table,
    /// Where they are those of a file, its rows behind the ones that are learned.
    others: Option<Table>,
    /// Sets of columns of more combinations are left out of the error of 3-way marginals.
    most_cells: u64,
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

/// Fails if a table is larger than memory, or has more rows than a seed.
fn check_size(rows: u64, columns: usize) -> Result<(), Failure> {
    /// Of a cell in the table, in what is made of it, and on the way there.
    const CELL_BYTES: u64 = 48;
    check_rows(rows).map_err(Failure::Failed)?;
    let cells = rows.saturating_mul(columns as u64);
    device::memory::ensure_fits(cells.saturating_mul(CELL_BYTES))
}

/// The table that is learned, and where it is that of a file the rows behind it.
fn learned(case: &CaseSpec, rows: u64) -> Result<(Table, Option<Table>), Failure> {
    let Some(path) = parameters::table(&case.params).map_err(Failure::Failed)? else {
        // Manifests of before have no such parameter.
        let columns = if case.params.contains_key("columns") {
            count(case, "columns")? as usize
        } else {
            census::COLUMNS
        };
        check_size(rows, columns)?;
        return Ok((
            census::households(case.seed.0, rows as usize, columns),
            None,
        ));
    };
    let all = file::read(&path)
        .map_err(|error| Failure::Failed(format!("parameter `table`: {error}")))?;
    if rows > all.rows() as u64 {
        return Err(Failure::Failed(format!(
            "parameter `rows` is {rows}: {} has {}",
            path.display(),
            all.rows()
        )));
    }
    let rows = rows as usize;
    let part = |places: std::ops::Range<usize>| all.select(&places.collect::<Vec<_>>());
    Ok((part(0..rows), Some(part(rows..all.rows().min(2 * rows)))))
}

impl Case {
    fn new(what: Synthesis, case: &CaseSpec) -> Result<Self, Failure> {
        let (rows, threads) = (count(case, "rows")?, count(case, "threads")?);
        let seed = case.seed.0;
        let privacy = privacy(&case.params, seed).map_err(Failure::Failed)?;
        let demands = demands(&case.params).map_err(Failure::Failed)?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads as usize)
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
        let (table, others) = pool.install(|| learned(case, rows))?;
        let most_cells = case.params.get("most_cells").and_then(ParamValue::as_u64);
        let mut own = Self {
            what,
            generator: generator(&case.params).to_owned(),
            privacy,
            demands,
            seed,
            pool,
            table,
            others,
            most_cells: most_cells.filter(|cells| *cells > 0).unwrap_or(u64::MAX),
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
        self.fitted_on(&self.pool)
    }

    fn fitted_on(&self, pool: &ThreadPool) -> Result<Model, Failure> {
        let (table, progress) = (&self.table, Progress::default());
        pool.install(|| fit_declared(&self.generator, table, &[], &self.privacy, &progress))
            .map_err(|error| Failure::Failed(error.to_string()))
    }

    fn described(&self, model: &Model) -> Prepared {
        let rows = self.table.rows() as u64;
        let metric =
            |name: &str, unit, direction| Metric::new(name, unit, direction, MetricKind::Case);
        let mut metrics = vec![
            metric("quality", Unit::One, Direction::Higher),
            metric("exact_copies", Unit::One, Direction::Lower),
        ];
        if marginals::has_sets::<3>(&self.table, self.most_cells) {
            metrics.push(metric("three_way_error", Unit::One, Direction::Lower));
        }
        if self.is_watched {
            metrics.push(metric("peak_memory", Unit::from("B"), Direction::Lower));
        }
        let mut facts: BTreeMap<String, String> =
            [("generator".to_owned(), model.name().to_owned())].into();
        if let Some(private) = model.private() {
            let spent = format!(
                "epsilon {:.6} at delta {:.3e}, noise of the case's seed",
                private.epsilon, private.delta
            );
            facts.insert("privacy".into(), spent);
            let budget = Budget {
                delta: private.delta,
                ..self.privacy.budget
            };
            let warnings = budget.warnings(rows);
            if !warnings.is_empty() {
                facts.insert("privacy.warning".into(), warnings.join("; "));
            }
            let ledger = private
                .ledger
                .iter()
                .map(|entry| format!("{}: {}, {}", entry.what, entry.mechanism, entry.cost));
            facts.insert(
                "privacy.ledger".into(),
                ledger.collect::<Vec<_>>().join("; "),
            );
        }
        Prepared {
            work: Work {
                bytes: Some(match self.what {
                    Synthesis::Fit => self.table.csv_bytes(),
                    Synthesis::Rows | Synthesis::Table => self.rows(model).csv_bytes(),
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
        let three_way =
            marginals::error_of_small::<3>(&self.table, made, SETS, self.most_cells, SCORE_SEED);
        if self.demands.iter().all(|one| one.figure().is_of_scores()) {
            return Ok(Scored {
                scores: scores(&self.table, made, SCORE_SEED),
                exact_copies: copies::exact_copies(&self.table, made),
                three_way,
                report: None,
            });
        }
        let (rows, columns) = (self.table.rows(), self.table.columns.len());
        let (table, others) = (census::declared(columns), BTreeMap::new());
        // Row `i` of the census depends on seed and `i` alone: those behind the rows that were learned are others of the same.
        let (held_out, declared) = match &self.others {
            Some(others) => (others.clone(), None),
            None => (
                census::households_from(self.seed, rows as u64, rows, columns),
                Some(Declared {
                    table: &table,
                    others: &others,
                }),
            ),
        };
        let report = report_on(
            &DeviceSelector::CPU,
            &self.table,
            Some(&held_out).filter(|rows| rows.rows() > 0),
            made,
            declared,
            SCORE_SEED,
        )?;
        Ok(Scored {
            scores: report.scores,
            exact_copies: report.copies.exact_copies,
            three_way,
            report: Some(Arc::new(report)),
        })
    }

    /// Whether one thread learns another model: 1 if it does.
    fn relearned(&self, model: &Model) -> Result<usize, Failure> {
        let alone = ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(usize::from(self.fitted_on(&alone)? != *model))
    }

    /// How many rows come out otherwise when they are made from another row on.
    fn remade(&self, model: &Model, made: &Table) -> usize {
        let rows = made.rows();
        let from = rows.div_ceil(3).min(rows - 1);
        let again = model.rows(self.seed.wrapping_add(1), from as u64, rows - from);
        let kept = made.select(&(from..rows).collect::<Vec<_>>());
        let differs = |row: usize| {
            let pairs = again.columns.iter().zip(&kept.columns);
            let mut texts = pairs.map(|(a, b)| (a.values.text(row), b.values.text(row)));
            texts.any(|(a, b)| a != b)
        };
        (0..rows - from).filter(|row| differs(*row)).count()
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
                Synthesis::Table => {
                    let model = self.fitted()?;
                    self.made = Some(self.rows(&model));
                    self.model = Some(model);
                }
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
        let of_model = "whether one thread learns another model";
        let of_rows = "rows that come out otherwise when made from another row on";
        let (different, detail, output) = match (self.what, &self.made) {
            (Synthesis::Fit, _) | (_, None) => {
                let text = serde_json::to_vec(model);
                let text = text.map_err(|error| Failure::Failed(error.to_string()))?;
                (self.relearned(model)?, of_model.into(), Digest::of(text))
            }
            (Synthesis::Rows, Some(made)) => {
                (self.remade(model, made), of_rows.into(), made.digest())
            }
            (Synthesis::Table, Some(made)) => (
                self.relearned(model)? + self.remade(model, made),
                format!("{of_model}, and {of_rows}"),
                made.digest(),
            ),
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
            detail,
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
        let three_way = scored
            .three_way
            .map(|error| ("three_way_error".to_owned(), error));
        values.extend(three_way);
        values.extend(self.peak.map(|peak| ("peak_memory".to_owned(), peak)));
        Ok(values)
    }
}

#[cfg(test)]
mod tests;
