//! The worker's side of one execution: starts a launcher, reads what the command prints, and hears
//! what it cost.

use std::env;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use assay_protocol::Failure;
use rustix::process::{getpid, set_child_subreaper};

use super::capture::{Captured, Tail};
use super::launcher;
use super::order::{Execution, Order, Report};
use super::{sweep, watch};

/// This very program, even if its file has been replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// One execution and what it printed.
pub struct Outcome {
    /// What it cost.
    pub execution: Execution,
    /// Its standard output.
    pub stdout: Captured,
    /// The end of its standard error.
    pub stderr: Tail,
}

/// Executes a command once, and waits until all that it started has ended.
pub fn execute(order: &Order) -> Result<Outcome, Failure> {
    if !watch::is_worker() {
        return Err(Failure::Failed(
            "a command runs only in a worker process of its own".into(),
        ));
    }
    let (report, readers) = ask(order)
        .map_err(|error| Failure::Failed(format!("the command's launcher failed: {error}")))?;
    match report {
        Report::NotStarted(reason) => Err(Failure::Failed(reason)),
        // Such a process may hold the pipes open for ever.
        Report::Ended(Execution { left: 1.., .. }) => Err(Failure::Failed(
            "the command started a process that cannot be killed; it still runs".into(),
        )),
        Report::Ended(execution) => {
            let (stdout, stderr) = readers.finish();
            Ok(Outcome {
                execution,
                stdout,
                stderr,
            })
        }
    }
}

fn ask(order: &Order) -> io::Result<(Report, Readers)> {
    // Should the launcher be killed, its command falls to this process.
    set_child_subreaper(Some(getpid()))?;
    let (mut socket, theirs) = UnixStream::pair()?;
    let mut launcher = start(theirs)?;
    let readers = Readers::new(&mut launcher);
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    let asked = socket.write_all(&line);
    let mut report = Vec::new();
    let heard = socket.read_to_end(&mut report);
    let status = launcher.wait()?;
    if let Ok(report) = serde_json::from_slice(&report) {
        return Ok((report, readers));
    }
    sweep::descendants();
    asked.and(heard)?;
    let (_, stderr) = readers.finish();
    Err(io::Error::other(format!("{status}, no report; {stderr}")))
}

/// Starts this program again, under the launcher's name and in a process group of its own.
fn start(socket: UnixStream) -> io::Result<Child> {
    Command::new(THIS_PROGRAM)
        .arg0(launcher::NAME)
        // Among them is the subcommand by which a larger program becomes a worker.
        .args(env::args_os().skip(1))
        .stdin(OwnedFd::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Two threads that empty the command's pipes.
struct Readers {
    stdout: JoinHandle<Captured>,
    stderr: JoinHandle<Tail>,
}

impl Readers {
    fn new(launcher: &mut Child) -> Self {
        let (Some(stdout), Some(stderr)) = (launcher.stdout.take(), launcher.stderr.take()) else {
            unreachable!("both were asked to be pipes")
        };
        Self {
            stdout: thread::spawn(|| Captured::read(stdout)),
            stderr: thread::spawn(|| Tail::read(stderr)),
        }
    }

    /// Everything, once nobody holds the pipes any more.
    fn finish(self) -> (Captured, Tail) {
        let finished = (self.stdout.join(), self.stderr.join());
        let (Ok(stdout), Ok(stderr)) = finished else {
            unreachable!("reading a pipe does not panic")
        };
        (stdout, stderr)
    }
}
