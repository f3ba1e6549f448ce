//! What made a checkpoint: what a training that goes on from it has to have in common with the one that wrote it.
//!
//! A checkpoint keeps it as JSON in its metadata, so that one that does not fit is refused for what was asked for, and not for
//! the first tensor that happens to be another. Heads, places or norms even leave all tensors as they are, and make another model
//! of them.

use assay_protocol::{CaseSpec, Digest, ParamValue, Params};
use serde::{Deserialize, Serialize};

/// By what name a checkpoint has it.
pub const ORIGIN: &str = "training";
/// The file of parameters that are not trained, by its digest.
const BASE: &str = "base";
/// Parameters that make a model,
const OF_MODEL: [&str; 12] = [
    "layers",
    "width",
    "heads",
    "position",
    "norm",
    "activation",
    "experts",
    "chosen",
    "points",
    "code",
    "stages",
    "blocks",
];
/// and others with which a training is another one.
const OF_TRAINING: [&str; 4] = ["optimizer", "rank", "base_stored", BASE];
/// Parameters that may change from one training to the next, unless that changes tensors.
const OF_TENSORS: [&str; 4] = ["length", "stored", "target", "vocabulary"];

/// The workload of a training, and those of its parameters that another one has to share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    workload: String,
    params: Params,
}

impl Origin {
    /// That of a case, before it has a base.
    pub fn of(case: &CaseSpec) -> Self {
        let kept = OF_MODEL.iter().chain(&OF_TRAINING).chain(&OF_TENSORS);
        // The path of a base says nothing.
        let kept = kept.filter(|name| **name != BASE);
        let kept =
            kept.filter_map(|name| Some(((*name).to_owned(), case.params.get(*name)?.clone())));
        Self {
            workload: case.workload.clone(),
            params: kept.collect(),
        }
    }

    /// Has a base, from now on.
    pub fn set_base(&mut self, digest: &Digest) {
        let digest = ParamValue::Text(digest.to_string());
        self.params.insert(BASE.into(), digest);
    }

    /// What it is written as.
    pub fn words(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether a training of this origin goes on from one of another.
    ///
    /// # Errors
    /// If it would be another training: says in what they differ.
    pub fn check(&self, written: &Self) -> Result<(), String> {
        if self.workload != written.workload {
            return Err(format!(
                "the checkpoint was made by `{}`, this run is of `{}`",
                written.workload, self.workload
            ));
        }
        let names = [&OF_TRAINING[..], &OF_MODEL].concat();
        self.differences(written, &names).map_or(Ok(()), Err)
    }

    /// Whether its model is one of another origin, with adapters or without.
    ///
    /// # Errors
    /// If it is another: says in what they differ.
    pub fn check_model(&self, written: &Self) -> Result<(), String> {
        self.differences(written, &OF_MODEL).map_or(Ok(()), Err)
    }

    /// Why tensors of an origin are others than of this one, where parameters tell.
    pub fn of_tensors(&self, written: &Self) -> Option<String> {
        self.differences(written, &OF_TENSORS)
    }

    /// In what both differ, if they do. What is not asked for is taken as it was written.
    fn differences(&self, written: &Self, names: &[&str]) -> Option<String> {
        let differing: Vec<String> = names
            .iter()
            .filter_map(|name| {
                let own = self.params.get(*name)?;
                let found = written.params.get(*name);
                let is_known = found.is_some() || *name == BASE;
                let is_same = found.is_some_and(|found| is_same(own, found));
                let found = found.map_or("none".into(), ToString::to_string);
                (is_known && !is_same).then(|| format!("`{name}` {found}, this run uses {own}"))
            })
            .collect();
        let words = differing.join("; ");
        (!words.is_empty()).then(|| format!("the checkpoint was made with {words}"))
    }
}

/// Canonical JSON writes 2.0 as 2.
fn is_same(a: &ParamValue, b: &ParamValue) -> bool {
    let [x, y] = [a, b].map(ParamValue::as_f64);
    match (x, y) {
        (Some(x), Some(y)) => x.to_bits() == y.to_bits(),
        _ => a == b,
    }
}
