//! Fingerprints, findings, telemetry and explanations of made-up machines.

#![allow(clippy::float_cmp)] // values that pass through must not change

mod containers;
mod diff;
mod doctor;
mod fake;
mod gpu;
mod hardware;
mod hostile;
mod telemetry;
mod this_machine;
mod tree;
