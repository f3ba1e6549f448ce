//! What a folder of results says once for all its files: the benchmarks, and the machines.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::Unit;
use assay_record::{Field, Section};

use super::super::found::{plain, slug};
use super::json::Json;
use crate::suite::locate::read_text;

/// Longest `benchmarks.json` and `machine.json`, in bytes: the first holds the source of every benchmark.
const MAX_BYTES: u64 = 64 << 20;
/// Versions of the formats that are read.
const BENCHMARKS: u64 = 2;
const MACHINE: u64 = 1;
/// Longest text of a machine's property, in bytes.
const MAX_TEXT: usize = 500;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The time of a call.
    Time,
    /// The size of an object.
    Memory,
    /// The most memory that a process had.
    PeakMemory,
    /// Any number.
    Track,
}

/// A benchmark as it was last discovered.
#[derive(Clone, Debug, PartialEq)]
pub struct Benchmark {
    pub kind: Kind,
    pub unit: Unit,
    pub param_names: Vec<String>,
    pub version: Option<String>,
}

impl Benchmark {
    /// One of which only the name is left: as asv tells its kind by that.
    pub fn by_name(name: &str) -> Self {
        let own = name.rsplit('.').next().unwrap_or_default();
        let (kind, unit) = match own.split('_').next().unwrap_or_default() {
            "mem" => (Kind::Memory, Unit::Bytes),
            "peakmem" => (Kind::PeakMemory, Unit::Bytes),
            "track" => (Kind::Track, Unit::from("unit")),
            _ => (Kind::Time, Unit::from("seconds")),
        };
        Self {
            kind,
            unit,
            param_names: Vec::new(),
            version: None,
        }
    }

    fn read(name: &str, said: &Json) -> Result<Self> {
        let likely = Self::by_name(name);
        let kind = match said.optional("type", Json::text)? {
            Some("time") => Kind::Time,
            Some("memory") => Kind::Memory,
            Some("peakmemory") => Kind::PeakMemory,
            Some("track") => Kind::Track,
            _ => likely.kind,
        };
        let names = said
            .optional("param_names", Json::list)?
            .unwrap_or_default();
        let names = names.iter().map(|name| {
            let name = plain("param_names", name.text()?, MAX_TEXT)?;
            Ok(name.to_owned())
        });
        Ok(Self {
            kind,
            unit: said.optional("unit", Json::text)?.map_or(likely.unit, unit),
            param_names: names.collect::<Result<_>>()?,
            version: said.optional("version", Json::text)?.map(str::to_owned),
        })
    }
}

/// A unit as we call it. What is too long for one keeps its beginning.
fn unit(said: &str) -> Unit {
    let mut end = said.len().min(32);
    while !said.is_char_boundary(end) {
        end -= 1;
    }
    match &said[..end] {
        "bytes" => Unit::Bytes,
        other => Unit::from(other),
    }
}

/// A machine as `machine.json` has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    pub name: String,
    pub hardware: Section,
    pub software: Section,
}

/// Benchmarks by name, of `benchmarks.json`.
pub fn benchmarks(folder: &Path) -> Result<HashMap<String, Benchmark>> {
    let path = folder.join("benchmarks.json");
    if !path.exists() {
        let is_project = folder.join("asv.conf.json").exists();
        ensure!(
            !is_project,
            "{}: the folder of a project; name that of its results, `results_dir` in asv.conf.json",
            folder.display()
        );
        bail!(
            "{}: no benchmarks.json in it: not a folder of results that asv wrote",
            folder.display()
        );
    }
    let shown = || path.display().to_string();
    let said = Json::parse(&read_text(&path, MAX_BYTES)?).with_context(shown)?;
    version(&said, BENCHMARKS).with_context(shown)?;
    let all = said.map().with_context(shown)?.iter();
    let read = |(name, said): &(String, Json)| {
        let read = Benchmark::read(name, said);
        let read = read.with_context(|| format!("benchmark `{}`", clipped(name)));
        Ok((name.clone(), read.with_context(shown)?))
    };
    all.filter(|(name, _)| name != "version")
        .map(read)
        .collect()
}

