//! `assay reproduce`: the same manifest, the same path, and a verdict in three parts.

mod otherwise;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use assay_record::{BlockStatus, ManifestFile, Purpose, RunId, RunStatus, Source};
use assay_store::{Access, Store};
use assay_verdicts::{Likeness, Reproduction, Verdict};

use crate::bundle::home::{self, Came};
use crate::bundle::{self, cache::Held, format::What, laying, reading::Bundle};
use crate::errors::Exit;
use crate::execute::{self, Options};
use crate::interrupt::Interrupt;
use crate::plan::{self, project};
use crate::reproduction::{self, Files};
use crate::settings::Settings;
use crate::{database, show};

/// What to reproduce and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run (an id, a unique prefix, `latest`, `latest~1`, `tag:NAME`), a manifest.json, or a bundle.
    what: String,
    /// Make a worktree of the measured commit here, with the diff applied, and stop.
    #[arg(long, value_name = "DIR")]
    checkout: Option<PathBuf>,
    /// The suite's folder, where it lies elsewhere now: what `{dir}` stands for.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Another executable in place of the built-in worker: does this build still give the old numbers?
    #[arg(long, value_name = "PATH")]
    worker: Option<PathBuf>,
    #[command(flatten)]
    otherwise: Otherwise,
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

/// What shall be otherwise than then.
#[derive(Debug, clap::Args)]
struct Otherwise {
    /// Another number of rounds than the manifest says, for every case: even, at least 2. More rounds are surer.
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Run arms that ran in containers on this machine itself, without their images.
    #[arg(long)]
    on_host: bool,
    /// Build the worker of then again from its source, though it is at hand; of a bundle without a network.
    #[arg(long, conflicts_with = "worker")]
    rebuild: bool,
}

/// A manifest, the run that it is compared with, and where both are at home.
struct Original {
    file: ManifestFile,
    run: Option<RunId>,
    settings: Settings,
    /// What `{dir}` stands for, where that is known already.
    dir: Option<PathBuf>,
    /// What is otherwise than then, in words.
    notes: Vec<String>,
    /// Keeps what lies laid out of a bundle where it is.
    held: Option<Held>,
}

