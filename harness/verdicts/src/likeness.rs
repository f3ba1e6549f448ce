//! Whether two runs had the same inputs and gave the same outputs, by their digests.

use std::collections::BTreeSet;

use assay_protocol::{Digest, Verification};
use assay_record::BlockStatus;
use assay_record::manifest::{Case, Manifest};
use assay_store::{CaseRow, RunRow};

use crate::reproduction::Likeness;
use crate::view::trouble;

/// How many names a sentence lists.
const LISTED: usize = 3;

/// One case on both sides; a side that does not have it is absent.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub original: Option<&'a CaseRow>,
    pub again: Option<&'a CaseRow>,
}

impl<'a> Pair<'a> {
    /// Both sides measured, or why not.
    pub fn measured(self) -> Result<(&'a CaseRow, &'a CaseRow), String> {
        let original = self
            .original
            .ok_or("the original does not have this case")?;
        let again = self
            .again
            .ok_or("the reproduction does not have this case")?;
        for (case, side) in [(original, "original"), (again, "reproduction")] {
            if case.good_rounds().next().is_none() {
                return Err(format!(
                    "not measured in the {side}: {}",
                    why_unmeasured(case)
                ));
            }
        }
        Ok((original, again))
    }

    /// Whether the times of both sides may be compared, or why not.
    pub fn comparable(self) -> Result<(), String> {
        let (original, again) = self.measured()?;
        if original.definition != again.definition || original.timing != again.timing {
            return Err("the two time different things: the definitions differ".into());
        }
        Ok(())
    }

    /// Whether neither side measured it: such a case says nothing of the reproduction.
    pub fn is_idle(self) -> bool {
        [self.original, self.again]
            .into_iter()
            .flatten()
            .all(|case| {
                case.rounds
                    .iter()
                    .all(|row| matches!(row.status, BlockStatus::Skipped(_)))
            })
    }
}

fn why_unmeasured(case: &CaseRow) -> String {
    match trouble(case) {
        None => "no round was run".into(),
        Some(status) => format!("{}: {}", status.name(), status.reason().unwrap_or_default()),
    }
}

/// Inputs of one case: what defines it in both manifests, and what the workers digested.
pub(crate) fn inputs(pair: Pair<'_>, manifests: [&Manifest; 2], case: &str) -> Likeness {
    let find = |manifest: &'_ Manifest| manifest.cases.iter().find(|have| have.id == case).cloned();
    if let (Some(one), Some(two)) = (find(manifests[0]), find(manifests[1])) {
        let differing = differing_fields(&one, &two);
        if !differing.is_empty() {
            return Likeness::Differs(format!("the manifests differ in {}", differing.join(", ")));
        }
    }
    let (original, again) = match pair.measured() {
        Ok(both) => both,
        Err(why) => return Likeness::Unknown(why),
    };
    let digests = |case: &CaseRow| -> BTreeSet<Digest> {
        case.good_rounds().filter_map(|row| row.inputs).collect()
    };
    let (one, two) = (digests(original), digests(again));
    if one.len() > 1 || two.len() > 1 {
        return Likeness::Differs("the inputs are not the same in every round of one run".into());
    }
    if one.is_empty() || two.is_empty() {
        return Likeness::Unknown("the worker gave no digests of its inputs".into());
    }
    if one == two {
        Likeness::Identical
    } else {
        Likeness::Differs("the workers made other inputs from the same parameters and seed".into())
    }
}

/// What determines a case's inputs and differs. How it is measured does not.
pub(crate) fn differing_fields(one: &Case, two: &Case) -> Vec<&'static str> {
    [
        ("workload", one.workload != two.workload),
        ("params", one.params != two.params),
        ("seed", one.seed != two.seed),
        ("timing", one.timing != two.timing),
        ("definition", one.definition != two.definition),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect()
}

/// Files of the suite's folder that the two runs read and that differ; `None` where all agree.
pub(crate) fn sources(manifests: [&Manifest; 2]) -> Option<String> {
    let [one, two] = manifests.map(|manifest| &manifest.sources);
    let names: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let differing: Vec<&str> = names
        .into_iter()
        .filter(|name| one.get(*name) != two.get(*name))
        .map(String::as_str)
        .collect();
    (!differing.is_empty()).then(|| format!("the suite's files differ: {}", listed(&differing)))
}

