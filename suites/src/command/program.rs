//! Finding the program that a command names, once, before anything is timed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use assay_protocol::{CommandSpec, Failure};
use rustix::fs::{Access, access};

/// What a shell searches where nothing is said.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Absolute path of the program of `spec`, as the command itself would see it: a name with a slash is relative
/// to the command's directory; one without is searched for in the command's `PATH`.
pub fn find(spec: &CommandSpec) -> Result<PathBuf, Failure> {
    let directory = directory(spec)?;
    let name = &spec.argv[0];
    if name.contains('/') {
        let path = directory.join(name);
        return check(&path).map(|()| path).map_err(|what| {
            Failure::Failed(format!(
                "program `{name}`: {} {what}",
                directory.join(name).display()
            ))
        });
    }
    search(name, &directory, &search_path(spec))
}

/// Where the command runs.
fn directory(spec: &CommandSpec) -> Result<PathBuf, Failure> {
    let failed = |what: String| Failure::Failed(what);
    let current = env::current_dir()
        .map_err(|error| failed(format!("the worker's own directory is missing: {error}")))?;
    let Some(name) = &spec.directory else {
        return Ok(current);
    };
    let directory = current.join(name);
    if !directory.is_dir() {
        let what = if directory.exists() {
            "is not one"
        } else {
            "does not exist"
        };
        return Err(failed(format!("directory {} {what}", directory.display())));
    }
    Ok(directory)
}

fn search_path(spec: &CommandSpec) -> OsString {
    let given = spec.env.get("PATH").map(OsString::from);
    given
        .or_else(|| env::var_os("PATH"))
        .unwrap_or_else(|| DEFAULT_PATH.into())
}

fn search(name: &str, directory: &Path, path: &OsString) -> Result<PathBuf, Failure> {
    let mut near_miss = String::new();
    for folder in env::split_paths(path) {
        let candidate = directory.join(folder).join(name);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Unfit::Missing) => {}
            Err(what) => near_miss = format!("; {} {what}", candidate.display()),
        }
    }
    Err(Failure::Failed(format!(
        "program `{name}` is in no folder of PATH ({}){near_miss}",
        path.to_string_lossy()
    )))
}

/// Why a path is no program.
#[derive(Debug, PartialEq, Eq)]
enum Unfit {
    Missing,
    NotAFile,
    NotExecutable,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "does not exist",
            Self::NotAFile => "is not a file",
            Self::NotExecutable => "is not executable",
        })
    }
}

fn check(path: &Path) -> Result<(), Unfit> {
    if !path.exists() {
        return Err(Unfit::Missing);
    }
    if !path.is_file() {
        return Err(Unfit::NotAFile);
    }
    access(path, Access::EXEC_OK).map_err(|_| Unfit::NotExecutable)
}
