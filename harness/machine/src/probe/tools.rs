//! Container engines and compilers that are on the search path, by place and not by version:
//! asking each for its version would start processes and take seconds.

use std::path::PathBuf;

use super::Machine;
use crate::parts::Parts;
use crate::reading::{Gap, Reading};
use crate::roots::Roots;

const TOOLS: &[(&str, &[&str])] = &[
    ("engine.podman", &["podman"]),
    ("engine.docker", &["docker"]),
    ("engine.apptainer", &["apptainer", "singularity"]),
    ("tool.rustc", &["rustc"]),
    ("tool.nvcc", &["nvcc"]),
    ("tool.c_compiler", &["cc", "gcc", "clang"]),
];

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let folders = search_path();
    for (name, executables) in TOOLS {
        parts
            .software
            .put(*name, place(machine.roots, &folders, executables));
    }
    parts.software.put("cuda.toolkit", toolkit(machine.roots));
}

fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}

fn place(roots: &Roots, folders: &[PathBuf], executables: &[&str]) -> Reading<String> {
    let candidates = executables
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = candidates
        .into_iter()
        .find(|path| path.is_absolute() && roots.path(path).is_file());
    found
        .map(|path| path.display().to_string())
        .ok_or(Gap::Unsupported)
}

/// The version in the CUDA toolkit's own `version.json`.
fn toolkit(roots: &Roots) -> Reading<String> {
    let text = roots.read("/usr/local/cuda/version.json")?;
    let value: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Gap::Error(format!("version.json: {error}")))?;
    let version = value
        .pointer("/cuda/version")
        .and_then(serde_json::Value::as_str);
    version
        .map(str::to_owned)
        .ok_or_else(|| Gap::Error("version.json names no version of CUDA".to_owned()))
}
