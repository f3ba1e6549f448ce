//! Marks: what people have said of changes, in a file that is reviewed like code.
//!
//! A mark names cases and, for two of its three kinds, where a change happened. It changes no number and hides
//! none: it keeps a known regression from alerting again, and an intended change from being compared with what
//! was before it. A mark that fits nothing, or whose day has passed, is neither applied nor forgotten:
//! [`Marks::complaints`] names it.

use assay_record::{Day, RunId};
use assay_store::{RunRow, SeriesKey};
use serde::{Deserialize, Serialize};

use crate::Verdict;
use crate::series::Point;

/// Version of the file that is read.
pub const MARKS_SCHEMA: u32 = 1;

/// Shortest beginning of a commit that names one, as git shortens them.
const SHORTEST_COMMIT: usize = 7;

/// Most metrics that a complaint lists.
const LISTED: usize = 8;

/// What somebody said of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What it does.
    #[serde(flatten)]
    pub kind: MarkKind,
    /// Id of a case, or the beginning of ids and a `*`.
    pub case: String,
    /// Name of the metric; absent: every metric.
    pub metric: Option<String>,
    /// Why.
    pub reason: String,
}

/// What a mark does, and where or until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MarkKind {
    /// The regression there is known: it does not alert again. What has it is the baseline once there are runs enough.
    Acknowledge {
        /// Commit or id of the first measured run that has the change.
        at: String,
    },
    /// The change there is intended: what was before is no baseline any more.
    Expected {
        /// Commit or id of the first measured run that has the change.
        at: String,
    },
    /// Regressions do not alert for a while.
    Ignore {
        /// The last day on which it holds.
        until: Day,
    },
}

/// A marks file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MarksError {
    /// It is no TOML, or has fields that no mark has.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// It is of another version.
    #[error("field `schema`: expected {MARKS_SCHEMA}, found {found}{}", newer(*.found))]
    Schema {
        /// Its version.
        found: u32,
    },
    /// A field of a mark is wrong.
    #[error("mark {number}: field `{field}` {what}")]
    Field {
        /// Which mark, from 1.
        number: usize,
        /// The field.
        field: &'static str,
        /// What is wrong, and what is expected.
        what: String,
    },
}

fn newer(found: u32) -> &'static str {
    if found > MARKS_SCHEMA {
        "; it was written for a newer assay: use that one"
    } else {
        ""
    }
}

/// The marks of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks(Vec<Mark>);

/// The marks on one metric of one case that are in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InForce<'a>(pub Vec<&'a Mark>);

/// A run as marks name it.
pub trait Place {
    /// Its id.
    fn run(&self) -> &RunId;
    /// Commit of the measured project.
    fn commit(&self) -> Option<&str>;
}

impl Place for &dyn Place {
    fn run(&self) -> &RunId {
        (**self).run()
    }
    fn commit(&self) -> Option<&str> {
        (**self).commit()
    }
}

impl Place for RunRow {
    fn run(&self) -> &RunId {
        &self.run
    }
    fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }
}

impl Place for Point {
    fn run(&self) -> &RunId {
        &self.run
    }
    fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }
}

impl Marks {
    /// Reads the text of a marks file.
    pub fn parse(text: &str) -> Result<Self, MarksError> {
        let Version { schema } = toml::from_str(text)?;
        if schema != MARKS_SCHEMA {
            return Err(MarksError::Schema { found: schema });
        }
        let file: File = toml::from_str(text)?;
        let marks = file.marks.into_iter().zip(1..);
        marks
            .map(|(entry, number)| entry.check(number))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The marks on a metric of a case that are in force on a day.
    pub fn for_case(&self, case: &str, metric: &str, today: Day) -> InForce<'_> {
        let hold = |mark: &&Mark| mark.covers(case, metric) && !mark.is_expired(today);
        InForce(self.0.iter().filter(hold).collect())
    }

    /// What is wrong with marks as things stand, in words: those that fit no series or no run, and those whose day has passed.
    pub fn complaints(&self, series: &[SeriesKey], runs: &[RunRow], today: Day) -> Vec<String> {
        let of_mark = |(mark, number): (&Mark, usize)| {
            let what = mark.complaint(series, runs, today)?;
            Some(format!("mark {number} (`{}`): {what}", mark.case))
        };
        self.0.iter().zip(1..).filter_map(of_mark).collect()
    }
}

impl Mark {
    /// Number of the first of these runs that has the change; `None` if that is none of them, or the mark names none.
    pub fn place(&self, runs: &[impl Place]) -> Option<usize> {
        let at = self.at()?;
        runs.iter().position(|run| {
            run.run().as_str() == at || run.commit().is_some_and(|commit| commit.starts_with(at))
        })
    }

    /// The commit or run that it names.
    pub fn at(&self) -> Option<&str> {
        match &self.kind {
            MarkKind::Acknowledge { at } | MarkKind::Expected { at } => Some(at),
            MarkKind::Ignore { .. } => None,
        }
    }

    fn covers(&self, case: &str, metric: &str) -> bool {
        self.covers_case(case) && self.metric.as_ref().is_none_or(|own| own == metric)
    }

    fn covers_case(&self, case: &str) -> bool {
        match self.case.strip_suffix('*') {
            Some(beginning) => case.starts_with(beginning),
            None => case == self.case,
        }
    }

    fn is_expired(&self, today: Day) -> bool {
        matches!(self.kind, MarkKind::Ignore { until } if until < today)
    }

