//! `assay synth check`: whether tables keep to a schema.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use assay_suites::synthetic::declared::{Schema, Violation, unchecked, violations};
use assay_suites::synthetic::table::Table;
use serde::Serialize;

use super::declared;
use super::tables::{self, OfSchema};
use crate::errors::Exit;
use crate::output::counted;

/// Which tables.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The schema (TOML).
    schema: PathBuf,
    /// The tables (CSV, JSON lines or Parquet), each in a file of its name: `orders.csv` is table `orders`. Of a schema with one table it may have
    /// any.
    #[arg(required = true)]
    tables: Vec<PathBuf>,
    /// Which table of the schema each file is, in their order, whatever the files are called.
    #[arg(long = "table", value_name = "NAME")]
    names: Vec<String>,
    /// What separates the fields of CSV files, such as `;` or `tab`. A file whose first line has none of it is read with commas.
    #[arg(long, value_name = "CHARACTER", value_parser = declared::delimiter)]
    delimiter: Option<u8>,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    let (schema, _) = tables::read(&args.schema)?;
    schema
        .check()
        .with_context(|| args.schema.display().to_string())?;
    ensure!(
        args.names.is_empty() || args.names.len() == args.tables.len(),
        "--table: {} of them for {} files; say of each file which table it is, in their order, or of none",
        args.names.len(),
        args.tables.len()
    );
    let named = args.names.iter().map(|name| Some(name.as_str()));
    let mut read = BTreeMap::new();
    for (path, name) in args.tables.iter().zip(named.chain(std::iter::repeat(None))) {
        let of = OfSchema {
            schema: &schema,
            path: &args.schema,
            name,
        };
        let (name, table) = tables::read_one(&of, path, args.delimiter)?;
        ensure!(
            read.insert(name.clone(), table).is_none(),
            "{}: table `{name}` is given twice; say with --table which table each file is",
            path.display()
        );
    }
    let found = Checked {
        violations: violations(&schema, &read)?,
        unchecked: unchecked_of(&schema, &read),
    };
    if args.json {
        crate::say!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        show(args, &schema, &read, &found);
    }
    Ok(
        match (found.violations.is_empty(), found.unchecked.is_empty()) {
            (false, _) => Exit::Found,
            (true, false) => Exit::Inconclusive,
            (true, true) => Exit::Fine,
        },
    )
}

/// What was found, and what could not be looked at.
#[derive(Serialize)]
struct Checked {
    violations: Vec<Violation>,
    unchecked: Vec<Unchecked>,
}

/// A rule that another table is needed for, which was not given.
#[derive(Serialize)]
struct Unchecked {
    table: String,
    what: String,
}

fn unchecked_of(schema: &Schema, read: &BTreeMap<String, Table>) -> Vec<Unchecked> {
    let given = schema.table.iter();
    let given = given.filter(|table| read.contains_key(&table.name));
    let of_table = given.flat_map(|table| {
        let rules = unchecked(table, read).into_iter();
        rules.map(|what| Unchecked {
            table: table.name.clone(),
            what,
        })
    });
    of_table.collect()
}

fn show(args: &Args, schema: &Schema, read: &BTreeMap<String, Table>, found: &Checked) {
    for violation in &found.violations {
        crate::say!(
            "table {}: {} does not hold in {}, the first of them row {}",
            violation.table,
            violation.what,
            counted(violation.rows as u64, "row"),
            violation.first_row
        );
    }
    let given = schema
        .table
        .iter()
        .filter(|table| read.contains_key(&table.name));
    for of_schema in given {
        let open = declared::open_columns(of_schema, &read[&of_schema.name]);
        if !open.is_empty() {
            crate::say!(
                "table {}: not declared, and not looked at: `{}`",
                of_schema.name,
                open.join("`, `")
            );
        }
    }
    for Unchecked { table, what } in &found.unchecked {
        crate::say!("table {table}: not looked at whether {what}: that table was not given");
    }
    if found.violations.is_empty() {
        let keeps = if read.len() == 1 { "keeps" } else { "keep" };
        crate::say!(
            "{} of {} {keeps} to {}{}",
            read.len(),
            counted(schema.table.len() as u64, "table"),
            args.schema.display(),
            if found.unchecked.is_empty() {
                ""
            } else {
                ", as far as that was looked at"
            }
        );
    }
}
