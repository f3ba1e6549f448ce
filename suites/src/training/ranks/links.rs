//! What connects a rank with the partner of each round: sockets of the machine, in a folder that all know.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Place;

/// How long a rank waits for another: longer than any step.
const PATIENCE: Duration = Duration::from_mins(10);
/// How long until it looks again whether another is there.
const PAUSE: Duration = Duration::from_millis(2);

fn socket(folder: &Path, [lower, higher]: [usize; 2]) -> PathBuf {
    folder.join(format!("{lower}-{higher}"))
}

/// Waits for a connection, or until one is taken.
fn until<T>(deadline: Instant, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Meets a partner.
pub fn connect(folder: &Path, place: Place, partner: usize) -> io::Result<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    let path = socket(folder, [place.rank.min(partner), place.rank.max(partner)]);
    let link = if place.rank < partner {
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let (link, _) = until(deadline, || listener.accept())?;
        std::fs::remove_file(&path)?;
        link
    } else {
        until(deadline, || UnixStream::connect(&path))?
    };
    link.set_nonblocking(false)?;
    link.set_read_timeout(Some(PATIENCE))?;
    link.set_write_timeout(Some(PATIENCE))?;
    Ok(link)
}

/// Sends all of `own` and receives as much into `other`. The lower one sends first, so that both never wait to send.
pub fn exchange(
    link: &mut UnixStream,
    first: bool,
    own: &[u8],
    other: &mut [u8],
) -> io::Result<()> {
    if first {
        link.write_all(own)?;
        link.read_exact(other)
    } else {
        link.read_exact(other)?;
        link.write_all(own)
    }
}

/// Whether the partner has gone, whatever it sent before.
pub fn is_cut(link: &UnixStream) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut links = [PollFd::new(link, PollFlags::RDHUP)];
    poll(&mut links, Some(&now)).is_ok_and(|found| found > 0)
}
