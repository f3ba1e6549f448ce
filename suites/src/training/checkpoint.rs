//! Checkpoints: all that a training goes on from, in a file of the safetensors format, with a digest of each tensor.
//!
//! The format: the length of the header, 8 bytes; the header, JSON, with type, shape and place of each tensor; the tensors' bytes,
//! little-endian, one behind the other (Hugging Face, "safetensors", `README.md`, "Format"). Its `__metadata__`, which is text, has our
//! version, the step, what made it, a SHA-256 for each tensor, and one of all that the header says besides, whatever order and spaces
//! another program may give it. A training that is resumed goes on bit for bit. Nothing of a file is used before all of it was
//! seen to be right.

mod standing;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use assay_kernels::element::DType;
use assay_protocol::{Digest, Failure};
use serde::{Deserialize, Serialize};

use super::model::Parameter;
use super::origin::{ORIGIN, Origin};
use super::run::Training;
use super::setup;

pub use standing::{Standing, beside, standing};

/// Version of what is in `__metadata__`.
const FORMAT: &str = "assay-training-2";
/// The one before it: its headers had no digest.
const UNSEALED: &str = "assay-training-1";
/// By what name `__metadata__` has the digest of the header.
const SEAL: &str = "sha256";
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
    /// A device failed that has the tensors, or was to get them.
    #[error("{0}")]
    Device(Failure),
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

type Entries = BTreeMap<String, Entry>;
type Metadata = BTreeMap<String, String>;

/// The digest of all that a header says, but for itself: of JSON whose names are in order, without spaces.
fn seal(entries: &Entries, metadata: &Metadata) -> Result<Digest, serde_json::Error> {
    let metadata = metadata.iter().filter(|(name, _)| *name != SEAL);
    let metadata: BTreeMap<_, _> = metadata.collect();
    Ok(Digest::of(serde_json::to_vec(&(entries, metadata))?))
}

/// The header of a file, padded so that tensors begin at multiples of 8 bytes.
fn header(entries: &Entries, mut metadata: Metadata) -> Result<Vec<u8>, serde_json::Error> {
    metadata.insert(SEAL.into(), seal(entries, &metadata)?.to_string());
    let mut header = serde_json::Map::new();
    for (name, entry) in entries {
        header.insert(name.clone(), serde_json::to_value(entry)?);
    }
    header.insert(METADATA.to_owned(), serde_json::to_value(metadata)?);
    let mut text = serde_json::to_vec(&header)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

/// Where a file grows until it is whole.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    path.with_file_name(name)
}

/// Whether a checkpoint can be written to a place, before hours of training are for nothing.
///
/// # Errors
/// If it is a folder, or if its folder is not there, or cannot be written to.
pub fn check_place(path: &Path) -> Result<(), CheckpointError> {
    let refused = |what: String| CheckpointError::Refused {
        path: path.to_owned(),
        what,
    };
    if path.exists() && !path.is_file() {
        return Err(refused(
            "it is a folder, a device or a pipe: expected the name of a file".into(),
        ));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(refused(format!("there is no folder {}", folder.display())));
    }
    let unfinished = unfinished(path);
    let made = File::create(&unfinished).and_then(|_| std::fs::remove_file(&unfinished));
    made.map_err(|error| refused(format!("nothing can be written there: {error}")))
}

/// Writes a checkpoint, with what is known of the model for whoever reads it; a file of that name is replaced when all of it is there. Says
/// how many bytes it has. Of several ranks the first one writes it for all.
///
/// # Errors
/// If the file cannot be written.
pub fn save(training: &Training, path: &Path) -> Result<u64, CheckpointError> {
    let failed = |error| CheckpointError::File {
        path: path.to_owned(),
        error,
    };
    let (mut entries, mut metadata, mut at) = (Entries::new(), Metadata::new(), 0);
    metadata.insert("format".to_owned(), FORMAT.to_owned());
    metadata.insert("step".to_owned(), training.at().to_string());
    let facts = training.facts.iter().cloned();
    for (name, fact) in facts.chain([(ORIGIN, training.origin.words())]) {
        metadata.insert(name.to_owned(), fact);
    }
    for (name, shape, buffer) in training.tensors() {
        let buffer = training.session().read(buffer);
        let buffer = buffer.map_err(CheckpointError::Device)?;
        let end = at + buffer.bytes().len();
        let entry = Entry {
            dtype: dtype_name(buffer.dtype()),
            shape,
            data_offsets: [at, end],
        };
        metadata.insert(format!("sha256:{name}"), buffer.digest().to_string());
        entries.insert(name.to_owned(), entry);
        at = end;
    }
    let text = header(&entries, metadata)
        .map_err(io::Error::from)
        .map_err(failed)?;
    let unfinished = unfinished(path);
    let write = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(&(text.len() as u64).to_le_bytes())?;
        file.write_all(&text)?;
        for (_, _, buffer) in training.tensors() {
            let buffer = training.session().read(buffer);
            let buffer = buffer.map_err(|failure| io::Error::other(failure.to_string()))?;
            file.write_all(buffer.bytes())?;
        }
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    };
    if let Err(error) = write() {
        // What was there before is whole, and half a file is of no use.
        std::fs::remove_file(&unfinished).ok();
        return Err(failed(error));
    }
    Ok((8 + text.len() + at) as u64)
}

