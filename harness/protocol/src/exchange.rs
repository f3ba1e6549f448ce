//! The rules by which a reply is judged, one line at a time: what the harness enforces on every
//! worker, and what `assay worker-check` explains.
//!
//! Pure: the caller reads lines, bounded by [`crate::MAX_LINE_BYTES`], and feeds them in.

use std::collections::BTreeMap;

use crate::message::{Line, Reply, Request, Sample};
use crate::metric::{Metric, MetricKind};
use crate::{MAX_LINE_BYTES, MAX_METRICS, MAX_REPLY_BYTES, MAX_REPLY_LINES, PROTOCOL_VERSION};

/// What a worker got wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Fault {
    #[error("a line is longer than {MAX_LINE_BYTES} bytes")]
    LineTooLong,
    #[error("a reply has more than {MAX_REPLY_LINES} lines or {MAX_REPLY_BYTES} bytes")]
    ReplyTooLong,
    #[error("not a protocol line: {error}; the line begins {line:?}")]
    NotALine { error: String, line: String },
    #[error("speaks protocol version {0}; this harness speaks {PROTOCOL_VERSION}")]
    Version(u32),
    #[error("answered `{request}` with a `{kind}` line")]
    Unexpected {
        request: &'static str,
        kind: &'static str,
    },
    #[error("output ended before the reply to `{0}` did")]
    Truncated(&'static str),
    #[error("more samples than the {0} that were asked for")]
    TooManySamples(u32),
    #[error("said it sent {said} samples, but sent {sent}")]
    WrongCount { said: u32, sent: u32 },
    #[error("a chunk without any sample")]
    NoSamples,
    #[error("sample {0} has zero iterations")]
    ZeroIterations(u32),
    #[error("sample {0} took zero time")]
    ZeroTime(u32),
    #[error("sample {0} differs from those before it in whether it has a device time")]
    MixedDeviceTime(u32),
    #[error("sample {0} has a time that no clock shows (past 2^63 ns)")]
    AbsurdTime(u32),
    #[error(
        "the clock went back: sample {sample} starts at {start_ns} ns, before {earlier_ns} ns, the end of what came before it"
    )]
    ClockWentBack {
        sample: u32,
        start_ns: u64,
        earlier_ns: u64,
    },
    #[error("a sample ends in the future: `start_ns` is no CLOCK_MONOTONIC of this machine")]
    InFuture,
    #[error("metric `{0}` was declared, but its value is missing")]
    MissingValue(String),
    #[error("a value for `{0}`, which was not declared")]
    UndeclaredValue(String),
    #[error("two metrics are called `{0}`, or one is called `time`")]
    DuplicateMetric(String),
    #[error("more than {MAX_METRICS} metrics")]
    TooManyMetrics,
    #[error("`{0}` is no name of a metric: up to 64 letters, digits and any of _-./")]
    MetricName(String),
}

/// What one line of a reply means.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A sample; more lines follow.
    Sample(Sample),
    /// A sign of life; more lines follow.
    Progress(String),
    /// The reply has ended with this line.
    Done(Reply),
}

/// One request and the state of its reply.
#[derive(Debug)]
pub struct Exchange<'a> {
    request: &'a Request,
    metrics: &'a [Metric],
    lines: usize,
    bytes: usize,
    samples: u32,
    has_device_time: bool,
    earlier_ns: u64,
}

impl<'a> Exchange<'a> {
    /// Begins the reply to `request`. `metrics` are those declared by `prepare`; `earlier_ns` is the end of the
    /// last sample of the case, or 0: no sample may start before it.
    pub fn new(request: &'a Request, metrics: &'a [Metric], earlier_ns: u64) -> Self {
        Self {
            request,
            metrics,
            lines: 0,
            bytes: 0,
            samples: 0,
            has_device_time: false,
            earlier_ns,
        }
    }

