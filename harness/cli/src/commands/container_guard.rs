//! `assay container-guard -- COMMAND`: removes a container by COMMAND when its standard input ends.

use std::ffi::OsString;

use anyhow::Result;

use crate::engines::keeper;
use crate::errors::Exit;

/// What removes it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Program and arguments.
    #[arg(last = true, required = true)]
    removal: Vec<OsString>,
}

pub fn run(args: &Args) -> Result<Exit> {
    keeper::keep(&args.removal)?;
    Ok(Exit::Fine)
}
