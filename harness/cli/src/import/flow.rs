//! The way of many files: read and written as records on all cores, published together, ingested together.
//!
//! Files go in handfuls. While one is ingested the next two are made, and no fourth is begun: so memory does not grow with the
//! folder, no core waits while the database writes, and it gets the runs in the order of the files. It takes many handfuls in a
//! transaction, and until that is done nobody is told that a file is in: its record is on the disk by then, and is found there
//! after whatever happens.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use assay_protocol::Digest;
use assay_record::whole::{self, Draft, Published};
use assay_record::{CaseLists, Record, RunId};
use assay_store::{Ingested, RunRow, Store, StoreError};

use super::assemble::Cases;
use super::known::{self, Is, Known};
use super::{Import, Imported, Importer, MAX_BYTES, Made, Options, What};
use crate::settings::Settings;

/// Most files of a handful, and after how many bytes no other file is added to one.
const HANDFUL: usize = 64;
const HANDFUL_BYTES: u64 = 16 << 20;

/// How many handfuls wait, made, for the one that is ingested.
const AHEAD: usize = 1;

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
        lists: &CaseLists::default(),
    };
    let (give, take) = sync_channel(AHEAD);
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
        let tray = Tray::default();
        let mut said = |file: &Path, became: Result<Imported>| {
            let became = became.with_context(|| file.display().to_string());
            said(file, became);
        };
        let records = take.iter().map_while(|handful| tray.put(import, handful));
        store.ingest_all(records.flatten(), |record, became| {
            tray.tell(import, record, became, &mut said);
        })?;
        tray.tell_rest(&mut said);
        forget(store, tray.replaced.take())?;
        tray.stopped.take().map_or(Ok(()), Err)
    })
}

/// Takes out what new runs replace, now that these are in. Of an import that is ended before this, both are there, and the next one
/// takes the earlier ones out.
fn forget(store: &mut Store, replaced: Vec<RunRow>) -> Result<()> {
    for row in replaced {
        store.forget(&row.run)?;
        match std::fs::remove_file(&row.record) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| {
                    format!(
                        "{}: cannot be removed, though another run has taken its place; remove it",
                        row.record
                    )
                });
            }
            _ => {}
        }
    }
    Ok(())
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

/// Files whose records are on their way into the database, in their order, with those of which it is known already what
/// became of them.
#[derive(Default)]
struct Tray {
    files: RefCell<VecDeque<(PathBuf, State)>>,
    /// Runs in whose place new ones are.
    replaced: RefCell<Vec<RunRow>>,
    /// What ended the import.
    stopped: RefCell<Option<anyhow::Error>>,
}

enum State {
    Told(Result<Imported>),
    /// It waits for the record that was made of it, which takes the place of these.
    New(RunId, Vec<RunRow>),
    /// It waits for a record that was there before, which takes the place of these.
    Kept(Box<Is>, Vec<RunRow>),
}

impl State {
    fn replacing(self, earlier: Vec<RunRow>) -> Self {
        match self {
            Self::New(run, _) => Self::New(run, earlier),
            Self::Kept(is, _) => Self::Kept(is, earlier),
            told @ Self::Told(_) => told,
        }
    }
}

impl Tray {
    /// Publishes what was made of a handful of files, and gives the records that are to be ingested; `None` ends the import.
    fn put(
        &self,
        import: &Import<'_>,
        handful: Vec<Tried<Made>>,
    ) -> Option<Vec<(Record, PathBuf)>> {
        let (mut drafts, mut others) = (Vec::new(), Vec::new());
        for (file, made) in handful {
            let (other, earlier) = match made {
                Ok(Made {
                    what: What::Draft(draft),
                    earlier,
                }) => {
                    drafts.push(*draft);
                    (None, earlier)
                }
                Ok(Made {
                    what: What::Known(run),
                    earlier,
                }) => {
                    self.replaced.borrow_mut().extend(earlier);
                    let told = State::Told(Ok(Imported::Known(run)));
                    (Some(Ok((told, None))), Vec::new())
                }
                Ok(Made {
                    what: What::Kept(run, digest),
                    earlier,
                }) => (Some(kept(import, &run, &digest)), earlier),
                Err(error) => (Some(Err(error)), Vec::new()),
            };
            others.push((file, other, earlier));
        }
        let mut published = match publish(import, drafts) {
            Ok(published) => published.into_iter(),
            Err(error) => {
                *self.stopped.borrow_mut() = Some(error);
                return None;
            }
        };
        let mut records = Vec::new();
        for (file, other, earlier) in others {
            let put = other.or_else(|| published.next());
            let put = put.unwrap_or_else(|| Err(anyhow!("was not published")));
            let put = put.map(|(state, record)| (state.replacing(earlier), record));
            let (state, record) = put.unwrap_or_else(|error| (State::Told(Err(error)), None));
            records.extend(record);
            self.files.borrow_mut().push_back((file, state));
        }
        Some(records)
    }

