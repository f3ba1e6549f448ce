//! Manifests and fingerprints by their digests.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::Digest;
use assay_record::{Fingerprint, Manifest, ManifestFile};
use duckdb::params;
use serde::de::DeserializeOwned;

use super::json;
use crate::Store;
use crate::error::StoreError;
use crate::rows::ImportRow;

impl Store {
    /// A manifest, sealed with its digest.
    pub fn manifest(&self, digest: &Digest) -> Result<ManifestFile, StoreError> {
        let sql = "SELECT json FROM manifests WHERE digest = ?";
        let found = self.rows(sql, params![digest.to_string()], |row| json(row, 0))?;
        let manifest = found.into_iter().next();
        manifest
            .map(|manifest| ManifestFile {
                digest: *digest,
                manifest,
            })
            .ok_or_else(|| self.unknown("manifest", digest))
    }

    /// Several manifests: as one scan, since a scan reads all of them.
    pub fn manifests(
        &self,
        digests: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, Manifest>, StoreError> {
        self.documents("manifests", digests)
    }

    /// Several fingerprints, as one scan.
    pub fn fingerprints(
        &self,
        digests: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, Fingerprint>, StoreError> {
        self.documents("fingerprints", digests)
    }

    fn documents<T: DeserializeOwned>(
        &self,
        table: &'static str,
        digests: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, T>, StoreError> {
        if digests.is_empty() {
            return Ok(BTreeMap::new());
        }
        // Hexadecimal digits, whatever anybody named.
        let listed: Vec<String> = digests.iter().map(|digest| format!("'{digest}'")).collect();
        let sql = format!(
            "SELECT digest, json FROM {table} WHERE digest IN ({})",
            listed.join(", ")
        );
        let found: BTreeMap<Digest, T> = self
            .rows(&sql, [], |row| {
                Ok((row.get_ref(0)?.as_str()?.parse()?, json(row, 1)?))
            })?
            .into_iter()
            .collect();
        match digests.iter().find(|digest| !found.contains_key(*digest)) {
            Some(lost) => Err(self.unknown(table.trim_end_matches('s'), lost)),
            None => Ok(found),
        }
    }

    /// Every run that was imported, oldest first, with what it was read from.
    pub fn imports(&self) -> Result<Vec<ImportRow>, StoreError> {
        // In canonical JSON this can be nothing but the key: within text a quote would be escaped. Looking for it first
        // spares those that measured here.
        let sql = r#"SELECT r.run, json_extract_string(m.json, '$.suite.digest'), json_extract_string(m.json, '$.suite.source.imported')
                   FROM runs r JOIN manifests m ON m.digest = r.manifest
                   WHERE contains(m.json, '"source":{"imported":{') ORDER BY r.started, r.run"#;
        self.rows(sql, [], |row| {
            Ok(ImportRow {
                run: row.get::<_, String>(0)?.parse()?,
                digest: row.get::<_, String>(1)?.parse()?,
                origin: json(row, 2)?,
            })
        })
    }

    /// A fingerprint.
    pub fn fingerprint(&self, digest: &Digest) -> Result<Fingerprint, StoreError> {
        let sql = "SELECT json FROM fingerprints WHERE digest = ?";
        let found = self.rows(sql, params![digest.to_string()], |row| json(row, 0))?;
        let fingerprint = found.into_iter().next();
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
