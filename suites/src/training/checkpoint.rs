//! Checkpoints: all that a training goes on from, in a file of the safetensors format, with a digest of each tensor.
//!
//! The format: the length of the header, 8 bytes; the header, JSON, with type, shape and place of each tensor; the tensors' bytes,
//! little-endian, one behind the other (Hugging Face, "safetensors", `README.md`, "Format"). Its `__metadata__`, which is text, has our
//! version, the step, and a SHA-256 for each tensor. A training that is resumed goes on bit for bit. Nothing of a file is used
//! before all of it was seen to be right.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use assay_kernels::buffer::Buffer;
use assay_kernels::element::DType;
use assay_protocol::Digest;
use serde::{Deserialize, Serialize};

use super::run::Training;

/// Version of what is in `__metadata__`.
const FORMAT: &str = "assay-training-1";
const METADATA: &str = "__metadata__";
/// Longest header: some thousand tensors have one of a few hundred kilobytes.
const MOST_HEADER_BYTES: u64 = 64 << 20;

/// Why a checkpoint was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be written or read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no checkpoint of this training, or it is damaged.
    #[error("{path}: {what}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        what: String,
    },
}

/// What a header says of a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

fn dtype_name(dtype: DType) -> String {
    dtype.name().to_uppercase()
}

/// Writes a checkpoint; a file of that name is replaced when all of it is there. Says how many bytes it has.
///
/// # Errors
/// If the file cannot be written.
pub fn save(training: &Training, path: &Path) -> Result<u64, CheckpointError> {
    let failed = |error| CheckpointError::File {
        path: path.to_owned(),
        error,
    };
    let (mut header, mut metadata, mut at) = (serde_json::Map::new(), BTreeMap::new(), 0);
    metadata.insert("format".to_owned(), FORMAT.to_owned());
    metadata.insert("step".to_owned(), training.at.to_string());
    for (name, shape, buffer) in training.tensors() {
        let end = at + buffer.bytes().len();
        let entry = Entry {
            dtype: dtype_name(buffer.dtype()),
            shape,
            data_offsets: [at, end],
        };
        metadata.insert(format!("sha256:{name}"), buffer.digest().to_string());
        header.insert(
            name.to_owned(),
            serde_json::to_value(entry)
                .map_err(io::Error::from)
                .map_err(failed)?,
        );
        at = end;
    }
    header.insert(
        METADATA.to_owned(),
        serde_json::to_value(metadata)
            .map_err(io::Error::from)
            .map_err(failed)?,
    );
    let mut text = serde_json::to_vec(&header)
        .map_err(io::Error::from)
        .map_err(failed)?;
    // Tensors begin at multiples of 8 bytes.
    text.resize(text.len().next_multiple_of(8), b' ');
    let partial = path.with_extension("partial");
    let write = || -> io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(&(text.len() as u64).to_le_bytes())?;
        file.write_all(&text)?;
        for (_, _, buffer) in training.tensors() {
            file.write_all(buffer.bytes())?;
        }
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(failed)?;
    Ok((8 + text.len() + at) as u64)
}

/// A file as it was read: its header, and the bytes behind it.
struct Contents {
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

fn read(path: &Path) -> Result<Contents, CheckpointError> {
    let failed = |error| CheckpointError::File {
        path: path.to_owned(),
        error,
    };
    let refused = |what: String| CheckpointError::Refused {
        path: path.to_owned(),
        what,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)
        .map_err(|_| refused("shorter than 8 bytes: no safetensors file".into()))?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER_BYTES {
        return Err(refused(format!(
            "a header of {length} bytes: expected at most {MOST_HEADER_BYTES}"
        )));
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text)
        .map_err(|_| refused(format!("it ends within its header of {length} bytes")))?;
    let mut bytes = vec![];
    file.read_to_end(&mut bytes).map_err(failed)?;
    let no_header = |error: serde_json::Error| refused(format!("the header is damaged: {error}"));
    let mut header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&text).map_err(no_header)?;
    let metadata = header
        .remove(METADATA)
        .ok_or_else(|| refused(format!("no `{METADATA}`: no checkpoint of a training")))?;
    let metadata = serde_json::from_value(metadata).map_err(no_header)?;
    let mut entries = BTreeMap::new();
    for (name, value) in header {
        let entry = serde_json::from_value(value)
            .map_err(|error| refused(format!("tensor `{name}`: {error}")))?;
        entries.insert(name, entry);
    }
    Ok(Contents {
        entries,
        metadata,
        bytes,
    })
}

