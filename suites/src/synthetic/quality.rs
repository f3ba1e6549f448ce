//! How much synthetic rows are like real ones, how useful they are, and what they give away.
//!
//! Scores lie between 0 and 1, 1 being best, where nothing else is said. Those that `SDMetrics` has too are computed by its
//! formulas (version 0.32). Each stands beside two floors: a bootstrap of the real rows, which says what as many rows of the same
//! distribution would score, and independent columns, which says what a generator scores that learned no dependency.

pub mod columns;
pub mod copies;
pub mod detection;
pub mod features;
pub mod marginals;
pub mod pairs;
pub mod profile;
pub mod report;
pub mod utility;
