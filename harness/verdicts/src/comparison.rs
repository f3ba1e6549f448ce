//! Two sides, compared in every metric that has a direction: one value for terminal, gate, feed and page.
//!
//! A side is an arm of some runs. What a comparison rests on depends on what there is ([`Basis`]): adjacent rounds of two arms of
//! one run; commits that were measured on both sides; at least five baseline runs, which show how much runs differ; or fewer, where
//! that has to be taken from elsewhere.
//! What cannot be compared is not: it is listed with the reason ([`LeftOut`]). What failed or gave a wrong output is
//! worse than slow, and comes first.

mod commits;
mod disturbed;
mod effects;
mod failures;
mod judging;
mod moving;
mod pairing;
mod suite;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use assay_protocol::Metric;
use assay_record::{Day, RunId};
use assay_stats::{CommonShift, Interval, Rules};
use assay_store::RunRow;
use serde::{Deserialize, Serialize};

pub(crate) use self::words::without_advice;
use crate::ceilings::Ceilings;
use crate::{History, Mark, Marks, RunView, Verdict};

/// Two sides and how they compare: ratios are candidate over baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What is compared with.
    pub baseline: Side,
    /// What is judged.
    pub candidate: Side,
    /// What the comparison rests on.
    pub basis: Basis,
    /// What differs between the two that may explain a difference, in words, likeliest first.
    pub differences: Vec<String>,
    /// What these verdicts do not say, in words.
    pub caveats: Vec<String>,
    /// The suite as a whole.
    pub suite: SuiteVerdict,
    /// Per case and metric: what failed first, then in the order of the suite.
    pub cases: Vec<CaseComparison>,
    /// Cases that were not compared, and why.
    pub left_out: Vec<LeftOut>,
    /// What was asked of a change.
    pub rules: Rules,
}

/// An arm of some runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// What it is called.
    pub label: String,
    /// Its runs, oldest first.
    pub runs: Vec<RunId>,
    /// Name of the arm.
    pub arm: String,
}

/// What a comparison rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Basis {
    /// Adjacent rounds of two arms of one run: what the machine does to both cancels.
    Interleaved,
    /// Runs of the same commits on both sides: what a commit does to both cancels, and how much the ratios differ from commit to
    /// commit is seen.
    ByCommit {
        /// Commits that both sides have.
        commits: usize,
    },
    /// Enough runs to see how much runs differ.
    AcrossRuns {
        /// Runs of the baseline.
        baseline_runs: usize,
        /// Runs of the candidate.
        candidate_runs: usize,
    },
    /// Too few for that, one run per side as a rule: how much runs differ is taken from elsewhere.
    FewRuns {
        /// Runs of the baseline.
        baseline_runs: usize,
        /// Runs of the candidate.
        candidate_runs: usize,
    },
}

/// One metric of one case on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseComparison {
    /// Id of the case.
    pub case: String,
    /// The metric, with unit and direction.
    pub metric: Metric,
    /// What is said of it.
    pub verdict: Verdict,
    /// Worth running again before anybody is told.
    pub suspect: bool,
    /// Candidate over baseline with its interval; once the case was confirmed, by the rounds that confirmed it.
    pub ratio: Option<Interval>,
    /// The ratio before it was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_first: Option<Interval>,
    /// The same relative to what the suite as a whole did, where that is what was judged.
    pub relative: Option<Interval>,
    /// What is equal here: the margin of the rules, or what calibration found possible, whichever is larger.
    pub margin: f64,
    /// Two-sided p-value of "no change", for this case alone.
    pub p_value: Option<f64>,
    /// The same, corrected over the suite.
    pub adjusted: Option<f64>,
    /// Why the candidate has no right result: worse than slow.
    pub trouble: Option<Trouble>,
    /// What people know of it: a regression with a mark alerts nobody.
    pub mark: Option<Mark>,
    /// What must be said beside any verdict, in words: what failed in some runs of a side, or what is compared by force. The note has it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// The first run that it is compared with, where that is not the first of the baseline: its level changed before it, or a mark begins it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<RunId>,
    /// The night that showed it first, where it is no more than what new rounds confirmed then and still stands: it is no news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still: Option<RunId>,
    /// How many runs of the baseline it is compared with, where these are not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_runs: Option<usize>,
    /// Why the verdict is what it is, in words.
    pub note: String,
}

