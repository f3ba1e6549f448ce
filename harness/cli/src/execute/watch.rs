//! What the machine did during a visit, besides it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use assay_machine::noise::{self, NoiseCounters, ProcessUse, disturbances};
use assay_machine::roots::Roots;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Counters over the visit.
    pub noise: BTreeMap<String, f64>,
    /// What of it is a disturbance, in words.
    pub disturbed: Vec<String>,
}

/// A visit that is being watched.
#[derive(Debug)]
pub struct Watch {
    roots: Roots,
    worker: u32,
    own: Option<ProcessUse>,
    counters: NoiseCounters,
    begun: Instant,
}

impl Watch {
    /// Begins to watch, for a worker that was started.
    pub fn begin(worker: u32) -> Self {
        let roots = Roots::here();
        Self {
            worker,
            own: own_use(&roots, worker),
            counters: NoiseCounters::read(&roots),
            begun: Instant::now(),
            roots,
        }
    }

    /// Ends it. A worker that has ended leaves open what was its own doing, and what others did.
    pub fn end(self) -> Seen {
        let elapsed: Duration = self.begun.elapsed();
        let delta = NoiseCounters::read(&self.roots).delta(&self.counters);
        let own = own_use(&self.roots, self.worker)
            .zip(self.own)
            .map(|(after, before)| after.since(&before));
        let mut noise = delta.values();
        noise.extend(own.iter().flat_map(ProcessUse::values));
        let cpus = noise::cpus(&self.roots);
        let own_cpu = own.map(|own| own.cpu());
        Seen {
            noise,
            disturbed: disturbances(&delta, elapsed, cpus, own_cpu),
        }
    }
}

/// What this process and the worker's tree have used so far.
fn own_use(roots: &Roots, worker: u32) -> Option<ProcessUse> {
    let harness = ProcessUse::of_process(roots, std::process::id())?;
    Some(ProcessUse::of_tree(roots, worker)?.and(&harness))
}
