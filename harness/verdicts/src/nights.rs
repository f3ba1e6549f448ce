//! Nights by their places, and which runs the newest night of a place is made of.
//!
//! A place is a suite on a machine by one arm: there histories go on, and there a night is judged. A run that left cases out says nothing of
//! these: the night is then that run and the ones before it, each with what no later one measured again. So a filter takes nothing
//! off the site, and a suite that runs in parts is one night of many runs.
//!
//! No record says why it lacks a case, and the suite's file tells: where that is the same, the case was left out. Where it is another, the
//! case may be gone; a run that has at least half of an earlier one's cases, which makes it a baseline too, is then taken for all there is.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::Digest;
use assay_record::{RunId, Timestamp};
use assay_store::{RunRow, Store, StoreError};
use serde::Serialize;

use crate::window::{is_night, judged_arm};

/// Days before the newest run of all from which on a night is no news: a machine that stopped stays on no front page for ever, and
/// what was left out since that long is no part of a night.
pub const NEWS_DAYS: i64 = 14;

/// Newest runs of a place that may be parts of its newest night.
const LOOKED_AT: usize = 30;

const DAY_NS: i64 = 86_400_000_000_000;

/// Where nights follow each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Name of the suite.
    pub suite: String,
    /// Name of the machine.
    pub machine: String,
    /// Name of the arm.
    pub arm: String,
}

/// Every night, by its place.
#[derive(Clone, Debug, Default)]
pub struct Nights<'a> {
    places: BTreeMap<Place, Vec<&'a RunRow>>,
    /// When the newest run of all started, as [`newest_start`] has it.
    newest: Option<Timestamp>,
}

/// A run of the newest night of a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<'a> {
    /// The run.
    pub run: &'a RunRow,
    /// What it stands for; `None` where it is the whole night.
    pub share: Option<Share>,
}

/// What one of several runs of a night stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Its cases that no later run of the night has.
    pub cases: BTreeSet<String>,
    /// Cases that the other runs of the night stand for.
    pub others: BTreeSet<String>,
    /// Whether it is the newest of them, which speaks of all that none of them has, too.
    pub is_newest: bool,
}

impl Share {
    /// Whether it speaks of a case.
    pub fn has(&self, case: &str) -> bool {
        self.cases.contains(case) || self.is_newest && !self.others.contains(case)
    }

    /// Cases of all runs of the night together.
    pub fn of(&self) -> usize {
        self.cases.len() + self.others.len()
    }
}

/// When the newest of some runs started, of those that did so by now, for all that is said to be so many days old: a machine whose clock is
/// ahead, or a commit with a date of years to come, makes nothing else old. Where all are of later, as in what was made up, the newest.
pub fn newest_start(runs: &[RunRow], now: Timestamp) -> Option<Timestamp> {
    let started = || runs.iter().map(|row| row.started);
    let by_now = started().filter(|started| days_between(now, *started) < 1);
    by_now.max().or_else(|| started().max())
}

/// Whole days from the start of a run to another.
pub fn days_between(earlier: Timestamp, later: Timestamp) -> i64 {
    (later.unix_ns() - earlier.unix_ns()) / DAY_NS
}

impl<'a> Nights<'a> {
    /// The nights among runs, which are in order, oldest first; how old one is goes by [`newest_start`].
    pub fn among(
        store: &Store,
        runs: &'a [RunRow],
        newest: Option<Timestamp>,
    ) -> Result<Self, StoreError> {
        let arms = store.arms()?;
        let mut places: BTreeMap<Place, Vec<&RunRow>> = BTreeMap::new();
        for row in runs.iter().filter(|row| is_night(row)) {
            let own = arms.get(&row.run).map_or(&[][..], Vec::as_slice);
            let Some(arm) = judged_arm(own.iter().map(String::as_str)) else {
                continue;
            };
            let place = Place {
                suite: row.suite.clone(),
                machine: row.machine.clone(),
                arm: arm.into(),
            };
            places.entry(place).or_default().push(row);
        }
        Ok(Self { places, newest })
    }

    /// Every place with its nights, oldest first.
    pub fn places(&self) -> impl Iterator<Item = (&Place, &[&'a RunRow])> {
        let places = self.places.iter();
        places.map(|(place, runs)| (place, runs.as_slice()))
    }

    /// The nights of a place, oldest first.
    pub fn of(&self, place: &Place) -> &[&'a RunRow] {
        self.places.get(place).map_or(&[], Vec::as_slice)
    }

    /// The night before another one in its place.
    pub fn before(&self, place: &Place, row: &RunRow) -> Option<&'a RunRow> {
        let earlier = self.of(place).iter().rev();
        let mut earlier =
            earlier.filter(|other| (other.started, &other.run) < (row.started, &row.run));
        earlier.next().copied()
    }

