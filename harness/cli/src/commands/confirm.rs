//! `assay confirm`: the suspects of a check, run again before anybody is told.

use anyhow::Result;
use assay_store::Access;

use super::run::Running;
use crate::errors::Exit;
use crate::gating::{self, Asking};
use crate::interrupt::Interrupt;
use crate::settings::Settings;
use crate::show::{self, verdicts};
use crate::{confirming, database};

/// What to confirm and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An id, a unique prefix of one, `latest`, `latest~1`, or `tag:NAME`; without it, the newest complete run that is no
    /// reproduction.
    run: Option<String>,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    running: Running,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    let checked = {
        let store = database::open(&settings, Access::Read)?;
        let run = gating::night(&store, args.run.as_deref())?;
        args.asking.check(&store, &run, &settings)?
    };
    let options = args.running.options()?;
    let interrupt = Interrupt::listen()?;
    let confirmed = confirming::confirm(checked, &args.asking, &options, &settings, &interrupt)?;
    let Some(checked) = confirmed else {
        return Ok(Exit::Interrupted);
    };
    args.asking.write(&checked.gate, checked.suite())?;
    if args.json {
        show::json(&checked.gate)?;
    } else {
        crate::say!("{}", verdicts::gate(&checked.gate));
    }
    Ok(args.asking.exit_of(&checked.gate))
}
