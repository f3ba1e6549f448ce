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
    Sampler::start_on(tree.roots(), &Arc::new(gpus), PERIOD)
}

/// Drains until a condition holds of all that was collected, for at most a minute.
fn until(
    sampler: &Sampler,
    all: &mut Vec<TelemetrySeries>,
    mut done: impl FnMut(&[TelemetrySeries]) -> bool,
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
    assert_eq!(values(&all, "gpu.0.memory_temperature")[0], 52.0);
    assert_eq!(values(&all, "gpu.0.ecc_corrected"), [3.0]);
    assert_eq!(values(&all, "gpu.0.ecc_uncorrected"), [0.0]);
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
fn a_call_that_blocks_delays_no_other_metric() {
    let Some(fake) = Fake::build() else { return };
    fake.say("stuck\n");
    let tree = Tree::of(&[]);
    let sampler = start(&tree, open(&fake));
    let mut all = Vec::new();
    until(&sampler, &mut all, |all| {
        values(all, "gpu.0.energy").len() >= 4
    });
    assert!(values(&all, "gpu.0.pcie_rx").is_empty());
    fake.say("");
    until(&sampler, &mut all, |all| {
        !values(all, "gpu.0.pcie_tx").is_empty()
    });
    assert_eq!(values(&all, "gpu.0.pcie_tx")[0], 1.5);
    assert_eq!(values(&all, "gpu.0.pcie_rx")[0], 2.5);
    assert!(sampler.cost() > Duration::ZERO);
}

#[test]
fn absurd_values_are_noted_and_never_kept() {
    let Some(fake) = Fake::build() else { return };
    fake.say("nonsense\n");
    let tree = Tree::of(&[]);
    let sampler = start(&tree, open(&fake));
    let broken = [
        "ecc_corrected",
        "ecc_uncorrected",
        "energy",
        "memory_clock",
        "memory_temperature",
        "memory_used",
        "pcie_rx",
        "pcie_tx",
        "power",
        "sm_clock",
        "temperature",
        "utilization",
    ];
    let noted = |name: &str| {
        let start = format!("telemetry `gpu.0.{name}`: the sensor says ");
        let notes = sampler.notes();
        notes.iter().filter(|note| note.starts_with(&start)).count() == 1
    };
    let mut all = Vec::new();
    until(&sampler, &mut all, |_| {
        broken.iter().all(|name| noted(name))
    });
    let kept = all
        .iter()
        .filter(|series| series.name.starts_with("gpu.0."));
    let kept: Vec<&str> = kept.map(|series| series.name.as_str()).collect();
    assert!(
        kept.iter().all(|name| *name == "gpu.0.throttle_reasons"),
        "{kept:?}"
    );
}

#[test]
fn instances_of_a_divided_gpu_have_their_memory_and_no_more() {
    let Some(fake) = Fake::build() else { return };
    fake.say("mig\n");
    let tree = Tree::of(&[]);
    let sampler = start(&tree, open(&fake));
    let mut all = Vec::new();
    let done = ["gpu.0.mig.0.memory_used", "gpu.0.mig.2.memory_used"];
    until(&sampler, &mut all, |all| {
        done.iter().all(|name| !values(all, name).is_empty())
    });
    assert_eq!(values(&all, done[1])[0], 4.0);
    assert_eq!(values(&all, "gpu.0.power")[0], 123.456);
    assert!(values(&all, "gpu.0.utilization").is_empty());
    let instances = all.iter().filter(|series| series.name.contains(".mig."));
    assert!(
        instances
            .into_iter()
            .all(|series| done.contains(&&*series.name))
    );
}

#[test]
fn errors_that_a_gpu_reports_are_heard_once_each() {
    let Some(fake) = Fake::build() else { return };
    let tree = Tree::of(&[]);
    let sampler = start(&tree, open(&fake));
    let mut heard = Vec::new();
    let mut until_heard = |count| {
        let mut ignored = Vec::new();
        until(&sampler, &mut ignored, |_| {
            heard.extend(sampler.incidents());
            heard.len() >= count
        });
    };
    fake.say("xid 48\n");
    until_heard(1);
    fake.say("xid 48\nxid 7\n");
    until_heard(2);
    let said: Vec<_> = heard.iter().map(|one| (one.gpu, &*one.text)).collect();
    assert_eq!(
        said,
        [
            (0, "reported Xid 48: an uncorrectable memory error"),
            (0, "reported Xid 7")
        ]
    );
    assert!(heard[0].at_ns < heard[1].at_ns);
}

#[test]
fn a_gpu_that_falls_off_the_bus_costs_its_own_series() {
    let Some(fake) = Fake::build() else { return };
    let tree = Tree::of(&[]);
    let sampler = start(&tree, open(&fake));
    let mut all = Vec::new();
    until(&sampler, &mut all, |all| {
        !values(all, "gpu.0.power").is_empty() && !values(all, "gpu.0.pcie_rx").is_empty()
    });
    fake.say("lost 0\n");
    let noted = |what: &str| sampler.notes().iter().any(|note| note.contains(what));
    let lost = [
        "`gpu.0.power`",
        "`gpu.0.pcie_rx`",
        "errors of GPU 0 are heard no more",
    ];
    until(&sampler, &mut all, |_| lost.iter().all(|what| noted(what)));
    sampler.drain();
    let mut later = Vec::new();
    until(&sampler, &mut later, |all| {
        !values(all, "gpu.1.power").is_empty()
    });
    assert!(values(&later, "gpu.0.power").is_empty());
    assert!(!noted("gpu.1.power") && !noted("GPU 1"));
}

#[test]
fn stopping_gives_what_is_left_and_is_quick() {
    let sampler = Sampler::start_on(
        Roots::here(),
        &Arc::new(Gpus::none("test")),
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