/// Why a candidate has no right result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What kind of thing went wrong.
    pub kind: TroubleKind,
    /// What went wrong, in words.
    pub why: String,
}

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// It gave no result.
    Failed,
    /// Its output is not the reference's.
    Wrong,
    /// It was faster than its machine can be: something was not computed.
    Impossible,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TroubleKind::Failed => "failed",
            TroubleKind::Wrong => "wrong output",
            TroubleKind::Impossible => "impossible",
        };
        write!(f, "{kind}: {}", self.why)
    }
}

/// A case that was not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Id of the case.
    pub case: String,
    /// What kind of reason.
    pub reason: Reason,
    /// The reason in words.
    pub note: String,
}

/// Why a case was not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The two time different things.
    Different,
    /// Only the baseline has it.
    OnlyBaseline,
    /// Only the candidate has it.
    OnlyCandidate,
    /// A side has it and could not measure it.
    NotMeasured,
}

/// The suite as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SuiteVerdict {
    /// Geometric mean of the ratios of times.
    pub geometric_mean: Option<GeometricMean>,
    /// How many metrics of cases got each verdict, troubled cases left out.
    pub counts: Counts,
    /// How many of the calls are false on average, at most.
    pub expected_false_alarms: f64,
    /// The shift that most cases share, if there is one: one event, said first.
    pub common_shift: Option<CommonShift>,
}

/// Geometric mean of the ratios of times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeometricMean {
    /// The mean with its interval, which includes what the cases have in common.
    pub ratio: Interval,
    /// Over how many cases.
    pub cases: usize,
}

/// How many got each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Failed, or with a wrong output.
    pub troubled: usize,
    /// Faster than the machine can be.
    #[serde(default)]
    pub impossible: usize,
    /// Worse.
    pub regressed: usize,
    /// Worse, and known to be: it alerts nobody.
    pub excused: usize,
    /// Better.
    pub improved: usize,
    /// Equal within the margin.
    pub unchanged: usize,
    /// None of these can be said.
    pub inconclusive: usize,
    /// Confirmed on an earlier night, and no more than that.
    #[serde(default)]
    pub still: usize,
}

/// A side as it is compared: loaded runs, oldest first.
#[derive(Clone, Debug)]
pub struct Loaded<'a> {
    /// What it is called.
    pub label: String,
    /// Name of the arm.
    pub arm: String,
    /// The runs.
    pub runs: Vec<&'a RunView>,
}

/// What is asked of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// How two sides differ. A shift that all cases share is a result like any other.
    Difference,
    /// Whether the candidate is worse than its baseline. A shift that most cases share is an event of the machine until
    /// interleaved rounds say otherwise, and cases are judged relative to it.
    Gate,
    /// Whether suspects differ in rounds of their own: corrected for even one false call.
    Confirmation,
}

/// How to compare.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says yes or no to something else"
)]
pub struct Options {
    /// What is asked.
    pub question: Question,
    /// What is asked of a change.
    pub rules: Rules,
    /// Compare cases whose definitions differ.
    pub force: bool,
    /// Pair the runs of the two sides by their commits, where enough are the same: for sides that differ in something else than the project.
    pub by_commit: bool,
    /// Let the baseline of a case begin after the last change of its level, where its runs show one surely.
    pub at_known_level: bool,
    /// Only these metrics; `None` for all that have a direction.
    pub metrics: Option<BTreeSet<String>>,
    /// Only these pairs of case and metric; `None` for all.
    pub only: Option<BTreeSet<(String, String)>>,
    /// What differs between the sides, in words.
    pub differences: Vec<String>,
    /// What people have said of changes; only a gate asks.
    pub known: Option<Known>,
    /// How many runs lie between the last of the baseline and the candidate.
    pub gap: usize,
    /// Whether the candidate was imported: then nothing of it can be run again.
    pub is_imported: bool,
    /// Margins that calibration found possible, by case.
    pub margins: BTreeMap<String, f64>,
    /// Ceilings by machine: what is beyond them is impossible.
    pub ceilings: BTreeMap<String, Ceilings>,
}

