//! The results of a file: for each benchmark a row of columns, in which most are lists over its parameters.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::{
    DeviceSelector, Digest, Direction, Metric, MetricKind, ParamValue, Params, TimingMode, Work,
};
use assay_record::Timestamp;
use assay_record::validate::MAX_CASES;

use super::super::found::{Columns, Measurement, Outcome, Total, nanoseconds, plain};
use super::folder::{Benchmark, Kind, clipped};
use super::javascript_time;
use super::json::Json;

/// Most samples of one benchmark at one point.
const MAX_SAMPLES: usize = 1_000_000;
/// A time of unknown iterations is kept as that of so many that it has this many nanoseconds: six digits of it.
const DIGITS_NS: f64 = 1e6;

/// All results of a file.
#[derive(Default)]
pub struct Read {
    pub measurements: Vec<Measurement>,
    /// When the first and the last began.
    pub measured: Option<(Timestamp, Timestamp)>,
    /// How many benchmarks are not known any more.
    pub unknown: usize,
}

/// Reads field `results`.
pub fn read(said: &Json, known: &HashMap<String, Benchmark>, with_samples: bool) -> Result<Read> {
    let columns = said.field("result_columns", Json::list)?;
    let columns: Vec<&str> = columns
        .iter()
        .map(Json::text)
        .collect::<Result<_>>()
        .context("field `result_columns`")?;
    let mut all = Read::default();
    for (name, row) in said.field("results", Json::map)? {
        let likely;
        let benchmark = if let Some(benchmark) = known.get(name) {
            benchmark
        } else {
            all.unknown += 1;
            likely = Benchmark::by_name(name);
            &likely
        };
        let read = row.list().and_then(|cells| {
            let row = Row {
                columns: &columns,
                cells,
            };
            row.read(name, benchmark, with_samples, &mut all)
        });
        read.with_context(|| format!("benchmark `{}`", clipped(name)))?;
    }
    Ok(all)
}

/// The row of a benchmark. Columns at its end that would be null are left out.
struct Row<'a> {
    columns: &'a [&'a str],
    cells: &'a [Json],
}

impl<'a> Row<'a> {
    fn cell(&self, column: &str) -> Option<&'a Json> {
        let at = self.columns.iter().position(|name| *name == column)?;
        self.cells.get(at).filter(|cell| **cell != Json::Null)
    }

    /// A list over the parameters; `None` where it is null.
    fn list(&self, column: &str, count: usize) -> Result<Option<&'a [Json]>> {
        let Some(cell) = self.cell(column) else {
            return Ok(None);
        };
        let read = || {
            let list = cell.list()?;
            ensure!(
                list.len() == count,
                "{} values for {count} combinations of parameters",
                list.len()
            );
            Ok(list)
        };
        read()
            .map(Some)
            .with_context(|| format!("column `{column}`"))
    }

    fn read(
        &self,
        name: &str,
        benchmark: &Benchmark,
        with_samples: bool,
        all: &mut Read,
    ) -> Result<()> {
        plain("results", name, 200)?;
        let points = points(self.cell("params"), &benchmark.param_names)?;
        ensure!(
            all.measurements.len() + points.len() <= MAX_CASES,
            "more than {MAX_CASES} results in one file"
        );
        let count = points.len();
        let started = self.started()?;
        if let Some(at) = started {
            let (first, last) = all.measured.unwrap_or((at, at));
            all.measured = Some((first.min(at), last.max(at)));
        }
        let version = self.cell("version").map(Json::text).transpose();
        let version = version.context("column `version`")?;
        let version = version.or(benchmark.version.as_deref());
        let values = Values {
            kind: benchmark.kind,
            metric: metric(benchmark),
            results: self.list("result", count)?,
            samples: self.list("samples", count)?.filter(|_| with_samples),
            number: self.list("stats_number", count)?,
            repeat: self.list("stats_repeat", count)?,
            interval: [
                self.list("stats_ci_99_a", count)?,
                self.list("stats_ci_99_b", count)?,
            ],
            quartiles: [
                self.list("stats_q_25", count)?,
                self.list("stats_q_75", count)?,
            ],
        };
        let duration = self.cell("duration").map(Json::number).transpose();
        let duration = duration.context("column `duration`")?;
        let definition = definition(version);
        for (at, point) in points.into_iter().enumerate() {
            let outcome = values.outcome(at);
            all.measurements.push(Measurement {
                benchmark: name.to_owned(),
                definition,
                outcome: outcome.with_context(|| format!("result {at}"))?,
                facts: values.facts(at, duration),
                point,
                device: DeviceSelector::CPU,
                timing: TimingMode::Hot,
                work: Work::default(),
                started,
            });
        }
        Ok(())
    }

    fn started(&self) -> Result<Option<Timestamp>> {
        let started = self.cell("started_at").map(javascript_time).transpose();
        started.context("column `started_at`")
    }
}