/// What a training goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What the file had, by names: its step, and each tensor.
    pub named: Vec<(String, Digest)>,
    /// What of the way in which it was trained goes on otherwise, in words, if something does.
    pub changed: Option<String>,
}

/// A file as it was read: its header, and the bytes behind it.
struct Whole {
    entries: Entries,
    metadata: Metadata,
    /// Of the header, which has the digests of all tensors.
    digest: Digest,
    bytes: Vec<u8>,
}

/// A tensor that was seen to be as it was written.
struct Tensor<'a> {
    bytes: &'a [u8],
    digest: Digest,
}

/// The header of a file as it was read, and what is behind it.
struct Head {
    entries: Entries,
    metadata: Metadata,
    file: File,
}

fn head(path: &Path) -> Result<Head, CheckpointError> {
    let failed = |error| CheckpointError::File {
        path: path.to_owned(),
        error,
    };
    let refused = |what: String| CheckpointError::Refused {
        path: path.to_owned(),
        what,
    };
    // To open a pipe would be to wait for whoever writes it.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(refused("it is no file: expected a checkpoint".into()));
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)
        .map_err(|_| refused("shorter than 8 bytes: no safetensors file".into()))?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER_BYTES {
        return Err(refused(format!(
            "a header of {length} bytes: expected at most {MOST_HEADER_BYTES}; it is no safetensors file, or damaged"
        )));
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text)
        .map_err(|_| refused(format!("it ends within its header of {length} bytes")))?;
    let no_header = |error: serde_json::Error| refused(format!("the header is damaged: {error}"));
    let mut header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&text).map_err(no_header)?;
    let metadata = header
        .remove(METADATA)
        .ok_or_else(|| refused(format!("no `{METADATA}`: no checkpoint of a training")))?;
    let metadata = serde_json::from_value(metadata).map_err(no_header)?;
    let mut entries = Entries::new();
    for (name, value) in header {
        let entry = serde_json::from_value(value)
            .map_err(|error| refused(format!("tensor `{name}`: {error}")))?;
        entries.insert(name, entry);
    }
    Ok(Head {
        entries,
        metadata,
        file,
    })
}

fn read(path: &Path) -> Result<Whole, CheckpointError> {
    let failed = |error| CheckpointError::File {
        path: path.to_owned(),
        error,
    };
    let refused = |what: String| CheckpointError::Refused {
        path: path.to_owned(),
        what,
    };
    let Head {
        entries,
        metadata,
        mut file,
    } = head(path)?;
    let mut bytes = vec![];
    file.read_to_end(&mut bytes).map_err(failed)?;
    let digest = seal(&entries, &metadata);
    let whole = Whole {
        digest: digest.map_err(|error| refused(format!("the header is damaged: {error}")))?,
        entries,
        metadata,
        bytes,
    };
    whole.check_header().map_err(refused)?;
    Ok(whole)
}

impl Whole {
    /// Whether the header is as it was written, of this version, and nothing but its tensors is behind it.
    fn check_header(&self) -> Result<(), String> {
        match self.metadata.get("format").map_or("none", String::as_str) {
            FORMAT => {}
            UNSEALED => {
                return Err(format!(
                    "format `{UNSEALED}`: expected `{FORMAT}`; it is of a version whose headers have no digest, so that nothing tells \
                     whether its step is the one that was written: train it again"
                ));
            }
            // Of another version it may be made otherwise.
            other if self.metadata.get(SEAL) != Some(&self.digest.to_string()) => {
                return Err(format!(
                    "format `{other}`: expected `{FORMAT}`; the header is damaged, or was written by another version"
                ));
            }
            other => {
                return Err(format!(
                    "format `{other}`: expected `{FORMAT}`; it was written by another version"
                ));
            }
        }
        let digest = self.digest.to_string();
        match self.metadata.get(SEAL) {
            Some(written) if *written == digest => {}
            Some(written) => {
                return Err(format!(
                    "the header is damaged: its digest is {digest}, {written} was written"
                ));
            }
            None => return Err("the header is damaged: it has no digest".into()),
        }
        let ends = self.entries.values().map(|entry| entry.data_offsets[1]);
        let end = ends.max().unwrap_or(0);
        match self.bytes.len().checked_sub(end) {
            Some(more) if more > 0 => Err(format!(
                "{more} bytes are behind its last tensor: something was written to its end, or it is damaged"
            )),
            // What is cut short is said by the name of the first tensor that is.
            _ => Ok(()),
        }
    }

