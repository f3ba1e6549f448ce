//! From the store to verdict values: summaries of runs, series, and the verdict on a reproduction.
//!
//! One value serves the terminal, the gate, feeds and pages: nobody else decides. Verdicts are
//! computed from stored samples whenever they are read, so a threshold can change without a re-run.

pub mod calibration;
pub mod ceilings;
pub mod comparison;
pub mod confirmed;
pub mod datasheet;
mod effect;
pub mod energy;
mod estimate;
pub mod explanation;
pub mod few_runs;
pub mod gate;
pub mod history;
pub mod known;
mod likeness;
pub mod marks;
pub mod missed;
pub mod nights;
mod onset;
pub mod reproduction;
mod rounds;
pub mod series;
pub mod settled;
pub mod speed;
pub mod summary;
mod told;
mod view;
pub mod window;

pub use comparison::{Basis, CaseComparison, Comparison, Side, Trouble, TroubleKind};
pub use confirmed::{Confirmed, Standing};
pub use effect::{change_parts, change_words, signed};
pub use energy::Energy;
pub use explanation::Explanation;
pub use gate::Gate;
pub use history::{CaseHistory, LocatedChange, Spot};
pub use marks::{Mark, MarkKind, Marks, MarksError};
pub use missed::Missed;
pub use nights::{Nights, Share};
pub use onset::Onset;
pub use reproduction::{CaseReproduction, Likeness, Reproduction};
pub use series::{Change, Impossible, Point, Series, changes};
pub use summary::{CaseState, CaseSummary, MetricSummary, RunSummary};
pub use told::{Lasting, OfHistory, Told};
pub use view::{History, Reading, RunView};
pub use window::Window;

use assay_protocol::Direction;
use assay_stats::Position;
use serde::{Deserialize, Serialize};

/// What a comparison says of one metric of one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Worse beyond the margin.
    Regressed,
    /// Better beyond the margin.
    Improved,
    /// The whole interval lies within the margin.
    Unchanged,
    /// None of these can be said.
    Inconclusive,
}

impl Verdict {
    /// What the position of a ratio (later over earlier) means for a metric; `None` for one that is shown and never judged.
    pub fn of(position: Position, direction: Direction) -> Option<Self> {
        match (position, direction) {
            (_, Direction::Neutral) => None,
            (Position::Within, _) => Some(Self::Unchanged),
            (Position::Straddles, _) => Some(Self::Inconclusive),
            (Position::Above, Direction::Lower) | (Position::Below, Direction::Higher) => {
                Some(Self::Regressed)
            }
            (Position::Below, Direction::Lower) | (Position::Above, Direction::Higher) => {
                Some(Self::Improved)
            }
        }
    }

    /// One verdict for many: regressed if any is, else improved if any is, else inconclusive if any is. None at all is inconclusive.
    pub fn overall(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let severity = |verdict: &Self| match verdict {
            Self::Regressed => 3,
            Self::Improved => 2,
            Self::Inconclusive => 1,
            Self::Unchanged => 0,
        };
        let worst = verdicts.into_iter().max_by_key(severity);
        worst.unwrap_or(Self::Inconclusive)
    }
}

/// Effects smaller than this ratio less one do not matter to anybody.
pub const DEFAULT_MARGIN: f64 = 0.03;

/// Confidence of every interval that is shown or judged.
pub const CONFIDENCE: f64 = 0.95;

#[cfg(test)]
mod tests {
    use assay_protocol::Direction::{Higher, Lower, Neutral};
    use assay_stats::Position::{Above, Below, Straddles, Within};

    use super::Verdict;

    #[test]
    fn verdicts_follow_the_direction_of_the_metric() {
        assert_eq!(Verdict::of(Above, Lower), Some(Verdict::Regressed));
        assert_eq!(Verdict::of(Above, Higher), Some(Verdict::Improved));
        assert_eq!(Verdict::of(Below, Lower), Some(Verdict::Improved));
        assert_eq!(Verdict::of(Below, Higher), Some(Verdict::Regressed));
        assert_eq!(Verdict::of(Within, Higher), Some(Verdict::Unchanged));
        assert_eq!(Verdict::of(Straddles, Lower), Some(Verdict::Inconclusive));
        assert_eq!(Verdict::of(Above, Neutral), None);
    }

    #[test]
    fn verdicts_the_worst_one_speaks_for_all() {
        use Verdict::{Improved, Inconclusive, Regressed, Unchanged};
        assert_eq!(
            Verdict::overall([Unchanged, Regressed, Improved]),
            Regressed
        );
        assert_eq!(
            Verdict::overall([Unchanged, Improved, Inconclusive]),
            Improved
        );
        assert_eq!(Verdict::overall([Unchanged, Inconclusive]), Inconclusive);
        assert_eq!(Verdict::overall([Unchanged]), Unchanged);
        assert_eq!(Verdict::overall([]), Inconclusive);
    }
}
