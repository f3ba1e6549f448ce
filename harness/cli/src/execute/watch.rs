//! What the machine did during a visit, besides it: its counters before and after, and telemetry meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use assay_machine::noise::{self, NoiseCounters, ProcessUse, disturbances, gpu_disturbances};
use assay_machine::roots::Roots;
use assay_machine::telemetry::{Incident, Sampler};
use assay_protocol::DeviceKind;
use assay_record::body::TelemetrySeries;
use assay_record::{Fingerprint, Manifest};

/// Telemetry of a run, and the machine that it is of.
#[derive(Debug)]
pub struct Telemetry {
    sampler: Sampler,
    machine: Fingerprint,
}

/// What telemetry says of a visit.
#[derive(Debug)]
pub struct Told {
    /// All that was read.
    pub series: Vec<TelemetrySeries>,
    /// What of it disturbed the visit, in words.
    pub disturbed: Vec<String>,
    /// What GPUs reported by themselves, in words.
    pub incidents: Vec<String>,
}

impl Telemetry {
    /// Of the machine with this fingerprint.
    pub fn new(sampler: Sampler, machine: Fingerprint) -> Self {
        Self { sampler, machine }
    }

    /// Forgets what was sampled so far: what lies between visits belongs to none.
    pub fn skip(&self) {
        drop(self.sampler.drain());
    }

    /// What was read since, for a visit on a device of this kind, and of this UUID, or of those of several, where that is known.
    pub fn tell(&self, kind: DeviceKind, uuid: Option<&str>) -> Told {
        let series = self.sampler.drain();
        let incidents = self.sampler.incidents();
        let disturbed = match (kind, self.machine.gpus_of(uuid)) {
            (DeviceKind::Cpu, _) => Vec::new(),
            (DeviceKind::Cuda, Some(gpus)) => {
                let of_each = gpus.iter().map(|gpu| gpu_disturbances(&series, *gpu));
                let own = incidents.iter().filter(|one| gpus.contains(&one.gpu));
                of_each.flatten().chain(own.map(said)).collect()
            }
            // Which GPU it was is not known: an error of any may have been in the way.
            (DeviceKind::Cuda, None) => incidents.iter().map(said).collect(),
        };
        Told {
            series,
            disturbed,
            incidents: incidents.iter().map(said).collect(),
        }
    }

    /// What went wrong with telemetry itself, and what GPUs reported since the last visit.
    pub fn notes(&self) -> Vec<String> {
        let incidents = self.sampler.incidents();
        let mut notes = self.sampler.notes();
        notes.extend(incidents.iter().map(said));
        notes
    }
}

fn said(incident: &Incident) -> String {
    format!("GPU {} {}", incident.gpu, incident.text)
}

/// Who else holds a GPU before or after a run on GPUs, for its record.
pub fn gpu_users(manifest: &Manifest, machine: &Fingerprint, when: &str) -> Vec<String> {
    let mut cases = manifest.cases.iter();
    if !cases.any(|case| case.device.kind == DeviceKind::Cuda) {
        return Vec::new();
    }
    let users = assay_machine::gpu::users(machine).into_iter();
    users.map(|who| format!("{when} the run, {who}")).collect()
}

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
