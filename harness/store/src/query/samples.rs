//! Raw samples of one case.

use assay_record::RunId;
use duckdb::params;

use crate::Store;
use crate::error::StoreError;
use crate::load::run_key;
use crate::rows::RoundSamples;

/// A block with its round, attempt and warm-up.
type BlockRow = (i32, u32, u32, u32);

impl Store {
    /// Every sample of a case on an arm, by round and attempt.
    pub fn samples(
        &self,
        run: &RunId,
        case: &str,
        arm: &str,
    ) -> Result<Vec<RoundSamples>, StoreError> {
        let sql = "SELECT start_ns, iterations, host_ns, device_ns FROM samples WHERE run_key = ? AND block = ? ORDER BY sample";
        let values = "SELECT metric, number FROM sample_values WHERE run_key = ? AND block = ? ORDER BY metric, sample";
        let key = run_key(run);
        let mut rounds = Vec::new();
        for (block, round, attempt, warmup) in self.blocks(key, case, arm)? {
            let mut samples = assay_record::Samples::default();
            self.rows(sql, params![key, block], |row| {
                samples.start_ns.push(row.get(0)?);
                samples.iterations.push(row.get(1)?);
                samples.host_ns.push(row.get(2)?);
                samples.device_ns.extend(row.get::<_, Option<u64>>(3)?);
                Ok(())
            })?;
            self.rows(values, params![key, block], |row| {
                let column = samples.values.entry(row.get(0)?).or_default();
                column.push(row.get(1)?);
                Ok(())
            })?;
            rounds.push(RoundSamples {
                round,
                attempt,
                warmup,
                samples,
            });
        }
        Ok(rounds)
    }

    fn blocks(&self, key: i64, case: &str, arm: &str) -> Result<Vec<BlockRow>, StoreError> {
        let sql = "SELECT block, round, attempt, warmup FROM results JOIN cases USING (run_key, case_no, arm_no)
                   WHERE run_key = ? AND case_id = ? AND arm = ? ORDER BY round, attempt, block";
        self.rows(sql, params![key, case, arm], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
    }
}
