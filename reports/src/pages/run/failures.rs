//! What went wrong in a run, with what was said meanwhile.

use assay_store::RoundRow;
use assay_verdicts::{CaseSummary, RunSummary};
use serde::Serialize;

use super::{any_series, is_good};
use crate::model::Library;
use crate::pages::part::{self, Badge, cell};
use crate::text;

/// Most logs of a failure.
const LOGS: usize = 3;

/// Longest reason of a failure, in characters.
const REASON: usize = 4000;

/// A case that went wrong, with the rounds in which it did.
#[derive(Serialize)]
pub struct Failure {
    id: usize,
    case: String,
    series: String,
    arm: String,
    state: Badge,
    reason: Said,
    rounds: Vec<RoundView>,
}

/// What is said of something that went wrong; lines of a command's error output stay lines.
#[derive(Serialize)]
struct Said {
    text: String,
    has_lines: bool,
}

/// A round that went wrong.
#[derive(Serialize)]
struct RoundView {
    round: u32,
    attempt: u32,
    status: &'static str,
    /// Where it is not that of the case, which is said already.
    reason: Option<Said>,
    detail: String,
    log: String,
}

/// Of every case that went wrong.
pub fn of(library: &Library<'_>, summary: &RunSummary, is_whole: bool) -> Vec<Failure> {
    let cases = summary.cases.iter().enumerate();
    let failure = |(id, case): (usize, &CaseSummary)| Failure {
        id,
        case: cell(&case.case.case),
        series: any_series(library, summary, case, is_whole),
        arm: cell(part::arm(&case.case.arm)),
        state: part::state(&case.state),
        reason: said(part::reason(&case.state), REASON),
        rounds: case
            .case
            .rounds
            .iter()
            .filter(|r| !is_good(r))
            .take(LOGS)
            .map(|round| round_view(round, part::reason(&case.state)))
            .collect(),
    };
    cases
        .filter(|(_, case)| part::is_bad(&case.state))
        .map(failure)
        .collect()
}

fn round_view(round: &RoundRow, of_case: &str) -> RoundView {
    let reason = round.status.reason().filter(|reason| *reason != of_case);
    let detail = round
        .verification
        .as_ref()
        .map_or("", |v| v.detail.as_str());
    RoundView {
        round: round.round + 1,
        attempt: round.attempt + 1,
        status: round.status.name(),
        reason: reason.map(|reason| said(reason, REASON)),
        detail: text::clip(detail, 1000).into_owned(),
        log: text::log_tail(&round.log),
    }
}

fn said(text: &str, most: usize) -> Said {
    let text = text::said(text, most);
    Said {
        has_lines: text.contains('\n'),
        text,
    }
}
