//! One thing that is read at once and gives one value or several, each of which may fail alone.

use std::time::Duration;

use super::monotonic_ns;
use crate::reading::{Gap, Reading};

/// What a reading gives for a channel: a value, none yet (a rate needs two readings), or a gap.
pub(super) type Sampled = Reading<Option<f64>>;

/// A channel that fails this often in a row is given up.
const PATIENCE: u32 = 3;

/// The series of a channel, with a value or a note for it.
pub(super) type News = (usize, Result<f64, String>);

/// Reads all channels of a source, given the time in nanoseconds.
type Reader<'a> = Box<dyn FnMut(u64) -> Vec<Sampled> + 'a>;

/// Something that is read at once.
pub(super) struct Source<'a> {
    pub(super) channels: Vec<Channel>,
    period_ns: u64,
    due_ns: u64,
    reader: Reader<'a>,
}

/// One metric of a source.
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) unit: &'static str,
    /// Place of its series among those collected.
    pub(super) series: usize,
    /// Place of its value in what the reader gives.
    value: usize,
    has_given: bool,
    failures: u32,
    is_noted: bool,
    is_lost: bool,
}

impl<'a> Source<'a> {
    /// A source of several metrics: names and units in the order of the reader's values.
    pub(super) fn several(
        period: Duration,
        metrics: &[(&str, &'static str)],
        reader: impl FnMut(u64) -> Vec<Sampled> + 'a,
    ) -> Self {
        let channel = |(value, (name, unit)): (usize, &(&str, &'static str))| Channel {
            name: (*name).to_owned(),
            unit,
            series: 0,
            value,
            has_given: false,
            failures: 0,
            is_noted: false,
            is_lost: false,
        };
        let channels = metrics.iter().enumerate().map(channel).collect();
        Self {
            channels,
            period_ns: period.as_nanos() as u64,
            due_ns: 0,
            reader: Box::new(reader),
        }
    }

    /// A source of one metric.
    pub(super) fn one(
        name: &str,
        unit: &'static str,
        period: Duration,
        mut reader: impl FnMut() -> Reading<f64> + 'a,
    ) -> Self {
        Self::several(period, &[(name, unit)], move |_| vec![reader().map(Some)])
    }

    /// Whether its period has passed, give or take a tenth.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns + self.period_ns / 10 >= self.due_ns
    }

    /// Reads; gives the time between asking and answer, and for each series that has news a value
    /// or a note. Channels that failed for good are gone afterwards.
    pub(super) fn read(&mut self, now_ns: u64) -> (u64, Vec<News>) {
        self.due_ns = now_ns + self.period_ns;
        let asked_ns = monotonic_ns();
        let values = (self.reader)(asked_ns);
        let at_ns = asked_ns + (monotonic_ns() - asked_ns) / 2;
        let news = |channel: &mut Channel| {
            let missing = Err(Gap::Error("it gave no value".to_owned()));
            let value = values.get(channel.value).cloned().unwrap_or(missing);
            Some((channel.series, channel.judge(value)?))
        };
        let news = self.channels.iter_mut().filter_map(news).collect();
        self.channels.retain(|channel| !channel.is_lost);
        (at_ns, news)
    }
}

impl Channel {
    fn judge(&mut self, sampled: Sampled) -> Option<Result<f64, String>> {
        let gap = match sampled {
            Ok(value) => {
                self.failures = 0;
                self.has_given |= value.is_some();
                return value.map(Ok);
            }
            Err(gap) => gap,
        };
        self.failures += 1;
        self.is_lost = self.failures >= PATIENCE || !matches!(gap, Gap::Error(_));
        // What a machine never offered is no news.
        let is_news = self.has_given || gap != Gap::Unsupported;
        let note =
            (is_news && !self.is_noted).then(|| Err(format!("telemetry `{}`: {gap}", self.name)));
        self.is_noted |= note.is_some();
        note
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Gap, Reading, Source};

    fn play(script: Vec<Reading<f64>>) -> (Vec<Result<f64, String>>, usize) {
        let mut script = script.into_iter();
        let mut source = Source::one("m", "1", Duration::ZERO, move || script.next().unwrap());
        let mut news = Vec::new();
        while !source.channels.is_empty() && news.len() < 4 {
            let before = news.len();
            news.extend(source.read(0).1.into_iter().map(|(_, outcome)| outcome));
            if before == news.len() && source.channels.is_empty() {
                break;
            }
        }
        (news, source.channels.len())
    }

    fn error() -> Reading<f64> {
        Err(Gap::Error("lost".to_owned()))
    }

    #[test]
    fn three_failures_in_a_row_end_a_metric_and_are_noted_once() {
        let (news, left) = play(vec![Ok(1.0), error(), error(), error()]);
        assert_eq!(news, [Ok(1.0), Err("telemetry `m`: lost".to_owned())]);
        assert_eq!(left, 0);
    }

    #[test]
    fn a_single_failure_costs_one_value() {
        let (news, left) = play(vec![Ok(1.0), error(), error(), Ok(2.0), Ok(3.0)]);
        assert_eq!(news.iter().filter(|outcome| outcome.is_ok()).count(), 3);
        assert_eq!(left, 1);
    }

    #[test]
    fn what_was_never_offered_ends_silently() {
        assert_eq!(play(vec![Err(Gap::Unsupported)]), (vec![], 0));
        assert_eq!(play(vec![Err(Gap::Denied)]).0.len(), 1);
    }
}
