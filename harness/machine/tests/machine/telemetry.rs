//! The sampler's thread, on made-up machines and on this one.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use assay_machine::telemetry::Sampler;
use assay_machine::{Gpus, Roots};
use assay_record::body::TelemetrySeries;

use crate::fake::Fake;
use crate::gpu::open;
use crate::tree::{LAPTOP, Tree};

const PERIOD: Duration = Duration::from_millis(10);

fn start(tree: &Tree, gpus: Gpus) -> Sampler {
    Sampler::start_on(tree.roots(), Arc::new(gpus), PERIOD)
}

/// Drains until a condition holds of all that was collected, for at most a minute.
fn until(
    sampler: &Sampler,
    all: &mut Vec<TelemetrySeries>,
    done: impl Fn(&[TelemetrySeries]) -> bool,
) {
    let start = Instant::now();
    while !done(all) {
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "{all:?}, notes: {:?}",
            sampler.notes()
        );
        sleep(PERIOD);
        all.extend(sampler.drain());
    }
}

fn values(all: &[TelemetrySeries], name: &str) -> Vec<f64> {
    all.iter()
        .filter(|series| series.name == name)
        .flat_map(|series| series.values.clone())
        .collect()
}

#[test]
fn a_laptop_gives_clock_temperature_energy_and_load() {
    let tree = Tree::of(&[LAPTOP]);
    let sampler = start(&tree, Gpus::none("test"));
    let mut all = Vec::new();
    let energy = "cpu.package_0.energy";
    until(&sampler, &mut all, |all| !values(all, energy).is_empty());
    tree.file("/sys/class/powercap/intel-rapl:0/energy_uj", "3500000\n");
    until(&sampler, &mut all, |all| {
        values(all, energy).last() == Some(&2.5)
    });
    assert_eq!(values(&all, "cpu.temperature")[0], 93.0);
    assert_eq!(
        values(&all, "cpu.frequency")[0],
        150.0,
        "the mean of 0, 100, 200 and 300"
    );
    assert_eq!(values(&all, "load.1min"), [3.9], "renewed every 5 s only");
    assert!(
        all.iter()
            .all(|series| !series.values.is_empty() && series.values.len() == series.at_ns.len())
    );
    assert!(all.iter().all(|series| series.at_ns.is_sorted()));
    assert!(sampler.notes().is_empty(), "{:?}", sampler.notes());
}

#[test]
fn gpus_are_sampled_and_a_broken_sensor_is_left_out_and_noted_once() {
    let Some(fake) = Fake::build() else { return };
    let tree = Tree::of(&[]);
    let sampler = start(&tree, open(&fake));
    let mut all = Vec::new();
    until(&sampler, &mut all, |all| {
        values(all, "gpu.0.energy").len() >= 3
    });
    assert_eq!(values(&all, "gpu.0.power")[0], 123.456);
    assert!(values(&all, "gpu.0.energy").is_sorted());
    assert_eq!(values(&all, "gpu.1.throttle_reasons")[0], 72.0);
    assert!(values(&all, "gpu.1.temperature").is_empty());
    assert!(values(&all, "gpu.1.energy").is_empty());
    let notes = sampler.notes();
    assert_eq!(notes.len(), 1, "what GPU 1 never had is no news: {notes:?}");
    assert!(
        notes[0].starts_with("telemetry `gpu.1.temperature`: the sensor says"),
        "{notes:?}"
    );
}

#[test]
fn a_gpu_that_falls_off_the_bus_costs_its_own_series() {
    let Some(fake) = Fake::build() else { return };
    let tree = Tree::of(&[]);
    let sampler = start(&tree, open(&fake));
    let mut all = Vec::new();
    until(&sampler, &mut all, |all| {
        !values(all, "gpu.0.power").is_empty()
    });
    fake.say("lost 0\n");
    let start = Instant::now();
    while sampler.notes().len() < 5 {
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "{:?}",
            sampler.notes()
        );
        sleep(PERIOD);
    }
    sampler.drain();
    let mut later = Vec::new();
    until(&sampler, &mut later, |all| {
        !values(all, "gpu.1.power").is_empty()
    });
    assert!(values(&later, "gpu.0.power").is_empty());
}

#[test]
fn stopping_gives_what_is_left_and_is_quick() {
    let sampler = Sampler::start_on(
        Roots::here(),
        Arc::new(Gpus::none("test")),
        Duration::from_hours(1),
    );
    sleep(Duration::from_millis(100));
    let start = Instant::now();
    let left = sampler.stop();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(
        left.iter().any(|series| series.name == "load.1min"),
        "{left:?}"
    );
}
