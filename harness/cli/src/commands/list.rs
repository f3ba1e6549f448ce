//! `assay list`: the built-in suites, the cases of one suite, the built-in workloads, or the runs that the database holds.

mod workloads;

use std::path::Path;

use anyhow::Result;
use assay_store::Access;

use crate::database;
use crate::errors::Exit;
use crate::plan;
use crate::settings::Settings;
use crate::suite::{Suite, builtin, locate};

/// What to list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A suite by name or path: lists its cases.
    suite: Option<String>,
    /// The runs that the database holds, oldest first.
    #[arg(long, conflicts_with = "suite")]
    runs: bool,
    /// The built-in workloads.
    #[arg(long, conflicts_with_all = ["suite", "runs", "filter"])]
    workloads: bool,
    /// A built-in workload with its parameters.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["suite", "runs", "filter", "workloads"])]
    workload: Option<String>,
    /// Only cases whose id contains this text; may be given again.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
}

pub fn run(args: &Args) -> Result<Exit> {
    if args.runs {
        return runs(&Settings::load()?);
    }
    if args.workloads {
        return workloads::list();
    }
    if let Some(name) = &args.workload {
        return workloads::show(name);
    }
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
        crate::say!("{}", case.id);
    }
    Ok(Exit::Fine)
}

fn suites() -> Result<Exit> {
    for (name, text) in builtin::all() {
        let suite = Suite::parse(Path::new(name), text)?;
        crate::say!("{name:<18} {}", suite.description);
    }
    crate::note!("a suite of your own is named by its path: assay list ./my-suite.toml");
    Ok(Exit::Fine)
}

fn runs(settings: &Settings) -> Result<Exit> {
    for row in &database::open(settings, Access::Read)?.runs()? {
        let status = format!("{:?}", row.status).to_lowercase();
        let tags = row.tags.iter().map(|tag| format!("  tag:{tag}"));
        let tags: String = tags.collect();
        crate::say!(
            "{}  {}  {status}  {}{tags}",
            row.run,
            row.suite,
            row.machine
        );
    }
    Ok(Exit::Fine)
}
