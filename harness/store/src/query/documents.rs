//! Manifests and fingerprints by their digests.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::Digest;
use assay_record::{Case, Fingerprint, Manifest, ManifestFile, Origin, Shared};
use serde::de::DeserializeOwned;

use super::json;
use crate::Store;
use crate::error::StoreError;
use crate::rows::ImportRow;

impl Store {
    /// A manifest, sealed with its digest.
    pub fn manifest(&self, digest: &Digest) -> Result<ManifestFile, StoreError> {
        let found = self.manifests(&BTreeSet::from([*digest]))?;
        let found = found.into_values().next();
        found
            .map(|manifest| ManifestFile {
                digest: *digest,
                manifest,
            })
            .ok_or_else(|| self.unknown("manifest", digest))
    }

    /// Several manifests: as one scan, since a scan reads all of them. Those that have the same cases share them.
    pub fn manifests(
        &self,
        digests: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, Manifest>, StoreError> {
        let read = |digests: &_| self.read_manifests(digests);
        match &self.known {
            Some(known) => known.manifests.all(digests, read),
            None => read(digests),
        }
    }

    fn read_manifests(
        &self,
        digests: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, Manifest>, StoreError> {
        let frames = self.frames(digests)?;
        let wanted = frames.values().map(|frame| frame.cases).collect();
        let lists: BTreeMap<Digest, Shared<Vec<Case>>> =
            self.documents(("case_lists", "list of cases"), &wanted)?;
        let with_cases = |(digest, frame): (Digest, Frame)| {
            let manifest = Manifest {
                cases: lists[&frame.cases].clone(),
                ..frame.manifest
            };
            (digest, manifest)
        };
        Ok(frames.into_iter().map(with_cases).collect())
    }

    /// Several manifests without their cases.
    fn frames(&self, digests: &BTreeSet<Digest>) -> Result<BTreeMap<Digest, Frame>, StoreError> {
        let sql = format!(
            "SELECT digest, json, cases FROM manifests WHERE digest IN ({})",
            listed(digests)
        );
        let found = self.rows(&sql, [], |row| {
            let frame = Frame {
                manifest: json(row, 1)?,
                cases: row.get_ref(2)?.as_str()?.parse()?,
            };
            Ok((row.get_ref(0)?.as_str()?.parse()?, frame))
        })?;
        let found: BTreeMap<Digest, Frame> = found.into_iter().collect();
        match digests.iter().find(|digest| !found.contains_key(*digest)) {
            Some(lost) => Err(self.unknown("manifest", lost)),
            None => Ok(found),
        }
    }

    /// Several fingerprints, as one scan.
    pub fn fingerprints(
        &self,
        digests: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, Fingerprint>, StoreError> {
        let read = |digests: &_| self.documents(("fingerprints", "fingerprint"), digests);
        match &self.known {
            Some(known) => known.fingerprints.all(digests, read),
            None => read(digests),
        }
    }

    fn documents<T: DeserializeOwned>(
        &self,
        (table, what): (&str, &'static str),
        digests: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, T>, StoreError> {
        if digests.is_empty() {
            return Ok(BTreeMap::new());
        }
        let sql = format!(
            "SELECT digest, json FROM {table} WHERE digest IN ({})",
            listed(digests)
        );
        let found: BTreeMap<Digest, T> = self
            .rows(&sql, [], |row| {
                Ok((row.get_ref(0)?.as_str()?.parse()?, json(row, 1)?))
            })?
            .into_iter()
            .collect();
        match digests.iter().find(|digest| !found.contains_key(*digest)) {
            Some(lost) => Err(self.unknown(what, lost)),
            None => Ok(found),
        }
    }

    /// Every run that was imported, oldest first, with what it was read from.
    pub fn imports(&self) -> Result<Vec<ImportRow>, StoreError> {
        let sql = "SELECT run, imported_digest, imported_format, imported_file FROM runs
                   WHERE imported_format IS NOT NULL ORDER BY started, run";
        self.rows(sql, [], |row| {
            Ok(ImportRow {
                run: row.get::<_, String>(0)?.parse()?,
                digest: row.get::<_, String>(1)?.parse()?,
                origin: Origin {
                    format: row.get(2)?,
                    file: row.get(3)?,
                },
            })
        })
    }

    /// A fingerprint.
    pub fn fingerprint(&self, digest: &Digest) -> Result<Fingerprint, StoreError> {
        let mut found = self.fingerprints(&BTreeSet::from([*digest]))?;
        let fingerprint = found.remove(digest);
        fingerprint.ok_or_else(|| self.unknown("fingerprint", digest))
    }

    fn unknown(&self, what: &'static str, digest: &Digest) -> StoreError {
        StoreError::UnknownDigest {
            path: self.path.clone(),
            what,
            digest: digest.to_string(),
        }
    }
}

/// A manifest without its cases, and the digest of these.
struct Frame {
    manifest: Manifest,
    cases: Digest,
}

/// Digests for a list in SQL: hexadecimal digits, whatever anybody named; and no digest where there is none.
fn listed(digests: &BTreeSet<Digest>) -> String {
    let listed: Vec<String> = digests.iter().map(|digest| format!("'{digest}'")).collect();
    if listed.is_empty() {
        "''".into()
    } else {
        listed.join(", ")
    }
}