/// What people have said of changes, and the day on which that is asked.
#[derive(Clone, Debug)]
pub struct Known {
    /// The marks.
    pub marks: Marks,
    /// The day.
    pub today: Day,
    /// Runs between the baseline and the candidate, oldest first: a mark may name one of them.
    pub between: Vec<RunRow>,
}

impl Options {
    /// All cases and metrics by the default rules.
    pub fn new(question: Question) -> Self {
        Self {
            question,
            rules: Rules::default(),
            force: false,
            by_commit: false,
            at_known_level: false,
            metrics: None,
            only: None,
            differences: Vec::new(),
            known: None,
            gap: 0,
            is_imported: false,
            margins: BTreeMap::new(),
            ceilings: BTreeMap::new(),
        }
    }

    /// What is equal in a case.
    fn margin(&self, case: &str) -> f64 {
        let possible = self.margins.get(case).copied().unwrap_or(0.0);
        self.rules.margin.max(possible)
    }

    fn asks_for(&self, case: &str, metric: &str) -> bool {
        let of_metric = self
            .metrics
            .as_ref()
            .is_none_or(|asked| asked.contains(metric));
        let of_case = self.only.as_ref();
        of_metric && of_case.is_none_or(|only| only.contains(&(case.into(), metric.into())))
    }
}

impl Basis {
    /// Of so many runs on each side.
    fn of_runs(baseline_runs: usize, candidate_runs: usize) -> Self {
        if baseline_runs.max(candidate_runs) >= effects::MIN_BASELINE_RUNS {
            Self::AcrossRuns {
                baseline_runs,
                candidate_runs,
            }
        } else {
            Self::FewRuns {
                baseline_runs,
                candidate_runs,
            }
        }
    }

    /// How many runs the baseline has, where values of several runs are compared and not pairs of them.
    fn baseline_runs(self) -> Option<usize> {
        match self {
            Self::AcrossRuns { baseline_runs, .. } | Self::FewRuns { baseline_runs, .. } => {
                Some(baseline_runs)
            }
            Self::Interleaved | Self::ByCommit { .. } => None,
        }
    }

    /// Whether values of the two sides come in pairs, whose differences are what is judged.
    fn is_paired(self) -> bool {
        matches!(self, Self::Interleaved | Self::ByCommit { .. })
    }
}

impl Comparison {
    /// Compares two sides. `history` is asked only where the sides have too few runs.
    pub fn of(
        baseline: &Loaded<'_>,
        candidate: &Loaded<'_>,
        history: &History,
        options: Options,
    ) -> Self {
        judging::judge(baseline, candidate, history, options)
    }

    /// The runs of the baseline that a metric of a case is compared with, the oldest first: from where its level changed last, or a mark begins it
    /// anew.
    pub fn baseline_of(&self, case: &CaseComparison) -> &[RunId] {
        let runs = &self.baseline.runs;
        let since = case.since.as_ref();
        let begin = since.and_then(|since| runs.iter().position(|run| run == since));
        &runs[begin.unwrap_or(0)..]
    }

    /// What a metric of a case rests on: some are compared with fewer runs than the baseline has.
    pub fn basis_of(&self, case: &CaseComparison) -> Basis {
        match (case.baseline_runs, self.basis) {
            (
                Some(own),
                Basis::AcrossRuns { candidate_runs, .. } | Basis::FewRuns { candidate_runs, .. },
            ) => Basis::of_runs(own, candidate_runs),
            (_, basis) => basis,
        }
    }