/// A number for a version, which is any text: results of two versions are two series.
fn definition(version: Option<&str>) -> u32 {
    let Some(version) = version else {
        return 1;
    };
    let digest = Digest::of(version);
    let bytes = digest.as_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// What is not a time is a value of the case. That less is better is what asv takes for granted of every benchmark.
fn metric(benchmark: &Benchmark) -> Metric {
    let name = match benchmark.kind {
        Kind::Time => Metric::TIME,
        Kind::Memory => "memory",
        Kind::PeakMemory => "peak_memory",
        Kind::Track => "value",
    };
    Metric::new(
        name,
        benchmark.unit.clone(),
        Direction::Lower,
        MetricKind::Case,
    )
}

/// What is known at each point, column by column.
struct Values<'a> {
    kind: Kind,
    metric: Metric,
    results: Option<&'a [Json]>,
    samples: Option<&'a [Json]>,
    number: Option<&'a [Json]>,
    repeat: Option<&'a [Json]>,
    interval: [Option<&'a [Json]>; 2],
    quartiles: [Option<&'a [Json]>; 2],
}

impl Values<'_> {
    fn outcome(&self, at: usize) -> Result<Outcome> {
        let Some(result) = some(self.results, at) else {
            return Ok(Outcome::Failed(
                "asv says that it failed, and not why".into(),
            ));
        };
        let value = result.number().context("column `result`")?;
        if value.is_nan() {
            return Ok(Outcome::Skipped("the benchmark skipped itself".into()));
        }
        if self.kind != Kind::Time {
            ensure!(value.is_finite(), "column `result`: {value} is no value");
            return Ok(Outcome::Value(self.metric.clone(), value));
        }
        if value == 0.0 {
            return Ok(Outcome::Failed(
                "asv measured 0 s, less than its clock can tell".into(),
            ));
        }
        let number = whole(self.number, at).context("column `stats_number`")?;
        if let Some(samples) = some(self.samples, at) {
            let samples = samples.list().and_then(|all| columns(all, number));
            if let Some(columns) = samples.context("column `samples`")? {
                return Ok(Outcome::Samples(columns));
            }
        }
        let repeat = whole(self.repeat, at).context("column `stats_repeat`")?;
        let known = number.zip(repeat);
        let known = known.and_then(|(number, repeat)| number.checked_mul(repeat));
        let iterations = known.unwrap_or_else(|| iterations(value));
        let ns = nanoseconds(value * iterations as f64).context("column `result`")?;
        Ok(Outcome::Sum(Total {
            iterations,
            ns,
            host_ns: None,
        }))
    }

    /// What asv found out about the spread, for a reader: it is no part of any verdict.
    fn facts(&self, at: usize, duration: Option<f64>) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::new();
        let pair = |[low, high]: [Option<&[Json]>; 2]| {
            let [low, high] = [low, high].map(|list| some(list, at)?.number().ok());
            Some(format!("{:e} to {:e} s", rounded(low?), rounded(high?)))
        };
        let whole = |list| whole(list, at).ok().flatten();
        let counts = whole(self.repeat).zip(whole(self.number));
        let counts = counts.map(|(repeat, number)| format!("{repeat} of {number} iterations"));
        let said = [
            ("asv.ci_99", pair(self.interval)),
            ("asv.quartiles", pair(self.quartiles)),
            ("asv.samples", counts),
            (
                "asv.duration",
                duration.map(|seconds| format!("{seconds} s")),
            ),
        ];
        facts.extend(
            said.into_iter()
                .filter_map(|(name, text)| Some((name.to_owned(), text?))),
        );
        facts
    }
}

