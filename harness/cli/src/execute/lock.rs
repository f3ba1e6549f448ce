//! One run at a time on a device: a lock file per device, held while a run lasts.
//!
//! The lock is the operating system's, on an open file: it goes when the process does, however it ends.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use assay_record::Manifest;

use crate::errors::{CouldNotRun, Interrupted};
use crate::interrupt::Interrupt;

/// Folder of the lock files, where it is not the system's folder for temporary files.
pub const FOLDER_VARIABLE: &str = "ASSAY_LOCK_DIR";

/// Locks every device that a manifest selects, in the order of their names, so that two runs never wait for each other.
///
/// A signal ends the wait with [`Interrupted`].
pub fn devices(manifest: &Manifest, wait_s: u64, interrupt: &Interrupt) -> Result<Vec<File>> {
    let names: BTreeSet<String> = manifest
        .cases
        .iter()
        .map(|case| case.device.kind.to_string())
        .collect();
    let deadline = Instant::now() + Duration::from_secs(wait_s);
    names
        .iter()
        .map(|name| lock(name, deadline, interrupt))
        .collect()
}

fn lock(device: &str, deadline: Instant, interrupt: &Interrupt) -> Result<File> {
    let path = folder().join(format!("assay-device-{device}.lock"));
    let mut file = open(&path).with_context(|| {
        format!(
            "{}: set {FOLDER_VARIABLE} to a writable folder",
            path.display()
        )
    })?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| path.display().to_string());
            }
            Err(TryLockError::WouldBlock) if interrupt.requested() => {
                return Err(Interrupted.into());
            }
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                if !said {
                    crate::note!("waiting for {device}: {} measures on it", holder(&mut file));
                }
                said = true;
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "{device} is in use: {} measures on it; try again later, or wait with --wait SECONDS",
                    holder(&mut file)
                );
                return Err(CouldNotRun(message).into());
            }
        }
    }
    // For the message of whoever comes next; the lock does not depend on it.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
    Ok(file)
}

fn open(path: &PathBuf) -> std::io::Result<File> {
    // No truncation and no following of links: the folder may be shared with other users.
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(no_follow)
        .open(path)?;
    // Other users measure on the same device; only the owner can open it up to them.
    let _ = file.set_permissions(std::fs::Permissions::from_mode(0o666));
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(20).read_to_string(&mut pid));
    match read {
        Ok(_) if pid.parse::<u32>().is_ok() => format!("another assay (process {pid})"),
        _ => "another assay".into(),
    }
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER_VARIABLE)
        .filter(|dir| !dir.is_empty())
        .map_or_else(std::env::temp_dir, PathBuf::from)
}