/// Outputs of one case.
pub(crate) fn outputs(pair: Pair<'_>) -> Likeness {
    if let (Some(original), Some(again)) = (pair.original, pair.again) {
        for (case, side) in [(again, "reproduction"), (original, "original")] {
            match trouble(case) {
                Some(BlockStatus::Wrong(why)) => {
                    return Likeness::Differs(format!("wrong in the {side}: {why}"));
                }
                Some(BlockStatus::Failed(why))
                    if side == "reproduction" && trouble(original).is_none() =>
                {
                    return Likeness::Differs(format!("failed in the {side}: {why}"));
                }
                _ => {}
            }
        }
    }
    match pair.measured() {
        Ok((original, again)) => measured_outputs(original, again),
        Err(why) => Likeness::Unknown(why),
    }
}

fn measured_outputs(original: &CaseRow, again: &CaseRow) -> Likeness {
    let both = || original.good_rounds().chain(again.good_rounds());
    let verifications: Vec<&Verification> =
        both().filter_map(|row| row.verification.as_ref()).collect();
    let count = both().count();
    if verifications.is_empty() {
        return Likeness::Unknown("the workload verifies nothing".into());
    }
    let digests: BTreeSet<Digest> = verifications.iter().filter_map(|v| v.output).collect();
    let has_all = verifications.iter().filter(|v| v.output.is_some()).count() == count;
    if has_all && digests.len() == 1 {
        return Likeness::Identical;
    }
    if digests.len() > 1 && original.deterministic && again.deterministic {
        return Likeness::Differs(
            "declared deterministic, yet other bits; within tolerance".into(),
        );
    }
    if digests.len() > 1 && verifications.iter().any(|v| v.tolerance.is_none()) {
        return Likeness::Unknown(
            "other output, and no reference with a tolerance to judge it by".into(),
        );
    }
    if verifications.len() == count {
        Likeness::WithinTolerance
    } else {
        Likeness::Unknown(format!(
            "only {} of {count} rounds were verified",
            verifications.len()
        ))
    }
}

/// One likeness for all cases but those that nobody could measure: the worst, with how many and which.
pub(crate) fn overall<'a>(cases: impl IntoIterator<Item = (String, &'a Likeness)>) -> Likeness {
    let cases: Vec<(String, &Likeness)> = cases.into_iter().collect();
    let reasons = |pick: fn(&Likeness) -> Option<&str>| {
        let found: Vec<(&str, &str)> = cases
            .iter()
            .filter_map(|(case, likeness)| Some((case.as_str(), pick(likeness)?)))
            .collect();
        found.first().map(|(case, why)| match found.len() {
            1 => format!("{case}: {why}"),
            n => format!("{n} cases, of which {case}: {why}"),
        })
    };
    let differs = reasons(|likeness| match likeness {
        Likeness::Differs(why) => Some(why),
        _ => None,
    });
    let unknown = reasons(|likeness| match likeness {
        Likeness::Unknown(why) => Some(why),
        _ => None,
    });
    let is_within = cases
        .iter()
        .any(|(_, likeness)| **likeness == Likeness::WithinTolerance);
    match (differs, unknown) {
        (Some(why), _) => Likeness::Differs(why),
        (None, Some(why)) => Likeness::Unknown(why),
        (None, None) if cases.is_empty() => Likeness::Unknown("no case was measured".into()),
        (None, None) if is_within => Likeness::WithinTolerance,
        (None, None) => Likeness::Identical,
    }
}

fn listed(names: &[&str]) -> String {
    let shown = names[..names.len().min(LISTED)].join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Why a ratio of the two is one of machines and not of the code; `None` where both ran on one machine.
pub(crate) fn speed_barrier(original: &RunRow, again: &RunRow) -> Option<String> {
    let (one, two) = (&original.run, &again.run);
    if original.machine != again.machine {
        return Some(format!(
            "{one} ran on {}, {two} on {}: a ratio between two machines says nothing of the code",
            original.machine, again.machine
        ));
    }
    (original.class != again.class).then(|| {
        format!(
            "{} has other hardware than it had at {one}: a ratio between the two says nothing of the code",
            again.machine
        )
    })
}
