//! The values of runs as the series have them: of a run that is not among the newest, what its page tells of its cases.
//!
//! A site of a thousand runs has a million of these, so what is the same for all values of a series is made once.

use assay_protocol::Digest;
use assay_record::RunId;
use assay_stats::Interval;
use assay_store::SeriesKey;
use assay_verdicts::CaseHistory;
use foldhash::{HashMap, HashMapExt as _};

use crate::address;
use crate::pages::part::{self, cell};
use crate::text::escaped;

/// What each run has in which series.
pub struct Values<'a> {
    /// The series, in the order in which a page lists them.
    series: Vec<Listed<'a>>,
    /// Number of each case on an arm.
    cases: HashMap<(&'a str, &'a str), u32>,
    /// Of each run the numbers of series and points.
    of: HashMap<&'a RunId, Vec<(u32, Place)>>,
}

/// A series, and what is the same for each of its values.
struct Listed<'a> {
    history: &'a CaseHistory,
    /// The name in the head of its row in a table, as HTML, and what tells arms apart.
    head: [String; 2],
    /// Number of its case.
    case: u32,
    /// Digest over what a page tells of it.
    digest: Digest,
}

/// Where a series has a value.
#[derive(Clone, Copy)]
enum Place {
    Point(u32),
    Impossible(u32),
}

/// A value of a run.
pub struct Value<'v> {
    /// The series that has it.
    pub history: &'v CaseHistory,
    /// The name in the head of its row in a table of a page in a folder, as HTML, and what tells arms apart.
    pub head: [&'v str; 2],
    /// Number of its case: metrics of one case have one.
    pub case: u32,
    /// The estimate over its rounds.
    pub estimate: &'v Interval,
    /// Why it cannot be; empty where it can.
    pub impossible: &'v str,
}

impl<'a> Values<'a> {
    /// Those of all histories, which are in the order of pages.
    pub fn of(histories: impl Iterator<Item = &'a CaseHistory>) -> Self {
        let mut all = Self {
            series: Vec::new(),
            cases: HashMap::new(),
            of: HashMap::new(),
        };
        for history in histories {
            all.add(history);
        }
        all
    }

    fn add(&mut self, history: &'a CaseHistory) {
        let (series, number) = (&history.series, self.series.len() as u32);
        let next = self.cases.len() as u32;
        let case = (series.key.case.as_str(), series.key.arm.as_str());
        let case = *self.cases.entry(case).or_insert(next);
        let head = head(&series.key);
        self.series.push(Listed {
            digest: Digest::of(format!("{head:?}\n{}", series.metric.unit.symbol())),
            history,
            head,
            case,
        });
        let points = (0..).zip(series.points.iter().map(|point| &point.run));
        for (at, run) in points {
            let own = self.of.entry(run).or_default();
            own.push((number, Place::Point(at)));
        }
        let impossible = (0..).zip(series.impossible.iter().map(|found| &found.run));
        for (at, run) in impossible {
            let own = self.of.entry(run).or_default();
            own.push((number, Place::Impossible(at)));
        }
    }

    /// Those of a run.
    pub fn of_run(&self, run: &RunId) -> impl Iterator<Item = Value<'_>> {
        let own = self.of.get(run).map_or(&[][..], Vec::as_slice);
        own.iter().map(|&(number, place)| {
            let listed = &self.series[number as usize];
            let series = &listed.history.series;
            let (estimate, impossible) = match place {
                Place::Point(at) => (&series.points[at as usize].estimate, ""),
                Place::Impossible(at) => {
                    let found = &series.impossible[at as usize];
                    (&found.estimate, found.why.as_str())
                }
            };
            Value {
                history: listed.history,
                head: listed.head.each_ref().map(String::as_str),
                case: listed.case,
                estimate,
                impossible,
            }
        })
    }

    /// Number of a case on an arm, where a series has it.
    pub fn case(&self, case: &str, arm: &str) -> Option<u32> {
        self.cases.get(&(case, arm)).copied()
    }

    /// Digest over the series that a run has values in: what a page tells of these, but the values.
    pub fn digest(&self, run: &RunId) -> Digest {
        let own = self.of.get(run).map_or(&[][..], Vec::as_slice);
        let mut bytes = Vec::with_capacity(own.len() * 16);
        for (number, _) in own {
            let listed = &self.series[*number as usize];
            bytes.extend_from_slice(&listed.digest.as_bytes()[..16]);
        }
        Digest::of(bytes)
    }
}

/// Case and metric of a series, with a link to its page, and its arm.
fn head(key: &SeriesKey) -> [String; 2] {
    let text = |text: &str| escaped(&cell(text));
    let (href, case) = (address::series(key), text(&key.case));
    let metric = match part::metric(&key.metric) {
        metric if metric.is_empty() => metric,
        metric => format!(" <span class=\"mark\"><bdi>{}</bdi></span>", text(&metric)),
    };
    [
        format!("<a href=\"../{href}\"><bdi>{case}</bdi></a>{metric}"),
        format!(
            " <span class=\"mark\">arm <bdi>{}</bdi></span>",
            text(&key.arm)
        ),
    ]
}
