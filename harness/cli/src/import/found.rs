//! What a file of another tool says, in our words: what every importer reads its format into.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use assay_protocol::{DeviceInfo, DeviceSelector, Metric, Params, TimingMode, Work};
use assay_record::{Section, Timestamp};

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What the benchmarks of the file are called together: a name of a suite.
    pub suite: String,
    /// What its machine may be called; absent where the file does not tell.
    pub machine: Option<String>,
    /// Version of the tool; empty where it does not say.
    pub version: String,
    /// The command line that measured, where it is known.
    pub command: Vec<String>,
    /// Devices that it saw.
    pub devices: Vec<DeviceInfo>,
    /// What it says of hardware.
    pub hardware: Section,
    /// What it says of software.
    pub software: Section,
    /// What it says of settings.
    pub settings: Section,
    /// Where it belongs in the order of runs; absent where the file does not tell.
    pub date: Option<Timestamp>,
    /// Commit of the measured project, in hexadecimal.
    pub commit: Option<String>,
    /// The environment in which all of it was measured, where the tool tells such apart.
    pub environment: Option<Environment>,
    /// What was measured.
    pub measurements: Vec<Measurement>,
    /// What is to be known of them beside the usual: clauses without a full stop.
    pub caveats: Vec<String>,
}

/// An environment: results of one are not compared with those of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// Its name, as one of an arm.
    pub name: String,
    /// Variables that were set in it.
    pub env: BTreeMap<String, String>,
}

/// One case, measured or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The benchmark as the tool calls it.
    pub benchmark: String,
    /// Which version of it: results of two are no one series.
    pub definition: u32,
    /// Where it stands on its axes.
    pub point: Params,
    /// Where it ran.
    pub device: DeviceSelector,
    /// What was timed.
    pub timing: TimingMode,
    /// Work of one iteration, as far as it is known.
    pub work: Work,
    /// What else the tool says of it, by name.
    pub facts: BTreeMap<String, String>,
    /// When it began, where that is known.
    pub started: Option<Timestamp>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Every sample.
    Samples(Columns),
    /// Iterations that were timed as one.
    Batch(Total),
    /// What samples took together that were not kept: how they differ is not known.
    Sum(Total),
    /// What is no time, and of which there is one.
    Value(Metric, f64),
    /// It was not measured, and that is nobody's fault.
    Skipped(String),
    /// Something went wrong.
    Failed(String),
}

/// Samples in the order they were taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// Iterations of each.
    pub iterations: u64,
    /// Time of all iterations of each, in nanoseconds, by the device's clock where it has one.
    pub ns: Vec<u64>,
    /// Further metrics, with a value of each.
    pub metrics: Vec<(Metric, Vec<f64>)>,
}

/// The time of many iterations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub iterations: u64,
    /// Their time in nanoseconds, by the device's clock where it has one.
    pub ns: u64,
    /// The same by the host's clock, where that is known too.
    pub host_ns: Option<u64>,
}

/// Whole nanoseconds of a time in seconds, which is positive and finite.
pub fn nanoseconds(seconds: f64) -> Result<u64> {
    ensure!(
        seconds.is_finite() && seconds >= 0.0,
        "{seconds} s is no time: expected a positive number"
    );
    let ns = (seconds * 1e9).round();
    ensure!(
        ns >= 1.0 && ns < i64::MAX as f64,
        "{seconds} s is no time: expected from 1 ns to 292 years"
    );
    Ok(ns as u64)
}

/// Text that becomes part of names and pages: not too long, without control characters.
pub fn plain<'a>(field: &str, text: &'a str, most: usize) -> Result<&'a str> {
    ensure!(
        text.len() <= most && !text.chars().any(char::is_control),
        "field `{field}`: {:?}...: at most {most} bytes without control characters",
        text.chars().take(60).collect::<String>()
    );
    Ok(text)
}

/// A name as suites and benchmarks have it, of any text; `otherwise` where nothing is left.
pub fn slug(text: &str, otherwise: &str) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() || "-_.".contains(c) => c,
        _ => '-',
    };
    let mut name: String = text.chars().take(100).map(plain).collect();
    while name.contains("..") || name.contains("--") {
        name = name.replace("..", ".").replace("--", "-");
    }
    match name.trim_matches(['.', '-']) {
        "" => otherwise.into(),
        name => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use assay_record::validate;
    use proptest::prelude::*;

    use super::{nanoseconds, plain, slug};

    #[test]
    fn times_are_whole_nanoseconds_and_possible() {
        assert_eq!(nanoseconds(0.001_003_400_5).unwrap(), 1_003_401);
        assert_eq!(nanoseconds(0.6e-9).unwrap(), 1);
        for bad in [
            0.0,
            -1.0,
            0.4e-9,
            f64::NAN,
            f64::INFINITY,
            -f64::INFINITY,
            1e300,
        ] {
            assert!(
                nanoseconds(bad)
                    .unwrap_err()
                    .to_string()
                    .contains("no time")
            );
        }
    }

    #[test]
    fn names_come_of_any_text() {
        assert_eq!(slug("Copy Sweep<float, 4>", "x"), "copy-sweep-float-4");
        assert_eq!(slug("nvbench.example.axes", "x"), "nvbench.example.axes");
        assert_eq!(slug("../..", "x"), "x");
        assert_eq!(slug("é", "x"), "x");
        assert!(plain("name", "a\u{1b}[2J", 10).is_err() && plain("name", "aaa", 2).is_err());
    }

    proptest! {
        #[test]
        fn every_slug_is_a_name(text in ".*") {
            prop_assert!(validate::name("n", &slug(&text, "x"), "").is_ok());
        }
    }
}
