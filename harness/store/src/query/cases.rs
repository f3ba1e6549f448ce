//! The cases of a run with their rounds.

use std::collections::HashMap;

use assay_protocol::{ArithmeticUnit, Bound, Digest, MemoryLevel, Metric, Verification};
use assay_record::{BlockStatus, RunId};
use duckdb::arrow::array::{
    Array, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray,
};
use duckdb::arrow::record_batch::RecordBatch;
use duckdb::{Row, params};

use super::{Distinct, Fault, column, json, named, time};
use crate::Store;
use crate::error::StoreError;
use crate::load::run_key;
use crate::rows::{CaseRow, RoundRow};

/// Where a case stands in its manifest: case and arm.
type Place = (i32, i32);

/// A round, where its case stands, and its block.
type Visit = (Place, i32, RoundRow);

impl Store {
    /// Cases of a run in the order of its manifest, each on every arm, with all rounds that were tried.
    pub fn cases(&self, run: &RunId) -> Result<Vec<CaseRow>, StoreError> {
        let key = run_key(run);
        let sql = "SELECT case_no, arm_no, case_id, arm, benchmark, workload, params, device, timing, definition, work, deterministic, metrics, memory_level, arithmetic_unit, clock_resolution_ns, facts
                   FROM cases WHERE run_key = ? ORDER BY case_no, arm_no";
        let (places, mut cases): (Vec<Place>, Vec<CaseRow>) =
            self.rows(sql, params![key], case_row)?.into_iter().unzip();
        if cases.is_empty() {
            self.run(run)?;
        }
        // Of each block, its case and its place among the rounds of that.
        let mut blocks = HashMap::new();
        for (place, block, mut round) in self.visits(key)? {
            if let Ok(at) = places.binary_search(&place) {
                round.values = vec![None; cases[at].metrics.len()];
                blocks.insert(block, (at, cases[at].rounds.len()));
                cases[at].rounds.push(round);
            }
        }
        self.fill_values(key, &blocks, &mut cases)?;
        Ok(cases)
    }

    /// Every visit, those to one case in the order of its rounds.
    fn visits(&self, key: i64) -> Result<Vec<Visit>, StoreError> {
        let sql = "SELECT case_no, arm_no, block, round, attempt, started, status, reason, samples, warmup, steady, stop, verification, inputs, log, disturbed
                   FROM results WHERE run_key = ?";
        let mut visits = Vec::new();
        let mut known = Known::default();
        self.batches(sql, params![key], |batch| {
            read_visits(batch, &mut known, &mut visits)
        })?;
        visits.sort_unstable_by_key(|(_, block, round)| (round.round, round.attempt, *block));
        Ok(visits)
    }

    fn fill_values(
        &self,
        key: i64,
        blocks: &HashMap<i32, (usize, usize)>,
        cases: &mut [CaseRow],
    ) -> Result<(), StoreError> {
        let sql = "SELECT block, metric, number FROM round_values WHERE run_key = ?";
        self.batches(sql, params![key], |batch| {
            let of_blocks: &Int32Array = column(batch, 0)?;
            let metrics: &StringArray = column(batch, 1)?;
            let numbers: &Float64Array = column(batch, 2)?;
            for row in 0..batch.num_rows() {
                let Some((case, round)) = blocks.get(&of_blocks.value(row)) else {
                    continue;
                };
                let (case, metric) = (&mut cases[*case], metrics.value(row));
                let place = case.metrics.iter().position(|have| have.name == metric);
                if let Some(place) = place {
                    case.rounds[*round].values[place] = Some(numbers.value(row));
                }
            }
            Ok(())
        })
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
        bound: bound(row)?,
        clock_resolution_ns: row.get(15)?,
        facts: json(row, 16)?,
        metrics,
        rounds: Vec::new(),
    };
    Ok(((row.get(0)?, row.get(1)?), case))
}

fn bound(row: &Row<'_>) -> Result<Bound, Fault> {
    let (level, unit): (Option<String>, Option<String>) = (row.get(13)?, row.get(14)?);
    let known = |what: &str| -> Fault { format!("`{what}` bounds nothing that is known").into() };
    Ok(Bound {
        level: level
            .map(|name| MemoryLevel::parse(&name).ok_or_else(|| known(&name)))
            .transpose()?,
        unit: unit
            .map(|name| ArithmeticUnit::parse(&name).ok_or_else(|| known(&name)))
            .transpose()?,
    })
}

/// Texts that most rounds share, each parsed once.
#[derive(Default)]
struct Known {
    verifications: Distinct<Verification>,
    inputs: Distinct<Digest>,
    disturbances: Distinct<Vec<String>>,
}

fn read_visits(
    batch: &RecordBatch,
    known: &mut Known,
    visits: &mut Vec<Visit>,
) -> Result<(), Fault> {
    let int = |at| column::<Int32Array>(batch, at);
    let text = |at| column::<StringArray>(batch, at);
    let (cases, arms, blocks) = (int(0)?, int(1)?, int(2)?);
    let (rounds, attempts, started) = (int(3)?, int(4)?, column::<Int64Array>(batch, 5)?);
    let (statuses, reasons) = (text(6)?, text(7)?);
    let (samples, warmups) = (int(8)?, int(9)?);
    let (steady, stops) = (column::<BooleanArray>(batch, 10)?, text(11)?);
    let (verified, of_inputs, logs) = (text(12)?, text(13)?, text(14)?);
    let disturbed = text(15)?;
    for row in 0..batch.num_rows() {
        let optional = |of: &'_ StringArray| of.is_valid(row).then(|| of.value(row).to_owned());
        let verification = verified.is_valid(row).then(|| verified.value(row));
        let input = of_inputs.is_valid(row).then(|| of_inputs.value(row));
        let round = RoundRow {
            round: rounds.value(row).try_into()?,
            attempt: attempts.value(row).try_into()?,
            started: time(started.value(row))?,
            status: status(statuses.value(row), optional(reasons))?,
            samples: samples.value(row).try_into()?,
            warmup: warmups.value(row).try_into()?,
            steady: steady.value(row),
            stop: optional(stops),
            disturbed: known
                .disturbances
                .read(disturbed.value(row), |text| Ok(serde_json::from_str(text)?))?,
            values: Vec::new(),
            verification: verification
                .map(|text| {
                    known
                        .verifications
                        .read(text, |text| Ok(serde_json::from_str(text)?))
                })
                .transpose()?,
            inputs: input
                .map(|text| known.inputs.read(text, |text| Ok(text.parse()?)))
                .transpose()?,
            log: logs.value(row).to_owned(),
        };
        let place = (cases.value(row), arms.value(row));
        visits.push((place, blocks.value(row), round));
    }
    Ok(())
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
