//! Pure functions on numbers: summaries, intervals, tests.
//!
//! The statistics that Assay's measurement and verdicts stand on. The crate knows no benchmark, reads no file
//! and no clock; what goes in is slices of `f64`, what comes out is a value. Samples are times in any one unit
//! (nanoseconds elsewhere in Assay) unless a function says otherwise. Empty, non-finite or too short input gives
//! `None`, never a panic and never a NaN.
//!
//! Reading order: [`summary`] and [`interval`] describe one set of samples, [`warmup`] and [`stopping`] run
//! while a round is measured, [`ratio`] and [`levels`] compare two sides, [`equivalence`] turns an interval into a position
//! against a margin, [`planning`] says what would settle an open question, [`gate`] decides over a whole suite with
//! [`correction`], after [`common_shift`] asked whether the machine moved; [`changepoint`] looks at a series of runs over many nights.
//! [`counter`] reads counters such as those of energy.

pub mod autocorrelation;
pub mod changepoint;
pub mod common_shift;
pub mod correction;
pub mod counter;
pub mod equivalence;
pub mod gate;
pub mod interval;
pub mod levels;
pub mod permutation;
pub mod planning;
pub mod ratio;
pub mod stopping;
pub mod summary;
pub mod warmup;

mod sample;
mod student;
mod trimmed;

pub use autocorrelation::{effective_sample_size, lag_one};
pub use changepoint::{ChangePoint, change_points};
pub use common_shift::{CommonShift, Movement, movement};
pub use correction::{benjamini_hochberg, holm};
pub use counter::{Growth, growth};
pub use equivalence::{Position, position};
pub use gate::{Judged, Rules, confirm, expected_false_alarms, screen};
pub use interval::{Interval, geometric_mean_interval, mean_interval, median_interval};
pub use levels::{Levels, known_level, levels, ratio_of_runs, ratio_of_values, run_value};
pub use permutation::{least_p, mann_whitney_p, sign_flip_p};
pub use planning::{Noise, rounds_needed, runs_needed, value_sd};
pub use ratio::{RatioInterval, paired_log_ratio, ratio_across_runs};
pub use stopping::{AcrossRounds, Decision, StopReason, WithinRound};
pub use summary::{Summary, geometric_mean, median, quantile};
pub use warmup::steady_from;
