//! Energy of one iteration, from the counters that telemetry read while a round was measured.
//!
//! It is all that the device took in the stretch of steady samples, divided by their iterations: what idles beside the
//! work counts too. Of GPUs that ran a case together it is the sum, or nothing where one of them does not tell its part. A round counts where the stretch is long enough for the counter, and holds little else than samples: a
//! `cold` case spends most of its energy between them. Nothing is said of a part of a divided GPU (MIG), whose counter is
//! that of the whole.

use std::collections::BTreeMap;

use assay_protocol::uuids;
use assay_record::{Field, Fingerprint};
use assay_stats::{Interval, growth};
use assay_store::{CaseRow, MeasuredRound, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::estimate::estimate;
use crate::summary::RunSummary;

/// How often a GPU renews its counter is not documented. Its power is renewed every 100 ms on the slowest of the GPUs that
/// were looked at (Yang, Adamek and Armour 2023, arXiv:2312.02741).
const GPU_PERIOD_NS: u64 = 100_000_000;
/// RAPL's counters are renewed about every millisecond (Intel SDM, volume 3B, section "RAPL Interfaces").
const CPU_PERIOD_NS: u64 = 1_000_000;
/// A round counts where the counter's period makes no larger error: from 2 s on for a GPU, from 20 ms on for a CPU.
const LARGEST_ERROR: f64 = 0.05;
/// And where samples are at least this share of their stretch.
const LEAST_BUSY: f64 = 0.9;

/// Energy per iteration of a case on an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// Joules per iteration of each round that is long enough.
    pub rounds: Vec<f64>,
    /// Estimate over these rounds, with its interval, in joules.
    pub estimate: Interval,
    /// The same for one item (a token of a language model, a row, a picture), in joules; absent where a case counts no items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_item: Option<Interval>,
    /// Largest relative error that the counter's period may have made in a round.
    pub error: f64,
    /// The GPUs whose energies were added up, by their numbers, where several ran it together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<u32>,
}

impl RunSummary {
    /// The same, with the energy of each case whose rounds were long enough to tell.
    pub fn with_energy(mut self, store: &Store) -> Result<Self, StoreError> {
        let rounds = store.energy(&self.run.run)?;
        if rounds.is_empty() {
            return Ok(self);
        }
        let fingerprint = store.fingerprint(&self.run.before)?;
        let mut by_case: BTreeMap<(&str, &str), Vec<&MeasuredRound>> = BTreeMap::new();
        for round in &rounds {
            let key = (round.case.as_str(), round.arm.as_str());
            by_case.entry(key).or_default().push(round);
        }
        for summary in &mut self.cases {
            let key = (summary.case.case.as_str(), summary.case.arm.as_str());
            let rounds = by_case.get(&key).map_or(&[][..], Vec::as_slice);
            summary.energy = Energy::of(&summary.case, rounds, &fingerprint);
            if summary.energy.is_none() {
                summary.energy_lacks = lacking(&summary.case, rounds, &fingerprint);
            }
        }
        Ok(self)
    }
}

impl Energy {
    /// From the rounds of a case; `None` where none of them tells.
    fn of(case: &CaseRow, rounds: &[&MeasuredRound], machine: &Fingerprint) -> Option<Self> {
        let each = rounds.iter().filter_map(|round| {
            let counters = Counters::of(&case.device, round.device.as_deref(), machine).ok()?;
            Some((per_iteration(round, &counters)?, counters.gpus))
        });
        let (told, gpus): (Vec<_>, Vec<_>) = each.unzip();
        let (rounds, errors): (Vec<f64>, Vec<f64>) = told.into_iter().unzip();
        // Those of the first round that counts: they may be others in another one, and as many.
        let gpus = gpus.into_iter().next().filter(|gpus| gpus.len() > 1);
        let estimate = estimate(&rounds)?;
        let items = case.work.items.filter(|items| *items > 0);
        Some(Self {
            per_item: items.map(|items| divided(&estimate, items as f64)),
            estimate,
            error: errors.into_iter().fold(0.0, f64::max),
            rounds,
            gpus: gpus.unwrap_or_default(),
        })
    }
}

