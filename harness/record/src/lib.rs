//! Formats on disk: manifest, fingerprint, record file, canonical hashing.
