//! What is said of nights in the end, and what of it still stands: of a library, by suite, machine and arm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use assay_record::RunId;
use assay_store::{RunRow, SeriesKey};
use assay_verdicts::nights::NEWS_DAYS;
use assay_verdicts::{
    CaseComparison, CaseHistory, CaseState, Confirmed, Lasting, LocatedChange, Series, Standing,
    Told, Verdict, confirmed,
};

use super::{Library, Place};
use crate::model::{Night, SiteModel, Step};
use crate::pages::judged;

/// What is said of a night, and of what.
#[derive(Clone, Debug)]
pub struct Said<'a> {
    /// In the end.
    pub told: Told,
    /// How many confirmed regressions still stand there, however long ago that night was.
    pub standing: usize,
    /// How many of these it calls inconclusive by itself, and how many unchanged: its baseline has got used to them.
    pub beside: Beside,
    /// How many levels changed to stay there, which the night does not call itself.
    pub counts: Lasting,
    /// These, where no gate settled them.
    pub lasting: Vec<(&'a CaseHistory, &'a LocatedChange)>,
    /// How many got worse to stay there and stand, and are no news any more.
    pub older: usize,
}

/// What a night by itself calls what stands there: it is counted as that, and not as this.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// And not as what stands, nor as suspected.
    pub inconclusive: usize,
    /// Within the margin of a baseline of the new level.
    pub unchanged: usize,
}

impl Beside {
    fn add(&mut self, night: &Night, case: &CaseComparison) {
        let is_open = case.still.is_none() && !judged::is_suspected(&night.gate, case);
        match case.verdict {
            _ if case.trouble.is_some() => {}
            Verdict::Inconclusive if is_open => self.inconclusive += 1,
            Verdict::Unchanged => self.unchanged += 1,
            Verdict::Inconclusive | Verdict::Regressed | Verdict::Improved => {}
        }
    }
}

/// Cases that runs of the newest night of a place have, where that is at hand.
pub(super) type Present<'a> = BTreeMap<NightPlace<'a>, Option<BTreeSet<&'a str>>>;

/// Lasting changes with their histories, by the run whose night speaks of them.
type LastingByRun<'a> = BTreeMap<&'a RunId, Vec<(&'a CaseHistory, &'a LocatedChange)>>;

/// Where nights follow each other: suite, machine and arm.
pub type NightPlace<'a> = (&'a str, &'a str, &'a str);

/// Where the nights of a series are.
pub fn night_place(key: &SeriesKey) -> NightPlace<'_> {
    (&key.suite, &key.machine, &key.arm)
}

impl<'a> Library<'a> {
    /// With what is said of nights in the end, and these by that: what asks for action first.
    pub(super) fn told(mut self) -> Self {
        self.present = Arc::new(self.find_present());
        self.unjudged = Arc::new(self.find_unjudged());
        let said = self.said_of_all();
        let urgency = |night: &&Night| said.get(&night.gate.run).map(|said| said.told.urgency());
        self.nights
            .sort_by_key(|night| (urgency(night), &night.gate.run));
        self.said = Arc::new(said);
        self
    }

