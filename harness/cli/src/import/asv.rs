//! Results of airspeed velocity: a folder with `benchmarks.json`, a folder for each machine with its `machine.json`, and
//! in that a file for each commit and environment.
//!
//! A file becomes a run. Its environment is the run's arm, for asv compares none with another. Its time is that of its
//! commit: results of old commits are often measured later, and asv's histories go by commits, as ours do by runs. When
//! each benchmark was measured is kept beside it.
//!
//! Written by what asv's documentation says of its formats ("Benchmark suite layout and file formats") and by its files.

mod folder;
mod json;
mod repository;
mod results;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_record::validate::MAX_ARM_BYTES;
use assay_record::{Field, Timestamp};

use self::folder::{Benchmark, Machine, clipped, version};
use self::json::Json;
use self::repository::Order;
use super::found::{Environment, Found, slug};
use super::{Importer, Options, Results};

/// Version of the format of results that is read.
const RESULTS: u64 = 2;
/// Most entries of a file's lists of requirements and variables.
const MAX_ENTRIES: usize = 1000;

/// The importer.
pub struct Asv;

impl Importer for Asv {
    fn name(&self) -> &'static str {
        "asv"
    }

    fn middle(&self) -> &'static str {
        "median"
    }

    fn open(&self, path: &Path, options: &Options) -> Result<Box<dyn Results>> {
        ensure!(
            options.machine.is_none() && options.date.is_none() && options.commit.is_none(),
            "results of asv say themselves on which machine, when and at which commit they were measured: leave out --machine, --date and --commit"
        );
        ensure!(path.exists(), "{}: not there", path.display());
        let (root, files) = if path.is_dir() {
            (path.to_path_buf(), folder::by_date(folder::files(path)?))
        } else {
            (above(&above(path)), vec![path.to_path_buf()])
        };
        let benchmarks = folder::benchmarks(&root)?;
        ensure!(
            !files.is_empty(),
            "{}: no results in it: expected MACHINE/COMMIT-ENVIRONMENT.json",
            root.display()
        );
        let mut machines = HashMap::new();
        for file in &files {
            let folder = above(file);
            machines.entry(folder).or_insert_with_key(|folder| {
                // Each file of the folder says so.
                folder::machine(folder).map_err(|error| format!("{error:#}"))
            });
        }
        Ok(Box::new(Folder {
            suite: folder::suite(&root),
            order: options.repo.as_deref().map(Order::of).transpose()?,
            with_samples: !options.without_samples,
            benchmarks,
            machines,
            files,
        }))
    }
}

/// The folder that a file lies in.
fn above(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        Some(_) => PathBuf::from("."),
        None => path.to_path_buf(),
    }
}

/// A folder of results.
struct Folder {
    suite: String,
    order: Option<Order>,
    with_samples: bool,
    benchmarks: HashMap<String, Benchmark>,
    machines: HashMap<PathBuf, Result<Machine, String>>,
    files: Vec<PathBuf>,
}

impl Results for Folder {
    fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn name_of(&self, file: &Path) -> String {
        let mut names = file.iter().rev().map(|name| name.to_string_lossy());
        let (own, folder) = (names.next().unwrap_or_default(), names.next());
        folder.map_or(own.to_string(), |folder| format!("{folder}/{own}"))
    }

    /// `asv run` adds to the file of a commit and environment.
    fn grow(&self) -> bool {
        true
    }

    fn read(&self, file: &Path, text: &str) -> Result<Found> {
        let machine = match self.machines.get(&above(file)) {
            Some(Ok(machine)) => machine,
            Some(Err(words)) => anyhow::bail!("{words}"),
            None => anyhow::bail!("its folder was not looked at"),
        };
        let said = Json::parse(text).context("not a result that asv wrote")?;
        version(&said, RESULTS)?;
        let commit = commit(&said)?;
        let mut caveats = Vec::new();
        let date = self.date(&said, &commit, &mut caveats)?;
        check_machine(&said, machine)?;
        let mut software = machine.software.clone();
        let environment = environment(&said, &mut software)?;
        let read = results::read(&said, &self.benchmarks, self.with_samples)?;
        if let Some((first, last)) = read.measured {
            let (first, last) = (first.minute(), last.minute());
            caveats.push(format!(
                "measured from {first} to {last}, and put at the time of its commit"
            ));
        }
        if read.unknown > 0 {
            caveats.push(format!(
                "{} benchmarks are no longer in benchmarks.json: their kind is that of their name",
                read.unknown
            ));
        }
        Ok(Found {
            suite: self.suite.clone(),
            machine: Some(machine.name.clone()),
            hardware: machine.hardware.clone(),
            software,
            date: Some(date),
            commit: Some(commit),
            environment: Some(environment),
            measurements: read.measurements,
            caveats,
            ..Found::default()
        })
    }
}

