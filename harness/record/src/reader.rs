//! Reading a record, whole or cut off.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use assay_protocol::Digest;
use serde_json::Value;

use crate::body::{Block, Body, Event, Footer, Header, RECORD_VERSION, RunStatus, Worker};
use crate::canonical;
use crate::chain::Chain;
use crate::error::RecordError;
use crate::writer::{FINISHED_SUFFIX, OPEN_SUFFIX};

/// Longest line that is read, in bytes: bounds the memory that a hostile file can take.
const MAX_LINE_BYTES: u64 = 512 << 20;

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
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.ends_with(OPEN_SUFFIX) || name.ends_with(FINISHED_SUFFIX))
    }

    /// Reads a record and checks every hash. A plain one may be cut off in its last line.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let file = File::open(path).map_err(RecordError::io(path))?;
        if path.extension().is_some_and(|extension| extension == "zst") {
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

    fn parse(path: &Path, mut input: impl BufRead) -> Result<Self, RecordError> {
        let mut chain = Chain::default();
        let first = next_body(path, &mut input, &mut chain, 1)?.ok_or_else(|| {
            RecordError::format(path, "cut off within its first line: nothing was measured")
        })?;
        let header = header(path, &first)?;
        let mut record = Self {
            header,
            workers: Vec::new(),
            blocks: Vec::new(),
            events: Vec::new(),
            footer: None,
            head: chain.head(),
        };
        let mut number = 1;
        while let Some(line) = next_body(path, &mut input, &mut chain, number + 1)? {
            number += 1;
            record.add(path, &line, number)?;
            record.head = chain.head();
        }
        Ok(record)
    }

    fn add(&mut self, path: &Path, line: &[u8], number: usize) -> Result<(), RecordError> {
        let wrong = |what: String| RecordError::format(path, format!("line {number}: {what}"));
        if self.footer.is_some() {
            return Err(wrong("a line after the footer".into()));
        }
        match serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))? {
            Body::Header(_) => return Err(wrong("a second header".into())),
            Body::Worker(worker) => self.workers.push(worker),
            Body::Block(block) => {
                block.samples.check().map_err(wrong)?;
                self.check_block(&block)
                    .map_err(|what| RecordError::format(path, format!("line {number}: {what}")))?;
                self.blocks.push(*block);
            }
            Body::Event(event) => self.events.push(event),
            Body::Footer(footer) => self.footer = Some(*footer),
        }
        Ok(())
    }

    fn check_block(&self, block: &Block) -> Result<(), String> {
        let manifest = &self.header.manifest;
        if !manifest.cases.iter().any(|case| case.id == block.case) {
            return Err(format!("case `{}` is not in the manifest", block.case));
        }
        if !manifest.arms.iter().any(|arm| arm.name == block.arm) {
            return Err(format!("arm `{}` is not in the manifest", block.arm));
        }
        if block.warmup as usize > block.samples.len() {
            return Err("more warm-up samples than samples".into());
        }
        Ok(())
    }
}

/// Body of the next line; `None` at the end, or where the last line is cut off.
fn next_body(
    path: &Path,
    input: &mut impl BufRead,
    chain: &mut Chain,
    number: usize,
) -> Result<Option<Vec<u8>>, RecordError> {
    let mut line = Vec::new();
    let read = input
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut line)
        .map_err(RecordError::io(path))?;
    if read as u64 == MAX_LINE_BYTES {
        return Err(RecordError::format(
            path,
            format!("line {number} is longer than {MAX_LINE_BYTES} bytes"),
        ));
    }
    // A write that was cut off has no newline; a line that has one and does not follow was changed.
    let Some(whole) = line.strip_suffix(b"\n") else {
        return Ok(None);
    };
    match chain.open(whole) {
        Some(body) => Ok(Some(body.to_vec())),
        None => Err(RecordError::Digest {
            path: path.into(),
            what: format!("line {number} does not follow from the lines before it"),
        }),
    }
}

fn header(path: &Path, line: &[u8]) -> Result<Header, RecordError> {
    let wrong = |what: String| RecordError::format(path, format!("line 1: {what}"));
    let value: Value = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
    let version = value.pointer("/header/version").and_then(Value::as_u64);
    let version = version
        .ok_or_else(|| wrong("field `header.version` is missing: this is no record".into()))?;
    if version > u64::from(RECORD_VERSION) {
        return Err(RecordError::Newer {
            path: path.into(),
            format: "record",
            found: version,
            known: RECORD_VERSION,
        });
    }
    let Body::Header(header) =
        serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?
    else {
        return Err(wrong("not a header".into()));
    };
    let is = canonical::digest(&header.manifest).map_err(|error| wrong(error.to_string()))?;
    if is != header.manifest_digest {
        let what = format!(
            "field `manifest_digest` says {}, but the manifest's digest is {is}",
            header.manifest_digest
        );
        return Err(RecordError::Digest {
            path: path.into(),
            what,
        });
    }
    Ok(*header)
}
