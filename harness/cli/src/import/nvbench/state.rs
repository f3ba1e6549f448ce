//! One state: a benchmark at one point, on one device, measured in up to three ways.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::{
    DeviceSelector, Direction, Metric, MetricKind, ParamValue, Params, TimingMode, Unit, Work,
};

use super::super::found::{Columns, Measurement, Outcome, Total, nanoseconds};
use super::sidecar::Sidecars;
use super::site::Site;
use super::wire::{State, Typed};

/// How far the mean of samples may lie from the one that the result states: 32-bit floats are far closer.
const MEAN_TOLERANCE: f64 = 1e-4;

/// One way in which NVBench measures.
pub struct Mode {
    /// What its tags begin with.
    prefix: &'static str,
    /// The clock behind its times: `gpu` or `cpu`.
    clock: &'static str,
    timing: TimingMode,
    /// Whether its iterations are timed one by one.
    is_isolated: bool,
}

/// All of them.
pub const MODES: &[Mode] = &[
    Mode {
        prefix: "nv/cold",
        clock: "gpu",
        timing: TimingMode::Cold,
        is_isolated: true,
    },
    Mode {
        prefix: "nv/batch",
        clock: "gpu",
        timing: TimingMode::Hot,
        is_isolated: false,
    },
    Mode {
        prefix: "nv/cpu_only",
        clock: "cpu",
        timing: TimingMode::Host,
        is_isolated: true,
    },
];

impl Mode {
    fn tag(&self, rest: &str) -> String {
        format!("{}/{rest}", self.prefix)
    }

    fn mean(&self) -> String {
        self.tag(&format!("time/{}/mean", self.clock))
    }

    /// Whether a state has anything of it.
    pub fn measured(&self, state: &State) -> bool {
        let has = |tag: &str| !matches!(state.summary(tag), Ok(None));
        has(&self.tag("sample_size")) || has(&self.mean())
    }

    fn is_on_device(&self) -> bool {
        self.clock == "gpu"
    }
}

/// Reads the states of a file.
pub struct Reader<'a> {
    site: &'a Site,
    sidecars: Option<Sidecars>,
    clocks_lost: usize,
}

impl<'a> Reader<'a> {
    /// Without `sidecars` no sample is read.
    pub fn new(site: &'a Site, sidecars: Option<Sidecars>) -> Self {
        Self {
            site,
            sidecars,
            clocks_lost: 0,
        }
    }

    /// What was lost on the way.
    pub fn caveats(&self) -> Vec<String> {
        let lost = (self.clocks_lost > 0).then(|| {
            format!(
                "the SM clock of {} cases could not be read",
                self.clocks_lost
            )
        });
        lost.into_iter().collect()
    }

    /// What a state holds. `usual` is how others of its benchmark were measured.
    pub fn state(
        &mut self,
        benchmark: &str,
        state: &State,
        usual: &[&Mode],
    ) -> Result<Vec<Measurement>> {
        let point = point(state)?;
        let work = work(state)?;
        let measured: Vec<&Mode> = MODES.iter().filter(|mode| mode.measured(state)).collect();
        let modes = match (&measured[..], usual) {
            ([], []) => vec![self.likely(state)],
            ([], usual) => usual.to_vec(),
            // What was skipped half-way was to be measured in the other ways too.
            (_, usual) if state.is_skipped => usual.to_vec(),
            _ => measured,
        };
        let measurement = |mode: &Mode| {
            Ok(Measurement {
                benchmark: benchmark.to_owned(),
                definition: 1,
                point: point.clone(),
                device: self.device(mode, state)?,
                timing: mode.timing,
                work: work.clone(),
                facts: BTreeMap::new(),
                started: None,
                outcome: self.outcome(mode, state)?,
            })
        };
        modes.into_iter().map(measurement).collect()
    }

