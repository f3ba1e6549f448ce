//! `assay list`: the built-in suites, or the cases of one suite.

use std::path::Path;

use anyhow::Result;

use crate::errors::Exit;
use crate::plan;
use crate::settings::Settings;
use crate::suite::{Suite, builtin, locate};

/// What to list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A suite by name or path: lists its cases.
    suite: Option<String>,
    /// Only cases whose id contains this text; may be given again.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
}

pub fn run(args: &Args) -> Result<Exit> {
    let Some(name) = &args.suite else {
        return suites();
    };
    let located = locate::locate(name)?;
    let options = plan::Options {
        filters: args.filter.clone(),
        ..plan::Options::default()
    };
    let file = plan::plan(&located, &Settings::load()?, &options)?;
    for case in &file.manifest.cases {
        println!("{}", case.id);
    }
    Ok(Exit::Fine)
}

fn suites() -> Result<Exit> {
    for (name, text) in builtin::all() {
        let suite = Suite::parse(Path::new(name), text)?;
        println!("{name:<10} {}", suite.description);
    }
    eprintln!("a suite of your own is named by its path: assay list ./my-suite.toml");
    Ok(Exit::Fine)
}
