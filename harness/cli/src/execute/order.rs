//! The seeded order of visits: cases within a round, and arms within a block of rounds.

use assay_protocol::Philox;

/// Rounds come in blocks of two, so that an environment drifting through the run meets all arms alike.
pub const BLOCK: u32 = 2;
/// The stream that says which arm comes first; those of the rounds are numbered from 0.
const ARMS: u64 = u64::MAX;

/// One visit to a case on an arm, each by its place in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The case.
    pub case: usize,
    /// The arm.
    pub arm: usize,
    /// The round, counted through the run.
    pub round: u32,
}

/// The visits of a block to `cases`, in stretches: workers live as long as a stretch, one for each arm and round.
///
/// With one arm, a stretch is a round, in an order of its own. With several, the block is one stretch, and the visits
/// to a case are adjacent: the arms forwards in the first round, backwards in the second (A B B A, or A B C C B A), so
/// that a drift meets all alike. Which arm comes first is drawn for each case and moves on by one with each block, so
/// that being first, or next to another, falls to all alike.
pub fn block(cases: &[usize], arms: usize, seed: u64, block: u32) -> Vec<Vec<Visit>> {
    let rounds = [block * BLOCK, block * BLOCK + 1];
    if arms == 1 {
        let stretch = |round| {
            let order = permutation(cases.len(), seed, round);
            let visit = |place: usize| Visit {
                case: cases[place],
                arm: 0,
                round,
            };
            order.into_iter().map(visit).collect()
        };
        return rounds.map(stretch).into();
    }
    let order = permutation(cases.len(), seed, block);
    let of_case = |place: usize| {
        let case = cases[place];
        let forwards = turn(case, arms, seed, block);
        let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
        let visit = move |(arm, round)| Visit { case, arm, round };
        let first = forwards.into_iter().zip(std::iter::repeat(rounds[0]));
        let second = backwards.into_iter().zip(std::iter::repeat(rounds[1]));
        first.chain(second).map(visit)
    };
    vec![order.into_iter().flat_map(of_case).collect()]
}

/// The arms in the order of a case's turn in a block.
fn turn(case: usize, arms: usize, seed: u64, block: u32) -> Vec<usize> {
    let drawn = Philox::new(seed, ARMS).block(case as u64)[0];
    let first = (u64::from(drawn) + u64::from(block)) % arms as u64;
    (0..arms).map(|at| (first as usize + at) % arms).collect()
}

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
    use super::{Visit, block, permutation};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_permutation_and_a_pure_function(n in 0usize..200, seed: u64, round: u32) {
            let mut order = permutation(n, seed, round);
            prop_assert_eq!(&order, &permutation(n, seed, round));
            order.sort_unstable();
            prop_assert_eq!(order, (0..n).collect::<Vec<_>>());
        }

        #[test]
        fn every_case_meets_every_arm_once_in_each_round(
            n in 1usize..20, arms in 1usize..5, seed: u64, at in 0u32..1000,
        ) {
            let cases: Vec<usize> = (0..n).map(|case| 3 * case).collect();
            let visits: Vec<Visit> = block(&cases, arms, seed, at).concat();
            for round in [2 * at, 2 * at + 1] {
                for case in &cases {
                    let of = |v: &&Visit| v.round == round && v.case == *case;
                    let mut met: Vec<usize> = visits.iter().filter(of).map(|v| v.arm).collect();
                    met.sort_unstable();
                    prop_assert_eq!(met, (0..arms).collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(visits.len(), 2 * n * arms);
        }

        #[test]
        fn visits_to_a_case_mirror_each_other(n in 1usize..9, arms in 2usize..5, seed: u64, at in 0u32..99) {
            let cases: Vec<usize> = (0..n).collect();
            let stretches = block(&cases, arms, seed, at);
            prop_assert_eq!(stretches.len(), 1);
            for of_case in stretches[0].chunks(2 * arms) {
                let (forwards, backwards) = of_case.split_at(arms);
                prop_assert!(of_case.iter().all(|visit| visit.case == of_case[0].case));
                prop_assert!(forwards.iter().all(|visit| visit.round == 2 * at));
                prop_assert!(backwards.iter().all(|visit| visit.round == 2 * at + 1));
                prop_assert!(forwards.iter().map(|v| v.arm).eq(backwards.iter().rev().map(|v| v.arm)));
            }
        }
    }

    #[test]
    fn every_case_comes_first_about_equally_often() {
        let mut first = [0; 4];
        (0..4000).for_each(|round| first[permutation(4, 7, round)[0]] += 1);
        assert!(first.iter().all(|n| (850..1150).contains(n)), "{first:?}");
    }

    #[test]
    fn every_arm_comes_first_in_its_turn_and_about_equally_often() {
        let first = |case, at| block(&[case], 3, 7, at)[0][0].arm;
        for case in 0..20 {
            for at in 0..9 {
                assert_eq!(first(case, at + 1), (first(case, at) + 1) % 3);
            }
        }
        let mut begun = [0; 3];
        (0..3000).for_each(|case| begun[first(case, 0)] += 1);
        assert!(begun.iter().all(|n| (900..1100).contains(n)), "{begun:?}");
    }

    #[test]
    fn one_arm_goes_through_its_rounds_one_after_the_other() {
        let stretches = block(&[4, 9], 1, 7, 5);
        let rounds: Vec<Vec<u32>> = stretches
            .iter()
            .map(|stretch| stretch.iter().map(|visit| visit.round).collect())
            .collect();
        assert_eq!(rounds, [[10, 10], [11, 11]]);
    }
}
