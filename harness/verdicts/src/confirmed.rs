//! Regressions that new rounds confirmed: what was told once is remembered until it is mended or accepted.
//!
//! A regression that nobody mends gets into the baseline, and after some nights a gate finds the new level as usual. That makes it no
//! better. So what was confirmed stands until the level of its series is back, a mark accepts it, or another definition of the
//! case begins another series. Nothing of this is stored, and no baseline changes by it: it follows from the records, which hold the
//! rounds that confirmed it, by the same gate as on that night.

use assay_record::{RunId, Timestamp};
use assay_stats::Interval;
use assay_store::RunRow;
use serde::{Deserialize, Serialize};

use crate::onset::{Levels, Onset, logs};
use crate::{CaseComparison, CaseHistory, Gate, Mark, MarkKind, Verdict};

/// Newest runs by most of which it is judged whether a level is back: one quiet night alone shows little.
const RETURN_RUNS: usize = 3;

/// A regression that new rounds confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The night that showed it.
    pub night: RunId,
    /// When that started.
    pub started: Timestamp,
    /// Name of the suite.
    pub suite: String,
    /// Name of the machine.
    pub machine: String,
    /// Name of the arm.
    pub arm: String,
    /// What was said of it then.
    pub case: CaseComparison,
    /// What it was compared with at first: the runs of the window, from where the level of the case changed last.
    pub baseline: Vec<RunId>,
    /// The run of the window that the rounds were run beside; absent where there were none beside them.
    pub reference: Option<RunId>,
    /// Whether most cases of its suite moved together on that night.
    pub is_common: bool,
    /// Whether the gate says so only without the marks that there are now: then it is remembered as accepted, and stands no more.
    #[serde(default)]
    pub is_excused: bool,
    /// The earlier night that told of a shift of the whole suite which this belongs to: then it stands like any other, and is no news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<RunId>,
}

impl Confirmed {
    /// What a gate says was confirmed, and no mark excuses.
    pub fn all(gate: &Gate, night: &RunRow) -> Vec<Self> {
        let Some(confirmation) = &gate.confirmation else {
            return Vec::new();
        };
        let comparison = &gate.comparison;
        let is_meant = |case: &&CaseComparison| {
            let is_called = case.verdict == Verdict::Regressed && case.trouble.is_none();
            // Without a ratio from before there were no new rounds of it.
            is_called && case.mark.is_none() && case.at_first.is_some()
        };
        let cases = comparison.cases.iter().filter(is_meant);
        let one = |case: &CaseComparison| Self {
            night: night.run.clone(),
            started: night.started,
            suite: night.suite.clone(),
            machine: night.machine.clone(),
            arm: comparison.candidate.arm.clone(),
            case: case.clone(),
            baseline: comparison.baseline_of(case).to_vec(),
            reference: confirmation
                .reference
                .as_ref()
                .map(|found| found.run.clone()),
            is_common: comparison.suite.common_shift.is_some(),
            is_excused: false,
            part_of: None,
        };
        cases.map(one).collect()
    }

    /// What `all` says of a night by its marks, and what it would say without any: that was accepted since.
    pub fn with_excused(gate: &Gate, without_marks: &Gate, night: &RunRow) -> Vec<Self> {
        let mut all = Self::all(gate, night);
        let is_known = |one: &Self| {
            let name = |found: &Self| (found.case.case.clone(), found.case.metric.name.clone());
            all.iter().any(|known| name(known) == name(one))
        };
        let excused = Self::all(without_marks, night).into_iter();
        let excused: Vec<Self> = excused
            .filter(|one| !is_known(one))
            .map(|one| Self {
                is_excused: true,
                ..one
            })
            .collect();
        all.extend(excused);
        all
    }

    /// Whether it is a regression of this series.
    pub fn is_of(&self, history: &CaseHistory) -> bool {
        let key = &history.series.key;
        let has_night = || {
            let mut points = history.series.points.iter();
            points.any(|point| point.run == self.night)
        };
        self.is_at(history)
            && (&key.case, &key.metric) == (&self.case.case, &self.case.metric.name)
            && has_night()
    }

