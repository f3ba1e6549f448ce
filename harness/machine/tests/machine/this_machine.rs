//! The machine that the tests run on.

use std::time::{Duration, Instant};

use assay_machine::{Gpus, NoiseCounters, Roots, fingerprint, probe};
use assay_record::Field;

#[test]
fn it_has_a_fingerprint_that_stays_the_same() {
    let (one, two) = (fingerprint(), fingerprint());
    for name in ["cpu.threads", "memory.total_mib"] {
        assert!(
            one.hardware[name].value().is_some(),
            "{name}: {}",
            one.hardware[name]
        );
    }
    assert!(!matches!(one.software["kernel.release"], Field::Error(_)));
    assert_eq!(
        (&one.hardware, &one.software),
        (&two.hardware, &two.software)
    );
    assert_eq!(one.identity(None).unwrap(), two.identity(None).unwrap());
    one.digest().unwrap();
}

#[test]
fn taking_it_is_quick() {
    let (roots, gpus) = (Roots::here(), Gpus::none("not timed"));
    let times = (0..10).map(|_| {
        let start = Instant::now();
        std::hint::black_box(probe(&roots, &gpus));
        start.elapsed()
    });
    let fastest = times.min().unwrap();
    println!("the fastest of 10 probes took {fastest:.1?}");
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
}

#[test]
fn its_noise_counters_grow() {
    let roots = Roots::here();
    let before = NoiseCounters::read(&roots);
    std::thread::sleep(Duration::from_millis(30));
    let delta = NoiseCounters::read(&roots).delta(&before);
    assert!(
        delta.context_switches.is_some_and(|count| count > 0),
        "{delta:?}"
    );
    assert!(delta.values().contains_key("page_faults"));
}
