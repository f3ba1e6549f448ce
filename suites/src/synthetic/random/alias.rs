//! A draw among several, each with a probability of its own, in a time that does not depend on how many there are.

/// A column of the table: what it stands for up to a threshold, and beyond.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    threshold: u32,
    other: u32,
}

impl AsRef<Self> for Slot {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// A slot for each of some weights, of which at least one is above 0.
///
/// Source: M. Vose, "A linear algorithm for generating random numbers with a given distribution", IEEE Trans. Software
/// Engineering 17(9), 1991; the method is A. Walker's, 1977.
pub fn slots(weights: &[f64]) -> Vec<Slot> {
    let count = weights.len();
    let total: f64 = weights.iter().sum();
    let mut left: Vec<f64> = weights
        .iter()
        .map(|weight| weight * count as f64 / total)
        .collect();
    let full = |place: usize| Slot {
        threshold: u32::MAX,
        other: place as u32,
    };
    let mut slots: Vec<Slot> = (0..count).map(full).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..count).partition(|place| left[*place] < 1.0);
    while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
        slots[poor] = Slot {
            // Casting ends at 0 and at the largest.
            threshold: (left[poor] * (1_u64 << 32) as f64) as u32,
            other: rich as u32,
        };
        left[rich] -= 1.0 - left[poor];
        if left[rich] < 1.0 {
            large.pop();
            small.push(rich);
        }
    }
    slots
}

/// The place that a word of random bits draws.
#[inline]
pub fn draw<S: AsRef<Slot>>(slots: &[S], word: u32) -> usize {
    let product = u64::from(word) * slots.len() as u64;
    let place = (product >> 32) as usize;
    let slot = slots[place].as_ref();
    // A choice that no processor can foresee: of values, not of ways.
    if (product as u32) < slot.threshold {
        place
    } else {
        slot.other as usize
    }
}

#[cfg(test)]
mod tests {
    use super::{draw, slots};

    #[test]
    fn each_is_drawn_as_often_as_its_weight_says() {
        for weights in [
            vec![1.0],
            vec![3.0, 1.0],
            vec![0.0, 2.0, 5.0, 0.5, 0.5],
            vec![1e-3, 1.0, 7.0],
        ] {
            let slots = slots(&weights);
            let n = 1 << 18;
            let mut counts = vec![0.0; weights.len()];
            for i in 0..n {
                counts[draw(&slots, (i << 14) | 0x4d)] += 1.0;
            }
            let total: f64 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let share: f64 = count / f64::from(n);
                assert!(
                    (share - weight / total).abs() < 2e-4,
                    "{weights:?}: {counts:?}"
                );
            }
        }
    }
}
