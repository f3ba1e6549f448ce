//! `assay nightly`: run, check, confirm what looks changed, publish. What a cron job or a CI system calls.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use assay_record::RunStatus;
use assay_store::Access;
use assay_verdicts::RunSummary;
use assay_verdicts::window::MAIN_ARM;

use super::plan::Selection;
use super::run::{Running, exit_of, run_and_ingest};
use crate::errors::{self, Exit};
use crate::execute::{self, Executed};
use crate::gating::{Asking, Checked};
use crate::interrupt::Interrupt;
use crate::settings::Settings;
use crate::show::{self, verdicts};
use crate::{confirming, database, site};

/// What to run and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A suite by name or path, or a manifest.json.
    what: String,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    running: Running,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    publishing: site::Publishing,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    site::check(&settings)?;
    let options = args.running.options()?;
    let interrupt = Interrupt::listen()?;
    let (executed, summary) =
        run_and_ingest(&args.what, &args.selection, &options, &settings, &interrupt)?;
    let mut exit = exit_of(&executed, &summary);
    let mut records = Vec::new();
    if executed.status == RunStatus::Complete && has_judged_arm(&summary) {
        let gated = gate(args, options, &executed, &settings, &interrupt)?;
        exit = worse(exit, gated.exit);
        records = gated.records;
    }
    show::run(&summary);
    let published = site::publish(&settings, &settings.site, &args.publishing.of_a_night())?;
    for record in records.iter().chain([&executed.record]) {
        crate::say!("record: {}", record.display());
    }
    crate::say!("site:   {}", published.index().display());
    Ok(exit)
}

/// What came of the gate.
struct Gated {
    exit: Exit,
    /// Records of what was run to confirm.
    records: Vec<PathBuf>,
}

/// A run of several arms without [`MAIN_ARM`] is no night of a history; `assay compare --by arm` compares them.
fn has_judged_arm(summary: &RunSummary) -> bool {
    let arms: BTreeSet<&str> = summary.cases.iter().map(|case| &*case.case.arm).collect();
    arms.len() == 1 || arms.contains(MAIN_ARM)
}

/// Checks the run, runs its suspects again, and says what is left of them.
fn gate(
    args: &Args,
    options: execute::Options,
    executed: &Executed,
    settings: &Settings,
    interrupt: &Interrupt,
) -> Result<Gated> {
    let checked = {
        let store = database::open(settings, Access::Read)?;
        args.asking.check(&store, &executed.run, settings)?
    };
    // The tag names the night, not what is run to explain it.
    let options = execute::Options {
        tags: Vec::new(),
        ..options
    };
    let first = Checked {
        gate: checked.gate.clone().unconfirmed(),
        ..checked.clone()
    };
    let (checked, failed) =
        match confirming::confirm(checked, &args.asking, &options, settings, interrupt) {
            Ok(Some(confirmed)) => (confirmed, Exit::Fine),
            Ok(None) => (first, Exit::Interrupted),
            // The night was measured: what is known of it is said and published all the same, and its suspects stay suspects.
            Err(error) => {
                errors::print(&error.context("the suspects could not be run again"));
                (first, Exit::CouldNotRun)
            }
        };
    args.asking.write(&checked.gate, checked.suite())?;
    crate::say!("{}\n", verdicts::gate(&checked.gate));
    Ok(Gated {
        exit: worse(failed, args.asking.exit_of(&checked.gate)),
        records: checked.records,
    })
}

/// The exit code of two steps: interrupted before all, then what was found, then what could not be run or told.
fn worse(first: Exit, second: Exit) -> Exit {
    let order = [
        Exit::Interrupted,
        Exit::Found,
        Exit::CouldNotRun,
        Exit::Inconclusive,
    ];
    let found = order
        .into_iter()
        .find(|exit| [first, second].contains(exit));
    found.unwrap_or(Exit::Fine)
}
