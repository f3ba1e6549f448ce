//! Sides of many runs, which differ in their machine, driver or image, compared at the commits that both have: what changed in the project
//! between the nights of one and the nights of another is no difference of these.

use std::collections::BTreeSet;

use anyhow::Result;
use assay_verdicts::comparison::Options;
use assay_verdicts::{Comparison, Reading, RunView};

use super::{Side, Values, compare_saying};

/// What is said where sides share no commit.
const MIXED: &str = "no commit of the project was measured on both sides: what changed between their commits is in these ratios too";

/// The comparison of two such sides, at their common commits where there are any, and paired by them where these are enough.
pub fn compare_pooled(
    values: Values,
    reading: Reading<'_>,
    pair: [&Side; 2],
    options: Options,
) -> Result<Comparison> {
    let common = at_common_commits(pair);
    let is_mixed = common.is_none() && pair.iter().all(|side| has_commits(side));
    let options = Options {
        by_commit: true,
        ..options
    };
    let mut found = match common.as_deref() {
        Some([baseline, candidate]) => {
            compare_saying(values, reading, [baseline, candidate], options)?
        }
        _ => compare_saying(values, reading, pair, options)?,
    };
    if is_mixed {
        found.caveats.push(MIXED.into());
    }
    Ok(found)
}

/// The sides with the runs of commits that all of them have; `None` where there is no such commit.
pub fn at_common_commits<'a>(sides: impl IntoIterator<Item = &'a Side>) -> Option<Vec<Side>> {
    let sides: Vec<&Side> = sides.into_iter().collect();
    let (first, others) = sides.split_first()?;
    let mut common = commits(first);
    for other in others {
        let own = commits(other);
        common.retain(|commit| own.contains(commit));
    }
    let at = |side: &&Side| {
        let mut side = (*side).clone();
        side.runs
            .retain(|view| commit(view).is_some_and(|commit| common.contains(commit)));
        side
    };
    (!common.is_empty()).then(|| sides.iter().map(at).collect())
}

fn commits(side: &Side) -> BTreeSet<String> {
    let known = side.runs.iter().filter_map(commit);
    known.map(str::to_owned).collect()
}

fn has_commits(side: &Side) -> bool {
    side.runs.iter().any(|view| commit(view).is_some())
}

/// The commit that a run measured; with changes in the tree it is none.
fn commit(view: &RunView) -> Option<&str> {
    let commit = view.run.commit.as_deref();
    commit.filter(|_| !view.run.dirty)
}
