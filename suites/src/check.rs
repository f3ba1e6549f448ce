//! Checks every op of a device against its reference, in every variant and type: what a machine with a GPU is to pass
//! before anything is measured on it.

use assay_kernels::device::cuda;
use assay_kernels::ops;
use assay_protocol::{CaseSpec, DeviceKind, Failure, TimingMode, Workload};

use crate::catalog::catalog;

/// Nothing in particular, a few blocks, and many.
pub const SIZES: &[i64] = &[1, 67, 300];
/// The size at which every timing mode is tried.
const SIZE_OF_MODES: i64 = 67;

/// How the cases went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Right.
    pub passed: u32,
    /// Wrong, or not to be run though it should be.
    pub failed: u32,
    /// Not for this device or machine.
    pub skipped: u32,
}

/// Which cases are checked, and on what.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The kind of device.
    pub device: DeviceKind,
    /// Where inputs come from.
    pub seed: u64,
    /// What each free size is, one after the other.
    pub sizes: Vec<i64>,
    /// The only timing mode; without it those that tell something at a size.
    pub timing: Option<TimingMode>,
}

/// Checks all ops; `say` gets a line for each op's variant that is not right, and a last one. Ends early where the device was lost to
/// this process.
pub fn check(scope: &Scope, say: &mut dyn FnMut(&str)) -> Tally {
    let mut tally = Tally::default();
    let Scope { device, seed, .. } = *scope;
    for size in &scope.sizes {
        for case in ops::cases(device, *size) {
            let only = scope.timing.as_slice();
            let modes = if only.is_empty() {
                modes(device, *size)
            } else {
                only
            };
            for timing in modes {
                let case = CaseSpec {
                    seed: seed.into(),
                    timing: *timing,
                    ..with_threads(case.clone())
                };
                note(&mut tally, &case, run(&case), say);
                if cuda::is_lost() {
                    say("the device was lost to this process: the rest was not run");
                    return tally;
                }
            }
        }
    }
    tally
}

fn modes(device: DeviceKind, size: i64) -> &'static [TimingMode] {
    match (device, size) {
        (DeviceKind::Cuda, SIZE_OF_MODES) => &[
            TimingMode::Hot,
            TimingMode::Cold,
            TimingMode::Graph,
            TimingMode::Host,
        ],
        _ => &[TimingMode::Hot],
    }
}

/// On the host an op also has a number of threads.
fn with_threads(mut case: CaseSpec) -> CaseSpec {
    if case.device.kind == DeviceKind::Cpu {
        case.params
            .insert("threads".into(), assay_protocol::ParamValue::Int(1));
    }
    case
}

fn note(
    tally: &mut Tally,
    case: &CaseSpec,
    outcome: Result<(), Failure>,
    say: &mut dyn FnMut(&str),
) {
    match outcome {
        Ok(()) => tally.passed += 1,
        Err(Failure::Skipped(reason)) => {
            tally.skipped += 1;
            say(&format!("skipped  {}: {reason}", words(case)));
        }
        Err(Failure::Failed(reason)) => {
            tally.failed += 1;
            say(&format!("FAILED   {}: {reason}", words(case)));
        }
    }
}

fn words(case: &CaseSpec) -> String {
    let params: Vec<_> = case
        .params
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!(
        "{}[{}]@{}+{}",
        case.workload,
        params.join(","),
        case.device,
        case.timing
    )
}

/// Two samples of a case, and what its verification says.
fn run(case: &CaseSpec) -> Result<(), Failure> {
    let entry = catalog()
        .iter()
        .find(|entry| entry.info().name == case.workload);
    let entry = entry.ok_or_else(|| Failure::Failed("it is not in the catalog".into()))?;
    let mut workload = entry.prepare(case)?;
    for _ in 0..2 {
        sample(workload.as_mut())?;
    }
    let verdict = workload.verify()?;
    if verdict.passed {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "error {:?} of at most {:?}: {}",
        verdict.error, verdict.tolerance, verdict.detail
    )))
}

/// One observation, of a few that may be none.
fn sample(workload: &mut dyn Workload) -> Result<(), Failure> {
    let mut reason = String::new();
    for _ in 0..5 {
        workload.restore()?;
        match workload.run(1)?.invalid {
            None => return Ok(()),
            Some(why) => reason = why,
        }
    }
    Err(Failure::Failed(format!("no sample was valid: {reason}")))
}

#[cfg(test)]
mod tests {
    use assay_protocol::DeviceKind;

    use super::Scope;

    fn scope(device: DeviceKind, sizes: &[i64]) -> Scope {
        Scope {
            device,
            seed: 7,
            sizes: sizes.to_vec(),
            timing: None,
        }
    }

    #[test]
    fn every_op_of_the_host_passes() {
        let mut lines = vec![];
        let tally = super::check(&scope(DeviceKind::Cpu, super::SIZES), &mut |line| {
            lines.push(line.to_owned());
        });
        assert!(
            tally.failed == 0 && tally.passed > 50,
            "{tally:?}\n{}",
            lines.join("\n")
        );
    }

    /// A machine without a driver skips all, in words.
    #[test]
    fn without_a_gpu_all_is_skipped() {
        if !assay_kernels::device::cuda::list().is_empty() {
            return;
        }
        let mut lines = vec![];
        let tally = super::check(&scope(DeviceKind::Cuda, &[67]), &mut |line| {
            lines.push(line.to_owned());
        });
        assert!(
            tally.passed == 0 && tally.failed == 0 && tally.skipped > 50,
            "{tally:?}"
        );
        assert!(
            lines.iter().all(|line| line.contains("no CUDA d")),
            "{lines:?}"
        );
    }
}
