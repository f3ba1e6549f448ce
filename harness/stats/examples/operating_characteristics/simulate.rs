//! The simulation: replicates of one machine on all cores, and what is counted.

use std::collections::VecDeque;
use std::thread;

use assay_stats::{ratio_across_runs, ratio_of_values};

use crate::gate::{self, GAP, Judgement, Values, WINDOW};
use crate::noise::{Case, Model, Night, QUIET, Run};
use crate::others::{RULES, Seen, criterion_bootstrap, criterion_interval};
use crate::random::Random;
use crate::{CASES, EFFECTS, HISTORY, NIGHTS};

/// Nights after a change on which it may still be found.
pub const PATIENCE: usize = 3;
/// Comparisons on which Criterion's bootstrap is run in full.
const BOOTSTRAPS: usize = 40;

/// A share with what it is a share of.
#[derive(Clone, Copy, Default)]
pub struct Share {
    pub of: u64,
    pub hits: u64,
}

impl Share {
    pub fn add(&mut self, hit: bool) {
        self.of += 1;
        self.hits += u64::from(hit);
    }

    fn merge(&mut self, other: Self) {
        self.of += other.of;
        self.hits += other.hits;
    }

    pub fn value(self) -> f64 {
        self.hits as f64 / self.of as f64
    }
}

/// All that is counted on one machine.
#[derive(Clone, Default)]
pub struct Counts {
    pub suspects: Share,
    pub calls: Share,
    pub alerts: Share,
    pub events: Share,
    pub unchanged: Share,
    pub covers_across: Share,
    pub covers_relative: Share,
    pub covers_five: Share,
    pub covers_six_pairs: Share,
    pub covers_sixteen_pairs: Share,
    pub covers_criterion: Share,
    pub bootstrap_agrees: Share,
    pub others: [Share; RULES.len()],
    pub same_night: [Share; EFFECTS.len()],
    pub in_time: [Share; EFFECTS.len()],
    pub others_find: [[Share; EFFECTS.len()]; RULES.len()],
}

impl Counts {
    fn merge(&mut self, other: &Self) {
        let mine = self.shares();
        for (mine, other) in mine.into_iter().zip(other.clone().shares()) {
            mine.merge(*other);
        }
    }

    fn shares(&mut self) -> Vec<&mut Share> {
        let singles = [
            &mut self.suspects,
            &mut self.calls,
            &mut self.alerts,
            &mut self.events,
            &mut self.unchanged,
            &mut self.covers_across,
            &mut self.covers_relative,
            &mut self.covers_five,
            &mut self.covers_six_pairs,
            &mut self.covers_sixteen_pairs,
            &mut self.covers_criterion,
            &mut self.bootstrap_agrees,
        ];
        singles
            .into_iter()
            .chain(&mut self.others)
            .chain(&mut self.same_night)
            .chain(&mut self.in_time)
            .chain(self.others_find.as_flattened_mut())
            .collect()
    }
}

/// A machine and what was counted on it.
pub struct Result {
    pub model: Model,
    pub counts: Counts,
}

/// All replicates of one machine.
pub fn model(model: &Model, replicates: u64) -> Result {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let parts = thread::scope(|scope| {
        let started: Vec<_> = (0..cores)
            .map(|core| {
                scope.spawn(move || {
                    let mut counts = Counts::default();
                    for replicate in (core..replicates).step_by(cores as usize) {
                        counts.merge(&Replicate::new(model, replicate).run());
                    }
                    counts
                })
            })
            .collect();
        started
            .into_iter()
            .filter_map(|part| part.join().ok())
            .collect::<Vec<_>>()
    });
    let mut counts = Counts::default();
    for part in &parts {
        counts.merge(part);
    }
    Result {
        model: *model,
        counts,
    }
}

/// One suite over all nights.
struct Replicate {
    model: Model,
    random: Random,
    cases: Vec<Case>,
    values: Values,
    /// The newest runs of all cases, as many as the hungriest rule wants.
    recent: VecDeque<Vec<Run>>,
    counts: Counts,
}