    /// End of the last sample seen, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn last_end_ns(&self) -> u64 {
        self.earlier_ns
    }

    /// Judges the next line, given without its newline.
    pub fn accept(&mut self, line: &[u8]) -> Result<Step, Fault> {
        self.lines += 1;
        self.bytes += line.len();
        if self.lines > MAX_REPLY_LINES || self.bytes > MAX_REPLY_BYTES {
            return Err(Fault::ReplyTooLong);
        }
        if line.len() > MAX_LINE_BYTES {
            return Err(Fault::LineTooLong);
        }
        match parse_sample(line).map_or_else(|| parse(line), Ok)? {
            Reply::Sample(sample) if matches!(self.request, Request::Sample(_)) => {
                self.check_sample(&sample)?;
                Ok(Step::Sample(sample))
            }
            Reply::Progress { message } => Ok(Step::Progress(message)),
            end => {
                self.check_end(&end)?;
                Ok(Step::Done(end))
            }
        }
    }

    /// The worker's output ended; that is a fault, since the reply had not.
    pub fn truncated(&self) -> Fault {
        Fault::Truncated(self.request.name())
    }

    fn check_sample(&mut self, sample: &Sample) -> Result<(), Fault> {
        let Request::Sample(asked) = self.request else {
            unreachable!("only called for sample requests")
        };
        if self.samples == asked.max_samples {
            return Err(Fault::TooManySamples(asked.max_samples));
        }
        let index = self.samples;
        self.samples += 1;
        if sample.iterations == 0 {
            return Err(Fault::ZeroIterations(index));
        }
        if sample.host_ns == 0 || sample.device_ns == Some(0) {
            return Err(Fault::ZeroTime(index));
        }
        let clock_end = sample
            .start_ns
            .checked_add(sample.host_ns.max(sample.device_ns.unwrap_or(0)));
        if clock_end.is_none_or(|end| i64::try_from(end).is_err())
            || i64::try_from(sample.iterations).is_err()
        {
            return Err(Fault::AbsurdTime(index));
        }
        if index > 0 && self.has_device_time != sample.device_ns.is_some() {
            return Err(Fault::MixedDeviceTime(index));
        }
        self.has_device_time = sample.device_ns.is_some();
        if sample.start_ns < self.earlier_ns {
            return Err(Fault::ClockWentBack {
                sample: index,
                start_ns: sample.start_ns,
                earlier_ns: self.earlier_ns,
            });
        }
        self.earlier_ns = sample.start_ns.saturating_add(sample.host_ns);
        check_values(self.metrics, MetricKind::Sample, &sample.values)
    }

    fn check_end(&self, end: &Reply) -> Result<(), Fault> {
        match (self.request, end) {
            (Request::Hello { .. }, Reply::Hello(hello)) if hello.protocol != PROTOCOL_VERSION => {
                Err(Fault::Version(hello.protocol))
            }
            (Request::Prepare { .. }, Reply::Prepared(prepared)) => {
                check_metrics(&prepared.metrics)
            }
            (Request::Sample(_), Reply::Sampled { samples }) if *samples != self.samples => {
                Err(Fault::WrongCount {
                    said: *samples,
                    sent: self.samples,
                })
            }
            (Request::Sample(_), Reply::Sampled { samples: 0 }) => Err(Fault::NoSamples),
            (Request::Teardown, Reply::TornDown { values }) => {
                check_values(self.metrics, MetricKind::Case, values)
            }
            (_, Reply::Skipped { .. } | Reply::Failed { .. })
            | (Request::Hello { .. }, Reply::Hello(_))
            | (Request::Sample(_), Reply::Sampled { .. })
            | (Request::Verify, Reply::Verified(_)) => Ok(()),
            (request, reply) => Err(Fault::Unexpected {
                request: request.name(),
                kind: reply.kind(),
            }),
        }
    }
}

/// A sample's line, flat: nearly all lines are of this kind, and the general form takes ten times as long.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleLine<'a> {
    v: u32,
    kind: &'a str,
    start_ns: u64,
    iterations: u64,
    host_ns: u64,
    #[serde(default)]
    device_ns: Option<u64>,
    #[serde(default)]
    values: BTreeMap<String, f64>,
}

