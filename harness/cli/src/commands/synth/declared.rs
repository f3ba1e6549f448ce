//! What subcommands are told of tables beforehand: what separates fields, and what is declared.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::declared::{ColumnSchema, Schema, TableSchema};
use assay_suites::synthetic::table::Table;
use assay_suites::synthetic::table::cells::Source;
use assay_suites::synthetic::table::file::{Reading, read_as};

use super::{files, tables};

/// What is declared of a table.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the table is declared to be (TOML, as for `assay synth tables`): types, ranges, keys and constraints, which go before
    /// what could be learned. Columns that it does not name are learned.
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Which table of the schema it is; without it the only one, or that of the file's name.
    #[arg(long = "table", value_name = "NAME", requires = "schema")]
    name: Option<String>,
    /// What separates the fields of CSV files, such as `;` or `tab`. A file whose first line has none of it is read with commas.
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
}

/// A declared table, and the schema that it is of.
pub struct Declaration {
    path: PathBuf,
    pub schema: Schema,
    pub digest: Digest,
    pub table: TableSchema,
}

impl Args {
    /// What is declared of the table in a file, if anything is.
    pub fn declaration(&self, of: &Path) -> Result<Option<Declaration>> {
        let Some(path) = &self.schema else {
            return Ok(None);
        };
        let (schema, digest) = tables::read(path)?;
        let in_path = || path.display().to_string();
        schema.check().with_context(in_path)?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => files::name(&of.with_extension("")),
        };
        let table = match &self.name {
            Some(name) => schema.table.iter().find(|table| table.name == *name),
            None => schema.table_for(&name),
        };
        let mut table = table.cloned().ok_or_else(|| {
            let names: Vec<&str> = schema
                .table
                .iter()
                .map(|table| table.name.as_str())
                .collect();
            anyhow!(
                "{} declares no table `{name}`: say with --table which one {} is; there are {}",
                path.display(),
                of.display(),
                names.join(", ")
            )
        })?;
        // Nothing is made of them, and a private table's are nobody's business.
        table.rows = 0;
        Ok(Some(Declaration {
            path: path.clone(),
            schema,
            digest,
            table,
        }))
    }

    /// How files are read.
    pub fn reading(&self, declaration: Option<&Declaration>) -> Reading {
        Reading {
            delimiter: self.delimiter,
            types: declaration.map(|of| of.table.types()).unwrap_or_default(),
        }
    }
}

impl Declaration {
    /// The table in a file, which has all columns that are declared.
    pub fn ensure_columns(&self, path: &Path, table: &Table) -> Result<()> {
        let declared = self.table.column.iter().map(ColumnSchema::name);
        let lacking: Vec<&str> = declared
            .filter(|name| table.column(name).is_none())
            .collect();
        ensure!(
            lacking.is_empty(),
            "{}: it lacks `{}`, which {} declares of table `{}`",
            path.display(),
            lacking.join("`, `"),
            self.path.display(),
            self.table.name
        );
        Ok(())
    }

    /// Columns of a table that are not declared.
    pub fn open_columns<'a>(&self, table: &'a Table) -> Vec<&'a str> {
        let is_declared = |name: &str| self.table.column.iter().any(|column| column.name() == name);
        let names = table.columns.iter().map(|column| column.name.as_str());
        names.filter(|name| !is_declared(name)).collect()
    }

    /// The name of the schema's file.
    pub fn name(&self) -> String {
        files::name(&self.path)
    }
}

/// A table as it is declared, or as what it holds.
pub fn read(path: &Path, reading: &Reading, declaration: Option<&Declaration>) -> Result<Source> {
    let source = read_as(path, reading)?;
    if let Some(declaration) = declaration {
        declaration.ensure_columns(path, &source.table)?;
    }
    Ok(source)
}

/// A separator as the command line has it.
pub fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" | b"\t" => Ok(b'\t'),
        [sign] if sign.is_ascii_punctuation() && !matches!(sign, b'"' | b'.' | b'-' | b'+') => {
            Ok(*sign)
        }
        _ => Err(format!(
            "`{text}`: expected one sign that numbers and quotes do not have, such as ; or |, or the word tab"
        )),
    }
}
