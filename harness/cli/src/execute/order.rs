//! The seeded random order of cases within a round.

use assay_protocol::Philox;

/// A permutation of `0..n`: a pure function of the seed and the round (Fisher and Yates, in Durstenfeld's form).
pub fn permutation(n: usize, seed: u64, round: u32) -> Vec<usize> {
    let random = Philox::new(seed, u64::from(round));
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        // The bias of taking 64 random bits modulo i + 1 is below 2^-40 for any suite.
        let words = random.block(i as u64);
        let bits = u64::from(words[0]) << 32 | u64::from(words[1]);
        let j = usize::try_from(bits % (i as u64 + 1)).unwrap_or(0);
        order.swap(i, j);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::permutation;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_permutation_and_a_pure_function(n in 0usize..200, seed: u64, round: u32) {
            let mut order = permutation(n, seed, round);
            prop_assert_eq!(&order, &permutation(n, seed, round));
            order.sort_unstable();
            prop_assert_eq!(order, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_case_comes_first_about_equally_often() {
        let mut first = [0; 4];
        (0..4000).for_each(|round| first[permutation(4, 7, round)[0]] += 1);
        assert!(first.iter().all(|n| (850..1150).contains(n)), "{first:?}");
    }
}
