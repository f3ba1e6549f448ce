//! The suites that come with Assay, inside the binary, with the workers in other languages that they use.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;

/// Built-in suites by name: one line each.
const SUITES: &[(&str, &str)] = &[
    (
        "smoke",
        include_str!("../../../../suites/definitions/smoke.toml"),
    ),
    (
        "cpu",
        include_str!("../../../../suites/definitions/cpu.toml"),
    ),
    (
        "kernels-smoke",
        include_str!("../../../../suites/definitions/kernels-smoke.toml"),
    ),
    (
        "memory",
        include_str!("../../../../suites/definitions/memory.toml"),
    ),
    (
        "system",
        include_str!("../../../../suites/definitions/system.toml"),
    ),
    (
        "kernels",
        include_str!("../../../../suites/definitions/kernels.toml"),
    ),
    (
        "dense",
        include_str!("../../../../suites/definitions/dense.toml"),
    ),
    (
        "ml-ops",
        include_str!("../../../../suites/definitions/ml-ops.toml"),
    ),
    (
        "synthetic-smoke",
        include_str!("../../../../suites/definitions/synthetic-smoke.toml"),
    ),
    (
        "synthetic",
        include_str!("../../../../suites/definitions/synthetic.toml"),
    ),
    (
        "training-smoke",
        include_str!("../../../../suites/definitions/training-smoke.toml"),
    ),
    (
        "training",
        include_str!("../../../../suites/definitions/training.toml"),
    ),
    (
        "frameworks",
        include_str!("../../../../suites/definitions/frameworks.toml"),
    ),
    (
        "ceilings",
        include_str!("../../../../suites/definitions/ceilings.toml"),
    ),
];

/// Files that built-in suites name as `{dir}/../workers/...`: one line each.
const WORKERS: &[(&str, &str)] = &[
    (
        "example_worker.py",
        include_str!("../../../../suites/workers/example_worker.py"),
    ),
    (
        "torch_lm.py",
        include_str!("../../../../suites/workers/torch_lm.py"),
    ),
];

/// Names and texts of the built-in suites.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    SUITES.iter().copied()
}

/// Text of a built-in suite.
pub fn text(name: &str) -> Option<&'static str> {
    SUITES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// Lays the built-in suites' files out in the user's cache and returns the folder that `{dir}` stands for.
///
/// The folder is named by the digest of its content, so different versions of Assay lie side by side.
pub fn materialise() -> Result<PathBuf> {
    let parts = SUITES
        .iter()
        .chain(WORKERS)
        .flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
    let folder = cache_folder()?.join(format!("suites-{}", Digest::of_parts(parts).short()));
    for (name, text) in SUITES {
        write_once(&folder.join(format!("definitions/{name}.toml")), text)?;
    }
    for (name, text) in WORKERS {
        write_once(&folder.join("workers").join(name), text)?;
    }
    Ok(folder.join("definitions"))
}

/// Writes a file unless it is there with this very content; other processes may do the same at once.
fn write_once(path: &Path, text: &str) -> Result<()> {
    if std::fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes()) {
        return Ok(());
    }
    let say = || {
        format!(
            "{}: a built-in worker cannot be laid out; set XDG_CACHE_HOME to a writable folder",
            path.display()
        )
    };
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(say)?;
    let file = tempfile::NamedTempFile::new_in(parent).with_context(say)?;
    std::fs::write(file.path(), text).with_context(say)?;
    file.persist(path).with_context(say)?;
    Ok(())
}

/// This user's folder for what can be made again.
pub fn cache_folder() -> Result<PathBuf> {
    // The XDG specification has relative paths ignored.
    let from = |variable, below: &str| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(below))
    };
    from("XDG_CACHE_HOME", "assay")
        .or_else(|| from("HOME", ".cache/assay"))
        .map_or_else(|| own_folder(&std::env::temp_dir()), Ok)
}