impl Replicate {
    fn new(model: &Model, replicate: u64) -> Self {
        let name = model.name.bytes().map(u64::from).sum::<u64>();
        let mut random = Random::seeded(replicate * 1000 + name);
        let cases = (0..CASES)
            .map(|case| Case::new(model, case as f64 / CASES as f64, &mut random))
            .collect();
        Self {
            model: *model,
            random,
            cases,
            values: Values(Vec::new()),
            recent: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    fn run(mut self) -> Counts {
        for night in 0..HISTORY + NIGHTS {
            self.measure(night);
            if night >= HISTORY {
                self.judge_null(night);
                self.judge_others();
            }
        }
        self.judge_changes();
        self.judge_intervals();
        self.counts
    }

    fn measure(&mut self, number: usize) {
        let night = Night::draw(&self.model, number, &mut self.random);
        let runs: Vec<Run> = self
            .cases
            .iter_mut()
            .map(|case| case.run(&night, &mut self.random))
            .collect();
        self.values.push(&runs);
        self.recent.push_back(runs);
        if self.recent.len() > HISTORY + 1 {
            self.recent.pop_front();
        }
    }

    /// Nothing has changed: what is said all the same.
    fn judge_null(&mut self, night: usize) {
        let judgement = Judgement::of(&self.values, night);
        let (suspects, calls) = judgement.screen();
        let again: Vec<(&Case, f64)> = suspects
            .iter()
            .map(|case| (&self.cases[*case], 0.0))
            .collect();
        let confirmed = gate::confirmed(&self.model, &again, &mut self.random);
        let counts = &mut self.counts;
        let cases = CASES as u64;
        counts.suspects.merge(Share {
            of: cases,
            hits: suspects.len() as u64,
        });
        counts.calls.merge(Share {
            of: cases,
            hits: calls as u64,
        });
        let alerts = confirmed.iter().filter(|is| **is).count();
        counts.alerts.merge(Share {
            of: cases,
            hits: alerts as u64,
        });
        counts.unchanged.merge(Share {
            of: cases,
            hits: judgement.unchanged() as u64,
        });
        counts.events.add(judgement.has_event());
        for effect in judgement.shown.iter().flatten() {
            counts.covers_across.add(effect.contains(1.0));
        }
        for effect in judgement.judged.iter().flatten() {
            counts.covers_relative.add(effect.contains(1.0));
        }
        self.count_five(night);
    }

    /// The interval with the fewest runs that are accepted.
    fn count_five(&mut self, night: usize) {
        for case in 0..CASES {
            let window = &self.values.0[night - GAP - 5..night - GAP];
            let baseline: Vec<f64> = window.iter().map(|run| run[case]).collect();
            let found = ratio_of_values(&baseline, &[self.values.0[night][case]], GAP, 0.95);
            self.counts
                .covers_five
                .add(found.is_some_and(|found| found.contains(1.0)));
        }
    }

    fn judge_others(&mut self) {
        let counts = &mut self.counts;
        for case in 0..CASES {
            let mut seen: Vec<Seen<'_>> = self
                .recent
                .iter()
                .map(|runs| Seen::of(&runs[case]))
                .collect();
            let Some(now) = seen.pop() else { continue };
            for (number, rule) in RULES.iter().enumerate() {
                counts.others[number].add((rule.calls)(&seen, &now, 1.0));
                for (effect, found) in EFFECTS.iter().zip(&mut counts.others_find[number]) {
                    found.add((rule.calls)(&seen, &now, 1.0 + effect));
                }
            }
            if let Some((low, high)) = criterion_interval(&seen, &now, 1.0) {
                counts.covers_criterion.add((low..=high).contains(&0.0));
            }
            let done = counts.bootstrap_agrees.of as usize;
            if done < BOOTSTRAPS && case % 7 == 0 {
                // Effects around its threshold, where decisions could differ.
                let factor = 1.0 + 0.004 * (done % 8) as f64;
                let short = (RULES[0].calls)(&seen, &now, factor);
                let last = &seen[seen.len() - 1];
                let long = criterion_bootstrap(last, &now, factor, 500, &mut self.random);
                counts.bootstrap_agrees.add(short == long);
            }
        }
    }

    /// One case in the suite changes, each in turn: whether and when it is found.
    fn judge_changes(&mut self) {
        // The window leaves out the nights since the change, as it does for the first of them.
        let first = HISTORY + NIGHTS - PATIENCE;
        let nights: Vec<(Judgement, Vec<usize>)> = (first..first + PATIENCE)
            .map(|night| {
                let judgement = Judgement::of(&self.values, night);
                let suspects = judgement.screen().0;
                (judgement, suspects)
            })
            .collect();
        for (number, effect) in EFFECTS.iter().enumerate() {
            for case in 0..CASES {
                let mut found = nights.iter().map(|(judgement, suspects)| {
                    let change = effect.ln_1p();
                    judgement.suspects(case, change)
                        && alerted(
                            &self.model,
                            &self.cases,
                            case,
                            change,
                            suspects,
                            &mut self.random,
                        )
                });
                let tonight = found.next() == Some(true);
                let later = tonight || found.any(|is| is);
                self.counts.same_night[number].add(tonight);
                self.counts.in_time[number].add(later);
            }
        }
    }

    /// Two arms in one run, with nothing between them.
    fn judge_intervals(&mut self) {
        for case in &self.cases {
            let night = Night::draw_within(&self.model, &mut self.random);
            let mut covers = |pairs| {
                gate::interleaved(case, 0.0, pairs, &night, &mut self.random)
                    .is_some_and(|found| found.contains(1.0))
            };
            for _ in 0..4 {
                self.counts.covers_six_pairs.add(covers(6));
                self.counts.covers_sixteen_pairs.add(covers(16));
            }
        }
    }
}

/// Whether the changed case is confirmed among the other suspects of its night.
fn alerted(
    model: &Model,
    cases: &[Case],
    changed: usize,
    change: f64,
    suspects: &[usize],
    random: &mut Random,
) -> bool {
    // Only the number of the others matters to Holm's first step; they need not be drawn.
    let others = suspects.iter().filter(|case| **case != changed).count();
    let night = Night::draw_within(model, random);
    let pairs = assay_stats::gate::CONFIRMATION_PAIRS as usize;
    let found = gate::interleaved(&cases[changed], change, pairs, &night, random);
    let rules = assay_stats::Rules::default();
    found.is_some_and(|found| {
        found.ratio.ln() >= rules.least_effect.ln_1p()
            && found.p_value() * (others + 1) as f64 <= rules.family_error
    })
}

/// Coverage of an interval that knows the rounds of two runs and nothing of nights: (rounds, share).
pub fn rounds_alone() -> Vec<(usize, f64)> {
    let mut random = Random::seeded(59);
    [3, 10]
        .into_iter()
        .map(|rounds| {
            let mut share = Share::default();
            for _ in 0..20_000 {
                let mut run = || -> Vec<f64> {
                    let night = QUIET.night_sd * random.normal();
                    (0..rounds)
                        .map(|_| (night + QUIET.round_sd * random.normal()).exp())
                        .collect()
                };
                let found = ratio_across_runs(&run(), &run(), 0.0, 0.95);
                share.add(found.is_some_and(|found| found.contains(1.0)));
            }
            (rounds, share.value())
        })
        .collect()
}

const _: () = assert!(WINDOW + GAP <= HISTORY);
