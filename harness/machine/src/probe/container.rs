//! Whether this process runs in a container, and which kind.

use super::Machine;
use crate::parts::Parts;
use crate::roots::Roots;

/// Words in the control group's path that engines leave.
const PATHS: &[(&str, &str)] = &[
    ("kubepods", "kubernetes"),
    ("libpod", "podman"),
    ("docker", "docker"),
    ("containerd", "containerd"),
    ("/lxc", "lxc"),
];

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    parts.settings.put("container.kind", kind(machine.roots));
}

fn kind(roots: &Roots) -> String {
    if let Ok(text) = roots.bytes("/run/.containerenv") {
        let text = String::from_utf8_lossy(&text).into_owned();
        let engine = text
            .lines()
            .find_map(|line| line.strip_prefix("engine="))
            .unwrap_or("podman");
        return engine.trim_matches('"').to_owned();
    }
    if roots.exists("/.dockerenv") {
        return "docker".to_owned();
    }
    if roots.exists("/.singularity.d") {
        return "apptainer".to_owned();
    }
    if roots.exists("/var/run/secrets/kubernetes.io") {
        return "kubernetes".to_owned();
    }
    let groups = roots.read("/proc/self/cgroup").unwrap_or_default();
    let known = PATHS.iter().find(|(word, _)| groups.contains(word));
    known.map_or("none", |(_, kind)| *kind).to_owned()
}
