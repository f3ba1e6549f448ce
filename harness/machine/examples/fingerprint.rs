//! Prints this machine's fingerprint and the time that taking it costs.

use std::time::Instant;

use assay_machine::{Gpus, Roots, probe};
use assay_record::fingerprint::PARTS;

const TIMES: u32 = 20;

fn main() {
    let gpus = Gpus::from_environment();
    let roots = Roots::here();
    let start = Instant::now();
    let fingerprint = probe(&roots, &gpus);
    let first = start.elapsed();
    let start = Instant::now();
    for _ in 0..TIMES {
        std::hint::black_box(probe(&roots, &gpus));
    }
    let mean = start.elapsed() / TIMES;
    for part in PARTS {
        println!("[{part}]");
        for (name, field) in fingerprint.part(part).into_iter().flatten() {
            println!("  {name:<40} {field}");
        }
    }
    println!("first probe: {first:.1?}, mean of {TIMES} more: {mean:.1?}");
}
