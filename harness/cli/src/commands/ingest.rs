//! `assay ingest`: records into the database, from any folders, in any order, any number of times.

use std::path::PathBuf;

use anyhow::Result;

use crate::database;
use crate::errors::Exit;
use crate::settings::Settings;

/// What to ingest.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of records, or single ones; without any, the folder of the settings.
    paths: Vec<PathBuf>,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    let default = vec![settings.records.clone()];
    let paths = if args.paths.is_empty() {
        &default
    } else {
        &args.paths
    };
    let report = database::ingest_folders(&settings, paths)?;
    crate::say!(
        "{} new, {} updated, {} unchanged",
        report.new.len(),
        report.updated.len(),
        report.unchanged
    );
    for (run, doubt) in &report.doubts {
        crate::note!("warning: run {run}: {doubt}");
    }
    for (path, error) in &report.failures {
        let error = error.to_string();
        let named = error.contains(&path.display().to_string());
        crate::note!(
            "error: {}{error}",
            if named {
                String::new()
            } else {
                format!("{}: ", path.display())
            }
        );
    }
    Ok(if report.failures.is_empty() {
        Exit::Fine
    } else {
        Exit::BadInput
    })
}
