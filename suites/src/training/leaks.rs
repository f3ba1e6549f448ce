//! Leakage: items that a model is judged by and was trained on as well, bit for bit.

use std::collections::HashSet;

use assay_protocol::{Digest, Digesting};
use rayon::prelude::*;

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
