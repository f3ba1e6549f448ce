//! What stands where a checkpoint is to be written. No file of another training is replaced, nor one of the same training that has come as
//! far: so two cases that name one file, or a run that is reproduced, lose nobody's result.

use std::path::{Path, PathBuf};

use super::{CheckpointError, FORMAT, Metadata, head};
use crate::training::origin::{ORIGIN, Origin};
use crate::training::run::Training;

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, or a checkpoint of the same training that had not come so far.
    Free,
    /// One of the same training that came further, to this step.
    Further(usize),
    /// This checkpoint, to the bit.
    Same,
    /// One of the same training and step, with other bits.
    Other,
}

/// Looks at it.
///
/// # Errors
/// If it is of another training, or no checkpoint: that is for somebody to remove.
pub fn standing(training: &Training, path: &Path) -> Result<Standing, CheckpointError> {
    let is_there = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
    if !is_there {
        return Ok(Standing::Free);
    }
    let refused = |what: &str| CheckpointError::Refused {
        path: path.to_owned(),
        what: format!("{what}: expected another name, or that somebody removes it"),
    };
    let strange = || refused("a file stands there that is no checkpoint of this version");
    let head = head(path).map_err(|_| strange())?;
    let metadata = head.metadata;
    let is_known = metadata
        .get("format")
        .is_some_and(|format| format == FORMAT);
    let step = metadata.get("step").and_then(|step| step.parse().ok());
    let (true, Some(step)) = (is_known, step) else {
        return Err(strange());
    };
    let written = metadata.get(ORIGIN);
    let written = written.and_then(|words| serde_json::from_str::<Origin>(words).ok());
    if written.as_ref() != Some(&training.origin) {
        let why = written.and_then(|written| training.origin.differs_from(&written));
        let why = why.map_or(String::new(), |why| format!(", {why}"));
        return Err(refused(&format!(
            "the checkpoint of another training stands there{why}"
        )));
    }
    match step {
        step if step > training.at() => Ok(Standing::Further(step)),
        step if step < training.at() => Ok(Standing::Free),
        _ if is_same(training, &metadata)? => Ok(Standing::Same),
        _ => Ok(Standing::Other),
    }
}

fn is_same(training: &Training, metadata: &Metadata) -> Result<bool, CheckpointError> {
    for (name, _, buffer) in training.tensors() {
        let buffer = training.session().read(buffer);
        let digest = buffer
            .map_err(CheckpointError::Device)?
            .digest()
            .to_string();
        if metadata.get(&format!("sha256:{name}")) != Some(&digest) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The file beside one that stays.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".again");
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::beside;

    #[test]
    fn what_is_beside_has_the_same_ending() {
        let name = |path: &str| beside(Path::new(path)).display().to_string();
        assert_eq!(name("/a/half.safetensors"), "/a/half.again.safetensors");
        assert_eq!(name("half"), "half.again");
    }
}
