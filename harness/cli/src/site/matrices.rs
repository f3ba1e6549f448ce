//! The comparisons that have a page: the usual ones, and those that somebody chose.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use assay_record::RunId;
use assay_reports::{By, Cross, Matrix};
use assay_store::RunRow;
use assay_verdicts::comparison::{Options, Question};
use assay_verdicts::nights::{Part, Place};
use assay_verdicts::{Comparison, Nights, Reading, RunView};

use super::Publishing;
use crate::sides::{self, Property, Side, Values};

/// Newest nights of a suite on each machine that are looked at for sides that differ in something: a machine that runs every
/// hour does not push out one that runs at night.
const NIGHTS: usize = 20;
/// Newest runs of a suite that are looked at for arms.
const LOOKED_AT: usize = 30;
/// Most sides of a matrix.
const SIDES: usize = 12;

/// What all of them are made from.
#[derive(Clone, Copy)]
struct Read<'a> {
    from: Reading<'a>,
    runs: &'a [RunRow],
    nights: &'a Nights<'a>,
    /// Whether values of variables are published.
    values: Values,
}

/// All of them: by suite and arm, then by what the sides differ in.
pub fn all(
    from: Reading<'_>,
    (runs, nights): (&[RunRow], &Nights<'_>),
    publishing: &Publishing,
) -> Result<Vec<Matrix>> {
    let values = if publishing.publish_source {
        Values::Shown
    } else {
        Values::Hidden
    };
    let read = Read {
        from,
        runs,
        nights,
        values,
    };
    let mut matrices = Vec::new();
    for names in &publishing.usual {
        match of_names(read, names) {
            Ok(matrix) => matrices.push(matrix),
            Err(error) => {
                crate::note!(
                    "warning: no page compares {names} (`compare` of assay.toml, or `--compare`): {error:#}"
                );
            }
        }
    }
    for names in &publishing.compare {
        let is_new = !publishing.usual.contains(names);
        let found =
            is_new.then(|| of_names(read, names).with_context(|| format!("--compare {names}")));
        matrices.extend(found.transpose()?);
    }
    let suites: BTreeSet<&str> = runs.iter().map(|row| row.suite.as_str()).collect();
    for suite in suites {
        let places = nights.places().map(|(place, _)| place);
        let arms = places.filter(|place| place.suite == suite);
        let arms: BTreeSet<&str> = arms.map(|place| place.arm.as_str()).collect();
        // Two arms are two things: sides of runs of both would say which ran last.
        for arm in arms {
            matrices.extend(of_arm(read, suite, arm)?);
        }
        matrices.extend(of_arms(read, suite)?);
    }
    Ok(matrices)
}

/// Of the nights of a suite by one arm.
fn of_arm(read: Read<'_>, suite: &str, arm: &str) -> Result<Vec<Matrix>> {
    let places = newest_nights(read, suite, arm)?;
    let mut nights: Vec<RunView> = places.iter().flat_map(|(_, own)| own.clone()).collect();
    nights.sort_by(|a, b| (a.run.started, &a.run.run).cmp(&(b.run.started, &b.run.run)));
    let mut matrices = of_nights(read, &places)?;
    for (by, property) in ACROSS_MACHINES {
        matrices.extend(of_property(read, suite, &nights, by, property)?);
    }
    // Across machines everything differs; a driver or an image is compared within one.
    for (_, own) in &places {
        for (by, property) in WITHIN_ONE {
            matrices.extend(of_property(read, suite, own, by, property)?);
        }
    }
    matrices.extend(of_gpus_and_drivers(read, suite, &nights)?);
    Ok(matrices)
}

const ACROSS_MACHINES: [(By, Property); 2] =
    [(By::Machine, Property::Machine), (By::Gpu, Property::Gpu)];
const WITHIN_ONE: [(By, Property); 2] =
    [(By::Driver, Property::Driver), (By::Image, Property::Image)];

fn of_names(read: Read<'_>, names: &str) -> Result<Matrix> {
    let names: Vec<String> = names
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    ensure!(
        names.len() > 1,
        "expected two runs or more with commas between them, such as latest~1,latest"
    );
    let sides = sides::named(read.from.store, &names)?;
    let suite = sides[0]
        .newest()
        .map_or(String::new(), |view| view.run.suite.clone());
    let matrix = matrix(read, By::Chosen, &suite, &sides)?;
    matrix.context("these runs have nothing in common to compare")
}

/// The newest nights of a suite by an arm on each machine, oldest first.
fn newest_nights<'a>(
    read: Read<'a>,
    suite: &str,
    arm: &str,
) -> Result<Vec<(&'a Place, Vec<RunView>)>> {
    let places = read.nights.places();
    let own = places.filter(|(place, _)| (&*place.suite, &*place.arm) == (suite, arm));
    let views = |(place, runs): (&'a Place, &[&RunRow])| {
        let newest = &runs[runs.len().saturating_sub(NIGHTS)..];
        let newest = newest.iter().map(|row| (*row).clone()).collect();
        Ok((place, RunView::load_all(read.from.store, newest)?))
    };
    own.map(views).collect()
}

