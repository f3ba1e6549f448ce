//! Noticing that whoever is at the other end of a pipe has gone, without reading from it.

use std::io::{self, Write as _};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Time for a worker to end by itself after its harness has gone.
const GRACE: Duration = Duration::from_millis(300);
/// Time to end by itself while somebody may still be reading: time to answer what was already asked.
const GRACE_WHILE_READ: Duration = Duration::from_secs(2);

static WATCHING: AtomicBool = AtomicBool::new(false);

/// Starts a thread that ends this worker soon after its harness has gone, whatever it is busy with.
///
/// A worker that is between two requests sees its input end, and exits. One that is in the middle of
/// a sample does not; this thread does, waits for [`GRACE`] (and before that, as long as only the input has
/// ended and the output may still be read, for [`GRACE_WHILE_READ`]), and exits. The launchers that it leaves then end
/// their commands. An input that is a file or a terminal never hangs up.
pub fn watch_harness() {
    WATCHING.store(true, Ordering::Relaxed);
    thread::spawn(|| {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let input = || PollFd::new(&stdin, PollFlags::empty());
        let output = || PollFd::new(&stdout, PollFlags::empty());
        poll_until(&mut [input(), output()], None);
        // Nobody reads any more, or stops reading while there is time; else until that time is over.
        poll_until(&mut [output()], Some(Instant::now() + GRACE_WHILE_READ));
        thread::sleep(GRACE);
        // Not `eprintln`: it panics where standard error went with the harness, and this thread must come to the exit.
        let gone = "assay worker: the harness has gone; ending in the middle of its request";
        let _ = writeln!(io::stderr(), "{gone}");
        process::exit(1);
    });
}

/// Whether this process is a worker, which its executable can be asked to be again.
pub fn is_worker() -> bool {
    WATCHING.load(Ordering::Relaxed)
}

/// Waits until something happens to one of `fds`; false if `deadline` came first.
pub fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> bool {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.and_then(|duration| Timespec::try_from(duration).ok());
        match poll(fds, left.as_ref()) {
            Err(Errno::INTR) => {}
            Ok(happened) => return happened > 0,
            // Neither descriptor can be watched: as good as gone.
            Err(_) => return true,
        }
    }
}
