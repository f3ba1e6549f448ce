-- Version 2: what a run is for, what its timer costs, and which of its rounds were disturbed. The defaults are what
-- records of version 1 say of themselves, so that a migrated database equals a rebuilt one.

ALTER TABLE runs ADD COLUMN purpose VARCHAR DEFAULT 'measurement';
ALTER TABLE runs ADD COLUMN confirms VARCHAR;           -- the run that a confirmation confirms
ALTER TABLE runs ADD COLUMN timer_overhead_ns UBIGINT;  -- NULL: unknown
ALTER TABLE results ADD COLUMN disturbed VARCHAR DEFAULT '[]';  -- JSON list of reasons in words

-- Marks are read from their reviewed file; the copy was never filled, since nobody asked for it.
DROP TABLE marks;
