//! What is known of a case so far, on all its arms, and whether it needs more rounds.

use std::collections::{BTreeMap, BTreeSet};

use assay_record::{Block, BlockStatus, Policy};
use assay_stats::{AcrossRounds, Decision, StopReason, stopping};

/// A case in progress.
#[derive(Debug)]
pub struct Progression {
    policy: Policy,
    arms: Vec<Arm>,
    /// Rounds that something disturbed, on any arm.
    disturbed: BTreeSet<u32>,
}

/// A case in progress on one arm.
#[derive(Clone, Debug, Default)]
struct Arm {
    /// Median time of each good round, in nanoseconds.
    medians: BTreeMap<u32, f64>,
    /// Visited no more: it was skipped, its output is wrong, or it failed alone too.
    given_up: bool,
}

/// Why a case takes part in a block of rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Its policy plans it.
    Planned,
    /// Its interval misses the target.
    Precision,
    /// Something disturbed its rounds.
    Quiet,
}

/// How the rounds of a case came to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its interval met the target.
    Met,
    /// It had all its rounds, and its interval misses the target.
    Spent,
    /// It was given up.
    GivenUp,
}

impl Progression {
    /// A case that was not visited yet.
    pub fn new(policy: Policy, arms: usize) -> Self {
        Self {
            policy,
            arms: vec![Arm::default(); arms],
            disturbed: BTreeSet::new(),
        }
    }

    /// Takes in a visit.
    pub fn learn(&mut self, arm: usize, block: &Block) {
        if !block.disturbed.is_empty() {
            self.disturbed.insert(block.round);
        }
        match &block.status {
            BlockStatus::Ok => {
                let times = block.samples.times_ns();
                if let Some(median) = assay_stats::median(&times[block.warmup as usize..]) {
                    self.arms[arm].medians.insert(block.round, median);
                }
            }
            // A wrong output stays wrong; one more round would only say so again.
            BlockStatus::Skipped(_) | BlockStatus::Wrong(_) => self.give_up(arm),
            BlockStatus::Failed(_) => {}
        }
    }

    /// The arm is visited no more.
    pub fn give_up(&mut self, arm: usize) {
        self.arms[arm].given_up = true;
    }

    /// Whether visits to an arm still make sense.
    pub fn is_open(&self, arm: usize) -> bool {
        !self.arms[arm].given_up
    }

    /// Whether no visit makes sense any more: of several arms, one alone can be compared with nothing.
    pub fn is_over(&self) -> bool {
        self.open().count() < self.arms.len().min(2)
    }

    /// Why the case takes part in the block that begins with `round`; `None` where it does not.
    pub fn need(&self, round: u32) -> Option<Need> {
        // Rounds that failed count as rounds: a case that always fails must not go on for ever.
        let has_room = round < self.policy.max_rounds && !self.is_over();
        if !has_room {
            return None;
        }
        let quiet = round.saturating_sub(self.disturbed());
        if round < self.policy.rounds {
            Some(Need::Planned)
        } else if self.decision() == Decision::Continue {
            Some(Need::Precision)
        } else {
            (quiet < self.policy.rounds).then_some(Need::Quiet)
        }
    }

    /// How it ended, once no block needs it.
    pub fn ending(&self) -> Ending {
        match self.decision() {
            _ if self.is_over() => Ending::GivenUp,
            Decision::Stop(StopReason::Precise) => Ending::Met,
            _ => Ending::Spent,
        }
    }

    /// The relative half-width at which a round on this arm is precise enough: see [`stopping::round_target`].
    ///
    /// With several arms, the error between rounds is that of the paired ratio with the arm that it varies least
    /// against, shared out between the two: what both rounds of a pair have in common is no error of their ratio.
    pub fn round_target(&self, arm: usize) -> f64 {
        let own = &self.arms[arm];
        let paired = self.open().filter(|other| !std::ptr::eq(*other, own));
        let deviation = if self.arms.len() == 1 {
            stopping::deviation_between_rounds(&values(own))
        } else {
            paired
                .filter_map(|other| {
                    let (one, other) = pairs(own, other);
                    stopping::deviation_of_pairs(&one, &other)
                })
                .map(|deviation| deviation / std::f64::consts::SQRT_2)
                .min_by(f64::total_cmp)
        };
        stopping::round_target(self.policy.target, deviation)
    }

    /// How many of its rounds something disturbed.
    pub fn disturbed(&self) -> u32 {
        self.disturbed.len() as u32
    }

    /// Whether it never had a round that nothing disturbed.
    pub fn is_always_disturbed(&self) -> bool {
        let mut measured = self
            .arms
            .iter()
            .flat_map(|arm| arm.medians.keys())
            .peekable();
        measured.peek().is_some() && measured.all(|round| self.disturbed.contains(round))
    }

    fn open(&self) -> impl Iterator<Item = &Arm> {
        self.arms.iter().filter(|arm| !arm.given_up)
    }

