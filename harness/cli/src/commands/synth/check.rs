//! `assay synth check`: whether tables keep to a schema.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use assay_suites::synthetic::declared::violations;
use assay_suites::synthetic::table::file;

use super::{files, tables};
use crate::errors::Exit;

/// Which tables.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The schema (TOML).
    schema: PathBuf,
    /// The tables, each in a file of its name: `orders.csv` is table `orders`.
    #[arg(required = true)]
    tables: Vec<PathBuf>,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    let (schema, _) = tables::read(&args.schema)?;
    schema
        .build()
        .with_context(|| args.schema.display().to_string())?;
    let mut read = BTreeMap::new();
    for path in &args.tables {
        let name = path.with_extension("");
        let name = files::name(&name);
        ensure!(
            schema.table.iter().any(|table| table.name == name),
            "{}: {} declares no table `{name}`",
            path.display(),
            args.schema.display()
        );
        read.insert(name, file::read(path)?);
    }
    let found = violations(&schema, &read)?;
    if args.json {
        crate::say!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        for violation in &found {
            crate::say!(
                "table {}: {} does not hold in {} rows, the first of them row {}",
                violation.table,
                violation.what,
                violation.rows,
                violation.first_row
            );
        }
        if found.is_empty() {
            crate::say!("{} tables keep to {}", read.len(), args.schema.display());
        }
    }
    Ok(if found.is_empty() {
        Exit::Fine
    } else {
        Exit::Found
    })
}
