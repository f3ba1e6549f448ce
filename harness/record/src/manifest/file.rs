//! A manifest as a file: in canonical form, in an envelope with its digest.

use std::io::Read as _;
use std::path::Path;

use assay_protocol::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MANIFEST_SCHEMA, Manifest};
use crate::canonical;
use crate::case_list::{self, CaseLists};
use crate::error::RecordError;

/// Longest manifest that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// A manifest as it lies on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// SHA-256 over the canonical form of `manifest`.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
}

impl ManifestFile {
    /// Seals a manifest with its digest.
    ///
    /// The result is what a reader of the file would get: canonical JSON writes 2.0 as 2, and a run
    /// must see the same values as its reproduction.
    pub fn seal(manifest: &Manifest) -> Result<Self, RecordError> {
        Self::seal_with(manifest, &CaseLists::default())
    }

    /// As [`Self::seal`], with what was worked out of cases that other manifests have too.
    pub fn seal_with(manifest: &Manifest, lists: &CaseLists) -> Result<Self, RecordError> {
        let wrong = |what: String| RecordError::format(Path::new("the manifest"), what);
        let list = lists.of(&manifest.cases);
        let list = list.map_err(|error| wrong(error.to_string()))?;
        let frame = case_list::frame(manifest).map_err(|error| wrong(error.to_string()))?;
        let mut manifest: Manifest =
            serde_json::from_str(&frame).map_err(|error| wrong(error.to_string()))?;
        manifest.cases = list.cases.clone();
        crate::validate::manifest(&manifest).map_err(wrong)?;
        Ok(Self {
            digest: Digest::of(case_list::whole(&frame, &list.json)),
            manifest,
        })
    }

    /// A manifest's digest and the bytes of its file, with what was worked out of cases that other manifests have too.
    pub fn written_with(
        manifest: &Manifest,
        lists: &CaseLists,
    ) -> Result<(Digest, Vec<u8>), canonical::CanonicalError> {
        let list = lists.of(&manifest.cases)?;
        let text = case_list::whole(&case_list::frame(manifest)?, &list.json);
        let digest = Digest::of(&text);
        let file = format!("{{\"digest\":\"{digest}\",\"manifest\":{text}}}\n");
        Ok((digest, file.into_bytes()))
    }

    /// The bytes of the file: canonical form and a newline.
    pub fn to_bytes(&self) -> Result<Vec<u8>, canonical::CanonicalError> {
        let mut bytes = canonical::to_canonical(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads and checks a manifest file.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let file = std::fs::File::open(path).map_err(RecordError::io(path))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(RecordError::io(path))?;
        if bytes.len() as u64 > MAX_BYTES {
            let what = format!("longer than {MAX_BYTES} bytes, the most that a manifest has");
            return Err(RecordError::format(path, what));
        }
        Self::from_bytes(path, &bytes)
    }

    /// As [`Self::read`], from bytes that were read from `path`.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, RecordError> {
        let broken = |what: String| RecordError::format(path, what);
        let value: Value = serde_json::from_slice(bytes).map_err(|error| {
            let end = if error.is_eof() {
                "the file is truncated"
            } else {
                "not JSON"
            };
            broken(format!("{end}: {error}; write it again with `assay plan`"))
        })?;
        Self::check(path, &value)?;
        // On the untyped value, so that a manifest of an older schema keeps its canonical form.
        let mut canonical =
            canonical::to_canonical(&value).map_err(|error| broken(error.to_string()))?;
        canonical.push(b'\n');
        if canonical != bytes {
            return Err(broken(
                "not in canonical form (edited or reformatted?); write it again with `assay plan`"
                    .into(),
            ));
        }
        let file: Self = serde_json::from_value(value)
            .map_err(|error| broken(format!("not a manifest: {error}")))?;
        crate::validate::manifest(&file.manifest).map_err(broken)?;
        Ok(file)
    }

    /// Version and digest, on the untyped value: a newer manifest need not parse as ours.
    fn check(path: &Path, value: &Value) -> Result<(), RecordError> {
        let Some(manifest) = value.get("manifest") else {
            return Err(RecordError::format(
                path,
                "field `manifest` is missing: this is no manifest file",
            ));
        };
        check_schema(path, manifest)?;
        let said = value
            .get("digest")
            .and_then(Value::as_str)
            .unwrap_or("absent");
        check_digest(path, "digest", said, manifest)
    }
}

/// Refuses a manifest of a schema that this Assay does not read.
pub(crate) fn check_schema(path: &Path, manifest: &Value) -> Result<(), RecordError> {
    match manifest.get("schema").and_then(Value::as_u64) {
        Some(found) if (1..=u64::from(MANIFEST_SCHEMA)).contains(&found) => Ok(()),
        Some(found) if found > u64::from(MANIFEST_SCHEMA) => Err(RecordError::Newer {
            path: path.into(),
            format: "manifest",
            found,
            known: MANIFEST_SCHEMA,
        }),
        _ => Err(RecordError::format(
            path,
            "field `schema` of the manifest is missing or no version",
        )),
    }
}

/// Compares a stated digest with that of the manifest as it was written.
pub(crate) fn check_digest(
    path: &Path,
    field: &str,
    said: &str,
    manifest: &Value,
) -> Result<(), RecordError> {
    let is = canonical::digest(manifest)
        .map_err(|error| RecordError::format(path, error.to_string()))?
        .to_string();
    if said == is {
        return Ok(());
    }
    let what = format!("field `{field}` says {said}, but the manifest's digest is {is}");
    Err(RecordError::Digest {
        path: path.into(),
        what,
    })
}