/// Why the energy of a case that several GPUs ran together is not told, if one of them is why.
fn lacking(case: &CaseRow, rounds: &[&MeasuredRound], machine: &Fingerprint) -> Option<String> {
    let device = rounds.first()?.device.as_deref()?;
    uuids::each(device).nth(1)?;
    let counters = match Counters::of(&case.device, Some(device), machine) {
        Ok(counters) => counters,
        Err(why) => return Some(why),
    };
    let is_there = |name: &&String| {
        let mut all = rounds.iter().flat_map(|round| &round.counters);
        all.any(|one| one.name.starts_with(*name))
    };
    let place = counters.names.iter().position(|name| !is_there(&name))?;
    Some(format!(
        "GPU {} tells nothing of its own",
        counters.gpus[place]
    ))
}

fn divided(joules: &Interval, parts: f64) -> Interval {
    Interval {
        estimate: joules.estimate / parts,
        low: joules.low / parts,
        high: joules.high / parts,
        confidence: joules.confidence,
    }
}

/// Which counters hold the energy of what ran a case.
struct Counters {
    /// The start of their names: of each GPU, or of all packages of CPUs.
    names: Vec<String>,
    period_ns: u64,
    /// The GPUs, in the same order.
    gpus: Vec<u32>,
}

impl Counters {
    /// Those of a device, or of several; or why there are none.
    fn of(kind: &str, device: Option<&str>, machine: &Fingerprint) -> Result<Self, String> {
        if kind == "cpu" {
            return Ok(Self {
                names: vec!["cpu.package_".into()],
                period_ns: CPU_PERIOD_NS,
                gpus: vec![],
            });
        }
        let gpus = machine.gpus_of(device);
        let gpus = gpus.ok_or("it is not known which of the machine's GPUs ran it")?;
        let is_divided = |gpu: &&u32| {
            let field = machine.settings.get(&format!("gpu.{gpu}.mig"));
            field == Some(&Field::bool(true))
        };
        if let Some(gpu) = gpus.iter().find(is_divided) {
            return Err(format!(
                "the counter of GPU {gpu}, which is divided, is that of the whole"
            ));
        }
        Ok(Self {
            names: gpus.iter().map(|gpu| format!("gpu.{gpu}.energy")).collect(),
            period_ns: GPU_PERIOD_NS,
            gpus,
        })
    }
}

/// Joules per iteration of a round, and the largest relative error of that.
fn per_iteration(round: &MeasuredRound, counters: &Counters) -> Option<(f64, f64)> {
    let stretch_ns = round.to_ns.checked_sub(round.from_ns)?;
    if (round.busy_ns as f64) < LEAST_BUSY * stretch_ns as f64 {
        return None;
    }
    let (mut watts, mut error) = (0.0, 0.0_f64);
    for name in &counters.names {
        let [of_name, within] = of_counters(round, name, counters.period_ns)?;
        watts += of_name;
        error = error.max(within);
    }
    let joules = watts * stretch_ns as f64 / 1e9 / round.iterations as f64;
    (error <= LARGEST_ERROR && joules > 0.0).then_some((joules, error))
}

/// Watts by the counters whose names begin so, of which there is at least one, and the largest relative error of that.
fn of_counters(round: &MeasuredRound, names: &str, period_ns: u64) -> Option<[f64; 2]> {
    let all = round.counters.iter();
    let mut own = all.filter(|one| one.name.starts_with(names)).peekable();
    own.peek()?;
    own.try_fold([0.0, 0.0_f64], |[watts, error], series| {
        let stretch = round.from_ns..=round.to_ns;
        let growth = growth(&series.at_ns, &series.values, stretch, period_ns)?;
        Some([watts + growth.per_second, error.max(growth.error)])
    })
}

#[cfg(test)]
mod tests {
    use assay_record::body::TelemetrySeries;
    use assay_store::MeasuredRound;