    fn said_of_all(&self) -> BTreeMap<&'a RunId, Said<'a>> {
        let (mut lasting, older) = self.lasting();
        let mut standing: BTreeMap<&RunId, (usize, Beside)> = BTreeMap::new();
        for one in self.standing() {
            let Some(night) = self.night_for(&one.history.series.key) else {
                continue;
            };
            let (count, beside) = standing.entry(&night.gate.run).or_default();
            *count += 1;
            let lasting = lasting.get(&night.gate.run).into_iter().flatten();
            let is_lasting = lasting
                .into_iter()
                .any(|(of, _)| of.series.key == one.history.series.key);
            if let Some(case) = night.gate.says_of(one.history).filter(|_| !is_lasting) {
                beside.add(night, case);
            }
        }
        let said = |night: &&'a Night| {
            let run = &night.gate.run;
            let lasting = lasting.remove(run).unwrap_or_default();
            let mut counts = Lasting::default();
            for (history, change) in &lasting {
                counts.add(change, night.gate.says_of(history));
            }
            let (standing, beside) = standing.get(run).copied().unwrap_or_default();
            let told = Told::of(night.gate.state, standing, counts);
            let said = Said {
                told,
                standing,
                beside,
                counts,
                lasting,
                older: older.get(run).copied().unwrap_or(0),
            };
            (run, said)
        };
        let at_hand = self.nights.iter();
        let at_hand = at_hand.filter(|night| self.night_row(night).is_some());
        at_hand.map(said).collect()
    }

    /// The latest lasting changes that no gate settled, as far as they are news, by the runs that speak of them; and how many for the worse
    /// are no news any more. How old one is goes by where it most likely is, not by how surely that is known.
    fn lasting(&self) -> (LastingByRun<'a>, BTreeMap<&'a RunId, usize>) {
        let (mut found, mut older) = (LastingByRun::new(), BTreeMap::new());
        for history in self.current.values().copied() {
            let key = &history.series.key;
            // Cheaper than what its night says of it.
            let may_be = !history.changes.is_empty() && !self.is_gone(key);
            let Some(night) = may_be.then(|| self.night_for(key)).flatten() else {
                continue;
            };
            let change = history.lasting_beside(&night.gate);
            let Some(change) = change.filter(|change| !self.is_told_by_gates(history, change))
            else {
                continue;
            };
            let run = &night.gate.run;
            let began = history.series.points.get(change.index);
            if began.is_some_and(|point| self.age_days(point.started) <= NEWS_DAYS) {
                found.entry(run).or_default().push((history, change));
            } else if change.verdict == Some(Verdict::Regressed) {
                *older.entry(run).or_default() += 1;
            }
        }
        (found, older)
    }

    /// The row of a night's run.
    pub fn night_row(&self, night: &Night) -> Option<&'a RunRow> {
        self.runs.get(&night.gate.run).copied()
    }

    /// The nights that are news, and those that are not.
    pub fn nights_by_age(&self) -> [Vec<&'a Night>; 2] {
        let is_old = |night: &&&Night| self.night_row(night).is_some_and(|row| self.is_old(row));
        let (old, recent) = self
            .nights
            .iter()
            .partition::<Vec<_>, _>(|night| is_old(night));
        [recent, old]
    }

    /// The run of the newest night that speaks of a series, if that goes on.
    pub fn night_of(&self, series: &Series) -> Option<&'a Night> {
        let key = &series.key;
        let current = self.current.get(&Place::of(key))?;
        (current.series.key == *key).then(|| self.night_for(key))?
    }

    /// The run of the newest night that speaks of what a key says, whatever its definition.
    fn night_for(&self, key: &SeriesKey) -> Option<&'a Night> {
        let runs = self.by_place.get(&night_place(key))?;
        let own = runs.iter().find(|night| night.has(&key.case));
        own.or(runs.first()).copied()
    }

    /// The newest night of each place of a suite on a machine, by arm: its runs, the latest first.
    pub fn nights_at<'s>(
        &'s self,
        suite: &'s str,
        machine: &'s str,
    ) -> impl Iterator<Item = &'s [&'a Night]> {
        let places = self.nights_by_place();
        let own = places.filter(move |((of, on, _), _)| (*of, *on) == (suite, machine));
        own.map(|(_, runs)| runs)
    }

    /// The newest night of each place.
    pub fn nights_by_place(&self) -> impl Iterator<Item = (&NightPlace<'a>, &[&'a Night])> {
        let places = self.by_place.iter();
        places.map(|(place, runs)| (place, runs.as_slice()))
    }

    /// How many of the cases that a run of a night speaks of were skipped, where that is at hand.
    pub fn skipped(&self, night: &Night) -> Option<usize> {
        self.skipped_in(&night.gate.run, night.arm(), |case| night.has(case))
    }

    /// How many of the cases of an arm that are meant a run skipped, where that is at hand.
    pub fn skipped_in(
        &self,
        run: &RunId,
        arm: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> Option<usize> {
        let cases = self.summary(run)?.cases.iter();
        let own = cases.filter(|case| case.case.arm == arm && is_meant(&case.case.case));
        let skipped = own.filter(|case| matches!(case.state, CaseState::Skipped(_)));
        Some(skipped.count())
    }

    /// What of that is news: of nights that are.
    pub fn standing_lately(&self) -> Vec<Standing<'a>> {
        let mut found = self.standing();
        found.retain(|one| {
            let night = self.night_for(&one.history.series.key);
            let row = night.and_then(|night| self.night_row(night));
            row.is_some_and(|row| !self.is_old(row))
        });
        found
    }

    /// What was confirmed before the newest nights and still stands, of series that go on, the largest first; what the newest night of one
    /// calls anew is told there.
    pub fn standing(&self) -> Vec<Standing<'a>> {
        let going_on = self.current.values().copied();
        let going_on = going_on.filter(|history| !self.is_gone(&history.series.key));
        let mut found = confirmed::standing(&self.model.confirmed, going_on);
        found.retain(|one| !self.is_called_anew(&one.history.series));
        let size = |one: &Standing| {
            one.last
                .case
                .ratio
                .map_or(0.0, |ratio| ratio.estimate.ln().abs())
        };
        found.sort_by(|a, b| size(b).total_cmp(&size(a)));
        found
    }

    fn is_called_anew(&self, series: &Series) -> bool {
        let night = self.night_of(series);
        let cases = night
            .into_iter()
            .flat_map(|night| &night.gate.comparison.cases);
        let mut own = cases.filter(|case| {
            (&case.case, &case.metric.name) == (&series.key.case, &series.key.metric)
        });
        own.any(|case| case.trouble.is_none() && is_anew(case))
    }

    /// What was confirmed of a series, oldest first, and whether it still stands.
    pub fn confirmed_of(&self, history: &CaseHistory) -> Vec<(&'a Confirmed, bool)> {
        let own = self.model.confirmed.iter().filter(|one| one.is_of(history));
        let is_gone = self.is_gone(&history.series.key);
        own.map(|one| (one, !is_gone && one.stands(history)))
            .collect()
    }

    /// Whether the nights of a place, or of an arm that no night judges, are told of.
    pub fn has_place(&self, place: &NightPlace<'_>) -> bool {
        self.by_place.contains_key(place) || self.unjudged.iter().any(|one| one.place == *place)
    }

    /// Whether gates have told of a lasting change what there is to tell: they settled it, or new rounds confirmed it.
    pub fn is_told_by_gates(&self, history: &CaseHistory, change: &LocatedChange) -> bool {
        let began = history.series.points.get(change.index);
        let settled = self.model.settled.get(&history.series.key);
        let is_settled = settled
            .zip(began)
            .is_some_and(|(settled, began)| settled.contains(&began.run));
        let mut confirmed = self.model.confirmed.iter();
        is_settled || confirmed.any(|one| one.tells(history, change))
    }

    /// In what its arm ran otherwise from a run of a series on, up to another, as far as its newest night tells.
    pub fn arm_steps(&self, series: &Series, from: &RunId, to: &RunId) -> Vec<String> {
        let night = self.night_of(series);
        night.map_or(Vec::new(), |night| steps_within(&night.arm_steps, from, to))
    }

    /// Whether a confirmed regression of a series still stands.
    pub fn stands(&self, history: &CaseHistory) -> bool {
        let mut own = self.model.confirmed.iter();
        own.any(|one| one.is_of(history) && one.stands(history))
            && !self.is_gone(&history.series.key)
            && !self.is_mended_anew(history)
    }

    /// Whether the newest night says that it got better: that is told, and whether it lasts the next runs show.
    fn is_mended_anew(&self, history: &CaseHistory) -> bool {
        let night = self.night_of(&history.series);
        let case = night.and_then(|night| night.gate.says_of(history));
        case.is_some_and(|case| case.trouble.is_none() && case.verdict == Verdict::Improved)
    }

    /// Whether what stands of a series is back in its newest run, so that one more like it ends it.
    pub fn is_back_once(&self, history: &CaseHistory) -> bool {
        let standing = confirmed::standing(&self.model.confirmed, [history]);
        let is_back = standing.iter().any(|one| one.is_back_once);
        is_back && !self.is_gone(&history.series.key)
    }

    /// Whether a case has been taken out: no run of the newest night of its place has it any more.
    pub fn is_gone(&self, key: &SeriesKey) -> bool {
        let present = self.present.get(&night_place(key));
        let present = present.and_then(Option::as_ref);
        present.is_some_and(|cases| !cases.contains(key.case.as_str()))
    }

    fn find_present(&self) -> Present<'a> {
        let cases_of = |(place, runs): (&NightPlace<'a>, &[&Night])| {
            let mut cases = BTreeSet::new();
            for night in runs {
                let of_run = &self.summary(&night.gate.run)?.cases;
                let own = of_run.iter().filter(|case| case.case.arm == place.2);
                cases.extend(own.map(|case| case.case.case.as_str()));
            }
            Some(cases)
        };
        let places = self.nights_by_place();
        places
            .map(|(place, runs)| (*place, cases_of((place, runs))))
            .collect()
    }

    /// What is said of a night in the end; `None` where its run is not at hand.
    pub fn said(&self, night: &Night) -> Option<&Said<'a>> {
        self.said.get(&night.gate.run)
    }

    /// The lasting change that is told of a series on the first page.
    pub fn lasting_of(&self, history: &CaseHistory) -> Option<&'a LocatedChange> {
        let key = &history.series.key;
        let said = self.night_for(key).and_then(|night| self.said(night));
        let of_night = said.map(|said| &said.lasting);
        let of_arm = || {
            let mut all = self.unjudged.iter();
            let found = all.find(|one| one.place == night_place(key));
            found.map(|found| &found.lasting)
        };
        let mut own = of_night.or_else(of_arm)?.iter();
        own.find(|(of, _)| of.series.key == *key)
            .map(|(_, change)| *change)
    }

    /// The series that a night's verdict on a metric of a case is of.
    pub fn series_of(&self, night: &Night, case: &str, metric: &str) -> Option<&'a CaseHistory> {
        let arm = &night.gate.comparison.candidate.arm;
        self.series_at(self.night_row(night)?, arm, case, metric)
    }
}

