//! What pages are made of, as digests: pages of the same key have the same bytes. Whoever lets a page tell of something new adds that
//! here; a test compares a site that took pages over with one that was made from nothing.

use assay_protocol::Digest;
use assay_record::RunId;
use assay_stats::Interval;
use assay_store::RunRow;
use assay_verdicts::{CaseHistory, Change, Point, Reproduction};
use serde::Serialize;

use crate::data::origin;
use crate::model::{Library, SiteSettings};
use crate::results::Results;

/// Usual bytes of a point.
const POINT: usize = 64;

/// Digest of the code that pages are made by.
pub const CODE: &str = env!("ASSAY_SITE_CODE");

impl Library<'_> {
    /// Of the page of a run.
    pub fn run_key(&self, run: &RunId) -> Option<Digest> {
        let found = self.run_keys.get(run)?;
        *found.get_or_init(|| self.make_run_key(run))
    }

    fn make_run_key(&self, run: &RunId) -> Option<Digest> {
        let row = self.runs.get(run)?;
        let reproductions = self.model.reproductions.iter();
        let reproductions: Vec<&Reproduction> = reproductions
            .filter(|found| [&found.original, &found.again].contains(&run))
            .collect();
        let original = row.reproduces.as_ref();
        self.key(&(
            (row, self.model.heads.get(run)),
            (reproductions, self.again(run)),
            original.map(|original| self.runs.contains_key(original)),
            (self.before(row), self.model.ceilings.get(&row.machine)),
            self.listed(row),
            self.model.records.get(run).map(|file| file.bytes),
        ))
    }

    /// Of what a run's page tells of series: of one of the newest, which links also what it could not measure, all of its place;
    /// of an older one those that it has values of, and those that had begun by then.
    fn listed(&self, row: &RunRow) -> (bool, [Option<Digest>; 2]) {
        let is_whole = self.summary(&row.run).is_some();
        let place = (row.suite.as_str(), row.machine.as_str());
        let digests = if is_whole {
            [self.places.get(&place).copied(), None]
        } else {
            [Some(self.values.digest(&row.run)), self.begun_by(row)]
        };
        (is_whole, digests)
    }

    /// Of a file of results.
    pub fn results_key(&self, results: &Results) -> Option<Digest> {
        let heads = &self.model.heads;
        let made_of: Vec<_> = results
            .runs
            .iter()
            .map(|run| (run, heads.get(run)))
            .collect();
        self.key(&made_of)
    }

    /// Of the page of a series and of its downloads.
    pub fn series_key(&self, history: &CaseHistory) -> Option<Digest> {
        let found = self.series_keys.get(&history.series.key)?;
        *found.get_or_init(|| self.make_series_key(history))
    }

    fn make_series_key(&self, history: &CaseHistory) -> Option<Digest> {
        let series = &history.series;
        let siblings = self.siblings(&series.key);
        let siblings: Vec<_> = siblings
            .map(|other| (&other.key, other.points.last().map(|point| point.started)))
            .collect();
        let last = series.points.last().map(|point| &point.run);
        let nights = self.model.nights.iter();
        let night = nights
            .map(|night| &night.gate)
            .find(|gate| Some(&gate.run) == last);
        let judged = night.map(|gate| {
            let cases = gate.comparison.cases.iter();
            let own = cases.filter(|case| case.case == series.key.case);
            (
                &gate.comparison.baseline,
                gate.state,
                own.collect::<Vec<_>>(),
            )
        });
        // What the night says of it, with what else that page tells of the night.
        let verdict = self.night_of(series).map(|night| {
            let gate = &night.gate;
            let comparison = &gate.comparison;
            let cases = comparison.cases.iter();
            let left_out = comparison.left_out.iter();
            (
                (&gate.run, &gate.window),
                gate.confirmation.as_ref().map(|found| &found.reference),
                (&comparison.baseline, comparison.basis),
                cases
                    .filter(|case| case.case == series.key.case)
                    .collect::<Vec<_>>(),
                left_out
                    .filter(|left| left.case == series.key.case)
                    .collect::<Vec<_>>(),
            )
        });
        let minutes = self.shared_minutes((&series.key.suite, &series.key.machine));
        self.key(&(
            (&series.key, &series.metric, &series.work),
            (self.has_arms(&series.key.suite), minutes),
            Digest::of(self.points(&series.points)),
            (&history.changes, &history.marks, &series.impossible),
            siblings,
            last.map(|run| (run, self.model.heads.get(run))),
            (judged, verdict, self.confirmed_of(history)),
            self.is_gone(&series.key),
            self.model.missed.of_series(&series.key),
            self.model.ceilings.get(&series.key.machine),
        ))
    }

    fn key(&self, made_of: &impl Serialize) -> Option<Digest> {
        let SiteSettings {
            title,
            base,
            logo,
            commit_link,
            templates,
            publish_source,
            newest_records,
        } = &**self.settings;
        let published = (publish_source, newest_records);
        let settings = (title, base, logo, commit_link, templates, published);
        let templates = self.settings.templates.digest;
        let text = serde_json::to_vec(&(CODE, settings, templates, made_of)).ok()?;
        Some(Digest::of(text))
    }
}

impl Library<'_> {
    /// The points of a series as bytes: histories are long, and JSON of them would take longer than drawing them.
    fn points(&self, points: &[Point]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(points.len() * POINT);
        let mut origins = self.origins.walk();
        for point in points {
            let Point {
                run,
                started,
                commit,
                dirty,
                estimate,
                rounds,
                changes,
            } = point;
            let origin = origins.of(point).map_or_else(
                || origin::digest(run, *started, commit.as_deref(), *dirty),
                |known| known.digest,
            );
            bytes.extend(origin.as_bytes());
            bytes.extend(rounds.to_le_bytes());
            let Interval {
                estimate,
                low,
                high,
                confidence,
            } = estimate;
            // Of one round both ends are the estimate, which is half of all bytes otherwise.
            let is_point = [low, high].map(|end| end.to_bits() == estimate.to_bits()) == [true; 2];
            bytes.push(is_point.into());
            let ends: &[&f64] = if is_point { &[] } else { &[low, high] };
            for number in [estimate, confidence].iter().chain(ends) {
                bytes.extend(number.to_bits().to_le_bytes());
            }
            bytes.extend(changes.len().to_le_bytes());
            for Change {
                field,
                before,
                after,
            } in changes
            {
                for part in [field, before, after] {
                    push_text(&mut bytes, part);
                }
            }
        }
        bytes
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.len().to_le_bytes());
    bytes.extend(text.as_bytes());
}
