//! The files that a run reads from its suite's folder: pinned by digest, and checked before anything runs.
//!
//! A folder that is named stands for all files in it, each pinned by itself; one more or less is noticed as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::{Digest, ParamValue, Params};
use assay_record::{Case, Manifest, WorkloadRef};

use super::file_digest;
use super::project::is_pointer_file;

/// What stands for the suite's folder in arguments, variables and parameters.
pub const DIR: &str = "{dir}";
/// Files of a folder that is named, and bytes of all of them: whoever reads more does better to name files.
const MAX_FILES: usize = 10_000;
const MAX_BYTES: u64 = 8 << 30;
/// Folders that programs, git and Assay itself write into beside what is read: they change from run to run.
const PASSED_OVER: [&str; 3] = ["__pycache__", ".git", "assay-data"];

/// Refuses `{dir}` in the middle of a text: the file that it names could not be told, and so not pinned.
pub fn check(text: &str) -> Result<()> {
    let rest = text.strip_prefix(DIR).unwrap_or(text);
    ensure!(
        !rest.contains(DIR),
        "{text:?}: {DIR} stands at the start of an argument, variable or parameter, so that the file can be pinned; \
         or set `directory = \"{DIR}\"`"
    );
    Ok(())
}

/// The parameters that are texts.
pub fn texts(params: &Params) -> impl Iterator<Item = &String> {
    params.values().filter_map(|value| match value {
        ParamValue::Text(text) => Some(text),
        _ => None,
    })
}

/// Digest of every file that an argument, a variable or a parameter names with `{dir}/`, itself or by its folder, by the text for it.
pub fn digests(
    workers: &BTreeMap<String, Vec<String>>,
    cases: &[Case],
    dir: &Path,
) -> Result<BTreeMap<String, Digest>> {
    let digest = |text: String| {
        let named = || format!("file {text} that the suite names");
        let path = resolve(&text, dir);
        ensure!(
            !path.exists() || path.is_file(),
            "{}: not a regular file, whose content could be pinned",
            named()
        );
        let digest = file_digest(&path).with_context(named)?;
        ensure!(
            !is_pointer_file(&path),
            "{}: only a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`",
            named()
        );
        Ok((text.clone(), digest))
    };
    let mut files = Vec::new();
    for text in named(workers, cases) {
        if resolve(text, dir).is_dir() {
            files.extend(files_of(text, dir)?);
        } else {
            files.push(text.clone());
        }
    }
    files.into_iter().map(digest).collect()
}

/// What arguments, variables and parameters name with `{dir}/`, each once.
fn named<'a>(workers: &'a BTreeMap<String, Vec<String>>, cases: &'a [Case]) -> Vec<&'a String> {
    let of_cases = cases.iter().flat_map(|case| match &case.workload {
        WorkloadRef::Command(spec) => spec.argv.iter().chain(spec.env.values()).collect(),
        WorkloadRef::Kernel(spec) => vec![&spec.file],
        WorkloadRef::Worker { .. } => texts(&case.params).collect(),
    });
    let texts = workers.values().flatten().chain(of_cases);
    let mut named: Vec<&String> = texts.filter(|text| text.starts_with("{dir}/")).collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// The files below a folder that a text names, as texts. Links to files count as files; a link to a folder is refused, for
/// it might lead in a circle.
fn files_of(text: &str, dir: &Path) -> Result<Vec<String>> {
    let (mut files, mut bytes) = (Vec::new(), 0);
    let mut folders = vec![text.trim_end_matches('/').to_owned()];
    while let Some(folder) = folders.pop() {
        let say = || format!("folder {folder} that the suite names");
        for entry in fs::read_dir(resolve(&folder, dir)).with_context(say)? {
            let entry = entry.with_context(say)?;
            let Ok(name) = entry.file_name().into_string() else {
                bail!("{}: {} is not UTF-8", say(), entry.file_name().display());
            };
            let inner = format!("{folder}/{name}");
            if entry.file_type()?.is_dir() {
                if !PASSED_OVER.contains(&name.as_str()) {
                    folders.push(inner);
                }
                continue;
            }
            let found = fs::metadata(entry.path());
            let found = found.with_context(|| format!("{inner}: its content cannot be pinned"))?;
            ensure!(
                found.is_file(),
                "{inner}: neither a file nor a folder, so that its content cannot be pinned; name the files that are read"
            );
            bytes += found.len();
            files.push(inner);
            ensure!(
                files.len() <= MAX_FILES && bytes <= MAX_BYTES,
                "folder {text} that the suite names holds more than {MAX_FILES} files or {} GiB: name the files that are read",
                MAX_BYTES >> 30
            );
        }
    }
    files.sort_unstable();
    Ok(files)
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
            let argv = manifest.workers.get(worker).into_iter().flatten();
            argv.chain(texts(&case.params)).any(|text| names(text))
        }
    }
}

fn names(text: &str) -> bool {
    text.contains(DIR)
}

/// What is not as the manifest pins it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unpinned {
    /// Files whose content is another one, or that were not there.
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
    // Manifests of before pinned nothing in a folder.
    let is_pinned = |text: &&String| {
        let below = format!("{}/", text.trim_end_matches('/'));
        manifest.sources.keys().any(|file| file.starts_with(&below))
    };
    let folders = named(&manifest.workers, &manifest.cases)
        .into_iter()
        .filter(|text| resolve(text, dir).is_dir())
        .filter(is_pinned);
    for text in folders {
        match files_of(text, dir) {
            Ok(files) => {
                let more = files
                    .iter()
                    .filter(|file| !manifest.sources.contains_key(*file));
                found.changed.extend(more.map(|file| resolve(file, dir)));
            }
            Err(_) => found.changed.push(resolve(text, dir)),
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
        "{}: not there, though the manifest pins it; where the suite lies elsewhere now, name its folder with --dir",
        named(&found.missing)
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