    /// The night since which it has been known.
    pub fn since(&self) -> &RunId {
        self.part_of.as_ref().unwrap_or(&self.night)
    }

    /// Whether it is of the place of this series.
    fn is_at(&self, history: &CaseHistory) -> bool {
        let key = &history.series.key;
        (&key.suite, &key.machine, &key.arm) == (&self.suite, &self.machine, &self.arm)
    }

    /// Where it began, as far as its series shows.
    pub fn onset(&self, history: &CaseHistory) -> Option<Onset> {
        Onset::of(&history.series, &self.baseline, &self.night)
    }

    /// The last run before it and the first with it, by its onset. Where the series does not tell, one that surely had the old level, which is
    /// the run that new rounds were run beside or the first of the baseline, whose later runs may have had it already; and its night.
    pub fn ends<'a>(&'a self, onset: Option<&'a Onset>) -> [Option<&'a RunId>; 2] {
        match onset {
            Some(onset) => [Some(&onset.last_before.run), Some(&onset.first_after.run)],
            None => [
                self.reference.as_ref().or(self.baseline.first()),
                Some(&self.night),
            ],
        }
    }

    /// Whether it still stands in its series: no mark accepts it, and the newest runs are nearer to the level of that night than to
    /// the one before.
    pub fn stands(&self, history: &CaseHistory) -> bool {
        !self.is_back(history).unwrap_or(false) && !self.is_accepted(history)
    }

    /// Whether what is called on a later night is no more than this: the level had not come back before that night, and by the ends of
    /// both intervals nearest to each other the night is not surely beyond what was confirmed. `None` where levels cannot be told.
    pub(crate) fn explains(&self, history: &CaseHistory, later: &Called<'_>) -> Option<bool> {
        let series = &history.series;
        let logs = logs(series)?;
        let own = Levels::of(series, &logs, &self.baseline, &self.night)?;
        let then = Levels::of(series, &logs, later.baseline, later.night)?;
        if then.night <= own.night {
            return None;
        }
        if own.is_back_in(&logs[own.night + 1..then.night]) {
            return Some(false);
        }
        let confirmed = self.case.ratio?;
        let most = if confirmed.estimate > 1.0 {
            confirmed.high
        } else {
            confirmed.low
        };
        Some(then.is_within(later.ratio, own.old + most.ln()))
    }

    /// The same of another series of its place, where most cases of the suite moved together on that night: whether this one had the new level
    /// then already, and a later night is not surely beyond it.
    pub(crate) fn explains_with_its_suite(
        &self,
        history: &CaseHistory,
        later: &Called<'_>,
    ) -> Option<bool> {
        if !self.is_common || !self.is_at(history) || *later.night <= self.night {
            return None;
        }
        let series = &history.series;
        let logs = logs(series)?;
        let own = Levels::of(series, &logs, &self.baseline, &self.night)?;
        let then = Levels::of(series, &logs, later.baseline, later.night)?;
        let is_same_way = (own.new > own.old) == (later.ratio.estimate > 1.0);
        if !is_same_way || !own.is_new(own.new) || own.is_back_in(&logs[own.night + 1..then.night])
        {
            return Some(false);
        }
        let reach = own.reach.copysign(own.new - own.old);
        Some(then.is_within(later.ratio, own.new + reach))
    }

    /// What was called on its night, as one that is earlier may explain it.
    pub(crate) fn called(&self) -> Option<Called<'_>> {
        Some(Called {
            night: &self.night,
            baseline: &self.baseline,
            ratio: self.case.beside_baseline()?,
        })
    }

    /// Whether the level is back; `None` where nothing has been measured since, or there is no level to come back to.
    fn is_back(&self, history: &CaseHistory) -> Option<bool> {
        let logs = logs(&history.series)?;
        let levels = Levels::of(&history.series, &logs, &self.baseline, &self.night)?;
        let since = &logs[levels.night + 1..];
        (!since.is_empty()).then(|| levels.is_back_in(since))
    }

    /// Whether the newest run of the series is back, and too few of them are to say so of the level: one more like it ends it.
    pub fn is_back_once(&self, history: &CaseHistory) -> bool {
        let is_last_back = || {
            let logs = logs(&history.series)?;
            let levels = Levels::of(&history.series, &logs, &self.baseline, &self.night)?;
            let newest = logs[levels.night + 1..].last()?;
            Some(levels.is_back(*newest))
        };
        self.stands(history) && is_last_back().unwrap_or(false)
    }

    /// Whether somebody said that the new level is known.
    pub fn is_accepted(&self, history: &CaseHistory) -> bool {
        self.is_excused || self.accepted_by(history).is_some()
    }

    /// The mark that says that the new level is known: on a later run than the baseline's, or for a while. Of what is excused, and by none of
    /// these, the last that is in force.
    pub fn accepted_by<'a>(&self, history: &'a CaseHistory) -> Option<&'a Mark> {
        let points = &history.series.points;
        let of_baseline = |run: &RunId| self.baseline.contains(run);
        let last = points.iter().rposition(|point| of_baseline(&point.run));
        let mut marks = history.marks.iter();
        let found = marks.find(|mark| match mark.kind {
            MarkKind::Ignore { .. } => true,
            MarkKind::Acknowledge { .. } | MarkKind::Expected { .. } => {
                mark.place(points).is_some_and(|place| Some(place) > last)
            }
        });
        found.or_else(|| history.marks.last().filter(|_| self.is_excused))
    }
}

