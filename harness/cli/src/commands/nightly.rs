//! `assay nightly`: run, then publish. What a cron job or a CI system calls.

use anyhow::Result;

use super::plan::Selection;
use super::run::{Running, exit_of, run_and_ingest};
use crate::errors::Exit;
use crate::settings::Settings;
use crate::{show, site};

/// What to run and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A suite by name or path, or a manifest.json.
    what: String,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    running: Running,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    let (executed, summary) =
        run_and_ingest(&args.what, &args.selection, &args.running, &settings)?;
    show::run(&summary);
    let published = site::publish(&settings, &settings.site)?;
    crate::say!("record: {}", executed.record.display());
    crate::say!("site:   {}", published.index().display());
    Ok(exit_of(&executed, &summary))
}