impl Contents {
    /// The bytes of a tensor, if they are those that were written, of this type and shape.
    fn tensor(&self, name: &str, shape: &[usize], buffer: &Buffer) -> Result<&[u8], String> {
        let entry = self
            .entries
            .get(name)
            .ok_or_else(|| format!("tensor `{name}` is missing"))?;
        let expected = dtype_name(buffer.dtype());
        if entry.dtype != expected || entry.shape != shape {
            return Err(format!(
                "tensor `{name}` is {} of {:?}: expected {expected} of {shape:?}; it is of another model",
                entry.dtype, entry.shape
            ));
        }
        let [begin, end] = entry.data_offsets;
        let bytes = self
            .bytes
            .get(begin..end)
            .filter(|bytes| bytes.len() == buffer.bytes().len());
        let bytes = bytes.ok_or_else(|| {
            format!("tensor `{name}` lies outside of the file, which is cut short or damaged")
        })?;
        let digest = Digest::of(bytes).to_string();
        match self.metadata.get(&format!("sha256:{name}")) {
            Some(written) if *written == digest => Ok(bytes),
            Some(written) => Err(format!(
                "tensor `{name}` is damaged: its digest is {digest}, {written} was written"
            )),
            None => Err(format!("tensor `{name}` has no digest")),
        }
    }

    fn step(&self) -> Result<usize, String> {
        let format = self.metadata.get("format").map_or("none", String::as_str);
        if format != FORMAT {
            return Err(format!(
                "format `{format}`: expected `{FORMAT}`; it was written by another version"
            ));
        }
        let step = self.metadata.get("step").and_then(|step| step.parse().ok());
        step.ok_or_else(|| "no step in its metadata".into())
    }
}

/// Goes on from a checkpoint: the training has then the parameters, the optimizer's states, the clock and the turn that were
/// written.
///
/// # Errors
/// If the file cannot be read, is damaged, or is of another training. Then the training is as it was.
pub fn load(training: &mut Training, path: &Path) -> Result<(), CheckpointError> {
    let contents = read(path)?;
    let refused = |what: String| CheckpointError::Refused {
        path: path.to_owned(),
        what,
    };
    let step = contents.step().map_err(refused)?;
    let mut found = vec![];
    for (name, shape, buffer) in training.tensors() {
        found.push(contents.tensor(name, &shape, buffer).map_err(refused)?);
    }
    if contents.entries.len() > found.len() {
        let known: Vec<_> = training
            .tensors()
            .map(|(name, ..)| name.to_owned())
            .collect();
        let other = contents.entries.keys().find(|name| !known.contains(name));
        let other = other.map_or("", String::as_str);
        return Err(refused(format!("tensor `{other}` is not of this training")));
    }
    training.set_tensors(&found);
    training.at = step;
    Ok(())
}

/// Takes the parameters that are not trained, where some are, from a checkpoint of a model without adapters.
///
/// # Errors
/// If the file cannot be read, is damaged, or lacks one of them.
pub fn load_base(training: &mut Training, path: &Path) -> Result<(), CheckpointError> {
    let contents = read(path)?;
    let refused = |what: String| CheckpointError::Refused {
        path: path.to_owned(),
        what,
    };
    contents.step().map_err(refused)?;
    let is_frozen: Vec<bool> = training
        .parameters
        .iter()
        .map(|p| p.gradient.is_none())
        .collect();
    let mut bytes = vec![];
    for (number, (name, shape, buffer)) in training.tensors().enumerate() {
        let is_frozen = is_frozen.get(number).copied().unwrap_or(false);
        bytes.push(if is_frozen {
            contents
                .tensor(name, &shape, buffer)
                .map_err(refused)?
                .to_vec()
        } else {
            buffer.bytes().to_vec()
        });
    }
    training.set_tensors(&bytes.iter().map(Vec::as_slice).collect::<Vec<_>>());
    Ok(())
}
