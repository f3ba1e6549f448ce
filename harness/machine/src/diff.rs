//! How two fingerprints differ, in sentences, the differences that most often change speed first.
//!
//! The words and the rank of each field stand in one table; a field that is not in it is named by
//! its dotted name and comes last. Volatile state is only mentioned where it moved a lot; what others
//! did to the machine has its rank, and the rest comes after everything that was set or installed.
//! A GPU that is there on one side only is one difference, however many fields it has.
//! What manifests and records say besides is ranked among them ([`Fact`]).

mod devices;
mod words;

use assay_record::{Field, Fingerprint, Scalar};
use serde::{Deserialize, Serialize};

use words::Phrase;

/// One difference, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// `hardware`, `software`, `settings` or `volatile`.
    pub part: String,
    /// Name of the field.
    pub name: String,
    /// A sentence: "The CPU governor was powersave and is now performance."
    pub text: String,
    /// The value before, with its unit; absent where there was none.
    pub before: Option<String>,
    /// The value now.
    pub after: Option<String>,
    /// How much it usually matters for speed: 0 the most.
    pub rank: u32,
    /// Whether it moves by itself, and so is a hint and no change.
    pub is_volatile: bool,
}

/// Something that differs and that no fingerprint has: what the manifest or the record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its dotted name, as in the table of words: `arm.main.image`.
    pub name: String,
    /// What it was; absent where there was nothing.
    pub before: Option<String>,
    /// What it is now.
    pub after: Option<String>,
}

/// All differences that matter, the gravest first.
pub fn explain(before: &Fingerprint, after: &Fingerprint) -> Vec<Explanation> {
    explain_with(before, after, &[])
}

/// The same with what differs besides, each at its rank.
pub fn explain_with(before: &Fingerprint, after: &Fingerprint, facts: &[Fact]) -> Vec<Explanation> {
    let lone = devices::on_one_side(before, after);
    let fixed = before.differences(after).into_iter();
    let fixed = fixed.filter(|difference| !lone.iter().any(|gpu| gpu.has(difference.name)));
    let fixed = fixed.map(|difference| {
        let values = (difference.before, difference.after);
        explanation(difference.part, difference.name, values)
    });
    let fixed = fixed.chain(lone.iter().map(devices::Lone::explanation));
    let besides = facts.iter().map(|fact| {
        let field = |value: &Option<String>| value.as_ref().map(Field::text);
        let (before, after) = (field(&fact.before), field(&fact.after));
        explanation("run", &fact.name, (before.as_ref(), after.as_ref()))
    });
    let mut all: Vec<Explanation> = fixed.chain(besides).chain(moved(before, after)).collect();
    let place = |one: &Explanation| {
        let is_hint = one.is_volatile && !words::is_load(&one.name);
        (is_hint, one.rank)
    };
    all.sort_by(|a, b| (place(a), &a.name).cmp(&(place(b), &b.name)));
    all
}

/// A difference of a field, put into words and ranked.
fn explanation(
    part: &str,
    name: &str,
    (before, after): (Option<&Field>, Option<&Field>),
) -> Explanation {
    let phrase = Phrase::of(name);
    let shown = |field: Option<&Field>| Some(phrase.value(field?.value()?));
    Explanation {
        part: part.to_owned(),
        name: name.to_owned(),
        text: sentence(&phrase, before, after),
        before: shown(before),
        after: shown(after),
        rank: phrase.rank,
        is_volatile: part == "volatile",
    }
}

fn sentence(phrase: &Phrase, before: Option<&Field>, after: Option<&Field>) -> String {
    let subject = &phrase.subject;
    let shown = |value: &Scalar| phrase.value(value);
    match (before, after) {
        (Some(Field::Value(before)), Some(Field::Value(after))) => {
            format!(
                "{subject} was {} and is now {}.",
                shown(before),
                shown(after)
            )
        }
        (None | Some(Field::Unsupported), Some(Field::Value(after))) => {
            format!("{subject} was absent before and is now {}.", shown(after))
        }
        (Some(Field::Value(before)), None | Some(Field::Unsupported)) => {
            format!("{subject} was {} and is now absent.", shown(before))
        }
        (before, after) => format!(
            "{subject} {} before and {} now.",
            reading(phrase, before),
            reading(phrase, after)
        ),
    }
}

/// What can be said of a field where at least one side could not be read.
fn reading(phrase: &Phrase, field: Option<&Field>) -> String {
    match field {
        Some(Field::Value(value)) => format!("was read as {}", phrase.value(value)),
        Some(Field::Unsupported) => "was not supported".to_owned(),
        None => "was not recorded".to_owned(),
        Some(Field::Denied) => "could not be read (not permitted)".to_owned(),
        Some(Field::Error(error)) => format!("could not be read ({error})"),
    }
}

/// By how much a volatile reading must move to be mentioned: its ending, and the difference.
const MOVES: &[(&str, f64)] = &[
    ("load.1min", 1.0),
    ("cpu.mhz_mean", 200.0),
    ("cpu.steal_percent_since_boot", 1.0),
    ("swap.used_mib", 256.0),
    ("temperature_c", 10.0),
    ("power_watts", 50.0),
    ("sm_mhz", 100.0),
    ("utilization_percent", 10.0),
    ("processes", 1.0),
    ("ecc_errors.uncorrected", 1.0),
    ("pcie.width", 1.0),
];

fn moved(before: &Fingerprint, after: &Fingerprint) -> Vec<Explanation> {
    let mut moved: Vec<Explanation> = after
        .volatile
        .iter()
        .filter_map(|(name, now)| {
            let then = before.volatile.get(name)?;
            let is_move = is_notable(name, number(then)?, number(now)?);
            is_move.then(|| explanation("volatile", name, (Some(then), Some(now))))
        })
        .collect();
    moved.extend(rebooted(before, after));
    moved
}

fn is_notable(name: &str, then: f64, now: f64) -> bool {
    let threshold = MOVES
        .iter()
        .find(|(ending, _)| name.ends_with(ending))
        .map(|(_, least)| *least);
    let threshold = threshold.or_else(|| name.starts_with("temperature.").then_some(10.0));
    threshold.is_some_and(|least| (now - then).abs() >= least)
}

fn rebooted(before: &Fingerprint, after: &Fingerprint) -> Option<Explanation> {
    let same_machine = before.hardware.get("machine.id") == after.hardware.get("machine.id");
    let boot = |fingerprint: &Fingerprint| {
        fingerprint
            .volatile
            .get("boot.id")
            .and_then(Field::value)
            .cloned()
    };
    (same_machine && boot(before)? != boot(after)?).then(|| Explanation {
        part: "volatile".to_owned(),
        name: "boot.id".to_owned(),
        text: "The machine was booted again in between.".to_owned(),
        before: None,
        after: None,
        rank: 0,
        is_volatile: true,
    })
}

fn number(field: &Field) -> Option<f64> {
    match field.value()? {
        Scalar::Int(value) => Some(*value as f64),
        Scalar::Float(value) => Some(*value),
        Scalar::Bool(_) | Scalar::Text(_) => None,
    }
}
