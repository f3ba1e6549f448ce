//! `assay bundle`: one file with all that a run needs to be run again, on another machine and without a network.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use assay_record::{ManifestFile, Source};
use assay_store::{Access, RunRow, Store};

use crate::bundle::home::{self, Came, Files};
use crate::bundle::writing;
use crate::database;
use crate::errors::Exit;
use crate::interrupt::Interrupt;
use crate::plan::{self, sources};
use crate::settings::Settings;

/// What to bundle.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: an id, a unique prefix, `latest`, `latest~1`, `tag:NAME`.
    run: String,
    #[command(flatten)]
    with: writing::With,
    /// File to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(args: &Args) -> Result<Exit> {
    ensure!(
        !args.output.is_dir(),
        "--output {}: a folder is there; name a file",
        args.output.display()
    );
    let mut settings = Settings::load()?;
    let mut with = args.with.clone();
    let (run, file, came) = {
        let store = database::open(&settings, Access::Read)?;
        let run = store.run(&store.resolve(&args.run)?)?;
        let file = store.manifest(&run.manifest)?;
        let came = came(&store, &run, &file, &with, &settings)?;
        (run, file, came)
    };
    let _held = came.map(|files| {
        with.dir = sources::names_folder(&file.manifest).then_some(files.dir);
        settings = files.settings;
        files.held
    });
    let interrupt = Interrupt::listen()?;
    let to = &args.output;
    let written = writing::write(&settings, &run, &file, &with, to, &interrupt);
    if written.is_err() && interrupt.requested() {
        // What was started for it heard of that too, and what it said of it is no matter.
        crate::note!("interrupted: no bundle was written");
        return Ok(Exit::Interrupted);
    }
    let bundle = written?;
    crate::say!("run    {}", run.run);
    for part in &bundle.contents.parts {
        crate::say!(
            "  {}  {:>12} bytes  {}",
            part.content.sha256,
            part.content.bytes,
            part.what
        );
    }
    let digest = plan::file_digest(&args.output)?;
    crate::say!("bundle {digest}  {}", args.output.display());
    let source = match file.manifest.project.git() {
        Some(_) => "the project's source, uncommitted changes, ",
        None => "",
    };
    crate::note!(
        "note: it holds {source}the files that the suite names and the variables of the run: give it to nobody who should not have them"
    );
    for (commit, submodules) in &bundle.contents.submodules {
        let paths: Vec<&str> = submodules.keys().map(String::as_str).collect();
        crate::note!(
            "note: commit {} has submodules, whose files are not in it: {}",
            &commit[..12],
            paths.join(", ")
        );
    }
    Ok(Exit::Fine)
}

/// Where the files of a run lie that came with a bundle itself, and are to go into another.
fn came(
    store: &Store,
    run: &RunRow,
    file: &ManifestFile,
    with: &writing::With,
    settings: &Settings,
) -> Result<Option<Files>> {
    let is_imported = matches!(file.manifest.suite.source, Source::Imported(_));
    if with.dir.is_some() || is_imported {
        return Ok(None);
    }
    match home::came(store, &run.run, &file.manifest, settings)? {
        Some(Came::Laid(files)) => Ok(Some(*files)),
        Some(Came::Gone { run, file }) => {
            crate::note!(
                "note: run {run} came with the bundle {0}, which is no longer laid out here: `assay reproduce {0}` does that",
                file.display()
            );
            Ok(None)
        }
        None => Ok(None),
    }
}
