//! `assay show`: what a run found.

use anyhow::Result;
use assay_store::Access;
use assay_verdicts::RunSummary;

use crate::errors::Exit;
use crate::settings::Settings;
use crate::{database, show};

/// Which run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An id, a unique prefix of one, `latest`, `latest~1`, or `tag:NAME`.
    #[arg(default_value = "latest")]
    run: String,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    let store = database::open(&settings, Access::Read)?;
    let summary = RunSummary::of(&store, &store.resolve(&args.run)?)?.with_energy(&store)?;
    if args.json {
        show::json(&summary)?;
    } else {
        show::run(&summary);
    }
    Ok(Exit::Fine)
}
