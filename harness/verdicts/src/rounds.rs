//! Rounds of two interleaved arms: what is compared pair by pair must be of the same round.

use std::collections::BTreeMap;

use assay_store::CaseRow;

/// Values of the rounds in which both arms have one, in the same order.
pub(crate) fn common_rounds(one: &CaseRow, other: &CaseRow, metric: &str) -> [Vec<f64>; 2] {
    let [before, after] = [one, other].map(|row| by_round(row, metric));
    let both = before
        .iter()
        .filter_map(|(round, value)| Some((*value, *after.get(round)?)));
    let (before, after): (Vec<f64>, Vec<f64>) = both.unzip();
    [before, after]
}

fn by_round(row: &CaseRow, metric: &str) -> BTreeMap<u32, f64> {
    let column = row.metrics.iter().position(|have| have.name == metric);
    let value = |values: &[Option<f64>]| values.get(column?).copied().flatten();
    row.good_rounds()
        .filter_map(|round| Some((round.round, value(&round.values)?)))
        .collect()
}
