//! The cases of a run with their rounds.

use std::collections::HashMap;

use assay_protocol::Metric;
use assay_record::{BlockStatus, RunId};
use duckdb::{Row, params};

use super::{Fault, json, named, optional_json, time};
use crate::Store;
use crate::error::StoreError;
use crate::load::run_key;
use crate::rows::{CaseRow, RoundRow};

/// Where a case stands in its manifest: case and arm.
type Place = (i32, i32);

impl Store {
    /// Cases of a run in the order of its manifest, each on every arm, with all rounds that were tried.
    pub fn cases(&self, run: &RunId) -> Result<Vec<CaseRow>, StoreError> {
        self.run(run)?;
        let key = run_key(run);
        let sql = "SELECT case_no, arm_no, case_id, arm, benchmark, workload, params, device, timing, definition, work, deterministic, metrics
                   FROM cases WHERE run_key = ? ORDER BY case_no, arm_no";
        let cases = self.rows(sql, params![key], case_row)?;
        let mut values = self.values_by_block(key)?;
        let mut rounds = self.rounds_by_place(key)?;
        Ok(cases
            .into_iter()
            .map(|(place, mut case)| {
                for (block, mut round) in rounds.remove(&place).unwrap_or_default() {
                    let values = values.remove(&block).unwrap_or_default();
                    let value = |metric: &Metric| values.get(&metric.name).copied();
                    round.values = case.metrics.iter().map(value).collect();
                    case.rounds.push(round);
                }
                case
            })
            .collect())
    }

    fn values_by_block(&self, key: i64) -> Result<HashMap<i32, HashMap<String, f64>>, StoreError> {
        let sql = "SELECT block, metric, number FROM round_values WHERE run_key = ?";
        let rows = self.rows(sql, params![key], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        let mut blocks: HashMap<i32, HashMap<String, f64>> = HashMap::new();
        for (block, metric, number) in rows {
            blocks.entry(block).or_default().insert(metric, number);
        }
        Ok(blocks)
    }

    fn rounds_by_place(
        &self,
        key: i64,
    ) -> Result<HashMap<Place, Vec<(i32, RoundRow)>>, StoreError> {
        let sql = "SELECT case_no, arm_no, block, round, attempt, started, status, reason, samples, warmup, steady, stop, verification, inputs, log
                   FROM results WHERE run_key = ? ORDER BY round, attempt, block";
        let mut places: HashMap<Place, Vec<(i32, RoundRow)>> = HashMap::new();
        for (place, block, round) in self.rows(sql, params![key], round_row)? {
            places.entry(place).or_default().push((block, round));
        }
        Ok(places)
    }
}

fn case_row(row: &Row<'_>) -> Result<(Place, CaseRow), Fault> {
    let mut metrics = vec![Metric::time()];
    metrics.extend(json::<Vec<Metric>>(row, 12)?);
    let case = CaseRow {
        case: row.get(2)?,
        arm: row.get(3)?,
        benchmark: row.get(4)?,
        workload: row.get(5)?,
        params: json(row, 6)?,
        device: row.get(7)?,
        timing: named(row.get(8)?)?,
        definition: row.get::<_, String>(9)?.parse()?,
        work: json(row, 10)?,
        deterministic: row.get(11)?,
        metrics,
        rounds: Vec::new(),
    };
    Ok(((row.get(0)?, row.get(1)?), case))
}

fn round_row(row: &Row<'_>) -> Result<(Place, i32, RoundRow), Fault> {
    let inputs: Option<String> = row.get(13)?;
    let round = RoundRow {
        round: row.get(3)?,
        attempt: row.get(4)?,
        started: time(row.get(5)?)?,
        status: status(&row.get::<_, String>(6)?, row.get(7)?)?,
        samples: row.get(8)?,
        warmup: row.get(9)?,
        steady: row.get(10)?,
        stop: row.get(11)?,
        values: Vec::new(),
        verification: optional_json(row, 12)?,
        inputs: inputs.map(|digest| digest.parse()).transpose()?,
        log: row.get(14)?,
    };
    Ok(((row.get(0)?, row.get(1)?), row.get(2)?, round))
}

fn status(name: &str, reason: Option<String>) -> Result<BlockStatus, Fault> {
    let reason = reason.unwrap_or_default();
    match name {
        "ok" => Ok(BlockStatus::Ok),
        "skipped" => Ok(BlockStatus::Skipped(reason)),
        "failed" => Ok(BlockStatus::Failed(reason)),
        "wrong" => Ok(BlockStatus::Wrong(reason)),
        other => Err(format!("`{other}` is no status of a round").into()),
    }
}
