//! The cases of a run with their rounds.

use std::collections::BTreeMap;

use assay_protocol::{
    ArithmeticUnit, Bound, Digest, MemoryLevel, Metric, Params, TimingMode, Verification, Work,
};
use assay_record::{BlockStatus, RunId, Shared};
use duckdb::arrow::array::{
    Array, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, UInt64Array,
};
use duckdb::arrow::record_batch::RecordBatch;
use foldhash::{HashMap, HashMapExt as _};
use serde::de::DeserializeOwned;

use super::{Distinct, Fault, Places, column, named, time};
use crate::Store;
use crate::error::StoreError;
use crate::rows::{CaseRow, RoundRow};

/// Where a case stands: its run, and its case and arm in the manifest of that.
type Place = (usize, i32, i32);

/// Ids of cases with the names of their arms.
pub type CaseNames = Vec<(String, String)>;

/// A round, where its case stands, and its block.
type Visit = (Place, i32, RoundRow);

impl Store {
    /// Cases of a run in the order of its manifest, each on every arm, with all rounds that were tried.
    pub fn cases(&self, run: &RunId) -> Result<Vec<Shared<CaseRow>>, StoreError> {
        let places = Places::of(std::slice::from_ref(run));
        let mut found = self.which_cases(&places, Which::All, Facts::Read)?;
        let cases = found.pop().unwrap_or_default();
        if cases.is_empty() {
            self.run(run)?;
        }
        Ok(cases)
    }

    /// The same of several runs, in their order, without their facts, which no comparison asks for: a few scans for all of them. Where
    /// nobody can write meanwhile, each run is read once, however many ask for it.
    pub fn cases_of(&self, runs: &[RunId]) -> Result<Vec<Vec<Shared<CaseRow>>>, StoreError> {
        let read = |runs: &_| self.which_cases(&Places::of(runs), Which::All, Facts::LeftOut);
        match &self.known {
            Some(known) => known.cases.each(runs, read),
            None => read(runs),
        }
    }

    /// The same with facts.
    pub fn cases_with_facts(
        &self,
        runs: &[RunId],
    ) -> Result<Vec<Vec<Shared<CaseRow>>>, StoreError> {
        self.which_cases(&Places::of(runs), Which::All, Facts::Read)
    }

    /// Of several runs, in their order, the cases that did not go well, without facts: those with a round that is not ok, or with none.
    pub fn troubled_cases_of(
        &self,
        runs: &[RunId],
    ) -> Result<Vec<Vec<Shared<CaseRow>>>, StoreError> {
        self.which_cases(&Places::of(runs), Which::Troubled, Facts::LeftOut)
    }

    fn which_cases(
        &self,
        runs: &Places,
        which: Which,
        facts: Facts,
    ) -> Result<Vec<Vec<Shared<CaseRow>>>, StoreError> {
        if runs.0.is_empty() {
            return Ok(Vec::new());
        }
        let (of_cases, of_results) = (self.rows_of("cases", runs)?, self.rows_of("results", runs)?);
        let meant = |rows: &str| which.among(rows, &of_cases, &of_results);
        let (places, mut cases) = self.unvisited(runs, &meant(&of_cases), facts)?;
        // Of each block, its case and its place among the rounds of that.
        let mut blocks = HashMap::new();
        for (place, block, mut round) in self.visits(runs, &meant(&of_results))? {
            if let Ok(at) = places.binary_search(&place) {
                let case = &mut *cases[at];
                round.values = vec![None; case.metrics.len()];
                blocks.insert((place.0, block), (at, case.rounds.len()));
                // An imported case has one round, and a site thousands of such cases.
                case.rounds
                    .reserve_exact(usize::from(case.rounds.is_empty()));
                case.rounds.push(round);
            }
        }
        let mut of_values = self.rows_of("round_values", runs)?;
        if matches!(which, Which::Troubled) {
            of_values = format!(
                "{of_values} JOIN {} USING (run_key, block)",
                meant(&of_results)
            );
        }
        self.fill_values(runs, &of_values, &blocks, &mut cases)?;
        let mut by_run: Vec<Vec<Shared<CaseRow>>> = Vec::new();
        by_run.resize_with(runs.0.len(), Vec::new);
        for ((run, ..), case) in places.into_iter().zip(cases) {
            by_run[run].push(case);
        }
        Ok(by_run)
    }

    /// Names of the arms of each run that has cases, in the order of its manifest.
    pub fn arms(&self) -> Result<BTreeMap<RunId, Vec<String>>, StoreError> {
        // Every case is on every arm.
        let sql = "SELECT run, arm FROM cases JOIN runs USING (run_key) WHERE case_no = 0 ORDER BY arm_no";
        let mut arms: BTreeMap<RunId, Vec<String>> = BTreeMap::new();
        self.rows(sql, [], |row| {
            let run = row.get::<_, String>(0)?.parse()?;
            arms.entry(run).or_default().push(row.get(1)?);
            Ok(())
        })?;
        Ok(arms)
    }