    /// How a state would have been measured of which nothing is known but its device.
    fn likely(&self, state: &State) -> &'static Mode {
        let is_listed = state.device.is_some_and(|id| self.site.has(id));
        &MODES[if is_listed { 0 } else { 2 }]
    }

    fn device(&self, mode: &Mode, state: &State) -> Result<DeviceSelector> {
        if mode.is_on_device() {
            self.site.selector(state.device)
        } else {
            Ok(DeviceSelector::CPU)
        }
    }

    fn outcome(&mut self, mode: &Mode, state: &State) -> Result<Outcome> {
        if state.is_skipped {
            let reason = state
                .skip_reason
                .as_deref()
                .unwrap_or("NVBench does not say why");
            return Ok(Outcome::Skipped(reason.to_owned()));
        }
        let Some(count) = int(state, &mode.tag("sample_size"), "value")? else {
            ensure!(
                !mode.measured(state),
                "summary `{}` is missing",
                mode.tag("sample_size")
            );
            return Ok(Outcome::Skipped(
                "the file holds no measurement of it".into(),
            ));
        };
        if count == 0 {
            return Ok(Outcome::Failed("NVBench accepted no sample of it".into()));
        }
        let iterations = u64::try_from(count)
            .with_context(|| format!("summary `{}`: {count} samples", mode.tag("sample_size")))?;
        let mean = float(state, &mode.mean())?
            .with_context(|| format!("summary `{}` is missing", mode.mean()))?;
        if let Some(columns) = self.samples(mode, state, iterations, mean)? {
            return Ok(Outcome::Samples(columns));
        }
        let total = total(mode, state, iterations, mean)?;
        Ok(if mode.is_isolated {
            Outcome::Sum(total)
        } else {
            Outcome::Batch(total)
        })
    }

    /// Every sample, where they were kept.
    fn samples(
        &mut self,
        mode: &Mode,
        state: &State,
        count: u64,
        mean: f64,
    ) -> Result<Option<Columns>> {
        let tag = format!("nv/json/bin:{}", mode.tag("sample_times"));
        let Some(sidecars) = &mut self.sidecars else {
            return Ok(None);
        };
        // It is not named where it could not be written.
        let Some((named, declared)) = named(state, &tag)? else {
            return Ok(None);
        };
        let times = sidecars.floats(&named, "-bin", declared)?.with_context(|| {
            format!(
                "no file {named:?} with its samples beside the result: put it there, or import the means alone with --without-samples"
            )
        })?;
        ensure!(
            times.len() as u64 == count,
            "file {named:?} has {} samples, but summary `{}` says {count}",
            times.len(),
            mode.tag("sample_size")
        );
        let ns = whole(&times, &named)?;
        let sum: f64 = times.iter().map(|time| f64::from(*time)).sum();
        let found = sum / times.len() as f64;
        ensure!(
            (found / mean - 1.0).abs() <= MEAN_TOLERANCE,
            "the samples of file {named:?} have the mean {found} s, but summary `{}` says {mean} s: they are of another run",
            mode.mean()
        );
        let metrics = self.clock(mode, state, times.len())?;
        Ok(Some(Columns {
            iterations: 1,
            ns,
            metrics: metrics.into_iter().collect(),
        }))
    }

    /// The SM clock during each sample. Short samples have none that means anything, and one such takes all with it.
    fn clock(
        &mut self,
        mode: &Mode,
        state: &State,
        count: usize,
    ) -> Result<Option<(Metric, Vec<f64>)>> {
        let tag = format!("nv/json/freqs-bin:{}", mode.tag("sample_freqs"));
        let (Some(sidecars), Some((name, declared))) = (&mut self.sidecars, named(state, &tag)?)
        else {
            return Ok(None);
        };
        // Where throttling is not looked for, no clock is read.
        if declared == 0 {
            return Ok(None);
        }
        let Some(clocks) = sidecars.floats(&name, "-freqs-bin", declared)? else {
            self.clocks_lost += 1;
            return Ok(None);
        };
        ensure!(
            clocks.len() == count,
            "file {name:?} has {} frequencies for {count} samples",
            clocks.len()
        );
        if !clocks.iter().all(|hz| hz.is_finite() && *hz > 0.0) {
            self.clocks_lost += 1;
            return Ok(None);
        }
        let metric = Metric::new(
            "sm_clock",
            Unit::Other("MHz".into()),
            Direction::Neutral,
            MetricKind::Sample,
        );
        let mhz = clocks.iter().map(|hz| f64::from(*hz) / 1e6).collect();
        Ok(Some((metric, mhz)))
    }
}

