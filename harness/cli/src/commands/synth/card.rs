//! Data cards: what the files beside them are. Written with the file; scores come on it when they are taken.
//!
//! Every card says what made the file ([`Head`]): generator, parameters, seed, and what of privacy is promised, in words where nothing is.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_protocol::Digest;
use assay_suites::synthetic::privacy::accountant::Entry;
use assay_suites::synthetic::quality::figures::Quality;
use assay_suites::synthetic::table::{MISSING, Table, Values};
use serde::Serialize;
use serde_json::{Map, Value};

use super::files;

/// Version of a card. Those of 1 have `null` in place of a privacy that promises nothing, and no parameters.
const SCHEMA: u32 = 2;
/// Longest card that is read, in bytes: the ledger of a private model of a thousand columns has a tenth of it.
const MAX_CARD: u64 = 1 << 24;
/// What scores of a private model's rows are worth: said on the card, and when they are put there.
const OUTSIDE: &str = "quality was measured on the table itself: the guarantee does not cover these scores, so whoever publishes \
     them tells more of it than the budget paid for";

/// What was made of what is declared, or of a recipe, and nothing else.
pub const LEARNED_NOTHING: Privacy<'static> = Privacy::None {
    meaning: "nothing was learned of any data: there is nobody whose data could be told",
};
/// What was learned without noise.
pub const LEARNED_ROWS: Privacy<'static> = Privacy::None {
    meaning: "learned of real rows without differential privacy: ranges, texts of categories and shares are theirs, and nothing bounds \
     what is told of any one of them; `assay synth score` says how close rows come to real ones",
};
/// What chains of a corpus repeat.
pub const LEARNED_TEXTS: Privacy<'static> = Privacy::None {
    meaning: "learned of texts without differential privacy: runs of their words, and words of a single text, come out as they are",
};
/// What a language model repeats.
pub const LEARNED_CHECKPOINT: Privacy<'static> = Privacy::None {
    meaning: "by a model that was trained without differential privacy: what it was trained on may come out",
};

/// What every card says.
#[derive(Debug, Serialize)]
pub struct Head<'a> {
    schema: u32,
    file: String,
    digest: Digest,
    seed: u64,
    generator: &'static str,
    /// Of the generator; empty where it has none.
    parameters: Value,
    privacy: Privacy<'a>,
}

impl<'a> Head<'a> {
    /// Of a file with this digest.
    pub fn new(
        of: &Path,
        digest: Digest,
        seed: u64,
        generator: &'static str,
        parameters: Value,
        privacy: Privacy<'a>,
    ) -> Self {
        Self {
            schema: SCHEMA,
            file: files::name(of),
            digest,
            seed,
            generator,
            parameters,
            privacy,
        }
    }
}

/// What is promised to those whose data were learned.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "guarantee", rename_all = "snake_case")]
pub enum Privacy<'a> {
    /// Nothing.
    None {
        /// What that comes to.
        meaning: &'static str,
    },
    /// Differential privacy.
    Differential {
        /// Which tables are hardly told apart.
        neighbours: &'static str,
        epsilon: f64,
        delta: f64,
        ledger: &'a [Entry],
        caveats: &'a [String],
    },
}

/// A column, as a card has it.
#[derive(Debug, Serialize)]
pub struct CardColumn {
    name: String,
    holds: &'static str,
    /// The least and the largest number of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<[f64; 2]>,
    /// How many different texts the file has, of categories.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<usize>,
    /// How many values are missing.
    missing: usize,
    #[serde(skip)]
    known: BTreeSet<String>,
}

/// The columns of a file, as its card has them: what is written is shown to it, batch by batch.
#[derive(Debug, Default)]
pub struct CardColumns(Vec<CardColumn>);

impl CardColumns {
    /// Takes in some rows; all batches have the same columns.
    pub fn see(&mut self, rows: &Table) {
        if self.0.is_empty() {
            self.0 = rows.columns.iter().map(CardColumn::of).collect();
        }
        for (card, column) in self.0.iter_mut().zip(&rows.columns) {
            card.see(&column.values);
        }
    }

