//! Files of samples beside a result: little-endian 32-bit floats, one after the other.
//!
//! Newer results name them from their own folder (`out.json-bin/0.bin`), older ones as their program was told to write
//! them, from wherever it ran. Results are moved and renamed with their samples, so a file is looked for where it would
//! lie now. Whatever a result says, no file outside its folder is read.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_record::validate::is_below;

/// Most samples of one file: what fits into a line of a record.
pub const MAX_SAMPLES: u64 = 4_000_000;
/// Most samples of all files of a result.
const MAX_ALL: u64 = 32_000_000;

/// The files of samples of one result.
pub struct Sidecars {
    folder: PathBuf,
    result: String,
    left: u64,
}

impl Sidecars {
    /// Those of a result.
    pub fn beside(result: &Path) -> Result<Self> {
        let folder = match result.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let name = result.file_name().unwrap_or_default();
        Ok(Self {
            folder: folder
                .canonicalize()
                .with_context(|| folder.display().to_string())?,
            result: name.to_string_lossy().into_owned(),
            left: MAX_ALL,
        })
    }

    /// The numbers of a file that a result names, so many as it declares; `None` where there is no such file.
    pub fn floats(&mut self, named: &str, suffix: &str, declared: i64) -> Result<Option<Vec<f32>>> {
        let Some(path) = self.find(named, suffix)? else {
            return Ok(None);
        };
        let numbers = self.read(&path, declared);
        let shown = path.strip_prefix(&self.folder).unwrap_or(&path).to_owned();
        numbers
            .map(Some)
            .with_context(|| format!("file {}", shown.display()))
    }

    fn read(&mut self, path: &Path, declared: i64) -> Result<Vec<f32>> {
        let count = u64::try_from(declared)
            .ok()
            .filter(|count| *count <= MAX_SAMPLES);
        let count = count.with_context(|| {
            format!("{declared} samples are declared; 0 to {MAX_SAMPLES} are read: --without-samples imports their mean alone")
        })?;
        self.left = self.left.checked_sub(count).with_context(|| {
            format!("more than {MAX_ALL} samples in one result: --without-samples imports their means alone")
        })?;
        // To open a pipe could wait for ever.
        let meta = std::fs::metadata(path)?;
        ensure!(meta.is_file(), "not a regular file");
        let file = File::open(path)?;
        let length = meta.len();
        let wrong = || format!("{length} bytes, but {count} samples of 4 bytes are declared");
        ensure!(length == count * 4, "{}", wrong());
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 == length, "{}", wrong());
        let (numbers, _) = bytes.as_chunks::<4>();
        Ok(numbers
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect())
    }

    /// Where a file lies now. A path that leads out of the result's folder is an error, also through a link.
    fn find(&self, named: &str, suffix: &str) -> Result<Option<PathBuf>> {
        // Windows writes its own separators.
        let named = named.replace('\\', "/");
        let parts: Vec<&str> = Path::new(&named)
            .components()
            .filter_map(|part| match part {
                Component::Normal(part) => part.to_str(),
                _ => None,
            })
            .collect();
        let mut candidates = Vec::new();
        if let Some(file) = parts.last() {
            candidates.push(format!("{}{suffix}/{file}", self.result));
        }
        if is_below(&named) {
            candidates.push(named.clone());
        }
        if let [.., folder, file] = &parts[..] {
            candidates.push(format!("{folder}/{file}"));
        }
        let paths = candidates.iter().map(|path| self.folder.join(path));
        let Some(path) = paths.into_iter().find_map(|path| path.canonicalize().ok()) else {
            return Ok(None);
        };
        ensure!(
            path.starts_with(&self.folder),
            "file {named:?} lies outside the result's folder, {}: no other is read",
            self.folder.display()
        );
        Ok(Some(path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::{MAX_SAMPLES, Sidecars};

    /// A result in a folder of its own, with a file of samples, and one beside that folder.
    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("results");
        fs::create_dir_all(folder.join("out.json-bin")).unwrap();
        let bytes = [1.0_f32, 2.0].map(f32::to_le_bytes).concat();
        fs::write(folder.join("out.json-bin/0.bin"), &bytes).unwrap();
        fs::write(folder.join("out.json"), "").unwrap();
        fs::write(place.path().join("secret.bin"), &bytes).unwrap();
        place
    }

    fn read(
        place: &Path,
        result: &str,
        named: &str,
        declared: i64,
    ) -> Result<Option<Vec<f32>>, String> {
        let mut sidecars = Sidecars::beside(&place.join(result)).unwrap();
        sidecars
            .floats(named, "-bin", declared)
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn samples_are_found_where_they_lie_now() {
        let place = place();
        let path = place.path();
        let absolute = path.join("results/out.json-bin/0.bin");
        for named in [
            "out.json-bin/0.bin",
            absolute.to_str().unwrap(),
            "../somewhere/else/out.json-bin/0.bin",
            r"C:\old\out.json-bin\0.bin",
        ] {
            let found = read(path, "results/out.json", named, 2).unwrap();
            assert_eq!(found, Some(vec![1.0, 2.0]), "{named}");
        }
        fs::create_dir(path.join("results/new.json-bin")).unwrap();
        let mine = path.join("results/new.json-bin/0.bin");
        fs::write(mine, 3.0_f32.to_le_bytes()).unwrap();
        let renamed = read(path, "results/new.json", "out.json-bin/0.bin", 1);
        assert_eq!(renamed.unwrap(), Some(vec![3.0]));
    }

    #[test]
    fn no_file_outside_the_folder_is_read() {
        let place = place();
        let path = place.path();
        let secret = path.join("secret.bin");
        for named in [
            "../secret.bin",
            secret.to_str().unwrap(),
            "a/../../secret.bin",
            "/etc/passwd",
            "",
            "..",
            "/",
        ] {
            assert_eq!(
                read(path, "results/out.json", named, 2).unwrap(),
                None,
                "{named}"
            );
        }
        symlink("../secret.bin", path.join("results/link.bin")).unwrap();
        let error = read(path, "results/out.json", "link.bin", 2).unwrap_err();
        assert!(error.contains("outside"), "{error}");
        symlink("..", path.join("results/up")).unwrap();
        let error = read(path, "results/out.json", "up/secret.bin", 2).unwrap_err();
        assert!(error.contains("outside"), "{error}");
    }

    #[test]
    fn counts_must_agree_and_be_bearable() {
        let place = place();
        let count = |declared| {
            read(
                place.path(),
                "results/out.json",
                "out.json-bin/0.bin",
                declared,
            )
            .unwrap_err()
        };
        assert!(count(3).contains("8 bytes, but 3 samples"));
        assert!(count(-1).contains("-1 samples"));
        assert!(count(i64::try_from(MAX_SAMPLES).unwrap() + 1).contains("--without-samples"));
        fs::create_dir(place.path().join("results/out.json-bin/1.bin")).unwrap();
        let folder = read(place.path(), "results/out.json", "out.json-bin/1.bin", 2);
        assert!(folder.unwrap_err().contains("1.bin"));
    }
}
