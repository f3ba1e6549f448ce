//! A site in the making: pages of runs in portions, as they are read from the database, then all others.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use assay_protocol::Digest;
use assay_record::RunId;
use assay_store::RunRow;

use crate::downloads::{self, Downloads, Held};
use crate::error::ReportError;
use crate::model::{Library, Portion, SiteModel};
use crate::pages::{self, Plan};
use crate::presentation::Presentation;
use crate::previous::{File, LIST, Previous, list};
use crate::publish::{MARKER, MARKER_TEXT, Staging};
use crate::{Published, address};

/// Folders of a site.
const FOLDERS: [&str; 7] = [
    "runs", "series", "machines", "suites", "compare", "feeds", "badges",
];

/// A site that grows beside the one that it will replace.
pub struct Publication<'a> {
    library: Library<'a>,
    staging: Staging,
    root: PathBuf,
    previous: Previous,
    /// Every file that was written: what has a key of its own the next site may take over.
    files: BTreeMap<String, File>,
    /// Files that were written, with keys or without.
    done: BTreeSet<String>,
    pages: usize,
    bytes: u64,
}

impl<'a> Publication<'a> {
    /// Begins one. Refuses a folder that holds something and no site of Assay's; what lies beside the files of one is kept.
    pub fn begin(
        model: &'a SiteModel,
        out: &Path,
        presentation: &'a Presentation<'a>,
    ) -> Result<Self, ReportError> {
        let staging = Staging::beside(out)?;
        let root = staging.root();
        for folder in FOLDERS {
            let folder = root.join(folder);
            fs::create_dir(&folder).map_err(ReportError::io("create", &folder))?;
        }
        let mut files = presentation.write(&root)?;
        let bytes = files.values().map(|file| file.bytes).sum();
        files.insert(MARKER.into(), File::of(MARKER_TEXT));
        Ok(Self {
            previous: Previous::of(staging.target()),
            library: Library::new(model, presentation),
            staging,
            root,
            files,
            done: BTreeSet::new(),
            pages: 0,
            bytes,
        })
    }

    /// Runs whose pages the site that lies there does not have as they would be now: each must come in a [`Portion`].
    pub fn missing_runs(&self) -> Vec<RunId> {
        let runs: Vec<&RunId> = self.library.runs.keys().copied().collect();
        let is_missing = |run: &&RunId| {
            let key = self.library.run_key(run);
            Ok(key.is_none_or(|key| !self.has_run(run, &key)))
        };
        let missing: Result<Vec<bool>, Infallible> = on_all_cores(&runs, is_missing);
        let Ok(missing) = missing;
        let runs = runs.into_iter().zip(missing);
        runs.filter(|(_, is_missing)| *is_missing)
            .map(|(run, _)| run.clone())
            .collect()
    }

    /// Whether the site that lies there has the page of a run and its downloads as they would be now.
    fn has_run(&self, run: &RunId, key: &Digest) -> bool {
        let is_published = self.library.model.records.contains_key(run);
        let is_whole = |path: &String| !self.previous.lists(path) || self.previous.has(path, key);
        self.previous.has(&address::run(run), key)
            && (!is_published || downloads_of(run).iter().all(is_whole))
    }

    /// Files of results that the site that lies there does not have as they would be now, with the runs that each is of: they
    /// must be there when the publication is finished.
    pub fn missing_results(&self) -> Vec<(PathBuf, Vec<RunId>)> {
        let missing = self.library.results().into_iter().filter(|results| {
            let key = self.library.results_key(results);
            key.is_none_or(|key| !self.previous.has(&results.name, &key))
        });
        missing
            .map(|results| (self.root.join(results.name), results.runs))
            .collect()
    }

    /// Writes the pages of some runs, and their downloads.
    pub fn add(&mut self, portion: &Portion) -> Result<(), ReportError> {
        let mut library = self.library.with(portion);
        let rows = portion.runs.iter().filter_map(|run| library.runs.get(run));
        let rows: Vec<&RunRow> = rows.copied().collect();
        let found = on_all_cores(&rows, |row| downloads::of(&library, row))?;
        let downloads: BTreeMap<RunId, Downloads> = rows
            .iter()
            .zip(found)
            .filter_map(|(row, found)| Some((row.run.clone(), found?)))
            .collect();
        library.downloads = Some(&downloads);
        let pages = rows.into_iter().map(Plan::Run).collect();
        let pages = keyed(&library, pages);
        self.write_all(&library, &pages)?;
        for (run, downloads) in &downloads {
            self.write_downloads(run, downloads, library.run_key(run))?;
        }
        Ok(())
    }

    fn write_downloads(
        &mut self,
        run: &RunId,
        downloads: &Downloads,
        key: Option<Digest>,
    ) -> Result<(), ReportError> {
        let [manifest, record] = downloads_of(run);
        let path = self.root.join(&manifest);
        fs::write(&path, &downloads.manifest).map_err(ReportError::io("write", &path))?;
        let mut written = vec![(manifest, downloads.manifest.len() as u64)];
        if let Held::Published(from, _) = &downloads.record {
            let copied = fs::copy(from, self.root.join(&record));
            written.push((record, copied.map_err(ReportError::io("copy", from))?));
        }
        for (path, bytes) in written {
            if let Some(key) = key {
                self.note(path, File { key, bytes });
            }
        }
        Ok(())
    }

