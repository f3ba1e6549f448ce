//! `assay synth census`: the table that generators of tables are timed on, so that others can be measured on the same one.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use assay_suites::synthetic::quality::figures::Quality;
use assay_suites::synthetic::table::cells::CellTypes;
use assay_suites::synthetic::table::census;
use assay_suites::synthetic::workload::MOST_ROWS;
use serde::Serialize;
use serde_json::json;

use super::card::{self, CardColumn, CardColumns, Head};
use super::files;
use super::sink::Sink;
use crate::errors::Exit;
use crate::output::counted;

/// Rows that are made at a time.
const BATCH: u64 = 1 << 16;

/// How much of it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many rows.
    #[arg(long, value_name = "N")]
    rows: u64,
    /// Which rows.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Where they go: .csv, .jsonl or .parquet.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// What a file of it is: its data card.
#[derive(Debug, Serialize)]
struct Card {
    #[serde(flatten)]
    head: Head<'static>,
    rows: u64,
    columns: Vec<CardColumn>,
    /// Nothing yet: `assay synth score --card` puts it there.
    quality: Option<Quality>,
}

pub fn run(args: &Args) -> Result<Exit> {
    ensure!(
        (1..MOST_ROWS).contains(&args.rows),
        "--rows: expected 1 to 2^44 - 1, which is as many as a seed has"
    );
    files::ensure_output(&args.output, &[])?;
    let like = census::rows(args.seed, 0, 1);
    let mut columns = CardColumns::default();
    let mut sink = Sink::create(&args.output, &like, &CellTypes::new(), args.rows)?;
    for at in (0..args.rows).step_by(BATCH as usize) {
        let count = (args.rows - at).min(BATCH);
        let batch = census::rows(args.seed, at, count as usize);
        sink.append(&batch)?;
        columns.see(&batch);
    }
    let digest = sink.finish()?;
    let (none, nothing) = (json!({}), card::LEARNED_NOTHING);
    let card = Card {
        head: Head::new(&args.output, digest, args.seed, "census", none, nothing),
        rows: args.rows,
        columns: columns.finish(),
        quality: None,
    };
    card::write(&args.output, &card)?;
    let rows = counted(args.rows, "row");
    crate::say!("{}: {rows}, {digest}", args.output.display());
    Ok(Exit::Fine)
}