/// Times in whole nanoseconds; the first that is impossible is named.
fn whole(times: &[f32], named: &str) -> Result<Vec<u64>> {
    let all = times.iter().enumerate();
    all.map(|(place, time)| {
        nanoseconds(f64::from(*time)).with_context(|| format!("file {named:?}, sample {place}"))
    })
    .collect()
}

fn total(mode: &Mode, state: &State, iterations: u64, mean: f64) -> Result<Total> {
    let sum = |mean: f64| nanoseconds(mean * iterations as f64);
    let tag = mode.mean();
    ensure!(
        mean > 0.0,
        "summary `{tag}`: {mean} s is no time: expected a positive number"
    );
    let host = if mode.is_isolated && mode.is_on_device() {
        float(state, &mode.tag("time/cpu/mean"))?
    } else {
        None
    };
    Ok(Total {
        iterations,
        ns: sum(mean).with_context(|| format!("summary `{tag}`"))?,
        // Of no weight: where it makes no sense, it is not known.
        host_ns: host.and_then(|mean| sum(mean).ok()),
    })
}

/// Bytes and items of one iteration: of the rates that NVBench reports it divided these by the mean time itself.
fn work(state: &State) -> Result<Work> {
    let mut work = Work::default();
    for mode in MODES.iter().filter(|mode| mode.is_isolated) {
        let Some(mean) = float(state, &mode.mean())? else {
            continue;
        };
        let rate = |rest: &str| float(state, &mode.tag(rest));
        let bytes = amount(rate("bw/global/bytes_per_second")?, mean);
        work.bytes = work.bytes.or(bytes);
        work.items = work.items.or(amount(rate("bw/item_rate")?, mean));
    }
    if work != Work::default() {
        work.formula = "as the benchmark told NVBench: its rates times the mean time".into();
    }
    Ok(work)
}

fn amount(rate: Option<f64>, mean: f64) -> Option<u64> {
    let amount = (rate? * mean).round();
    (amount >= 1.0 && amount < (1_u64 << 53) as f64).then_some(amount as u64)
}

fn point(state: &State) -> Result<Params> {
    let mut point = Params::new();
    for (key, value) in &state.axis_values.0 {
        let name = key.as_ref().or(value.name.as_ref());
        let name = name.context("an entry of `axis_values` has no name")?;
        let read = param(value).with_context(|| format!("axis `{name}`"))?;
        ensure!(
            point.insert(name.clone(), read).is_none(),
            "axis `{name}` has two values"
        );
    }
    Ok(point)
}

fn param(value: &Typed) -> Result<ParamValue> {
    Ok(match value.kind.as_str() {
        "int64" => {
            let int = value.int()?;
            let is_exact = int.unsigned_abs() <= ParamValue::MAX_INT.unsigned_abs();
            if is_exact {
                ParamValue::Int(int)
            } else {
                ParamValue::Text(int.to_string())
            }
        }
        "float64" => {
            let float = value.float()?;
            if float.is_finite() {
                ParamValue::Float(float)
            } else {
                ParamValue::Text(float.to_string())
            }
        }
        "string" => ParamValue::Text(value.text()?.to_owned()),
        other => bail!(
            "its type is {:?}; expected int64, float64 or string",
            other.chars().take(40).collect::<String>()
        ),
    })
}

/// The file that a summary names, and how many numbers it declares; `None` where it names none.
fn named(state: &State, tag: &str) -> Result<Option<(String, i64)>> {
    let Some(file) = state.value(tag, "filename")? else {
        return Ok(None);
    };
    let name = file
        .text()
        .with_context(|| format!("summary `{tag}`, field `filename`"))?;
    let size = int(state, tag, "size")?;
    let size = size.with_context(|| format!("summary `{tag}`: field `size` is missing"))?;
    Ok(Some((name.to_owned(), size)))
}

fn int(state: &State, tag: &str, field: &str) -> Result<Option<i64>> {
    let value = state.value(tag, field)?;
    let int = value.map(|value| value.int()).transpose();
    int.with_context(|| format!("summary `{tag}`, field `{field}`"))
}

fn float(state: &State, tag: &str) -> Result<Option<f64>> {
    let value = state.value(tag, "value")?;
    let float = value.map(|value| value.float()).transpose();
    float.with_context(|| format!("summary `{tag}`, field `value`"))
}
