//! What subcommands are told of tables beforehand: what separates fields, and what is declared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::declared::{ColumnSchema, Rule, Schema, Scope, TableSchema, rules};
use assay_suites::synthetic::table::Table;
use assay_suites::synthetic::table::cells::Source;
use assay_suites::synthetic::table::doubts::left_out;
use assay_suites::synthetic::table::file::{Reading, read_as};

use super::{files, tables};

/// Rules that are named where every row breaks one.
const SHOWN: usize = 5;

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
    pub path: PathBuf,
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
            types: declaration
                .map(|of| of.table.types(&of.schema))
                .unwrap_or_default(),
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

    /// What is declared of the table, and where its rows do not keep to it.
    pub fn rules(&self, table: &Table) -> Result<Vec<Rule>> {
        Ok(rules(&self.table, table, &BTreeMap::new())?)
    }

    /// That not every row of a table in a file breaks some rule: then one of both is not what was meant.
    pub fn ensure_some_keep(&self, path: &Path, rules: &[Rule], rows: usize) -> Result<()> {
        let of_rows = rules.iter().filter(|rule| rule.scope == Scope::Row);
        let mut broken: Vec<&Rule> = of_rows.filter(|rule| !rule.broken.is_empty()).collect();
        let rows_broken: BTreeSet<usize> = broken
            .iter()
            .flat_map(|rule| rule.broken.iter().copied())
            .collect();
        if rows_broken.len() < rows || rows == 0 {
            return Ok(());
        }
        broken.sort_by_key(|rule| std::cmp::Reverse(rule.broken.len()));
        let words = broken
            .iter()
            .take(SHOWN)
            .map(|rule| format!("{} does not hold in {}", rule.what, rule.broken.len()));
        bail!(
            "{}: each of its {rows} rows breaks what {} declares of table `{}`: {}; mend the schema or the table, or say with --table which one it is",
            path.display(),
            self.path.display(),
            self.table.name,
            words.collect::<Vec<_>>().join(", ")
        );
    }

    /// Columns of a table that are not declared.
    pub fn open_columns<'a>(&self, table: &'a Table) -> Vec<&'a str> {
        open_columns(&self.table, table)
    }

    /// The name of the schema's file.
    pub fn name(&self) -> String {
        files::name(&self.path)
    }
}

/// Columns of a table that what is declared of it does not name.
pub fn open_columns<'a>(declared: &TableSchema, table: &'a Table) -> Vec<&'a str> {
    let is_declared = |name: &str| declared.column.iter().any(|column| column.name() == name);
    let names = table.columns.iter().map(|column| column.name.as_str());
    names.filter(|name| !is_declared(name)).collect()
}

/// A table as it is declared, or as what it holds.
pub fn read(path: &Path, reading: &Reading, declaration: Option<&Declaration>) -> Result<Source> {
    let source = read_as(path, reading)?;
    if let Some(declaration) = declaration {
        declaration.ensure_columns(path, &source.table)?;
    }
    Ok(source)
}

/// Says what a file has that its table has not.
pub fn tell_left_out(path: &Path, source: &Source) {
    for words in left_out(source) {
        crate::note!("note: {}: {words}", path.display());
    }
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
