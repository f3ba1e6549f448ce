//! A process that removes a container when the harness has ended, however it ended, or asks for it.
//!
//! Killing the program that started a container does not end the container. So each has a keeper, started before it: it waits for the
//! end of its standard input, which closes when the harness ends, and then removes what goes by the container's name.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Engine;

/// How long after the harness's sudden end the container is looked for again: it may have been in the making.
const LATER: Duration = Duration::from_secs(3);

/// Keeps one container. Dropped, it sees the container gone.
#[derive(Debug)]
pub struct Keeper {
    engine: Arc<dyn Engine>,
    name: String,
    process: Child,
    input: Option<ChildStdin>,
    /// What the kernel had ended for want of memory before the container was started.
    oom_kills: Option<u64>,
}

impl Keeper {
    /// Before a container of that name is started; `None` where nothing would be left of it.
    pub fn start(engine: &Arc<dyn Engine>, name: &str) -> Result<Option<Self>> {
        let Some(removal) = engine.removal(name) else {
            return Ok(None);
        };
        let executable =
            std::env::current_exe().context("the running executable cannot be found")?;
        let mut process = Command::new(executable)
            .args(["container-guard", "--"])
            .args(removal)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // The terminal's Ctrl-C is the harness's business.
            .process_group(0)
            .spawn()
            .context("the keeper of a container cannot be started")?;
        Ok(Some(Self {
            engine: Arc::clone(engine),
            name: name.to_owned(),
            input: process.stdin.take(),
            process,
            oom_kills: assay_suites::oom_kills(),
        }))
    }

    /// Why the container ended, where its engine knows.
    pub fn last_words(&self) -> Option<String> {
        let is_oom = assay_suites::more_oom_kills(self.oom_kills);
        self.engine.last_words(&self.name, is_oom)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(mut input) = self.input.take() {
            // A word says that nothing else is to come; a keeper that has ended needs none.
            let _ = input.write_all(b".");
        }
        // What comes next is to be measured without a container's end beside it.
        let _ = self.process.wait();
    }
}

/// The keeper's own work: waits for the end of standard input, then runs the command that removes.
pub fn keep(removal: &[OsString]) -> Result<()> {
    let mut said = Vec::new();
    std::io::stdin().read_to_end(&mut said)?;
    remove(removal)?;
    if said.is_empty() {
        std::thread::sleep(LATER);
        remove(removal)?;
    }
    Ok(())
}

fn remove(removal: &[OsString]) -> Result<()> {
    let (program, arguments) = removal.split_first().context("no command is named")?;
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .status();
    // That it is gone already is fine, and nobody is left who could do more.
    status
        .map(drop)
        .with_context(|| format!("{} cannot be started", program.to_string_lossy()))
}