    use super::{CPU_PERIOD_NS, Counters, GPU_PERIOD_NS, per_iteration};

    const SECOND: u64 = 1_000_000_000;

    fn of_gpus(gpus: &[u32]) -> Counters {
        Counters {
            names: gpus.iter().map(|gpu| format!("gpu.{gpu}.energy")).collect(),
            period_ns: GPU_PERIOD_NS,
            gpus: gpus.to_vec(),
        }
    }

    /// Three seconds of 1000 iterations, on a GPU that takes 200 W, after a second in which it took 50.
    fn round() -> MeasuredRound {
        let at_ns: Vec<u64> = (0..=50).map(|tenth| tenth * SECOND / 10).collect();
        let joules = |at: &u64| {
            let seconds = *at as f64 / 1e9;
            7000.0 + 50.0 * seconds + 150.0 * (seconds - 1.0).clamp(0.0, 3.0)
        };
        MeasuredRound {
            case: "case".into(),
            arm: "main".into(),
            device: None,
            from_ns: SECOND + 1,
            to_ns: 4 * SECOND - 1,
            busy_ns: 3 * SECOND - 1000,
            iterations: 1000,
            counters: vec![TelemetrySeries {
                name: "gpu.0.energy".into(),
                unit: "J".into(),
                values: at_ns.iter().map(joules).collect(),
                at_ns,
            }],
        }
    }

    #[test]
    fn verdicts_energy_is_that_of_the_measured_stretch() {
        let (joules, error) = per_iteration(&round(), &of_gpus(&[0])).unwrap();
        assert!((joules - 0.6).abs() < 1e-6, "{joules}");
        assert!((error - 0.1 / 2.8).abs() < 1e-9, "{error}");
    }

    #[test]
    fn verdicts_energy_needs_its_own_counter_and_a_long_busy_stretch() {
        let of = |edit: fn(&mut MeasuredRound)| {
            let mut round = round();
            edit(&mut round);
            per_iteration(&round, &of_gpus(&[0]))
        };
        assert!(of(|_| ()).is_some());
        assert!(of(|round| round.counters[0].name = "gpu.1.energy".into()).is_none());
        assert!(of(|round| round.busy_ns = 2 * SECOND).is_none(), "pauses");
        assert!(of(|round| round.counters.clear()).is_none());
        assert!(
            of(|round| round.counters[0].values[20] = 0.0).is_none(),
            "reset"
        );
        let short = |round: &mut MeasuredRound| {
            round.to_ns = round.from_ns + SECOND;
            round.busy_ns = SECOND;
        };
        assert!(of(short).is_none(), "a second is too short for a GPU");
    }

    #[test]
    fn verdicts_energy_of_gpus_is_added_up_if_all_tell_theirs() {
        let mut round = round();
        let mut second = round.counters[0].clone();
        second.name = "gpu.1.energy".into();
        second.values.iter_mut().for_each(|joules| *joules *= 2.0);
        round.counters.push(second);
        let of = |gpus: &[u32]| per_iteration(&round, &of_gpus(gpus)).map(|(joules, _)| joules);
        assert!((of(&[1]).unwrap() - 1.2).abs() < 1e-6);
        assert!((of(&[0, 1]).unwrap() - 1.8).abs() < 1e-6);
        assert_eq!(of(&[0, 2]), None);
    }

    #[test]
    fn verdicts_energy_of_all_packages_is_added_up() {
        let mut round = round();
        round.to_ns = round.from_ns + SECOND / 2;
        round.busy_ns = SECOND / 2;
        round.counters[0].name = "cpu.package_0.energy".into();
        round.counters.push(TelemetrySeries {
            name: "cpu.package_1.energy".into(),
            ..round.counters[0].clone()
        });
        let packages = Counters {
            names: vec!["cpu.package_".into()],
            period_ns: CPU_PERIOD_NS,
            gpus: vec![],
        };
        let (joules, error) = per_iteration(&round, &packages).unwrap();
        assert!((joules - 0.2).abs() < 1e-6, "{joules}");
        assert!(error < 0.01);
    }
}
