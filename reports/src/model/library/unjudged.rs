//! Arms that no night judges: those that ran beside `main`, or of several of which none is `main`. Nobody runs suspects of them again, so that what
//! failed and what lasts is all that can be known there; it is told all the same.

use std::collections::BTreeSet;

use assay_store::RunRow;
use assay_verdicts::gate::State;
use assay_verdicts::nights::NEWS_DAYS;
use assay_verdicts::window::{is_night, judged_arm};
use assay_verdicts::{
    CaseHistory, CaseState, CaseSummary, Lasting, LocatedChange, RunSummary, Told, Verdict,
};

use super::Library;
use super::nights::{NightPlace, night_place};

/// A suite on a machine by an arm that no night judges.
#[derive(Clone, Debug)]
pub struct Unjudged<'a> {
    /// Where it is.
    pub place: NightPlace<'a>,
    /// The newest run that has it.
    pub run: &'a RunRow,
    /// Cases that gave no right result in that run, each with its place in the run's summary.
    pub failed: Vec<(&'a RunSummary, usize)>,
    /// Levels that changed to stay.
    pub lasting: Vec<(&'a CaseHistory, &'a LocatedChange)>,
    /// How many these are.
    pub counts: Lasting,
    /// How many got worse to stay and stand, and are no news any more.
    pub older: usize,
}

impl<'a> Unjudged<'a> {
    fn of(place: NightPlace<'a>, summary: &'a RunSummary) -> Self {
        let is_bad = |(_, case): &(usize, &CaseSummary)| {
            let is_right = matches!(case.state, CaseState::Ok | CaseState::Skipped(_));
            case.case.arm == place.2 && !is_right
        };
        let failed = summary.cases.iter().enumerate().filter(is_bad);
        Self {
            place,
            run: &summary.run,
            failed: failed.map(|(at, _)| (summary, at)).collect(),
            lasting: Vec::new(),
            counts: Lasting::default(),
            older: 0,
        }
    }

    /// The cases that gave no right result.
    pub fn failed_cases(&self) -> impl Iterator<Item = &'a CaseSummary> {
        let failed = self.failed.iter();
        failed.map(|&(summary, at)| &summary.cases[at])
    }

    /// How many of these are faster than the machine can be, and nothing worse.
    pub fn impossible(&self) -> usize {
        let is_impossible = |case: &&CaseSummary| matches!(case.state, CaseState::Impossible(_));
        self.failed_cases().filter(is_impossible).count()
    }

    /// What is said of it, where that is anything.
    pub fn told(&self) -> Option<Told> {
        if self.failed.len() > self.impossible() {
            return Some(Told::Gate(State::Troubled));
        }
        if !self.failed.is_empty() {
            return Some(Told::Gate(State::Impossible));
        }
        let told = Told::of(State::Inconclusive, 0, self.counts);
        matches!(told, Told::History(_)).then_some(told)
    }
}

impl<'a> Library<'a> {
    /// The arms that no night judges, of runs that are news, by suite, machine and arm.
    pub fn unjudged(&self) -> &[Unjudged<'a>] {
        &self.unjudged
    }

    /// The same of a suite, or of all.
    pub fn unjudged_of(&self, suite: Option<&str>) -> impl Iterator<Item = &Unjudged<'a>> {
        let all = self.unjudged.iter();
        all.filter(move |one| suite.is_none_or(|suite| one.place.0 == suite))
    }

    /// Whether some suite came to the end of runs of several arms, none of which is the one that nights are judged by.
    pub fn has_arms_alone(&self) -> bool {
        let mut all = self.unjudged.iter();
        all.any(|one| {
            let (suite, machine, _) = one.place;
            is_night(one.run) && self.nights_at(suite, machine).next().is_none()
        })
    }

    pub(super) fn find_unjudged(&self) -> Vec<Unjudged<'a>> {
        let own = |row: &&RunRow| row.reproduces.is_none() && row.purpose.is_measurement();
        let recent = self.latest_first().filter(|row| !self.is_old(row));
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for summary in recent.filter(own).filter_map(|row| self.summary(&row.run)) {
            let arms: BTreeSet<&str> = summary.cases.iter().map(|of| &*of.case.arm).collect();
            let judged = judged_arm(arms.iter().copied());
            let row = &summary.run;
            let places = arms
                .into_iter()
                .map(|arm| (&*row.suite, &*row.machine, arm));
            let new = places.filter(|place| seen.insert(*place));
            let unjudged = new.filter(|(_, _, arm)| judged != Some(*arm));
            found.extend(unjudged.map(|place| Unjudged::of(place, summary)));
        }
        for history in self.current.values().copied() {
            let place = night_place(&history.series.key);
            // An arm may have had nights of its own.
            let of_place = found.iter_mut().find(|one| one.place == place);
            if let Some(one) = of_place.filter(|_| !self.by_place.contains_key(&place)) {
                self.add_lasting(one, history);
            }
        }
        found.sort_by_key(|one| one.place);
        found
    }

    fn add_lasting(&self, one: &mut Unjudged<'a>, history: &'a CaseHistory) {
        let Some(change) = history.lasting() else {
            return;
        };
        let began = history.series.points.get(change.index);
        if began.is_some_and(|point| self.age_days(point.started) <= NEWS_DAYS) {
            one.counts.add(change, None);
            one.lasting.push((history, change));
        } else if change.verdict == Some(Verdict::Regressed) {
            one.older += 1;
        }
    }
}
