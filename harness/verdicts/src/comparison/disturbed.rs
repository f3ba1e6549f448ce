//! Whether others used the machine while one side was measured, and not while the other was.

use assay_store::CaseRow;

/// From this share of disturbed rounds on, a side's values are not those of a quiet machine.
const DISTURBED: f64 = 0.5;
/// Below this share a side was quiet.
const QUIET: f64 = 0.25;

/// Why two sides were not measured on the same machine, though it has the same name.
pub(super) fn unevenly<'a>(
    before: impl Iterator<Item = &'a CaseRow>,
    after: impl Iterator<Item = &'a CaseRow>,
) -> Option<String> {
    let (before, after) = (share(before), share(after));
    let (side, share) = if before >= DISTURBED && after < QUIET {
        ("baseline", before)
    } else if after >= DISTURBED && before < QUIET {
        ("candidate", after)
    } else {
        return None;
    };
    Some(format!(
        "{:.0} % of the {side}'s rounds were disturbed, the other side's were not",
        100.0 * share
    ))
}

fn share<'a>(rows: impl Iterator<Item = &'a CaseRow>) -> f64 {
    let rounds: Vec<_> = rows.flat_map(CaseRow::good_rounds).collect();
    let disturbed = rounds.iter().filter(|round| !round.disturbed.is_empty());
    disturbed.count() as f64 / rounds.len().max(1) as f64
}
