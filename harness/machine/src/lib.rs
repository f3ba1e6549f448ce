//! This machine now: fingerprint probes and telemetry.
