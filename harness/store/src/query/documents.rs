//! Manifests and fingerprints by their digests.

use assay_protocol::Digest;
use assay_record::{Fingerprint, ManifestFile, RunId};
use duckdb::params;

use super::json;
use crate::Store;
use crate::error::StoreError;

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

    /// The runs whose suite has this digest: those of one suite's text, or the import of one file. Oldest first.
    pub fn runs_of_suite(&self, digest: &Digest) -> Result<Vec<RunId>, StoreError> {
        // Canonical JSON: keys in order, no blanks; within text a quote would be escaped.
        let part = format!(r#""suite":{{"digest":"{digest}""#);
        let sql = "SELECT r.run FROM runs r JOIN manifests m ON m.digest = r.manifest
                   WHERE contains(m.json, ?) ORDER BY r.started, r.run";
        self.rows(sql, params![part], |row| {
            Ok(row.get::<_, String>(0)?.parse()?)
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
