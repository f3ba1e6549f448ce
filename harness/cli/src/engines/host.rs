//! Workers on this machine, without a container.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Engine, Start};

/// Variables that workers inherit, because programs do not start without them. They determine no result.
const INHERITED: [&str; 8] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
];

/// This machine.
#[derive(Clone, Debug)]
pub struct Host {
    executable: PathBuf,
}

impl Host {
    /// As it is.
    pub fn new() -> Result<Self> {
        let executable =
            std::env::current_exe().context("the running executable cannot be found")?;
        Ok(Self { executable })
    }

    /// A program of this machine in the user's own environment, which ends when the harness does.
    pub fn guarded(&self, program: &str, argv: Vec<OsString>) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(["guard", "--", program]).args(argv);
        command
    }
}

impl Engine for Host {
    fn command(&self, start: &Start<'_>) -> Result<Command> {
        let mut argv: Vec<OsString> = start.prefix.iter().map(OsString::from).collect();
        if start.is_strange {
            // The guard makes a worker that knows nothing of us end when we do.
            argv.extend([self.executable.clone().into(), "guard".into(), "--".into()]);
        }
        argv.extend(start.argv.iter().cloned());
        let mut command = Command::new(&argv[0]);
        let inherited = INHERITED
            .iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (name, value)));
        command
            .args(&argv[1..])
            .env_clear()
            .envs(inherited)
            .envs(start.env);
        Ok(command)
    }
}