    /// Whether what there is suffices: of one arm its own interval, of several those of the ratios to the first of them.
    fn decision(&self) -> Decision {
        let rule = AcrossRounds {
            target_relative_half_width: self.policy.target,
            min_rounds: 2,
            max_rounds: self.policy.max_rounds as usize,
            block: 1,
        };
        let mut open = self.open();
        let Some(first) = open.next() else {
            return Decision::Stop(StopReason::MaxRounds);
        };
        if self.arms.len() == 1 {
            return rule.decide(&values(first));
        }
        let of_pair = |other: &Arm| {
            let (one, other) = pairs(first, other);
            rule.decide_paired(&one, &other)
        };
        let decisions: Vec<Decision> = open.map(of_pair).collect();
        let imprecise = |decision: &&Decision| **decision != Decision::Stop(StopReason::Precise);
        let worst = decisions.iter().find(imprecise);
        worst
            .copied()
            .unwrap_or(Decision::Stop(StopReason::Precise))
    }
}

fn values(arm: &Arm) -> Vec<f64> {
    arm.medians.values().copied().collect()
}

/// The medians of the rounds that two arms have in common.
fn pairs(one: &Arm, other: &Arm) -> (Vec<f64>, Vec<f64>) {
    let common = |(round, median): (&u32, &f64)| Some((*median, *other.medians.get(round)?));
    one.medians.iter().filter_map(common).unzip()
}

#[cfg(test)]
mod tests {
    use assay_record::Policy;

    use super::{Ending, Need, Progression};

    const POLICY: Policy = Policy {
        rounds: 4,
        max_rounds: 8,
        target: 0.01,
        min_samples: 1,
        max_samples: 10,
        warmup_ms: 1,
        round_ms: 1,
    };

    /// A case with these medians in its rounds, arm by arm.
    fn measured(arms: &[&[f64]]) -> Progression {
        let mut case = Progression::new(POLICY, arms.len());
        for (arm, medians) in arms.iter().enumerate() {
            case.arms[arm].medians = (0..).zip(medians.iter().copied()).collect();
        }
        case
    }

    const NOISY: &[f64] = &[100.0, 150.0, 100.0, 150.0];
    const STILL: &[f64] = &[100.0; 4];

    #[test]
    fn rounds_are_planned_then_added_while_the_interval_misses() {
        assert_eq!(measured(&[&[]]).need(0), Some(Need::Planned));
        assert_eq!(measured(&[NOISY]).need(2), Some(Need::Planned));
        assert_eq!(measured(&[NOISY]).need(4), Some(Need::Precision));
        assert_eq!(measured(&[STILL]).need(4), None);
        assert_eq!(measured(&[NOISY]).need(8), None);
        assert_eq!(measured(&[STILL]).ending(), Ending::Met);
        assert_eq!(measured(&[NOISY]).ending(), Ending::Spent);
    }

    #[test]
    fn disturbed_rounds_get_others_beside_them_as_long_as_there_are_any() {
        let mut case = measured(&[STILL]);
        case.disturbed.insert(1);
        assert_eq!(case.need(4), Some(Need::Quiet));
        assert_eq!(case.need(6), None);
        case.disturbed.extend(0..8);
        assert_eq!(case.need(6), Some(Need::Quiet));
        assert_eq!(case.need(8), None);
    }

    #[test]
    fn arms_are_judged_by_their_ratio_and_go_on_together() {
        let twice: Vec<f64> = NOISY.iter().map(|median| 2.0 * median).collect();
        let drifting_alike = measured(&[NOISY, &twice]);
        assert_eq!(drifting_alike.need(4), None);
        assert_eq!(drifting_alike.ending(), Ending::Met);
        let third_differs = measured(&[NOISY, &twice, STILL]);
        assert_eq!(third_differs.need(4), Some(Need::Precision));
    }

    #[test]
    fn an_arm_given_up_leaves_the_others_while_there_is_a_pair() {
        let mut case = measured(&[STILL, STILL, STILL]);
        case.give_up(0);
        assert!(!case.is_open(0) && case.is_open(1) && !case.is_over());
        case.give_up(2);
        assert!(case.is_over());
        assert_eq!(case.need(2), None);
        assert_eq!(case.ending(), Ending::GivenUp);
    }

    #[test]
    fn a_round_is_as_precise_as_the_rounds_of_its_case_are_alike() {
        assert!((measured(&[&[]]).round_target(0) - 0.01).abs() < 1e-12);
        assert!(measured(&[NOISY]).round_target(0) > 0.05);
        assert!((measured(&[STILL]).round_target(0) - 0.001).abs() < 1e-12);
        // What two arms drift through together does not blur their ratio.
        assert!((measured(&[NOISY, NOISY]).round_target(1) - 0.001).abs() < 1e-12);
    }
}