    fn complaint(&self, series: &[SeriesKey], runs: &[RunRow], today: Day) -> Option<String> {
        if let MarkKind::Ignore { until } = self.kind
            && until < today
        {
            return Some(format!(
                "expired on {until}, and ignores nothing any more; remove it, or set a later `until`"
            ));
        }
        let of_case = series.iter().filter(|key| self.covers_case(&key.case));
        let mut metrics: Vec<&str> = of_case.map(|key| key.metric.as_str()).collect();
        metrics.sort_unstable();
        metrics.dedup();
        if metrics.is_empty() {
            return Some("the database has no such case; `case` is a whole id, or the beginning of one and a `*`".into());
        }
        if let Some(metric) = self.metric.as_deref().filter(|own| !metrics.contains(own)) {
            let listed = metrics[..metrics.len().min(LISTED)].join(", ");
            return Some(format!("it has no metric `{metric}`; it has {listed}"));
        }
        let at = self.at().filter(|_| self.place(runs).is_none())?;
        Some(format!(
            "no run is at `{at}`; name the commit or id of the first measured run with the change, as `assay history` shows it"
        ))
    }
}

impl InForce<'_> {
    /// The runs that may be a baseline, of all runs of a series, oldest first: those from the last expected change on.
    pub fn baseline<'r, P: Place>(&self, runs: &'r [P]) -> &'r [P] {
        let expected = |mark: &&&Mark| matches!(mark.kind, MarkKind::Expected { .. });
        let places = self.0.iter().filter(expected);
        let last = places.filter_map(|mark| mark.place(runs)).max();
        &runs[last.unwrap_or(0)..]
    }

    /// Number of the first of these runs, oldest first, that has the last acknowledged change.
    pub fn acknowledged(&self, runs: &[impl Place]) -> Option<usize> {
        let known = |mark: &&&Mark| matches!(mark.kind, MarkKind::Acknowledge { .. });
        let places = self.0.iter().filter(known);
        places.filter_map(|mark| mark.place(runs)).max()
    }

    /// The mark that keeps a verdict from alerting, if there is one.
    ///
    /// `runs` are those of the series from the oldest of the baseline to the one judged, which is the last. Only a
    /// regression needs an excuse. It is known if it was acknowledged at one of these runs but the first: while the
    /// baseline still reaches back to before that change, the comparison shows it.
    pub fn excuse(&self, verdict: Verdict, runs: &[impl Place]) -> Option<&Mark> {
        let excuses = |mark: &&&Mark| match &mark.kind {
            MarkKind::Ignore { .. } => true,
            MarkKind::Acknowledge { .. } => mark.place(runs).is_some_and(|at| at > 0),
            MarkKind::Expected { .. } => false,
        };
        let found = self.0.iter().find(excuses).copied();
        found.filter(|_| verdict == Verdict::Regressed)
    }
}

/// What a mark says in short, after what it is put: `acknowledged: known since the driver update`.
impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            MarkKind::Acknowledge { .. } => write!(f, "acknowledged: {}", self.reason),
            MarkKind::Expected { .. } => write!(f, "expected: {}", self.reason),
            MarkKind::Ignore { until } => write!(f, "ignored until {until}: {}", self.reason),
        }
    }
}

/// All that is read of a file before its version is known.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "schema")]
    _schema: u32,
    #[serde(default, rename = "mark")]
    marks: Vec<Entry>,
}

/// A mark as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: Kind,
    case: String,
    metric: Option<String>,
    at: Option<String>,
    /// In quotes, or as a date of TOML.
    until: Option<toml::Value>,
    reason: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Acknowledge,
    Expected,
    Ignore,
}

impl Entry {
    fn check(self, number: usize) -> Result<Mark, MarksError> {
        let wrong = |field, what: String| MarksError::Field {
            number,
            field,
            what,
        };
        for (field, text) in [("case", &self.case), ("reason", &self.reason)] {
            if text.trim().is_empty() {
                return Err(wrong(field, "is empty".into()));
            }
        }
        let kind = self.kind().map_err(|(field, what)| wrong(field, what))?;
        Ok(Mark {
            kind,
            case: self.case,
            metric: self.metric,
            reason: self.reason,
        })
    }

    fn kind(&self) -> Result<MarkKind, (&'static str, String)> {
        match (self.kind, &self.at, &self.until) {
            (Kind::Acknowledge, Some(at), None) => Ok(MarkKind::Acknowledge { at: place(at)? }),
            (Kind::Expected, Some(at), None) => Ok(MarkKind::Expected { at: place(at)? }),
            (Kind::Ignore, None, Some(until)) => Ok(MarkKind::Ignore { until: day(until)? }),
            (Kind::Ignore, _, None) => Err((
                "until",
                "is missing: the last day on which it holds, such as \"2026-12-31\"".into(),
            )),
            (Kind::Ignore, Some(_), _) => Err((
                "at",
                "goes with `acknowledge` and `expected`; one that ignores has `until`".into(),
            )),
            (_, None, _) => Err((
                "at",
                "is missing: the commit or id of the first measured run with the change".into(),
            )),
            (_, _, Some(_)) => Err(("until", "goes with `ignore`".into())),
        }
    }
}

/// A run's id, or the beginning of a commit.
fn place(at: &str) -> Result<String, (&'static str, String)> {
    let is_commit = at.len() >= SHORTEST_COMMIT && at.bytes().all(|b| b.is_ascii_hexdigit());
    if is_commit {
        return Ok(at.to_ascii_lowercase());
    }
    let run = at.parse::<RunId>().map(|run| run.to_string());
    run.map_err(|_| {
        let what = format!("is `{at}`: neither {SHORTEST_COMMIT} or more hexadecimal digits of a commit nor the id of a run");
        ("at", what)
    })
}

fn day(until: &toml::Value) -> Result<Day, (&'static str, String)> {
    let text = match until {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.parse().map_err(|what| ("until", format!("is {what}")))
}
