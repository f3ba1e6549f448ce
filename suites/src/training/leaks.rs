//! Leakage: items that a model is judged by and was trained on as well, bit for bit; and what is said of it.

use std::collections::HashSet;

use assay_protocol::{Digest, Digesting};
use rayon::prelude::*;

/// A share of held-out items above which somebody is warned: a loss of so many known ones is not that of new ones.
const MOST: f64 = 0.05;

/// What to tell somebody who takes the held-out loss for that of new items, where it is not. `items` is what they are called.
pub fn warning(share: f64, items: &str) -> Option<String> {
    (share > MOST).then(|| {
        format!(
            "{:.1} % of held-out {items} are trained on, more than {} %: the held-out loss is not that of new {items}",
            100.0 * share,
            100.0 * MOST
        )
    })
}

/// What names an item: its numbers, to the bit.
pub fn name(numbers: &[&[f32]], label: Option<u32>) -> Digest {
    let mut digest = Digesting::default();
    for numbers in numbers {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        digest.update(&bytes);
    }
    digest.update(&label.map(u32::to_le_bytes).unwrap_or_default());
    digest.finish()
}

/// The share of held-out items, by their names, that are trained on as well.
pub fn share(
    train: impl ParallelIterator<Item = Digest>,
    held_out: impl ParallelIterator<Item = Digest>,
) -> f64 {
    let known: HashSet<Digest> = train.collect();
    let held_out: Vec<Digest> = held_out.collect();
    let found = held_out.iter().filter(|name| known.contains(*name)).count();
    found as f64 / held_out.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::warning;

    #[test]
    fn more_than_a_few_known_items_are_warned_of() {
        assert_eq!(warning(0.05, "rows"), None);
        let words = warning(0.0712, "rows").unwrap();
        assert!(
            words.starts_with("7.1 % of held-out rows are trained on, more than 5 %"),
            "{words}"
        );
    }
}