    /// Of all that was seen.
    pub fn finish(self) -> Vec<CardColumn> {
        self.0
    }
}

impl CardColumn {
    fn of(column: &assay_suites::synthetic::table::Column) -> Self {
        Self {
            name: column.name.clone(),
            holds: column.values.kind(),
            range: None,
            labels: None,
            missing: 0,
            known: BTreeSet::new(),
        }
    }

    fn see(&mut self, values: &Values) {
        self.missing += values.missing();
        match values {
            Values::Number { values, .. } => {
                for x in values.iter().filter(|x| !x.is_nan()) {
                    let [low, high] = self.range.unwrap_or([*x, *x]);
                    self.range = Some([low.min(*x), high.max(*x)]);
                }
            }
            Values::Category { codes, labels } => {
                let mut occurs = vec![false; labels.len()];
                for code in codes.iter().filter(|code| **code != MISSING) {
                    occurs[*code as usize] = true;
                }
                for (label, _) in labels.iter().zip(&occurs).filter(|(_, occurs)| **occurs) {
                    if !self.known.contains(label) {
                        self.known.insert(label.clone());
                    }
                }
                self.labels = Some(self.known.len());
            }
            Values::Key { .. } => {}
        }
    }
}

/// Where the data card of a file lies: beside it, by its whole name, so that files of two forms have two.
fn card_path(of: &Path) -> PathBuf {
    let mut name: OsString = of.file_name().unwrap_or_default().into();
    name.push(".card.json");
    of.with_file_name(name)
}

/// Writes the data card of a file beside it.
pub fn write(of: &Path, card: &impl Serialize) -> Result<()> {
    files::write(&card_path(of), &serde_json::to_vec_pretty(card)?)
}

/// A card that was read again, of a file that is still what it says.
pub struct Card {
    path: PathBuf,
    members: Map<String, Value>,
}

/// The card beside a file.
///
/// # Errors
/// If there is none, or if it is of another file.
pub fn of_file(file: &Path) -> Result<Card> {
    let path = card_path(file);
    let in_path = || path.display().to_string();
    let size = std::fs::metadata(&path)
        .with_context(|| format!("{}: `assay synth sample` writes one", path.display()))?
        .len();
    ensure!(
        size <= MAX_CARD,
        "{}: longer than a card can be",
        path.display()
    );
    let members: Map<String, Value> =
        serde_json::from_slice(&std::fs::read(&path).with_context(in_path)?)
            .with_context(|| format!("{}: no data card", path.display()))?;
    let schema = members.get("schema").and_then(Value::as_u64);
    ensure!(
        schema.is_some_and(|schema| (1..=SCHEMA.into()).contains(&schema)),
        "{}: no data card of a schema up to {SCHEMA}; use a newer assay",
        path.display()
    );
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let digest = Value::String(Digest::of(bytes).to_string());
    ensure!(
        members.get("digest") == Some(&digest),
        "{}: it is of another file, or the rows were changed since: {} has digest {digest}",
        path.display(),
        file.display()
    );
    Ok(Card { path, members })
}

impl Card {
    /// Puts scores on it, in the place of those that are there. That of a private model does not tell how many rows were learned from.
    pub fn add_quality(mut self, quality: &Quality) -> Result<()> {
        let mut quality = serde_json::to_value(quality)?;
        if let Some(Value::Object(privacy)) = self.members.get_mut("privacy")
            && privacy.contains_key("epsilon")
        {
            crate::note!("warning: {OUTSIDE}");
            let caveats = privacy
                .entry("caveats")
                .or_insert_with(|| Value::Array(vec![]));
            if let Value::Array(caveats) = caveats
                && !caveats.contains(&OUTSIDE.into())
            {
                caveats.push(OUTSIDE.into());
            }
            if let Value::Object(quality) = &mut quality {
                quality.remove("real_rows");
            }
        }
        self.members.insert("quality".into(), quality);
        files::write(&self.path, &serde_json::to_vec_pretty(&self.members)?)
    }
}