    /// A tensor, if it is as it was written, of this type and shape.
    fn tensor(&self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor<'_>, String> {
        let entry = self
            .entries
            .get(name)
            .ok_or_else(|| format!("tensor `{name}` is missing"))?;
        let expected = dtype_name(dtype);
        let bytes = shape.iter().product::<usize>() * dtype.bytes();
        if entry.dtype != expected || entry.shape != shape {
            return Err(format!(
                "tensor `{name}` is {} of {:?}: expected {expected} of {shape:?}; it is of another model",
                entry.dtype, entry.shape
            ));
        }
        let found = self.verified(name, entry)?;
        if found.bytes.len() != bytes {
            return Err(format!(
                "tensor `{name}` has {} bytes: expected {bytes}",
                found.bytes.len()
            ));
        }
        Ok(found)
    }

    /// A tensor, if it is as it was written.
    fn verified(&self, name: &str, entry: &Entry) -> Result<Tensor<'_>, String> {
        let [begin, end] = entry.data_offsets;
        let bytes = self.bytes.get(begin..end).ok_or_else(|| {
            format!("tensor `{name}` lies outside of the file, which is cut short or damaged")
        })?;
        let digest = Digest::of(bytes);
        match self.metadata.get(&format!("sha256:{name}")) {
            Some(written) if *written == digest.to_string() => Ok(Tensor { bytes, digest }),
            Some(written) => Err(format!(
                "tensor `{name}` is damaged: its digest is {digest}, {written} was written"
            )),
            None => Err(format!("tensor `{name}` has no digest")),
        }
    }

    /// The numbers of a parameter: of one that is codes those that they stand for.
    fn values(&self, parameter: &Parameter) -> Result<Vec<f32>, String> {
        let (name, sides) = (&parameter.name, parameter.sides());
        if parameter.scales.is_none() {
            let found = self.tensor(name, &sides, DType::F32)?;
            return Ok(numbers(found.bytes));
        }
        let codes = self.tensor(name, &sides, DType::I8)?.bytes;
        let scales = self.tensor(&format!("{name}.scales"), &[parameter.shape[0]], DType::F32)?;
        Ok(parameter.quantised().decode(codes, &numbers(scales.bytes)))
    }

    /// Whether a model of it was trained on the tokens of a training.
    fn check_tokens(&self, training: &Training) -> Result<(), String> {
        let mut own = training.facts.iter();
        let own = own.find_map(|(_, fact)| setup::tokenizer_of_words(fact));
        let words = self.metadata.get(setup::MODEL);
        let found = words.and_then(|words| setup::tokenizer_of_words(words));
        if own == found {
            return Ok(());
        }
        let [found, own] = [found, own].map(|digest| digest.unwrap_or_else(|| "bytes".into()));
        Err(format!(
            "its model was trained on other tokens, {found}: expected {own}; name the same `tokenizer`"
        ))
    }

    /// What made it.
    fn origin(&self) -> Result<Origin, String> {
        let words = self.metadata.get(ORIGIN);
        let words = words.ok_or_else(|| format!("it says nothing of its `{ORIGIN}`"))?;
        serde_json::from_str(words)
            .map_err(|error| format!("what it says of its `{ORIGIN}` is unreadable: {error}"))
    }

    /// All that a training goes on from, in its order.
    fn tensors(&self, training: &Training) -> Result<Vec<Tensor<'_>>, String> {
        let mut found = vec![];
        for (name, shape, buffer) in training.tensors() {
            let dtype = training.session().spec(buffer).dtype;
            found.push(self.tensor(name, &shape, dtype)?);
        }
        if self.entries.len() > found.len() {
            let known: Vec<_> = training.tensors().map(|(name, ..)| name).collect();
            let mut others = self.entries.keys();
            let other = others.find(|name| !known.contains(&name.as_str()));
            let other = other.map_or("", String::as_str);
            return Err(format!("tensor `{other}` is not of this training"));
        }
        Ok(found)
    }

    /// Whether all tensors are as they were written, those among them that nobody asks for.
    fn check(&self) -> Result<(), String> {
        let mut all = self.entries.iter();
        all.try_for_each(|(name, entry)| self.verified(name, entry).map(drop))
    }

    fn step(&self) -> Result<usize, String> {
        let step = self.metadata.get("step").and_then(|step| step.parse().ok());
        step.ok_or_else(|| "no step in its metadata".into())
    }
}

