//! The files that a run reads from its suite's folder: pinned by digest, and checked before anything runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_record::{Case, Manifest, WorkloadRef};

use super::file_digest;
use super::project::is_pointer;

/// What stands for the suite's folder in arguments and variables.
pub const DIR: &str = "{dir}";

/// Refuses `{dir}` in the middle of a text: the file that it names could not be told, and so not pinned.
pub fn check(text: &str) -> Result<()> {
    let rest = text.strip_prefix(DIR).unwrap_or(text);
    ensure!(
        !rest.contains(DIR),
        "{text:?}: {DIR} stands at the start of an argument or variable, so that the file can be pinned; \
         or set `directory = \"{DIR}\"`"
    );
    Ok(())
}

/// Digest of every file that an argument or variable names with `{dir}/`, by that text.
pub fn digests(
    workers: &BTreeMap<String, Vec<String>>,
    cases: &[Case],
    dir: &Path,
) -> Result<BTreeMap<String, Digest>> {
    let of_cases = cases.iter().flat_map(|case| match &case.workload {
        WorkloadRef::Command(spec) => spec.argv.iter().chain(spec.env.values()).collect(),
        WorkloadRef::Kernel(spec) => vec![&spec.file],
        WorkloadRef::Worker { .. } => vec![],
    });
    let texts = workers.values().flatten().chain(of_cases);
    let mut named: Vec<&String> = texts.filter(|text| text.starts_with("{dir}/")).collect();
    named.sort_unstable();
    named.dedup();
    let digest = |text: &String| {
        let named = || format!("file {text} that the suite names");
        let path = resolve(text, dir);
        let content = std::fs::read(&path).with_context(|| path.display().to_string());
        let content = content.with_context(named)?;
        ensure!(
            !is_pointer(&content),
            "{}: only a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`",
            named()
        );
        Ok((text.clone(), Digest::of(content)))
    };
    named
        .into_iter()
        .filter(|text| !resolve(text, dir).is_dir())
        .map(digest)
        .collect()
}

/// Whether a run looks for anything in the suite's folder.
pub fn names_folder(manifest: &Manifest) -> bool {
    let in_worker = manifest.workers.values().flatten().any(|text| names(text));
    in_worker
        || manifest
            .cases
            .iter()
            .any(|case| reads_folder(manifest, case))
}

/// Whether a case, or the worker that serves it, looks for anything in the suite's folder.
pub fn reads_folder(manifest: &Manifest, case: &Case) -> bool {
    match &case.workload {
        WorkloadRef::Command(spec) => {
            let texts = spec.argv.iter().chain(spec.env.values());
            texts.chain(&spec.directory).any(|text| names(text))
        }
        WorkloadRef::Kernel(spec) => names(&spec.file),
        WorkloadRef::Worker { worker, .. } => {
            let argv = manifest.workers.get(worker);
            argv.is_some_and(|argv| argv.iter().any(|text| names(text)))
        }
    }
}

fn names(text: &str) -> bool {
    text.contains(DIR)
}

/// What is not as the manifest pins it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unpinned {
    /// Files whose content is another one.
    pub changed: Vec<PathBuf>,
    /// Files that cannot be read.
    pub missing: Vec<PathBuf>,
}

impl Unpinned {
    /// Whether all is as the manifest pins it.
    pub fn is_none(&self) -> bool {
        self.changed.is_empty() && self.missing.is_empty()
    }
}

/// Compares the files in the suite's folder with the digests in the manifest.
pub fn compare(manifest: &Manifest, dir: &Path) -> Unpinned {
    let mut found = Unpinned::default();
    for (text, digest) in &manifest.sources {
        let path = resolve(text, dir);
        match file_digest(&path) {
            Ok(here) if here == *digest => {}
            Ok(_) => found.changed.push(path),
            Err(_) => found.missing.push(path),
        }
    }
    found
}

/// Refuses to run unless every file is what the manifest pins.
pub fn verify(manifest: &Manifest, dir: &Path) -> Result<()> {
    let found = compare(manifest, dir);
    let named = |paths: &[PathBuf]| {
        paths
            .iter()
            .map(|p| p.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    ensure!(
        found.missing.is_empty(),
        "{}: not there, though the manifest pins it; the suite lay in {}",
        named(&found.missing),
        dir.display()
    );
    ensure!(
        found.changed.is_empty(),
        "{}: not what the manifest pins; bring the file back, or plan anew from the suite",
        named(&found.changed)
    );
    Ok(())
}

/// The path that a text with `{dir}/` names.
pub fn resolve(text: &str, dir: &Path) -> PathBuf {
    PathBuf::from(fill(text, dir))
}

/// Puts the suite's folder in place of `{dir}`.
pub fn fill(text: &str, dir: &Path) -> String {
    text.replace(DIR, &dir.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn the_folder_stands_at_the_start() {
        for good in ["plain", "{dir}/data", "{dir}"] {
            check(good).unwrap();
        }
        for bad in ["wc -c {dir}/data", "--in={dir}/x", "{dir}/a:{dir}/b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
