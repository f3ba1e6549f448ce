//! `assay fingerprint`: what this machine is, or how two machines differ.

use std::path::Path;

use anyhow::{Context as _, Result};
use assay_machine::diff;
use assay_record::fingerprint::PARTS;
use assay_record::{Fingerprint, Record};
use assay_store::Access;
use clap::Subcommand;

use crate::database;
use crate::errors::Exit;
use crate::execute::identity;
use crate::settings::Settings;

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show this machine, or the machine of a run.
    Show {
        /// A run, a record, or a fingerprint's JSON file; without it, this machine now.
        what: Option<String>,
        /// Machine output on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Say in words how two machines differ: each a run, a record, a fingerprint's JSON file, or `here`.
    Diff {
        /// The earlier one.
        a: String,
        /// The later one.
        b: String,
    },
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    match &args.action {
        None => show(None, false, &settings),
        Some(Action::Show { what, json }) => show(what.as_deref(), *json, &settings),
        Some(Action::Diff { a, b }) => {
            difference(&load(a, &settings)?, &load(b, &settings)?);
            Ok(Exit::Fine)
        }
    }
}

fn show(what: Option<&str>, json: bool, settings: &Settings) -> Result<Exit> {
    let fingerprint = load(what.unwrap_or("here"), settings)?;
    if json {
        crate::say!("{}", serde_json::to_string_pretty(&fingerprint)?);
        return Ok(Exit::Fine);
    }
    let identity = identity(&fingerprint, settings)?;
    crate::say!(
        "machine {}, class {}, taken {}",
        identity.name,
        identity.class.short(),
        fingerprint.taken.minute()
    );
    for part in PARTS {
        crate::say!("\n{part}");
        for (name, field) in fingerprint.part(part).into_iter().flatten() {
            crate::say!("  {name:<40} {field}");
        }
    }
    Ok(Exit::Fine)
}

fn difference(a: &Fingerprint, b: &Fingerprint) {
    let explanations = diff::explain(a, b);
    if explanations.is_empty() {
        crate::say!("No difference that matters.");
    }
    for explanation in explanations {
        crate::say!("{}: {}", explanation.part, explanation.text);
    }
}

fn load(what: &str, settings: &Settings) -> Result<Fingerprint> {
    let path = Path::new(what);
    if what == "here" {
        return Ok(assay_machine::fingerprint());
    }
    if Record::is_record_name(path) {
        return Ok(Record::read(path)?.header.fingerprint);
    }
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        let text = std::fs::read_to_string(path).with_context(|| what.to_owned())?;
        return serde_json::from_str(&text).with_context(|| format!("{what}: not a fingerprint"));
    }
    let store = database::open(settings, Access::Read)?;
    let run = store.run(&store.resolve(what)?)?;
    Ok(store.fingerprint(&run.before)?)
}