/// To five digits, of which asv's spread deserves fewer.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

fn some(list: Option<&[Json]>, at: usize) -> Option<&Json> {
    list?.get(at).filter(|value| **value != Json::Null)
}

/// A count; `None` where there is none.
fn whole(list: Option<&[Json]>, at: usize) -> Result<Option<u64>> {
    let Some(value) = some(list, at) else {
        return Ok(None);
    };
    let number = value.number()?;
    let is_count = (1.0..9e15).contains(&number) && number.fract() == 0.0;
    ensure!(is_count, "{number} is no count");
    Ok(Some(number as u64))
}

/// So many iterations that a time in seconds keeps its digits in nanoseconds.
fn iterations(seconds: f64) -> u64 {
    let missing = DIGITS_NS / (seconds.abs() * 1e9).max(1e-3);
    10_u64.pow(missing.log10().ceil().clamp(0.0, 9.0) as u32)
}

/// Samples as they were taken; `None` of none, or where the clock did not move.
fn columns(samples: &[Json], number: Option<u64>) -> Result<Option<Columns>> {
    ensure!(
        samples.len() <= MAX_SAMPLES,
        "{} samples; at most {MAX_SAMPLES}",
        samples.len()
    );
    let seconds: Vec<f64> = samples.iter().map(Json::number).collect::<Result<_>>()?;
    if seconds.is_empty() || seconds.contains(&0.0) {
        return Ok(None);
    }
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let iterations = number.unwrap_or_else(|| iterations(least));
    let total = |(at, seconds): (usize, &f64)| {
        let ns = nanoseconds(seconds * iterations as f64);
        ns.with_context(|| format!("sample {at}"))
    };
    let ns = seconds
        .iter()
        .enumerate()
        .map(total)
        .collect::<Result<_>>()?;
    Ok(Some(Columns {
        iterations,
        ns,
        metrics: Vec::new(),
    }))
}

/// Every combination of the parameters' values, the last varying fastest, as Python's `itertools.product` has them.
fn points(params: Option<&Json>, names: &[String]) -> Result<Vec<Params>> {
    let lists = params.map_or(Ok(&[][..]), Json::list);
    let lists = lists.context("column `params`")?;
    let mut points = vec![Params::new()];
    for (place, list) in lists.iter().enumerate() {
        let values = values(list).with_context(|| format!("column `params`, list {place}"))?;
        let count = points.len().checked_mul(values.len());
        ensure!(
            count.is_some_and(|count| count <= MAX_CASES),
            "column `params`: more than {MAX_CASES} combinations"
        );
        // asv calls those so that have no name.
        let name = names.get(place).cloned();
        let name = name.unwrap_or_else(|| format!("param{}", place + 1));
        let with = |point: &Params| {
            values
                .iter()
                .map(|value| {
                    let mut next = point.clone();
                    next.insert(name.clone(), value.clone());
                    next
                })
                .collect::<Vec<_>>()
        };
        points = points.iter().flat_map(with).collect();
    }
    Ok(points)
}

