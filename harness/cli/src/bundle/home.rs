//! Where a run is at home that came with a bundle: not where its manifest says, which is a place on another machine.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use assay_record::{Manifest, RunId};
use assay_store::Store;

use super::cache::{self, Held};
use super::laying::{dir_of, has_files, settings_of};
use crate::reproduction;
use crate::settings::Settings;

/// What became of the files of a run that came with a bundle.
#[derive(Debug)]
pub enum Came {
    /// They lie laid out.
    Laid(Box<Files>),
    /// They lie there no more, or not as the manifest has them.
    Gone {
        /// The bundle's run.
        run: RunId,
        /// The bundle, where it lay.
        file: PathBuf,
    },
}

/// Files of a bundle that lie laid out.
#[derive(Debug)]
pub struct Files {
    /// What `{dir}` stands for.
    pub dir: PathBuf,
    /// The user's settings, with the bundle's project in place of the user's.
    pub settings: Settings,
    /// Keeps what lies there where it is.
    pub held: Held,
}

/// Where the files of a run are that came with a bundle, or of one that reproduced such a run; `None` where it did not, or where all
/// lies as it was and where the manifest says.
pub fn came(
    store: &Store,
    run: &RunId,
    manifest: &Manifest,
    settings: &Settings,
) -> Result<Option<Came>> {
    for run in reproduced(store, run)? {
        let Some((of, held)) = cache::of_run(&run)? else {
            continue;
        };
        if reproduction::is_as_then(manifest, settings)? {
            break;
        }
        let whole = held.filter(|held| has_files(&of.place, manifest, &held.root));
        return Ok(Some(match whole {
            Some(held) => Came::Laid(Box::new(Files {
                dir: dir_of(&of.place, &held.root),
                settings: settings_of(&of.place, &held.root, settings),
                held,
            })),
            None => Came::Gone { run, file: of.file },
        }));
    }
    Ok(None)
}

/// A run, that which it reproduced, and so on.
fn reproduced(store: &Store, run: &RunId) -> Result<Vec<RunId>> {
    let mut runs = vec![run.clone()];
    while let Some(before) = runs.last().and_then(|run| store.run(run).ok()?.reproduces) {
        ensure!(!runs.contains(&before), "run {before} reproduces itself");
        runs.push(before);
    }
    Ok(runs)
}
