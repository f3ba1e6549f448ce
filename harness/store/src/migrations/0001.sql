-- The index over records, version 1. Civil times are BIGINT nanoseconds since 1970 in UTC; times of a
-- worker's clock are UBIGINT nanoseconds. Structured values that are never searched are JSON text.
-- No primary keys: one process writes, in one transaction per record, and looks first; indexes would
-- cost ingest more than they give. Keys are computed from names, so they are the same in every database.

CREATE TABLE manifests (
    digest VARCHAR NOT NULL,
    json VARCHAR NOT NULL           -- canonical form: its SHA-256 is the digest
);

CREATE TABLE fingerprints (
    digest VARCHAR NOT NULL,
    json VARCHAR NOT NULL           -- canonical form
);

CREATE TABLE runs (
    run_key BIGINT NOT NULL,        -- 63 bits of the SHA-256 of the run's id
    run VARCHAR NOT NULL,
    suite VARCHAR NOT NULL,
    manifest VARCHAR NOT NULL,
    started BIGINT NOT NULL,
    finished BIGINT,                -- NULL: partial
    status VARCHAR NOT NULL,
    machine VARCHAR NOT NULL,
    class VARCHAR NOT NULL,
    before_fingerprint VARCHAR NOT NULL,
    after_fingerprint VARCHAR,
    tool VARCHAR NOT NULL,
    commit_id VARCHAR,
    branch VARCHAR,
    dirty BOOLEAN NOT NULL,
    tags VARCHAR NOT NULL,          -- JSON list
    reproduces VARCHAR,
    monotonic_ns UBIGINT NOT NULL,
    timer_resolution_ns UBIGINT NOT NULL,
    workers INTEGER NOT NULL,       -- how many lines of each kind the record had
    blocks INTEGER NOT NULL,
    events INTEGER NOT NULL,
    head VARCHAR NOT NULL,          -- hash of the record's last line
    record VARCHAR NOT NULL,        -- where it lay; no content, and left out of comparisons
    record_bytes BIGINT NOT NULL
);

CREATE TABLE workers (
    run_key BIGINT NOT NULL,
    worker_no INTEGER NOT NULL,     -- order in the record
    arm VARCHAR NOT NULL,
    worker VARCHAR NOT NULL,
    hello VARCHAR NOT NULL
);

CREATE TABLE cases (
    run_key BIGINT NOT NULL,
    case_no INTEGER NOT NULL,       -- order in the manifest
    arm_no INTEGER NOT NULL,        -- order in the manifest
    series BIGINT NOT NULL,         -- 63 bits of the SHA-256 of what makes its series, but the metric
    case_id VARCHAR NOT NULL,
    arm VARCHAR NOT NULL,
    benchmark VARCHAR NOT NULL,
    workload VARCHAR NOT NULL,
    params VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    timing VARCHAR NOT NULL,
    definition VARCHAR NOT NULL,
    declared BOOLEAN NOT NULL,      -- whether any block came so far that its worker declared the next three
    work VARCHAR NOT NULL,
    deterministic BOOLEAN NOT NULL,
    metrics VARCHAR NOT NULL
);

CREATE TABLE results (
    run_key BIGINT NOT NULL,
    block INTEGER NOT NULL,         -- order in the record
    case_no INTEGER NOT NULL,
    arm_no INTEGER NOT NULL,
    round INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    started BIGINT NOT NULL,
    status VARCHAR NOT NULL,
    reason VARCHAR,
    counts BOOLEAN NOT NULL,        -- the last attempt of its round that is ok: only these make points of series
    device_uuid VARCHAR,
    samples INTEGER NOT NULL,
    warmup INTEGER NOT NULL,
    steady BOOLEAN NOT NULL,
    stop VARCHAR,
    verification VARCHAR,
    inputs VARCHAR,                 -- digest over input_digests
    input_digests VARCHAR,
    case_values VARCHAR NOT NULL,
    noise VARCHAR NOT NULL,
    log VARCHAR NOT NULL
);

CREATE TABLE samples (
    run_key BIGINT NOT NULL,
    block INTEGER NOT NULL,
    sample INTEGER NOT NULL,
    start_ns UBIGINT NOT NULL,
    iterations UBIGINT NOT NULL,
    host_ns UBIGINT NOT NULL,
    device_ns UBIGINT
);

CREATE TABLE sample_values (
    run_key BIGINT NOT NULL,
    block INTEGER NOT NULL,
    metric VARCHAR NOT NULL,
    sample INTEGER NOT NULL,
    number DOUBLE NOT NULL
);

-- Derived from the tables above at ingest, so that histories are one scan of a small table. Only `number` is new:
-- the median over the samples after warm-up, or the round's own value.
CREATE TABLE round_values (
    run_key BIGINT NOT NULL,
    block INTEGER NOT NULL,
    series BIGINT NOT NULL,
    metric VARCHAR NOT NULL,
    round INTEGER NOT NULL,
    counts BOOLEAN NOT NULL,
    number DOUBLE NOT NULL
);

CREATE TABLE telemetry (
    run_key BIGINT NOT NULL,
    block INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    unit VARCHAR NOT NULL,
    reading INTEGER NOT NULL,
    at_ns UBIGINT NOT NULL,
    number DOUBLE NOT NULL
);

CREATE TABLE events (
    run_key BIGINT NOT NULL,
    event INTEGER NOT NULL,
    at_ns BIGINT NOT NULL,
    kind VARCHAR NOT NULL,
    message VARCHAR NOT NULL,
    case_id VARCHAR
);

-- A copy of the reviewed marks file, for queries: never the only place where a mark lies.
CREATE TABLE marks (
    case_id VARCHAR NOT NULL,
    run VARCHAR,
    kind VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    until BIGINT
);
