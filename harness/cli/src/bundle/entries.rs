//! The entries of a tar archive that a bundle holds: each with its path and what it points to, neither longer than a path can be.
//!
//! A path of more than a hundred bytes lies in an entry of its own, before that which it is of. It is read here, for whoever reads
//! archives in general holds all of it, however long it says it is.

use std::borrow::Cow;
use std::io::Read;

use anyhow::{Context as _, Result, bail, ensure};
use tar::{Archive, Entry, EntryType};

/// Longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// What an entry is of.
#[derive(Debug, Default)]
pub struct Names {
    /// Its path.
    pub path: Vec<u8>,
    /// What it points to, if it is a link.
    pub target: Option<Vec<u8>>,
}

/// Does something with each entry, in their order.
pub fn each<R: Read>(
    archive: R,
    mut with: impl FnMut(&mut Entry<'_, R>, Names) -> Result<()>,
) -> Result<()> {
    let (mut path, mut target) = (None, None);
    for entry in Archive::new(archive).entries()?.raw(true) {
        let mut entry = entry.context("it is no tar archive")?;
        match entry.header().entry_type() {
            EntryType::GNULongName => path = Some(long(&mut entry)?),
            EntryType::GNULongLink => target = Some(long(&mut entry)?),
            _ => {
                let short = entry.link_name_bytes().map(Cow::into_owned);
                let names = Names {
                    path: path
                        .take()
                        .unwrap_or_else(|| entry.path_bytes().into_owned()),
                    target: target.take().or(short),
                };
                let shown = String::from_utf8_lossy(&names.path).into_owned();
                with(&mut entry, names).context(shown)?;
            }
        }
    }
    if path.is_some() || target.is_some() {
        bail!("it ends with the name of an entry");
    }
    Ok(())
}

/// A long name: the content of its entry, up to a zero.
fn long(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>> {
    ensure!(
        entry.size() <= MAX_PATH_BYTES as u64 + 1,
        "it has a path of {} bytes; at most {MAX_PATH_BYTES}",
        entry.size()
    );
    let mut name = Vec::new();
    entry.read_to_end(&mut name).context("it is cut off")?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}