    /// Ids of a run's cases and the arms that they are measured on, as its manifest has them.
    pub fn case_names(&self, run: &RunId) -> Result<CaseNames, StoreError> {
        let mut found = self.case_names_of(std::slice::from_ref(run))?;
        Ok(found.pop().unwrap_or_default())
    }

    /// The same of several runs, in their order, by one scan for those whose cases are not known.
    pub fn case_names_of(&self, runs: &[RunId]) -> Result<Vec<CaseNames>, StoreError> {
        let name = |case: &Shared<CaseRow>| (case.case.clone(), case.arm.clone());
        let mut names: HashMap<&RunId, CaseNames> = HashMap::new();
        if let Some(known) = &self.known {
            let known = known.cases.known();
            let of_run = |run| Some((run, known.get(run)?.iter().map(name).collect()));
            names.extend(runs.iter().filter_map(of_run));
        }
        let is_new = |run: &&RunId| !names.contains_key(*run);
        let new: Vec<RunId> = runs.iter().filter(is_new).cloned().collect();
        let mut found = self.read_case_names(&new)?.into_iter();
        let of_run = |run| names.remove(run).or_else(|| found.next());
        Ok(runs.iter().filter_map(of_run).collect())
    }

    fn read_case_names(&self, runs: &[RunId]) -> Result<Vec<CaseNames>, StoreError> {
        let mut names = vec![CaseNames::new(); runs.len()];
        if runs.is_empty() {
            return Ok(names);
        }
        let places = Places::of(runs);
        let sql = format!(
            "SELECT run_key, case_id, arm FROM {} ORDER BY case_no, arm_no",
            self.rows_of("cases", &places)?
        );
        self.rows(&sql, [], |row| {
            names[places.at(row.get(0)?)?].push((row.get(1)?, row.get(2)?));
            Ok(())
        })?;
        Ok(names)
    }

    /// Cases without their rounds, in order.
    fn unvisited(
        &self,
        runs: &Places,
        rows: &str,
        facts: Facts,
    ) -> Result<(Vec<Place>, Vec<Shared<CaseRow>>), StoreError> {
        let facts = match facts {
            Facts::Read => "facts",
            Facts::LeftOut => "'{}'",
        };
        let sql = format!(
            "SELECT run_key, case_no, arm_no, case_id, arm, benchmark, workload, params, device, timing, definition, work, deterministic, metrics, memory_level, arithmetic_unit, clock_resolution_ns, {facts}
             FROM {rows}"
        );
        let mut found = Vec::new();
        let mut known = KnownOfCases::default();
        self.batches(&sql, [], |batch| {
            read_cases(batch, runs, &mut known, &mut found)
        })?;
        found.sort_unstable_by_key(|(place, _)| *place);
        Ok(found.into_iter().unzip())
    }

    /// Every visit, those to one case in the order of its rounds.
    fn visits(&self, runs: &Places, rows: &str) -> Result<Vec<Visit>, StoreError> {
        let sql = format!(
            "SELECT run_key, case_no, arm_no, block, round, attempt, started, status, reason, samples, warmup, steady, stop, verification, inputs, log, disturbed
             FROM {rows}"
        );
        let mut visits = Vec::new();
        let mut known = Known::default();
        self.batches(&sql, [], |batch| {
            read_visits(batch, runs, &mut known, &mut visits)
        })?;
        visits.sort_unstable_by_key(|(_, block, round)| (round.round, round.attempt, *block));
        Ok(visits)
    }

    fn fill_values(
        &self,
        runs: &Places,
        rows: &str,
        blocks: &HashMap<(usize, i32), (usize, usize)>,
        cases: &mut [Shared<CaseRow>],
    ) -> Result<(), StoreError> {
        let sql = format!("SELECT run_key, block, metric, number FROM {rows}");
        self.batches(&sql, [], |batch| {
            let keys: &Int64Array = column(batch, 0)?;
            let of_blocks: &Int32Array = column(batch, 1)?;
            let metrics: &StringArray = column(batch, 2)?;
            let numbers: &Float64Array = column(batch, 3)?;
            for row in 0..batch.num_rows() {
                let block = (runs.at(keys.value(row))?, of_blocks.value(row));
                let Some((case, round)) = blocks.get(&block) else {
                    continue;
                };
                let (case, metric) = (&mut *cases[*case], metrics.value(row));
                let place = case.metrics.iter().position(|have| have.name == metric);
                if let Some(place) = place {
                    case.rounds[*round].values[place] = Some(numbers.value(row));
                }
            }
            Ok(())
        })
    }
}

