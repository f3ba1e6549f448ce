//! The suites that come with Assay, inside the binary, with the workers in other languages that they use.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
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
];

/// Files that built-in suites name as `{dir}/../workers/...`: one line each.
const WORKERS: &[(&str, &str)] = &[(
    "example_worker.py",
    include_str!("../../../../suites/workers/example_worker.py"),
)];

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
    let folder = cache_folder().join(format!("suites-{}", Digest::of_parts(parts).short()));
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

fn cache_folder() -> PathBuf {
    let from = |variable, below: &str| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(|dir| PathBuf::from(dir).join(below))
    };
    from("XDG_CACHE_HOME", "assay")
        .or_else(|| from("HOME", ".cache/assay"))
        .unwrap_or_else(|| std::env::temp_dir().join("assay"))
}
