//! What is derived of the blocks of a record: which of them count, and the values of their rounds.

use assay_protocol::{Metric, MetricKind, Prepared};
use assay_record::{Block, BlockStatus};
use foldhash::{HashMap, HashMapExt as _};

/// Value of each metric in a round: the median over its samples after warm-up, or the round's own value.
pub fn round_values(block: &Block) -> Vec<(&str, f64)> {
    let after = |column: &[f64]| median(column.get(block.warmup as usize..).unwrap_or_default());
    let mut values = Vec::new();
    values.extend(after(&block.samples.times_ns()).map(|value| (Metric::TIME, value)));
    for metric in block.metrics() {
        let value = match metric.kind {
            MetricKind::Sample => block
                .samples
                .values
                .get(&metric.name)
                .and_then(|column| after(column)),
            MetricKind::Case => block.values.get(&metric.name).copied(),
        };
        values.extend(value.map(|value| (metric.name.as_str(), value)));
    }
    values
}

/// The median of finite numbers; `None` of none. (`assay-stats` has it too, but is not below this crate.)
pub fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let mut values = values.to_vec();
    let (middle, is_odd) = (values.len() / 2, values.len() % 2 == 1);
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if is_odd {
        return Some(upper);
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(f64::midpoint(lower, upper))
}

/// What the worker declared of each case and arm, first.
pub fn declared(blocks: &[Block]) -> HashMap<(&str, &str), &Prepared> {
    let mut found = HashMap::with_capacity(blocks.len());
    for block in blocks {
        if let Some(prepared) = &block.prepared {
            found
                .entry((block.case.as_str(), block.arm.as_str()))
                .or_insert(prepared);
        }
    }
    found
}

pub type Visit<'a> = (&'a str, &'a str, u32);

pub fn visit(block: &Block) -> Visit<'_> {
    (&block.case, &block.arm, block.round)
}

/// The attempt of each visit that counts: the last one that is ok.
pub fn counting(blocks: &[Block]) -> HashMap<Visit<'_>, u32> {
    let mut last = HashMap::with_capacity(blocks.len());
    for block in blocks
        .iter()
        .filter(|block| block.status == BlockStatus::Ok)
    {
        let attempt = last.entry(visit(block)).or_insert(block.attempt);
        *attempt = block.attempt.max(*attempt);
    }
    last
}

/// Whether a block makes points of series. Of what no worker declared, nobody knows what its values are of.
pub fn counts(block: &Block, counting: &HashMap<Visit<'_>, u32>) -> bool {
    block.status == BlockStatus::Ok
        && block.prepared.is_some()
        && counting.get(&visit(block)) == Some(&block.attempt)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn store_median_of_few() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
