//! `assay reproduce`: the same manifest, the same path, and a verdict in three parts.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_record::{ManifestFile, RunId, RunStatus};
use assay_store::Access;
use assay_verdicts::{Likeness, Reproduction, Verdict};

use crate::errors::Exit;
use crate::execute::{self, Options};
use crate::interrupt::Interrupt;
use crate::plan::{self, project};
use crate::reproduction;
use crate::settings::Settings;
use crate::{database, show};

/// What to reproduce and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run (an id, a unique prefix, `latest`, `latest~1`, `tag:NAME`) or a manifest.json.
    what: String,
    /// Make a worktree of the measured commit here, with the diff applied, and stop.
    #[arg(long, value_name = "DIR")]
    checkout: Option<PathBuf>,
    /// Another executable in place of the built-in worker: does this build still give the old numbers?
    #[arg(long, value_name = "PATH")]
    worker: Option<PathBuf>,
    /// Do not run suspects a second time before saying that their speed changed.
    #[arg(long)]
    no_confirm: bool,
    /// Exit with 4 where the speed is inconclusive.
    #[arg(long)]
    fail_inconclusive: bool,
    #[command(flatten)]
    running: super::run::Running,
    /// Machine output on standard output.
    #[arg(long)]
    json: bool,
}

/// A manifest, and the run that it is compared with.
struct Original {
    file: ManifestFile,
    run: Option<RunId>,
}

pub fn run(args: &Args) -> Result<Exit> {
    let settings = Settings::load()?;
    let original = load(&args.what, &settings)?;
    if let Some(to) = &args.checkout {
        return check_out(&original.file, to, &settings);
    }
    let compared = original.run.context(
        "no run of this manifest is in the database, so there is nothing to compare with; `assay run` runs it, `assay ingest` reads its record",
    )?;
    let changed = reproduction::changed_inputs(&original.file.manifest)?;
    for path in &changed {
        crate::say!(
            "inputs:  DIFFER: {} is not what the manifest pins",
            path.display()
        );
    }
    if !changed.is_empty() {
        crate::say!("nothing was run: with other inputs it would be another measurement");
        return Ok(Exit::Found);
    }
    let mut notes = reproduction::notes(&original.file.manifest, &settings)?;
    let file = match &args.worker {
        None => {
            if reproduction::runs_kept_worker(&original.file.manifest, &settings)? {
                crate::note!(
                    "note: the worker of then was kept and runs again; --worker PATH measures another"
                );
            }
            original.file
        }
        Some(worker) => with_worker(original.file, worker, &mut notes)?,
    };
    for note in &notes {
        crate::note!("note: {note}");
    }
    let options = Options {
        reproduces: Some(compared.clone()),
        worker: args.worker.clone(),
        ..args.running.options()?
    };
    let interrupt = Interrupt::listen()?;
    let run_again =
        |file: &ManifestFile| run_again(file, &compared, &options, &notes, &settings, &interrupt);
    let Some(mut verdict) = run_again(&file)? else {
        return Ok(Exit::Interrupted);
    };
    if !args.no_confirm && !verdict.suspects().is_empty() {
        let suspects = only(&file, &verdict)?;
        crate::note!(
            "{} cases look changed; running them again before saying so",
            suspects.manifest.cases.len()
        );
        let Some(second) = run_again(&suspects)? else {
            return Ok(Exit::Interrupted);
        };
        verdict = verdict.confirm(&second);
    }
    if args.json {
        show::json(&verdict)?;
    } else {
        show::reproduction(&verdict);
    }
    Ok(exit_of(&verdict, args.fail_inconclusive))
}

fn load(what: &str, settings: &Settings) -> Result<Original> {
    let is_file = Path::new(what)
        .extension()
        .is_some_and(|extension| extension == "json");
    let store = database::open(settings, Access::Read)?;
    if !is_file {
        let run = store.resolve(what)?;
        let file = store.manifest(&store.run(&run)?.manifest)?;
        // A reproduction is compared with the run that it reproduced only if that is asked for by name.
        return Ok(Original {
            file,
            run: Some(run),
        });
    }
    let file = ManifestFile::read(Path::new(what))?;
    let of_it = store.runs()?.into_iter().rev().find(|row| {
        row.manifest == file.digest && row.reproduces.is_none() && row.status == RunStatus::Complete
    });
    Ok(Original {
        run: of_it.map(|row| row.run),
        file,
    })
}

fn check_out(file: &ManifestFile, to: &Path, settings: &Settings) -> Result<Exit> {
    let state = file
        .manifest
        .project
        .git()
        .context("the manifest was planned outside any git repository")?;
    ensure!(
        state.commit.is_some(),
        "the manifest was planned before the first commit"
    );
    project::check_out(settings, state, to)?;
    crate::say!("{}", to.display());
    Ok(Exit::Fine)
}

/// Runs a manifest again and judges it; `None` where it was interrupted.
fn run_again(
    file: &ManifestFile,
    original: &RunId,
    options: &Options,
    notes: &[String],
    settings: &Settings,
    interrupt: &Interrupt,
) -> Result<Option<Reproduction>> {
    let executed = execute::execute(file, settings, options, interrupt)?;
    let store = database::ingest_record(settings, &executed.record)?;
    if executed.status == RunStatus::Interrupted {
        return Ok(None);
    }
    reproduction::judge(&store, original, &executed.run, notes).map(Some)
}

/// The manifest with another executable as its built-in worker.
fn with_worker(file: ManifestFile, worker: &Path, notes: &mut Vec<String>) -> Result<ManifestFile> {
    let arms = &file.manifest.arms;
    ensure!(
        arms.len() == 1,
        "--worker takes the place of one worker, and the manifest has {} arms",
        arms.len()
    );
    let digest = plan::file_digest(worker)?;
    notes.push(format!(
        "The worker is another executable: {} ({}).",
        worker.display(),
        digest.short()
    ));
    let mut manifest = file.manifest;
    manifest.arms.iter_mut().for_each(|arm| arm.worker = digest);
    Ok(ManifestFile::seal(&manifest)?)
}

/// The manifest with the suspects alone: fewer cases, each run in the same way.
fn only(file: &ManifestFile, verdict: &Reproduction) -> Result<ManifestFile> {
    let suspects: Vec<&str> = verdict
        .suspects()
        .iter()
        .map(|case| case.case.as_str())
        .collect();
    let mut manifest = file.manifest.clone();
    manifest
        .cases
        .retain(|case| suspects.contains(&case.id.as_str()));
    Ok(ManifestFile::seal(&manifest)?)
}

fn exit_of(verdict: &Reproduction, fail_inconclusive: bool) -> Exit {
    let differs = |likeness: &Likeness| matches!(likeness, Likeness::Differs(_));
    if differs(&verdict.inputs) || differs(&verdict.outputs) || verdict.speed == Verdict::Regressed
    {
        Exit::Found
    } else if fail_inconclusive && verdict.speed == Verdict::Inconclusive {
        Exit::Inconclusive
    } else {
        Exit::Fine
    }
}
