//! Digests of the files that a run reads from its suite's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use assay_protocol::Digest;
use assay_record::{Case, WorkloadRef};

use super::file_digest;

/// What stands for the suite's folder in argument vectors.
pub const DIR: &str = "{dir}";

/// Digest of every file that an argument names with `{dir}/`, by that argument.
pub fn digests(
    workers: &BTreeMap<String, Vec<String>>,
    cases: &[Case],
    dir: &Path,
) -> Result<BTreeMap<String, Digest>> {
    let commands = cases.iter().filter_map(|case| match &case.workload {
        WorkloadRef::Command(spec) => Some(&spec.argv),
        WorkloadRef::Worker { .. } => None,
    });
    let mut named: Vec<&String> = workers
        .values()
        .chain(commands)
        .flatten()
        .filter(|a| a.starts_with("{dir}/"))
        .collect();
    named.sort_unstable();
    named.dedup();
    let digest = |argument: &String| {
        let path = resolve(argument, dir);
        let digest =
            file_digest(&path).with_context(|| format!("file {argument} that the suite names"))?;
        Ok((argument.clone(), digest))
    };
    named
        .into_iter()
        .filter(|argument| !resolve(argument, dir).is_dir())
        .map(digest)
        .collect()
}

/// The path that an argument with `{dir}/` names.
pub fn resolve(argument: &str, dir: &Path) -> PathBuf {
    PathBuf::from(fill(argument, dir))
}

/// Puts the suite's folder in place of `{dir}`.
pub fn fill(text: &str, dir: &Path) -> String {
    text.replace(DIR, &dir.to_string_lossy())
}
