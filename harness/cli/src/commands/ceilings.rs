//! `assay ceilings`: the most that this machine does, level by level and unit by unit, beside what its datasheet says.

use anyhow::{Result, bail};
use assay_protocol::Unit;
use assay_record::fingerprint::{Field, Scalar};
use assay_record::{Purpose, RunStatus};
use assay_reports::format;
use assay_store::Access;
use assay_verdicts::ceilings::{Ceiling, Ceilings};
use assay_verdicts::datasheet;

use super::run::Running;
use crate::errors::{CouldNotRun, Exit};
use crate::interrupt::Interrupt;
use crate::settings::Settings;
use crate::suite::locate;
use crate::{database, execute, plan, show};

/// The suite that measures them.
const SUITE: &str = "ceilings";

/// How to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    running: Running,
    /// Show what is known without measuring.
    #[arg(long)]
    show: bool,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    if !args.show && measure(args, &settings)? == RunStatus::Interrupted {
        return Ok(Exit::Interrupted);
    }
    let store = database::open(&settings, Access::Read)?;
    let fingerprint = assay_machine::fingerprint();
    let machine = execute::identity(&fingerprint, &settings)?.name;
    let found = Ceilings::of(&store, &machine)?;
    if found.all.is_empty() {
        if args.show {
            bail!("the ceilings of {machine} were never measured: leave out --show");
        }
        let why = "no ceiling could be measured; `assay show latest` says why";
        return Err(CouldNotRun(why.into()).into());
    }
    if args.json {
        show::json(&found)?;
    } else {
        print(&machine, &found, &gpu_names(&fingerprint));
    }
    Ok(Exit::Fine)
}

fn measure(args: &Args, settings: &Settings) -> Result<RunStatus> {
    let interrupt = Interrupt::listen()?;
    let file = plan::plan(&locate::locate(SUITE)?, settings, &plan::Options::default())?;
    let options = execute::Options {
        tags: args.running.tag.clone(),
        wait_s: args.running.wait,
        quiet: args.running.quiet,
        purpose: Purpose::Ceilings,
        ..execute::Options::default()
    };
    let executed = execute::execute(&file, settings, &options, &interrupt)?;
    drop(database::ingest_record(settings, &executed.record)?);
    Ok(executed.status)
}

/// Names of the machine's GPUs, as its fingerprint has them.
fn gpu_names(fingerprint: &assay_record::Fingerprint) -> Vec<String> {
    let is_name = |name: &str| {
        name.strip_prefix("gpu.")
            .is_some_and(|rest| rest.split('.').nth(1) == Some("name"))
    };
    let fields = fingerprint
        .hardware
        .iter()
        .filter(|(name, _)| is_name(name));
    let text = |field: &Field| match field {
        Field::Value(Scalar::Text(text)) => Some(text.clone()),
        _ => None,
    };
    fields.filter_map(|(_, field)| text(field)).collect()
}

fn print(machine: &str, found: &Ceilings, gpus: &[String]) {
    crate::say!("ceilings of {machine}\n");
    crate::say!(
        "{:<6} {:<12} {:>26} {:>14} {:>8}",
        "device",
        "of",
        "measured",
        "datasheet",
        "share"
    );
    for ceiling in &found.all {
        let sheet = (ceiling.device == "cuda").then(|| {
            gpus.iter()
                .find_map(|gpu| datasheet::rate(gpu, ceiling.limit))
        });
        line(ceiling, sheet.flatten());
    }
}

fn line(ceiling: &Ceiling, sheet: Option<f64>) {
    let unit = ceiling.limit.unit();
    let measured = format::interval(&ceiling.rate, &Unit::from(unit)).to_string();
    let (sheet_text, share) = match sheet {
        Some(rate) => (
            format::value(rate, &Unit::from(unit)).to_string(),
            format!("{:.1} %", 100.0 * ceiling.rate.estimate / rate),
        ),
        None => ("-".into(), "-".into()),
    };
    let (device, name) = (&ceiling.device, ceiling.limit.name());
    let doubt = if ceiling.disturbed { "  disturbed" } else { "" };
    crate::say!("{device:<6} {name:<12} {measured:>26} {sheet_text:>14} {share:>8}{doubt}");
}
