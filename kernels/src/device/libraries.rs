//! Finds NVIDIA's libraries where the system's loader does not look: in the folder of a CUDA toolkit.
#![allow(unsafe_code)] // loading a library runs its initialisers

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;

/// Variables that may name the folder of a toolkit, in the order in which they are tried.
const VARIABLES: &[&str] = &["ASSAY_CUDA", "CUDA_HOME", "CUDA_PATH"];

/// Loads `libNAME.so*` from a toolkit's folder, if the environment names one that has it, so that it is there when it
/// is asked for by its name. It stays loaded.
pub fn preload(name: &str) {
    static DONE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut done = DONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !done.insert(name.into()) {
        return;
    }
    for path in toolkit_folders(name)
        .iter()
        .flat_map(|folder| versions(folder, name))
    {
        // SAFETY: a library of NVIDIA's from a folder that the user named; its initialisers are meant to run.
        if let Ok(library) = unsafe { libloading::Library::new(&path) } {
            // Never unloaded: functions of it are kept.
            std::mem::forget(library);
            return;
        }
    }
}

/// Folders of libraries below the toolkits that the environment names, or, as in packages of Python, beside them.
fn toolkit_folders(name: &str) -> Vec<PathBuf> {
    let roots = VARIABLES
        .iter()
        .filter_map(std::env::var_os)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    let roots = roots.chain([PathBuf::from("/usr/local/cuda")]);
    roots
        .flat_map(|root| {
            let beside = format!("../{name}/lib");
            ["lib64", "lib", &beside].map(|folder| root.join(folder))
        })
        .collect()
}

/// Files `libNAME.so*` of a folder, the newest first.
fn versions(folder: &PathBuf, name: &str) -> Vec<PathBuf> {
    let prefix = format!("lib{name}.so");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let file = path.file_name().and_then(|file| file.to_str());
            file.and_then(|file| file.strip_prefix(&prefix))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .collect();
    paths.sort();
    paths.reverse();
    paths
}

#[cfg(test)]
mod tests {
    use super::versions;

    #[test]
    fn versions_are_found_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "libnvrtc.so.12",
            "libnvrtc.so.13",
            "libnvrtc-builtins.so.13",
            "libnvrtc.sox",
            "nvrtc.so",
        ] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let found = versions(&folder.path().to_owned(), "nvrtc");
        let names: Vec<_> = found
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["libnvrtc.so.13", "libnvrtc.so.12"]);
    }
}