/// A folder of this user alone in one that all users share, where anybody may have made it first.
fn own_folder(shared: &Path) -> Result<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let folder = shared.join(format!("assay-{uid}"));
    let say = || {
        format!(
            "{}: cannot be made; set XDG_CACHE_HOME to a folder of yours",
            folder.display()
        )
    };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(say);
        }
        _ => {}
    }
    // Not through a link: that would be the owner of what somebody else chose.
    let found = std::fs::symlink_metadata(&folder).with_context(say)?;
    ensure!(
        found.is_dir() && found.uid() == uid && found.mode() & 0o022 == 0,
        "{}: not a folder that you alone can write to; set XDG_CACHE_HOME to one",
        folder.display()
    );
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use std::collections::BTreeSet;

    use super::{own_folder, text};

    /// Copies of what is there in another form: other sums of streams, and additions of two tensors.
    const ALIKE: &[&str] = &[
        "stream-add",
        "stream-copy",
        "stream-mul",
        "residual-add",
        "accumulate",
    ];

    #[test]
    fn the_smoke_suite_has_every_family_of_kernels() {
        let workloads = |suite: &str| {
            let text: toml::Table = text(suite).unwrap().parse().unwrap();
            let benchmarks = text["benchmark"].as_array().unwrap().clone();
            let name = |benchmark: &toml::Value| benchmark["workload"].as_str().unwrap().to_owned();
            benchmarks.iter().map(name).collect::<BTreeSet<_>>()
        };
        let smoke = workloads("kernels-smoke");
        for suite in ["kernels", "memory", "dense", "ml-ops"] {
            let mut missing = workloads(suite);
            // What moves data between memories is the suite `system`'s.
            missing.retain(|name| {
                name != "transfer" && !smoke.contains(name) && !ALIKE.contains(&name.as_str())
            });
            assert!(missing.is_empty(), "{suite}: {missing:?}");
        }
    }

    /// Of each parameter that has choices, whichever models have it.
    #[test]
    fn the_smoke_suite_of_trainings_has_every_choice() {
        let suite: toml::Table = text("training-smoke").unwrap().parse().unwrap();
        let mut seen = BTreeSet::new();
        let mut choices = BTreeSet::new();
        for benchmark in suite["benchmark"].as_array().unwrap() {
            let workload = benchmark["workload"].as_str().unwrap();
            let mut catalog = assay_suites::catalog().iter().map(|entry| entry.info());
            let info = catalog.find(|info| info.name == workload).unwrap();
            let given = |place: &str, name: &str| benchmark.get(place)?.get(name).cloned();
            for parameter in info.parameters {
                let name = parameter.name;
                let word = |value: &toml::Value| value.as_str().map(str::to_owned);
                let values = match (given("axes", &name), given("params", &name)) {
                    (Some(axis), _) => axis.as_array().unwrap().iter().filter_map(word).collect(),
                    (None, Some(value)) => Vec::from_iter(word(&value)),
                    (None, None) => {
                        let default = parameter.default.iter();
                        default
                            .filter_map(|value| Some(value.as_str()?.to_owned()))
                            .collect()
                    }
                };
                let values = values.into_iter().map(|value| (name.clone(), value));
                seen.extend(values);
                let of_name = parameter
                    .choices
                    .iter()
                    .filter_map(|choice| choice.as_str());
                choices.extend(of_name.map(|choice| (name.clone(), choice.to_owned())));
            }
        }
        let missing: Vec<_> = choices.difference(&seen).collect();
        assert!(missing.is_empty() && choices.len() > 20, "{missing:?}");
    }

    #[test]
    fn a_shared_folder_is_used_only_where_it_is_ours_alone() {
        let shared = tempfile::tempdir().unwrap();
        let folder = own_folder(shared.path()).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(own_folder(shared.path()).unwrap(), folder);
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        assert!(own_folder(shared.path()).is_err());
        fs::remove_dir(&folder).unwrap();
        symlink(shared.path(), &folder).unwrap();
        assert!(own_folder(shared.path()).is_err());
    }
}
