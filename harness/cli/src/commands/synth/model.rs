//! The file of a model: what was learned, and of what.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::generators::{MODEL_SCHEMA, Model};
use serde::{Deserialize, Serialize};

/// Longest model that is read, in bytes.
const MAX_MODEL: u64 = 1 << 30;

/// A model as it lies on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// [`MODEL_SCHEMA`].
    pub schema: u32,
    /// What it was learned from.
    pub learned: Learned,
    /// What was learned.
    pub model: Model,
}

/// What a model was learned from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// The file's name.
    pub table: String,
    /// Of its rows as CSV.
    pub digest: Digest,
    /// How many.
    pub rows: u64,
}

/// The bytes of a model.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path)
        .with_context(|| path.display().to_string())?
        .len();
    ensure!(
        size <= MAX_MODEL,
        "{}: longer than a model can be",
        path.display()
    );
    std::fs::read(path).with_context(|| path.display().to_string())
}

/// A model of this version, or words.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<ModelFile> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let in_path = || format!("{}: no model; `assay synth fit` writes one", path.display());
    let version: Version = serde_json::from_slice(bytes).with_context(in_path)?;
    ensure!(
        version.schema <= MODEL_SCHEMA,
        "{}: a model of schema {}, and this assay reads up to {MODEL_SCHEMA}; use a newer assay",
        path.display(),
        version.schema
    );
    serde_json::from_slice(bytes).with_context(in_path)
}
