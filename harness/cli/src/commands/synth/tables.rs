//! `assay synth tables`: the tables of a schema, a file and a card for each.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::declared::{Maker, Schema, TableSchema};
use assay_suites::synthetic::table::Table;
use assay_suites::synthetic::table::cells::CellTypes;
use assay_suites::synthetic::table::file::{Reading, read_as};
use serde::Serialize;

use super::card;
use super::files::{self, Part};
use super::sink::Sink;
use crate::errors::Exit;

/// Rows that are made at a time.
const BATCH: u64 = 1 << 16;
/// Longest schema that is read, in bytes.
const MAX_SCHEMA: u64 = 1 << 24;

/// Which schema.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The schema (TOML): tables with their columns and constraints.
    schema: PathBuf,
    /// Which rows: the same seed gives the same, on any machine, in any parts.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Only part K of N of every table, from 1 on.
    #[arg(long, value_name = "K/N", value_parser = files::shard)]
    shard: Option<Part>,
    /// What files are written.
    #[arg(long, default_value = "csv", value_parser = ["csv", "jsonl", "parquet"])]
    form: String,
    /// The folder that they go to.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
}

/// What a table is: its data card.
#[derive(Debug, Serialize)]
struct Card<'a> {
    schema: u32,
    file: String,
    digest: Digest,
    rows: u64,
    first_row: u64,
    seed: u64,
    /// SHA-256 of the file that it was declared in.
    declared_in: Digest,
    declared: &'a TableSchema,
}

pub fn run(args: &Args) -> Result<Exit> {
    let (schema, digest) = read(&args.schema)?;
    let maker = schema
        .build()
        .with_context(|| args.schema.display().to_string())?;
    std::fs::create_dir_all(&args.output).map_err(files::failed(&args.output))?;
    for place in 0..schema.table.len() {
        write(args, &maker, place, digest)?;
    }
    Ok(Exit::Fine)
}

fn write(args: &Args, maker: &Maker, place: usize, declared_in: Digest) -> Result<()> {
    let table = &maker.schema().table[place];
    let path = args.output.join(format!("{}.{}", table.name, args.form));
    let rows = args.shard.unwrap_or(Part::WHOLE).of(table.rows);
    files::ensure_output(&path, &[&args.schema])?;
    let like = maker.rows(place, args.seed, rows.start, 1);
    let mut sink = Sink::create(&path, &like, &CellTypes::new(), rows.end - rows.start)?;
    for at in rows.clone().step_by(BATCH as usize) {
        let count = (rows.end - at).min(BATCH);
        sink.append(&maker.rows(place, args.seed, at, count as usize))?;
    }
    let digest = sink.finish()?;
    let card = Card {
        schema: 1,
        file: files::name(&path),
        digest,
        rows: rows.end - rows.start,
        first_row: rows.start,
        seed: args.seed,
        declared_in,
        declared: table,
    };
    card::write(&path, &card)?;
    crate::say!("{}: {} rows, {digest}", path.display(), card.rows);
    Ok(())
}

/// A table of a schema in a file of its name, and that name.
pub fn read_one(
    schema: &Schema,
    schema_name: &str,
    path: &Path,
    delimiter: Option<u8>,
) -> Result<(String, Table)> {
    let name = files::name(&path.with_extension(""));
    let of_schema = schema.table.iter().find(|table| table.name == name);
    let of_schema = of_schema.with_context(|| {
        let names: Vec<&str> = schema
            .table
            .iter()
            .map(|table| table.name.as_str())
            .collect();
        format!(
            "{}: {schema_name} declares no table `{name}`: there are {}",
            path.display(),
            names.join(", ")
        )
    })?;
    let reading = Reading {
        delimiter,
        types: of_schema.types(),
    };
    Ok((name, read_as(path, &reading)?.table))
}

/// A schema, and the digest of its file.
pub fn read(path: &Path) -> Result<(Schema, Digest)> {
    let in_path = || path.display().to_string();
    let size = std::fs::metadata(path).with_context(in_path)?.len();
    ensure!(
        size <= MAX_SCHEMA,
        "{}: longer than a schema can be",
        path.display()
    );
    let text = std::fs::read_to_string(path).with_context(in_path)?;
    let schema = toml::from_str(&text).with_context(in_path)?;
    Ok((schema, Digest::of(text)))
}
