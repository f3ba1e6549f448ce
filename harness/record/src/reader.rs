//! Reading a record, whole or cut off.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use assay_protocol::Digest;
use serde_json::Value;

use crate::body::{Block, Body, Event, Footer, Header, RECORD_VERSION, RunStatus, Worker};
use crate::chain::Chain;
use crate::error::RecordError;
use crate::manifest::{check_digest, check_schema};
use crate::run_id::RunId;
use crate::sealed;
use crate::time::Timestamp;
use crate::validate;
use crate::writer::{FINISHED_SUFFIX, MAX_LINE_BYTES, OPEN_SUFFIX};

/// Most bytes of one record, decompressed: bounds what a hostile file can take.
const MAX_RECORD_BYTES: u64 = 8 << 30;

/// By how much clocks of two machines may differ without a word, in nanoseconds: five minutes.
const CLOCKS_DIFFER_NS: i64 = 300_000_000_000;

/// A record that was read and checked.
#[derive(Clone, Debug)]
pub struct Record {
    /// What was known before.
    pub header: Header,
    /// Workers in the order they were met.
    pub workers: Vec<Worker>,
    /// Blocks in the order they were written.
    pub blocks: Vec<Block>,
    /// Events in the order they happened.
    pub events: Vec<Event>,
    /// What was known after; absent in a partial record.
    pub footer: Option<Footer>,
    /// Hash of the last line: names the content.
    pub head: Digest,
}

impl Record {
    /// Whether a file's name is that of a record.
    pub fn is_record_name(path: &Path) -> bool {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let stem = name
            .strip_suffix(FINISHED_SUFFIX)
            .or_else(|| name.strip_suffix(OPEN_SUFFIX));
        stem.is_some_and(|stem| stem.parse::<RunId>().is_ok())
    }

    /// Reads a record and checks every hash. A plain one may be cut off in its last line.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let file = File::open(path).map_err(RecordError::io(path))?;
        if path.extension().is_some_and(|extension| extension == "zst") {
            let file = sealed::open(file, path)?;
            let decoder = zstd::Decoder::new(file).map_err(RecordError::io(path))?;
            let record = Self::parse(path, BufReader::new(decoder))?;
            if record.footer.is_none() {
                return Err(RecordError::format(
                    path,
                    "compressed, yet without a footer: it was changed or damaged",
                ));
            }
            return Ok(record);
        }
        Self::parse(path, BufReader::new(file))
    }

    /// How the run ended.
    pub fn status(&self) -> RunStatus {
        self.footer
            .as_ref()
            .map_or(RunStatus::Partial, |footer| footer.status)
    }

    /// What cannot be true of its times, in words: clocks are set, and a record may come from a machine with a wrong one.
    pub fn clock_doubts(&self, now: Timestamp) -> Vec<String> {
        let started = self.header.started;
        let finished = self.footer.as_ref().map(|footer| footer.finished);
        let is_ahead =
            |at: Timestamp| at.unix_ns() > now.unix_ns().saturating_add(CLOCKS_DIFFER_NS);
        let mut doubts = Vec::new();
        if let Some(ahead) = [Some(started), finished]
            .into_iter()
            .flatten()
            .find(|at| is_ahead(*at))
        {
            doubts.push(format!(
                "its record says {ahead}, which is still to come: the clock of the machine that measured, or of this one, is wrong"
            ));
        }
        if let Some(finished) = finished.filter(|finished| *finished < started) {
            doubts.push(format!(
                "its record says that it began at {started} and ended at {finished}, before that: the clock was set back meanwhile"
            ));
        }
        doubts
    }

    fn parse(path: &Path, input: impl BufRead) -> Result<Self, RecordError> {
        let mut lines = Lines {
            path,
            input: input.take(MAX_RECORD_BYTES),
            chain: Chain::default(),
            number: 0,
        };
        let first = lines.next()?.ok_or_else(|| {
            RecordError::format(path, "cut off within its first line: nothing was measured")
        })?;
        let mut record = Self::begun(header(path, &first)?, lines.chain.head());
        let mut places = Places::of(&record.header);
        while let Some(line) = lines.next()? {
            let added = record.add(&line, &mut places, lines.chain.head());
            added.map_err(|what| {
                RecordError::format(path, format!("line {}: {what}", lines.number))
            })?;
        }
        Ok(record)
    }

    /// A record of which the first line is known.
    pub(crate) fn begun(header: Header, head: Digest) -> Self {
        Self {
            header,
            workers: Vec::new(),
            blocks: Vec::new(),
            events: Vec::new(),
            footer: None,
            head,
        }
    }

    fn add(&mut self, line: &[u8], places: &mut Places, head: Digest) -> Result<(), String> {
        let body = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if let Body::Block(block) = &body {
            validate::block(block)?;
            places.take(block)?;
        }
        self.push(body, head)
    }

    /// Adds the next line, whose hash is `head`.
    pub(crate) fn push(&mut self, body: Body, head: Digest) -> Result<(), String> {
        if self.footer.is_some() {
            return Err("a line after the footer".into());
        }
        match body {
            Body::Header(_) => return Err("a second header".into()),
            Body::Worker(worker) => self.workers.push(worker),
            Body::Block(block) => self.blocks.push(*block),
            Body::Event(event) => self.events.push(event),
            Body::Footer(footer) => {
                if footer.blocks != self.blocks.len() as u64 || footer.status == RunStatus::Partial
                {
                    return Err("the footer contradicts the blocks before it".into());
                }
                self.footer = Some(*footer);
            }
        }
        self.head = head;
        Ok(())
    }
}