impl Folder {
    /// When the commit was made.
    fn date(&self, said: &Json, commit: &str, caveats: &mut Vec<String>) -> Result<Timestamp> {
        if let Some(order) = &self.order {
            if let Some(date) = order.date(commit) {
                return Ok(date);
            }
            caveats
                .push("its commit is not in the repository, and has the date that asv knew".into());
        }
        said.field("date", javascript_time)
    }
}

/// A file that was copied from another machine's folder would be taken for this one's.
fn check_machine(said: &Json, machine: &Machine) -> Result<()> {
    let params = said.get("params");
    let named = params.and_then(|params| params.get("machine"));
    let named = named.map(Json::text).transpose();
    let named = named.context("field `params.machine`")?;
    ensure!(
        named.is_none_or(|name| name == machine.name),
        "field `params.machine` says {:?}, but machine.json beside it {:?}",
        clipped(named.unwrap_or_default()),
        machine.name
    );
    Ok(())
}

fn commit(said: &Json) -> Result<String> {
    let commit = said.field("commit_hash", Json::text)?;
    let is_hash = matches!(commit.len(), 40 | 64)
        && commit
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    ensure!(
        is_hash,
        "field `commit_hash`: {:?} is none: expected 40 or 64 hexadecimal digits",
        clipped(commit)
    );
    Ok(commit.to_owned())
}

/// A point in time as JavaScript has it: milliseconds since 1970.
fn javascript_time(value: &Json) -> Result<Timestamp> {
    let ms = value.number()?;
    // The years that nanoseconds in 63 bits reach.
    let time = (0.0..9.2e12)
        .contains(&ms)
        .then(|| Timestamp::from_unix_ns(ms as i64 * 1_000_000))
        .flatten();
    time.with_context(|| {
        format!("{ms} is no time: expected milliseconds since 1970, up to the year 2261")
    })
}

/// The environment of a file. What it has installed goes to `software`.
fn environment(said: &Json, software: &mut BTreeMap<String, Field>) -> Result<Environment> {
    if let Some(python) = said.optional("python", Json::text)? {
        let python = super::found::plain("python", python, 200)?;
        software.insert("python.version".into(), Field::text(python));
    }
    for (name, version) in entries(said, "requirements")? {
        let version = folder::shown("requirements", version)?;
        // Where none was asked for, nobody wrote down which one that was.
        let version = version.unwrap_or_else(|| "not pinned".into());
        let version = Field::text(version);
        software.insert(format!("python.package.{}", slug(name, "x")), version);
    }
    let mut env = BTreeMap::new();
    for (name, value) in entries(said, "env_vars")? {
        let name = super::found::plain("env_vars", name, 200)?;
        let value = folder::shown(name, value).context("field `env_vars`")?;
        env.insert(name.to_owned(), value.unwrap_or_default());
    }
    let name = said.optional("env_name", Json::text)?.unwrap_or_default();
    Ok(Environment {
        name: arm(name),
        env,
    })
}

fn entries<'a>(said: &'a Json, key: &str) -> Result<&'a [(String, Json)]> {
    // Without any it is an empty list in files of some ages.
    let entries = match said.get(key) {
        Some(Json::Map(entries)) => entries.as_slice(),
        None | Some(Json::Null) => &[],
        Some(Json::List(list)) if list.is_empty() => &[],
        Some(other) => anyhow::bail!("field `{key}`: expected an object, not {other}"),
    };
    ensure!(
        entries.len() <= MAX_ENTRIES,
        "field `{key}` has {} entries; at most {MAX_ENTRIES}",
        entries.len()
    );
    Ok(entries)
}

/// The name of an environment as one of an arm: where it is too long, told apart by its digest.
fn arm(name: &str) -> String {
    let plain = |c: char| {
        let is_plain = c.is_ascii_alphanumeric() || c == '-';
        if is_plain { c } else { '_' }
    };
    let arm: String = name.chars().map(plain).collect();
    match arm.len() {
        0 => "main".into(),
        1..=MAX_ARM_BYTES => arm,
        _ => format!(
            "{}-{}",
            &arm[..MAX_ARM_BYTES - 9],
            &Digest::of(name).hex()[..8]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{arm, javascript_time};
    use crate::import::asv::json::Json;

    #[test]
    fn asv_environments_become_names_of_arms() {
        assert_eq!(arm(""), "main");
        assert_eq!(
            arm("virtualenv-py3.11-SAMPLE_LEVEL2"),
            "virtualenv-py3_11-SAMPLE_LEVEL2"
        );
        let long = [1, 2].map(|n| {
            arm(&format!(
                "conda-py3.5-Cython0.24-jinja22.8-nomkl-numpy1.{n}"
            ))
        });
        assert_eq!(long[0].len(), 32);
        assert_ne!(long[0], long[1]);
        for name in ["<script>", "é/../..", &long[0]] {
            assay_record::validate::arm(&arm(name)).unwrap();
        }
    }

    #[test]
    fn asv_times_are_milliseconds() {
        let at = |ms| javascript_time(&Json::Number(ms));
        assert_eq!(
            at(1_795_244_556_000.0).unwrap().to_string(),
            "2026-11-21T07:02:36Z"
        );
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
