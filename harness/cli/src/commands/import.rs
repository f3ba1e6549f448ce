//! `assay import`: results of other tools become runs here.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use assay_record::{Day, Timestamp, validate};
use assay_store::Access;
use clap::builder::PossibleValuesParser;

use crate::errors::{self, Exit};
use crate::import::{self, Imported, Options};
use crate::settings::Settings;
use crate::{database, import::Importer};

/// What to import, and what its files do not say.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What wrote the files.
    #[arg(value_parser = PossibleValuesParser::new(import::names()))]
    format: String,
    /// Files of results, or asv's folders of them; each file one run. Those that were imported before change nothing.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Name of the machine that measured; otherwise one is made of the names of its GPUs.
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// Name of the suite; otherwise that of the program that measured.
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,
    /// When it was measured: 2026-11-20, or 2026-11-20T21:15:33Z; otherwise when the file was last written.
    #[arg(long, value_name = "TIME", value_parser = date)]
    date: Option<Timestamp>,
    /// Commit that was measured, in full.
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
    /// Clone of the measured project, which knows the order of commits better than their dates do (asv).
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// Give the runs a name, by which `tag:NAME` finds the latest.
    #[arg(long, value_name = "NAME")]
    tag: Vec<String>,
    /// Import means alone, where files of samples are gone.
    #[arg(long)]
    without_samples: bool,
}

pub fn run(args: &Args) -> Result<Exit> {
    let Some(importer) = import::importer(&args.format) else {
        bail!("no format is called `{}`", args.format);
    };
    let options = options(args)?;
    let settings = Settings::load()?;
    settings.prepare_folders()?;
    all(importer, args, &options, &settings)
}

/// Each file by itself: one that cannot be imported keeps none of the others from it.
fn all(
    importer: &dyn Importer,
    args: &Args,
    options: &Options,
    settings: &Settings,
) -> Result<Exit> {
    let mut store = database::open(settings, Access::Write)?;
    let mut exit = Exit::Fine;
    for path in &args.paths {
        let mut count = Count::default();
        let tried = import::import(
            importer,
            path,
            options,
            settings,
            &mut store,
            |file, became| {
                count.add(file, became, file == path);
            },
        );
        if let Err(error) = tried {
            errors::print(&error);
            exit = Exit::BadInput;
        }
        if count.refused > 0 {
            exit = Exit::BadInput;
        }
        if count.is_of_folder {
            let replaced = match count.replaced {
                0 => String::new(),
                replaced => format!(" ({replaced} in the place of what was there before)"),
            };
            crate::say!(
                "{}: {} imported{replaced}, {} unchanged, {} refused",
                path.display(),
                count.new,
                count.known,
                count.refused
            );
        }
    }
    Ok(exit)
}

/// Most errors that are said: what is missing beside one file is missing beside all.
const ERRORS: usize = 20;
const MANY: usize = ERRORS + 1;

/// What became of the files of a path.
#[derive(Default)]
struct Count {
    new: usize,
    /// Of these, those in whose files there had been something else.
    replaced: usize,
    known: usize,
    refused: usize,
    is_of_folder: bool,
}

impl Count {
    /// Counts a file. What became of one that somebody named is said; of those in a folder, what could not be imported.
    fn add(&mut self, file: &Path, became: Result<Imported>, is_named: bool) {
        self.is_of_folder |= !is_named;
        let shown = file.display();
        match became {
            Ok(Imported::New(run)) => {
                self.new += 1;
                if is_named {
                    crate::say!("{shown}: imported as {run}");
                }
            }
            Ok(Imported::Replaced(run)) => {
                self.new += 1;
                self.replaced += 1;
                if is_named {
                    crate::say!("{shown}: imported as {run}, in the place of what it was before");
                }
            }
            Ok(Imported::Known(run)) => {
                self.known += 1;
                if is_named {
                    crate::say!("{shown}: unchanged, imported before as {run}");
                }
            }
            Err(error) => {
                self.refused += 1;
                match self.refused {
                    ..=ERRORS => errors::print(&error),
                    MANY => crate::note!("what else is refused is only counted"),
                    _ => {}
                }
            }
        }
    }
}

fn options(args: &Args) -> Result<Options> {
    ensure!(
        args.paths.len() == 1 || (args.date.is_none() && args.commit.is_none()),
        "--date and --commit are those of one file; give one file at a time"
    );
    if let Some(suite) = &args.suite {
        validate::name("--suite", suite, "").map_err(anyhow::Error::msg)?;
    }
    let is_commit = |text: &String| {
        matches!(text.len(), 40 | 64)
            && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    ensure!(
        args.commit.as_ref().is_none_or(is_commit),
        "--commit: expected 40 or 64 hexadecimal digits, as `git rev-parse` prints them"
    );
    Ok(Options {
        machine: args.machine.clone(),
        suite: args.suite.clone(),
        date: args.date,
        commit: args.commit.clone(),
        repo: args.repo.clone(),
        tags: args.tag.clone(),
        without_samples: args.without_samples,
    })
}

fn date(text: &str) -> Result<Timestamp, String> {
    let day = text.parse::<Day>().ok().and_then(Day::start);
    day.map_or_else(|| text.parse(), Ok)
}
