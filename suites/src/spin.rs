//! `spin`: a chain of dependent integer operations, whose true cost is known.
//!
//! Each step of a linear congruential generator, `x = a x + c mod 2^64`, needs the one before, so the time
//! of an iteration is proportional to `steps`, on any machine, and verdicts can be tested against truth. That
//! every step was done is verified against the closed form of the recurrence.
//!
//! Fault injection: with [`EXTRA_PERMILLE`] in its environment, every iteration does that many thousandths
//! of its steps more, on a continuation of the chain whose result is thrown away. The output stays as
//! it was and the time does not: a true regression of known size. [`injected`] says so in `hello`.

use std::env;
use std::hint::black_box;

use assay_protocol::{
    CaseSpec, Catalog, DeviceKind, Digest, Failure, Measured, ParamValue, ParameterInfo,
    ParameterKind, Philox, Prepared, TimingMode, Verification, Work, Workload, WorkloadInfo,
};

/// Environment variable: thousandths of `steps` that each iteration does in excess.
pub const EXTRA_PERMILLE: &str = "ASSAY_SPIN_EXTRA_PERMILLE";
/// Ten times the work is enough for any test.
const MAX_PERMILLE: u64 = 10_000;

/// Knuth's MMIX: "The Art of Computer Programming", volume 2, 3rd edition, section 3.3.4, table 1, line 26.
const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
const INCREMENT: u64 = 1_442_695_040_888_963_407;

/// Catalog entry of `spin`.
pub struct Spin;

impl Catalog for Spin {
    fn info(&self) -> WorkloadInfo {
        WorkloadInfo {
            name: "spin".into(),
            summary: "a chain of dependent integer operations; cost proportional to `steps`".into(),
            definition: 1,
            parameters: vec![ParameterInfo {
                name: "steps".into(),
                kind: ParameterKind::Int,
                default: None,
                minimum: Some(1),
                choices: vec![],
                devices: vec![],
                optional: false,
            }],
            timing: vec![TimingMode::Hot],
            devices: vec![DeviceKind::Cpu],
        }
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let steps = case
            .params
            .get("steps")
            .and_then(ParamValue::as_u64)
            .filter(|n| *n >= 1);
        let steps = steps.ok_or_else(|| {
            Failure::Failed("parameter `steps`: expected an integer of at least 1".into())
        })?;
        let extra = steps.saturating_mul(extra_permille()?) / 1000;
        Ok(Box::new(Chain::new(case.seed.0, steps, extra)))
    }
}

/// What [`EXTRA_PERMILLE`] asks for; 0 without it.
fn extra_permille() -> Result<u64, Failure> {
    let Some(text) = env::var_os(EXTRA_PERMILLE) else {
        return Ok(0);
    };
    let permille = text.to_str().and_then(|text| text.parse().ok());
    permille.filter(|p| *p <= MAX_PERMILLE).ok_or_else(|| {
        Failure::Failed(format!(
            "{EXTRA_PERMILLE}: expected an integer from 0 to {MAX_PERMILLE}"
        ))
    })
}

/// The injected fault, for `hello`, if there is one.
pub fn injected() -> Option<String> {
    let text = env::var_os(EXTRA_PERMILLE)?;
    Some(format!("{EXTRA_PERMILLE}={}", text.to_string_lossy()))
}

struct Chain {
    prepared: Prepared,
    start: u64,
    steps: u64,
    extra: u64,
    /// `None` until the first iteration.
    end: Option<u64>,
}

impl Chain {
    fn new(seed: u64, steps: u64, extra: u64) -> Self {
        let [low, high, ..] = Philox::new(seed, 0).block(0);
        let start = u64::from(low) | u64::from(high) << 32;
        let prepared = Prepared {
            work: Work {
                items: Some(steps),
                formula: "items = steps, each one multiplication and one addition mod 2^64".into(),
                ..Work::default()
            },
            inputs: [("start".into(), Digest::of(start.to_le_bytes()))].into(),
            deterministic: true,
            ..Prepared::default()
        };
        Self {
            prepared,
            start,
            steps,
            extra,
            end: None,
        }
    }
}

impl Workload for Chain {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        for _ in 0..iterations {
            let end = walk(black_box(self.start), self.steps);
            self.end = Some(black_box(end));
            if self.extra > 0 {
                black_box(walk(black_box(end), self.extra));
            }
        }
        Ok(Measured::default())
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        let end = self
            .end
            .ok_or_else(|| Failure::Failed("nothing was sampled yet".into()))?;
        let wrong_bits = (end ^ jump(self.start, self.steps)).count_ones();
        Ok(Verification {
            passed: wrong_bits == 0,
            error: Some(f64::from(wrong_bits)),
            tolerance: Some(0.0),
            output: Some(Digest::of(end.to_le_bytes())),
            detail: "bits that differ from the closed form of the recurrence".into(),
        })
    }
}

/// `steps` steps from `x`, one after the other.
#[inline(never)]
fn walk(mut x: u64, steps: u64) -> u64 {
    // Opaque, so that the compiler cannot fold several steps into one.
    let (multiplier, increment) = black_box((MULTIPLIER, INCREMENT));
    for _ in 0..steps {
        x = x.wrapping_mul(multiplier).wrapping_add(increment);
    }
    x
}

/// `steps` steps from `x` in `O(log steps)`: F. B. Brown, "Random Number Generation with Arbitrary Strides",
/// Transactions of the American Nuclear Society 71 (1994), algorithms G and C.
fn jump(x: u64, mut steps: u64) -> u64 {
    let (mut multiplier, mut increment) = (MULTIPLIER, INCREMENT);
    let (mut all_multiplied, mut all_added) = (1_u64, 0_u64);
    while steps > 0 {
        if steps & 1 == 1 {
            all_multiplied = all_multiplied.wrapping_mul(multiplier);
            all_added = all_added.wrapping_mul(multiplier).wrapping_add(increment);
        }
        increment = multiplier.wrapping_add(1).wrapping_mul(increment);
        multiplier = multiplier.wrapping_mul(multiplier);
        steps >>= 1;
    }
    all_multiplied.wrapping_mul(x).wrapping_add(all_added)
}

#[cfg(test)]
mod tests {
    use assay_protocol::Workload as _;
    use proptest::prelude::*;

    use super::{Chain, jump, walk};

    proptest! {
        #[test]
        fn the_closed_form_is_the_walk(start: u64, steps in 0u64..5000) {
            prop_assert_eq!(jump(start, steps), walk(start, steps));
        }

        #[test]
        fn one_step_less_is_noticed(seed: u64, steps in 1u64..5000) {
            let mut chain = Chain::new(seed, steps, 0);
            chain.run(2).unwrap();
            prop_assert!(chain.verify().unwrap().passed);
            chain.end = Some(walk(chain.start, steps - 1));
            prop_assert!(!chain.verify().unwrap().passed);
        }
    }

    #[test]
    fn injected_work_leaves_the_output_alone() {
        let (mut plain, mut slowed) = (Chain::new(5, 1000, 0), Chain::new(5, 1000, 100));
        plain.run(1).unwrap();
        slowed.run(1).unwrap();
        assert_eq!(plain.verify().unwrap(), slowed.verify().unwrap());
    }
}
