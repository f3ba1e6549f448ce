//! Killing every descendant of this process, in whichever process group or session it is.
//!
//! The caller is a child subreaper: a descendant whose parent has died becomes the caller's own child, so
//! the tree under the caller is complete, and no child means no descendant.

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

/// Processes that do not die are given up after this long: of another user, or stuck in the kernel.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two rounds of killing.
const PAUSE: Duration = Duration::from_millis(1);

/// Kills and reaps all descendants of this process. Returns how many would not die.
pub fn descendants() -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if !reap() {
            return 0;
        }
        let found = find();
        for pid in &found {
            // One that is gone already, or belongs to another user.
            let _ = kill_process(*pid, Signal::KILL);
        }
        if Instant::now() > deadline {
            return found.len().max(1);
        }
        thread::sleep(PAUSE);
    }
}

/// Reaps every child that has exited. Whether any child is left.
fn reap() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// All descendants of this process, as `/proc` shows them now.
fn find() -> Vec<Pid> {
    let children = children_by_parent();
    let mut found: Vec<Pid> = children.get(&getpid()).cloned().unwrap_or_default();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.get(pid).into_iter().flatten());
        next += 1;
    }
    found
}

fn children_by_parent() -> HashMap<Pid, Vec<Pid>> {
    let mut children = HashMap::<_, Vec<_>>::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(parse_pid) else {
            continue;
        };
        // A process that has just ended has no file to read.
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&String::from_utf8_lossy(&stat)) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

/// The parent named in a `/proc/PID/stat`. The second field, the program's name, may hold anything.
fn parent(stat: &str) -> Option<Pid> {
    let (_, fields) = stat.rsplit_once(')')?;
    parse_pid(fields.split_whitespace().nth(1)?)
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::{parent, parse_pid};

    #[test]
    fn a_name_can_look_like_fields() {
        assert_eq!(parent("77 (a) S 1 (b)) R 42 77 77 0 -1"), parse_pid("42"));
        for bad in ["", "77", "77 (a)", "77 (a) S", "77 (a) S x", "1 (init) S 0"] {
            assert_eq!(parent(bad), None, "{bad}");
        }
    }
}
