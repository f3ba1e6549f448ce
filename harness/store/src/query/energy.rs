//! Energy: the counters that were read while rounds were measured.

use std::collections::BTreeMap;

use assay_record::RunId;
use assay_record::body::TelemetrySeries;
use duckdb::params;

use crate::Store;
use crate::error::StoreError;
use crate::load::run_key;
use crate::rows::MeasuredRound;

impl Store {
    /// The rounds of a run that count and have readings of an energy counter, in the order of the record: of each its
    /// stretch of samples after warm-up, and those counters.
    pub fn energy(&self, run: &RunId) -> Result<Vec<MeasuredRound>, StoreError> {
        let key = run_key(run);
        let mut counters = self.energy_counters(key)?;
        if counters.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "SELECT block, case_id, arm, device_uuid, min(start_ns), max(start_ns + host_ns),
                          sum(host_ns)::UBIGINT, sum(iterations)::UBIGINT
                   FROM results JOIN cases USING (run_key, case_no, arm_no) JOIN samples USING (run_key, block)
                   WHERE run_key = ? AND counts AND sample >= warmup
                   GROUP BY block, case_id, arm, device_uuid ORDER BY block";
        let mut rounds = self.rows(sql, params![key], |row| {
            Ok(MeasuredRound {
                counters: counters.remove(&row.get(0)?).unwrap_or_default(),
                case: row.get(1)?,
                arm: row.get(2)?,
                device: row.get(3)?,
                from_ns: row.get(4)?,
                to_ns: row.get(5)?,
                busy_ns: row.get(6)?,
                iterations: row.get(7)?,
            })
        })?;
        rounds.retain(|round| !round.counters.is_empty());
        Ok(rounds)
    }

    /// Readings of energy counters by block.
    fn energy_counters(&self, key: i64) -> Result<BTreeMap<i32, Vec<TelemetrySeries>>, StoreError> {
        let sql = "SELECT block, name, unit, at_ns, number FROM telemetry
                   WHERE run_key = ? AND unit = 'J' AND suffix(name, '.energy') ORDER BY block, name, reading";
        let mut blocks: BTreeMap<i32, Vec<TelemetrySeries>> = BTreeMap::new();
        self.rows(sql, params![key], |row| {
            let series = blocks.entry(row.get(0)?).or_default();
            let name: String = row.get(1)?;
            if series.last().is_none_or(|last| last.name != name) {
                series.push(TelemetrySeries {
                    name,
                    unit: row.get(2)?,
                    at_ns: Vec::new(),
                    values: Vec::new(),
                });
            }
            if let Some(last) = series.last_mut() {
                last.at_ns.push(row.get(3)?);
                last.values.push(row.get(4)?);
            }
            Ok(())
        })?;
        Ok(blocks)
    }
}