/// Goes on from a checkpoint: the training has then the parameters, the optimizer's states, the clock and the turn that were
/// written. A file is the same for all ranks, however many wrote it: each then takes its own turns of the next step.
///
/// # Errors
/// If the file cannot be read, is damaged, or is of another training. Then the training is as it was.
pub fn load(training: &mut Training, path: &Path) -> Result<Contents, CheckpointError> {
    let contents = read(path)?;
    let refused = |what: String| CheckpointError::Refused {
        path: path.to_owned(),
        what,
    };
    let step = contents.step().map_err(refused)?;
    contents.check_tokens(training).map_err(refused)?;
    let written = contents.origin().map_err(refused)?;
    let changed = training.origin.check(&written).map_err(refused)?;
    let found = contents.tensors(training).map_err(|what| {
        let why = training.origin.of_tensors(&written);
        refused(why.map_or(what.clone(), |why| format!("{why}: {what}")))
    })?;
    let bytes: Vec<_> = found.iter().map(|tensor| tensor.bytes).collect();
    training
        .go_on(step, &bytes)
        .map_err(CheckpointError::Device)?;
    let names = training
        .tensors()
        .map(|(name, ..)| format!("tensor `{name}`"));
    let tensors = names.zip(found.iter().map(|tensor| tensor.digest));
    let step = ("the step".to_owned(), Digest::of(step.to_string()));
    Ok(Contents {
        named: [step].into_iter().chain(tensors).collect(),
        changed,
    })
}

/// The parameters of a model, which `model` names by what the checkpoint says of it.
///
/// # Errors
/// If the file cannot be read, is damaged, or lacks one of them; what `model` says.
pub fn parameters(
    path: &Path,
    model: impl FnOnce(&Metadata) -> Result<Vec<Parameter>, String>,
) -> Result<Vec<Vec<f32>>, CheckpointError> {
    let contents = read(path)?;
    let refused = |what: String| CheckpointError::Refused {
        path: path.to_owned(),
        what,
    };
    contents.check().map_err(refused)?;
    let parameters = model(&contents.metadata).map_err(refused)?;
    let values = parameters.iter().map(|p| contents.values(p));
    values.collect::<Result<_, String>>().map_err(refused)
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    bytes.chunks_exact(4).map(number).collect()
}

/// Takes the parameters that are not trained, where some are, from a checkpoint of a model without adapters; what is kept as codes is
/// quantised. Says what names that checkpoint.
///
/// # Errors
/// If the file cannot be read, is damaged, or lacks one of them.
pub fn load_base(training: &mut Training, path: &Path) -> Result<Digest, CheckpointError> {
    let contents = read(path)?;
    let refused = |what: String| CheckpointError::Refused {
        path: path.to_owned(),
        what,
    };
    contents.check().map_err(refused)?;
    contents.check_tokens(training).map_err(refused)?;
    let written = contents.origin().map_err(refused)?;
    training.origin.check_model(&written).map_err(refused)?;
    let mut found = vec![];
    for parameter in training.parameters.iter().filter(|p| p.gradient.is_none()) {
        let tensor = contents.tensor(&parameter.name, &parameter.sides(), DType::F32);
        found.extend(stored(parameter, tensor.map_err(refused)?.bytes));
    }
    let mut found = found.into_iter();
    found
        .try_for_each(|(buffer, bytes)| training.write(buffer, &bytes))
        .map_err(CheckpointError::Device)?;
    Ok(contents.digest)
}

/// What goes to the buffers of a parameter, given its numbers.
fn stored(parameter: &Parameter, bytes: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let Some(scales) = parameter.scales else {
        return vec![(parameter.buffer, bytes.to_vec())];
    };
    let (codes, of_rows) = parameter.quantised().encode(&numbers(bytes));
    let of_rows = of_rows.into_iter().flat_map(f32::to_le_bytes);
    vec![(parameter.buffer, codes), (scales, of_rows.collect())]
}
