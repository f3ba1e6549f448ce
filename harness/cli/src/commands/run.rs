//! `assay run`: plan, execute, ingest, summary.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use assay_record::{ManifestFile, RunStatus};
use assay_verdicts::RunSummary;

use super::plan::Selection;
use crate::clocks::Locking;
use crate::database;
use crate::errors::Exit;
use crate::execute::{self, Executed};
use crate::interrupt::Interrupt;
use crate::plan;
use crate::settings::Settings;
use crate::show;
use crate::suite::locate;

/// Longest wait for a device, in seconds: a week.
const MAX_WAIT_S: u64 = 7 * 24 * 3600;

/// How to run, shared by every command that runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Running {
    /// Name this run: `tag:NAME` finds it later; may be given again.
    #[arg(long, value_name = "NAME")]
    pub tag: Vec<String>,
    /// Wait this long for a device that another run holds; at most a week.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MAX_WAIT_S))]
    pub wait: u64,
    /// No progress on stderr.
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    locking: Locking,
}

impl Running {
    /// As the executor takes it. Asks what has to be asked first.
    pub fn options(&self) -> Result<execute::Options> {
        Ok(execute::Options {
            tags: self.tag.clone(),
            wait_s: self.wait,
            quiet: self.quiet,
            clocks: self.locking.agree()?,
            ..execute::Options::default()
        })
    }
}

/// What to run and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A suite by name or path, or a manifest.json.
    what: String,
    #[command(flatten)]
    selection: Selection,
    /// Of a manifest: the suite's folder, where it lies elsewhere now; what `{dir}` stands for.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    running: Running,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    let options = execute::Options {
        dir: folder(args)?,
        ..args.running.options()?
    };
    let (executed, summary) = run_and_ingest(
        &args.what,
        &args.selection,
        &options,
        &settings,
        &Interrupt::listen()?,
    )?;
    if args.json {
        show::json(&summary)?;
    } else {
        show::run(&summary);
        crate::note!("record: {}", executed.record.display());
    }
    Ok(exit_of(&executed, &summary))
}

/// The folder that is named for a manifest's files.
fn folder(args: &Args) -> Result<Option<PathBuf>> {
    let Some(dir) = &args.dir else {
        return Ok(None);
    };
    let shown = || format!("--dir {}", dir.display());
    ensure!(
        locate::is_manifest(&args.what),
        "{}: that is for a manifest; a suite lies where its path says",
        shown()
    );
    dir.canonicalize().map(Some).with_context(shown)
}

/// Plans or loads, executes, ingests: what `run` and `nightly` share.
pub fn run_and_ingest(
    what: &str,
    selection: &Selection,
    options: &execute::Options,
    settings: &Settings,
    interrupt: &Interrupt,
) -> Result<(Executed, RunSummary)> {
    let file = manifest(what, selection, settings)?;
    let executed = execute::execute(&file, settings, options, interrupt)?;
    let store = database::ingest_record(settings, &executed.record)?;
    let summary = RunSummary::of(&store, &executed.run)?.with_energy(&store)?;
    Ok((executed, summary))
}

fn manifest(what: &str, selection: &Selection, settings: &Settings) -> Result<ManifestFile> {
    if locate::is_manifest(what) {
        if let Some(option) = selection.first_given() {
            bail!(
                "{option} cannot change a manifest, which says what is run: give it to `assay plan`, and run what that writes"
            );
        }
        return Ok(ManifestFile::read(Path::new(what))?);
    }
    plan::plan(&locate::locate(what)?, settings, &selection.options())
}

/// The exit code of a run: wrong outputs and failures are findings; nothing but skips could not run.
pub fn exit_of(executed: &Executed, summary: &RunSummary) -> Exit {
    use assay_verdicts::CaseState;
    if executed.status == RunStatus::Interrupted {
        return Exit::Interrupted;
    }
    let any = |of: fn(&CaseState) -> bool| summary.cases.iter().any(|case| of(&case.state));
    if any(|state| {
        matches!(
            state,
            CaseState::Failed(_) | CaseState::Wrong(_) | CaseState::Impossible(_)
        )
    }) {
        Exit::Found
    } else if any(|state| *state == CaseState::Ok) {
        Exit::Fine
    } else {
        Exit::CouldNotRun
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Args, manifest};
    use crate::settings::Settings;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_manifest_takes_no_options_that_would_change_it() {
        let settings = Settings::load().unwrap();
        for (option, value) in [
            ("--filter", "x"),
            ("--benchmark-tag", "x"),
            ("--order-seed", "1"),
            ("--prefix", "taskset -c 2"),
            ("--env", "worker-cpu"),
            ("--arm", "A=here"),
        ] {
            let cli = Cli::try_parse_from(["run", "m.json", option, value]).unwrap();
            let error = manifest(&cli.args.what, &cli.args.selection, &settings).unwrap_err();
            assert!(error.to_string().starts_with(option), "{error}");
        }
    }

    #[test]
    fn a_wait_has_an_end() {
        let too_long = u64::MAX.to_string();
        assert!(Cli::try_parse_from(["run", "smoke", "--wait", &too_long]).is_err());
        assert!(Cli::try_parse_from(["run", "smoke", "--wait", "604800"]).is_ok());
    }
}
