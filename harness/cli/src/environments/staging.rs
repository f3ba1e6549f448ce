//! What an image is built of, laid out in a folder: the worker, its loader and the libraries that it links.
//!
//! The worker is no static program: such a one could not load CUDA, and would bring another libc than it has on the host. So the
//! libraries of this machine go with it, at the places where its loader looks for them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::engines::WORKER;
use crate::errors::CouldNotRun;

/// Name of the slim worker's executable, beside ours.
const SLIM: &str = "assay-worker";
/// Folder of a build's context that becomes the image's root.
pub const ROOT: &str = "root";

/// The worker that images get where none is named: the slim one, beside this executable.
pub fn slim_worker() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the running executable cannot be found")?;
    let slim = own.with_file_name(SLIM);
    ensure!(
        slim.is_file(),
        CouldNotRun(format!(
            "{}: there is no slim worker; build it with `cargo build --release -p assay-suites`, or name one with --worker",
            slim.display()
        ))
    );
    Ok(slim)
}

/// Lays the worker and all that it links out below `context`.
pub fn lay_out(worker: &Path, context: &Path) -> Result<()> {
    let root = context.join(ROOT);
    place(worker, &root, Path::new(WORKER))?;
    for library in libraries(worker)? {
        place(&library, &root, &library)?;
    }
    Ok(())
}

/// Copies a file to where an image is to have it, with the same rights whoever builds.
fn place(file: &Path, root: &Path, at: &Path) -> Result<()> {
    let mut to = root.to_owned();
    make_folder(&to)?;
    let at = at.strip_prefix("/").unwrap_or(at);
    for name in at.parent().into_iter().flat_map(Path::components) {
        to.push(name);
        make_folder(&to)?;
    }
    copy(file, &to.join(at.file_name().unwrap_or_default()), 0o755)
}

/// A folder with the same rights whoever builds: an image takes them over.
fn make_folder(folder: &Path) -> Result<()> {
    let say = || format!("{}: cannot be made", folder.display());
    fs::create_dir_all(folder).with_context(say)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755)).with_context(say)
}

fn copy(file: &Path, to: &Path, mode: u32) -> Result<()> {
    let say = || format!("{}: cannot be copied into an image", file.display());
    fs::copy(file, to).with_context(say)?;
    fs::set_permissions(to, Permissions::from_mode(mode)).with_context(say)
}

/// Writes a file of a build.
pub fn write(file: &Path, text: &str) -> Result<()> {
    let say = || format!("{}: cannot be written", file.display());
    file.parent().map_or(Ok(()), make_folder)?;
    fs::write(file, text).with_context(say)?;
    fs::set_permissions(file, Permissions::from_mode(0o644)).with_context(say)
}

/// The loader and the libraries of a program, where its loader finds them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let answer = Command::new("ldd").arg(program).output();
    let answer = answer.map_err(|error| {
        CouldNotRun(format!(
            "`ldd` says what a worker links, and cannot be started: {error}"
        ))
    })?;
    let said = String::from_utf8_lossy(&answer.stdout);
    ensure!(
        answer.status.success(),
        "{}: no program that links anything (`ldd`: {}); a worker for images is a dynamic one, as on the host",
        program.display(),
        crate::engines::client::last_line(&String::from_utf8_lossy(&answer.stderr))
    );
    parse(&said).with_context(|| program.display().to_string())
}

/// Paths in what `ldd` says: `libc.so.6 => /lib/libc.so.6 (0x1)`, `/lib64/ld-linux-x86-64.so.2 (0x1)`, `linux-vdso.so.1 (0x1)`.
fn parse(said: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in said.lines().map(str::trim) {
        let place = line
            .split_once("=>")
            .map_or(line, |(_, place)| place.trim());
        ensure!(
            !place.starts_with("not found"),
            "a library is not here: {line}"
        );
        let path = place.split(" (").next().unwrap_or_default();
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    if found.is_empty() {
        bail!("it links nothing; a worker for images is a dynamic program, as on the host");
    }
    found.sort();
    Ok(found)
}

/// Copies the folder of a Containerfile, which has nothing at its top where the worker is laid out.
pub fn copy_context(from: &Path, to: &Path) -> Result<()> {
    let taken = from.join(ROOT);
    ensure!(
        !taken.exists(),
        "{}: the folder `{ROOT}` of a build is laid out by assay; call yours otherwise",
        taken.display()
    );
    copy_folder(from, to)
}

/// With the rights that git knows: a file can be executed or not.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let say = || format!("{}: cannot be read", from.display());
    make_folder(to)?;
    for entry in fs::read_dir(from).with_context(say)? {
        let entry = entry.with_context(say)?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let meta = fs::metadata(&path).with_context(|| path.display().to_string())?;
        if meta.is_dir() {
            copy_folder(&path, &to)?;
        } else {
            let is_program = meta.permissions().mode() & 0o100 != 0;
            copy(&path, &to, if is_program { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::parse;

    #[test]
    fn what_a_program_links_is_read_from_ldd() {
        let said = "\tlinux-vdso.so.1 (0x7ff)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x7f1)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f2)\n";
        let found = parse(said).unwrap();
        let expected = [
            "/lib/x86_64-linux-gnu/libm.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        for (said, expected) in [
            ("\tlibx.so => not found\n", "libx.so"),
            ("\tstatically linked\n", "dynamic program"),
        ] {
            let error = parse(said).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
