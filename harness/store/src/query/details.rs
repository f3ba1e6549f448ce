//! What lies behind the values of runs, by the round and over the whole of them: samples, and what telemetry read. A few
//! statements read all of several runs, by the column.

use std::collections::BTreeMap;

use assay_protocol::Metric;
use assay_record::RunId;
use duckdb::arrow::array::{Array, Float64Array, Int32Array, Int64Array, StringArray, UInt64Array};
use duckdb::arrow::record_batch::RecordBatch;
use duckdb::params;

use super::{Fault, Places, column};
use crate::Store;
use crate::error::StoreError;
use crate::rows::{Gauge, GaugeStep, RoundDetail, RunGauges};

/// Steps of time into which a round's readings are put, and those of a run.
const ROUND_STEPS: u64 = 24;
const RUN_STEPS: u64 = 120;

/// Most readings that one statement puts into steps: it keeps all of them, for medians.
const READINGS: i64 = 4_000_000;

/// Which readings are: counters, sets of bits and sums are left out, for as a line over time they say nothing.
const IS_READING: &str = "unit NOT IN ('J', 'bits', 'errors')";

/// Rounds by the numbers of their runs, and their blocks.
type Rounds = BTreeMap<(usize, i32), RoundDetail>;

/// Cases of runs on their arms: which of the runs, id of the case, name of the arm.
type Wanted<'w> = &'w dyn Fn(usize, &str, &str) -> bool;

impl Store {
    /// The rounds of some runs that count, of cases that are wanted, with a value of each sample; each run's in the order of its
    /// record. `is_wanted` is asked with the number of the run among these, the id of the case and the name of the arm.
    pub fn sampled_rounds(
        &self,
        runs: &[RunId],
        is_wanted: impl Fn(usize, &str, &str) -> bool,
    ) -> Result<Vec<Vec<RoundDetail>>, StoreError> {
        Ok(by_run(runs, self.sampled(runs, &is_wanted)?))
    }

    /// As [`Store::sampled_rounds`], with what telemetry read meanwhile.
    pub fn detailed_rounds(
        &self,
        runs: &[RunId],
        is_wanted: impl Fn(usize, &str, &str) -> bool,
    ) -> Result<Vec<Vec<RoundDetail>>, StoreError> {
        let mut rounds = self.sampled(runs, &is_wanted)?;
        self.read_round_gauges(runs, &mut rounds)?;
        Ok(by_run(runs, rounds))
    }