    /// Writes all pages that are of no run.
    pub fn add_others(&mut self) -> Result<(), ReportError> {
        let mut library = self.library.clone();
        self.take_runs()?;
        let there: BTreeSet<String> = self.files.keys().cloned().collect();
        library.files = Some(&there);
        let pages = keyed(&library, pages::plan(&library));
        self.write_all(&library, &pages)
    }

    /// Takes over the pages of all runs that were not written, and their downloads.
    fn take_runs(&mut self) -> Result<(), ReportError> {
        let runs = self.library.runs.keys().copied();
        let left: Vec<&RunId> = runs
            .filter(|run| !self.done.contains(&address::run(run)))
            .collect();
        let taken = on_all_cores(&left, |run| self.take_run(run))?;
        for (path, file) in taken.into_iter().flatten() {
            self.note(path, file);
        }
        Ok(())
    }

    fn take_run(&self, run: &RunId) -> Result<Vec<(String, File)>, ReportError> {
        let key = self.library.run_key(run);
        let page = address::run(run);
        let Some(file) = self.take(&page, key) else {
            return Err(ReportError::NoPage { page });
        };
        let published = self.library.model.records.contains_key(run);
        let downloads = downloads_of(run).into_iter().filter(|_| published);
        let taken = downloads.filter_map(|path| Some((path.clone(), self.take(&path, key)?)));
        Ok(std::iter::once((page, file)).chain(taken).collect())
    }

    /// Puts the site in the place of the one before, with the [files of results](Self::missing_results).
    pub fn finish(mut self) -> Result<Published, ReportError> {
        for results in self.library.results() {
            let key = self.library.results_key(&results);
            let file = match self.take(&results.name, key) {
                Some(file) => file,
                None => written(&self.root.join(&results.name), key)?,
            };
            self.note(results.name, file);
        }
        let list = list(&self.files);
        write(&self.root, LIST, &list)?;
        let target = self.staging.target();
        if target.exists() {
            let kept = self.previous.keep_others(&self.root);
            kept.map_err(ReportError::io("keep what lies in", target))?;
        }
        Ok(Published {
            root: self.staging.commit()?,
            pages: self.pages,
            bytes: self.bytes,
            list: Digest::of(list),
        })
    }

    /// Takes a file over, where it is the same.
    fn take(&self, path: &str, key: Option<Digest>) -> Option<File> {
        let file = self.previous.kept(path, &key?)?;
        let is_taken = self.previous.take(path, &self.root);
        is_taken.then(|| file.clone())
    }

    /// Counts a file that is there now.
    fn note(&mut self, path: String, file: File) {
        self.pages += usize::from(is_page(&path));
        self.bytes += file.bytes;
        self.files.insert(path, file);
    }

    /// Takes pages over, or renders and writes them, on all cores; the first error ends it.
    fn write_all(&mut self, library: &Library<'_>, pages: &Keyed<'_>) -> Result<(), ReportError> {
        let make = |(page, key): &(Plan<'_>, Option<Digest>)| {
            let path = page.path();
            if let Some(taken) = self.take(&path, *key) {
                return Ok((path, taken));
            }
            let text = page.render(library)?;
            let bytes = write(&self.root, &path, &text)?;
            let key = key.unwrap_or_else(|| Digest::of(&text));
            Ok((path, File { key, bytes }))
        };
        for (path, file) in on_all_cores(pages, make)? {
            self.done.insert(path.clone());
            self.note(path, file);
        }
        Ok(())
    }
}

/// A file that somebody else wrote.
fn written(path: &Path, key: Option<Digest>) -> Result<File, ReportError> {
    let read = ReportError::io("read", path);
    match key {
        Some(key) => {
            let bytes = fs::metadata(path).map_err(read)?.len();
            Ok(File { key, bytes })
        }
        None => Ok(File::of(fs::read(path).map_err(read)?)),
    }
}

/// Where the downloads of a run lie: its manifest and its record.
fn downloads_of(run: &RunId) -> [String; 2] {
    [address::manifest(run), address::record(run)]
}

/// Pages with their keys.
type Keyed<'a> = Vec<(Plan<'a>, Option<Digest>)>;

fn keyed<'a>(library: &Library<'_>, pages: Vec<Plan<'a>>) -> Keyed<'a> {
    let keys: Result<Vec<_>, Infallible> = on_all_cores(&pages, |page| Ok(page.key(library)));
    let Ok(keys) = keys;
    pages.into_iter().zip(keys).collect()
}

/// What becomes of each item, in their order; the first error ends it.
fn on_all_cores<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let mut done = Vec::new();
        while let Some((at, item)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            items.get(at).map(|item| (at, item))
        } {
            match work(item) {
                Ok(result) => done.push((at, result)),
                Err(error) => {
                    next.store(items.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(done)
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut all = thread::scope(|scope| {
        let started: Vec<_> = (1..cores.min(items.len()))
            .map(|_| scope.spawn(take_turns))
            .collect();
        let mut all = take_turns()?;
        for thread in started {
            all.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(all)
    })?;
    all.sort_unstable_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

/// Whether a file is something to look at, and no download.
pub fn is_page(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "html")
}

fn write(root: &Path, name: &str, text: &str) -> Result<u64, ReportError> {
    let path = root.join(name);
    fs::write(&path, text).map_err(ReportError::io("write", &path))?;
    Ok(text.len() as u64)
}
