//! `assay calibrate`: how much identical code differs from itself here, and what can therefore be found.

use anyhow::{Result, bail};
use assay_record::{Purpose, RunStatus};
use assay_store::Access;
use assay_verdicts::calibration::{ARMS, Calibration, CaseCalibration, RunBasis};

use super::plan::Selection;
use super::run::Running;
use crate::errors::{CouldNotRun, Exit};
use crate::interrupt::Interrupt;
use crate::settings::Settings;
use crate::suite::locate;
use crate::{database, execute, plan, show};

/// What to calibrate and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A suite by name or path.
    suite: String,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    running: Running,
    /// How many runs, each of two identical arms; 0 shows what is known without running.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=100))]
    runs: u32,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    let located = locate::locate(&args.suite)?;
    if args.runs > 0 {
        let mut options = args.selection.options();
        if !options.arms.is_empty() {
            bail!("--arm: a calibration has two arms of its own, both of them this environment");
        }
        options.arms = ARMS.map(|arm| format!("{arm}=here")).into();
        let file = plan::plan(&located, &settings, &options)?;
        if measure(args, &file, &settings)? == RunStatus::Interrupted {
            return Ok(Exit::Interrupted);
        }
    }
    let store = database::open(&settings, Access::Read)?;
    let machine = execute::identity(&assay_machine::fingerprint(), &settings)?.name;
    let suite = &located.suite.name;
    let Some(found) = Calibration::of(&store, suite, &machine)? else {
        bail!("suite `{suite}` was never calibrated on {machine}: leave out --runs 0");
    };
    if found.cases.is_empty() {
        let why = format!(
            "nothing of `{suite}` could be measured in two runs of two rounds; `assay show latest` says why"
        );
        return Err(CouldNotRun(why).into());
    }
    if args.json {
        show::json(&found)?;
    } else {
        print(&found);
    }
    Ok(Exit::Fine)
}

fn measure(
    args: &Args,
    file: &assay_record::ManifestFile,
    settings: &Settings,
) -> Result<RunStatus> {
    let options = execute::Options {
        purpose: Purpose::Calibration,
        ..args.running.options()?
    };
    let interrupt = Interrupt::listen()?;
    for number in 1..=args.runs {
        if !args.running.quiet {
            crate::note!("calibration run {number} of {}", args.runs);
        }
        let executed = execute::execute(file, settings, &options, &interrupt)?;
        drop(database::ingest_record(settings, &executed.record)?);
        if executed.status == RunStatus::Interrupted {
            return Ok(RunStatus::Interrupted);
        }
    }
    Ok(RunStatus::Complete)
}

fn print(found: &Calibration) {
    crate::say!(
        "{} on {}, from {} calibration runs. All in %.\n",
        found.suite,
        found.machine,
        found.runs.len()
    );
    crate::say!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>8}  case",
        "sample",
        "round",
        "run",
        "floor",
        "found",
        "margin"
    );
    for case in &found.cases {
        line(case);
    }
    crate::say!(
        "\nsample, round, run: standard deviation at each level. floor: half of the interval of identical arms in one run.\n\
         found: the smallest change of the time that a night finds against a full window and confirms, nine times in ten.\n\
         margin: the smallest within which a night can then call the time of an unchanged case so; `check` takes it where it is more than its own."
    );
    let few = |case: &&CaseCalibration| matches!(case.basis, RunBasis::Calibration { .. });
    if let Some(case) = found.cases.iter().find(few) {
        let RunBasis::Calibration { runs } = case.basis else {
            return;
        };
        crate::say!(
            "run is from these {runs} runs, minutes apart: nights may differ more, and are used from five on."
        );
    }
}

fn line(case: &CaseCalibration) {
    let percent = |share: Option<f64>| {
        share.map_or_else(|| "-".into(), |share| format!("{:.2}", 100.0 * share))
    };
    crate::say!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>8}  {}",
        percent(case.sample_sd),
        percent(Some(case.levels.round_sd)),
        percent(Some(case.levels.run_sd)),
        percent(Some(case.noise_floor)),
        percent(case.detectable),
        percent(case.margin),
        case.case
    );
}