    /// What telemetry read over each of some runs, by name; nothing of those where it read nothing.
    pub fn run_gauges(&self, runs: &[RunId]) -> Result<BTreeMap<RunId, RunGauges>, StoreError> {
        let mut found: BTreeMap<RunId, RunGauges> = BTreeMap::new();
        for portion in self.portions("telemetry", runs, READINGS)? {
            let places = Places::of(&portion);
            let sql = format!(
                "WITH readings AS {},
                      spans AS (SELECT run_key, min(at_ns) AS first, max(at_ns) AS last FROM readings GROUP BY run_key)
                 SELECT run_key, 0::INTEGER AS block, name, unit,
                        least((at_ns - first) * ?1 // greatest(last - first, 1), ?1 - 1)::INTEGER AS step,
                        min(number), median(number), max(number), last - first AS length
                 FROM readings JOIN spans USING (run_key) WHERE {IS_READING}
                 GROUP BY run_key, name, unit, step, length ORDER BY run_key, name, unit, step",
                self.rows_of("telemetry", &places)?
            );
            self.batches(&sql, params![RUN_STEPS], |batch| {
                let lengths: &UInt64Array = column(batch, 8)?;
                read_gauges(batch, &places, RUN_STEPS, |row, (run, _), name, step| {
                    let run = found.entry(portion[run].clone()).or_default();
                    run.length_ns = lengths.value(row);
                    push(&mut run.gauges, name, step);
                })
            })?;
        }
        Ok(found)
    }

    fn sampled(&self, runs: &[RunId], is_wanted: Wanted<'_>) -> Result<Rounds, StoreError> {
        let places = Places::of(runs);
        let mut rounds = self.counting_rounds(&places, is_wanted)?;
        self.read_times(&places, &mut rounds)?;
        self.read_values(&places, &mut rounds)?;
        Ok(rounds)
    }

    /// Rounds that count, with room for the time of each sample.
    fn counting_rounds(&self, runs: &Places, is_wanted: Wanted<'_>) -> Result<Rounds, StoreError> {
        let sql = format!(
            "SELECT run_key, block, case_id, arm, round, warmup, samples
             FROM {} JOIN {} USING (run_key, case_no, arm_no) WHERE counts",
            self.rows_of("results", runs)?,
            self.rows_of("cases", runs)?
        );
        let mut rounds = Rounds::new();
        self.rows(&sql, [], |row| {
            let run = runs.at(row.get(0)?)?;
            let (case, arm): (String, String) = (row.get(2)?, row.get(3)?);
            if !is_wanted(run, &case, &arm) {
                return Ok(());
            }
            let samples: u32 = row.get(6)?;
            let times = vec![f64::NAN; samples as usize];
            let round = RoundDetail {
                case,
                arm,
                round: row.get(4)?,
                warmup: row.get(5)?,
                values: BTreeMap::from([(Metric::TIME.to_owned(), times)]),
                gauges: Vec::new(),
            };
            rounds.insert((run, row.get(1)?), round);
            Ok(())
        })?;
        Ok(rounds)
    }

    /// Time of an iteration, of each sample: the device's where it has a clock, as [`assay_record::Samples::times_ns`] has it.
    fn read_times(&self, runs: &Places, rounds: &mut Rounds) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT run_key, block, sample, iterations, host_ns, device_ns FROM {}",
            self.rows_of("samples", runs)?
        );
        self.batches(&sql, [], |batch| {
            let keys: &Int64Array = column(batch, 0)?;
            let of_blocks: &Int32Array = column(batch, 1)?;
            let samples: &Int32Array = column(batch, 2)?;
            let iterations: &UInt64Array = column(batch, 3)?;
            let host: &UInt64Array = column(batch, 4)?;
            let device: &UInt64Array = column(batch, 5)?;
            let time = |row: usize| {
                let ns = if device.is_valid(row) { device } else { host };
                ns.value(row) as f64 / iterations.value(row) as f64
            };
            // Samples of a block lie together: its column is looked for once.
            let mut row = 0;
            while row < batch.num_rows() {
                let place = (keys.value(row), of_blocks.value(row));
                let end = (row..batch.num_rows())
                    .find(|&at| (keys.value(at), of_blocks.value(at)) != place)
                    .unwrap_or(batch.num_rows());
                let times = rounds
                    .get_mut(&(runs.at(place.0)?, place.1))
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
    fn read_values(&self, runs: &Places, rounds: &mut Rounds) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT run_key, block, metric, number FROM {} ORDER BY run_key, block, metric, sample",
            self.rows_of("sample_values", runs)?
        );
        self.batches(&sql, [], |batch| {
            let keys: &Int64Array = column(batch, 0)?;
            let of_blocks: &Int32Array = column(batch, 1)?;
            let metrics: &StringArray = column(batch, 2)?;
            let numbers: &Float64Array = column(batch, 3)?;
            for row in 0..batch.num_rows() {
                let place = (runs.at(keys.value(row))?, of_blocks.value(row));
                if let Some(round) = rounds.get_mut(&place) {
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

    fn read_round_gauges(&self, runs: &[RunId], rounds: &mut Rounds) -> Result<(), StoreError> {
        let numbers = Places::of(runs);
        for portion in self.portions("telemetry", runs, READINGS)? {
            let sql = format!(
                "WITH readings AS (SELECT * FROM {} WHERE {IS_READING}),
                      spans AS (SELECT run_key, block, min(at_ns) AS first, max(at_ns) AS last FROM readings GROUP BY run_key, block)
                 SELECT run_key, block, name, unit,
                        least((at_ns - first) * ?1 // greatest(last - first, 1), ?1 - 1)::INTEGER AS step,
                        min(number), median(number), max(number)
                 FROM readings JOIN spans USING (run_key, block)
                 GROUP BY run_key, block, name, unit, step ORDER BY run_key, block, name, unit, step",
                self.rows_of("telemetry", &Places::of(&portion))?
            );
            self.batches(&sql, params![ROUND_STEPS], |batch| {
                read_gauges(batch, &numbers, ROUND_STEPS, |_, place, name, step| {
                    if let Some(round) = rounds.get_mut(&place) {
                        push(&mut round.gauges, name, step);
                    }
                })
            })?;
        }
        Ok(())
    }
}

/// Rounds by their runs.
fn by_run(runs: &[RunId], rounds: Rounds) -> Vec<Vec<RoundDetail>> {
    let mut found = vec![Vec::new(); runs.len()];
    for ((run, _), round) in rounds {
        found[run].push(round);
    }
    found
}

/// Steps of gauges, those of one gauge after each other: `add` is told the row, the run's number and the block, the gauge and the step.
fn read_gauges(
    batch: &RecordBatch,
    runs: &Places,
    steps: u64,
    mut add: impl FnMut(usize, (usize, i32), [&str; 2], GaugeStep),
) -> Result<(), Fault> {
    let keys: &Int64Array = column(batch, 0)?;
    let of_blocks: &Int32Array = column(batch, 1)?;
    let names: &StringArray = column(batch, 2)?;
    let units: &StringArray = column(batch, 3)?;
    let at: &Int32Array = column(batch, 4)?;
    let number = |at| column::<Float64Array>(batch, at);
    let (low, middle, high) = (number(5)?, number(6)?, number(7)?);
    for row in 0..batch.num_rows() {
        let step = GaugeStep {
            at: (f64::from(at.value(row)) + 0.5) / steps as f64,
            low: low.value(row),
            middle: middle.value(row),
            high: high.value(row),
        };
        let place = (runs.at(keys.value(row))?, of_blocks.value(row));
        add(row, place, [names.value(row), units.value(row)], step);
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
