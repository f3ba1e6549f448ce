//! The cases of manifests in canonical form. Runs of a suite mostly have the same: they are worked out once, and kept once.
//!
//! A manifest without its cases is its frame. Frame and list together are the manifest, to the byte of its canonical form.

use std::sync::{Arc, Mutex, PoisonError};

use assay_protocol::Digest;

use crate::body::{Body, Header};
use crate::canonical::{self, CanonicalError};
use crate::manifest::{Case, Manifest};
use crate::recent::Recent;
use crate::shared::Shared;

/// Where the cases stand in a frame. Before that come the arms alone, in canonical order, whose text has its quotes escaped
/// and in which no map has lists.
const PLACE: &str = "\"cases\":[]";
/// Where they stand in a record's header: what follows them there is in no manifest.
const PLACE_IN_HEADER: &str = "\"cases\":[]},\"manifest_digest\":";

/// The cases of a manifest.
#[derive(Debug, PartialEq)]
pub struct CaseList {
    /// What a reader of the canonical form gets.
    pub cases: Shared<Vec<Case>>,
    /// The canonical form.
    pub json: String,
    /// The form in which records have it: fields in the order of their types.
    pub line: String,
    /// SHA-256 over it.
    pub digest: Digest,
}

impl CaseList {
    fn of(cases: &[Case]) -> Result<Self, CanonicalError> {
        let json = text(canonical::to_canonical(&cases)?)?;
        let cases: Vec<Case> = serde_json::from_str(&json)?;
        Ok(Self {
            line: serde_json::to_string(&cases)?,
            cases: cases.into(),
            digest: Digest::of(&json),
            json,
        })
    }
}

/// The canonical form of the manifest that has a frame and these cases, which are in canonical form too.
pub fn whole(frame: &str, cases: &str) -> String {
    let (before, after) = frame.split_once(PLACE).unwrap_or((frame, ""));
    [before, &PLACE[..PLACE.len() - 2], cases, after].concat()
}

/// The canonical form of a manifest with no cases in it.
pub fn frame(manifest: &Manifest) -> Result<String, CanonicalError> {
    let Manifest {
        schema,
        suite,
        tool,
        project,
        arms,
        workers,
        sources,
        order_seed,
        cases: _,
    } = manifest;
    let frame = Manifest {
        schema: *schema,
        suite: suite.clone(),
        tool: tool.clone(),
        project: project.clone(),
        arms: arms.clone(),
        workers: workers.clone(),
        sources: sources.clone(),
        order_seed: *order_seed,
        cases: Shared::default(),
    };
    text(canonical::to_canonical(&frame)?)
}

/// Canonical bytes are UTF-8.
fn text(bytes: Vec<u8>) -> Result<String, CanonicalError> {
    String::from_utf8(bytes).map_err(|error| CanonicalError::Json(serde::de::Error::custom(error)))
}

/// The lists that were asked for last: of many manifests in a row most have one of them. Many threads may ask.
#[derive(Debug, Default)]
pub struct CaseLists {
    known: Mutex<Recent<Asked>>,
}

/// Cases, and the list that was made of them.
type Asked = (Shared<Vec<Case>>, Arc<CaseList>);

impl CaseLists {
    /// The list of some cases.
    pub fn of(&self, cases: &Shared<Vec<Case>>) -> Result<Arc<CaseList>, CanonicalError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is there to the letter is seen at once.
        let same = known.find(|(asked, list)| list.cases.is(cases) || asked.is(cases));
        if let Some((_, list)) = same {
            return Ok(Arc::clone(list));
        }
        if let Some((_, list)) = known.find(|(asked, list)| list.cases == *cases || asked == cases)
        {
            return Ok(Arc::clone(list));
        }
        let list = Arc::new(CaseList::of(cases)?);
        known.add((cases.clone(), Arc::clone(&list)), cases.len());
        Ok(list)
    }

    /// A record's header as JSON. Nearly all of it are the cases, which are written once.
    pub(crate) fn header(&self, header: &Header) -> Result<Vec<u8>, CanonicalError> {
        let list = self.of(&header.manifest.cases)?;
        let mut bare = header.clone();
        // Only canonical cases are what the list has written.
        if list.cases == header.manifest.cases {
            bare.manifest.cases = Shared::default();
        }
        let json = serde_json::to_string(&Body::Header(Box::new(bare)))?;
        let Some((before, after)) = json.split_once(PLACE_IN_HEADER) else {
            return Ok(json.into_bytes());
        };
        let (key, rest) = PLACE_IN_HEADER.split_at("\"cases\":".len());
        let rest = &rest["[]".len()..];
        Ok([before, key, &list.line, rest, after].concat().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{CaseLists, frame, whole};
    use crate::canonical;
    use crate::manifest::{Manifest, ManifestFile};

    fn manifest() -> Manifest {
        let digest = "0".repeat(64);
        let case = |id: &str, x: f64| {
            serde_json::json!({
                "id": id, "benchmark": "b", "workload": {"worker": {"worker": "w", "name": "n", "definition": 1}},
                "params": {"x": x, "cases": "\"cases\":[]"}, "seed": "0", "device": "cpu", "timing": "hot",
                "policy": crate::Policy::default(), "timeout_ms": 1, "definition": format!("sha256:{digest}"),
            })
        };
        let made = serde_json::json!({
            "schema": 3,
            "suite": {"name": "s", "digest": format!("sha256:{digest}"), "source": "builtin"},
            "tool": {"version": "1", "binary": format!("sha256:{digest}")},
            "project": "no_repository",
            "arms": [{"name": "main", "engine": "host", "worker": format!("sha256:{digest}"), "env": {"cases": "\"cases\":[]"}}],
            "workers": {"w": [], "cases": []},
            "order_seed": "0",
            "cases": [case("one", 2.0), case("two", 0.5)],
        });
        serde_json::from_value(made).unwrap()
    }

    #[test]
    fn a_frame_and_its_cases_are_the_manifest_to_the_byte() {
        let manifest = manifest();
        let list = CaseLists::default().of(&manifest.cases).unwrap();
        let text = whole(&frame(&manifest).unwrap(), &list.json);
        let canonical = String::from_utf8(canonical::to_canonical(&manifest).unwrap()).unwrap();
        assert_eq!(text, canonical);
        let sealed = ManifestFile::seal(&manifest).unwrap();
        assert_eq!(sealed.digest, assay_protocol::Digest::of(&canonical));
        assert_eq!(sealed.manifest, serde_json::from_str(&canonical).unwrap());
        let (digest, file) = ManifestFile::written_with(&manifest, &CaseLists::default()).unwrap();
        assert_eq!((digest, file), (sealed.digest, sealed.to_bytes().unwrap()));
    }

    #[test]
    fn the_same_cases_are_one_list() {
        let (lists, mut manifest) = (CaseLists::default(), manifest());
        let first = lists.of(&manifest.cases).unwrap();
        assert!(Arc::ptr_eq(&first, &lists.of(&manifest.cases).unwrap()));
        // As a reader has them: in canonical form 2.0 is 2.
        assert!(Arc::ptr_eq(&first, &lists.of(&first.cases).unwrap()));
        manifest.cases[1].timeout_ms += 1;
        let other = lists.of(&manifest.cases).unwrap();
        assert_ne!(other.digest, first.digest);
    }
}