/// Each machine's newest night and the one before it: of a night of several runs the one with the most cases, and the last before it
/// that has half of these.
fn of_nights(read: Read<'_>, places: &[(&Place, Vec<RunView>)]) -> Result<Vec<Matrix>> {
    let mut found = Vec::new();
    for (place, own) in places {
        let parts = read.nights.newest(read.from.store, place)?;
        let own = |run: &RunId| {
            own.iter()
                .position(|view| view.run.run == *run)
                .map(|at| (own, at))
        };
        // The later of two of a size.
        let sizes = parts.iter().rev().map(|part| (size(part), &part.run.run));
        let largest = sizes.max_by_key(|(size, _)| *size).map(|(_, run)| run);
        let Some((own, at)) = largest.and_then(own) else {
            continue;
        };
        let newest = &own[at];
        let before = own[..at].iter().rev().find(|view| has_half(view, newest));
        if let Some(before) = before {
            let pair = [before, newest];
            let both = pair.map(|view| sides::side(view.run.run.to_string(), vec![view.clone()]));
            found.extend(matrix(read, By::Night, &place.suite, &both)?);
        }
    }
    Ok(found)
}

/// How many cases a run stands for; one that is a whole night has no other beside it.
fn size(part: &Part<'_>) -> usize {
    part.share.as_ref().map_or(0, |share| share.cases.len())
}

/// Whether a run has at least half of another one's cases.
fn has_half(view: &RunView, of: &RunView) -> bool {
    let names = |view: &RunView| -> BTreeSet<String> {
        view.cases.iter().map(|case| case.case.clone()).collect()
    };
    let (own, asked) = (names(view), names(of));
    2 * own.intersection(&asked).count() >= asked.len()
}

fn of_property(
    read: Read<'_>,
    suite: &str,
    nights: &[RunView],
    by: By,
    property: Property,
) -> Result<Option<Matrix>> {
    let mut groups: Vec<Side> = sides::groups(read.from.store, nights.iter().cloned(), property)?;
    groups.truncate(SIDES);
    matrix(read, by, suite, &groups)
}

/// Each GPU with each driver that it was measured with; `None` where there is one GPU or one driver, which other comparisons show.
fn of_gpus_and_drivers(read: Read<'_>, suite: &str, nights: &[RunView]) -> Result<Option<Matrix>> {
    let by = [Property::Gpu, Property::Driver];
    let mut sides = sides::crossed(read.from.store, nights, by, |[gpu, _]| gpu != sides::NO_GPU)?;
    sides.truncate(SIDES);
    let (labels, sides): (Vec<[String; 2]>, Vec<Side>) = sides.into_iter().unzip();
    let [rows, columns] = [0, 1].map(|at| {
        let values: BTreeSet<&String> = labels.iter().map(|labels| &labels[at]).collect();
        values.into_iter().cloned().collect::<Vec<String>>()
    });
    if rows.len() < 2 || columns.len() < 2 {
        return Ok(None);
    }
    let found = matrix(read, By::GpuDriver, suite, &sides)?;
    let of_label = |label: &str| {
        let at = sides.iter().position(|side| side.label == label)?;
        let place = |all: &[String], value| all.iter().position(|have| have == value);
        Some((
            place(&rows, &labels[at][0])?,
            place(&columns, &labels[at][1])?,
        ))
    };
    Ok(found.map(|matrix| {
        let baseline = matrix.comparisons.first().map(|one| &one.baseline);
        let others = matrix.comparisons.iter().map(|one| &one.candidate);
        let shown = baseline.into_iter().chain(others);
        let places = shown.filter_map(|side| of_label(&side.label)).collect();
        Matrix {
            cross: Some(Cross {
                rows: rows.clone(),
                columns: columns.clone(),
                places,
            }),
            ..matrix
        }
    }))
}

/// Arms of the newest run that has several.
fn of_arms(read: Read<'_>, suite: &str) -> Result<Option<Matrix>> {
    let of_suite = read
        .runs
        .iter()
        .rev()
        .filter(|row| row.suite == suite && row.purpose.is_measurement());
    let newest: Vec<&RunRow> = of_suite.take(LOOKED_AT).collect();
    let ids: Vec<RunId> = newest.iter().map(|row| row.run.clone()).collect();
    for (row, names) in newest.into_iter().zip(read.from.store.case_names_of(&ids)?) {
        let arms: BTreeSet<&String> = names.iter().map(|(_, arm)| arm).collect();
        if arms.len() > 1 {
            let sides = sides::grouped(read.from.store, &[row.run.to_string()], Property::Arm)?;
            return matrix(read, By::Arm, suite, &sides);
        }
    }
    Ok(None)
}

/// The first side with each other one; `None` where there is nothing in common.
///
/// Sides of many nights are compared at the commits that all of them have, where there are any, else each pair at those that both have,
/// and paired by commit where these are enough.
fn matrix(read: Read<'_>, by: By, suite: &str, sides: &[Side]) -> Result<Option<Matrix>> {
    let is_pooled = !matches!(by, By::Night | By::Arm | By::Chosen);
    let at_common = is_pooled.then(|| sides::at_common_commits(sides)).flatten();
    let sides = at_common.as_deref().unwrap_or(sides);
    let Some((baseline, others)) = sides.split_first() else {
        return Ok(None);
    };
    let compare = |other: &Side| {
        let (pair, options) = ([baseline, other], Options::new(Question::Difference));
        if is_pooled {
            sides::compare_pooled(read.values, read.from, pair, options)
        } else {
            sides::compare_saying(read.values, read.from, pair, options)
        }
    };
    let mut comparisons: Vec<Comparison> = others.iter().map(compare).collect::<Result<_>>()?;
    comparisons.retain(|comparison| match by {
        By::Chosen => !comparison.is_empty(),
        _ => says_something(comparison),
    });
    Ok((!comparisons.is_empty()).then(|| Matrix {
        by,
        suite: suite.into(),
        comparisons,
        cross: None,
    }))
}

/// Whether anything can be read from a comparison: imported results of one value each compare to nothing.
fn says_something(comparison: &Comparison) -> bool {
    let mut cases = comparison.cases.iter();
    cases.any(|case| case.ratio.is_some() || case.trouble.is_some())
}
