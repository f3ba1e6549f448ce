//! `assay synth tables`: the tables of a schema, a file and a card for each.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::declared::{Maker, Schema, TableSchema};
use assay_suites::synthetic::quality::figures::Quality;
use assay_suites::synthetic::table::Table;
use assay_suites::synthetic::table::cells::CellTypes;
use assay_suites::synthetic::table::file::{Reading, read_as};
use serde::Serialize;
use serde_json::json;

use super::card::{self, CardColumn, CardColumns, Head};
use super::declared;
use super::files::{self, Part, Wanted};
use super::sink::Sink;
use crate::errors::Exit;
use crate::output::counted;

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
    #[serde(flatten)]
    head: Head<'a>,
    rows: u64,
    first_row: u64,
    all_rows: u64,
    /// SHA-256 of the file that it was declared in.
    declared_in: Digest,
    declared: &'a TableSchema,
    columns: Vec<CardColumn>,
    /// Nothing yet: `assay synth score --card` puts it there.
    quality: Option<Quality>,
}

pub fn run(args: &Args) -> Result<Exit> {
    let (schema, digest) = read(&args.schema)?;
    let maker = schema
        .build()
        .with_context(|| args.schema.display().to_string())?;
    std::fs::create_dir_all(&args.output).map_err(files::failed(&args.output))?;
    ensure_room(args, &maker)?;
    for place in 0..schema.table.len() {
        write(args, &maker, place, digest)?;
    }
    Ok(Exit::Fine)
}

impl Args {
    /// The file of a table, and which rows of it.
    fn part_of(&self, table: &TableSchema) -> (PathBuf, Range<u64>) {
        let path = self.output.join(format!("{}.{}", table.name, self.form));
        (path, self.shard.unwrap_or(Part::WHOLE).of(table.rows))
    }
}

/// That all tables have room, by what some rows of each take, before the first is made.
fn ensure_room(args: &Args, maker: &Maker) -> Result<()> {
    let tables = maker.schema().table.iter().enumerate();
    let wanted = tables.map(|(place, table)| {
        let (path, rows) = args.part_of(table);
        let count = rows.end - rows.start;
        let some = maker.rows(
            place,
            args.seed,
            rows.start,
            count.min(files::SOME) as usize,
        );
        let what = format!("{count} rows of table `{}` take about", table.name);
        Wanted::like(path, &some, count, what)
    });
    files::ensure_room_for_all(&wanted.collect::<Result<Vec<_>>>()?)
}

fn write(args: &Args, maker: &Maker, place: usize, declared_in: Digest) -> Result<()> {
    let table = &maker.schema().table[place];
    let (path, rows) = args.part_of(table);
    files::ensure_output(&path, &[&args.schema])?;
    let like = maker.rows(place, args.seed, rows.start, 1);
    let mut columns = CardColumns::default();
    let mut sink = Sink::create(&path, &like, &CellTypes::new(), rows.end - rows.start)?;
    for at in rows.clone().step_by(BATCH as usize) {
        let count = (rows.end - at).min(BATCH);
        let batch = maker.rows(place, args.seed, at, count as usize);
        sink.append(&batch)?;
        columns.see(&batch);
    }
    let digest = sink.finish()?;
    let nothing = card::LEARNED_NOTHING;
    let card = Card {
        // What is declared is all that it is told.
        head: Head::new(&path, digest, args.seed, "tables", json!({}), nothing),
        rows: rows.end - rows.start,
        first_row: rows.start,
        all_rows: table.rows,
        declared_in,
        declared: table,
        columns: columns.finish(),
        quality: None,
    };
    card::write(&path, &card)?;
    let rows = counted(card.rows, "row");
    crate::say!("{}: {rows}, {digest}", path.display());
    Ok(())
}

/// Which table of a schema a file is.
pub struct OfSchema<'a> {
    /// The schema.
    pub schema: &'a Schema,
    /// Its file.
    pub path: &'a Path,
    /// The table; otherwise it is that of the file's name, or the only one.
    pub name: Option<&'a str>,
}

impl OfSchema<'_> {
    fn table(&self, path: &Path) -> Result<&TableSchema> {
        let Self { schema, name, .. } = self;
        let of_file = files::name(&path.with_extension(""));
        let found = match name {
            Some(name) => schema.table.iter().find(|table| table.name == *name),
            None => schema.table_for(&of_file),
        };
        found.with_context(|| {
            let names: Vec<&str> = schema
                .table
                .iter()
                .map(|table| table.name.as_str())
                .collect();
            format!(
                "{}: {} declares no table `{}`: there are {}{}",
                path.display(),
                self.path.display(),
                name.unwrap_or(&of_file),
                names.join(", "),
                if name.is_some() {
                    ""
                } else {
                    "; say with --table which one it is"
                }
            )
        })
    }
}

/// A table of a schema in a file, and its name.
pub fn read_one(of: &OfSchema<'_>, path: &Path, delimiter: Option<u8>) -> Result<(String, Table)> {
    let table = of.table(path)?;
    let reading = Reading {
        delimiter,
        types: table.types(of.schema),
    };
    let source = read_as(path, &reading)?;
    declared::tell_left_out(path, &source);
    Ok((table.name.clone(), source.table))
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
