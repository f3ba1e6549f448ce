//! What differs between two sides beside what was measured, in words: what may explain a difference, the likeliest first.

use std::collections::BTreeSet;

use anyhow::Result;
use assay_machine::diff;
use assay_record::Arm;
use assay_store::Store;
use assay_verdicts::RunView;

use super::{Side, commit_of, image_of, short};

/// What stands for a value that is not told.
const HIDDEN: &str = "...";

/// Whether values of variables, which may be secrets, are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// To who asked, on the terminal, or for publishing.
    Shown,
    /// Names only.
    Hidden,
}

/// What differs between the last runs of two sides.
#[derive(Default)]
pub struct Differences {
    /// What was set or installed otherwise on the machine.
    machine: Vec<String>,
    /// What was started otherwise.
    arm: Vec<String>,
    commit: Option<String>,
    /// What moves by itself, such as the load.
    hints: Vec<String>,
}

impl Differences {
    /// What differs between their last runs.
    pub fn between(
        store: &Store,
        [baseline, candidate]: [&Side; 2],
        values: Values,
    ) -> Result<Self> {
        let (Some(before), Some(after)) = (baseline.newest(), candidate.newest()) else {
            return Ok(Self::default());
        };
        let arms = [(before, baseline), (after, candidate)]
            .map(|(view, side)| view.manifest.arms.iter().find(|arm| arm.name == side.arm));
        let mut found = Self {
            commit: of_commits(&commit_in(before, arms[0]), &commit_in(after, arms[1])),
            ..Self::default()
        };
        if let [Some(one), Some(other)] = arms {
            found.arm = of_arms(one, other, values);
        }
        if before.run.run == after.run.run {
            return Ok(found);
        }
        let prints = store.fingerprints(&[before, after].map(|view| view.run.before).into())?;
        let explained = diff::explain(&prints[&before.run.before], &prints[&after.run.before]);
        for one in explained {
            let list = if one.is_volatile {
                &mut found.hints
            } else {
                &mut found.machine
            };
            list.push(one.text);
        }
        Ok(found)
    }

    /// In words, the likeliest to explain a difference first: "the driver changed" comes before "the code is other code", and what is
    /// a hint and no change last.
    pub fn all(self) -> Vec<String> {
        let parts = [
            self.machine,
            self.arm,
            self.commit.into_iter().collect(),
            self.hints,
        ];
        parts.concat()
    }

    /// The same for who is told the commits besides.
    pub fn beside_commit(self) -> Vec<String> {
        [self.machine, self.arm, self.hints].concat()
    }
}

/// The commit that an arm stands for, else that of its run.
fn commit_in(view: &RunView, arm: Option<&Arm>) -> String {
    let own = arm.and_then(|arm| arm.commit.as_ref());
    own.map_or_else(|| commit_of(&view.run), |of| short(&of.commit))
}

fn of_commits(was: &str, is: &str) -> Option<String> {
    (was != is).then(|| format!("The project's commit was {was} and is now {is}."))
}

fn of_arms(before: &Arm, after: &Arm, values: Values) -> Vec<String> {
    let mut words = Vec::new();
    if before.worker != after.worker {
        words.push(format!(
            "The built-in worker was {} and is now {}.",
            before.worker.short(),
            after.worker.short()
        ));
    }
    words.extend(of_environments(before, after, values));
    words
}

/// What an arm ran in otherwise: its image, the command before its workers, its variables.
pub fn of_environments(before: &Arm, after: &Arm, values: Values) -> Vec<String> {
    let mut words = Vec::new();
    let place = |arm: &Arm| match &arm.image {
        None => "this machine without a container".to_owned(),
        Some(_) => format!("{} of {}", image_of(arm), arm.engine.name()),
    };
    if (before.engine, &before.image) != (after.engine, &after.image) {
        words.push(format!(
            "The environment was {} and is now {}.",
            place(before),
            place(after)
        ));
    }
    words.extend(of_prefixes(before, after, values));
    let names: BTreeSet<&String> = before.env.keys().chain(after.env.keys()).collect();
    words.extend(
        names
            .into_iter()
            .filter_map(|name| of_variable(before, after, name, values)),
    );
    words
}

fn of_prefixes(before: &Arm, after: &Arm, values: Values) -> Option<String> {
    if before.prefix == after.prefix {
        return None;
    }
    let shown = |arm: &Arm| {
        let words = match values {
            Values::Shown => arm.prefix.join(" "),
            Values::Hidden => arm.prefix_without_values(HIDDEN).join(" "),
        };
        match words {
            empty if empty.is_empty() => "absent".to_owned(),
            words => format!("`{words}`"),
        }
    };
    Some(match (shown(before), shown(after)) {
        (was, is) if was == is => {
            format!("The command before the workers, {is}, sets another value.")
        }
        (was, is) => format!("The command before the workers was {was} and is now {is}."),
    })
}

fn of_variable(before: &Arm, after: &Arm, name: &String, values: Values) -> Option<String> {
    let (was, is) = (before.env.get(name), after.env.get(name));
    if was == is {
        return None;
    }
    let shown = |value: Option<&String>| match (value, values) {
        (None, _) => "not set".to_owned(),
        (Some(value), Values::Shown) => format!("`{value}`"),
        (Some(_), Values::Hidden) => "set".to_owned(),
    };
    Some(match (was, is, values) {
        (Some(_), Some(_), Values::Hidden) => {
            format!("The variable {name} was set to another value.")
        }
        _ => format!(
            "The variable {name} was {} and is now {}.",
            shown(was),
            shown(is)
        ),
    })
}