/// A change that a gate calls on a night.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Called<'a> {
    pub night: &'a RunId,
    /// What the night is compared with.
    pub baseline: &'a [RunId],
    /// The night over that.
    pub ratio: &'a Interval,
}

/// A series with what was confirmed of it and still stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing<'a> {
    /// The series.
    pub history: &'a CaseHistory,
    /// Since when it has been known.
    pub first: &'a Confirmed,
    /// What was confirmed last.
    pub last: &'a Confirmed,
    /// Whether the level from before all of it is back in the newest run: one more like it ends it.
    pub is_back_once: bool,
}

impl Levels {
    /// Whether a value is nearer to the old level than to the new.
    fn is_back(&self, log: f64) -> bool {
        self.way(log) < 0.5
    }

    /// Whether the level is back by the last of these runs: in most of the newest ones.
    fn is_back_in(&self, since: &[f64]) -> bool {
        let newest = &since[since.len().saturating_sub(RETURN_RUNS)..];
        let back = newest.iter().filter(|log| self.is_back(**log)).count();
        2 * back > newest.len()
    }

    /// Whether a ratio to the old level is not surely beyond this one.
    fn is_within(&self, ratio: &Interval, most: f64) -> bool {
        if ratio.estimate > 1.0 {
            self.old + ratio.low.ln() <= most
        } else {
            self.old + ratio.high.ln() >= most
        }
    }
}

/// Of what was confirmed, oldest first, that which still stands: one for each of these series that has any.
pub fn standing<'a>(
    confirmed: &'a [Confirmed],
    histories: impl IntoIterator<Item = &'a CaseHistory>,
) -> Vec<Standing<'a>> {
    let of_series = |history: &'a CaseHistory| {
        let mut own = confirmed
            .iter()
            .filter(|one| one.is_of(history) && one.stands(history));
        let first = own.next()?;
        let last = own.next_back().unwrap_or(first);
        Some(Standing {
            history,
            first,
            last,
            is_back_once: [first, last].iter().all(|one| one.is_back_once(history)),
        })
    };
    if confirmed.is_empty() {
        return Vec::new();
    }
    histories.into_iter().filter_map(of_series).collect()
}
