//! `assay synth sample`: rows of a model, and a card that says what they are.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::generators::Model;
use assay_suites::synthetic::privacy::accountant::Entry;
use assay_suites::synthetic::table::file::Sink;
use serde::Serialize;

use super::files::{self, CardColumn, Part};
use super::model::{self, Learned};
use crate::errors::Exit;

/// Rows that are made at a time.
const BATCH: u64 = 1 << 16;

/// Which model, and how many rows.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model.
    model: PathBuf,
    /// How many rows there are, over all shards.
    #[arg(long, value_name = "N")]
    rows: u64,
    /// Which rows: the same seed gives the same ones, on any machine, in any parts.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Only part K of N, from 1 on; all parts one behind the other are the whole.
    #[arg(long, value_name = "K/N", value_parser = files::shard)]
    shard: Option<Part>,
    /// Where the rows go: .csv, .jsonl or .parquet. The card goes beside them.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// What a file of synthetic rows is: its data card.
#[derive(Debug, Serialize)]
struct Card<'a> {
    schema: u32,
    file: String,
    digest: Digest,
    rows: u64,
    first_row: u64,
    all_rows: u64,
    seed: u64,
    generator: &'static str,
    model: Digest,
    learned: &'a Learned,
    columns: Vec<CardColumn>,
    privacy: Option<Privacy<'a>>,
}

#[derive(Debug, Serialize)]
struct Privacy<'a> {
    epsilon: f64,
    delta: f64,
    ledger: &'a [Entry],
    caveats: &'a [String],
}

pub fn run(args: &Args) -> Result<Exit> {
    ensure!(args.rows > 0, "--rows: expected at least 1");
    ensure!(
        args.rows < 1 << 44,
        "--rows: expected fewer than 2^44, which is as many as a seed has"
    );
    let bytes = model::read(&args.model)?;
    let file = model::parse(&args.model, &bytes)?;
    let rows = args.shard.unwrap_or(Part::WHOLE).of(args.rows);
    let like = file.model.rows(args.seed, rows.start, 1);
    let mut sink = Sink::create(&args.output, &like)?;
    for at in rows.clone().step_by(BATCH as usize) {
        let count = (rows.end - at).min(BATCH);
        sink.append(&file.model.rows(args.seed, at, count as usize))?;
    }
    let digest = sink.finish()?;
    let privacy = match &file.model {
        Model::Mst(mst) => Some(Privacy {
            epsilon: mst.epsilon,
            delta: mst.delta,
            ledger: &mst.ledger,
            caveats: &mst.caveats,
        }),
        _ => None,
    };
    let card = Card {
        schema: 1,
        file: files::name(&args.output),
        digest,
        rows: rows.end - rows.start,
        first_row: rows.start,
        all_rows: args.rows,
        seed: args.seed,
        generator: file.model.name(),
        model: Digest::of(&bytes),
        learned: &file.learned,
        columns: CardColumn::of(&like),
        privacy,
    };
    files::write_card(&args.output, &card)?;
    crate::say!(
        "{}: {} rows, {digest}",
        args.output.display(),
        rows.end - rows.start
    );
    Ok(Exit::Fine)
}
