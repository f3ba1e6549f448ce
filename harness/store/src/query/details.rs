//! What lies behind the values of a run, by the round and over the whole of it: samples, and what telemetry read. A statement
//! reads all cases of a run, by the column.

use std::collections::BTreeMap;

use assay_protocol::Metric;
use assay_record::RunId;
use duckdb::arrow::array::{Array, Float64Array, Int32Array, StringArray, UInt64Array};
use duckdb::arrow::record_batch::RecordBatch;
use duckdb::params;

use super::{Fault, Places, column};
use crate::Store;
use crate::error::StoreError;
use crate::load::run_key;
use crate::rows::{Gauge, GaugeStep, RoundDetail, RunGauges};

/// Steps of time into which a round's readings are put, and those of a run.
const ROUND_STEPS: u64 = 24;
const RUN_STEPS: u64 = 120;

/// Readings of counters, sets of bits and sums are left out: as a line over time they say nothing.
const READINGS: &str = "SELECT run_key, block, name, unit, at_ns, number FROM telemetry
    WHERE run_key = ?1 AND unit NOT IN ('J', 'bits', 'errors')";

/// Rounds by their blocks.
type Rounds = BTreeMap<i32, RoundDetail>;

impl Store {
    /// The rounds of a run that count, in the order of the record, with a value of each sample.
    pub fn sampled_rounds(&self, run: &RunId) -> Result<Vec<RoundDetail>, StoreError> {
        Ok(self.sampled(run_key(run))?.into_values().collect())
    }

    /// As [`Store::sampled_rounds`], with what telemetry read meanwhile.
    pub fn detailed_rounds(&self, run: &RunId) -> Result<Vec<RoundDetail>, StoreError> {
        let key = run_key(run);
        let mut rounds = self.sampled(key)?;
        self.read_round_gauges(key, &mut rounds)?;
        Ok(rounds.into_values().collect())
    }

    /// Which of some runs have telemetry.
    pub fn with_telemetry(&self, runs: &[RunId]) -> Result<Vec<RunId>, StoreError> {
        let places = Places::of(runs);
        let sql = format!(
            "SELECT DISTINCT run_key FROM telemetry WHERE run_key IN ({})",
            places.listed()
        );
        let found = self.rows(&sql, [], |row| places.at(row.get(0)?))?;
        Ok(found.into_iter().map(|at| runs[at].clone()).collect())
    }

    /// What telemetry read over a whole run, by name.
    pub fn run_gauges(&self, run: &RunId) -> Result<RunGauges, StoreError> {
        let key = run_key(run);
        let span = "SELECT min(at_ns), max(at_ns) FROM telemetry WHERE run_key = ?";
        let spans = self.rows(span, params![key], |row| {
            Ok((row.get::<_, Option<u64>>(0)?, row.get::<_, Option<u64>>(1)?))
        })?;
        let Some((Some(from), Some(to))) = spans.into_iter().next() else {
            return Ok(RunGauges::default());
        };
        let length_ns = to.saturating_sub(from);
        let sql = format!(
            "SELECT 0::INTEGER AS block, name, unit, least((at_ns - ?2) * ?4 // ?3, ?4 - 1)::INTEGER AS step,
                    min(number), median(number), max(number)
             FROM ({READINGS}) GROUP BY name, unit, step ORDER BY name, unit, step"
        );
        let mut gauges = Vec::new();
        self.batches(
            &sql,
            params![key, from, length_ns.max(1), RUN_STEPS],
            |batch| {
                read_gauges(batch, RUN_STEPS, |_, name, step| {
                    push(&mut gauges, name, step);
                })
            },
        )?;
        Ok(RunGauges { length_ns, gauges })
    }

    fn sampled(&self, key: i64) -> Result<Rounds, StoreError> {
        let mut rounds = self.counting_rounds(key)?;
        self.read_times(key, &mut rounds)?;
        self.read_values(key, &mut rounds)?;
        Ok(rounds)
    }

    /// Rounds that count, with room for the time of each sample.
    fn counting_rounds(&self, key: i64) -> Result<Rounds, StoreError> {
        let sql = "SELECT block, case_id, arm, round, warmup, samples
                   FROM results JOIN cases USING (run_key, case_no, arm_no) WHERE run_key = ? AND counts";
        let rounds = self.rows(sql, params![key], |row| {
            let samples: u32 = row.get(5)?;
            let times = vec![f64::NAN; samples as usize];
            let round = RoundDetail {
                case: row.get(1)?,
                arm: row.get(2)?,
                round: row.get(3)?,
                warmup: row.get(4)?,
                values: BTreeMap::from([(Metric::TIME.to_owned(), times)]),
                gauges: Vec::new(),
            };
            Ok((row.get(0)?, round))
        })?;
        Ok(rounds.into_iter().collect())
    }