/// The line as a sample; `None` where it is none, or a wrong one: the general form says what is wrong.
fn parse_sample(line: &[u8]) -> Option<Reply> {
    let line: SampleLine<'_> = serde_json::from_slice(line).ok()?;
    if line.v != PROTOCOL_VERSION || line.kind != "sample" {
        return None;
    }
    Some(Reply::Sample(Sample {
        start_ns: line.start_ns,
        iterations: line.iterations,
        host_ns: line.host_ns,
        device_ns: line.device_ns,
        values: line.values,
    }))
}

#[derive(serde::Deserialize)]
struct Version {
    v: u32,
}

fn parse(line: &[u8]) -> Result<Reply, Fault> {
    let not_a_line = |error: String| Fault::NotALine {
        error,
        line: excerpt(line),
    };
    // The version first: a newer worker's line need not parse as ours.
    let Version { v } = serde_json::from_slice(line).map_err(|e| not_a_line(e.to_string()))?;
    if v != PROTOCOL_VERSION {
        return Err(Fault::Version(v));
    }
    let line: Line = serde_json::from_slice(line).map_err(|e| not_a_line(e.to_string()))?;
    Ok(line.reply)
}

fn excerpt(line: &[u8]) -> String {
    const SHOWN: usize = 120;
    String::from_utf8_lossy(&line[..line.len().min(SHOWN)]).into_owned()
}

fn check_metrics(metrics: &[Metric]) -> Result<(), Fault> {
    if metrics.len() > MAX_METRICS {
        return Err(Fault::TooManyMetrics);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let is_name = |name: &str| (1..=64).contains(&name.len()) && name.chars().all(plain);
    if let Some(metric) = metrics.iter().find(|metric| !is_name(&metric.name)) {
        return Err(Fault::MetricName(metric.name.chars().take(64).collect()));
    }
    for (index, metric) in metrics.iter().enumerate() {
        let again = metrics[..index]
            .iter()
            .any(|earlier| earlier.name == metric.name);
        if again || metric.name == Metric::TIME {
            return Err(Fault::DuplicateMetric(metric.name.clone()));
        }
    }
    Ok(())
}

fn check_values(
    metrics: &[Metric],
    kind: MetricKind,
    values: &BTreeMap<String, f64>,
) -> Result<(), Fault> {
    let declared = |name: &str| metrics.iter().any(|m| m.kind == kind && m.name == name);
    if let Some(name) = values.keys().find(|name| !declared(name)) {
        return Err(Fault::UndeclaredValue(name.clone()));
    }
    match lacking(metrics, kind, values).next() {
        // A case may have come to nothing of the kind: a quality that was never reached has no time.
        Some(name) if kind == MetricKind::Sample => Err(Fault::MissingValue(name.to_owned())),
        _ => Ok(()),
    }
}

/// Metrics of this kind that were declared and have no value.
pub fn lacking<'a>(
    metrics: &'a [Metric],
    kind: MetricKind,
    values: &BTreeMap<String, f64>,
) -> impl Iterator<Item = &'a str> {
    let of_kind = metrics.iter().filter(move |m| m.kind == kind);
    let names = of_kind.map(|m| m.name.as_str());
    names.filter(|name| !values.contains_key(*name))
}

impl Request {
    /// Its name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Prepare { .. } => "prepare",
            Self::Sample(_) => "sample",
            Self::Verify => "verify",
            Self::Teardown => "teardown",
        }
    }
}

impl Reply {
    /// Its kind on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sample(_) => "sample",
            Self::Progress { .. } => "progress",
            Self::Hello(_) => "hello",
            Self::Prepared(_) => "prepared",
            Self::Sampled { .. } => "sampled",
            Self::Verified(_) => "verified",
            Self::TornDown { .. } => "torn_down",
            Self::Skipped { .. } => "skipped",
            Self::Failed { .. } => "failed",
        }
    }
}

#[cfg(test)]
mod tests;
