//! Who else is on a GPU: processes other than ours that hold a context there.

use assay_record::{Field, Fingerprint, Scalar};

use super::fields::Gpu;
use super::reading;
use crate::noise::descendants;
use crate::parts::Parts;
use crate::reading::{Gap, Reading, tally};
use crate::roots::Roots;

pub(super) fn probe(gpu: &Gpu<'_>, parts: &mut Parts) {
    let others = others(gpu);
    let sheet = &mut parts.volatile;
    gpu.put(sheet, "processes", others.clone().map(|ids| ids.len()));
    let names = others.and_then(|ids| match &ids[..] {
        [] => Ok("none".to_owned()),
        ids => tally(
            &ids.iter()
                .map(|id| name(gpu.roots, *id))
                .collect::<Vec<_>>(),
        ),
    });
    gpu.put(sheet, "process_names", names);
}

/// Ids of processes that hold a context and are neither this one nor started by it.
fn others(gpu: &Gpu<'_>) -> Reading<Vec<u32>> {
    let compute = reading(gpu.device.running_compute_processes());
    let graphics = reading(gpu.device.running_graphics_processes());
    if let (Err(gap), Err(_)) = (&compute, &graphics) {
        return Err::<_, Gap>(gap.clone());
    }
    let ids = compute.into_iter().chain(graphics).flatten();
    let mut ids: Vec<u32> = ids.map(|process| process.pid).collect();
    ids.sort_unstable();
    ids.dedup();
    if !ids.is_empty() {
        let own = descendants(gpu.roots, std::process::id());
        ids.retain(|id| !own.contains(id));
    }
    Ok(ids)
}

/// What the kernel calls a process: short, and without its arguments, which are nobody's business.
fn name(roots: &Roots, id: u32) -> String {
    let name = roots.read(format!("/proc/{id}/comm")).unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

/// Other users of each GPU at the moment of a fingerprint, in words; nothing of GPUs that nobody else holds.
pub fn users(fingerprint: &Fingerprint) -> Vec<String> {
    let volatile = |name: String| fingerprint.volatile.get(&name).and_then(Field::value);
    let of_one = |index: u32| {
        let Some(Scalar::Int(count @ 1..)) = volatile(format!("gpu.{index}.processes")) else {
            return None;
        };
        let processes = if *count == 1 { "process" } else { "processes" };
        let names = volatile(format!("gpu.{index}.process_names"))?;
        Some(format!(
            "GPU {index} is held by {count} other {processes}: {names}"
        ))
    };
    (0..fingerprint.gpus()).filter_map(of_one).collect()
}
