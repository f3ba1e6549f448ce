//! What a Rust project depends on, as its lock file names it, so that its worker can be built again without a network.
//!
//! `cargo vendor` collects it. The archive is a home for cargo: a settings file that says where the packages lie, and the packages,
//! of which cargo checks every file by the checksums that come with them.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tar::{Builder, EntryType, Header};

use super::entries;
use super::reading::cannot_write;
use super::source::check_path;
use crate::engines::client::last_line;
use crate::errors::CouldNotRun;

/// Cargo's home where a bundle is laid out. Cargo reads paths in its settings from the folder above.
pub const HOME: &str = "cargo";
/// Its settings.
pub const SETTINGS: &str = "config.toml";
/// Folder of the packages in it.
const PACKAGES: &str = "vendor";

/// Collects what the project in `folder` depends on, and writes it as an archive; `scratch` has room for it meanwhile.
pub fn pack(folder: &Path, scratch: &Path, into: &File) -> Result<()> {
    ensure!(
        folder.join("Cargo.toml").is_file(),
        "--with-vendor: there is no Cargo.toml in {}; it is for projects that cargo builds",
        folder.display()
    );
    let collected = tempfile::tempdir_in(scratch).map_err(|error| cannot_write(&error))?;
    let packages = collected.path().join(PACKAGES);
    let settings = collect(folder, &packages)?;
    let from = packages.to_string_lossy();
    let settings = settings.replace(&*from, &format!("{HOME}/{PACKAGES}"));
    let mut archive = Builder::new(into);
    append(
        &mut archive,
        Path::new(SETTINGS),
        0o644,
        settings.as_bytes(),
    )?;
    let mut files = Vec::new();
    // A project that depends on nothing has no such folder.
    if packages.is_dir() {
        list(&packages, &mut files)?;
    }
    files.sort();
    for path in files {
        let say = || path.display().to_string();
        let is_program = fs::metadata(&path).with_context(say)?.permissions().mode() & 0o100 != 0;
        let content = fs::read(&path).with_context(say)?;
        let below = path.strip_prefix(collected.path()).unwrap_or(&path);
        let mode = if is_program { 0o755 } else { 0o644 };
        append(&mut archive, below, mode, &content).with_context(say)?;
    }
    archive.into_inner().map_err(|error| cannot_write(&error))?;
    Ok(())
}

/// Has cargo put all packages into a folder, and returns the settings by which it finds them there.
fn collect(folder: &Path, packages: &Path) -> Result<String> {
    // Cargo waits where another one fetches packages, and there may be hundreds to fetch.
    crate::note!(
        "collecting what {} depends on: `cargo vendor`",
        folder.display()
    );
    let answer = Command::new("cargo")
        .args(["vendor", "--locked", "--versioned-dirs"])
        .arg(packages)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| CouldNotRun(format!("--with-vendor: cargo cannot be started: {error}")))?;
    ensure!(
        answer.status.success(),
        CouldNotRun(format!(
            "--with-vendor: `cargo vendor --locked` failed in {}: {}",
            folder.display(),
            last_line(&String::from_utf8_lossy(&answer.stderr))
        ))
    );
    String::from_utf8(answer.stdout).context("cargo's settings are not UTF-8")
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else {
            ensure!(kind.is_file(), "{}: no file", entry.path().display());
            files.push(entry.path());
        }
    }
    Ok(())
}

fn append(archive: &mut Builder<&File>, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive
        .append_data(&mut header, path, content)
        .map_err(|error| cannot_write(&error))?;
    Ok(())
}

/// Lays an archive out in a folder that has nothing yet: files alone, so that nothing can lead out of it.
pub fn unpack(archive: impl Read, home: &Path) -> Result<()> {
    entries::each(archive, |entry, names| lay_file(entry, &names.path, home))?;
    ensure!(home.join(SETTINGS).is_file(), "it has no {SETTINGS}");
    Ok(())
}

fn lay_file(entry: &mut tar::Entry<'_, impl Read>, path: &[u8], home: &Path) -> Result<()> {
    check_path(path)?;
    if entry.header().entry_type() != EntryType::Regular {
        bail!("no file, and a package has nothing else");
    }
    let is_program = entry.header().mode()? & 0o100 != 0;
    let to = home.join(OsStr::from_bytes(path));
    fs::create_dir_all(to.parent().unwrap_or(home)).map_err(|error| cannot_write(&error))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if is_program { 0o755 } else { 0o644 })
        .open(&to)
        .map_err(|error| cannot_write(&error))?;
    std::io::copy(entry, &mut file).map_err(|error| cannot_write(&error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tar::{Builder, EntryType, Header};

    use super::{SETTINGS, unpack};

    fn refused(path: &str, kind: EntryType) -> String {
        let mut archive = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        archive.append(&header, std::io::empty()).unwrap();
        let bytes = archive.into_inner().unwrap();
        let home = tempfile::tempdir().unwrap();
        format!("{:#}", unpack(Cursor::new(bytes), home.path()).unwrap_err())
    }

    #[test]
    fn nothing_but_files_below_comes_out() {
        for (path, kind, expected) in [
            ("../x", EntryType::Regular, "`..`"),
            ("/etc/x", EntryType::Regular, "absolute"),
            ("vendor/x", EntryType::Symlink, "no file"),
            ("vendor/x", EntryType::Link, "no file"),
            ("vendor/x", EntryType::Fifo, "no file"),
            ("vendor/x", EntryType::Regular, SETTINGS),
        ] {
            let error = refused(path, kind);
            assert!(error.contains(expected), "{path}: {error}");
        }
    }
}