/// What will be run.
struct Again {
    file: ManifestFile,
    notes: Vec<String>,
    worker: Option<PathBuf>,
    dir: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<Exit> {
    let mut original = load(args, Settings::load()?)?;
    let settings = original.settings.clone();
    let _held = original.held.take();
    if let Some(to) = &args.checkout {
        return check_out(&original.file, to, &settings);
    }
    let compared = original.run.clone().context(
        "no run of this manifest is in the database, so there is nothing to compare with; `assay run` runs it, `assay ingest` reads its record",
    )?;
    check_measured(&settings, &compared)?;
    check_record(&settings, &compared)?;
    let Some(again) = prepare(original, args)? else {
        return Ok(Exit::Found);
    };
    for note in &again.notes {
        crate::note!("note: {note}");
    }
    let options = Options {
        reproduces: Some(compared.clone()),
        worker: again.worker,
        dir: again.dir,
        ..args.running.options()?
    };
    let interrupt = Interrupt::listen()?;
    let run_again = |file: &ManifestFile, options: &Options| {
        run_again(
            file,
            &compared,
            options,
            &again.notes,
            &settings,
            &interrupt,
        )
    };
    let Some(mut verdict) = run_again(&again.file, &options)? else {
        return Ok(Exit::Interrupted);
    };
    if !args.no_confirm && !verdict.suspects().is_empty() {
        let suspects = otherwise::only(&again.file, &verdict)?;
        crate::note!(
            "{} cases look changed; running them again before saying so",
            suspects.manifest.cases.len()
        );
        let confirming = Options {
            purpose: Purpose::Confirmation {
                of: verdict.again.clone(),
            },
            ..options.clone()
        };
        let Some(second) = run_again(&suspects, &confirming)? else {
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

fn load(args: &Args, settings: Settings) -> Result<Original> {
    let what = args.what.as_str();
    if bundle::is_bundle(what) {
        return from_bundle(Path::new(what), &settings, args);
    }
    // No run is called so.
    ensure!(
        !what.contains('/') || what.starts_with("tag:") || Path::new(what).is_file(),
        "{what}: there is no such file; expected a manifest.json, a bundle, or a run"
    );
    let is_file = Path::new(what)
        .extension()
        .is_some_and(|extension| extension == "json");
    let store = database::open(&settings, Access::Read)?;
    let (file, run) = if is_file {
        let file = ManifestFile::read(Path::new(what))?;
        let runs = store.runs()?;
        let of_it = runs.iter().rev().find(|row| {
            row.manifest == file.digest
                && row.reproduces.is_none()
                && row.status == RunStatus::Complete
        });
        (file, of_it.map(|row| row.run.clone()))
    } else {
        let run = store.resolve(what)?;
        let file = store.manifest(&store.run(&run)?.manifest)?;
        // A reproduction is compared with the run that it reproduced only if that is asked for by name.
        (file, Some(run))
    };
    let original = Original {
        file,
        run,
        settings,
        dir: None,
        notes: Vec::new(),
        held: None,
    };
    match args.dir {
        None => with_bundle(original, &store),
        Some(_) => Ok(original),
    }
}

/// A run that came with a bundle, or reproduced one that did, is at home where that lies laid out, unless all is where and as it was.
fn with_bundle(mut original: Original, store: &Store) -> Result<Original> {
    let manifest = &original.file.manifest;
    // What was imported is nowhere at home, and says so when it shall run.
    let can_run = !matches!(manifest.suite.source, Source::Imported(_));
    let Some(run) = original.run.as_ref().filter(|_| can_run) else {
        return Ok(original);
    };
    match home::came(store, run, manifest, &original.settings)? {
        None => {}
        Some(Came::Laid(files)) => {
            original.notes.push(format!(
                "The suite's files are those of the bundle that the run came with, in {}.",
                files.dir.display()
            ));
            original.dir = Some(files.dir);
            original.settings = files.settings;
            original.held = Some(files.held);
        }
        Some(Came::Gone { run, file }) => original.notes.push(format!(
            "Run {run} came with the bundle {0}, which is no longer laid out here: `assay reproduce {0}` does that.",
            file.display()
        )),
    }
    Ok(original)
}

/// Refuses a run whose record was changed: what the database has of it would be compared with nobody's word for it. One that is not here
/// is told of.
fn check_record(settings: &Settings, run: &RunId) -> Result<()> {
    let row = database::open(settings, Access::Read)?.run(run)?;
    let path = database::record_path(settings, &row);
    if path.is_file() {
        return database::check_record(&path, &row, row.manifest);
    }
    crate::note!(
        "note: the record of run {run} is not here: it is compared with what the database has of it; `assay ingest FOLDER` finds a record"
    );
    Ok(())
}

/// Refuses a run that measured nothing: whatever came of it again, there would be nothing to compare it with.
fn check_measured(settings: &Settings, run: &RunId) -> Result<()> {
    let store = database::open(settings, Access::Read)?;
    let cases = store.cases_of(std::slice::from_ref(run))?;
    let rounds = || {
        let cases = cases.iter().flatten();
        cases.flat_map(|case| case.rounds.iter().map(|round| (&case.case, &round.status)))
    };
    let is_output =
        |status: &BlockStatus| matches!(status, BlockStatus::Ok | BlockStatus::Wrong(_));
    if rounds().any(|(_, status)| is_output(status)) {
        return Ok(());
    }
    let why = rounds().next().map_or(
        "it ended before the first round".into(),
        |(case, status)| {
            let reason = status.reason().unwrap_or_default();
            format!("{case} {}: {}", status.name(), show::plain(reason))
        },
    );
    bail!(
        "run {run} measured nothing, so that there is nothing to compare with ({why}); `assay run` measures anew"
    )
}

/// Lays a bundle out. Its record becomes one of the user's: a reproduction is stored, and would be of nothing without it.
fn from_bundle(path: &Path, settings: &Settings, args: &Args) -> Result<Original> {
    ensure!(
        args.dir.is_none(),
        "--dir: a bundle brings its suite's folder along; leave it away"
    );
    let bundle = Bundle::open(path)?;
    let rebuild = args.otherwise.rebuild;
    ensure!(
        !rebuild || bundle.contents.part(|what| *what == What::Vendor).is_some(),
        "--rebuild: the bundle has not what its source depends on; make it with --with-vendor"
    );
    let laid = laying::lay_out(
        &bundle,
        settings,
        args.worker.is_some() || rebuild,
        args.otherwise.on_host,
    )?;
    database::ingest_record(settings, &laid.record)?;
    crate::note!(
        "note: run {} comes with the bundle {} ({}), and is in the database as a run of the machine that measured it",
        laid.run,
        path.display(),
        plan::file_digest(path)?
    );
    Ok(Original {
        file: laid.file,
        run: Some(laid.run),
        settings: laid.settings,
        dir: Some(laid.dir),
        notes: laid.notes,
        held: Some(laid.held),
    })
}

/// All that must be known before anything runs; `None` where inputs differ, which is said.
fn prepare(original: Original, args: &Args) -> Result<Option<Again>> {
    let (manifest, settings) = (&original.file.manifest, &original.settings);
    let files = match original.dir {
        Some(dir) => Files {
            dir: Some(dir),
            are_of_then: true,
            ..Files::default()
        },
        None => reproduction::files(manifest, settings, args.dir.as_deref())?,
    };
    for path in &files.changed {
        crate::say!(
            "inputs:  DIFFER: {} is not what the manifest pins",
            path.display()
        );
    }
    let mut notes = original.notes;
    notes.extend(files.note.clone());
    if !files.changed.is_empty() {
        for note in &notes {
            crate::note!("note: {note}");
        }
        crate::say!("nothing was run: with other inputs it would be another measurement");
        return Ok(None);
    }
    notes.extend(reproduction::notes(manifest, settings, &files)?);
    let mut file = original.file;
    if args.otherwise.on_host {
        let needs_worker = args.worker.is_none() && !args.otherwise.rebuild;
        file = otherwise::on_host(file, settings, needs_worker, &mut notes)?;
    }
    let mut worker = args.worker.clone();
    if let Some(other) = &args.worker {
        file = otherwise::with_worker(file, other, &mut notes)?;
    } else if args.otherwise.rebuild {
        worker = Some(reproduction::build_worker(
            &file.manifest,
            &original.settings,
        )?);
    } else if reproduction::runs_kept_worker(&file.manifest, &original.settings)? {
        crate::note!(
            "note: the worker of then was kept and runs again; --worker PATH measures another"
        );
    } else {
        worker = reproduction::rebuild_worker(&file.manifest, &original.settings)?;
    }
    if let Some(rounds) = args.otherwise.rounds {
        file = otherwise::with_rounds(file, rounds, &mut notes)?;
    }
    Ok(Some(Again {
        file,
        notes,
        worker,
        dir: files.dir,
    }))
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
    reproduction::judge((&store).into(), original, &executed.run, notes).map(Some)
}

/// Whether a part of the verdict says neither yes nor no.
fn is_open(verdict: &Reproduction) -> bool {
    let parts = [&verdict.inputs, &verdict.outputs];
    let is_unknown = parts
        .iter()
        .any(|part| matches!(part, Likeness::Unknown(_)));
    is_unknown || verdict.speed == Verdict::Inconclusive
}

fn exit_of(verdict: &Reproduction, fail_inconclusive: bool) -> Exit {
    let differs = |likeness: &Likeness| matches!(likeness, Likeness::Differs(_));
    if differs(&verdict.inputs) || differs(&verdict.outputs) || verdict.speed == Verdict::Regressed
    {
        Exit::Found
    } else if verdict.is_empty() || fail_inconclusive && is_open(verdict) {
        Exit::Inconclusive
    } else {
        Exit::Fine
    }
}

#[cfg(test)]
mod tests {
    use assay_record::{RunId, Timestamp};
    use assay_stats::Interval;
    use assay_verdicts::{CaseReproduction, Likeness, Reproduction, Verdict};

    use super::exit_of;
    use crate::errors::Exit;

    /// A reproduction of two cases; the second was not measured in the original.
    fn partial(first: Likeness, ratio: Option<Interval>) -> Reproduction {
        let unknown = || Likeness::Unknown("not measured in the original".into());
        let case = |name: &str, part: Likeness, ratio| CaseReproduction {
            case: name.into(),
            arm: "main".into(),
            inputs: part.clone(),
            outputs: part,
            speed: Verdict::Inconclusive,
            ratio,
            note: String::new(),
        };
        let run = RunId::new(Timestamp::now(), b"partial");
        Reproduction {
            original: run.clone(),
            again: run,
            inputs: unknown(),
            outputs: unknown(),
            speed: Verdict::Unchanged,
            cases: vec![case("a", first, ratio), case("b", unknown(), None)],
            explanations: Vec::new(),
            comparison: None,
        }
    }

    #[test]
    fn a_reproduction_of_a_part_is_open_and_one_of_nothing_fails() {
        let one = Interval {
            estimate: 1.0,
            low: 0.99,
            high: 1.01,
            confidence: 0.95,
        };
        let some = partial(Likeness::Identical, Some(one));
        assert_eq!(exit_of(&some, false), Exit::Fine);
        assert_eq!(exit_of(&some, true), Exit::Inconclusive);
        let nothing = partial(Likeness::Unknown("not measured".into()), None);
        assert_eq!(exit_of(&nothing, false), Exit::Inconclusive);
    }
}
