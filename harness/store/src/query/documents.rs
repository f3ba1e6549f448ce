//! Manifests and fingerprints by their digests.

use assay_protocol::Digest;
use assay_record::{Fingerprint, ManifestFile};
use duckdb::params;

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