/// Whether facts of cases are read: an imported case has some of its own, and they are most of what there is to read of it.
#[derive(Clone, Copy)]
enum Facts {
    Read,
    LeftOut,
}

/// Which cases of runs are meant.
#[derive(Clone, Copy)]
enum Which {
    All,
    /// Those with a round that is not ok, or with none.
    Troubled,
}

impl Which {
    /// The rows of a table that are of the cases that are meant. `results` and `cases` are the rows of the runs in these.
    fn among(self, rows: &str, cases: &str, results: &str) -> String {
        match self {
            Self::All => rows.to_owned(),
            Self::Troubled => format!(
                "(SELECT * FROM {rows} JOIN (
                     SELECT run_key, case_no, arm_no FROM {results} WHERE status <> 'ok'
                     UNION SELECT run_key, case_no, arm_no FROM {cases} WHERE NOT declared)
                 USING (run_key, case_no, arm_no))"
            ),
        }
    }
}

/// Texts that many cases share, each parsed once.
#[derive(Default)]
struct KnownOfCases {
    params: Distinct<Shared<Params>>,
    timings: Distinct<TimingMode>,
    definitions: Distinct<Digest>,
    works: Distinct<Shared<Work>>,
    metrics: Distinct<Shared<Vec<Metric>>>,
    facts: Distinct<Shared<BTreeMap<String, String>>>,
}

fn read_cases(
    batch: &RecordBatch,
    runs: &Places,
    known: &mut KnownOfCases,
    found: &mut Vec<(Place, Shared<CaseRow>)>,
) -> Result<(), Fault> {
    let int = |at| column::<Int32Array>(batch, at);
    let text = |at| column::<StringArray>(batch, at);
    let (keys, numbers, arm_numbers) = (column::<Int64Array>(batch, 0)?, int(1)?, int(2)?);
    let (ids, arms, benchmarks, workloads) = (text(3)?, text(4)?, text(5)?, text(6)?);
    let (params, devices, timings, definitions) = (text(7)?, text(8)?, text(9)?, text(10)?);
    let (works, metrics, facts) = (text(11)?, text(13)?, text(17)?);
    let deterministic: &BooleanArray = column(batch, 12)?;
    let (levels, units) = (text(14)?, text(15)?);
    let resolutions: &UInt64Array = column(batch, 16)?;
    for row in 0..batch.num_rows() {
        let owned = |of: &StringArray| of.value(row).to_owned();
        let optional = |of: &'_ StringArray| of.is_valid(row).then(|| of.value(row).to_owned());
        let case = CaseRow {
            case: owned(ids),
            arm: owned(arms),
            benchmark: owned(benchmarks),
            workload: owned(workloads),
            params: known.params.read(params.value(row), parsed)?,
            device: owned(devices),
            timing: known
                .timings
                .read(timings.value(row), |text| named(text.into()))?,
            definition: known
                .definitions
                .read(definitions.value(row), |text| Ok(text.parse()?))?,
            work: known.works.read(works.value(row), parsed)?,
            deterministic: deterministic.value(row),
            bound: bound(optional(levels), optional(units))?,
            clock_resolution_ns: resolutions.is_valid(row).then(|| resolutions.value(row)),
            facts: known.facts.read(facts.value(row), parsed)?,
            metrics: known.metrics.read(metrics.value(row), |text| {
                let mut metrics = vec![Metric::time()];
                metrics.extend(parsed::<Vec<Metric>>(text)?);
                Ok(metrics.into())
            })?,
            rounds: Vec::new(),
        };
        let run = runs.at(keys.value(row))?;
        let place = (run, numbers.value(row), arm_numbers.value(row));
        found.push((place, case.into()));
    }
    Ok(())
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    Ok(serde_json::from_str(text)?)
}

pub(super) fn bound(level: Option<String>, unit: Option<String>) -> Result<Bound, Fault> {
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
    runs: &Places,
    known: &mut Known,
    visits: &mut Vec<Visit>,
) -> Result<(), Fault> {
    let int = |at| column::<Int32Array>(batch, at);
    let text = |at| column::<StringArray>(batch, at);
    let keys: &Int64Array = column(batch, 0)?;
    let (cases, arms, blocks) = (int(1)?, int(2)?, int(3)?);
    let (rounds, attempts, started) = (int(4)?, int(5)?, column::<Int64Array>(batch, 6)?);
    let (statuses, reasons) = (text(7)?, text(8)?);
    let (samples, warmups) = (int(9)?, int(10)?);
    let (steady, stops) = (column::<BooleanArray>(batch, 11)?, text(12)?);
    let (verified, of_inputs, logs) = (text(13)?, text(14)?, text(15)?);
    let disturbed = text(16)?;
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
        let run = runs.at(keys.value(row))?;
        let place = (run, cases.value(row), arms.value(row));
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
