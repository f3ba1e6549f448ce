//! Batching: how many iterations make a sample long enough for the clock.

use assay_protocol::{Failure, Sample, SampleRequest, Workload};

use crate::clock::monotonic_ns;

/// Never more iterations than this in one sample, however short they seem.
const MAX_ITERATIONS: u64 = 1 << 40;
/// Most doublings at a time: a first sample can be far from typical.
const MAX_DOUBLINGS: u32 = 4;
/// Most samples in a row that may be no observation.
const MAX_INVALID: u32 = 20;

/// Iterations per sample, for one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    iterations: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Self { iterations: 1 }
    }
}

impl Batch {
    /// Takes one chunk of samples.
    ///
    /// Samples that turn out shorter than `min_sample_ns` count like all others, since warm-up is
    /// judged by who asked; the next one has more iterations. Only a sample too short for the clock
    /// to notice is left out.
    pub fn take(
        &mut self,
        workload: &mut dyn Workload,
        bounds: SampleRequest,
    ) -> Result<Vec<Sample>, Failure> {
        let most = workload.most_iterations().clamp(1, MAX_ITERATIONS);
        let mut samples = Vec::with_capacity(bounds.max_samples as usize);
        let mut invalid = 0;
        let begin_ns = monotonic_ns();
        let late = || monotonic_ns() - begin_ns > bounds.max_ns;
        while samples.len() < bounds.max_samples as usize && (samples.is_empty() || !late()) {
            let sample = match self.sample(workload)? {
                Ok(sample) => sample,
                Err(reason) if invalid == MAX_INVALID => {
                    let why =
                        format!("{MAX_INVALID} samples in a row were invalid, the last: {reason}");
                    return Err(Failure::Failed(why));
                }
                Err(_) => {
                    invalid += 1;
                    continue;
                }
            };
            invalid = 0;
            let timed_ns = sample.device_ns.unwrap_or(sample.host_ns);
            self.adapt(timed_ns, bounds.min_sample_ns, most);
            if timed_ns > 0 && sample.host_ns > 0 {
                samples.push(sample);
            } else if self.iterations == most {
                return Err(Failure::Failed(format!(
                    "{most} iterations take no time at all"
                )));
            }
        }
        Ok(samples)
    }

    /// A sample, or why it is none.
    fn sample(self, workload: &mut dyn Workload) -> Result<Result<Sample, String>, Failure> {
        workload.restore()?;
        let start_ns = monotonic_ns();
        let measured = workload.run(self.iterations)?;
        let elapsed_ns = monotonic_ns() - start_ns;
        if let Some(reason) = measured.invalid {
            return Ok(Err(reason));
        }
        Ok(Ok(Sample {
            start_ns,
            iterations: self.iterations,
            host_ns: measured.host_ns.unwrap_or(elapsed_ns),
            device_ns: measured.device_ns,
            values: measured.values,
        }))
    }

    /// Doubles the iterations, several times if need be and never beyond `most`, after a sample that was too short.
    fn adapt(&mut self, timed_ns: u64, min_sample_ns: u64, most: u64) {
        if timed_ns < min_sample_ns || timed_ns == 0 {
            let factor = (min_sample_ns / timed_ns.max(1))
                .saturating_add(1)
                .min(1 << MAX_DOUBLINGS);
            let factor = factor.next_power_of_two().clamp(2, 1 << MAX_DOUBLINGS);
            self.iterations = self.iterations.saturating_mul(factor).min(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Batch, MAX_ITERATIONS};

    #[test]
    fn long_enough_is_kept() {
        let mut batch = Batch { iterations: 8 };
        batch.adapt(1000, 1000, MAX_ITERATIONS);
        assert_eq!(batch.iterations, 8);
    }

    #[test]
    fn zero_time_grows_even_without_a_minimum() {
        let mut batch = Batch::default();
        batch.adapt(0, 0, MAX_ITERATIONS);
        assert_eq!(batch.iterations, 2);
        batch.adapt(0, 0, 2);
        assert_eq!(batch.iterations, 2);
    }

    proptest! {
        #[test]
        fn grows_enough_and_not_too_far(each_ns in 1u64..1_000_000, min_ns in 1u64..1_000_000_000) {
            let mut batch = Batch::default();
            let mut samples = 0;
            while batch.iterations * each_ns < min_ns {
                batch.adapt(batch.iterations * each_ns, min_ns, MAX_ITERATIONS);
                samples += 1;
                prop_assert!(samples <= 12 && batch.iterations <= MAX_ITERATIONS);
            }
            prop_assert!(batch.iterations == 1 || (batch.iterations - 1) * each_ns <= 2 * min_ns);
        }
    }
}