    /// Time of an iteration, of each sample: the device's where it has a clock, as [`assay_record::Samples::times_ns`] has it.
    fn read_times(&self, key: i64, rounds: &mut Rounds) -> Result<(), StoreError> {
        let sql =
            "SELECT block, sample, iterations, host_ns, device_ns FROM samples WHERE run_key = ?";
        self.batches(sql, params![key], |batch| {
            let of_blocks: &Int32Array = column(batch, 0)?;
            let samples: &Int32Array = column(batch, 1)?;
            let iterations: &UInt64Array = column(batch, 2)?;
            let host: &UInt64Array = column(batch, 3)?;
            let device: &UInt64Array = column(batch, 4)?;
            let time = |row: usize| {
                let ns = if device.is_valid(row) { device } else { host };
                ns.value(row) as f64 / iterations.value(row) as f64
            };
            // Samples of a block lie together: its column is looked for once.
            let mut row = 0;
            while row < batch.num_rows() {
                let block = of_blocks.value(row);
                let end = (row..batch.num_rows())
                    .find(|&at| of_blocks.value(at) != block)
                    .unwrap_or(batch.num_rows());
                let times = rounds
                    .get_mut(&block)
                    .and_then(|round| round.values.get_mut(Metric::TIME));
                if let Some(times) = times {
                    for at in row..end {
                        let place = usize::try_from(samples.value(at))?;
                        *times.get_mut(place).ok_or("a sample beyond its round")? = time(at);
                    }
                }
                row = end;
            }
            Ok(())
        })
    }

    /// Values of further metrics that have one in each sample.
    fn read_values(&self, key: i64, rounds: &mut Rounds) -> Result<(), StoreError> {
        let sql = "SELECT block, metric, number FROM sample_values WHERE run_key = ? ORDER BY block, metric, sample";
        self.batches(sql, params![key], |batch| {
            let of_blocks: &Int32Array = column(batch, 0)?;
            let metrics: &StringArray = column(batch, 1)?;
            let numbers: &Float64Array = column(batch, 2)?;
            for row in 0..batch.num_rows() {
                if let Some(round) = rounds.get_mut(&of_blocks.value(row)) {
                    let metric = metrics.value(row);
                    if !round.values.contains_key(metric) {
                        round.values.insert(metric.to_owned(), Vec::new());
                    }
                    if let Some(values) = round.values.get_mut(metric) {
                        values.push(numbers.value(row));
                    }
                }
            }
            Ok(())
        })
    }

    fn read_round_gauges(&self, key: i64, rounds: &mut Rounds) -> Result<(), StoreError> {
        let sql = format!(
            "WITH readings AS ({READINGS}),
                  spans AS (SELECT block, min(at_ns) AS first, max(at_ns) AS last FROM readings GROUP BY block)
             SELECT block, name, unit, least((at_ns - first) * ?2 // greatest(last - first, 1), ?2 - 1)::INTEGER AS step,
                    min(number), median(number), max(number)
             FROM readings JOIN spans USING (block)
             GROUP BY block, name, unit, step ORDER BY block, name, unit, step"
        );
        self.batches(&sql, params![key, ROUND_STEPS], |batch| {
            read_gauges(batch, ROUND_STEPS, |block, name, step| {
                if let Some(round) = rounds.get_mut(&block) {
                    push(&mut round.gauges, name, step);
                }
            })
        })
    }
}

/// Steps of gauges by block, those of one gauge after each other.
fn read_gauges(
    batch: &RecordBatch,
    steps: u64,
    mut add: impl FnMut(i32, [&str; 2], GaugeStep),
) -> Result<(), Fault> {
    let of_blocks: &Int32Array = column(batch, 0)?;
    let names: &StringArray = column(batch, 1)?;
    let units: &StringArray = column(batch, 2)?;
    let at: &Int32Array = column(batch, 3)?;
    let number = |at| column::<Float64Array>(batch, at);
    let (low, middle, high) = (number(4)?, number(5)?, number(6)?);
    for row in 0..batch.num_rows() {
        let step = GaugeStep {
            at: (f64::from(at.value(row)) + 0.5) / steps as f64,
            low: low.value(row),
            middle: middle.value(row),
            high: high.value(row),
        };
        let name = [names.value(row), units.value(row)];
        add(of_blocks.value(row), name, step);
    }
    Ok(())
}

fn push(gauges: &mut Vec<Gauge>, [name, unit]: [&str; 2], step: GaugeStep) {
    let is_open = |last: &&mut Gauge| last.name == name && last.unit == unit;
    if let Some(open) = gauges.last_mut().filter(is_open) {
        open.steps.push(step);
        return;
    }
    gauges.push(Gauge {
        name: name.to_owned(),
        unit: unit.to_owned(),
        steps: vec![step],
    });
}
