//! `assay synth sample`: rows of a model, and a card that says what they are.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::declared::{Drawn, MOST_DRAWS};
use assay_suites::synthetic::generators::Model;
use assay_suites::synthetic::quality::figures::Quality;
use serde::Serialize;

use super::card::{self, CardColumn, CardColumns, Head, Privacy};
use super::files::{self, Part};
use super::model::{self, Declared, Learned};
use super::sink::Sink;
use crate::errors::Exit;
use crate::output::counted;

/// Rows that are made at a time, and cells, where there are many columns.
const BATCH: u64 = 1 << 16;
const BATCH_CELLS: u64 = 1 << 23;

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
    /// Only part K of N, from 1 on; all parts one behind the other, without the first lines of CSV files, are the whole.
    #[arg(long, value_name = "K/N", value_parser = files::shard)]
    shard: Option<Part>,
    /// Where the rows go: .csv, .jsonl or .parquet. The card goes beside them.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// What a file of synthetic rows is: its data card.
#[derive(Debug, Serialize)]
struct Card<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    rows: u64,
    first_row: u64,
    all_rows: u64,
    model: Digest,
    learned: &'a Learned,
    /// What rows keep to.
    #[serde(skip_serializing_if = "Option::is_none")]
    declared: Option<CardDeclared<'a>>,
    columns: Vec<CardColumn>,
    /// Nothing yet: `assay synth score --card` puts it there.
    quality: Option<Quality>,
}

/// What was declared of the table, and how rows came to keep to it.
#[derive(Debug, Serialize)]
struct CardDeclared<'a> {
    #[serde(flatten)]
    of: &'a Declared,
    /// How often a row that breaks something is drawn at most.
    most_draws: u64,
    drawn: Drawn,
    /// What nobody saw to.
    not_kept: Vec<String>,
}

impl<'a> CardDeclared<'a> {
    fn of(of: &'a Declared, drawn: Drawn) -> Self {
        Self {
            of,
            most_draws: MOST_DRAWS,
            drawn,
            not_kept: of.table.not_kept(),
        }
    }

    fn tell(&self) {
        let Drawn {
            rows,
            drawn_again,
            in_vain,
        } = self.drawn;
        crate::note!(
            "{drawn_again} of {rows} rows broke what is declared of table `{}`, and were drawn again",
            self.of.table.name
        );
        if in_vain > 0 {
            crate::note!(
                "warning: {in_vain} of {rows} rows break it still, after {MOST_DRAWS} draws: the model hardly makes rows that do not; learn rows that keep to it, or declare less"
            );
        }
        for what in &self.not_kept {
            crate::note!("warning: nobody sees to it that {what}");
        }
    }
}

fn privacy(model: &Model) -> Privacy<'_> {
    model
        .private()
        .map_or(card::LEARNED_ROWS, |private| Privacy::Differential {
            neighbours: "tables of which one has a row more",
            epsilon: private.epsilon,
            delta: private.delta,
            ledger: &private.ledger,
            caveats: &private.caveats,
        })
}

/// How many rows of so many columns are made at a time: memory holds them several times.
fn batch(columns: usize) -> u64 {
    (BATCH_CELLS / columns.max(1) as u64).clamp(1, BATCH)
}

pub fn run(args: &Args) -> Result<Exit> {
    ensure!(args.rows > 0, "--rows: expected at least 1");
    ensure!(
        args.rows < 1 << 44,
        "--rows: expected fewer than 2^44, which is as many as a seed has"
    );
    files::ensure_output(&args.output, &[&args.model])?;
    let bytes = model::read(&args.model)?;
    let file = model::parse(&args.model, &bytes)?;
    let rows = args.shard.unwrap_or(Part::WHOLE).of(args.rows);
    let maker = file.maker(args.rows)?;
    let (like, mut drawn) = maker.rows(args.seed, rows.start, 1)?;
    drawn = drawn.map(|_| Drawn::default());
    let mut sink = Sink::create(&args.output, &like, &file.types, rows.end - rows.start)?;
    let mut columns = CardColumns::default();
    let batch = batch(like.columns.len());
    for at in rows.clone().step_by(batch as usize) {
        let count = (rows.end - at).min(batch);
        let (batch, of_batch) = maker.rows(args.seed, at, count as usize)?;
        drawn = drawn.zip(of_batch).map(|(all, batch)| all.and(batch));
        sink.append(&batch)?;
        columns.see(&batch);
    }
    let digest = sink.finish()?;
    let card = Card {
        head: Head::new(
            &args.output,
            digest,
            args.seed,
            file.model.name(),
            file.model.parameters(),
            privacy(&file.model),
        ),
        rows: rows.end - rows.start,
        first_row: rows.start,
        all_rows: args.rows,
        model: Digest::of(&bytes),
        learned: &file.learned,
        declared: file
            .declared
            .as_ref()
            .zip(drawn)
            .map(|(of, drawn)| CardDeclared::of(of, drawn)),
        columns: columns.finish(),
        quality: None,
    };
    card::write(&args.output, &card)?;
    if let Some(declared) = &card.declared {
        declared.tell();
    }
    crate::say!(
        "{}: {}, {digest}",
        args.output.display(),
        counted(rows.end - rows.start, "row")
    );
    // The rows are there, but are not what they were to be.
    Ok(match drawn {
        Some(drawn) if drawn.in_vain > 0 => Exit::Found,
        _ => Exit::Fine,
    })
}
