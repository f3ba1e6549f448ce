//! The way of many files: read and written as records on all cores, published together, ingested together.
//!
//! Files go in handfuls. While one is ingested the next is made, and no third is begun: so memory does not grow with the
//! folder, and the database gets the runs in the order of the files.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use assay_protocol::Digest;
use assay_record::whole::{self, Draft};
use assay_record::{Record, RunId};
use assay_store::{Ingested, Store};

use super::assemble::Cases;
use super::known::{self, Known};
use super::{Import, Imported, Importer, MAX_BYTES, Made, Options};
use crate::settings::Settings;

/// Most files of a handful, and after how many bytes no other file is added to one.
const HANDFUL: usize = 32;
const HANDFUL_BYTES: u64 = 8 << 20;

/// A file that was tried, and what came of it.
type Tried<T> = (PathBuf, Result<T>);

/// Imports all files at a path, and tells `said` of each what became of it, in their order. One that cannot be imported
/// keeps no other from it; an error is one that stops all.
pub fn import(
    importer: &dyn Importer,
    path: &Path,
    options: &Options,
    settings: &Settings,
    store: &mut Store,
    mut said: impl FnMut(&Path, Result<Imported>),
) -> Result<()> {
    let results = importer.open(path, options)?;
    let known = Known::of(store, importer.name())?;
    let import = Import {
        importer,
        results: &*results,
        options,
        settings,
        known: &known,
    };
    let (give, take) = sync_channel(0);
    thread::scope(|scope| {
        let import = &import;
        scope.spawn(move || {
            let workers = thread::available_parallelism().map_or(1, NonZero::get);
            let mut cases: Vec<Cases> = (0..workers).map(|_| Cases::default()).collect();
            for handful in handfuls(import.results.files()) {
                if give.send(make(import, handful, &mut cases)).is_err() {
                    break;
                }
            }
        });
        // Dropped at the first error that stops all: then nobody takes any more, and the making ends too.
        let take = take;
        for handful in &take {
            for (file, became) in settle(import, handful, store)? {
                let became = became.with_context(|| file.display().to_string());
                said(&file, became);
            }
        }
        Ok(())
    })
}

/// The files in handfuls that fit into memory.
fn handfuls(files: &[PathBuf]) -> impl Iterator<Item = &[PathBuf]> {
    let mut left = files;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let is_last = |file: &PathBuf| {
            let size = std::fs::metadata(file).map_or(0, |meta| meta.len().min(MAX_BYTES));
            bytes += size;
            bytes >= HANDFUL_BYTES
        };
        let count = left.iter().take(HANDFUL).position(is_last);
        let count = count.map_or(HANDFUL.min(left.len()), |last| last + 1);
        let (handful, rest) = left.split_at(count);
        left = rest;
        (!handful.is_empty()).then_some(handful)
    })
}

/// Makes records of files on as many threads as there are `cases`.
fn make(import: &Import<'_>, files: &[PathBuf], cases: &mut [Cases]) -> Vec<Tried<Made>> {
    let next = AtomicUsize::new(0);
    let work = |cases: &mut Cases| {
        let mut made = Vec::new();
        while let Some((at, file)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            files.get(at).map(|file| (at, file))
        } {
            made.push((at, import.make(file, cases)));
        }
        made
    };
    let mut made = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = cases
            .iter_mut()
            .take(files.len())
            .map(|cases| scope.spawn(move || work(cases)))
            .collect();
        let joined = threads.into_iter().flat_map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect::<Vec<_>>()
    });
    made.sort_unstable_by_key(|(at, _)| *at);
    made.into_iter()
        .map(|(at, made)| (files[at].clone(), made))
        .collect()
}

/// What became of the files of a handful, by their places in it.
type Became = Vec<Option<Result<Imported>>>;

/// Publishes and ingests what was made.
fn settle(
    import: &Import<'_>,
    handful: Vec<Tried<Made>>,
    store: &mut Store,
) -> Result<Vec<Tried<Imported>>> {
    let mut drafts = Vec::new();
    let (mut files, mut became) = (Vec::new(), Became::new());
    for (at, (file, made)) in handful.into_iter().enumerate() {
        files.push(file);
        became.push(match made {
            Ok(Made::Draft(draft)) => {
                drafts.push((at, *draft));
                None
            }
            Ok(Made::Known(run)) => Some(Ok(Imported::Known(run))),
            Ok(Made::Kept(run, digest)) => Some(kept(import, &run, &digest, store)),
            Err(error) => Some(Err(error)),
        });
    }
    publish(import, drafts, store, &mut became)?;
    let all = files.into_iter().zip(became).map(|(file, became)| {
        let became = became.unwrap_or_else(|| Err(anyhow!("was not ingested")));
        (file, became)
    });
    Ok(all.collect())
}

/// Gives drafts their names and ingests them.
fn publish(
    import: &Import<'_>,
    drafts: Vec<(usize, Draft)>,
    store: &mut Store,
    became: &mut Became,
) -> Result<()> {
    let (places, drafts): (Vec<usize>, Vec<Draft>) = drafts.into_iter().unzip();
    let names: Vec<(RunId, Digest)> = drafts.iter().map(|draft| name(draft.record())).collect();
    let published = whole::publish(&import.settings.records, drafts)?;
    let (mut records, mut new, mut taken) = (Vec::new(), Vec::new(), Vec::new());
    for ((at, name), published) in places.into_iter().zip(names).zip(published) {
        match published {
            Ok(record) => {
                records.push(record);
                new.push(at);
            }
            Err(error) => taken.push((at, name, error)),
        }
    }
    let ingested = store.ingest_records(&records)?;
    for ((at, (record, path)), done) in new.into_iter().zip(records).zip(ingested) {
        became[at] = Some(match done {
            Ok(Ingested::Unchanged) => Ok(Imported::Known(record.header.run)),
            Ok(_) => Ok(Imported::New(record.header.run)),
            Err(error) => Err(error).with_context(|| where_kept(&path)),
        });
    }
    for (at, (run, digest), error) in taken {
        // Of two files with one content the first has just become this run.
        became[at] = Some(if whole::path(&import.settings.records, &run).exists() {
            kept(import, &run, &digest, store)
        } else {
            Err(error.into())
        });
    }
    Ok(())
}

fn name(record: &Record) -> (RunId, Digest) {
    let header = &record.header;
    (header.run.clone(), header.manifest.suite.digest)
}

/// A record that was there before: ingested again, for the database may have been deleted since.
fn kept(import: &Import<'_>, run: &RunId, digest: &Digest, store: &mut Store) -> Result<Imported> {
    let path = whole::path(&import.settings.records, run);
    let record = Record::read(&path)?;
    store
        .ingest_record(&record, &path)
        .with_context(|| where_kept(&path))?;
    let (run, is) = name(&record);
    ensure!(
        is == *digest,
        "run {run} is of another file; give another --date"
    );
    known::agree(&store.run(&run)?, import.options)?;
    Ok(Imported::Known(run))
}

fn where_kept(record: &Path) -> String {
    format!(
        "the record is kept in {}; `assay ingest` reads it when this is mended",
        record.display()
    )
}