    /// The runs that the newest night of a place is made of, the latest first.
    pub fn newest(&self, store: &Store, place: &Place) -> Result<Vec<Part<'a>>, StoreError> {
        let mut walk = Walk::new(store);
        let newest_first: Vec<&RunRow> = self.of(place).iter().rev().copied().collect();
        let looked_at = newest_first.iter().take(LOOKED_AT).enumerate();
        let looked_at = looked_at.filter(|(at, row)| *at == 0 || self.is_news(row));
        let looked_at: Vec<&RunRow> = looked_at.map(|(_, row)| *row).collect();
        // All of them: a run that has what later ones have may be as small a part as they are.
        let cases = cases_of(store, &looked_at, &place.arm)?;
        for (row, cases) in looked_at.into_iter().zip(cases) {
            walk.meets(row, cases)?;
        }
        Ok(walk.parts())
    }

    fn is_news(&self, row: &RunRow) -> bool {
        let newest = self.newest.unwrap_or(row.started);
        days_between(row.started, newest) <= NEWS_DAYS
    }
}

/// Ids of the cases of each run on an arm.
fn cases_of(
    store: &Store,
    rows: &[&RunRow],
    arm: &str,
) -> Result<Vec<BTreeSet<String>>, StoreError> {
    let runs: Vec<RunId> = rows.iter().map(|row| row.run.clone()).collect();
    let names = store.case_names_of(&runs)?.into_iter();
    let own = |names: Vec<(String, String)>| {
        let own = names.into_iter().filter(|(_, of)| of == arm);
        own.map(|(case, _)| case).collect()
    };
    Ok(names.map(own).collect())
}

/// From the newest night backwards.
struct Walk<'a, 's> {
    store: &'s Store,
    /// Those that were met, the latest first.
    met: Vec<(&'a RunRow, BTreeSet<String>)>,
    /// Cases that any of them has.
    covered: BTreeSet<String>,
    /// Those that stand for something.
    parts: Vec<(&'a RunRow, BTreeSet<String>)>,
}

impl<'a, 's> Walk<'a, 's> {
    fn new(store: &'s Store) -> Self {
        Self {
            store,
            met: Vec::new(),
            covered: BTreeSet::new(),
            parts: Vec::new(),
        }
    }

    /// Takes an earlier run in.
    fn meets(&mut self, row: &'a RunRow, cases: BTreeSet<String>) -> Result<(), StoreError> {
        let left: BTreeSet<String> = cases.difference(&self.covered).cloned().collect();
        if self.parts.is_empty() || !left.is_empty() && !self.is_replaced(row, &cases)? {
            self.parts.push((row, left));
        }
        self.covered.extend(cases.iter().cloned());
        self.met.push((row, cases));
        Ok(())
    }

    /// Whether a later run of another suite file has so much of it that the rest is taken to be gone.
    fn is_replaced(&self, row: &RunRow, cases: &BTreeSet<String>) -> Result<bool, StoreError> {
        let has_half =
            |theirs: &BTreeSet<String>| 2 * theirs.intersection(cases).count() >= cases.len();
        let large = self.met.iter().filter(|(_, theirs)| has_half(theirs));
        let large: Vec<&RunRow> = large.map(|(row, _)| *row).collect();
        if large.is_empty() {
            return Ok(false);
        }
        let digests = large.iter().map(|row| row.manifest).chain([row.manifest]);
        let manifests = self.store.manifests(&digests.collect())?;
        let suite = |row: &RunRow| -> Option<Digest> {
            manifests
                .get(&row.manifest)
                .map(|manifest| manifest.suite.digest)
        };
        Ok(large.into_iter().any(|later| suite(later) != suite(row)))
    }

    fn parts(self) -> Vec<Part<'a>> {
        let all = self.parts.iter().flat_map(|(_, cases)| cases);
        let all: BTreeSet<String> = all.cloned().collect();
        let is_one = self.parts.len() == 1;
        let part = |(at, (run, cases)): (usize, (&'a RunRow, BTreeSet<String>))| Part {
            run,
            share: (!is_one).then(|| Share {
                others: all.difference(&cases).cloned().collect(),
                cases,
                is_newest: at == 0,
            }),
        };
        self.parts.into_iter().enumerate().map(part).collect()
    }
}