/// What differed at steps after a run, up to another.
pub fn steps_within(steps: &[Step], from: &RunId, to: &RunId) -> Vec<String> {
    let within = steps.iter();
    let within = within.filter(|step| step.run > *from && step.run <= *to);
    within.flat_map(|step| step.differences.clone()).collect()
}

/// Whether a night calls it itself, for the worse without an excuse or for the better.
fn is_anew(case: &CaseComparison) -> bool {
    match case.verdict {
        Verdict::Regressed => case.mark.is_none(),
        Verdict::Improved => true,
        Verdict::Unchanged | Verdict::Inconclusive => false,
    }
}

/// Nights by their places, in each the latest run first.
pub(super) fn by_place(model: &SiteModel) -> BTreeMap<NightPlace<'_>, Vec<&Night>> {
    let rows: BTreeMap<&RunId, &RunRow> = model.runs.iter().map(|row| (&row.run, row)).collect();
    let mut places: BTreeMap<NightPlace<'_>, Vec<&Night>> = BTreeMap::new();
    for night in &model.nights {
        if let Some(row) = rows.get(&night.gate.run) {
            let place = (row.suite.as_str(), row.machine.as_str(), night.arm());
            places.entry(place).or_default().push(night);
        }
    }
    for runs in places.values_mut() {
        runs.sort_by(|a, b| (b.is_newest(), &b.gate.run).cmp(&(a.is_newest(), &a.gate.run)));
    }
    places
}
