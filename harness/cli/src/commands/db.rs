//! `assay db`: rebuild the database from records, or verify it against them.

use std::path::PathBuf;

use anyhow::Result;
use assay_store::Access;
use clap::Subcommand;

use crate::database;
use crate::errors::Exit;
use crate::settings::Settings;

/// What to do with the database.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build the database anew from records; the old one stays until the new one is whole.
    Rebuild {
        /// Folders of records; without any, the folder of the settings.
        folders: Vec<PathBuf>,
    },
    /// Read every record again and compare it with what the database says.
    Verify {
        /// Folders of records; without any, the folder of the settings.
        folders: Vec<PathBuf>,
    },
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    match &args.action {
        Action::Rebuild { folders } => rebuild(&settings, &or_default(folders, &settings)),
        Action::Verify { folders } => verify(&settings, &or_default(folders, &settings)),
    }
}

fn or_default(folders: &[PathBuf], settings: &Settings) -> Vec<PathBuf> {
    if folders.is_empty() {
        vec![settings.records.clone()]
    } else {
        folders.to_vec()
    }
}

fn rebuild(settings: &Settings, folders: &[PathBuf]) -> Result<Exit> {
    let report = database::rebuild(settings, folders)?;
    crate::say!("{}: {} runs", settings.database.display(), report.new.len());
    for (_, error) in &report.failures {
        crate::note!("error: {error}");
    }
    Ok(if report.failures.is_empty() {
        Exit::Fine
    } else {
        Exit::BadInput
    })
}

fn verify(settings: &Settings, folders: &[PathBuf]) -> Result<Exit> {
    let report = database::open(settings, Access::Read)?.verify(folders)?;
    crate::say!("{} runs agree with their records", report.agreeing);
    for problem in &report.problems {
        crate::say!("problem: {}", problem.what);
    }
    Ok(if report.problems.is_empty() {
        Exit::Fine
    } else {
        Exit::Found
    })
}
