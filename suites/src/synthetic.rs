//! Synthetic data: generators, their quality, and their privacy.
//!
//! Row `i` of whatever is generated depends on seed and `i` alone ([`random`]), so a data set has the same bits for
//! any number of threads, processes or shards. [`privacy`] holds the mechanisms of differential privacy, with
//! one accountant through which all of a budget is spent.

pub mod declared;
pub mod generators;
pub mod items;
#[cfg(test)]
mod odd;
pub mod privacy;
pub mod progress;
pub mod quality;
pub mod random;
pub mod table;
pub mod workload;