/// Values of a parameter, which are there as Python writes them (`repr`). Where two would look the same, as they are.
fn values(list: &Json) -> Result<Vec<ParamValue>> {
    let mut texts = Vec::new();
    for text in list.list()? {
        texts.push(match text {
            Json::Text(text) => plain("params", text, 10_000)?.to_owned(),
            Json::Number(number) => number.to_string(),
            other => bail!("expected text, not {other}"),
        });
    }
    let values: Vec<ParamValue> = texts.iter().map(|text| value(text)).collect();
    let mut shown: Vec<String> = values.iter().map(ParamValue::to_string).collect();
    shown.sort_unstable();
    shown.dedup();
    if shown.len() == values.len() {
        return Ok(values);
    }
    Ok(texts.into_iter().map(ParamValue::Text).collect())
}

/// A number, a truth value or plain text, if that is what Python wrote.
fn value(repr: &str) -> ParamValue {
    let is_number = repr.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let int = repr.parse::<i64>().ok();
    if let Some(int) =
        int.filter(|int| is_number && int.unsigned_abs() <= ParamValue::MAX_INT as u64)
    {
        return ParamValue::Int(int);
    }
    let float = repr.parse::<f64>().ok();
    if let Some(float) = float.filter(|float| is_number && float.is_finite() && float.abs() < 1e15)
    {
        return ParamValue::Float(float);
    }
    let inner = |quote: char| repr.strip_prefix(quote)?.strip_suffix(quote);
    let plain = |text: &&str| !text.contains(['\\', '\'', '"']);
    match (repr, inner('\'').or_else(|| inner('"')).filter(plain)) {
        ("True", _) => ParamValue::Bool(true),
        ("False", _) => ParamValue::Bool(false),
        (_, Some(text)) => ParamValue::Text(text.to_owned()),
        _ => ParamValue::Text(repr.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::ParamValue;
    use proptest::prelude::*;

    use super::{Json, iterations, points, value, values};

    fn texts(list: &[&str]) -> Json {
        Json::List(list.iter().map(|text| Json::Text((*text).into())).collect())
    }

    #[test]
    fn asv_values_are_what_python_wrote() {
        for (repr, expected) in [
            ("10", ParamValue::Int(10)),
            ("-0.5", ParamValue::Float(-0.5)),
            ("1e-05", ParamValue::Float(1e-5)),
            ("True", ParamValue::Bool(true)),
            ("'a b'", ParamValue::Text("a b".into())),
            ("\"it's\"", ParamValue::Text("\"it's\"".into())),
            ("nan", ParamValue::Text("nan".into())),
            (
                "10000000000000000000000",
                ParamValue::Text("10000000000000000000000".into()),
            ),
            ("<class 'x'>", ParamValue::Text("<class 'x'>".into())),
        ] {
            assert_eq!(value(repr), expected, "{repr}");
        }
        // Two that would look the same stay apart.
        assert_eq!(
            values(&texts(&["1", "'1'"])).unwrap(),
            [ParamValue::Text("1".into()), ParamValue::Text("'1'".into())]
        );
    }

    #[test]
    fn asv_points_vary_in_the_last_parameter_first() {
        let lists = Json::List(vec![texts(&["1", "2"]), texts(&["'a'", "'b'"])]);
        let all = points(Some(&lists), &["n".into()]).unwrap();
        let shown: Vec<String> = all
            .iter()
            .map(|point| format!("{}{}", point["n"], point["param2"]))
            .collect();
        assert_eq!(shown, ["1a", "1b", "2a", "2b"]);
        assert_eq!(points(None, &[]).unwrap().len(), 1);
        let many = Json::List(vec![texts(&["1"; 300]); 3]);
        assert!(points(Some(&many), &[]).is_err());
    }

    proptest! {
        #[test]
        fn asv_times_keep_their_digits(exponent in -9.0..3.0_f64) {
            let seconds = 10_f64.powf(exponent);
            let n = iterations(seconds) as f64;
            let back = (seconds * n * 1e9).round() / 1e9 / n;
            prop_assert!((back / seconds - 1.0).abs() < 1e-6, "{} {}", seconds, back);
        }
    }
}
