//! Whether this machine can give honest numbers, judged from its fingerprint and its clock.
//!
//! Each rule looks at one topic and says what is so, what that does to numbers, and which command
//! would change it. Nothing here changes anything, and nothing here reads the machine: the rules
//! are pure functions of what was read. A new rule is a function and a line in `RULES`.

mod clocks;
mod gpu;
mod memory;
mod security;
mod sharing;

use assay_record::{Field, Fingerprint, Scalar, Section};
use serde::{Deserialize, Serialize};

use crate::timer::TimerReport;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing; does little to numbers, or cannot be helped.
    Note,
    /// Makes numbers noisier or slower.
    Warning,
    /// Numbers taken like this mislead.
    Bad,
}

/// What the doctor has to say on one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The topic, in a word or two: `governor`, `GPU 0 power limit`.
    pub topic: String,
    /// How much it matters.
    pub level: Level,
    /// What is so, with its value.
    pub what: String,
    /// What that does to numbers.
    pub why: String,
    /// The command that changes it, or why there is none. Empty where all is well.
    pub fix: String,
}

const RULES: &[fn(&View<'_>) -> Vec<Finding>] = &[
    clocks::governor,
    clocks::turbo,
    clocks::power_source,
    clocks::thermal,
    clocks::clock_source,
    clocks::timer,
    sharing::load,
    sharing::virtualization,
    sharing::steal,
    sharing::quota,
    sharing::smt,
    sharing::isolation,
    memory::swap,
    memory::huge_pages,
    memory::numa,
    security::mitigations,
    security::counters,
    gpu::presence,
    gpu::devices,
];

/// All findings, the gravest first.
pub fn examine(fingerprint: &Fingerprint, timer: &TimerReport) -> Vec<Finding> {
    let view = View { fingerprint, timer };
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&view)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

impl Finding {
    fn new(
        topic: impl Into<String>,
        level: Level,
        what: impl Into<String>,
        why: &str,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            topic: topic.into(),
            level,
            what: what.into(),
            why: why.to_owned(),
            fix: fix.into(),
        }
    }

    fn good(topic: impl Into<String>, what: impl Into<String>, why: &str) -> Self {
        Self::new(topic, Level::Good, what, why, "")
    }
}

/// A fingerprint as the rules ask it.
struct View<'a> {
    fingerprint: &'a Fingerprint,
    timer: &'a TimerReport,
}

impl View<'_> {
    fn hardware(&self, name: &str) -> Option<&Scalar> {
        value(&self.fingerprint.hardware, name)
    }

    fn setting(&self, name: &str) -> Option<&Scalar> {
        value(&self.fingerprint.settings, name)
    }

    fn volatile(&self, name: &str) -> Option<&Scalar> {
        value(&self.fingerprint.volatile, name)
    }

    /// How many CPUs are there to work on.
    fn threads(&self) -> f64 {
        number(self.hardware("cpu.threads")).unwrap_or(1.0).max(1.0)
    }
}

fn value<'a>(section: &'a Section, name: &str) -> Option<&'a Scalar> {
    section.get(name).and_then(Field::value)
}

/// A number, also one that is kept as text because it is wide.
fn number(value: Option<&Scalar>) -> Option<f64> {
    match value? {
        Scalar::Int(value) => Some(*value as f64),
        Scalar::Float(value) => Some(*value),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Bool(_) => None,
    }
}

fn text(value: Option<&Scalar>) -> Option<&str> {
    match value? {
        Scalar::Text(text) => Some(text),
        _ => None,
    }
}

fn flag(value: Option<&Scalar>) -> Option<bool> {
    match value? {
        Scalar::Bool(flag) => Some(*flag),
        _ => None,
    }
}