/// The machine of a folder.
pub fn machine(folder: &Path) -> Result<Machine> {
    let path = folder.join("machine.json");
    ensure!(
        path.exists(),
        "no machine.json beside it: which machine measured is not known"
    );
    let read = || {
        let said = Json::parse(&read_text(&path, MAX_BYTES)?)?;
        version(&said, MACHINE)?;
        let name = said.field("machine", Json::text)?;
        let name = plain("machine", name, 100)?.to_owned();
        ensure!(!name.is_empty(), "field `machine` is empty");
        let (mut hardware, mut software) = (Section::new(), Section::new());
        for (key, value) in said.map()? {
            let Some(text) = shown(key, value)? else {
                continue;
            };
            match key.as_str() {
                "machine" | "version" => None,
                "cpu" => hardware.insert("cpu.model".into(), Field::text(text)),
                "num_cpu" => hardware.insert("cpu.threads".into(), number(&text)),
                "arch" => hardware.insert("cpu.architecture".into(), Field::text(text)),
                "ram" => hardware.insert("memory.said".into(), number(&text)),
                "os" => software.insert("os.name".into(), Field::text(text)),
                other => hardware.insert(format!("asv.{}", slug(other, "x")), Field::text(text)),
            };
        }
        Ok(Machine {
            name,
            hardware,
            software,
        })
    };
    read().with_context(|| path.display().to_string())
}

/// A property as text; `None` where it is not said.
pub fn shown(key: &str, value: &Json) -> Result<Option<String>> {
    let text = match value {
        Json::Text(text) => plain(key, text, MAX_TEXT)?.to_owned(),
        Json::Number(number) => number.to_string(),
        Json::Bool(value) => value.to_string(),
        Json::Null => return Ok(None),
        other => bail!("field `{}`: expected text, not {other}", clipped(key)),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn number(text: &str) -> Field {
    let number = text.parse::<i64>().ok();
    number.map_or_else(|| Field::text(text), Field::int)
}

/// Refuses what was written by asv of another age.
pub fn version(said: &Json, ours: u64) -> Result<()> {
    let found = said
        .optional("version", Json::number)?
        .context("field `version` is missing: asv did not write this")?;
    if found < ours as f64 {
        bail!(
            "in format {found} of asv, which is too old: run `asv update` in the folder of asv.conf.json, then import again"
        );
    }
    ensure!(
        found <= ours as f64,
        "in format {found} of asv, which is newer than {ours}, the newest that this assay reads; use a newer assay"
    );
    Ok(())
}

/// Results below a folder, machine by machine and by name. Links are not followed.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for machine in entries(folder, |kind| kind.is_dir())? {
        let is_result = |path: &PathBuf| {
            let is_json = path.extension().is_some_and(|end| end == "json");
            is_json && path.file_stem().is_some_and(|name| name != "machine")
        };
        let results = entries(&machine, |kind| kind.is_file())?;
        files.extend(results.into_iter().filter(is_result));
    }
    Ok(files)
}

/// The files by the dates that they seem to have: runs of neighbouring nights then lie together in the database, where they
/// are looked for together. A file that does not tell at once comes first, and every file says its date itself when it is read.
pub fn by_date(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    files.sort_by_cached_key(|path| likely_date(path));
    files
}

/// What stands behind the first `"date":` near the beginning of a file.
fn likely_date(path: &Path) -> Option<u64> {
    let mut beginning = [0; 1024];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut beginning));
    let text = String::from_utf8_lossy(&beginning[..read.ok()?]);
    let (_, rest) = text.split_once("\"date\":")?;
    let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit());
    digits.into_iter().next()?.parse().ok()
}

fn entries(folder: &Path, wanted: impl Fn(fs::FileType) -> bool) -> Result<Vec<PathBuf>> {
    let shown = || folder.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(shown)? {
        let entry = entry.with_context(shown)?;
        if wanted(entry.file_type().with_context(shown)?) {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What the measured project may be called: the folder around that of the results, by its name.
pub fn suite(folder: &Path) -> String {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.into());
    let names = folder.iter().rev().filter_map(|name| name.to_str());
    let mut told =
        names.filter(|name| !matches!(*name, "results" | ".asv" | "asv_bench" | "benchmarks"));
    slug(told.next().unwrap_or_default(), "asv")
}

/// The beginning of a text, for messages.
pub fn clipped(text: &str) -> String {
    text.chars().take(100).collect()
}
