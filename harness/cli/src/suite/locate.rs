//! From what the user typed to a suite: the name of a built-in one, or a path to a TOML file.

use std::io::Read as _;
use std::path::{Component, Path};

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::Digest;
use assay_record::Source;

use super::{Suite, builtin};

/// Longest path that is looked at.
const MAX_PATH_BYTES: usize = 4096;
/// Longest suite file, in bytes.
const MAX_SUITE_BYTES: u64 = 16 << 20;

/// A suite and where it came from.
#[derive(Debug)]
pub struct Located {
    /// As the user named it, for messages.
    pub name: String,
    /// The suite.
    pub suite: Suite,
    /// Digest of its text.
    pub digest: Digest,
    /// Where it lies.
    pub source: Source,
}

/// Finds and parses a suite by the name of a built-in one or by its path.
pub fn locate(name: &str) -> Result<Located> {
    check_path(name)?;
    if let Some(text) = builtin::text(name) {
        let suite = Suite::parse(Path::new(name), text)?;
        return Ok(Located {
            name: name.into(),
            suite,
            digest: Digest::of(text),
            source: Source::Builtin,
        });
    }
    ensure!(
        !is_manifest(name),
        "{name} is a manifest, not a suite: run it with `assay run {name}`"
    );
    let path = Path::new(name);
    if !looks_like_a_path(name) && !path.exists() {
        let names: Vec<&str> = builtin::all().map(|(name, _)| name).collect();
        bail!(
            "no suite is called `{name}`; built in are: {}; name your own by its path, such as ./{name}.toml",
            names.join(", ")
        );
    }
    let text = read_text(path, MAX_SUITE_BYTES)?;
    let suite = Suite::parse(path, &text)?;
    let file = std::fs::canonicalize(path).with_context(|| path.display().to_string())?;
    let folder = file.parent().and_then(Path::to_str);
    let folder = folder.with_context(|| {
        format!(
            "{}: its folder's path is not UTF-8; move it",
            file.display()
        )
    })?;
    Ok(Located {
        name: name.into(),
        suite,
        digest: Digest::of(&text),
        source: Source::Folder(folder.to_owned()),
    })
}

/// Whether somebody who types this means a manifest, which is planned already.
pub fn is_manifest(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "json")
}

/// The text of a file of at most `max_bytes`; never of a device or a pipe, which may have no end.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String> {
    let shown = path.display();
    let kind = std::fs::metadata(path).with_context(|| shown.to_string())?;
    ensure!(!kind.is_dir(), "{shown}: a folder; name a file in it");
    ensure!(kind.is_file(), "{shown}: not a regular file");
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes))
        .with_context(|| shown.to_string())?;
    ensure!(
        bytes.len() as u64 <= max_bytes,
        "{shown}: longer than {max_bytes} bytes, the most that it may have"
    );
    String::from_utf8(bytes).with_context(|| format!("{shown}: not UTF-8"))
}

/// Whether somebody who types this means a file.
pub fn looks_like_a_path(name: &str) -> bool {
    name.contains('/')
        || Path::new(name)
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("toml"))
}

fn check_path(name: &str) -> Result<()> {
    let shown: String = name.chars().take(60).collect();
    ensure!(
        !name.is_empty(),
        "the suite's name is empty; `assay list` names them"
    );
    ensure!(
        name.len() <= MAX_PATH_BYTES,
        "suite path {shown:?}...: {} bytes; at most {MAX_PATH_BYTES}",
        name.len()
    );
    ensure!(
        !name.contains('\0'),
        "suite path {shown:?}: contains a NUL byte"
    );
    ensure!(
        !Path::new(name)
            .components()
            .any(|part| part == Component::ParentDir),
        "suite path {shown:?}: contains `..`; name it by an absolute path, or from the folder above"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::locate;

    #[test]
    fn bad_paths_are_refused_in_words() {
        for (path, expected) in [
            ("../smoke.toml", "contains `..`"),
            ("a/../../b.toml", "contains `..`"),
            ("smoke\0.toml", "NUL"),
            ("", "empty"),
            (&"x".repeat(5000), "at most 4096"),
            ("/dev/zero", "not a regular file"),
            ("/dev", "a folder"),
            ("smoke.json", "a manifest, not a suite"),
            ("smok", "no suite is called `smok`; built in are: smoke"),
        ] {
            let error = format!("{:#}", locate(path).unwrap_err());
            assert!(error.contains(expected), "{path}: {error}");
        }
    }
}
