//! Telemetry of the CPU: clock, temperature, energy (RAPL), use, stolen time, context switches.

use std::time::Duration;

use super::files::Polled;
use super::source::{Sampled, Source};
use crate::noise::NoiseCounters;
use crate::probe::{packages, sensor_files};
use crate::reading::{CELSIUS, Gap, MEGAHERTZ, Reading, decimal, within};
use crate::roots::Roots;

const ENERGY: Duration = Duration::from_millis(100);
const CLOCK: Duration = Duration::from_millis(200);
/// Ticks are of 10 ms: shorter intervals give coarse rates.
const RATES: Duration = Duration::from_millis(500);
const TEMPERATURE: Duration = Duration::from_millis(500);
/// The kernel renews it every 5 s.
const LOAD: Duration = Duration::from_secs(5);
/// Reading a clock can interrupt its core: a few stand for all.
const MOST_CLOCKS: usize = 4;

pub(super) fn sources(roots: &Roots) -> Vec<Source<'static>> {
    let mut sources = vec![rates(roots), load(roots)];
    sources.extend(clock(roots));
    sources.extend(temperature(roots));
    sources.extend(energy(roots));
    sources
}

fn rates(roots: &Roots) -> Source<'static> {
    // The lines wanted lie behind one line per CPU and the long line of interrupts.
    let mut file = Polled::open(roots, "/proc/stat", 1 << 18);
    let mut earlier: Option<(u64, NoiseCounters)> = None;
    let metrics = [
        ("cpu.busy", "%"),
        ("cpu.steal", "%"),
        ("cpu.context_switches", "1/s"),
        ("cpu.interrupts", "1/s"),
    ];
    Source::several(RATES, &metrics, move |now_ns| {
        let counters = match file.text() {
            Ok(text) => NoiseCounters::from_stat(text),
            Err(gap) => return vec![Err(gap); metrics.len()],
        };
        let rates = match &earlier {
            Some((then_ns, then)) => {
                rates_between(&counters.delta(then), now_ns.saturating_sub(*then_ns))
            }
            None => vec![Ok(None); metrics.len()],
        };
        earlier = Some((now_ns, counters));
        rates
    })
}

fn rates_between(delta: &NoiseCounters, elapsed_ns: u64) -> Vec<Sampled> {
    let known = |value: Option<f64>| {
        value
            .map(Some)
            .ok_or(Gap::Error("/proc/stat lacks it".to_owned()))
    };
    let per_second = |count: Option<u64>| {
        known(count.map(|count| count as f64 / elapsed_ns.max(1) as f64 * 1e9))
    };
    let share = |share: Option<f64>| {
        if delta.busy_ticks.is_some() {
            Ok(share)
        } else {
            known(None)
        }
    };
    vec![
        share(delta.busy_percent()),
        share(delta.steal_percent()),
        per_second(delta.context_switches),
        per_second(delta.interrupts),
    ]
}

fn load(roots: &Roots) -> Source<'static> {
    let mut file = Polled::open(roots, "/proc/loadavg", 128);
    Source::one("load.1min", "1", LOAD, move || {
        within(
            decimal(file.text()?.split_whitespace().next().unwrap_or_default())?,
            &(0.0..=1e6),
            "processes",
        )
    })
}

/// The mean clock of a few CPUs spread over the machine.
fn clock(roots: &Roots) -> Option<Source<'static>> {
    const FOLDER: &str = "/sys/devices/system/cpu/cpufreq";
    let policies = roots.numbered(FOLDER, "policy");
    let stride = policies.len().div_ceil(MOST_CLOCKS).max(1);
    let open = |policy: &String| {
        Polled::number_file(roots, &format!("{FOLDER}/{policy}/scaling_cur_freq"))
    };
    let mut files: Vec<Polled> = policies.iter().step_by(stride).map(open).collect();
    let read = move || {
        let mut sum_khz = 0.0;
        for file in &mut files {
            sum_khz += file.number()? as f64;
        }
        within(sum_khz / files.len() as f64 / 1000.0, &MEGAHERTZ, "MHz")
    };
    (!policies.is_empty()).then(|| Source::one("cpu.frequency", "MHz", CLOCK, read))
}

/// Names of sensors that sit in the CPU, the whole package's first.
const CPU_SENSORS: &[&str] = &[
    "package_id",
    "x86_pkg_temp",
    "tctl",
    "tdie",
    "coretemp",
    "k10temp",
    "zenpower",
    "cpu",
];

fn temperature(roots: &Roots) -> Option<Source<'static>> {
    let sensors = sensor_files(roots);
    let best = CPU_SENSORS
        .iter()
        .find_map(|word| sensors.iter().find(|(name, _)| name.contains(word)));
    let mut file = Polled::number_file(roots, &best?.1);
    let read = move || within(file.number()? as f64 / 1000.0, &CELSIUS, "°C");
    Some(Source::one("cpu.temperature", "°C", TEMPERATURE, read))
}

/// Energy of each CPU package since the sampler began. Only root may read it on current kernels.
fn energy(roots: &Roots) -> Vec<Source<'static>> {
    let source = |(package, folder): (String, String)| {
        let mut file = Polled::number_file(roots, &format!("{folder}/energy_uj"));
        let mut counter = Counter::new(roots.number(format!("{folder}/max_energy_range_uj")));
        let read = move || Ok(counter.advance(file.number()?) / 1e6);
        Source::one(&format!("cpu.package_{package}.energy"), "J", ENERGY, read)
    };
    packages(roots).into_iter().map(source).collect()
}

/// A counter that starts again at 0 beyond its range, made one that only grows.
struct Counter {
    range: Option<i64>,
    last: Option<i64>,
    total: f64,
}

impl Counter {
    fn new(range: Reading<i64>) -> Self {
        Self {
            range: range.ok(),
            last: None,
            total: 0.0,
        }
    }

    fn advance(&mut self, value: i64) -> f64 {
        let last = self.last.replace(value).unwrap_or(value);
        let step = value.saturating_sub(last);
        self.total += match self.range {
            _ if step >= 0 => step as f64,
            Some(range) => step.saturating_add(range).max(0) as f64,
            None => 0.0,
        };
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, rates_between};
    use crate::noise::NoiseCounters;

    #[test]
    fn an_energy_counter_that_wraps_keeps_growing() {
        let mut counter = Counter::new(Ok(1000));
        let totals: Vec<f64> = [900, 990, 40, 50]
            .into_iter()
            .map(|value| counter.advance(value))
            .collect();
        assert_eq!(totals, [0.0, 90.0, 140.0, 150.0]);
    }

    #[test]
    fn rates_are_per_second_and_unknown_ones_alone_are_missing() {
        let delta = NoiseCounters {
            busy_ticks: Some(30),
            idle_ticks: Some(60),
            steal_ticks: Some(10),
            context_switches: Some(50),
            ..NoiseCounters::default()
        };
        let rates = rates_between(&delta, 500_000_000);
        assert_eq!(
            rates[..3],
            [Ok(Some(30.0)), Ok(Some(10.0)), Ok(Some(100.0))]
        );
        assert!(rates[3].is_err());
    }
}
