-- Version 4: the cases of a manifest are kept apart from the rest of it, and once for all manifests that have the same. A
-- statement that looks for one manifest reads all of this table, and a manifest of many cases is mostly cases.

CREATE TABLE case_lists (
    digest VARCHAR NOT NULL,
    json VARCHAR NOT NULL           -- canonical form of the list: its SHA-256 is the digest
);

CREATE TABLE manifest_frames (
    digest VARCHAR NOT NULL,        -- of the whole manifest
    json VARCHAR NOT NULL,          -- canonical form of the manifest with no cases in it
    cases VARCHAR NOT NULL          -- digest of its list of cases
);

-- What an imported run was read from; NULL of one that was measured here. It is looked up for each file that is imported.
ALTER TABLE runs ADD COLUMN imported_format VARCHAR;    -- the tool that wrote the file
ALTER TABLE runs ADD COLUMN imported_file VARCHAR;      -- its name
ALTER TABLE runs ADD COLUMN imported_digest VARCHAR;    -- SHA-256 of it
