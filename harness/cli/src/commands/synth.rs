//! `assay synth`: learn a table, make rows like it, and score them; make items of a recipe, and tables of a schema. On its own,
//! with anybody's data.

mod card;
mod census;
mod check;
mod declared;
mod files;
mod fit;
mod make;
mod model;
mod progress;
mod sample;
mod score;
mod sheet;
mod sink;
mod tables;

use anyhow::Result;

use crate::errors::Exit;

/// What to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Learn a table (.csv, .jsonl, .parquet) and write the model.
    Fit(fit::Args),
    /// Make rows of a model, and a card that says what they are.
    Sample(sample::Args),
    /// Compare synthetic rows with real ones.
    Score(score::Args),
    /// Make spectra, series, texts, instruction records or pictures, and a card that says what they are.
    Make(make::Args),
    /// Make the tables of a schema, with its keys and constraints.
    Tables(tables::Args),
    /// Say which rows of tables do not keep to a schema.
    Check(check::Args),
    /// Make the census-like table whose dependencies are known, which generators are timed on.
    Census(census::Args),
}

pub fn run(args: &Args) -> Result<Exit> {
    match &args.command {
        Command::Fit(args) => fit::run(args),
        Command::Sample(args) => sample::run(args),
        Command::Score(args) => score::run(args),
        Command::Make(args) => make::run(args),
        Command::Tables(args) => tables::run(args),
        Command::Check(args) => check::run(args),
        Command::Census(args) => census::run(args),
    }
}
