//! What can be wrong with a file, in words that say where and what to do.

use std::path::{Path, PathBuf};

/// A manifest, fingerprint or record that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A version that this Assay does not know.
    #[error(
        "{path}: {format} version {found} is newer than {known}, the newest this assay reads; use a newer assay"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// `manifest` or `record`.
        format: &'static str,
        /// Version in the file.
        found: u64,
        /// Newest version known here.
        known: u32,
    },
    /// The content is not what its digest says.
    #[error("{path}: {what}; the file was changed or damaged: put back a copy that is whole")]
    Digest {
        /// The file.
        path: PathBuf,
        /// Which digest, and both values.
        what: String,
    },
    /// The content is not of the format.
    #[error("{path}: {what}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Field, what was found, what was expected.
        what: String,
    },
}

impl RecordError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn format(path: &Path, what: impl Into<String>) -> Self {
        Self::Format {
            path: path.to_path_buf(),
            what: what.into(),
        }
    }

    /// Whether the disk is full.
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
    }
}
