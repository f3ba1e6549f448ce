//! The launcher: a fresh, small process between the worker and a command, for one execution.
//!
//! It is this same executable under another name, so that images and remote machines need no second
//! file. Its standard input is a socket to the worker, for the order, the report, and the news of the
//! worker's death; its standard output and error are the pipes that the command inherits. It leads a process
//! group of its own, so that whoever kills the worker's group leaves the launcher alive to clean up.

use std::env;
use std::ffi::OsStr;
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group,
    set_child_subreaper, waitid,
};
use wait4::Wait4;

use super::order::{Ending, Execution, Order, Report};
use super::{sweep, watch};

/// Name (`argv[0]`) under which this executable is a launcher.
pub const NAME: &str = "assay-launcher";

/// Whether this process was started as a launcher: then [`launch_main`] is all it should do.
pub fn is_launcher() -> bool {
    env::args_os().next().as_deref() == Some(OsStr::new(NAME))
}

/// The whole of a launcher: takes an order, runs the command, ends what it left behind, reports.
pub fn launch_main() -> ExitCode {
    match launch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn launch() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line)?;
    let report = match spawn(&order) {
        Ok((child, start)) => Report::Ended(see_through(child, start, &order)?),
        Err(reason) => Report::NotStarted(reason),
    };
    let mut worker = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    worker.write_all(&serde_json::to_vec(&report)?)
}

/// Starts the command in a process group of its own, and the clock just before.
fn spawn(order: &Order) -> Result<(Child, Instant), String> {
    let name = order.argv.first().ok_or("no program is named")?;
    let mut command = Command::new(&order.program);
    command.arg0(name).args(&order.argv[1..]).envs(&order.env);
    command.stdin(Stdio::null()).process_group(0);
    if let Some(directory) = &order.directory {
        command.current_dir(directory);
    }
    let start = Instant::now();
    let child = command.spawn();
    child.map(|child| (child, start)).map_err(|error| {
        let hint = match error.kind() {
            // The program itself was found when the case was prepared.
            io::ErrorKind::NotFound => "; the program, its interpreter or the directory is missing",
            _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
                "; a script needs a first line like `#!/bin/sh`"
            }
            _ => "",
        };
        let program = order.program.display();
        format!("`{name}` ({program}) could not be started: {error}{hint}")
    })
}

/// Waits for the command, and ends all that it leaves behind.
fn see_through(child: Child, start: Instant, order: &Order) -> io::Result<Execution> {
    let pid = Pid::from_child(&child);
    let guard = Guard::watch(pid, start + Duration::from_millis(order.timeout_ms.into()));
    // Not reaped yet: its number stays taken, so that nothing below kills a stranger.
    wait_without_reaping(pid)?;
    let wall_ns = start.elapsed().as_nanos() as u64;
    let timed_out = guard.dismiss();
    kill(pid);
    let used = child.wait4()?;
    Ok(Execution {
        ending: ending(used.status, timed_out),
        wall_ns,
        user_ns: used.rusage.utime.as_nanos() as u64,
        system_ns: used.rusage.stime.as_nanos() as u64,
        peak_bytes: used.rusage.maxrss,
        left: sweep::descendants(),
    })
}

fn wait_without_reaping(pid: Pid) -> io::Result<()> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), options))?;
    Ok(())
}

/// Kills the command, which is not reaped yet, and its process group, which it may have left.
fn kill(command: Pid) {
    // What cannot be killed has ended already, or the sweep will say that it is left.
    let _ = kill_process_group(command, Signal::KILL);
    let _ = kill_process(command, Signal::KILL);
}

fn ending(status: ExitStatus, timed_out: bool) -> Ending {
    match (status.code(), status.signal()) {
        _ if timed_out => Ending::TimedOut,
        (Some(code), _) => Ending::Code(code),
        (None, signal) => Ending::Signal(signal.unwrap_or_default()),
    }
}

/// Kills the command when its time is over or the worker has gone.
struct Guard(Arc<Mutex<Duty>>);

/// What a [`Guard`] has to do, or has done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// The command runs.
    Watching,
    /// The command had exited by itself; its number may soon be another process's.
    Over,
    /// The command was killed for its time.
    TimedOut,
}

impl Guard {
    fn watch(command: Pid, deadline: Instant) -> Self {
        let duty = Arc::new(Mutex::new(Duty::Watching));
        let shared = Arc::clone(&duty);
        thread::spawn(move || {
            let stdin = io::stdin();
            let mut worker = [PollFd::new(&stdin, PollFlags::empty())];
            let worker_gone = watch::poll_until(&mut worker, Some(deadline));
            let mut duty = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if *duty == Duty::Watching {
                // Without a worker nobody reads what became of the command.
                *duty = if worker_gone {
                    Duty::Over
                } else {
                    Duty::TimedOut
                };
                kill(command);
            }
        });
        Self(duty)
    }

    /// The command has exited: from now on nothing is killed. Whether it was killed for its time.
    fn dismiss(self) -> bool {
        let mut duty = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let timed_out = *duty == Duty::TimedOut;
        *duty = Duty::Over;
        timed_out
    }
}
