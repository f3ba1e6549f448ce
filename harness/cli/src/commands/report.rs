//! `assay report`: the site, from what the database holds.

use std::path::PathBuf;

use anyhow::Result;

use crate::errors::Exit;
use crate::settings::Settings;
use crate::site;

/// Where to publish.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the site; without it, the one of the settings.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    publishing: site::Publishing,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    let out = args.out.as_ref().unwrap_or(&settings.site);
    let published = site::publish(&settings, out, &args.publishing)?;
    crate::say!(
        "{} pages, {} bytes: {}",
        published.pages,
        published.bytes,
        published.index().display()
    );
    Ok(Exit::Fine)
}
