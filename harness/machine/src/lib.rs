//! This machine now: what it is ([`fingerprint`]), what it does while something is measured
//! ([`telemetry`], [`noise`]), whether it can give honest numbers ([`doctor`], [`timer`]), and how
//! two machines differ, in words ([`diff`]).
//!
//! Nothing here changes a setting, starts a process, or fails as a whole: each property is read
//! alone, and one that cannot be read says why. The formats of what is read belong to
//! `assay-record`; whether a difference matters for a verdict is decided elsewhere.

mod parts;
mod probe;
mod reading;

pub mod diff;
pub mod doctor;
pub mod gpu;
pub mod noise;
pub mod roots;
pub mod telemetry;
pub mod timer;

pub use gpu::{Gpus, open_nvml};
pub use noise::NoiseCounters;
pub use probe::{fingerprint, probe};
pub use roots::Roots;