    /// Says what became of the file whose record has now been ingested, and of those before it.
    fn tell(
        &self,
        import: &Import<'_>,
        record: &Path,
        became: Result<Ingested, StoreError>,
        said: &mut impl FnMut(&Path, Result<Imported>),
    ) {
        self.tell_rest(said);
        let Some((file, state)) = self.files.borrow_mut().pop_front() else {
            return;
        };
        let became = became.with_context(|| where_kept(record));
        let became = became.and_then(|became| match (state, became) {
            (State::New(run, earlier), became @ (Ingested::New | Ingested::Updated)) => {
                let is_other = became == Ingested::Updated || !earlier.is_empty();
                self.replaced.borrow_mut().extend(earlier);
                Ok(if is_other {
                    Imported::Replaced(run)
                } else {
                    Imported::New(run)
                })
            }
            (State::New(run, _), Ingested::Unchanged) => Ok(Imported::Known(run)),
            (State::Kept(is, earlier), _) => {
                known::agree(&is, import.options)?;
                self.replaced.borrow_mut().extend(earlier);
                Ok(Imported::Known(is.run))
            }
            (State::Told(told), _) => told,
        });
        said(&file, became);
    }

    /// Says what became of files that wait for no record.
    fn tell_rest(&self, said: &mut impl FnMut(&Path, Result<Imported>)) {
        let is_told = |(_, state): &(PathBuf, State)| matches!(state, State::Told(_));
        while self.files.borrow().front().is_some_and(is_told) {
            let next = self.files.borrow_mut().pop_front();
            if let Some((file, State::Told(told))) = next {
                said(&file, told);
            }
        }
    }
}

/// A file as it waits, and its record if that is to be ingested.
type Put = Result<(State, Option<(Record, PathBuf)>)>;

/// Gives drafts their names; what became of each, in their order.
fn publish(import: &Import<'_>, drafts: Vec<Draft>) -> Result<Vec<Put>> {
    let names: Vec<(RunId, Digest)> = drafts.iter().map(|draft| name(draft.record())).collect();
    let published = whole::publish(&import.settings.records, drafts)?;
    let each = |((run, digest), published): ((RunId, Digest), Published)| match published {
        Ok((record, path)) => Ok((State::New(run, Vec::new()), Some((record, path)))),
        // Of two files with one content the first has just become this run.
        Err(_) if whole::path(&import.settings.records, &run).exists() => {
            kept(import, &run, &digest)
        }
        Err(error) => Err(error.into()),
    };
    Ok(names.into_iter().zip(published).map(each).collect())
}

fn name(record: &Record) -> (RunId, Digest) {
    let header = &record.header;
    (header.run.clone(), header.manifest.suite.digest)
}

/// A record that was there before: ingested again, for the database may have been deleted since.
fn kept(import: &Import<'_>, run: &RunId, digest: &Digest) -> Put {
    let path = whole::path(&import.settings.records, run);
    let record = Record::read(&path)?;
    let (run, is) = name(&record);
    if is != *digest {
        return Err(of_another_file(&run));
    }
    let is = Box::new(Is::of(&record, &path));
    Ok((State::Kept(is, Vec::new()), Some((record, path))))
}

/// Two files that say that they are of one run.
pub fn of_another_file(run: &RunId) -> anyhow::Error {
    anyhow!(
        "run {run} is of another file, which says that it is of the same moment, or of the same machine, environment and commit; remove one of them, or give another --date"
    )
}

fn where_kept(record: &Path) -> String {
    format!(
        "the record is kept in {}; `assay ingest` reads it when this is mended",
        record.display()
    )
}