    /// Whether anything was compared, or found failed or wrong.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Whether anything got a verdict on its speed; where nothing did, none can be false.
    pub fn has_verdicts(&self) -> bool {
        self.cases.iter().any(|case| case.p_value.is_some())
    }

    /// Cases of which so much is wrong.
    pub fn troubled(&self, kind: TroubleKind) -> usize {
        let troubles = self.cases.iter().filter_map(|case| case.trouble.as_ref());
        troubles.filter(|trouble| trouble.kind == kind).count()
    }

    /// What got better the most, of what is known to have got better.
    pub fn best(&self) -> Option<&CaseComparison> {
        self.farthest(Verdict::Improved)
    }

    /// What got worse the most, of what is known to have got worse.
    pub fn worst(&self) -> Option<&CaseComparison> {
        self.farthest(Verdict::Regressed)
    }

    /// Of what has a verdict the largest effect. Noise has none, however far it reaches.
    fn farthest(&self, verdict: Verdict) -> Option<&CaseComparison> {
        let size =
            |case: &CaseComparison| case.ratio.map_or(0.0, |ratio| ratio.estimate.ln().abs());
        let own = self.cases.iter();
        let own = own.filter(|case| case.trouble.is_none() && case.verdict == verdict);
        own.max_by(|a, b| size(a).total_cmp(&size(b)))
    }

    /// Whether the candidate is worse: in speed, or in giving no right result.
    pub fn is_worse(&self) -> bool {
        self.suite.counts.regressed > 0 || self.suite.counts.without_result() > 0
    }

    /// Whether something could not be told.
    pub fn is_inconclusive(&self) -> bool {
        self.suite.counts.inconclusive > 0
    }

    /// What should be run again before anybody is told. Of what has a mark nobody will be.
    pub fn suspects(&self) -> impl Iterator<Item = &CaseComparison> {
        let is_news = |case: &&CaseComparison| case.suspect && case.mark.is_none();
        self.cases.iter().filter(is_news)
    }

    /// Counts the verdicts anew.
    pub(crate) fn recount(&mut self) {
        self.suite.counts = Counts::of(&self.cases);
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.troubled += other.troubled;
        self.impossible += other.impossible;
        self.regressed += other.regressed;
        self.excused += other.excused;
        self.improved += other.improved;
        self.unchanged += other.unchanged;
        self.inconclusive += other.inconclusive;
        self.still += other.still;
    }
}

impl Counts {
    /// How many have no right result, and so no verdict on their speed.
    pub fn without_result(&self) -> usize {
        self.troubled + self.impossible
    }

    fn of(cases: &[CaseComparison]) -> Self {
        let mut counts = Self::default();
        for case in cases {
            let kind = case.trouble.as_ref().map(|trouble| trouble.kind);
            let place = match (kind, case.verdict) {
                (Some(TroubleKind::Impossible), _) => &mut counts.impossible,
                (Some(TroubleKind::Failed | TroubleKind::Wrong), _) => &mut counts.troubled,
                (None, Verdict::Regressed) if case.mark.is_some() => &mut counts.excused,
                (None, Verdict::Regressed) => &mut counts.regressed,
                (None, Verdict::Improved) => &mut counts.improved,
                (None, Verdict::Unchanged) => &mut counts.unchanged,
                (None, Verdict::Inconclusive) if case.still.is_some() => &mut counts.still,
                (None, Verdict::Inconclusive) => &mut counts.inconclusive,
            };
            *place += 1;
        }
        counts
    }
}

impl Loaded<'_> {
    fn side(&self) -> Side {
        Side {
            label: self.label.clone(),
            runs: self.runs.iter().map(|view| view.run.run.clone()).collect(),
            arm: self.arm.clone(),
        }
    }

    /// Names of the machines, each once.
    fn machines(&self) -> BTreeSet<&str> {
        self.runs
            .iter()
            .map(|view| view.run.machine.as_str())
            .collect()
    }
}