/// Which blocks a record may still have.
struct Places {
    cases: HashSet<String>,
    arms: HashSet<String>,
    seen: HashSet<(String, String, u32, u32)>,
}

impl Places {
    fn of(header: &Header) -> Self {
        Self {
            cases: header
                .manifest
                .cases
                .iter()
                .map(|case| case.id.clone())
                .collect(),
            arms: header
                .manifest
                .arms
                .iter()
                .map(|arm| arm.name.clone())
                .collect(),
            seen: HashSet::new(),
        }
    }

    fn take(&mut self, block: &Block) -> Result<(), String> {
        if !self.cases.contains(&block.case) {
            return Err(format!("case `{}` is not in the manifest", block.case));
        }
        if !self.arms.contains(&block.arm) {
            return Err(format!("arm `{}` is not in the manifest", block.arm));
        }
        let place = (
            block.case.clone(),
            block.arm.clone(),
            block.round,
            block.attempt,
        );
        if !self.seen.insert(place) {
            return Err(format!(
                "two blocks for `{}`, round {}, attempt {}",
                block.case, block.round, block.attempt
            ));
        }
        Ok(())
    }
}

/// The lines of a record, checked against the chain.
struct Lines<'a, R> {
    path: &'a Path,
    input: std::io::Take<R>,
    chain: Chain,
    number: usize,
}

impl<R: BufRead> Lines<'_, R> {
    /// Body of the next line; `None` at the end, or where the last line is cut off.
    fn next(&mut self) -> Result<Option<Vec<u8>>, RecordError> {
        let mut line = Vec::new();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = self.input.by_ref().take(limit).read_until(b'\n', &mut line);
        let read = read.map_err(RecordError::io(self.path))?;
        self.number += 1;
        if read as u64 == limit || self.input.limit() == 0 {
            return Err(RecordError::format(
                self.path,
                format!("line {}: too long", self.number),
            ));
        }
        let before = self.chain;
        let whole = line.strip_suffix(b"\n");
        if let Some(body) = self.chain.open(whole.unwrap_or(&line)) {
            return Ok(Some(body.to_vec()));
        }
        // A write that was cut off has no newline. A whole line whose newline became another byte was changed.
        let changed_end = line
            .split_last()
            .is_some_and(|(_, rest)| self.chain.open(rest).is_some());
        self.chain = before;
        if whole.is_none() && !changed_end {
            return Ok(None);
        }
        Err(RecordError::Digest {
            path: self.path.into(),
            what: format!(
                "line {} does not follow from the lines before it",
                self.number
            ),
        })
    }
}

fn header(path: &Path, line: &[u8]) -> Result<Header, RecordError> {
    let wrong = |what: String| RecordError::format(path, format!("line 1: {what}"));
    let value: Value = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
    match value.pointer("/header/version").and_then(Value::as_u64) {
        Some(found) if (1..=u64::from(RECORD_VERSION)).contains(&found) => {}
        Some(found) if found > u64::from(RECORD_VERSION) => {
            return Err(RecordError::Newer {
                path: path.into(),
                format: "record",
                found,
                known: RECORD_VERSION,
            });
        }
        _ => {
            return Err(wrong(
                "field `header.version` is missing or no version: this is no record".into(),
            ));
        }
    }
    // On the untyped value: a manifest of an older schema keeps its digest.
    let manifest = value.pointer("/header/manifest").unwrap_or(&Value::Null);
    check_schema(path, manifest)?;
    let said = value
        .pointer("/header/manifest_digest")
        .and_then(Value::as_str);
    check_digest(path, "manifest_digest", said.unwrap_or("absent"), manifest)?;
    match serde_json::from_value(value).map_err(|error| wrong(error.to_string()))? {
        Body::Header(header) => {
            validate::manifest(&header.manifest).map_err(wrong)?;
            Ok(*header)
        }
        _ => Err(wrong("not a header".into())),
    }
}
