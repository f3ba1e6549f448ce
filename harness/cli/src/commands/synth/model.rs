//! The file of a model: what was learned, and of what.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::declared::{Drawn, Keeper, TableSchema};
use assay_suites::synthetic::generators::{MODEL_SCHEMA, Model};
use assay_suites::synthetic::table::Table;
use assay_suites::synthetic::table::cells::CellTypes;
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
    /// What rows keep to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Declared>,
    /// Types of the columns of its file, which rows are written with.
    #[serde(default, skip_serializing_if = "CellTypes::is_empty")]
    pub types: CellTypes,
}

/// What was declared of the table that was learned.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// SHA-256 of the file that it was declared in.
    pub declared_in: Digest,
    /// The table.
    pub table: TableSchema,
}

impl ModelFile {
    /// A model in the oldest form that has all of it.
    pub fn new(
        learned: Learned,
        model: Model,
        declared: Option<Declared>,
        types: CellTypes,
    ) -> Self {
        Self {
            schema: match (&model, &declared, types.is_empty()) {
                (Model::PrivateIndependent(_), _, _) => MODEL_SCHEMA,
                (_, _, false) => 3,
                (_, Some(_), true) => 2,
                (_, None, true) => 1,
            },
            learned,
            model,
            declared,
            types,
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// If nobody could read it.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec(self)?;
        ensure!(
            bytes.len() as u64 <= MAX_MODEL,
            "the model has {} bytes, and one of more than {MAX_MODEL} is not read: leave columns out, or take the generator `independent`",
            bytes.len()
        );
        Ok(bytes)
    }

    /// Whatever makes `rows` rows of it, in any parts.
    pub fn maker(&self, rows: u64) -> Result<Maker<'_>> {
        let Some(declared) = &self.declared else {
            return Ok(Maker::Free(&self.model));
        };
        let keeper = Keeper::new(&self.model, &declared.table, rows);
        Ok(Maker::Keeping(keeper.map_err(|what| anyhow!(what))?))
    }
}

/// What makes rows of a model.
pub enum Maker<'a> {
    /// As they come.
    Free(&'a Model),
    /// As they are declared.
    Keeping(Keeper<'a>),
}

impl Maker<'_> {
    /// Some rows, and how they were drawn where they keep to something.
    pub fn rows(&self, seed: u64, first: u64, rows: usize) -> Result<(Table, Option<Drawn>)> {
        match self {
            Self::Free(model) => Ok((model.rows(seed, first, rows), None)),
            Self::Keeping(keeper) => {
                let (table, drawn) = keeper.rows(seed, first, rows)?;
                Ok((table, Some(drawn)))
            }
        }
    }
}

/// What a model was learned from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// The file's name.
    pub table: String,
    /// Of its rows as CSV; of a private table none, for whoever knows all rows but one could try that one out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// How many; nor this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
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
    let file: ModelFile = serde_json::from_slice(bytes).with_context(in_path)?;
    file.model
        .check()
        .map_err(|what| anyhow!("{}: a damaged model: {what}", path.display()))?;
    file.maker(1)
        .map_err(|what| anyhow!("{}: a damaged model: {what}", path.display()))?;
    Ok(file)
}
