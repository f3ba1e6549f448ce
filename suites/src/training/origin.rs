//! What made a checkpoint: what a training that goes on from it has to have in common with the one that wrote it.
//!
//! A checkpoint keeps it as JSON in its metadata: seed, digests of the data, and all parameters but those that only say who trains, how long,
//! and what is done with the result. Whatever is of the model or of the data has to be the same, and one that is not is refused for what was
//! asked for, and not for the first tensor that happens to be another: heads, places or norms even leave all tensors as they are, and make
//! another model of them. How parameters follow their gradients may change on the way, as schedules do; that is told. A parameter that
//! nobody put into one of the lists below has to be the same.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::{CaseSpec, Digest, ParamValue, Params, U64};
use serde::{Deserialize, Serialize};

/// By what name a checkpoint has it.
pub const ORIGIN: &str = "training";
/// The file of parameters that are not trained, by its digest.
const BASE: &str = "base";
/// Parameters of which the bits of a training do not depend: who trains, how long, and what is done with the result.
const FREE: [&str; 11] = [
    "threads",
    "ranks",
    "peer",
    "recompute",
    "stop",
    "save",
    "save_every",
    "resume",
    "quality",
    "accuracy",
    "held_out_quality",
];
/// Files, which may lie elsewhere: their contents have digests.
const FILES: [&str; 7] = [
    "text",
    "tokenizer",
    "table",
    "images",
    "labels",
    "fluxes",
    BASE,
];
/// Of what data are made, or where in a file they are: that they are others, their digests say; this says why.
const OF_DATA: [&str; 7] = [
    "corpus", "column", "rows", "pictures", "label", "spectra", "redshift",
];
/// How parameters follow their gradients, which may change on the way.
const OF_RECIPE: [&str; 11] = [
    "rate",
    "decay",
    "clip",
    "adaptive_clip",
    "centralise",
    "curvature_every",
    "schedule",
    "steps",
    "warmup",
    "stored",
    "vocabulary",
];
/// Those of them that may change unless that changes tensors.
const OF_TENSORS: [&str; 2] = ["stored", "vocabulary"];
/// Parameters that make a language model, whatever else is trained beside it.
const OF_MODEL: [&str; 9] = [
    "layers",
    "width",
    "heads",
    "position",
    "norm",
    "activation",
    "experts",
    "chosen",
    "capacity",
];

/// A training, by all that its losses depend on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    workload: String,
    seed: U64,
    params: Params,
    inputs: BTreeMap<String, Digest>,
}

impl Origin {
    /// That of a case, before it has data or a base.
    pub fn of(case: &CaseSpec) -> Self {
        let is_kept =
            |name: &String| !FREE.contains(&name.as_str()) && !FILES.contains(&name.as_str());
        let mut params = case.params.clone();
        params.retain(|name, _| is_kept(name));
        Self {
            workload: case.workload.clone(),
            seed: case.seed,
            params,
            inputs: BTreeMap::new(),
        }
    }

    /// Has a base, from now on.
    pub fn set_base(&mut self, digest: &Digest) {
        let digest = ParamValue::Text(digest.to_string());
        self.params.insert(BASE.into(), digest);
    }

    /// Has data, from now on.
    pub fn set_inputs(&mut self, inputs: &[(&str, Digest)]) {
        let inputs = inputs.iter();
        self.inputs = inputs
            .map(|(name, digest)| ((*name).to_owned(), *digest))
            .collect();
    }

    /// What it is written as.
    pub fn words(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether a training of this origin goes on from one of another. Says what of its recipe goes on otherwise, if something does.
    ///
    /// # Errors
    /// If it would be another training: says in what they differ.
    pub fn check(&self, written: &Self) -> Result<Option<String>, String> {
        if self.workload != written.workload {
            return Err(format!(
                "the checkpoint was made by `{}`, this run is of `{}`",
                written.workload, self.workload
            ));
        }
        let is_fixed = |name: &str| !OF_DATA.contains(&name) && !OF_RECIPE.contains(&name);
        let seed = (self.seed != written.seed)
            .then(|| differing("`seed`", Some(&written.seed), Some(&self.seed)));
        let mut found: Vec<String> = seed.into_iter().collect();
        found.extend(self.differences(written, is_fixed));
        if self.inputs != written.inputs {
            found.extend(self.differences(written, |name| OF_DATA.contains(&name)));
            found.extend(self.differing_inputs(written));
        }
        match in_words(&found) {
            Some(words) => Err(words),
            None => Ok(in_words(
                &self.differences(written, |name| OF_RECIPE.contains(&name)),
            )),
        }
    }

    /// Whether its model is one of another origin, with adapters or without.
    ///
    /// # Errors
    /// If it is another: says in what they differ.
    pub fn check_model(&self, written: &Self) -> Result<(), String> {
        let found = self.differences(written, |name| OF_MODEL.contains(&name));
        in_words(&found).map_or(Ok(()), Err)
    }

    /// In what another origin is not this one, in words, whatever could go on from it.
    pub fn differs_from(&self, written: &Self) -> Option<String> {
        let seed = (self.seed != written.seed)
            .then(|| differing("`seed`", Some(&written.seed), Some(&self.seed)));
        let found = seed.into_iter().chain(self.differences(written, |_| true));
        in_words(
            &found
                .chain(self.differing_inputs(written))
                .collect::<Vec<_>>(),
        )
    }

    /// Why tensors of an origin are others than of this one, where parameters tell.
    pub fn of_tensors(&self, written: &Self) -> Option<String> {
        in_words(&self.differences(written, |name| OF_TENSORS.contains(&name)))
    }

    /// In which parameters of some both differ. One that the checkpoint does not know, for it came later, is taken as it is.
    fn differences(&self, written: &Self, is_asked: impl Fn(&str) -> bool) -> Vec<String> {
        let all = self.params.keys().chain(written.params.keys());
        let all: BTreeSet<&str> = all.map(String::as_str).filter(|n| is_asked(n)).collect();
        let of_name = |name: &str| {
            let (own, found) = (self.params.get(name), written.params.get(name));
            let is_known = found.is_some() || name == BASE;
            let is_same = match (own, found) {
                (Some(own), Some(found)) => is_same(own, found),
                _ => false,
            };
            (is_known && !is_same).then(|| differing(&format!("`{name}`"), found, own))
        };
        all.into_iter().filter_map(of_name).collect()
    }

    fn differing_inputs(&self, written: &Self) -> Vec<String> {
        let all: BTreeSet<_> = self.inputs.keys().chain(written.inputs.keys()).collect();
        let of_name = |name: &String| {
            let (own, found) = (self.inputs.get(name), written.inputs.get(name));
            (own != found).then(|| differing(&format!("data `{name}`"), found, own))
        };
        all.into_iter().filter_map(of_name).collect()
    }
}

/// What a checkpoint and a run have of something.
fn differing<T: ToString>(what: &str, found: Option<&T>, own: Option<&T>) -> String {
    let [found, own] = [found, own].map(|x| x.map_or("none".into(), ToString::to_string));
    format!("{what} {found}, this run uses {own}")
}

fn in_words(found: &[String]) -> Option<String> {
    let words = found.join("; ");
    (!words.is_empty()).then(|| format!("the checkpoint was made with {words}"))
}

/// Canonical JSON writes 2.0 as 2.
fn is_same(a: &ParamValue, b: &ParamValue) -> bool {
    let [x, y] = [a, b].map(ParamValue::as_f64);
    match (x, y) {
        (Some(x), Some(y)) => x.to_bits() == y.to_bits(),
        _ => a == b,
    }
}
