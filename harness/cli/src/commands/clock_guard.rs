//! `assay clock-guard`: locks the clocks of GPUs until its standard input ends. `assay run --lock-clocks` starts it.

use anyhow::Result;

use crate::clocks::{Clock, guard};
use crate::errors::Exit;

/// Which clocks.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `base`, or a number of MHz.
    #[arg(long)]
    at: Clock,
    /// GPUs whose name contains this text; may be given again.
    #[arg(long, required = true)]
    model: Vec<String>,
}

pub fn run(args: &Args) -> Result<Exit> {
    guard::run(args.at, &args.model)?;
    Ok(Exit::Fine)
}
